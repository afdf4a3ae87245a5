"""
Lesson 5: what does batch normalisation buy?
============================================

Batch normalisation stretches what every unit gives out, over the images of a batch, to mean 0 and spread 1, and then
lets two learned numbers choose another mean and spread. In training it measures mean and spread in the batch; in
evaluation it takes a running average of what it measured before. We train D-100-100-100-100-100-10 on 1000 images from
16 sizes of first weights, 1 down to 0.0001, with it and without it, as chapter 6 of "Deep Learning from Scratch" does
(Saito 2016). Then we make the batch small, and look at both ways to measure.

Before you run it: at how many of the 16 sizes does the network with batch normalisation learn more than the one
without? And what happens if its layers are left in evaluation mode by mistake, so that they never measure a batch?
"""

# %%
# Constants first: change one, run again. The textbook adds 1e-6 to the variance, most libraries 1e-5: see the end.

import warnings

import numpy as np

import minidl
from minidl import Sequential, plots
from minidl.backend import draw_integers
from minidl.errors import UserError
from minidl.layers import BatchNorm, Dense, Flatten, LayerNorm, ReLU
from minidl.lesson import Lesson
from minidl.losses import SoftmaxCrossEntropy
from minidl.optimizers import SGD
from minidl.training import evaluate

IMAGES, TESTED, UNITS, DEPTH, EPS = 1000, 2000, 100, 5, 1e-6
SIZES = [float(size) for size in np.logspace(0, -4, 16)]          # standard deviation of the first weights
BATCH, EPOCHS, LEARNING_RATE = 100, 20, 0.01
BATCHES, SEEN, RATE_OF_128 = (2, 4, 8, 16, 32, 64, 128, 256), 10_000, 0.1
LOOKS = 60

warnings.simplefilter("ignore", RuntimeWarning)    # NumPy's of overflow: too large weights end in NaN, as we shall see

lesson = Lesson("05_batch_normalisation", __doc__, data="mnist10k", seeds=3, takes="4 min, --fast 50 s")
x_train, y_train, x_test, y_test, classes = lesson.load()
scale = lesson.scaling(x_train)
x_train, y_train, x_test, y_test = x_train[:IMAGES], y_train[:IMAGES], x_test[:TESTED], y_test[:TESTED]
chance = float(np.bincount(minidl.to_cpu(y_train)).max() / IMAGES)
print(f"{lesson.data}: {IMAGES} training and {TESTED} test images of {x_train.shape[1:]}")


# %%
# The network, with or without a layer that normalises between each sum and its ReLU; and some steps of training, on
# batches drawn with replacement.

def network(init, normalisation=None):
    layers = [Flatten()]
    for _ in range(DEPTH):
        layers.append(Dense(UNITS, init))
        if normalisation:
            layers.append(normalisation(eps=EPS))
        layers.append(ReLU())
    model = Sequential([*layers, Dense(len(classes), init)], input_shape=x_train.shape[1:])
    model.input_gradient = False                                   # nobody trains the images
    return model


def train(model, optimizer, steps, batch):
    loss = SoftmaxCrossEntropy()
    for _ in range(steps):
        rows = draw_integers(IMAGES, batch)
        loss.forward(model.forward(scale(x_train[rows])), y_train[rows])
        model.backward(loss.backward())
        optimizer.step()


def accuracies(model):
    """On the training and on the test images, in evaluation mode."""
    return evaluate(model, x_train, y_train, prepare=scale), evaluate(model, x_test, y_test, prepare=scale)


# %%
# The mistake: `model.eval()` for a look at the test images, and nobody calls `model.train()` after it. minidl refuses
# to go backward then. Other libraries compute on, so we build that, too: the BatchNorm layers alone in evaluation mode,
# where they take the running averages of their first day, mean 0 and variance 1.

def left_in_evaluation_mode(model):
    for layer in model.layers:
        if isinstance(layer, BatchNorm):
            layer.training = False
    return model


refusal = ""
model = network("he", BatchNorm)
try:
    train(model.eval(), SGD(model.parameters(), lr=LEARNING_RATE), 1, BATCH)
except UserError as error:
    refusal = str(error)
print(f"minidl, asked to train in evaluation mode: {refusal}")
lesson.claims.add("minidl refuses to train in evaluation mode", "an error" if refusal else "no error",
                  "call train() first" in refusal)

# %%
# Three networks from 16 sizes of first weights. Accuracy is always measured in evaluation mode.

KINDS = ("with BatchNorm", "without", "left in evaluation mode")
train_accuracy, test_accuracy, by_epoch = {}, {}, {}
with lesson.running():
    for seed, size, kind in lesson.each(lesson.seeds, SIZES, KINDS):
        minidl.seed(seed)
        model = network(f"normal:{size}", None if kind == "without" else BatchNorm)
        if kind == "left in evaluation mode":
            left_in_evaluation_mode(model)
        optimizer = SGD(model.parameters(), lr=LEARNING_RATE)
        looks = []
        for epoch in range(EPOCHS):
            train(model, optimizer, IMAGES // BATCH, BATCH)
            looks.append(evaluate(model, x_train, y_train, prepare=scale))
        on_train, on_test = accuracies(model)
        by_epoch[kind, size, seed] = looks
        train_accuracy[kind, size, seed], test_accuracy[kind, size, seed] = on_train, on_test
        lesson.note(experiment="size", kind=kind, size=size, seed=seed, train=on_train, test=on_test)
        print(f"seed {seed}, first weights {size:.4f}, {kind:24} training {on_train:.3f}, test {on_test:.3f}")

# %%
# Batches of 2 to 256 images, every network from He's first weights. All see as many images, and the learning rate is
# proportional to the batch: ten times smaller batches take ten times as many steps, each a tenth as long.

NORMALISATIONS = {"BatchNorm": BatchNorm, "LayerNorm": LayerNorm, "without": None}
RUNNING, MEASURED = "BatchNorm", "BatchNorm, training mode"
by_batch = {}


def accuracy_in_training_mode(model, x, y, batch):
    """The accuracy where BatchNorm takes mean and spread from each batch of images to classify."""
    before, right = model.state_dict(), 0
    for first in range(0, len(x), batch):
        scores = model.forward(scale(x[first:first + batch]))
        right += int((scores.argmax(axis=1) == y[first:first + batch]).sum())
    model.load_state_dict(before)                                  # its running averages have moved
    return right / len(x)


sizes_of_batch = BATCHES[::2] if lesson.fast else BATCHES
with lesson.running():
    for seed, batch, name in lesson.each(lesson.seeds, sizes_of_batch, NORMALISATIONS):
        minidl.seed(seed)
        model = network("he", NORMALISATIONS[name])
        train(model, SGD(model.parameters(), lr=RATE_OF_128 * batch / 128), SEEN // batch, batch)
        by_batch[name, batch, seed] = accuracies(model)
        if name == "BatchNorm":
            by_batch[MEASURED, batch, seed] = (accuracy_in_training_mode(model, x_train, y_train, batch),
                                               accuracy_in_training_mode(model, x_test, y_test, batch))
        on_train, on_test = by_batch[name, batch, seed]
        lesson.note(experiment="batch", kind=name, batch=batch, seed=seed, train=on_train, test=on_test)
        print(f"seed {seed}, batches of {batch:3}, {name:9} training {on_train:.3f}, test {on_test:.3f}")

# %%
# One network, two ways to measure: its accuracy on the training images after every step.

modes = {}
with lesson.running():
    for init in lesson.each(("normal:0.01", "he")):
        minidl.seed(lesson.seeds[0])
        model = network(init, BatchNorm)
        optimizer = SGD(model.parameters(), lr=LEARNING_RATE)
        modes[init] = {"training mode": [], "evaluation mode": []}
        for step in range(LOOKS):
            train(model, optimizer, 1, BATCH)
            modes[init]["training mode"].append(accuracy_in_training_mode(model, x_train, y_train, BATCH))
            modes[init]["evaluation mode"].append(evaluate(model, x_train, y_train, prepare=scale))
        print(f"first weights {init}, step 30: training mode {modes[init]['training mode'][29]:.3f}, "
              f"evaluation mode {modes[init]['evaluation mode'][29]:.3f}")

# %%
# The pictures.

def over_seeds(table, name, settings):
    return [float(np.mean([table[name, setting, seed] for seed in lesson.seeds])) for setting in settings]


guess = chance, "always the commonest class"
panels = {}
for title, table in ((f"{IMAGES} training images", train_accuracy), (f"{TESTED} test images", test_accuracy)):
    panels[title] = {kind: (SIZES, over_seeds(table, kind, SIZES)) for kind in KINDS}
lesson.save(plots.curves(panels, f"With BatchNorm nearly any size of the first weights will do ({lesson.data})",
                         "standard deviation of the first weights", "accuracy", xbase=10, limits=(0, 1.02),
                         reference=guess, markers=dict(zip(KINDS, "osx")), legend_columns=2), "sizes")
epochs, panels = range(1, EPOCHS + 1), {}
for size in SIZES:
    looks = {kind: np.mean([by_epoch[kind, size, seed] for seed in lesson.seeds], axis=0) for kind in KINDS[:2]}
    panels[f"first weights {size:.2g}"] = {kind: (epochs, looks[kind]) for kind in looks}
lesson.save(plots.curves(panels, f"Accuracy on {IMAGES} training images during training ({lesson.data})", "epoch",
                         "accuracy", limits=(0, 1.02)), "epochs")
panels = {}
for k, title in enumerate((f"{IMAGES} training images", f"{TESTED} test images")):
    table = {key: value[k] for key, value in by_batch.items()}
    panels[title] = {name: (sizes_of_batch, over_seeds(table, name, sizes_of_batch))
                     for name in (RUNNING, "LayerNorm", "without", MEASURED)}
lesson.save(plots.curves(panels, f"Small batches hurt BatchNorm, and only BatchNorm ({lesson.data})",
                         "images in a batch", "accuracy", xbase=2, limits=(0, 1.02), legend_columns=2), "batches")
panels = {f"first weights {init}": {mode: (range(1, LOOKS + 1), values) for mode, values in modes[init].items()}
          for init in modes}
lesson.save(plots.curves(panels, f"The same network in both modes, in its first {LOOKS} steps ({lesson.data})", "step",
                         "accuracy, training images", limits=(0, 1.02), reference=guess), "modes")

# %%
# What it shows, in numbers.

PUBLISHED = {0: (0.097, 0.419), 2: (0.979, 0.630), 3: (0.823, 0.763), 4: (0.235, 0.890), 7: (0.116, 1.0),
             15: (0.116, 0.523)}                                   # size: without, with
NORM, PLAIN, FROZEN = KINDS
wins, learns, learns_plain, apart = [], [], [], []
for seed in lesson.seeds:
    norm, plain, frozen = (np.array([train_accuracy[kind, size, seed] for size in SIZES]) for kind in KINDS)
    wins.append(int((norm > plain).sum()))
    learns.append(int((norm > 1.5 * chance).sum()))
    learns_plain.append(int((plain > 1.5 * chance).sum()))
    apart.append(float(abs(frozen - plain).mean()))
    print(f"seed {seed}: without BatchNorm more is learned from", [f"{size:.2f}" for size in np.array(SIZES)[norm < plain]])
print(wins, learns, learns_plain, apart)
lesson.finish()
