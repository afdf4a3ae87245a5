"""What can be done after every epoch of a training: `fit(..., callbacks=[...])`.

A callback is a function of one object, the run, which `fit` calls when the numbers of an epoch are in its history:

    def say_rate(run):
        print(run.epoch, run.optimizer.lr)

    fit(model, optimizer, x, y, epochs=10, callbacks=[say_rate, EarlyStopping(), CsvLog("runs/x/log.csv")])

run.model, run.optimizer, run.history    what is trained, and a History
run.epoch, run.epochs                    how many epochs have ended, and how many were asked for
run.step, run.steps                      the same for steps, over all epochs
run.stop("why")                          ends the training after this epoch or step, and reports why

An object with `__call__` may have more: `each_step = True` to be called after every step of the optimizer in place of
every epoch; `finish(run)`, called once when the training ends, however it ends; `state_dict()` and
`load_state_dict(state)` for what it remembers and no History knows, which travels in the checkpoint: arrays, numbers,
texts, None, and lists of these, by name.
"""

import csv
import io
import os
import tempfile

from minidl.arguments import described, in_range, positive_integer
from minidl.errors import DataError, UserError, suspect
from minidl.files import written_whole
from minidl.state import state_of, take_over
from minidl.training.history import check_watch, counted


class EarlyStopping:
    """Stop when a number has not got better for `patience` epochs in a row.

        fit(model, optimizer, x, y, epochs=100, validation=0.1, callbacks=[EarlyStopping(patience=5), BestWeights()])

    watch: "validation_loss", "test_accuracy" ...; None for the validation loss, or else the test loss. Whoever stops by
        the test data chooses the epoch by them: its test accuracy is then too good, and validation data avoid that
    least_change: a loss is better if it is lower than the best one by more than this, an accuracy if it is higher
    Attributes: epoch and value of the best epoch so far. The weights stay those of the last epoch, see `BestWeights`.

    It reads all from the history, so a resumed training stops after the same epoch. Prechelt 1998 (Early stopping - but
    when?).
    """

    epoch = value = None

    def __init__(self, watch=None, patience=5, least_change=0.0):
        check_watch(watch)
        self.watch, self.patience = watch, positive_integer(patience, "EarlyStopping patience")
        self.least_change = in_range(least_change, "EarlyStopping least_change", 0, float("inf"))

    def __call__(self, run):
        name = run.history.watched(self.watch)
        self.epoch, self.value = run.history.best(name, self.least_change)
        if self.patience <= run.epoch - self.epoch and run.epoch < run.epochs:
            direction = "risen" if name.endswith("accuracy") else "fallen"
            by = f" by more than {self.least_change:g}" if self.least_change else ""
            best = f"the best was {self.value:.4g}, of epoch {self.epoch}" if self.epoch else "it never was finite"
            run.stop(f"stopped early: the {name.replace('_', ' ')} has not {direction}{by} for "
                     f"{counted(self.patience, 'epoch')}; {best}")


class BestWeights:
    """Keep the weights of the best epoch, and put them into the model when the training ends, however it ends.

        best = BestWeights("validation_accuracy")
        fit(model, optimizer, x, y, epochs=30, validation=0.1, callbacks=[best])
        print(best.epoch, best.value)

    watch: as for `EarlyStopping`
    Attributes: epoch and value of the best epoch so far. Kept is the whole state of the model, BatchNorm's running
    statistics too, in the computer's memory, not in that of a GPU.
    """

    epoch = value = weights = None

    def __init__(self, watch=None):
        check_watch(watch)
        self.watch = watch

    def __call__(self, run):
        best = run.history.best(self.watch)
        if not hasattr(run.model, "sublayers"):
            raise UserError(f"BestWeights: expected a model made of layers, such as a Sequential, got "
                            f"{described(run.model)}. Let the class inherit from minidl.core.Layer")
        if best.epoch == run.epoch:
            self.epoch, self.value = best
            self.weights = state_of(run.model)

    def finish(self, run):
        if self.weights is not None:
            take_over(run.model, self.weights)
            self.weights = None     # those of another training, when this object takes part in one more

    def state_dict(self):
        """Best epoch, its number and its weights, which travel in the checkpoint."""
        if self.weights is None:
            return {}
        return {"epoch": self.epoch, "value": self.value} | {f"weights/{name}": self.weights[name]
                                                            for name in self.weights}

    def load_state_dict(self, state):
        """Take over a state_dict."""
        self.epoch = self.value = self.weights = None
        if state:
            self.epoch, self.value = int(state["epoch"]), float(state["value"])
            self.weights = {name.removeprefix("weights/"): state[name] for name in state if name.startswith("weights/")}


class Log:
    """A file that gets the numbers of every epoch: what `CsvLog` and `TensorBoardLog` share.

    A place that cannot be written to is an error when the log is made. What happens later, such as a full disk, is a
    SuspiciousWarning, once: a training of hours goes on, and the log is complete again as soon as the disk has space.
    """

    warned = False

    def __init__(self, path, example):
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
            raise UserError(f"{type(self).__name__}: expected a name such as {example!r}, got {described(path)}")
        self.path = os.path.abspath(path)       # the same one if the program changes its folder
        try:
            self.make_place()
        except OSError as reason:
            raise DataError(f"{self.path}: the log cannot be written there ({reason.strerror}). May you write into "
                            f"that folder, and has the disk space?") from reason

    def __call__(self, run):
        try:
            self.write(run.history, run.epoch)
        except (OSError, DataError) as reason:
            if not self.warned:
                words = getattr(reason.__cause__ or reason, "strerror", None) or reason
                suspect(f"{self.path}: the log of epoch {run.epoch} cannot be written ({words}). The training goes on, "
                        f"and the log will catch up after the next epoch. Has the disk space?")
            self.warned = True


def make_folder(folder):
    """Make the folder if it is missing. OSError unless a file can be written into it."""
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"a byte")


class CsvLog(Log):
    """A table of the training, one row per epoch, to be read by pandas or Excel while the training runs.

        fit(model, optimizer, x, y, epochs=30, callbacks=[CsvLog("runs/x/log.csv")])
        pandas.read_csv("runs/x/log.csv")

    The columns are the epoch and all that the history measures, with all digits. A missing folder is made.
    After the first epoch that it sees it writes the whole table from the history, so a new training replaces the log of
    an old one, and a resumed one has no row twice. After each later epoch it appends a row.
    """

    complete = False    # whether the file holds all epochs before this one

    def __init__(self, path):
        super().__init__(path, "runs/x/log.csv")

    def make_place(self):
        make_folder(os.path.dirname(self.path) or ".")
        if os.path.exists(self.path):
            with open(self.path, "r+b") as file:
                if file.read(6) not in (b"", b"epoch,"):
                    raise DataError(f"{self.path}: this file is no log of a training, and a log would replace it. "
                                    f"Choose another name")

    def write(self, history, epoch):
        appending, self.complete = self.complete and os.path.exists(self.path), False
        if appending:
            with open(self.path, "ab") as file:
                file.write(rows(history, epoch, epoch))
        else:
            with written_whole(self.path, "the log") as file:
                file.write(rows(history, 1, epoch, header=True))
        self.complete = True

    def finish(self, run):
        self.complete = False


def rows(history, first, last, header=False):
    """These epochs of a history as lines of CSV, in bytes."""
    columns, text = history.measured(), io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(["epoch", *columns])
    for k in range(first - 1, last):
        writer.writerow([k + 1, *(values[k] if k < len(values) else "" for values in columns.values())])
    return text.getvalue().encode()
