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

lesson = Lesson("07_dropout_and_data", __doc__, data="mnist10k", seeds=3, takes="5 min, --fast 1 min")
x_train, y_train, x_test, y_test, classes = lesson.load()
scale = lesson.scaling(x_train)
x_test, y_test = x_test[:TESTED], y_test[:TESTED]
if lesson.fast:
    SIZES, STEPS = [100, 1000], 1000
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
        loss.forward(model.forward(scale(x_train[rows])), y_train[rows])
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


def gains(network, size, step):
    """What dropout adds to the test accuracy after a step, in points (hundredths), one number for each seed."""
    pairs = zip(accuracies(dropout, network, size, step), accuracies(without, network, size, step), strict=True)
    return [100 * (after - before) for after, before in pairs]
