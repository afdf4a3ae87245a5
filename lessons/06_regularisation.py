"""
Lesson 6: does regularisation help?
===================================

A network with 130,000 weights learns 300 images by heart: it is right about each of them, and wrong about every fifth
new one. This is overfitting, and the difference between the two accuracies is the gap. Three remedies promise to close
it: L2 adds c/2 * sum of w² to the loss, L1 adds c * sum of |w|, and dropout removes a random part of the units in
every step. A course and a textbook show that the gap closes. We repeat their experiment with what they left out:
several strengths, several optimizers, and each optimizer without any regularisation.

Before you run it: when the gap closes, which accuracy has moved? Does the one on new images rise, does the one on
the 300 fall, or both? And what happens at a strength that is far too large?
"""

# %%
# Constants first: change one, run again. They are the course's: six hidden layers of 100 units with ReLU, weights drawn
# by He's rule, 1000 steps. PUBLISHED are the settings that the course and other students published.

import numpy as np

import minidl
from minidl import models, plots
from minidl.backend import draw_integers, draw_permutation
from minidl.lesson import Lesson
from minidl.losses import SoftmaxCrossEntropy
from minidl.optimizers import SGD, Adam
from minidl.regularizers import L1, L2
from minidl.training import evaluate

IMAGES, TESTED, STEPS, BATCH, LOOK_EVERY = 300, 2000, 1000, 100, 100
OPTIMIZERS = {"SGD 0.01": (SGD, 0.01), "SGD 0.1": (SGD, 0.1), "Adam 0.001": (Adam, 0.001)}
STRENGTHS = {"L2": [0.01, 0.03, 0.1, 0.5], "L1": [0.0005, 0.001, 0.005, 0.05], "dropout": [0.05, 0.15, 0.3, 0.5]}
PUBLISHED = [("SGD 0.01", "L2", 0.1), ("SGD 0.1", "L1", 0.005), ("SGD 0.01", "dropout", 0.15),
             ("Adam 0.001", "dropout", 0.15)]

lesson = Lesson("06_regularisation", __doc__, data="mnist10k", seeds=3, takes="3 min, --fast 35 s")
x_train, y_train, x_test, y_test, classes = lesson.load()
scale = lesson.scaling(x_train)
x_test, y_test = x_test[:TESTED], y_test[:TESTED]
if lesson.fast:
    STRENGTHS = {"L2": [0.1, 0.5], "L1": [0.005, 0.05], "dropout": [0.15, 0.5]}
print(f"{lesson.data}: {IMAGES} of {len(x_train)} training images, {TESTED} test images of {x_train.shape[1:]}")


# %%
# One run. All runs of a seed share their 300 images, their batches and their first weights, so that only the optimizer
# and the regularisation differ. The optimizer gets L1 or L2 as its penalty: it adds c * sign(w) or c * w to the
# gradient of the loss. Dropout is a layer behind every ReLU; a rate of 0 leaves it out.

def train(cell, seed):
    """The accuracies on the 300 images and on the test images after every 100 steps: two lists."""
    name, method, strength = cell
    rule, learning_rate = OPTIMIZERS[name]
    minidl.seed(seed)
    rows = draw_permutation(len(x_train))[:IMAGES]
    x, y = scale(x_train[rows]), y_train[rows]
    batches = draw_integers(IMAGES, (STEPS, BATCH))                # with replacement, as in the course
    model = models.mlp([100] * 6, x.shape[1:], len(classes), dropout=strength if method == "dropout" else 0)
    model.input_gradient = False                                   # nobody trains the images
    penalty = {"L1": L1(strength), "L2": L2(strength)}.get(method)
    optimizer, loss = rule(model.parameters(), lr=learning_rate, penalty=penalty), SoftmaxCrossEntropy()
    on_training, on_test = [], []
    for step, rows in enumerate(batches, start=1):
        if loss.forward(model.forward(x[rows]), y[rows]) < 1000:   # above that, training explodes: NaN comes next
            model.backward(loss.backward())
            optimizer.step()
        if step % LOOK_EVERY == 0:
            on_training.append(evaluate(model, x, y))
            on_test.append(evaluate(model, x_test, y_test, prepare=scale))
            lesson.note(optimizer=name, method=method, strength=strength, seed=seed, step=step,
                        training_accuracy=on_training[-1], accuracy=on_test[-1])
    return on_training, on_test


# %%
# All runs, which take the time.

cells = []
for name in OPTIMIZERS:
    cells.append((name, "none", 0))
    for method, strengths in STRENGTHS.items():
        for strength in strengths:
            cells.append((name, method, strength))

runs = {}                           # {cell: (accuracies on the 300 images, on test images) for each seed}
with lesson.running():
    for seed, cell in lesson.each(lesson.seeds, cells):
        on_training, on_test = train(cell, seed)
        runs.setdefault(cell, []).append((on_training, on_test))
        print(f"seed {seed}  {cell[0]:10}  {cell[1]:7} {cell[2]:<6g}  accuracy on the {IMAGES} images "
              f"{on_training[-1]:.3f}, on test images {on_test[-1]:.4f}")

training = {cell: [on_training[-1] for on_training, _ in pairs] for cell, pairs in runs.items()}     # after all steps,
test = {cell: [on_test[-1] for _, on_test in pairs] for cell, pairs in runs.items()}                 # for each seed


def minus(accuracies, others):
    """The difference, one number for each seed."""
    return [one - other for one, other in zip(accuracies, others, strict=False)]


gap = {cell: minus(training[cell], test[cell]) for cell in runs}
gain = {cell: minus(test[cell], test[cell[0], "none", 0]) for cell in runs}       # by the same optimizer

# %%
# The picture that says it all: a row for each optimizer, a column for each remedy. The horizontal axis is the strength,
# the vertical axis the accuracy after the last step, a dot for each seed.

grid = {name: {} for name in OPTIMIZERS if (name, "none", 0) in runs}
for name, method, strength in runs:
    for column in STRENGTHS if method == "none" else [method]:     # every column begins with "none"
        panel = grid[name].setdefault(column, {"on the training images": {}, "on test images": {}})
        panel["on the training images"][strength or "none"] = training[name, method, strength]
        panel["on test images"][strength or "none"] = test[name, method, strength]
lesson.save(plots.settings(grid, f"The gap closes from above: the training accuracy falls ({lesson.data})", "strength",
                           "accuracy", limits=(0, 1.05)), "strengths")

# %%
# Read a panel from left to right. At "none" the gap is widest, as all 300 images are learned. Then the upper line comes
# down to the lower one; the lower one does not go up to meet it. A small gap is nothing to aim at: a network that gives
# every image the same answer has none. What contradicts the story is at the weak end. There dropout gains 1 to 2
# points (0.01) with every optimizer, on digits, while the gap stays; so does L2 with SGD at 0.01, but never with Adam,
# which divides the penalty's gradient by the size of past gradients (AdamW does not). In all, 12 of 36 settings gain.
#
# Next, SGD at 0.01 from step to step: each remedy at its two largest strengths.

panels, steps = {}, range(LOOK_EVERY, STEPS + 1, LOOK_EVERY)
for place in (-2, -1):
    for method, strengths in STRENGTHS.items():
        on_training, on_test = np.mean(runs["SGD 0.01", method, strengths[place]], axis=0)
        panels[f"{method} {strengths[place]}"] = {"on the training images": (steps, on_training),
                                                  "on test images": (steps, on_test)}
lesson.save(plots.curves(panels, f"Strong, and too strong: nothing learned (SGD 0.01, {lesson.data})", "step",
                         "accuracy", limits=(0, 1.05), columns=3), "curves")

# %%
# Below, L1 and L2 are far too strong, and the lines are flat: the penalty pulls all weights to 0, only the biases are
# left, and every image gets the same answer. The accuracy is then *exactly* the share of one class. Dropout at 0.5
# fails in another way: six layers lose half of their units each, little of the image arrives at the end, and learning
# is slow. Last, the comparison that the sources leave out. They compare with SGD at 0.01, whatever the optimizer.

bars = {"none, SGD 0.01": {}, "none, same optimizer": {}, "regularised": {}}
for name, method, strength in PUBLISHED:
    group = f"{method} {strength},\n{name}"
    bars["none, SGD 0.01"][group] = test["SGD 0.01", "none", 0]
    bars["none, same optimizer"][group] = test[name, "none", 0]
    bars["regularised"][group] = test[name, method, strength]
lesson.save(plots.bars(bars, list(bars["regularised"]), f"Compare with the same optimizer ({lesson.data})",
                       "test accuracy"), "controls")

# %%
# Each group of bars is a published setting. Beside the left bar, Adam with dropout gains 3.3 points; the middle bar
# says that 2.2 of them are Adam's. L1 loses more than the left bar says: a learning rate of 0.1 alone gains as much as
# Adam, and more than any remedy does with SGD at 0.01.
#
# Dropout at 0.15 with SGD at 0.01 contradicts the reports: it gains about a point here, though not with every draw of
# the images (ten seeds: 1.0 ± 1.0 points), and lost there (0.638 to 0.730, without it 0.745 to 0.779). The course's
# layer slows training down where ours does not; exercise 2 shows it. All accuracies are higher here, perhaps because
# the 300 images come from the same writers as the test images.
#
# The best strengths were chosen on the test images, which flatters them: see lesson 8. The lesson was about
# ``minidl/regularizers.py`` and ``minidl/layers/dropout.py``; ``--debug`` computes by the layer's blackboard form.
# Try (answers in ``docs/answers/06.md``):
#
# 1. Is dropout at 0.3 bad with SGD at 0.01, or only slow? Take 4000 steps.
# 2. The course's Dropout multiplies by 1 - rate in evaluation in place of dividing by it in training. Train with that.
# 3. L2 at 0.5: of which class is the share that the accuracy equals? Print the biases of the last layer.
#
# What it shows, in numbers.

mnist = "mnist" in lesson.data                                     # the published values were measured on MNIST
others = "other students' reports"
plain, lost = ("SGD 0.01", "none", 0), ("SGD 0.01", "dropout", 0.5)
lesson.claims.add(f"SGD 0.01, no regularisation: all {IMAGES} images are learned", training[plain],
                  min(training[plain]) > 0.99, f"1.0 ({others})" if mnist else "-")
lesson.claims.add("... and the test accuracy is lower by more than 0.15", gap[plain], min(gap[plain]) > 0.15,
                  f"0.22 to 0.26 ({others})" if mnist else "-")
frequencies = np.bincount(minidl.to_cpu(y_test), minlength=len(classes)) / TESTED
for method in ("L2", "L1"):
    accuracies = np.unique([test[name, method, STRENGTHS[method][-1]] for name in OPTIMIZERS])
    lesson.claims.add(f"{method} {STRENGTHS[method][-1]}, every optimizer: collapsed to exactly the share of one class",
                      ", ".join(f"{accuracy:.4f}" for accuracy in accuracies), np.isin(accuracies, frequencies).all(),
                      "no learning at 0.5 (Rabbit Challenge report)" if mnist else "-")
lesson.claims.add(f"SGD 0.01, dropout 0.5: less than half of the {IMAGES} images are learned", training[lost],
                  max(training[lost]) < 0.5, "no learning (Rabbit Challenge report)" if mnist else "-")
halved = [cell for cell in runs if np.mean(gap[cell]) < np.mean(gap[cell[0], "none", 0]) / 2]
lower = [cell for cell in halved if np.mean(gain[cell]) < 0]
lesson.claims.add("Every setting that halves the gap lowers the test accuracy", f"{len(lower)} of {len(halved)}",
                  0 < len(halved) == len(lower))
best = max(np.mean(gain[cell]) / np.mean(gap[cell[0], "none", 0]) for cell in runs)
lesson.claims.add("The best of all settings wins back less than a quarter of the gap", float(best), best < 0.25)
if mnist:
    rising = [cell for cell in runs if np.mean(gain[cell]) > 0]
    lesson.claims.add("Fewer than half of the settings raise the test accuracy", f"{len(rising)} of {len(runs) - 3}",
                      len(rising) < (len(runs) - 3) / 2, "0 of L1, L2 and dropout with SGD (all reports)")
    for cell, values in ((PUBLISHED[0], "0.662-0.736 < 0.745-0.779"), (PUBLISHED[1], "0.352-0.728 < 0.798")):
        lesson.claims.add(f"{cell[1]} {cell[2]}, {cell[0]}: lower test accuracy than without", gain[cell],
                          np.mean(gain[cell]) < 0, f"{values} ({others})")
lesson.finish()
