"""
Lesson 7: when does dropout help?
=================================

Dropout removes a random part of the hidden units in every training step, so that no unit can rely on another one.
It was made against overfitting, and overfitting is worst where there is little data. So it should help most with a
hundred images, and hardly at all with many thousand. The authors of dropout measured something else: on MNIST it
gained nothing with 100 and 500 images, then more and more, and less again with many (Srivastava et al. 2014, section
7.4). We measure the gain, the test accuracy with dropout minus the test accuracy without it, for 100 images up to all
that there are: on a wide network with a high rate, as theirs was, and on the deep, narrow network of lesson 6.

Before you run it: draw the gain against the number of images, for both networks. Where is it largest? Does it ever
fall below zero? And how far apart will two seeds be?
"""

# %%
# Constants first: change one, run again.

import numpy as np

import minidl
from minidl import models, plots
from minidl.backend import draw_integers, draw_permutation
from minidl.lesson import Lesson
from minidl.losses import SoftmaxCrossEntropy
from minidl.optimizers import SGD
from minidl.training import evaluate

NETWORKS = {"two layers of 256, rate 0.5": ([256, 256], 0.5), "six layers of 100, rate 0.1": ([100] * 6, 0.1)}
SIZES, TESTED = [100, 300, 1000, 3000], 2000
STEPS, BATCH, LEARNING_RATE, EVERY = 2000, 100, 0.1, 250

lesson = Lesson("07_dropout_and_data", __doc__, data="mnist10k", seeds=3, takes="3 min, --fast 40 s")
x_train, y_train, x_test, y_test, classes = lesson.load()
scale = lesson.scaling(x_train)
x_test, y_test = x_test[:TESTED], y_test[:TESTED]
if "mnist" not in lesson.data:
    LEARNING_RATE = 0.03            # photographs have larger inputs, mean 0 and spread 1: six layers explode at 0.1
if lesson.fast:
    SIZES = [100, 1000]
SIZES.append(len(x_train))
EPOCHS = STEPS * BATCH / SIZES[-1]
print(f"{lesson.data}: {SIZES[0]} to {SIZES[-1]} training images, {TESTED} test images of {x_train.shape[1:]}; "
      f"{STEPS} steps, which are {STEPS * BATCH / SIZES[0]:g} to {EPOCHS:g} epochs")


# %%
# One run. The runs with and without dropout share seed, images, batches and first weights, so that their difference is
# the dropout. Of one seed, the 300 images contain the 100, the 1000 contain the 300, and so on. Every size gets the
# same number of *steps*. The small ones see each of their images far more often: one look after the step at which the
# images have been seen as often as in the run with all images shows what the same number of *epochs* would give.

def same_epochs(size):
    """The step at which `size` images have been seen as often as all of them are at the end."""
    return max(1, round(EPOCHS * size / BATCH))


def train(network, rate, size, seed):
    """The test accuracy after some of the steps: {step: accuracy}."""
    units, _ = NETWORKS[network]
    minidl.seed(seed)
    images = draw_permutation(len(x_train))[:size]
    batches = draw_integers(size, (STEPS, BATCH))                  # with replacement, as in lesson 6
    model = models.mlp(units, x_train.shape[1:], len(classes), dropout=rate)
    model.input_gradient = False                                   # nobody trains the images
    loss, optimizer = SoftmaxCrossEntropy(), SGD(model.parameters(), lr=LEARNING_RATE)
    accuracy = {}
    for step, batch in enumerate(batches, start=1):
        rows = images[batch]
        if loss.forward(model.forward(scale(x_train[rows])), y_train[rows]) < 1000:    # above that, NaN comes next
            model.backward(loss.backward())
            optimizer.step()
        if step % EVERY == 0 or step == same_epochs(size):
            accuracy[step] = evaluate(model, x_test, y_test, prepare=scale)
            lesson.note(network=network, rate=rate, size=size, seed=seed, step=step, epoch=step * BATCH / size,
                        accuracy=accuracy[step])
    return accuracy


# %%
# All runs. This is where the time goes.

without, dropout = {}, {}           # {(network, size): one {step: accuracy} for each seed}
with lesson.running():
    for seed, network, size in lesson.each(lesson.seeds, NETWORKS, SIZES):
        before = train(network, 0, size, seed)
        after = train(network, NETWORKS[network][1], size, seed)
        without.setdefault((network, size), []).append(before)
        dropout.setdefault((network, size), []).append(after)
        print(f"{network}, {size:5} images, seed {seed}: test accuracy {before[STEPS]:.4f}, with dropout "
              f"{after[STEPS]:.4f}, gain {100 * (after[STEPS] - before[STEPS]):+.2f} points")


def accuracies(runs, network, size, step):
    """The test accuracies after a step, one for each seed."""
    return [accuracy[step] for accuracy in runs[network, size]]


def points(accuracies, others):
    """How much higher, in points (hundredths), one number for each seed."""
    return [100 * (accuracy - other) for accuracy, other in zip(accuracies, others, strict=False)]


def gains(network, size, step):
    """What dropout adds to the test accuracy after a step."""
    return points(accuracies(dropout, network, size, step), accuracies(without, network, size, step))


# %%
# The picture that says it all. Horizontal axis: the number of training images; vertical axis: what dropout adds to the
# test accuracy, in points (0.01), after the same number of steps; a line through the means, a dot for each seed.

panels = {}
for network in NETWORKS:
    done = [size for size in SIZES if (network, size) in dropout]  # after Ctrl-C some may be missing
    panels[network] = {"gain": {size: gains(network, size, STEPS) for size in done}}
lesson.save(plots.settings({"": panels}, f"What dropout adds to the test accuracy ({lesson.data})", "training images",
                           "gain, in points", reference=(0, "no gain")), "gain")

# %%
# Look at the dots before the lines. On digits, the left panel has the shape that Srivastava et al. found, on a smaller
# scale: next to nothing with 100 and 300 images (0.5 ± 0.4 and 0.2 ± 0.6 points), 1.4 ± 0.2 with 1000, 0.2 ± 0.1 with
# 8000. So few images can be learned by heart even through the noise of dropout, and so many hardly need it.
#
# The right panel seems to tell the naive story: 3.7 ± 3.3 points with 100 images, and less and less after that. But its
# first dots are 8 points apart, and ten seeds make it 1.8 with a standard error of 1.0 (exercise 1): perhaps nothing.
# No mean is below zero. Photographs have a crossover (``--data cifar10 --fast``, one seed): 0.2 points with 1000 images
# in the left panel, -6.8 with all 50,000, as 2000 steps are 4 epochs then, too few to learn them by heart.

scores = {}
for network in NETWORKS:
    scores[network] = {"without dropout": {size: accuracies(without, network, size, STEPS) for size in SIZES},
                       "with dropout": {size: accuracies(dropout, network, size, STEPS) for size in SIZES}}
lesson.save(plots.settings({"": scores}, f"More images help more than dropout ({lesson.data})", "training images",
                           "test accuracy"), "accuracy")

# %%
# The two accuracies whose difference the first picture showed. The lines are nearly the same, and both climb: on digits
# from 0.77 with 100 images to 0.95 with 8000 in the left panel. Get more images before you tune dropout.
# But is the same number of steps fair? Next, the gain at every 250 steps, a line for each number n of images.

steps = range(EVERY, STEPS + 1, EVERY)
curves = {}
for network in NETWORKS:
    curves[network] = {}
    for size in SIZES:
        curves[network][f"n={size}"] = steps, [np.mean(gains(network, size, step)) for step in steps]
lesson.save(plots.curves(curves, f"The gain depends on when one stops ({lesson.data})", "step", "gain, in points",
                         reference=(0, "no gain")), "gain_by_step")

# %%
# Dropout slows training down and pays later, the later the more images there are. With 8000 digits the wide network
# loses 0.8 ± 0.3 points after 250 steps, and gains 0.2 ± 0.1 at the end; with 1000 the gain grows from 0.5 to 1.4. Here
# is the crossover, in time: stop early and dropout is harmful, train on and it is not. (A single high point at the
# left of the right panel is one run without dropout that was late to start: see metrics.csv.)
# Then the same number of epochs must give another picture than the same number of steps.

epochs = {}
for network in NETWORKS:
    epochs[network] = {"gain": {size: gains(network, size, same_epochs(size)) for size in SIZES}}
lesson.save(plots.settings({"": epochs}, f"The gain after {EPOCHS:g} epochs, however many steps ({lesson.data})",
                           "training images", "gain, in points", reference=(0, "no gain")), "gain_same_epochs")

# %%
# The same number of epochs turns the first picture round: with 100 digits, 25 epochs are 25 steps. The networks have
# hardly begun to learn, dropout slows them down, and the wide one loses 1.6 points. Six layers start so unevenly that
# the gain of a seed is anything from -12 to +29 points. It is the question that decides, not dropout.
#
# This lesson was about ``minidl/layers/dropout.py``; its blackboard form, four lines forward and three backward, is in
# ``minidl/textbook.py``, and ``--debug`` computes by it.
#
# Try (answers in ``docs/answers/07.md``):
#
# 1. Is the gain of the six layers with 100 images luck? Run with ``--fast --seeds 10`` (7 min) and compare the mean
#    with the standard deviation divided by the square root of 10.
# 2. Give the six layers the rate of the two, 0.5. What happens, and why not to the two?
# 3. Stop each run at its best look (metrics.csv has them all) in place of the last one. Does the gain change?
#
# What it shows, in numbers.

wide, deep = NETWORKS
for network in NETWORKS:
    more = points(accuracies(without, network, 1000, STEPS), accuracies(without, network, 100, STEPS))
    best = max(np.mean(gains(network, size, STEPS)) for size in SIZES)
    lesson.claims.add(f"{network}: 1000 images in place of 100 add more points than dropout does at any size",
                      f"{np.mean(more):.1f} > {best:.1f}", np.mean(more) > best)
early = gains(wide, SIZES[-1], EVERY)
lesson.claims.add(f"{wide}, all images: after {EVERY} steps dropout lowers the test accuracy (points)", early,
                  np.mean(early) < 0)
if "mnist" in lesson.data:
    few, some, many = (gains(wide, size, STEPS) for size in (100, 1000, SIZES[-1]))
    lesson.claims.add(f"{wide}: with 100 images dropout gains less than with 1000 (points at 100)", few,
                      np.mean(few) < np.mean(some), "no gain with 100 and 500, then more (Srivastava et al. 2014, 7.4)")
    lesson.claims.add(f"{wide}: with all images less than with 1000, too (points with all)", many,
                      np.mean(many) < np.mean(some), "less again with many (Srivastava et al. 2014, 7.4)")
    few, many = np.std(gains(deep, 100, STEPS)), np.std(gains(deep, SIZES[-1], STEPS))
    if len(lesson.seeds) > 1:
        lesson.claims.add(f"{deep}: the seeds differ more with 100 images than with all (standard deviation, points)",
                          f"{few:.2f} > {many:.2f}", few > many)
lesson.finish()
