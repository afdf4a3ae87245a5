"""
Lesson 4: which optimizer?
==========================

All optimizers walk down the same gradient. They differ in what they make of its *length*. SGD takes it as it is: a
small gradient, a small step. Momentum adds up earlier gradients. AdaGrad, RMSProp and Adam divide by the size of the
gradients so far: a weight with tiny gradients still takes steps of about the learning rate. After the "Rabbit
Challenge" course, day 2 (https://study-ai.com), and chapter 6 of "Deep Learning from Scratch" (Saito 2016).

**Before you run it:** with learning rate 0.01, the sigmoid network of lesson 2 learns nothing from SGD in 1000 steps;
with Adam it gets 93 % of the digits right. Now each may try six learning rates: how far behind Adam will SGD be then?
"""

# %%
# Constants first: change one, run again. The rates are the course's and the textbook's, who leave out RMSProp twice.

import warnings

import numpy as np

import minidl
from minidl import Sequential, plots
from minidl.backend import draw_integers
from minidl.core import Parameter
from minidl.layers import Dense, Flatten, ReLU, Sigmoid
from minidl.lesson import Lesson
from minidl.losses import SoftmaxCrossEntropy
from minidl.optimizers import SGD, AdaGrad, Adam, Momentum, RMSProp
from minidl.training import evaluate

COURSE = "course's AdaGrad"                                        # its sum of squares starts at 0.0001, not at 0
OPTIMIZERS = {"SGD": SGD, "Momentum": Momentum, "AdaGrad": AdaGrad, "RMSProp": RMSProp, "Adam": Adam, COURSE: AdaGrad}
VALLEY = {"SGD": 0.95, "Momentum": 0.1, "AdaGrad": 1.5, "RMSProp": 0.1, "Adam": 0.3}
SIGMOID = [*((name, 0.01) for name in OPTIMIZERS), ("Momentum", 0.3), (COURSE, 0.1)]
RELU = [("SGD", 0.01), ("Momentum", 0.01), ("AdaGrad", 0.01), ("RMSProp", 0.001), ("Adam", 0.001)]
LARGE, SMALL = (0.003, 0.01, 0.03, 0.1, 0.3, 1), (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03)
GRID = {"SGD": (0.03, 0.1, 0.3, 1, 3, 10), "Momentum": LARGE, "AdaGrad": LARGE, "RMSProp": SMALL, "Adam": SMALL}
BATCH, EVERY = 100, 100
LOSS, TEST, MOVED, HELD_OUT = range(4)                             # what is seen every 100 steps

lesson = Lesson("04_optimizers", __doc__, data="mnist10k", seeds=3, takes="3 min, --fast 30 s")
x_train, y_train, x_test, y_test, classes = lesson.load()
scale = lesson.scaling(x_train)
x_test, y_test = x_test[:2000], y_test[:2000]
x_held, y_held, x_train, y_train = x_train[:2000], y_train[:2000], x_train[2000:], y_train[2000:]
guessing = float(np.bincount(minidl.to_cpu(y_test)).max() / len(y_test))
warnings.simplefilter("ignore")          # of overflow and NaN: here NaN is a result

# %%
# First a valley, x²/20 + y², in which a parameter of two numbers walks. Its gradient is (x/10, 2y): steep across.

paths, ends = {}, {}
for name, rate in VALLEY.items():
    place = Parameter(minidl.asarray([-7.0, 2.0]), "place")
    optimizer = OPTIMIZERS[name]([place], lr=rate)
    path = []
    for _ in range(31):                                            # the start and 30 steps
        path.append(minidl.to_cpu(place.data).copy())
        place.grad[...] = place.data * minidl.asarray([0.1, 2.0])
        optimizer.step()
    ends[name] = float(path[-1][0] ** 2 / 20 + path[-1][1] ** 2)
    paths[f"{name} {rate}: ends at height {ends[name]:.2g}"] = np.transpose(path)                  # (2, 31)
    if name == "SGD":
        across = [float(after[1] / before[1]) for before, after in zip(path, path[1:], strict=False)]
lesson.save(plots.paths(paths, lambda x, y: x**2 / 20 + y**2,
                        "30 steps down the valley x²/20 + y²: SGD zig-zags, and ends lower than Adam"), "paths")
lesson.claims.add("Valley: each step of SGD jumps over the floor, y is multiplied by -0.9", f"{np.mean(across):.4f}",
                  np.allclose(across, -0.9, atol=0.001), "a zig-zag in a picture (textbook)")
lesson.claims.add("Valley: SGD ends lower than Momentum, Momentum lower than Adam", f"{ends['SGD']:.3f} < "
                  f"{ends['Momentum']:.3f} < {ends['Adam']:.3f}", ends["SGD"] < ends["Momentum"] < ends["Adam"])

# %%
# "paths": lines join places of equal height, the cross is the bottom, a dot is a step. SGD's step across is
# y - 0.95 · 2y = -0.9 y: over the floor and up the other side. What contradicts the usual story: this zig-zag is no
# sign of a bad learning rate. 2 / (0.1 + 2) = 0.952 is the *best* one for SGD here; a smaller one takes longer along
# the valley. Momentum and Adam swing past the bottom and come back; AdaGrad and RMSProp turn into the valley at once.
#
# Two networks, the course's (its gradients vanish) and the textbook's, and one training for both:

def network(kind):
    if kind == "ReLU":
        layers = [Dense(100), ReLU(), Dense(100), ReLU(), Dense(100), ReLU(), Dense(100), ReLU(), Dense(len(classes))]
    else:
        layers = [Dense(40, "normal:0.01"), Sigmoid(), Dense(20, "normal:0.01"), Sigmoid(), Dense(10, "normal:0.01")]
    return Sequential([Flatten(), *layers], input_shape=x_train.shape[1:])


def train(kind, name, rate, seed, steps):
    """What is seen every 100 steps: loss, test accuracy, distance moved, accuracy on the held-out images."""
    minidl.seed(seed)
    model = network(kind)
    model.input_gradient = False                                   # nobody trains the images
    loss, optimizer = SoftmaxCrossEntropy(), OPTIMIZERS[name](model.parameters(), lr=rate)
    if name == COURSE:
        optimizer.s += 0.0001
    W, first, losses, seen = model.layers[1].W, model.layers[1].W.data.copy(), [], []
    for step in range(1, steps + 1):
        rows = draw_integers(len(x_train), BATCH)
        losses.append(float(loss.forward(model.forward(scale(x_train[rows])), y_train[rows])))
        model.backward(loss.backward())
        optimizer.step()
        if step % EVERY == 0:
            moved = float(((W.data - first) ** 2).mean()) ** 0.5   # by a weight of the first layer, root mean square
            test, held_out = (evaluate(model, x, y, prepare=scale) for x, y in ((x_test, y_test), (x_held, y_held)))
            seen.append((float(np.mean(losses[-EVERY:])), test, moved, held_out))
            lesson.note(network=kind, optimizer=name, rate=rate, seed=seed, step=step, loss=seen[-1][LOSS],
                        test=test, moved=moved, held_out=held_out)
    print(f"{kind}, {name} {rate}, seed {seed}: test accuracy {test:.4f}")
    return seen


def experiment(kind, tries, steps):
    """Train by each (optimizer, rate) from each seed: {(optimizer, rate): what is seen, (seeds, looks, 4)}."""
    results = {}
    with lesson.running():
        for (name, rate), seed in lesson.each(tries, lesson.seeds):
            results.setdefault((name, rate), []).append(train(kind, name, rate, seed, steps))
    return {key: np.array(runs) for key, runs in results.items()}


def curves(results, column):
    means = {f"{name} {rate}": runs[:, :, column].mean(axis=0) for (name, rate), runs in results.items()}
    return {"": {label: (np.arange(1, len(mean) + 1) * EVERY, mean) for label, mean in means.items()}}


# %%
# The sigmoid network: all at learning rate 0.01, as in the course; then two that a larger one "rescues".

sigmoid = experiment("sigmoid", SIGMOID, 1000)
lesson.save(plots.curves(curves(sigmoid, TEST), f"Gradients vanish: who learns all the same? ({lesson.data})", "step",
                         "accuracy", reference=(guessing, "commonest class"), legend_columns=3), "sigmoid_accuracy")
lesson.save(plots.curves(curves(sigmoid, MOVED), "Why: how far a weight of layer 1 has moved", "step", "distance",
                         logarithmic=True, reference=(0.01, "size at the start"), legend_columns=3), "sigmoid_moved")
for name, rate, low, high, published in (
        ("SGD", 0.01, 0.08, 0.125, "0.096-0.1135"), ("Momentum", 0.01, 0.08, 0.125, "0.096-0.1135"),
        (COURSE, 0.01, 0.08, 0.125, "0.096-0.1135"), ("AdaGrad", 0.01, 0.2, 0.5, "0.1 in the course's form"),
        ("RMSProp", 0.01, 0.9, 0.96, "0.917-0.949"), ("Adam", 0.01, 0.9, 0.96, "0.939-0.951"),
        ("Momentum", 0.3, 0.9, 0.95, "0.926-0.940"), (COURSE, 0.1, 0.9, 0.95, "0.918-0.937")):
    reached = sigmoid[name, rate][:, -1, TEST].tolist()
    if "mnist" in lesson.data:
        lesson.claims.add(f"sigmoid, {name} {rate}: test accuracy {low} to {high}", reached,
                          low <= np.mean(reached) <= high, f"{published} (other students' reports)")
    elif high > 0.2:
        lesson.claims.add(f"sigmoid, {name} {rate}: more than 1.4 times the accuracy of guessing", reached,
                          min(reached) > 1.4 * guessing)
near, far = (sigmoid[name, 0.01][:, -1, MOVED] for name in ("SGD", "Adam"))
lesson.claims.add("sigmoid: SGD moves a weight of layer 1 by less than 1/100 of its first size, Adam by over 10 times",
                  f"{max(near):.1g}, {min(far):.1g}", max(near) < 0.0001 and min(far) > 0.1)

# %%
# "sigmoid_accuracy": what stays on the dashed line learns nothing. "sigmoid_moved" says why (a grid line is a factor of
# 10): the gradient of layer 1 is about 0.000001, so SGD's weights hardly move, and Momentum's, ten times as fast, not
# enough. The surprise is AdaGrad: at chance in the published runs, here it learns a little. The course starts its sum
# at 0.0001, huge beside squared gradients of 10⁻¹²: a constant that nobody mentions decides the comparison.
#
# The textbook's comparison, where no gradient vanishes:

relu = experiment("ReLU", RELU, 1000 if lesson.fast else 2000)
lesson.save(plots.curves(curves(relu, LOSS), f"Gradients do not vanish: SGD is the slowest ({lesson.data})", "step",
                         "loss", logarithmic=True, legend_columns=3), "relu_loss")
sgd, *others = (float(np.mean(relu[name, rate][:, -1, LOSS])) for name, rate in RELU)
lesson.claims.add("ReLU: SGD has the largest loss", f"{sgd:.3g}; others {min(others):.3g} to {max(others):.3g}",
                  sgd > max(others), "0.150; others 0.016 to 0.050 (textbook)" if "mnist" in lesson.data else "-",
                  miss="on photographs the five are close together")

# %%
# "relu_loss": SGD is far behind. (The textbook had 60,000 digits; our few are learned by heart, so losses get smaller.)
# The fair comparison: six learning rates each, half a power of ten apart. The one best on 2000 held-out images is
# chosen, and the test set only judges what was chosen.

grid = {name: rates[::2] if lesson.fast else rates for name, rates in GRID.items()}
panels, tuned = {}, {}
for kind, steps in (("sigmoid", 1000), ("ReLU", 500)):
    results = experiment(kind, [(name, rate) for name in grid for rate in grid[name]], steps)
    panels[kind], tuned[kind] = {}, {}
    for name, rates in grid.items():
        accuracy = [float(np.mean(results[name, rate][:, -1, HELD_OUT])) for rate in rates]
        best = rates[int(np.argmax(accuracy))]
        panels[kind][name], tuned[kind][name] = (rates, accuracy), float(np.mean(results[name, best][:, -1, TEST]))
        print(f"{kind}, {name}: best at {best}, there test accuracy {tuned[kind][name]:.4f}")
lesson.save(plots.curves(panels, f"Each optimizer learns well at a learning rate of its own ({lesson.data})",
                         "learning rate", "held-out accuracy", reference=(guessing, "commonest class"),
                         legend_columns=3, markers=dict.fromkeys(GRID, "o"), xbase=10), "fair")
for kind, reached in tuned.items():
    lesson.claims.add(f"{kind}, each at its best rate: SGD is at most 0.05 behind Adam", f"{reached['SGD']:.3f}, "
                      f"{reached['Adam']:.3f}", reached["SGD"] > reached["Adam"] - 0.05)
gaps = [np.ptp(list(tuned["sigmoid"].values())), np.ptp([sigmoid[name, 0.01][:, -1, TEST].mean() for name in GRID])]
if not lesson.fast:     # one seed says too little
    lesson.claims.add("sigmoid: from best to worst, the best rates leave less than half of the gap that there is at "
                      "0.01", f"{gaps[0]:.3f} of {gaps[1]:.3f}", gaps[0] < gaps[1] / 2)

# %%
# "fair": a dot is a rate; the highest of a colour is the one chosen. Most of what separated the five was the rate: with
# a sigmoid, SGD's best is 300 times Adam's. At their best, 2 points remain of 82. Adam buys room: three of its six
# rates are within 2 points of its best, one of SGD's. (On shapes10 with ReLU, AdaGrad stays far behind at all rates.)
#
# Try (docs/answers/04.md): (1) SGD in the valley at 0.5, 1 and 1.01. (2) Compare the accuracy of Momentum at a rate r
# with that of SGD at 10 r. Why is it so? (3) Cure the cause: first weights "xavier" in place of "normal:0.01". Who
# still needs help? The formulas are in minidl/optimizers/rules.py, each in `update`, as plain as on a blackboard.
lesson.finish()
