"""
Lesson 2: why does a deep sigmoid network refuse to learn?
==========================================================

Going backward, every layer multiplies the gradient by its weights and by the slope of its activation function. The
slope of the sigmoid is at most 1/4, and the old habit was first weights of size 0.01. How much reaches the first layer?
Then we train a small network, D-40-20-10, with two activation functions and four ways to draw its first weights, as
in the course "Rabbit Challenge", deep learning day 2 (https://study-ai.com).

Before you run it: with the sigmoid and weights of size 0.01, how much smaller is the gradient of a weight of the first
layer in a network of ten layers than in one of two: a hundred times, a million times, more? And of the eight networks
that we train: which learn nothing, and which is the best?
"""

# %%
# Constants first: change one, run again.

import numpy as np

import minidl
from minidl import Sequential, plots
from minidl.backend import draw_integers
from minidl.layers import Dense, Flatten, ReLU, Sigmoid
from minidl.lesson import Lesson
from minidl.losses import SoftmaxCrossEntropy
from minidl.optimizers import SGD
from minidl.probe import probe, weight_gradient_norm
from minidl.training import evaluate

ACTIVATIONS = {"sigmoid": Sigmoid, "ReLU": ReLU}
INITS = {"zeros": "zeros", "std 0.01": "normal:0.01", "Xavier": "xavier", "He": "he"}
HIDDEN, STEPS, BATCH, LEARNING_RATE, EVERY = (40, 20), 2000, 100, 0.1, 10
DEPTHS, UNITS, IMAGES = np.arange(2, 11), 40, 500
LEAVES = {("sigmoid", "std 0.01"): 1 / 63, ("sigmoid", "Xavier"): 1 / 4, ("sigmoid", "He"): 1 / 2.8,
          ("ReLU", "std 0.01"): 1 / 22, ("ReLU", "Xavier"): 1 / 1.4, ("ReLU", "He"): 1}    # explained below

lesson = Lesson("02_vanishing_gradient", __doc__, data="mnist10k", seeds=3, takes="30 s, --fast 15 s")
x_train, y_train, x_test, y_test, classes = lesson.load()
scale = lesson.scaling(x_train)
print(f"{lesson.data}: {len(x_train)} training and {len(x_test)} test images of {x_train.shape[1:]}")


# %%
# The network, and the gradient of a weight in its first layer before any training, for 2 to 10 layers of 40 units.
# `probe` sends images forward and the gradient of the loss backward, and notes what each layer saw.
def network(activation, init, hidden=HIDDEN):
    layers = [Flatten()]
    for units in hidden:
        layers += [Dense(units, INITS[init]), ACTIVATIONS[activation]()]
    return Sequential([*layers, Dense(len(classes), INITS[init])], input_shape=x_train.shape[1:])


def gradient_of_the_loss(scores):
    loss = SoftmaxCrossEntropy()
    loss.forward(scores, y_train[:len(scores)])
    return loss.backward()


panels = {name: {} for name in ACTIVATIONS}
for (activation, init), expected in lesson.each(LEAVES.items()):
    values = np.zeros((len(lesson.seeds), len(DEPTHS)))
    for j, seed in enumerate(lesson.seeds):
        for k, depth in enumerate(DEPTHS):
            minidl.seed(seed)
            model = network(activation, init, (depth - 1) * [UNITS])
            first = probe(model, scale(x_train[:IMAGES]), gradient_of_the_loss)[1]           # [0] is Flatten
            values[j, k] = first.weight_gradient / first.layer.W.data.size**0.5              # root mean square
    panels[activation][init] = (DEPTHS, values.mean(axis=0))
    factors = (values[:, -1] / values[:, 0]) ** (1 / (DEPTHS[-1] - DEPTHS[0]))
    lesson.claims.add(f"{activation}, {init}: one layer leaves {expected:.3f} of the gradient, or a third more or less",
                      list(factors), 3 / 4 < factors.mean() / expected < 4 / 3)
lesson.save(plots.curves(panels, "Gradient in layer 1: every layer takes its share, but for ReLU + He", "layers",
                         "gradient of a weight", logarithmic=True), "gradient_by_depth")

# %%
# The picture: the number of layers on the horizontal axis, the gradient of a weight of the first one (root mean square)
# on the vertical one, in powers of ten. Straight lines: each layer takes the same factor, which is about
#
#     slope of the activation function × standard deviation of the weights × √units
#
# with 1/4 as the slope of the sigmoid, and √(1/2) for ReLU, which lets half of the units through. For the sigmoid with
# std 0.01 that is 1/63: ten layers leave 4 parts in 10¹⁵ of what two layers leave. With Xavier (std × √units = 1) it is
# 1/4, with He 1/2.8: better by far, and no rescue. Only ReLU + He is level: √2 × √(1/2) = 1. (LEAVES has all six.)
#
# The culprit is the slope of the sigmoid. We ask the layer itself for it, by sending dy = 1 backward, and draw it
# against x: 1/4 at x = 0, where the sigmoid is steepest, less everywhere else, and after two layers 1/16 at best.
line = np.linspace(-8, 8, 401)
sigmoid = Sigmoid()
sigmoid.build((1,))
y = minidl.to_cpu(sigmoid.forward(minidl.asarray(line[:, None])))[:, 0]
slope = minidl.to_cpu(sigmoid.backward(minidl.asarray(np.ones((401, 1)))))[:, 0]
lesson.save(plots.curves({"": {"sigmoid(x)": (line, y), "its slope": (line, slope),
                               "slope after 2 layers, at best": (line, slope**2)}},
                         f"The slope of the sigmoid is at most {slope.max():.2f}: two layers leave 1/16",
                         "x", "", reference=(0.25, "0.25")), "sigmoid_slope")
lesson.claims.add("The slope of the sigmoid is largest at x = 0, where it is 0.25", float(slope.max()),
                  abs(slope.max() - 0.25) < 1e-6 and line[slope.argmax()] == 0, "0.25 (the course, test 1)")

# %%
# And forward? The next picture counts the outputs of the hidden layers before training: a row for each layer, a column
# for each way to draw the weights. With zeros there is one single value, with 0.01 nearly so, whatever is in the image.
grid = {}
for activation, init in lesson.each(ACTIVATIONS, INITS):
    minidl.seed(0)
    seen = probe(network(activation, init), scale(x_train[:IMAGES]), gradient_of_the_loss)
    for k, observation in enumerate([seen[2], seen[4]]):           # Flatten, Dense, sigmoid, Dense, sigmoid, Dense
        grid.setdefault(f"{activation}\nlayer {k + 1}", {})[init] = observation.activations
lesson.save(plots.histograms(grid, "Outputs of the hidden layers before training", "output",
                             limits={"sigmoid\nlayer 1": (0, 1), "sigmoid\nlayer 2": (0, 1)}), "activations")


# %%
# Now train all eight. The loop is written out by hand; a batch is drawn with replacement, as in the course.
def train(activation, init, seed):
    """The trained network, the loss of every step, and every 10 steps the gradient of a weight of each layer."""
    minidl.seed(seed)
    model = network(activation, init)
    model.input_gradient = False                                   # nobody trains the images
    loss, optimizer = SoftmaxCrossEntropy(), SGD(model.parameters(), lr=LEARNING_RATE)
    weighted = [layer for layer in model.layers if layer.parameters()]
    losses, gradients = [], []
    for step in range(STEPS):
        rows = draw_integers(len(x_train), BATCH)
        scores = model.forward(scale(x_train[rows]))               # (100, 10)
        losses.append(float(loss.forward(scores, y_train[rows])))
        model.backward(loss.backward())
        optimizer.step()
        if step % EVERY == 0:
            gradients.append([weight_gradient_norm(layer) / layer.W.data.size**0.5 for layer in weighted])
            lesson.note(activation=activation, init=init, seed=seed, step=step, loss=losses[-1],
                        first_layer=gradients[-1][0], last_layer=gradients[-1][-1])
    return model, losses, np.array(gradients)                      # gradients: (STEPS / EVERY, layers)


accuracy, final, gradients = {name: {} for name in ACTIVATIONS}, {}, {}
with lesson.running():
    for seed, activation, init in lesson.each(lesson.seeds, ACTIVATIONS, INITS):
        model, losses, by_layer = train(activation, init, seed)
        tested, cell = evaluate(model, x_test, y_test, prepare=scale), f"{activation}, {init}"
        final.setdefault(cell, []).append(tested)
        gradients.setdefault(cell, []).append(by_layer)
        accuracy[activation][init] = final[cell]
        lesson.note(activation=activation, init=init, seed=seed, step=STEPS, accuracy=tested)
        print(f"{cell:17} seed {seed}: test accuracy {tested:.4f}; loss at first {losses[0]:.2f}, highest of 50 steps "
              f"{max(losses[:50]):.2f}, mean of the last 100 {np.mean(losses[-100:]):.2f}")
frequencies = np.bincount(minidl.to_cpu(y_test), minlength=len(classes)) / len(y_test)
lesson.save(plots.bars(accuracy, list(INITS), f"Test accuracy after {STEPS} steps ({lesson.data})", "test accuracy",
                       reference=(frequencies.max(), "always the commonest class")), "accuracy")
panels, share = {}, {}
for cell, runs in gradients.items():
    mean = np.mean(runs, axis=0)
    share[cell] = mean[0, 0] / max(mean[0, -1], 1e-30)             # of layer 1 beside the last one, at the start
    panels[cell] = {f"layer {k + 1}": (np.arange(0, STEPS, EVERY), mean[:, k]) for k in range(len(HIDDEN) + 1)}
lesson.save(plots.curves(panels, "Gradient of a weight of each layer during training (root mean square)", "step",
                         "gradient", logarithmic=True), "gradient_norms")

# %%
# First picture: a pair of bars for each way to draw the weights, a dot for each seed. Three cells are at the level of
# guessing: both with zeros, and sigmoid with std 0.01. A collapsed network gives every image the same class, so its
# accuracy is *exactly* the share of a class among the test images (0.1145 is that of the 1 in mnist10k): a fingerprint
# to look for whenever an accuracy looks like chance.
# Second picture: the step on the horizontal axis, the gradient of a weight on the vertical one, in powers of ten. With
# sigmoid and std 0.01 layer 1 gets a ten-thousandth of layer 3. With ReLU and std 0.01 all gradients start small, too,
# but the layers help each other to grow, and from step 500 on the network learns.
#
# What does not fit the story? *ReLU + He is not the best:* ReLU + Xavier is level with it on digits (0.94) and ahead on
# shapes10 and CIFAR-10. In three layers Xavier loses half of the gradient, which does no harm; He pays off where many
# layers multiply. And He's scores are larger, so its first steps are wild: on shapes10 the loss goes from 2.9 up to 8
# or 13 (Xavier: 2.4 to 2.6). *"Refuses" is too much:* sigmoid with std 0.01 is slow (0.20 on CIFAR-10; exercise 3).
#
# Try (answers: docs/answers/02.md): 1. HIDDEN = (40,) * 9: which cells still learn? 2. LEARNING_RATE = 0.02 with
# `--data shapes10`: is Xavier still ahead? 3. STEPS = 12000 with `--fast`: does sigmoid with std 0.01 learn?
#
# This was about `Sigmoid` (minidl/layers/activation.py; its blackboard form: minidl/textbook.py, run the lesson with
# --textbook or --debug and step into it, docs/stepping.md). What the lesson shows, in numbers:
lesson.claims.add("sigmoid, std 0.01: at the start a weight of layer 1 gets less than 1/500 of one of layer 3",
                  f"1/{1 / share['sigmoid, std 0.01']:.0f}", share["sigmoid, std 0.01"] < 1 / 500)
lesson.claims.add("ReLU, He: at the start a weight of layer 1 gets more than 1/20 of one of layer 3",
                  f"1/{1 / share['ReLU, He']:.1f}", share["ReLU, He"] > 1 / 20)
digits = "mnist" in lesson.data
for cell, published in (("sigmoid, zeros", 0.1135), ("ReLU, zeros", 0.1135), ("sigmoid, std 0.01", 0.101)):
    if digits or "zeros" in cell:
        one_class = [np.isclose(value, frequencies, rtol=0, atol=1e-9).any() for value in final[cell]]
        lesson.claims.add(f"{cell}: collapsed to exactly one class frequency",
                          ", ".join(f"{value:.4f}" for value in final[cell]), all(one_class),
                          f"{published} (Rabbit Challenge report)" if digits else "-")
for better, worse in (("sigmoid, Xavier", "sigmoid, std 0.01"), ("ReLU, std 0.01", "sigmoid, std 0.01"),
                      ("ReLU, He", "sigmoid, He"), ("ReLU, Xavier", "sigmoid, Xavier")):
    high, low = np.mean(final[better]), np.mean(final[worse])
    lesson.claims.add(f"{better} learns more than {worse}", f"{high:.3f} > {low:.3f}", high > low)
lead = np.mean(final["ReLU, He"]) - np.mean(final["ReLU, Xavier"])
lesson.claims.add("ReLU: at this depth He is not ahead of Xavier by 0.01 or more", f"{lead:+.3f}", lead < 0.01)
for cell, low, high, published in (
        ("ReLU, std 0.01", 0.88, 0.94, "0.917 (Rabbit Challenge report); 0.907-0.926 (others)"),
        ("sigmoid, Xavier", 0.86, 0.89, "0.868-0.884 (other students' reports); not 0.796: lesson 1"),
        ("sigmoid, He", 0.88, 0.90, "0.889-0.894 (other students' reports); not 0.827: lesson 1"),
        ("ReLU, He", 0.93, 1.00, "0.948 (Rabbit Challenge report); 0.951-0.959 (others)")):
    if digits:
        lesson.claims.add(f"{cell}: {low} to {high}", final[cell], low <= np.mean(final[cell]) <= high, published)
lesson.finish()
