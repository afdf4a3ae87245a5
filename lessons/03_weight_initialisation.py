"""
Lesson 3: how large should the first weights be?
================================================

Before any training, send images through 5 and 10 layers of 100 units and look at what comes out of each, and at what
comes back when a random gradient is sent the other way. Weights of size 1 saturate or explode, weights of size 0.01
collapse; 1/sqrt(n) (Xavier) and sqrt(2/n) (He) keep the signal alive, each with its own activation function. Then
train D-100-100-100-100-10 from three of the four and see what it costs. After chapter 6 of "Deep Learning from
Scratch" (Saito 2016), whose published losses stand beside ours at the end.
"""

# %%
# Constants first: change one, run again.

import numpy as np

import minidl
from minidl import Sequential, plots
from minidl.backend import draw_integers, draw_normal
from minidl.datasets import Standardize, scale_to_unit
from minidl.layers import Dense, Flatten, ReLU, Sigmoid, Tanh
from minidl.lesson import Lesson
from minidl.losses import SoftmaxCrossEntropy
from minidl.optimizers import SGD
from minidl.probe import probe

UNITS, IMAGES = 100, 1000
DEPTHS = {5: (1, 2, 3, 4, 5), 10: (1, 3, 5, 7, 10)}     # how many layers, and which of them are drawn
ACTIVATIONS = {"sigmoid": Sigmoid, "tanh": Tanh, "ReLU": ReLU}
INITS = {"std 1": "normal:1", "std 0.01": "normal:0.01", "Xavier": "xavier", "He": "he"}
TRAINED = ("std 0.01", "Xavier", "He")
STEPS, BATCH, LEARNING_RATE, LOOK_AT = 2000, 128, 0.01, 500

lesson = Lesson("03_weight_initialisation", __doc__, data="mnist10k", seeds=3)
x_train, y_train, x_test, y_test, classes = lesson.load()
scale = scale_to_unit if "mnist" in lesson.data else Standardize(x_train)
print(f"{lesson.data}: {len(x_train)} training images of {x_train.shape[1:]}")


# %%
# Outputs and gradients of every layer, for each depth, activation function and way to draw the weights.

def look(depth, activation, init):
    """What each hidden layer puts out, and the gradient that arrives there: two lists of arrays (IMAGES, UNITS)."""
    minidl.seed(0)
    layers = [layer for _ in range(depth) for layer in (Dense(UNITS, init), activation())]
    model = Sequential([Flatten(), *layers], input_shape=x_train.shape[1:])
    seen = probe(model, scale(x_train[:IMAGES]), lambda y: draw_normal(y.shape))
    hidden = [observation for observation in seen if isinstance(observation.layer, activation)]
    return [observation.activations for observation in hidden], [observation.gradients for observation in hidden]


outputs, gradients = {}, {}
for activation_name, activation in ACTIVATIONS.items():
    for depth, shown in DEPTHS.items():
        for init_name, init in INITS.items():
            cell = activation_name, depth, init_name
            outputs[cell], gradients[cell] = look(depth, activation, init)
        for kind, arrays in (("outputs", outputs), ("gradients", gradients)):
            grid = {init_name: {f"layer {k}": arrays[activation_name, depth, init_name][k - 1] for k in shown}
                    for init_name in INITS}
            ends = {"sigmoid": (0, 1), "tanh": (-1, 1)}.get(activation_name) if kind == "outputs" else None
            figure = plots.histograms(grid, f"{activation_name}: {kind} through {depth} layers, before training", kind,
                                      limits=dict.fromkeys(INITS, ends))
            lesson.save(figure, f"{kind}_{activation_name}_{depth}")


# %%
# The same in one picture: the spread of outputs and gradients from layer to layer, on a logarithmic scale.

def spreads(arrays):
    return np.array([array.std() for array in arrays])


layer_numbers = np.arange(1, 11)
panels = {}
for kind, arrays in (("outputs", outputs), ("gradients", gradients)):
    for activation_name in ACTIVATIONS:
        panels[f"{activation_name}: {kind}"] = {
            init_name: (layer_numbers, spreads(arrays[activation_name, 10, init_name])) for init_name in INITS}
lesson.save(plots.curves(panels, "Spread of outputs and gradients in ten layers, before training", "layer",
                         "standard deviation", logarithmic=True, columns=3, limits=(1e-16, 1e10)), "spread_by_layer")


# %%
# What a bad start costs: the loss during training.

def train(init, seed):
    """The loss of each of the STEPS batches."""
    minidl.seed(seed)
    hidden = [layer for _ in range(4) for layer in (Dense(UNITS, init), ReLU())]
    model = Sequential([Flatten(), *hidden, Dense(len(classes), init)], input_shape=x_train.shape[1:])
    model.input_gradient = False                                   # nobody trains the images
    loss, optimizer = SoftmaxCrossEntropy(), SGD(model.parameters(), lr=LEARNING_RATE)
    losses = []
    for _ in range(STEPS):
        rows = draw_integers(len(x_train), BATCH)
        losses.append(float(loss.forward(model.forward(scale(x_train[rows])), y_train[rows])))
        model.backward(loss.backward())
        optimizer.step()
    return losses


curves, at_look, at_end = {}, {}, {}
for init_name in TRAINED:
    losses = np.array([train(INITS[init_name], seed) for seed in lesson.seeds])         # (seeds, STEPS)
    smooth = losses.mean(axis=0).reshape(-1, 20).mean(axis=1)                           # 20 steps to a point
    curves[init_name] = (np.arange(10, STEPS, 20), smooth)
    at_look[init_name] = float(losses[:, LOOK_AT - 50:LOOK_AT + 50].mean())
    at_end[init_name] = float(losses[:, -100:].mean())
    print(f"{init_name:9} loss around step {LOOK_AT}: {at_look[init_name]:.3f}, at the end {at_end[init_name]:.3f}")
lesson.save(plots.curves({"": curves}, f"Training D-100-100-100-100-10 with ReLU ({lesson.data})", "step", "loss",
                         colors=dict(zip(INITS, plots.COLORS, strict=False))), "training")

# %%
# What it shows, in numbers.

y = outputs["sigmoid", 5, "std 1"][-1]
saturated = float(((y < 0.05) | (y > 0.95)).mean())
lesson.claims.add("sigmoid, std 1: most outputs of layer 5 are within 0.05 of 0 or 1 (saturation)",
                  f"{saturated:.0%}", saturated > 0.5, published="a histogram in chapter 6")
y = outputs["sigmoid", 5, "std 0.01"][-1]
lesson.claims.add("sigmoid, std 0.01: all outputs of layer 5 are near 0.5 (collapse)",
                  f"{y.mean():.3f} with spread {y.std():.3f}", abs(y.mean() - 0.5) < 0.05 and y.std() < 0.05,
                  published="a histogram in chapter 6")
for activation_name, init_name, low, high in (("tanh", "Xavier", 0.3, 1.1), ("ReLU", "He", 0.3, 3.0),
                                              ("ReLU", "Xavier", 0, 0.2), ("ReLU", "std 0.01", 0, 1e-6)):
    spread = spreads(outputs[activation_name, 10, init_name])
    kept = float(spread[-1] / spread[0])
    lesson.claims.add(f"{activation_name}, {init_name}: from layer 1 to layer 10 the outputs' spread is multiplied by "
                      f"{f'{low:g} to ' if low else 'at most '}{high:g}", kept, low <= kept <= high)
for init_name, low, high in (("He", 0.2, 5.0), ("std 0.01", 0, 1e-6)):
    spread = spreads(gradients["ReLU", 10, init_name])
    kept = float(spread[0] / spread[-1])
    lesson.claims.add(f"ReLU, {init_name}: from layer 10 down to layer 1 the gradients' spread is multiplied by "
                      f"{f'{low:g} to ' if low else 'at most '}{high:g}", kept, low <= kept <= high)
lesson.claims.add(f"loss around step {LOOK_AT}: He < Xavier < std 0.01",
                  " < ".join(f"{at_look[name]:.2f}" for name in reversed(TRAINED)),
                  at_look["He"] < at_look["Xavier"] < at_look["std 0.01"],
                  published="0.34 < 1.06 < 2.30 (MNIST, 60,000 images)")
if "mnist" in lesson.data:
    for init_name, low, high, published in (
            ("He", 0.24, 0.44, "0.341 (one batch, one run)"),
            ("Xavier", 0.6, 1.5, "1.064 (one batch, one run, while the loss falls fast)"),
            ("std 0.01", 2.28, 2.31, "2.301")):
        lesson.claims.add(f"{init_name}: the loss around step {LOOK_AT} is between {low} and {high}",
                          at_look[init_name], low <= at_look[init_name] <= high, published)
lesson.claims.add("std 0.01: after all steps the loss is still that of guessing, ln(classes)", at_end["std 0.01"],
                  abs(at_end["std 0.01"] - np.log(len(classes))) < 0.03, published="2.30 throughout")
lesson.finish()
