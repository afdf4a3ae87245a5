"""
Lesson 1: can a network learn with a wrong gradient?
====================================================

It can, only worse, and that is what makes such a mistake so hard to see. We write a small network, D-40-20-10, by
hand in ten lines of NumPy, and its backward pass in ten more. Then we plant the mistake of a real course: the sigmoid's
derivative, written for the sum z, is given the activated value y = sigmoid(z). Training still works. A gradient check
sees it at once, and says what it is. The course is the "Rabbit Challenge", deep learning day 2 (https://study-ai.com);
003 below is a student's published report of it, the ranges are those of other students.
"""

# %%
# Constants first: change one, run again.

from functools import partial
from math import sqrt

import numpy as np

import minidl
from minidl import plots
from minidl.backend import draw_integers, draw_normal, xp  # xp is NumPy, or CuPy with --backend cupy
from minidl.datasets import Standardize, scale_to_unit
from minidl.gradcheck import check_function, check_layer
from minidl.layers import Sigmoid
from minidl.lesson import Lesson

INITS = {"Xavier": 1, "He": 2}    # variance of the first weights, times their number of inputs
STEPS, BATCH, LEARNING_RATE, EVERY, TESTED = 2000, 100, 0.1, 100, 2000

lesson = Lesson("01_first_network_and_gradient_check", __doc__, data="mnist10k", seeds=3)
x_train, y_train, x_test, y_test, classes = lesson.load()
# The course divided MNIST by 255. On photographs it takes more: mean 0 and spread 1 for every colour.
scale = scale_to_unit if "mnist" in lesson.data else Standardize(x_train)
x_test, y_test = scale(x_test[:TESTED]).reshape(TESTED, -1), y_test[:TESTED]
chance = float(np.bincount(minidl.to_cpu(y_test)).max() / TESTED)
print(f"{lesson.data}: {len(x_train)} training and {TESTED} test images of {x_train.shape[1:]}")


# %%
# The network: what comes in times weights, plus a bias, through a sigmoid; twice. The third sum gives the scores.

def sigmoid(z):
    return xp.tanh(z / 2) / 2 + 0.5                                # = 1 / (1 + exp(-z)), and cannot overflow


def forward(x, W1, b1, W2, b2, W3, b3):
    y1 = sigmoid(x @ W1 + b1)                                      # (N, 40)
    y2 = sigmoid(y1 @ W2 + b2)                                     # (N, 20)
    return y2 @ W3 + b3                                            # (N, 10)


# %%
# Its backward pass is the chain rule, from the end. dscores is the gradient of the loss with respect to the scores.
# A change of W3 comes out multiplied by y2, image by image, so dW3 = y2ᵀ dscores; a change of b3 comes out as it is, so
# db3 is the sum over the images; a change of y2 comes out multiplied by W3, so dy2 = dscores W3ᵀ. On its way through a
# sigmoid a gradient is multiplied by the slope at z, which is sigmoid(z) (1 - sigmoid(z)). And again, one layer down.
# `mistake` plants that of the course: d_sigmoid wants the sum z, and is given the activated value y.

def d_sigmoid(z):
    return sigmoid(z) * (1 - sigmoid(z))


def backward(dscores, x, W1, b1, W2, b2, W3, b3, mistake=False):
    y1 = sigmoid(z1 := x @ W1 + b1)
    y2 = sigmoid(z2 := y1 @ W2 + b2)
    dz2 = dscores @ W3.T * d_sigmoid(y2 if mistake else z2)        # (N, 20)
    dz1 = dz2 @ W2.T * d_sigmoid(y1 if mistake else z1)            # (N, 40)
    return dz1 @ W1.T, x.T @ dz1, dz1.sum(axis=0), y1.T @ dz2, dz2.sum(axis=0), y2.T @ dscores, dscores.sum(axis=0)


GRADIENTS = {"right gradient": backward, "wrong gradient": partial(backward, mistake=True)}


# %%
# Train with each: mean cross-entropy of softmax, whose gradient is (probabilities - one-hot labels) / N.

def first_weights(variance):
    sizes = (int(np.prod(x_train.shape[1:])), 40, 20, len(classes))
    return [array for D, units in zip(sizes, sizes[1:], strict=False)
            for array in (draw_normal((D, units), sqrt(variance / D)), draw_normal((units,), 0.0))]


def train(backward, variance, seed):
    """The test accuracy before the first step, and after every 100 steps."""
    minidl.seed(seed)
    weights, accuracy, one_hot = first_weights(variance), [], xp.eye(len(classes), dtype=xp.float32)
    for step in range(STEPS + 1):
        if step % EVERY == 0:
            accuracy.append(float((forward(x_test, *weights).argmax(axis=1) == y_test).mean()))
        rows = draw_integers(len(x_train), BATCH)                  # with replacement, as in the course
        x = scale(x_train[rows]).reshape(BATCH, -1)
        exponentials = xp.exp(forward(x, *weights))
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        dscores = (probabilities - one_hot[minidl.asarray(y_train[rows])]) / BATCH
        for array, gradient in zip(weights, backward(dscores, x, *weights)[1:], strict=True):
            array -= LEARNING_RATE * gradient
    return accuracy


curves, last = {}, {}
for name, variance in INITS.items():
    for kind, gradient in GRADIENTS.items():
        runs = np.array([train(gradient, variance, seed) for seed in lesson.seeds])       # (seeds, STEPS / EVERY + 1)
        curves.setdefault(name, {})[kind] = np.arange(0, STEPS + 1, EVERY), runs.mean(axis=0)
        last[name, kind] = float(runs[:, -1].mean())
        print(f"{name:7} {kind}: test accuracy {' '.join(f'{value:.4f}' for value in runs[:, -1])}")
lesson.save(plots.curves(curves, f"A wrong gradient learns too, only worse ({lesson.data})", "step", "test accuracy",
                         reference=(chance, "always the commonest class")), "accuracy")

# %%
# Who would have noticed? The check does: it moves every weight a little up and down and measures how far the scores go.

minidl.seed(0)
weights = dict(zip(("W1", "b1", "W2", "b2", "W3", "b3"), first_weights(1), strict=True))
images = scale(x_train[:8]).reshape(8, -1)
good, bad = (check_function(forward, gradient, images, weights, largest=200) for gradient in GRADIENTS.values())
print(f"\nthe right one: {good}\n\nthe wrong one: {str(bad).splitlines()[0]}")

# %%
# W3 and b3 are right, all that lies below a sigmoid is wrong. So check the sigmoid by itself: now the cause has a name.

class CourseSigmoid(Sigmoid):
    def backward(self, dy):
        return dy * d_sigmoid(self.saved)                          # Sigmoid saves y; d_sigmoid wants z


print("", alone := check_layer(CourseSigmoid(), (8, 20)), sep="\n")
lesson.save(alone.plot(), "broken_sigmoid")

# %%
# What it shows, in numbers.

error = max(finding.max_relative_error for finding in good.findings)
lesson.claims.add("The right gradient equals the measured slopes to six digits", error, good.passed and error < 1e-6)
failed = [finding.tensor for finding in bad.findings if finding.verdict == "fail"]
lesson.claims.add("The wrong one fails below the sigmoids, and only there", ", ".join(failed),
                  failed == ["input", "W1", "b1", "W2", "b2"])
cause = alone.finding("input").causes[0].name
lesson.claims.add("The check of the sigmoid names the mistake", cause, cause == "activated value")
published = {"Xavier": ("0.796 (003); 0.789-0.841", "0.868-0.884"), "He": ("0.827 (003); 0.853", "0.889-0.894")}
for name in INITS:
    right, wrong = (last[name, kind] for kind in GRADIENTS)
    lesson.claims.add(f"{name}: it learns with the wrong gradient too, and more with the right one",
                      f"{chance:.3f} < {wrong:.3f} < {right:.3f}", 1.3 * chance < wrong < right - 0.01)
    if "mnist" in lesson.data:
        for kind, value, low, high, others in (("wrong", wrong, 0.80, 0.86, published[name][0]),
                                               ("right", right, 0.86, 0.91, published[name][1])):
            lesson.claims.add(f"{name}, {kind} gradient: {low:.2f} to {high:.2f}", value, low <= value <= high, others)
lesson.finish()
