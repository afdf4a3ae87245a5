"""
Lesson 3: how large should the first weights be?
================================================

A unit adds up n products of inputs and weights, so a layer multiplies the spread of its input by about sqrt(n) times
the spread of its weights; on the way back the gradient is multiplied likewise. Ten layers do that ten times. We draw
first weights in four ways, with standard deviation 0.01, 1, 1/sqrt(n) (Xavier) and sqrt(2/n) (He), send images forward
and a random gradient backward, and look at every layer. Then we train, after chapter 6 of "Deep Learning from Scratch"
(Saito 2016) and, with ten layers, after the course of the "Rabbit Challenge" (https://study-ai.com).

Before you run it: a network of sigmoids, and one of ReLUs. For each: with which of the four do the outputs keep their
spread through ten layers, and with which do the gradients? Is the same choice right for both, and does it learn best?
"""

# %%
# Constants first: change one, run again.

import itertools
import warnings

import numpy as np

import minidl
from minidl import Sequential, plots
from minidl.backend import draw_integers, draw_normal
from minidl.layers import Dense, Flatten, ReLU, Sigmoid, Tanh
from minidl.lesson import Lesson
from minidl.losses import SoftmaxCrossEntropy
from minidl.optimizers import SGD
from minidl.probe import probe
from minidl.training import evaluate

UNITS, DEPTH, IMAGES = 100, 10, 1000
ACTIVATIONS = {"sigmoid": Sigmoid, "tanh": Tanh, "ReLU": ReLU}
INITS = {"std 0.01": "normal:0.01", "std 1": "normal:1", "Xavier": "xavier", "He": "he"}
MARKERS = {"std 0.01": "v", "std 1": "^"}                          # what may die out, what may explode
STEPS, LOOK_AT, SMOOTH = 2000, 500, 20
RELU, SIGMOID, DEEP = "ReLU, 4 layers", "sigmoid, 4 layers", "ReLU, 10 layers"
NETWORKS = {RELU: ([UNITS] * 4, ReLU, 128, 0.01),                  # units, activation function, batch, learning rate
            SIGMOID: ([UNITS] * 4, Sigmoid, 128, 0.01), DEEP: ([40] * 9 + [20], ReLU, 100, 0.1)}

lesson = Lesson("03_weight_initialisation", __doc__, data="mnist10k", seeds=3, takes="1 min, --fast 35 s")
warnings.simplefilter("ignore")          # of overflow and NaN: that something explodes is the lesson
x_train, y_train, x_test, y_test, classes = lesson.load()
scale = lesson.scaling(x_train)
print(f"{lesson.data}: {len(x_train)} training images of {x_train.shape[1:]}")

# %%
# Before training: what every layer gives out, and the gradient that arrives there when noise of spread 1 enters above
# the last one.

def hidden_layers(units, activation, init):
    layers = [Flatten()]
    for count in units:
        layers += [Dense(count, init), activation()]
    return layers


layers, out_spread, back_spread, last_outputs = range(1, DEPTH + 1), {}, {}, {}
for seed, activation, init in itertools.product(lesson.seeds, ACTIVATIONS, INITS):
    minidl.seed(seed)
    model = Sequential(hidden_layers([UNITS] * DEPTH, ACTIVATIONS[activation], INITS[init]), x_train.shape[1:])
    seen = probe(model, scale(x_train[:IMAGES]), lambda y: draw_normal(y.shape))
    for layer in layers:
        unit = seen[2 * layer]                                     # Flatten, then Dense and activation by turns
        out_spread[(activation, init), layer, seed] = float(unit.activations.std())
        back_spread[(activation, init), layer, seed] = float(unit.gradients.std())
        last_outputs[activation, init, layer] = unit.activations

panels = {}
for kind, spread in (("outputs", out_spread), ("gradients", back_spread)):
    for activation in ACTIVATIONS:
        panels[f"{activation}: {kind}"] = {init: plots.line(spread, (activation, init), layers, lesson.seeds)
                                           for init in INITS}
lesson.save(plots.curves(panels, "Up: explosion, down: collapse; spread in ten layers, untrained", "layer", "spread",
                         logarithmic=True, columns=3, limits=(1e-16, 1e10), markers=MARKERS), "spread_by_layer")

# %%
# Read a line of the upper row from left to right, as images go, and of the lower row from right to left, as gradients
# do. The axis is logarithmic: a straight line is one factor for every layer. ReLU, std 1: the factor is near 7, and
# it explodes both ways. std 0.01: 100 times less, and all dies out, but for sigmoids, which answer 0.5 to a sum of 0.
# The level lines are Xavier's for tanh and He's for ReLU: a ReLU switches half of the sums off, which the 2 in
# sqrt(2/n) makes good.
#
# The surprise is the lower left panel. Textbooks give Xavier's weights to sigmoids, and their gradients die out: no
# slope is above 1/4. With std 1, hardly any unit is between 0 and 1, see below, and yet the gradients pass through
# ten layers. Nearly all slopes are 0, but those few units near 0.5 pass 1/4 of a gradient that 100 weights of size 1
# make ten times larger: 10 times the root mean square of the slopes is about 1. It is an accident of 100 units.

for activation, shown, high in (("sigmoid", (1, 2, 3, 4, 5), 1),
                                ("ReLU", (1, 3, 5, 7, 10), 5 * last_outputs["ReLU", "He", 1].std())):
    grid = {}
    for init in INITS:
        grid[init] = {f"layer {layer}": last_outputs[activation, init, layer] for layer in shown}
    lesson.save(plots.histograms(grid, f"What {UNITS} {activation} units give out, before training", "output",
                                 limits=dict.fromkeys(INITS, (0, high))), f"outputs_{activation}")

# %%
# A panel counts how often each output occurs, over all units and images. Sigmoids with std 0.01 *collapse* to 0.5:
# all units say the same. With std 1 they *saturate*: 0 or 1. ReLUs with std 0.01 collapse to 0, the left edge; with
# std 1 they *explode* beyond the right edge (black) in the first layer, and look at the numbers. Xavier's shrink
# slowly, He's stay.

def train(units, activation, batch, learning_rate, init, seed):
    """The test accuracy, and the loss of every step until it is no number any more."""
    minidl.seed(seed)
    model = Sequential([*hidden_layers(units, activation, init), Dense(len(classes), init)], x_train.shape[1:])
    model.input_gradient = False                                   # nobody trains the images
    loss, optimizer, losses = SoftmaxCrossEntropy(), SGD(model.parameters(), lr=learning_rate), []
    for _ in range(STEPS):
        rows = draw_integers(len(x_train), batch)
        losses.append(float(loss.forward(model.forward(scale(x_train[rows])), y_train[rows])))
        if not np.isfinite(losses[-1]):
            break
        model.backward(loss.backward())
        optimizer.step()
    return evaluate(model, x_test, y_test, prepare=scale), losses


curves, at_look, at_end, steps_taken, accuracy = {}, {}, {}, {}, {}
with lesson.running():
    for seed, name, init in lesson.each(lesson.seeds, NETWORKS, INITS):
        accuracy[name, init, seed], losses = train(*NETWORKS[name], INITS[init], seed)
        for step in range(SMOOTH, len(losses) + 1, SMOOTH):
            curves[(name, init), step, seed] = float(np.mean(losses[step - SMOOTH:step]))
            lesson.note(network=name, init=init, seed=seed, step=step, loss=curves[(name, init), step, seed])
        at_look[name, init, seed] = float(np.mean(losses[LOOK_AT - 50:LOOK_AT + 50]))
        at_end[name, init, seed], steps_taken[name, init, seed] = float(np.mean(losses[-100:])), len(losses)
        print(f"seed {seed}, {name:17}, {init:8}: first loss {losses[0]:.4g}, loss at step {len(losses)} "
              f"{at_end[name, init, seed]:.3f}, test accuracy {accuracy[name, init, seed]:.3f}")

panels, points = {}, range(SMOOTH, STEPS + 1, SMOOTH)
for name in NETWORKS:
    panels[name] = {init: plots.line(curves, (name, init), points, lesson.seeds) for init in INITS}
lesson.save(plots.curves(panels, f"What a bad start costs: the loss during training ({lesson.data})", "step", "loss",
                         limits=(0, 4)), "training")

# %%
# Left, collapse: from std 0.01 the loss stays that of guessing, ln(10) = 2.30. Explosion looks other: from std 1 the
# first loss is near 40,000, and a few steps later NaN. He's weights learn at once, Xavier's wait a while. In the
# middle the story breaks: the sigmoids of Xavier and He do not move, and the saturated ones of std 1 learn (on
# digits), as their gradients promised. (Not for good: a larger rate changes it, see Try 2.) Right, ten layers: a
# student of the course reports an accuracy of 0.409 from Xavier's weights, in one run. None of ours repeats it: they
# wait 300 steps longer than He's, then catch up.
#
# What it shows, in numbers.

def values(table, name, init):
    return [table[name, init, seed] for seed in lesson.seeds]


def claim(sentence, measured, low, high, published="-", miss=""):
    lesson.claims.add(sentence, measured, low <= min(measured) and max(measured) <= high, published, miss)


def ratios(spread, activation, init, end, start):
    return [spread[(activation, init), end, seed] / spread[(activation, init), start, seed] for seed in lesson.seeds]


collapsed, saturated = last_outputs["sigmoid", "std 0.01", 5], last_outputs["sigmoid", "std 1", 5]
claim("sigmoid, std 0.01: layer 5 has a spread below 0.05", [float(collapsed.std())], 0, 0.05,
      "a histogram (textbook, Saito 2016)")
claim("sigmoid, std 1: more than half of layer 5 is within 0.05 of 0 or 1",
      [float((abs(saturated - 0.5) > 0.45).mean())], 0.5, 1, "a histogram (textbook, Saito 2016)")
claim("sigmoid, std 1: sqrt(n) times the root mean square of layer 5's slopes is 0.8 to 1.2",
      [float((UNITS * np.mean((saturated * (1 - saturated)) ** 2)) ** 0.5)], 0.8, 1.2)
for activation, init, low, high in (("tanh", "Xavier", 0.3, 1.1), ("ReLU", "He", 0.3, 3), ("ReLU", "Xavier", 0, 0.2),
                                    ("ReLU", "std 0.01", 0, 1e-6), ("ReLU", "std 1", 1e6, 1e9)):
    claim(f"{activation}, {init}: outputs of layer 10 have {low:g} to {high:g} times the spread of layer 1",
          ratios(out_spread, activation, init, DEPTH, 1), low, high)
for activation, init, low, high in (("ReLU", "He", 0.2, 5), ("ReLU", "std 0.01", 0, 1e-6), ("sigmoid", "std 1", 0.2, 5),
                                    ("sigmoid", "Xavier", 0, 1e-4)):
    claim(f"{activation}, {init}: gradients of layer 1 have {low:g} to {high:g} times the spread of layer 10",
          ratios(back_spread, activation, init, 1, DEPTH), low, high)
small, xavier, he = (values(at_look, RELU, init) for init in ("std 0.01", "Xavier", "He"))
lesson.claims.add(f"{RELU}: at step {LOOK_AT} the loss of He < Xavier < std 0.01, in every run",
                  f"{np.mean(he):.3f} < {np.mean(xavier):.3f} < {np.mean(small):.3f}",
                  max(he) < min(xavier) and max(xavier) < min(small),
                  "0.341 < 1.064 < 2.301 (textbook, one run, MNIST)" if "mnist" in lesson.data else "-")
claim(f"{RELU}, std 1: NaN within 10 steps", values(steps_taken, RELU, "std 1"), 1, 10, miss="else all ReLUs are off")
guessing = float(np.log(len(classes)))
for name in NETWORKS:
    claim(f"{name}, std 0.01: the last loss is that of guessing, {guessing:.2f}, to 0.03",
          values(at_end, name, "std 0.01"), guessing - 0.03, guessing + 0.03)
if "mnist" in lesson.data:
    claim(f"{RELU}, He: the loss at step {LOOK_AT} is 0.24 to 0.44", he, 0.24, 0.44, "0.341 (textbook, one run)")
    claim(f"{SIGMOID}, Xavier: the last loss is still above 2.2", values(at_end, SIGMOID, "Xavier"), 2.2, 2.4)
    claim(f"{SIGMOID}, std 1: the last loss is below 1.8", values(at_end, SIGMOID, "std 1"), 0, 1.8)
    claim(f"{DEEP}, Xavier: the test accuracy is above 0.9", values(accuracy, DEEP, "Xavier"), 0.9, 1,
          "0.409 (another student's report, one run)")
else:
    print(f"{lesson.data}: published losses, and that sigmoids learn from std 1, are for digits, so not claimed")

# %%
# Try: (1) UNITS = 400. What will the gradients of the sigmoids do with std 1, and which std keeps them level? (2) A
# learning rate of 1 for the sigmoids with Xavier's weights: do they learn? (3) [40] * 20 + [20] for the ten layers,
# with a rate of 0.1 and of 0.03: is He still ahead of Xavier? Answers: docs/answers/03.md. The lesson is about
# minidl/initializers.py; with --debug, step into Dense and Sigmoid of minidl/textbook.py.

lesson.finish()
