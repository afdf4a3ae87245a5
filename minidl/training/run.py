"""All that `fit` does beside the five lines of its loop: arguments, batches, the learning rate, the reports."""

import contextlib
import time
from math import ceil, isfinite

from minidl.arguments import positive_integer
from minidl.backend import draw_permutation, memory_for
from minidl.errors import UserError
from minidl.losses import SoftmaxCrossEntropy, check_range
from minidl.training.evaluation import evaluate, moved, smaller_batch
from minidl.training.history import History


class Run:
    """One training: what it works on, how far it is, what it has seen. The arguments are those of `fit`."""

    def __init__(self, model, optimizer, x, y, epochs, batch_size, loss, test, prepare, report, schedule, augment):
        check_arguments(model, optimizer, loss=loss, schedule=schedule, augment=augment, prepare=prepare)
        self.model, self.optimizer, self.schedule, self.augment = model, optimizer, schedule, augment
        self.loss = SoftmaxCrossEntropy() if loss is None else loss
        self.epochs = positive_integer(epochs, "epochs")
        self.batch_size = positive_integer(batch_size, "batch_size")
        self.prepare, self.report = prepare, report
        self.x, self.y, labels_seen = moved("fit", x, y)
        self.classifies = self.y.dtype.kind in "iu"      # otherwise the loss compares with numbers: no accuracy
        scores = getattr(model, "output_shape", None) or ()
        if self.classifies and len(scores) == 1 and getattr(self.loss, "target", None) == "labels":
            check_range(*labels_seen, scores[0])
        self.test = None
        if test is not None and self.classifies:
            *self.test, _ = moved("fit, test", *test)
        self.step, self.steps = 0, self.epochs * ceil(len(self.x) / self.batch_size)
        self.history = History()

    @contextlib.contextmanager
    def training(self):
        """Inside the block, the model's backward leaves out the gradient of the images, which nobody trains."""
        self.model.input_gradient = False
        try:
            with memory_for(f"fit: a batch of {self.batch_size}", smaller_batch(self.batch_size)):
                yield
        finally:
            self.model.input_gradient = True

    def batches(self):
        """(images, labels) of one step after the other, until the last epoch, or until the loss is NaN or infinite."""
        for _ in range(self.epochs):
            self.start, self.total, self.right = time.perf_counter(), 0, 0
            self.model.train()
            order = draw_permutation(len(self.x))
            for first in range(0, len(self.x), self.batch_size):
                rows = order[first:first + self.batch_size]
                if self.schedule is not None:
                    self.optimizer.lr = self.schedule(self.step / self.steps)
                images = self.x[rows] if self.augment is None else self.augment(self.x[rows])
                yield self.prepare(images), self.y[rows]
            self.end_epoch()
            if not isfinite(self.history.loss[-1]):
                self.say("the loss is no longer a number: training stopped. Try a smaller learning rate")
                return

    def after_step(self, value, scores, labels):
        """Count one step. value: its loss, which stays on the device: nothing waits for a GPU here."""
        self.total += value * len(labels)
        if self.classifies:
            self.right += (scores.argmax(axis=1) == labels).sum()
        self.step += 1

    def end_epoch(self):
        """Note the averages of the epoch, evaluate, report."""
        history = self.history
        history.loss.append(float(self.total) / len(self.x))
        if hasattr(self.schedule, "observe"):
            self.schedule.observe(history.loss[-1])
        if self.classifies:
            history.accuracy.append(float(self.right) / len(self.x))
            if self.test is not None:
                history.test_accuracy.append(evaluate(self.model, *self.test, prepare=self.prepare))
        history.seconds.append(time.perf_counter() - self.start)
        self.say(history.line())

    def say(self, line):
        if self.report:
            self.report(line)


def check_arguments(model, optimizer, **others):
    """Raise an error for a class in place of an object, and for an optimizer of another model."""
    for name, thing in (("model", model), ("optimizer", optimizer), *others.items()):
        if isinstance(thing, type):
            raise UserError(f"fit: {name} is the class {thing.__name__}; make one: {thing.__name__}(...)")
    trained = set(map(id, getattr(optimizer, "all_parameters", ())))
    if trained and trained.isdisjoint(map(id, model.parameters())):
        raise UserError("fit: the optimizer trains the parameters of another model, and this one would learn nothing. "
                        "Make it from model.parameters()")
