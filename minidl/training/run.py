"""All that `fit` does beside the five lines of its loop: arguments, batches, the learning rate, the reports."""

import contextlib
import time
from math import ceil, inf, nan

from minidl.arguments import positive_integer
from minidl.backend import draw_permutation, memory_for
from minidl.errors import suspect
from minidl.losses import MeanSquaredError, SoftmaxCrossEntropy
from minidl.schedules import watched
from minidl.training.checkpoint import Checkpoints
from minidl.training.checks import (
    check_alike,
    check_callbacks,
    check_changed,
    check_input,
    check_parts,
    check_rate,
    check_training,
    checked_data,
    pair_to_test,
    set_apart,
)
from minidl.training.doubts import doubt_guessing, doubt_inputs, doubt_last_layer, doubt_loss
from minidl.training.evaluation import evaluation, smaller_batch
from minidl.training.history import History
from minidl.training.interruption import Interruption
from minidl.training.live import LiveLine
from minidl.training.numbers import LOOK_EVERY, all_finite, first_bad_number
from minidl.training.snapshot import Snapshot


class Run:
    """One training: what it works on, how far it is, what it has seen. The arguments are those of `fit`.

    What callbacks may read: model, optimizer, loss, history; epoch and step, how many are finished, of `epochs` and
    `steps`. `stop(reason)` ends the training.
    """

    # what changes while it trains, see `snapshot`: numbers; an array or None
    COUNTED = ("step", "epoch", "place", "watching", "best", "classes")
    SUMMED = ("order", "total", "right")

    def __init__(self, model, optimizer, x, y, epochs, batch_size, loss, test, prepare, report, schedule, augment,
                 validation, callbacks):
        check_parts("fit", model=model, optimizer=optimizer, loss=loss, schedule=schedule, augment=augment,
                    prepare=prepare, report=report)
        check_training(model, optimizer)
        self.model, self.optimizer, self.schedule, self.augment = model, optimizer, schedule, augment
        self.loss = SoftmaxCrossEntropy() if loss is None else loss
        self.epochs = positive_integer(epochs, "epochs")
        self.batch_size = positive_integer(batch_size, "batch_size")
        self.prepare, self.report, self.callbacks = prepare, report, check_callbacks(callbacks)
        self.x, self.y = checked_data("fit", model, x, y, self.loss)
        self.classifies = self.y.dtype.kind in "iu" and self.y.ndim == 1 and \
            not isinstance(self.loss, MeanSquaredError)     # otherwise numbers to predict: no accuracy
        self.looks = {}     # what the model is evaluated on after every epoch
        if validation is not None:
            self.x, self.y, *self.looks["validation"] = set_apart(validation, self.x, self.y)
        if test is not None:
            self.looks["test"] = checked_data("fit, test", model, *pair_to_test(test), self.loss)
            check_alike(self.x, self.looks["test"][0])
        if hasattr(schedule, "observe"):
            watched(schedule, self.measured())
        doubt_last_layer(model, self.loss)
        self.step = self.epoch = self.place = 0     # finished steps and epochs; images of the epoch under way
        self.steps = self.epochs * ceil(len(self.x) / self.batch_size)
        self.order = None       # of the images in the epoch under way
        self.total = self.right = 0     # over the epoch under way: losses, hits
        self.history, self.watching, self.best = History(), True, inf
        self.stopped, self.input_checked, self.classes, self.live = "", False, None, None
        self.epoch_began = time.perf_counter()

    def measured(self):
        """The names of the losses and accuracies that every epoch adds to the history."""
        return [f"{of}{kind}" for kind in ["loss"] + ["accuracy"] * self.classifies
                for of in ("", *(f"{name}_" for name in self.looks))]

    @contextlib.contextmanager
    def training(self, checkpoint=None, resume=False):
        """Inside the block, the model's backward leaves out the gradient of the images, which nobody trains; Ctrl-C
        waits for the end of a step; and `checkpoint` gets the state."""
        self.checkpoints = Checkpoints(self, checkpoint, resume)
        before = getattr(self.model, "input_gradient", True)
        self.model.input_gradient = False
        self.last_finite, self.live = Snapshot(self), LiveLine(self)
        self.interruption = Interruption(terminate=checkpoint is not None)
        with contextlib.ExitStack() as at_the_end:      # all of it, also where one of them raises an error
            at_the_end.callback(self.checkpoints.release)
            for callback in self.callbacks:
                if hasattr(callback, "finish"):
                    at_the_end.callback(callback.finish, self)
            at_the_end.callback(setattr, self.model, "input_gradient", before)
            with memory_for(f"fit: a batch of {self.batch_size}", smaller_batch(self.batch_size)), \
                    self.interruption, self.live:
                yield
                self.end()
        self.interruption.pass_on()

    # ------------------------------------------------------------------------------------------------------ batches

    def batches(self):
        """(images, labels) of one step after the other, until the last epoch, or until something stops the training."""
        while self.epoch < self.epochs and not self.stopped:
            if self.order is None:
                self.begin_epoch()
            self.model.train()
            while self.place < len(self.x) and not self.stopped:
                yield self.batch()
            if self.place == len(self.x):
                self.end_epoch()

    def begin_epoch(self):
        self.epoch_began, self.total, self.right = time.perf_counter(), 0, 0
        self.order = draw_permutation(len(self.x))
        self.last_finite.take(self)

    def rows(self):
        """Those of x and y in the next batch."""
        return self.order[self.place:self.place + self.batch_size]

    def batch(self):
        """(images, labels) of the next step, with the learning rate set for it."""
        rows = self.rows()
        images = self.images(rows)
        if self.schedule is not None:
            self.optimizer.lr = self.rate()
        return images, self.y[rows]

    def images(self, rows):
        """The model's input, from these rows of x; the first one is checked."""
        images, first = self.x[rows], not self.input_checked
        for name, change in (("augment", self.augment), ("prepare", self.prepare)):
            if change is not None:
                images = change(images)
                if first:
                    check_changed("fit", name, images, len(rows))
        if first:
            check_input("fit", self.model, images)
            doubt_inputs(self.model, images)
            self.input_checked = True
        return images

    def rate(self):
        """The learning rate of the schedule for the next step."""
        progress = self.step / self.steps
        lr = self.schedule(progress)
        check_rate(lr, progress)
        return float(lr)

    # -------------------------------------------------------------------------------------------- after every step

    def after_step(self, value, scores, labels):
        """Count one step. value: its loss, which stays on the device: a GPU is waited for once in LOOK_EVERY steps."""
        self.count_step(value, scores, labels)
        for callback in self.callbacks:
            if getattr(callback, "each_step", False):
                callback(self)
        self.heed_interruption()
        saving = self.checkpoints.due()
        if self.stopped or saving or self.place == len(self.x) or \
                self.step - self.last_finite.facts["step"] >= LOOK_EVERY:
            self.look_at_numbers()
        if saving:
            self.checkpoints.save(self)
        if not self.stopped:
            self.live.draw(self)

    def heed_interruption(self):
        """After Ctrl-C or SIGTERM, end the training."""
        if self.interruption.asked is not None and not self.stopped:
            self.stopped = f"stopped {self.interruption.words()} after step {self.step} of {self.steps}"

    def count_step(self, value, scores, labels):
        self.total += value * len(labels)
        if self.classifies:
            self.right += (scores.argmax(axis=1) == labels).sum()
            self.classes = scores.shape[1]
        self.step += 1
        self.place += len(labels)

    def look_at_numbers(self):
        """Stop where one is NaN or infinite, with the numbers of the last look, which were all finite."""
        if all_finite(self):
            self.last_finite.take(self)
            return
        self.last_finite.restore(self)
        words = first_bad_number(self)
        self.last_finite.restore(self)
        self.checkpoints.keep()
        for name in [*self.measured(), "seconds"] + ["learning_rate"] * hasattr(self.optimizer, "lr"):
            getattr(self.history, name).append(nan)
        words = f"training stopped: {words} The model has its numbers of step {self.step} again, all finite"
        self.stop(words)
        if not self.report:
            suspect(f"fit: {words}")

    def stop(self, reason):
        """End the training after this step, or after this epoch where one has just ended. reason: a sentence."""
        self.stopped = self.history.stopped = reason
        self.say(reason)

    def end(self):
        """After the last step, or after the one at which Ctrl-C asked for an end, which a checkpoint does not remember:
        resumed, the training goes on."""
        if self.order is not None:
            self.checkpoints.save(self)
        if self.stopped != self.history.stopped:
            self.stop(self.stopped + self.checkpoints.cure())

    # ------------------------------------------------------------------------------------------- after every epoch

    def end_epoch(self):
        """Note the averages of the epoch, evaluate, report."""
        history = self.history
        history.loss.append(float(self.total) / len(self.x))
        if self.classifies:
            history.accuracy.append(float(self.right) / len(self.x))
        for name, (x, y) in self.looks.items():
            found = evaluation(f"fit, {name}", self.model, x, y, prepare=self.prepare, loss=self.loss)
            getattr(history, f"{name}_loss").append(found.loss)
            if self.classifies:
                getattr(history, f"{name}_accuracy").append(found.accuracy)
        if hasattr(self.optimizer, "lr"):
            history.learning_rate.append(float(self.optimizer.lr))
        if hasattr(self.schedule, "observe"):
            self.schedule.observe(getattr(history, watched(self.schedule, self.measured()))[-1])
        history.seconds.append(time.perf_counter() - self.epoch_began)
        self.epoch, self.order, self.place = self.epoch + 1, None, 0
        self.say(history.line())
        self.look_for_doubts()
        for callback in self.callbacks:
            if not getattr(callback, "each_step", False):
                callback(self)
        self.checkpoints.save_epoch(self)
        self.heed_interruption()    # while the model was evaluated

    def look_for_doubts(self):
        """Warn once of a network that guesses, or of a loss that has grown beyond all bounds."""
        if self.watching:
            guessing = isinstance(self.loss, SoftmaxCrossEntropy) and \
                doubt_guessing(self.history, self.classes, len(self.x), self.step)
            self.watching = not (guessing or doubt_loss(self.history, self.y))

    def say(self, line):
        if self.report:
            if self.live:
                self.live.clear()
            self.report(line)
