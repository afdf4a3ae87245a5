"""
Lesson 9: what is a convolution?
================================

A Dense layer has a weight for every pixel: it learns what a stroke looks like anew at every place. A convolution puts
one small window of weights on every place of the image and adds up pixel times weight. Written down these are seven
nested loops (image, row, column, filter; row, column, feature of the window); libraries compute a matrix product. We do
both on paper, time them, and train the small convnet of the course "Rabbit Challenge" (https://study-ai.com).

Before you run it: an image of 6x6 pixels gets a border of one zero (padding 1), and a window of 2x2 moves over it in
steps of one pixel (stride 1). How many results are there? (A test question of the course.) How many times slower than
the product are the loops: 10, 100, 1000? And what if the filters stay random, and only the layers behind them learn?
"""

# %%
# Constants first: change one, run again.

import importlib.util

import numpy as np

import minidl
from minidl import models, plots, textbook
from minidl.backend import draw_normal, xp
from minidl.layers import Conv2D
from minidl.lesson import Lesson
from minidl.ops.convolution import Im2col
from minidl.ops.winograd import Winograd
from minidl.optimizers import Adam
from minidl.probe import least_times
from minidl.training import fit

TRAINED, TESTED, EPOCHS, BATCH, LEARNING_RATE = 5000, 2000, 20, 100, 0.001         # 20 epochs are 1000 steps
TIMED, FEATURES = 50, [1, 2, 4, 8, 16, 32, 64]                     # images; features that come in

lesson = Lesson("09_convolution", __doc__, data="mnist10k", seeds=3, takes="3 min, --fast 40 s")
x_train, y_train, x_test, y_test, classes = lesson.load()
scale = lesson.scaling(x_train)
x_train, y_train, x_test, y_test = x_train[:TRAINED], y_train[:TRAINED], x_test[:TESTED], y_test[:TESTED]

# %%
# On paper. To see where each pixel goes, the 36 pixels are the numbers 1 to 36; there is one filter of 2x2.
image = minidl.asarray(np.arange(1.0, 37).reshape(1, 6, 6, 1))
paper = Conv2D(1, 2, stride=1, padding=1)
OH, OW, _ = paper.build((6, 6, 1))
paper.W.data[...] = minidl.asarray(np.array([1.0, 2, 3, 4]).reshape(2, 2, 1, 1))
rows = textbook.im2col(paper.windows, image).reshape(OH * OW, 4)   # each window, a row of 2x2 pixels
column = paper.W.data.reshape(4, 1)
product = (rows @ column).reshape(1, OH, OW, 1)
loops = textbook.conv2d_loops(image, paper.W.data, paper.b.data, padding=(1, 1))
equal_on_paper = bool((product == loops).all() and (paper.forward(image) == loops).all())
BLUE, ORANGE = plots.COLORS[:2]
steps = {"6x6 and its border": np.pad(minidl.to_cpu(image)[0, :, :, 0], 1), "im2col: first\n14 of 49 rows": rows[:14],
         "times\nfilter": column, f"= {OH}x{OW} results": product[0]}
windows, rows, _, results = steps
marks = {windows: [(1, 1, 2, 2, BLUE), (0, 6, 2, 2, ORANGE)], rows: [(8, 0, 1, 4, BLUE), (6, 0, 1, 4, ORANGE)],
         results: [(1, 1, 1, 1, BLUE), (0, 6, 1, 1, ORANGE)]}      # first row, first column, rows, columns, colour
figure = plots.maps(steps, "Each window becomes a row; one matrix product does the rest", numbers=True, marks=marks)
lesson.save(figure, "im2col")

# %%
# From left to right: the image in its border of zeros; 14 of the 49 rows that im2col ("image to columns": here they are
# rows) copies out of it; the filter as a column; the results. The blue window is the ninth row, and its result is
# 1·1 + 2·2 + 3·7 + 4·8 = 58. A window fits 7 times into 8 pixels, so there are 7x7: (6 + 2 padding - 2) / stride + 1.
# The price: im2col copies each of the 36 pixels four times. So a pixel moves four results, and backward the chain rule
# *adds* the four ways: col2im. Give every row the gradient 1 to count them.
counts = {}
for size, stride in ((2, 1), (3, 1), (3, 2)):
    layer = Conv2D(1, size, stride)
    OH, OW, _ = layer.build((7, 7, 1))
    ones = xp.ones((1, OH, OW, size, size, 1))
    counts[f"window {size}x{size}, stride {stride}"] = textbook.col2im(layer.windows, ones)[0]
lesson.save(plots.maps(counts, "col2im adds: in how many windows is each pixel?", numbers=True), "col2im")
with minidl.precision("float64"):                                  # im2col(x) = A x has the gradient Aᵀ dy,
    x, dy = draw_normal((2, 7, 7, 3), 1.0), draw_normal((2, 3, 3, 3, 3, 3), 1.0)      # and (A x) · dy = x · (Aᵀ dy)
there, back = (textbook.im2col(layer.windows, x) * dy).sum(), (x * textbook.col2im(layer.windows, dy)).sum()


# %%
# Images of 7x7 pixels without a border; each number says how many windows contain the pixel: one at a corner, up to
# nine in the middle, which gets nine times as much gradient. With stride 2 the counts make a pattern.
#
# Now the time of three forms, all in minidl: the loops; im2col and one product for the whole batch, as on paper; the
# layer that lessons train with. The loops compute only one place of one image; we compare, and multiply their time.
def seven_loops(layer, x):
    KH, KW = layer.kernel_size
    return textbook.conv2d_loops(x[:1, :KH, :KW], layer.W.data, layer.b.data)


def pytorch(layer, x):
    import torch
    torch.set_num_threads(minidl.threads())
    x, W, b = torch.from_numpy(x), torch.from_numpy(layer.W.data), torch.from_numpy(layer.b.data)
    return torch.conv2d(x.permute(0, 3, 1, 2), W.permute(3, 2, 0, 1), b).permute(0, 2, 3, 1).numpy()


FORMS = {"seven loops": seven_loops, "im2col, product": textbook.Conv2D.forward, "minidl's layer": Conv2D.forward}
if importlib.util.find_spec("torch") and lesson.backend == "numpy":                # timed where it is installed
    FORMS["PyTorch"] = pytorch
times, errors = {}, []
for filters, size, shape in ((30, 5, x_train.shape[1:]), (64, 3, (14, 14, 64))):
    layer, x = Conv2D(filters, size), draw_normal((TIMED, *shape), 1.0)
    OH, OW, _ = layer.build(shape)
    seconds, y = least_times({form: (FORMS[form], layer, x) for form in FORMS})
    seconds["seven loops"] *= TIMED * OH * OW
    times[f"{filters} windows of {size}x{size}x{shape[2]}"] = {form: TRAINED / TIMED * seconds[form] for form in FORMS}
    loops = y["seven loops"]
    errors += [float(abs(y[form][:1, :1, :1] - loops).max() / abs(loops).max()) for form in FORMS]
lesson.save(plots.durations(times, f"One layer forward, {TRAINED} images: loops or a product"), "times")


# %%
# Seconds on the horizontal axis; each line of the grid is a factor of 10. The loops take half an hour for the windows
# on digits, five hours for the others, the products less than two seconds. Arithmetic is not slow, Python is: it looks
# up types and places for each product. In the right panel the layer beats im2col by Winograd's method: it multiplies a
# tile of the image by a window as one multiplies polynomials, by their values at a few points, in 36 products for 4x4
# results in place of 144. But the tiles must be transformed, and back. When does that pay?
def by_method(method, layer, x):
    y = xp.empty((len(x), *layer.output_shape), x.dtype)
    method.correlate(x, method.transformed(layer.W.data), y)
    return y


gains = []
for features in FEATURES if lesson.backend == "numpy" else []:     # minidl uses Winograd's method on the CPU alone
    layer, x = Conv2D(32, 3, padding="same"), draw_normal((16, 16, 16, features), 1.0)
    layer.build(x.shape[1:])
    seconds, _ = least_times({"im2col": (by_method, Im2col(layer.windows), layer, x),
                              "Winograd": (by_method, Winograd(layer.windows, 4), layer, x)}, rounds=25)
    gains.append(seconds["im2col"] / seconds["Winograd"])
if gains:
    lines = {"products: 144 / 36": (FEATURES, [4] * len(FEATURES)), "time, measured": (FEATURES, gains)}
    lesson.save(plots.curves({"": lines}, "Winograd's method pays from about 8 features on", "features that come in",
                             "im2col / Winograd", reference=(1, "equally fast"), xbase=2, limits=(0, 4.4)), "winograd")

# %%
# To the right more features; above the dashed line Winograd's method is faster. With 1 feature it has a quarter of the
# speed of im2col, with 64 twice, and never the factor of 4 (blue) that its products promise. Products grow with
# features in *times* filters, transforms only with their sum. ``Conv2D`` takes the method from 8 features on.
#
# Now train: 100 hidden units without a convolution; the course's convnet; and that with its filters left as they were
# drawn: its optimizer gets all parameters but the first two, W and b of the convolution.
NONE, RANDOM, LEARNED = NETWORKS = "no convolution", "random filters", "learned filters"


def train(network, seed):
    minidl.seed(seed)
    model = models.simple_convnet(x_train.shape[1:], len(classes), init="normal:0.01")         # as the course does
    if network == NONE:
        model = models.mlp([100], x_train.shape[1:], len(classes))
    parameters = model.parameters()[2:] if network == RANDOM else model.parameters()
    history = fit(model, Adam(parameters, lr=LEARNING_RATE), x_train, y_train, 8 if lesson.fast else EPOCHS, BATCH,
                  test=(x_test, y_test), prepare=scale, report=None)
    return model, history.measured()["test_accuracy"]


accuracy, first = {}, {}                                           # first: a network of each kind
with lesson.running():
    for seed, network in lesson.each(lesson.seeds, NETWORKS):
        model, epochs = train(network, seed)
        for epoch, value in enumerate(epochs, start=1):
            lesson.note(network=network, seed=seed, epoch=epoch, accuracy=value)
        accuracy.setdefault(network, []).append(epochs[-1])
        first.setdefault(network, model)
        print(f"{network}, seed {seed}: test accuracy {epochs[-1]:.4f} after {len(epochs)} epochs")
filters = {"before": first[RANDOM].layers[0].W.data, "after": first[LEARNED].layers[0].W.data}
lesson.save(plots.filters(filters, f"The 30 filters before and after training ({lesson.data})", columns=6), "filters")

# %%
# Each square is a window of 5x5 pixels; red weights are positive, blue ones negative. On digits a few speckles became
# detectors of an edge, red beside blue. Most became the same pale sum of ink: all began near 0 and were pushed one way.
# Do the filters win, then? On digits no convolution gives 0.937, random filters 0.947, learned ones 0.966 of the test
# images. On photographs (``--data cifar10``) 0.39, 0.48, 0.50: random filters do most of it, since to add up windows
# and to pool them helps with any weights. The drawings of ``--data shapes10`` (0.45, 0.50, 0.76) need learned ones.
#
# About ``minidl/layers/convolution.py``; formulas: ``minidl/textbook.py`` (``--textbook``, ``--debug``). Try (answers:
# ``docs/answers/09.md``): 1. Which pixels of 7x7 does a 3x3 window with stride 4 not see? What gradient do they get? 2.
# Write ``=`` in place of ``+=`` in ``textbook.col2im``: which claim fails, and what does ``check_layer`` say? 3. The
# first weights have a spread of 0.01, as in the course. Take ``init="he"``: what will random and learned filters give?
side = product.shape[1]
lesson.claims.add("6x6 pixels, window 2x2, stride 1, padding 1: all forms give the same 7x7 results", f"{side}x{side}",
                  equal_on_paper and side == product.shape[2] == 7, "7 (Rabbit Challenge report)")
lesson.claims.add("All forms compute the same; largest error", max(errors), max(errors) < 1e-5)
lesson.claims.add("col2im is the gradient of im2col; error", float(abs(there - back)), abs(there - back) < 1e-10)
for name, seconds in times.items():
    im2col, layer = (seconds["seven loops"] / seconds[form] for form in ("im2col, product", "minidl's layer"))
    lesson.claims.add(f"{name}: im2col and the layer are more than 100 times as fast as the loops",
                      f"{im2col:,.0f} and {layer:,.0f} times", min(im2col, layer) > 100)
if gains:
    lesson.claims.add("Winograd's method is slower than im2col with 1 feature and faster with 64; speed beside im2col",
                      f"{gains[0]:.2f}, {gains[-1]:.2f}", gains[0] < 1 < gains[-1])
none, random, learned = (np.mean(accuracy[network]) for network in NETWORKS)
lesson.claims.add("Test accuracy: learned filters beat random ones, and no convolution",
                  f"{learned:.3f} > {random:.3f}, {none:.3f}", learned > max(random, none))
if not lesson.fast:
    lesson.claims.add("Even random filters, never trained, beat no convolution", accuracy[RANDOM], random > none)
    if "mnist" in lesson.data:
        lesson.claims.add("5000 images, 1000 steps, learned filters: 0.950 to 0.970", accuracy[LEARNED],
                          0.95 <= learned <= 0.97, "0.950-0.966 (students' reports of the course)")
lesson.finish()
