"""All that `fit` does beside the five lines of its loop: arguments, batches, the learning rate, the reports."""

import contextlib
import time
from math import ceil, isfinite

from minidl.arguments import positive_integer
from minidl.backend import draw_permutation, memory_for
from minidl.errors import suspect
from minidl.losses import SoftmaxCrossEntropy
from minidl.schedules import watched
from minidl.training.checks import (
    check_alike,
    check_changed,
    check_input,
    check_parts,
    check_rate,
    check_training,
    checked_data,
    pair_to_test,
)
from minidl.training.doubts import doubt_guessing, doubt_inputs, doubt_last_layer, doubt_loss
from minidl.training.evaluation import evaluation, smaller_batch
from minidl.training.history import History


class Run:
    """One training: what it works on, how far it is, what it has seen. The arguments are those of `fit`."""

    def __init__(self, model, optimizer, x, y, epochs, batch_size, loss, test, prepare, report, schedule, augment):
        check_parts("fit", model=model, optimizer=optimizer, loss=loss, schedule=schedule, augment=augment,
                    prepare=prepare, report=report)
        check_training(model, optimizer)
        self.model, self.optimizer, self.schedule, self.augment = model, optimizer, schedule, augment
        self.loss = SoftmaxCrossEntropy() if loss is None else loss
        self.epochs = positive_integer(epochs, "epochs")
        self.batch_size = positive_integer(batch_size, "batch_size")
        self.prepare, self.report = prepare, report
        self.x, self.y = checked_data("fit", model, x, y, self.loss)
        self.classifies = self.y.dtype.kind in "iu" and self.y.ndim == 1     # otherwise numbers to predict: no accuracy
        self.test = None if test is None else checked_data("fit, test", model, *pair_to_test(test), self.loss)
        if self.test:
            check_alike(self.x, self.test[0])
        doubt_last_layer(model, self.loss)
        self.step, self.steps = 0, self.epochs * ceil(len(self.x) / self.batch_size)
        self.history, self.watching = History(), True

    @contextlib.contextmanager
    def training(self):
        """Inside the block, the model's backward leaves out the gradient of the images, which nobody trains."""
        before = getattr(self.model, "input_gradient", True)
        self.model.input_gradient = False
        try:
            with memory_for(f"fit: a batch of {self.batch_size}", smaller_batch(self.batch_size)):
                yield
        finally:
            self.model.input_gradient = before

    def batches(self):
        """(images, labels) of one step after the other, until the last epoch, or until the loss is NaN or infinite."""
        for _ in range(self.epochs):
            self.start, self.total, self.right = time.perf_counter(), 0, 0
            self.model.train()
            order = draw_permutation(len(self.x))
            for first in range(0, len(self.x), self.batch_size):
                rows = order[first:first + self.batch_size]
                images = self.images(rows)
                if self.schedule is not None:
                    self.optimizer.lr = self.rate()
                yield images, self.y[rows]
            self.end_epoch()
            if not isfinite(self.history.loss[-1]):
                words = "the loss is NaN or infinite: training stopped. Try a smaller learning rate"
                if self.report:
                    self.report(words)
                else:
                    suspect(f"fit: {words}")
                return

    def images(self, rows):
        """The model's input, from these rows of x; that of the first step is looked at."""
        images, first = self.x[rows], self.step == 0
        for name, change in (("augment", self.augment), ("prepare", self.prepare)):
            if change is not None:
                images = change(images)
                if first:
                    check_changed("fit", name, images, len(rows))
        if first:
            check_input("fit", self.model, images)
            doubt_inputs(self.model, images)
        return images

    def rate(self):
        """The learning rate of the schedule for the next step."""
        lr = self.schedule(self.step / self.steps)
        if self.step == 0:
            check_rate(lr)
        return lr

    def after_step(self, value, scores, labels):
        """Count one step. value: its loss, which stays on the device: nothing waits for a GPU here."""
        self.total += value * len(labels)
        if self.classifies:
            self.right += (scores.argmax(axis=1) == labels).sum()
            self.classes = scores.shape[1]
        self.step += 1

    def end_epoch(self):
        """Note the averages of the epoch, evaluate, report."""
        history = self.history
        history.loss.append(float(self.total) / len(self.x))
        if self.classifies:
            history.accuracy.append(float(self.right) / len(self.x))
        if self.test:
            self.look_at_test()
        if hasattr(self.schedule, "observe"):
            self.schedule.observe(watched(self.schedule, history))
        history.seconds.append(time.perf_counter() - self.start)
        self.say(history.line())
        if self.watching:     # until the first warning
            guessing = isinstance(self.loss, SoftmaxCrossEntropy) and \
                doubt_guessing(history, self.classes, len(self.x), self.step)
            self.watching = not (guessing or doubt_loss(history, self.y))

    def look_at_test(self):
        """Note how well the model does on the test data: the accuracy, or the loss where numbers are predicted."""
        loss = None if self.classifies else self.loss
        found = evaluation("fit, test", self.model, *self.test, prepare=self.prepare, loss=loss)
        if self.classifies:
            self.history.test_accuracy.append(found.accuracy)
        else:
            self.history.test_loss.append(found.loss)

    def say(self, line):
        if self.report:
            self.report(line)
