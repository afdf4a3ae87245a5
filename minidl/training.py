"""The training loop over (data, model, loss, optimizer), and what it remembers.

    for each batch:   scores = model.forward(x)
                      loss.forward(scores, y)
                      model.backward(loss.backward())
                      optimizer.step()
"""

import contextlib
import time
from dataclasses import dataclass, field
from math import ceil, isfinite

from minidl.backend import asarray, draw_permutation, memory_for
from minidl.core import positive_integer
from minidl.errors import ShapeError, UserError
from minidl.losses import SoftmaxCrossEntropy, check_range, checked_labels, lowest_and_highest


@dataclass
class History:
    """One number per epoch: training loss and accuracy (averages over the epoch's batches), test accuracy."""

    loss: list = field(default_factory=list)
    accuracy: list = field(default_factory=list)
    test_accuracy: list = field(default_factory=list)  # empty without test data
    seconds: list = field(default_factory=list)

    def line(self):
        """The last epoch in words."""
        test = f"   test accuracy {self.test_accuracy[-1]:.4f}" if self.test_accuracy else ""
        accuracy = f"   accuracy {self.accuracy[-1]:.4f}" if self.accuracy else ""
        return f"epoch {len(self.loss):3d}   loss {self.loss[-1]:.4f}{accuracy}{test}   {self.seconds[-1]:.1f} s"


def fit(model, optimizer, x, y, epochs, batch_size=100, loss=None, test=None, prepare=asarray, report=print,
        schedule=None, augment=None):
    """Train a model: `epochs` times through all of x, in a new random order each time.

    x: (N, ...) images or vectors    y: (N,) labels    test: (x_test, y_test), evaluated after every epoch, or None;
        all of them move to the device that computes, once, and bytes stay bytes there until their batch is due
    loss: SoftmaxCrossEntropy() unless given
    prepare: turns a batch of x into the model's input, such as Standardize(x_train); x itself may stay uint8
    report: is called with one line per epoch; None for silence
    schedule: sets optimizer.lr before every step, see `minidl.schedules`; None to leave it alone
    augment: changes every batch of training images, before `prepare`, see `minidl.augment`; None to leave them alone

    Labels are whole numbers, unless the loss compares with numbers (MeanSquaredError): then no accuracy is reported.

    Returns a History. The last, smaller batch is used too. If the loss stops being a number, training stops there
    and the line says so.
    """
    for name, thing in (("model", model), ("optimizer", optimizer), ("loss", loss), ("schedule", schedule),
                        ("augment", augment), ("prepare", prepare)):
        if isinstance(thing, type):
            raise UserError(f"fit: {name} is the class {thing.__name__}; make one: {thing.__name__}(...)")
    trained = getattr(optimizer, "flat", None)
    if trained is not None and not any(parameter.pack is trained for parameter in model.parameters()):
        raise UserError("fit: the optimizer trains the parameters of another model, and this one would learn nothing. "
                        "Make it from model.parameters()")
    loss = SoftmaxCrossEntropy() if loss is None else loss
    epochs, batch_size = positive_integer(epochs, "epochs"), positive_integer(batch_size, "batch_size")
    x, y, labels_seen = moved("fit", x, y)
    classifies = y.dtype.kind in "iu"
    compares_labels = classifies and getattr(loss, "target", None) == "labels"
    history = History()
    step, steps = 0, epochs * ceil(len(x) / batch_size)
    if test is not None and classifies:
        *test, _ = moved("fit, test", *test)
    with training_the_parameters_alone(model), memory_for(f"fit: a batch of {batch_size}", smaller(batch_size)):
        for _ in range(epochs):
            start, total, right = time.perf_counter(), 0, 0
            model.train()
            order = draw_permutation(len(x))
            for first in range(0, len(x), batch_size):
                rows = order[first:first + batch_size]
                if schedule is not None:
                    optimizer.lr = schedule(step / steps)
                images, labels = x[rows], y[rows]
                scores = model.forward(prepare(images if augment is None else augment(images)))
                if compares_labels and scores.ndim == 2:
                    check_range(*labels_seen, scores.shape[1])
                total += loss.forward(scores, labels) * len(rows)  # stays where it is: nothing waits for a GPU here
                if classifies:
                    right += (scores.argmax(axis=1) == labels).sum()
                model.backward(loss.backward())
                optimizer.step()
                step += 1
            history.loss.append(float(total) / len(x))
            if hasattr(schedule, "observe"):
                schedule.observe(history.loss[-1])
            if classifies:
                history.accuracy.append(float(right) / len(x))
                if test is not None:
                    history.test_accuracy.append(evaluate(model, *test, prepare=prepare))
            history.seconds.append(time.perf_counter() - start)
            if report:
                report(history.line())
            if not isfinite(history.loss[-1]):
                if report:
                    report("the loss is no longer a number: training stopped. Try a smaller learning rate")
                break
    return history


def evaluate(model, x, y, batch_size=500, prepare=asarray):
    """The share of images that the model classifies rightly, in evaluation mode; the mode before is put back."""
    x, y, labels_seen = moved("evaluate", x, y)
    right = 0
    with evaluation_mode(model), memory_for(f"evaluate: a batch of {batch_size}", smaller(batch_size)):
        for first in range(0, len(x), batch_size):
            rows = slice(first, first + batch_size)
            scores = model.forward(prepare(x[rows]))
            right += (scores.argmax(axis=1) == checked_labels(y[rows], scores)).sum()
            check_range(*labels_seen, scores.shape[1])
        return float(right) / len(x)


def moved(who, x, y):
    """x and y on the device that computes, and the smallest and the largest label, which are looked at only here."""
    with memory_for(f"{who}: the data set", "Take fewer images, or compute on the CPU by minidl.use(\"numpy\")"):
        labels_seen = lowest_and_highest(y)
        x, y = asarray(x), asarray(y)
    if len(x) != len(y) or not len(x):
        raise ShapeError(f"{who}: expected as many labels as images, and at least one; got {len(x)} images and "
                         f"{len(y)} labels")
    return x, y, labels_seen


def smaller(batch_size):
    """The cure where a batch does not fit into memory."""
    return f"Take a smaller batch_size, such as {batch_size // 2}" if batch_size > 1 else "Take a smaller model"


@contextlib.contextmanager
def training_the_parameters_alone(model):
    """Inside the block, the model's backward leaves out the gradient of the images, which nobody trains."""
    model.input_gradient = False
    try:
        yield
    finally:
        model.input_gradient = True


@contextlib.contextmanager
def evaluation_mode(model):
    """Inside the block, the model is in evaluation mode; after it, each of its layers in the mode before."""
    modes = [(layer, layer.training, layer.keeping) for layer in model.walk()]
    model.eval()
    try:
        yield
    finally:
        for layer, training, keeping in modes:
            layer.training, layer.keeping = training, keeping
