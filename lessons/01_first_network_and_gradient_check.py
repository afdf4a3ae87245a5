"""
Lesson 1: can a network learn with a wrong gradient?
====================================================

We write a small network, D-40-20-10, by hand in a few lines of NumPy, and its backward pass in a few more. Then we
plant the mistake of a real course, the "Rabbit Challenge", deep learning day 2 (https://study-ai.com): the slope of the
sigmoid, a formula for the sum z, is computed at the activated value y = sigmoid(z). All the rest is right.

Before you run it: the network reads ten digits. Guessing gives an accuracy of 0.11, the right gradient 0.88 after 2000
steps. Write down what the wrong gradient gives: 0.11, 0.5, 0.8? And if you had never seen the 0.88, what would tell
you that something is wrong?
"""

# %%
# Constants first: change one, run again.

import numpy as np

import minidl
from minidl import plots
from minidl.backend import draw_integers, draw_normal, xp  # xp is NumPy, or CuPy with --backend cupy
from minidl.gradcheck import check_function, check_layer
from minidl.layers import Sigmoid
from minidl.lesson import Lesson

INITS = {"Xavier": 1, "He": 2}    # variance of the first weights, times their number of inputs
STEPS, BATCH, LEARNING_RATE, EVERY, TESTED = 2000, 100, 0.1, 100, 2000

lesson = Lesson("01_first_network_and_gradient_check", __doc__, data="mnist10k", seeds=3, takes="15 s, --fast 10 s")
x_train, y_train, x_test, y_test, classes = lesson.load()
scale = lesson.scaling(x_train)
x_test, y_test = scale(x_test[:TESTED]).reshape(TESTED, -1), y_test[:TESTED]       # (2000, D), (2000,)
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
def d_sigmoid(z):
    return sigmoid(z) * (1 - sigmoid(z))


def backward(dscores, x, W1, b1, W2, b2, W3, b3, mistake=False):
    z1 = x @ W1 + b1
    y1 = sigmoid(z1)
    z2 = y1 @ W2 + b2
    y2 = sigmoid(z2)
    slope1, slope2 = d_sigmoid(z1), d_sigmoid(z2)
    if mistake:                                                    # that of the course: d_sigmoid wants z, and gets y
        slope1, slope2 = d_sigmoid(y1), d_sigmoid(y2)
    dz2 = dscores @ W3.T * slope2                                  # (N, 20)
    dz1 = dz2 @ W2.T * slope1                                      # (N, 40)
    return dz1 @ W1.T, x.T @ dz1, dz1.sum(axis=0), y1.T @ dz2, dz2.sum(axis=0), y2.T @ dscores, dscores.sum(axis=0)


def wrong_backward(dscores, x, *weights):
    return backward(dscores, x, *weights, mistake=True)


GRADIENTS = {"right gradient": backward, "wrong gradient": wrong_backward}


# %%
# Train with each: mean cross-entropy of softmax, whose gradient is (probabilities - one-hot labels) / N.
def first_weights(variance):                                       # W1, b1, W2, b2, W3, b3
    weights, D = [], x_test.shape[1]
    for units in (40, 20, len(classes)):
        weights += [draw_normal((D, units), (variance / D) ** 0.5), draw_normal((units,), 0.0)]
        D = units
    return weights


def train(gradient, variance, seed):
    """The test accuracy before the first step and after every 100 steps, and the trained weights."""
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
        for array, slope in zip(weights, gradient(dscores, x, *weights)[1:], strict=True):
            array -= LEARNING_RATE * slope
    return accuracy, weights


accuracy, first_layer, saturated = {}, {}, {}                      # each by (init, kind)
with lesson.running():
    for seed, init, kind in lesson.each(lesson.seeds, INITS, GRADIENTS):
        looks, weights = train(GRADIENTS[kind], INITS[init], seed)
        y1 = minidl.to_cpu(sigmoid(x_test @ weights[0] + weights[1]))                # (2000, 40)
        first_layer[f"{init}, {kind.split()[0]}"] = y1
        saturated.setdefault((init, kind), []).append(float(((y1 < 0.05) | (y1 > 0.95)).mean()))
        accuracy.setdefault((init, kind), []).append(looks)
        for k, look in enumerate(looks):
            lesson.note(init=init, gradient=kind, seed=seed, step=k * EVERY, accuracy=look)
        print(f"{init:7} {kind}, seed {seed}: test accuracy {looks[-1]:.4f}")
panels = {}
for (init, kind), runs in accuracy.items():
    panels.setdefault(init, {})[kind] = (np.arange(0, STEPS + 1, EVERY), np.mean(runs, axis=0))
lesson.save(plots.curves(panels, f"What a right and a wrong gradient learn ({lesson.data})", "step", "test accuracy",
                         reference=(chance, "always the commonest class")), "accuracy")

# %%
# The picture: steps on the horizontal axis, the share of test images read right on the vertical one, the mean of the
# seeds. On digits the wrong gradient reaches 0.81 (Xavier) and 0.83 (He), the right one 0.88 and 0.89. Both curves
# rise, nothing crashes. Cover the blue curve: who would suspect the other? The course did not, and 0.796 was published.
#
# With `--data shapes10` everybody notices: from step 200 on the wrong gradient stays near 0.15 (guessing: 0.11), while
# the right one climbs to 0.32 and 0.35. Whether a mistake shows depends on the task: a curve that rises proves nothing.
# But why does a network learn with a wrong gradient? Draw both slopes, and look at the outputs after the training.
z = minidl.asarray(np.linspace(-8, 8, 401))
line = minidl.to_cpu(z)
slopes = {"right: slope at z": (line, minidl.to_cpu(d_sigmoid(z))),
          "wrong: slope at y = sigmoid(z)": (line, minidl.to_cpu(d_sigmoid(sigmoid(z))))}
lesson.save(plots.curves({"": slopes}, "The wrong slope is between 0.20 and 0.25, wherever z is", "z", "slope",
                         limits=(0, 0.27)), "slopes")
lesson.save(plots.histograms({"layer 1": first_layer}, "The wrong gradient turns units into switches (outputs of layer "
                             "1 after training)", "output", limits={"layer 1": (0, 1)}), "first_layer")

# %%
# First picture: z on the horizontal axis, the slope on the vertical one. y is between 0 and 1, so the wrong slope
# (orange) is between 0.197 and 0.25 for every z: nearly a constant, and of the right sign, so most steps go downhill.
# But the right slope (blue) goes to 0 where a unit is saturated, and leaves it alone there; the wrong one pushes on.
# Second picture: the value of an output on the horizontal axis, how often it occurs on the vertical one. With the right
# gradient the outputs fill the range (on digits); with the wrong one most are within 0.05 of 0 or 1: no shades left.
#
# Who would have noticed? The gradient check: it moves every weight a little up and down and measures how far the scores
# go. It needs no training. W3 and b3 are right, all below a sigmoid is wrong, so we check the sigmoid by itself, too.
minidl.seed(0)
weights = dict(zip(("W1", "b1", "W2", "b2", "W3", "b3"), first_weights(1), strict=True))
images = scale(x_train[:8]).reshape(8, -1)
good = check_function(forward, backward, images, weights, largest=200)
bad = check_function(forward, wrong_backward, images, weights, largest=200)
print(f"\nthe right one: {good}\n\nthe wrong one: {str(bad).splitlines()[0]}")


class CourseSigmoid(Sigmoid):
    def backward(self, dy):
        return dy * d_sigmoid(self.saved)                          # Sigmoid saves y; d_sigmoid wants z


alone = check_layer(CourseSigmoid(), (8, 20))
print(f"\n{alone}")
lesson.save(alone.plot(), "broken_sigmoid")

# %%
# The report names the mistake. Its picture, above: a dot for each number of the gradient, measured on the horizontal
# axis, computed on the vertical one. A right backward pass puts all on the line; these have the right sign and the
# wrong size. Below, the errors by image and feature: they are everywhere, so the formula is wrong, and not an index.
#
# Try (answers: docs/answers/01.md): 1. Let `mistake` set both slopes to 0.25. 2. Let it set slope1 to 0, then to minus
# slope1; predict the accuracy. 3. At which two z do both slopes agree? Check CourseSigmoid with np.full((8, 20), z).
#
# This was about `Sigmoid` (minidl/layers/activation.py; blackboard form in minidl/textbook.py: `--textbook`, `--debug`,
# docs/stepping.md) and about minidl/gradcheck (docs/gradient_check.md). What the lesson shows, in numbers:
error = max(finding.max_relative_error for finding in good.findings)
lesson.claims.add("The right gradient equals the measured slopes to six digits", error, good.passed and error < 1e-6)
failed = [finding.tensor for finding in bad.findings if finding.verdict == "fail"]
lesson.claims.add("The wrong one fails below the sigmoids, and only there", ", ".join(failed),
                  failed == ["input", "W1", "b1", "W2", "b2"])
cause = alone.finding("input").causes[0].name
lesson.claims.add("The check of the sigmoid names the mistake", cause, cause == "activated value")
PUBLISHED = {"Xavier": ("0.796; 0.789-0.841", "0.868-0.884"), "He": ("0.827; 0.853", "0.889-0.894")}
for init in INITS:
    right, wrong = (np.array(accuracy[init, kind])[:, -1] for kind in GRADIENTS)
    lesson.claims.add(f"{init}: the wrong gradient learns something, and less than the right one, from every seed",
                      f"{chance:.3f} < {wrong.mean():.3f} < {right.mean():.3f}",
                      chance + 0.02 < wrong.min() and wrong.max() < right.min() - 0.01)
    most, fewer = saturated[init, "wrong gradient"], saturated[init, "right gradient"]
    lesson.claims.add(f"{init}: the wrong gradient saturates most outputs of layer 1, the right one fewer",
                      f"{np.mean(most):.0%} > {np.mean(fewer):.0%}", min(most) > max(0.5, 1.3 * max(fewer)))
    if "mnist" in lesson.data:
        lesson.claims.add(f"{init}, wrong gradient: 0.80 to 0.86", list(wrong), 0.80 <= wrong.mean() <= 0.86,
                          f"{PUBLISHED[init][0]} (Rabbit Challenge report; other students' reports)")
        lesson.claims.add(f"{init}, right gradient: 0.86 to 0.91", list(right), 0.86 <= right.mean() <= 0.91,
                          f"{PUBLISHED[init][1]} (other students' reports)")
    if lesson.data == "shapes10":
        early = np.mean([looks[2] for looks in accuracy[init, "wrong gradient"]])
        lesson.claims.add(f"{init}: from step {2 * EVERY} on the wrong gradient gains less than 0.03",
                          f"{early:.3f} to {wrong.mean():.3f}", wrong.mean() < early + 0.03)
lesson.finish()
