"""
Lesson 5: what does batch normalisation buy?
============================================

Batch normalisation shifts and stretches the sums of every unit, over the images of a batch, to mean 0 and spread 1;
then two learned numbers, gamma and beta, choose another spread and mean. In training mode it measures mean and spread
in each batch; in evaluation mode it takes running averages of what it measured in training. We train
D-100-100-100-100-100-10 on 1000 images from 16 sizes of the first weights, from 1 down to 0.0001, with it and without
it, as chapter 6 of "Deep Learning from Scratch" does (Saito 2016). Then we make the batch small.

Before you run it: at how many of the 16 sizes does the network with batch normalisation learn more than the one without
it? And what do you expect where its layers are left in evaluation mode by mistake, so that they never measure a batch?
"""

# %%
# Constants first: change one, run again. A standard deviation is sqrt(variance + EPS), EPS as in the textbook.

import warnings

import numpy as np

import minidl
from minidl import Sequential, plots
from minidl.backend import draw_integers
from minidl.layers import BatchNorm, Dense, Flatten, LayerNorm, ReLU
from minidl.lesson import Lesson
from minidl.losses import SoftmaxCrossEntropy
from minidl.optimizers import SGD
from minidl.probe import accuracy_in_training_mode
from minidl.training import evaluate

IMAGES, TESTED, UNITS, DEPTH, EPS = 1000, 2000, 100, 5, 1e-6
SIZES = [float(size) for size in np.logspace(0, -4, 16)]           # standard deviation of the first weights
BATCH, EPOCHS, LEARNING_RATE, LOOKS = 100, 20, 0.01, 60
BATCHES, SEEN, RATE_PER_IMAGE = [2, 4, 8, 16, 32, 64, 128, 256], 10_000, 0.1 / 128

lesson = Lesson("05_batch_normalisation", __doc__, data="mnist10k", seeds=3, takes="2 min, --fast 40 s")
warnings.simplefilter("ignore")          # of overflow and NaN: weights of size 1 end in NaN, we know
x_train, y_train, x_test, y_test, classes = lesson.load()
scale = lesson.scaling(x_train)
x_train, y_train, x_test, y_test = x_train[:IMAGES], y_train[:IMAGES], x_test[:TESTED], y_test[:TESTED]
chance = float(np.bincount(minidl.to_cpu(y_train)).max() / IMAGES)

# %%
# The network: a layer that normalises may come between each sum and its ReLU. Batches are drawn with replacement.

def network(init, normalisation=None):
    layers = [Flatten()]
    for _ in range(DEPTH):
        layers.append(Dense(UNITS, init))
        if normalisation:
            layers.append(normalisation(eps=EPS))
        layers.append(ReLU())
    model = Sequential([*layers, Dense(len(classes), init)], input_shape=x_train.shape[1:])
    model.input_gradient = False                                   # nobody trains the images
    return model


def train(model, steps, batch, learning_rate):
    loss, optimizer = SoftmaxCrossEntropy(), SGD(model.parameters(), lr=learning_rate)
    for _ in range(steps):
        rows = draw_integers(IMAGES, batch)
        loss.forward(model.forward(scale(x_train[rows])), y_train[rows])
        model.backward(loss.backward())
        optimizer.step()

# %%
# Three experiments. First, three networks from 16 sizes of first weights. The third one has a mistake: `model.eval()`
# for a look at the test images, and no `model.train()` after it. minidl refuses to go backward then; other libraries
# go on, and a public CIFAR-10 project chose its layers like that. So we build it by hand: the BatchNorm layers alone
# in evaluation mode, with the averages that they begin with, mean 0 and variance 1. Second, one network in both modes
# after every step. Third, batches of 2 to 256: all see 10,000 images, the learning rate is proportional to the batch.

KINDS = NORM, PLAIN, FROZEN = "with BatchNorm", "without", "left in evaluation mode"
NORMALISATIONS = {"BatchNorm": BatchNorm, "LayerNorm": LayerNorm, "without": None}
names = [*NORMALISATIONS, "BatchNorm, training mode"]
batches, epochs, looks = BATCHES[::2] if lesson.fast else BATCHES, range(1, EPOCHS + 1), range(1, LOOKS + 1)
by_epoch, on_train, on_test, modes, trained, tested = {}, {}, {}, {}, {}, {}
with lesson.running():
    for seed, size, kind in lesson.each(lesson.seeds, SIZES, KINDS):
        minidl.seed(seed)
        model = network(f"normal:{size}", None if kind == PLAIN else BatchNorm)
        if kind == FROZEN:
            for layer in model.layers:
                layer.training = not isinstance(layer, BatchNorm)
        for epoch in epochs:
            train(model, IMAGES // BATCH, BATCH, LEARNING_RATE)
            accuracy = evaluate(model, x_train, y_train, prepare=scale)
            by_epoch[(kind, size), epoch, seed] = on_train[kind, size, seed] = accuracy
            lesson.note(kind=kind, size=size, seed=seed, epoch=epoch, train=accuracy)
        on_test[kind, size, seed] = evaluate(model, x_test, y_test, prepare=scale)
        print(f"seed {seed}, size {size:.4f}, {kind:23}: training {accuracy:.3f}, test {on_test[kind, size, seed]:.3f}")

    for init in ("he", "normal:0.01"):                             # one seed is enough to see it
        minidl.seed(lesson.seeds[0])
        model = network(init, BatchNorm)
        training, evaluation = [], []
        for _ in looks:
            train(model, 1, BATCH, LEARNING_RATE)
            training.append(accuracy_in_training_mode(model, x_train, y_train, BATCH, scale))
            evaluation.append(evaluate(model, x_train, y_train, prepare=scale))
        modes[f"first weights {init}"] = {"training mode": (looks, training), "evaluation mode": (looks, evaluation)}
        print(f"first weights {init}, step 30: training mode {training[29]:.3f}, evaluation mode {evaluation[29]:.3f}")

    for seed, batch, name in lesson.each(lesson.seeds, batches, NORMALISATIONS):
        minidl.seed(seed)
        model = network("he", NORMALISATIONS[name])
        train(model, SEEN // batch, batch, RATE_PER_IMAGE * batch)
        for images, labels, table in ((x_train, y_train, trained), (x_test, y_test, tested)):
            table[name, batch, seed] = evaluate(model, images, labels, prepare=scale)
            if name == "BatchNorm":
                table[names[-1], batch, seed] = accuracy_in_training_mode(model, images, labels, batch, scale)
        lesson.note(kind=name, batch=batch, seed=seed, train=trained[name, batch, seed], test=tested[name, batch, seed])
        print(f"seed {seed}, batches of {batch:3}, {name:9}: training {trained[name, batch, seed]:.3f}")

# %%
# First weights get larger to the right, on a logarithmic axis. Orange, without: a narrow peak; no network left of it
# has learned anything, right of it the weights are NaN. Blue, with: a hill over four powers of ten. The mistake,
# green, is on the orange line: a frozen BatchNorm normalises nothing. At the peak nobody notices, elsewhere one
# blames the first weights, or depth. Look at the test images, too: the top of the hill is higher than the peak.

TRAIN, TEST, guess = f"{IMAGES} training images", f"{TESTED} test images", (chance, "always the commonest class")
panels = {TRAIN: {kind: plots.line(on_train, kind, SIZES, lesson.seeds) for kind in KINDS},
          TEST: {kind: plots.line(on_test, kind, SIZES, lesson.seeds) for kind in KINDS}}
lesson.save(plots.curves(panels, f"With BatchNorm nearly any size of the first weights will do ({lesson.data})",
                         "standard deviation of the first weights", "accuracy", xbase=10, limits=(0, 1.05),
                         reference=guess, markers=dict(zip(KINDS, "osx", strict=True)), legend_columns=2), "sizes")

# %%
# The same, epoch by epoch, as the textbook draws it. BatchNorm wins *except near the best sizes*, 0.29 and 0.16 on
# digits (He's size for 100 inputs is 0.14). Why is blue slow for large weights? Double all weights of a layer, and
# its normalised sums stay as they are, but the gradient is halved: one step changes weights of size s by a share
# proportional to 1 / s², so a size of 1 is too stiff and 0.0001 restless. And what contradicts the story: for small
# weights blue seems to learn nothing for four epochs, then jumps. Keep it in mind.

panels = {}
for size in SIZES:
    panels[f"first weights {size:.2g}"] = {NORM: plots.line(by_epoch, (NORM, size), epochs, lesson.seeds),
                                           PLAIN: plots.line(by_epoch, (PLAIN, size), epochs, lesson.seeds)}
lesson.save(plots.curves(panels, f"{TRAIN}, by epoch ({lesson.data})", "epoch", "accuracy", limits=(0, 1.05)), "epochs")

# %%
# The riddle: one network in both modes, after every step. It *has* learned; its running averages have not. They began
# at variance 1 and keep 0.9 of themselves per step, while the sums' variance from small weights is near 0: what
# evaluation mode divides by is far too large for some 40 steps. With He's weights the variance is near 1 and nothing
# is seen. So a bad accuracy early in training may be that of evaluation mode alone.

lesson.save(plots.curves(modes, f"One network in both modes, step by step ({lesson.data})", "step",
                         "accuracy, training images", limits=(0, 1.05), reference=guess), "modes")

# %%
# Batches get larger to the right. LayerNorm, which takes mean and spread over the units of one image, and no
# normalisation at all do not mind small batches. BatchNorm does: of two images, every unit's sums become +1 and -1,
# whatever they were. Where both modes differ, evaluation (blue) is better: in training mode (pink) the class of an
# image depends on what else is in its batch. What may surprise: BatchNorm is the best with batches of 256, and large
# steps. And from He's weights the test images hardly tell it from no normalisation: what it buys is freedom, more
# than accuracy.

panels = {TRAIN: {name: plots.line(trained, name, batches, lesson.seeds) for name in names},
          TEST: {name: plots.line(tested, name, batches, lesson.seeds) for name in names}}
lesson.save(plots.curves(panels, f"Small batches hurt BatchNorm, and only BatchNorm ({lesson.data})",
                         "images in a batch", "accuracy", xbase=2, limits=(0, 1.05)), "batches")

# %%
# What it shows, in numbers (all on the training images).

norm, plain = (plots.line(on_train, kind, SIZES, lesson.seeds)[1] for kind in KINDS[:2])
lost = [k for k in range(len(SIZES)) if norm[k] < plain[k]]
wins, more, apart = [], [], []
for seed in lesson.seeds:
    with_it, without, frozen = (np.array([on_train[kind, size, seed] for size in SIZES]) for kind in KINDS)
    wins.append(int((with_it > without).sum()))
    more.append(int((with_it > 1.5 * chance).sum() - (without > 1.5 * chance).sum()))
    apart.append(float(abs(frozen - without).mean()))
lesson.claims.add("BatchNorm learns more at 13 to 15 of the 16 sizes", wins, min(wins) >= 13 and max(wins) <= 15,
                  "14 (textbook, Saito 2016)" if "mnist" in lesson.data else "-")
lesson.claims.add("The others are the best size without it, or its neighbours", str([round(SIZES[k], 3) for k in lost]),
                  all(abs(k - np.argmax(plain)) <= 1 for k in lost))
lesson.claims.add("At 10 or more sizes only BatchNorm is better than 1.5 times guessing", more, min(more) >= 10)
lesson.claims.add("Left in evaluation mode: as without, to 0.02 on average", apart, max(apart) < 0.02)
if "mnist" in lesson.data:
    for k, out, within in ((0, 0.097, 0.419), (2, 0.979, 0.630), (3, 0.823, 0.763), (4, 0.235, 0.890),
                           (7, 0.116, 1.000), (15, 0.116, 0.523)):
        lesson.claims.add(f"Size {SIZES[k]:.2g}, without / with: the textbook's values, to 0.15",
                          f"{plain[k]:.3f} / {norm[k]:.3f}", max(abs(plain[k] - out), abs(norm[k] - within)) < 0.15,
                          f"{out:.3f} / {within:.3f} (textbook, Saito 2016)")
gap = float(np.max(np.subtract(training, evaluation)))
lesson.claims.add("From weights of 0.01, evaluation mode is more than 0.2 below training mode at first", gap, gap > 0.2)
for name, low, high in (("BatchNorm", 0, 0.5), ("LayerNorm", 0.9, 1.2), ("without", 0.9, 1.2)):
    ratio = [trained[name, 2, seed] / trained[name, 32, seed] for seed in lesson.seeds]
    lesson.claims.add(f"{name}: batches of 2 reach {low} to {high} times the accuracy of batches of 32", ratio,
                      low <= min(ratio) and max(ratio) <= high)

# %%
# Try: (1) Libraries take EPS = 1e-5. Which sizes will suffer? (2) With LEARNING_RATE = 1, where will the blue hill
# be? (3) The real mistake: the first epoch in training mode, then evaluation mode for good. Does it still learn?
# Answers: docs/answers/05.md. The lesson is about minidl/layers/normalization.py; a debugger steps into BatchNorm of
# minidl/textbook.py, the formulas of the blackboard, with --debug.

lesson.finish()
