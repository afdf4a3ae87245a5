"""
Lesson 6: does regularisation help?
===================================

A network with 130,000 weights learns 300 images by heart: it is right about each of them, and wrong about every fifth
new one. The distance between the two is called overfitting, and three remedies promise to shrink it. L2 adds
c/2 * sum of w² to the loss, L1 adds c * sum of |w|, and dropout removes a random part of the units in every step.
A course and a textbook show that the distance gets smaller. We run their experiment with the controls that they left
out: every strength, every optimizer, and the same optimizer without any regularisation.

Before you run it: when the distance shrinks, which of the two curves has moved? Does the accuracy on new images rise,
does the accuracy on the 300 fall, or both? And what happens at a strength that is far too large?
"""

# %%
# Constants first: change one, run again. The course takes 300 of the images of MNIST, six hidden layers of 100 units
# with ReLU, weights drawn by He's rule, batches of 100, and 1000 steps.

import numpy as np

import minidl
from minidl import Sequential, plots
from minidl.backend import draw_integers, draw_permutation
from minidl.layers import Dense, Dropout, Flatten, ReLU
from minidl.lesson import Lesson
from minidl.losses import SoftmaxCrossEntropy
from minidl.optimizers import SGD, Adam
from minidl.regularizers import L1, L2
from minidl.training import evaluate

IMAGES, TESTED, HIDDEN = 300, 2000, [100] * 6
STEPS, BATCH, LOOKS = 1000, 100, 10
OPTIMIZERS = {"SGD 0.01": (SGD, 0.01), "SGD 0.1": (SGD, 0.1), "Adam 0.001": (Adam, 0.001)}
STRENGTHS = {"L2": (0.01, 0.03, 0.1, 0.5), "L1": (0.0005, 0.001, 0.005, 0.05), "dropout": (0.05, 0.15, 0.3, 0.5)}
PUBLISHED = {"L2": (0.1, "SGD 0.01"), "L1": (0.005, "SGD 0.1"), "dropout": (0.15, "SGD 0.01")}

lesson = Lesson("06_regularisation", __doc__, data="mnist10k", seeds=3, takes="5 min, --fast 1 min")
x_train, y_train, x_test, y_test, classes = lesson.load()
scale = lesson.scaling(x_train)
x_test, y_test = x_test[:TESTED], y_test[:TESTED]
if lesson.fast:
    STRENGTHS = {method: (PUBLISHED[method][0], strengths[-1]) for method, strengths in STRENGTHS.items()}
print(f"{lesson.data}: {IMAGES} of {len(x_train)} training images, {TESTED} test images of {x_train.shape[1:]}")


# %%
# The network. The layer ``Dropout`` divides what it keeps by 1 - rate while it trains, and does nothing in evaluation.
# The course's layer does the opposite: it divides by nothing in training, and multiplies by 1 - rate in evaluation.

class CourseDropout(Dropout):
    def masked(self, x, key):                                      # called by forward, and by backward for dy
        return super().masked(x, key) * (1 - self.rate)


DROPOUTS = {"dropout": Dropout, "course's dropout": CourseDropout}


def network(dropout, rate):
    layers = [Flatten()]
    for units in HIDDEN:
        layers += [Dense(units, "he"), ReLU(), dropout(rate)]      # a rate of 0 drops nothing
    return Sequential([*layers, Dense(len(classes), "he")], input_shape=x_train.shape[1:])


# %%
# One run. All runs of a seed share their 300 images, their batches and their first weights: what differs is the
# optimizer and the regularisation. L1 and L2 are given to the optimizer, which adds their gradient, c * sign(w) or
# c * w, to that of the loss. Dropout is a layer behind every ReLU.

def train(cell, seed):
    """The accuracies on the 300 images and on test images after each of LOOKS looks, and the first layer's weights."""
    optimizer_name, method, strength = cell
    minidl.seed(seed)
    rows = draw_permutation(len(x_train))[:IMAGES]
    x, y = scale(x_train[rows]), y_train[rows]
    batches = draw_integers(IMAGES, (STEPS, BATCH))                # with replacement, as in the course
    model = network(DROPOUTS.get(method, Dropout), strength if method in DROPOUTS else 0)
    model.input_gradient = False                                   # nobody trains the images
    penalties = {"L2": L2(strength), "L1": L1(strength)}
    rule, learning_rate = OPTIMIZERS[optimizer_name]
    optimizer = rule(model.parameters(), lr=learning_rate, penalty=penalties.get(method))
    loss, looks = SoftmaxCrossEntropy(), []
    for step, rows in enumerate(batches, start=1):
        loss.forward(model.forward(x[rows]), y[rows])
        model.backward(loss.backward())
        optimizer.step()
        if step % (STEPS // LOOKS) == 0:
            looks.append((evaluate(model, x, y), evaluate(model, x_test, y_test, prepare=scale)))
            lesson.note(optimizer=optimizer_name, method=method, strength=strength, seed=seed, step=step,
                        accuracy_on_training=looks[-1][0], accuracy=looks[-1][1])
    return np.array(looks), minidl.to_cpu(model.parameters()[0].data)


# %%
# All runs. This is where the time goes.

cells = []
for optimizer_name in OPTIMIZERS:
    cells.append((optimizer_name, "none", 0))
    for method, strengths in STRENGTHS.items():
        for strength in strengths:
            cells.append((optimizer_name, method, strength))
cells.append(("SGD 0.01", "course's dropout", PUBLISHED["dropout"][0]))

looks, first_weights = {}, {}
with lesson.running():
    for cell, seed in lesson.each(cells, lesson.seeds):
        accuracies, weights = train(cell, seed)
        looks.setdefault(cell, []).append(accuracies)
        first_weights.setdefault(cell, weights)                    # those of the first seed
        print(f"{cell[0]:10}  {cell[1]:16} {cell[2]:<6g}  seed {seed}: accuracy on the {IMAGES} images "
              f"{accuracies[-1, 0]:.3f}, on test images {accuracies[-1, 1]:.4f}")


def last(cell, which):
    """The accuracies at the end, one for each seed. which: 0 for the 300 images, 1 for test images."""
    return [float(accuracies[-1, which]) for accuracies in looks[cell]]


def gap(cell):
    """What the 300 images have over the test images, one number for each seed."""
    return [training - test for training, test in zip(last(cell, 0), last(cell, 1), strict=True)]


def gain(cell):
    """Test accuracy minus that of the same optimizer and seed without regularisation, one number for each seed."""
    return [value - none for value, none in zip(last(cell, 1), last((cell[0], "none", 0), 1), strict=True)]


# %%
# The picture that says it all.

grid = {}
for optimizer_name in OPTIMIZERS:
    grid[optimizer_name] = {}
    for method, strengths in STRENGTHS.items():
        lines = {f"on the {IMAGES} training images": {}, "on test images": {}}
        for which, line in enumerate(lines.values()):
            line["none"] = last((optimizer_name, "none", 0), which)
            for strength in strengths:
                line[strength] = last((optimizer_name, method, strength), which)
        grid[optimizer_name][method] = lines
lesson.save(plots.settings(grid, f"The gap closes from above: the training accuracy falls ({lesson.data})", "strength",
                           "accuracy", limits=(0, 1.05)), "strengths")
