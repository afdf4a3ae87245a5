"""What a training remembers."""

import os
from dataclasses import dataclass, field
from math import inf, nan
from typing import NamedTuple

from minidl.arguments import described, did_you_mean
from minidl.errors import UserError
from minidl.files import written_whole
from minidl.plots import epochs

DATA = {"training": "", "validation": "validation_", "test": "test_"}     # in pictures and in a History's names
WATCHABLE = [before + kind for before in DATA.values() for kind in ("loss", "accuracy")]
USUALLY_WATCHED = ("validation_loss", "test_loss")     # the first one of these that is measured


class Best(NamedTuple):
    """The best epoch, counted from 1, and its number. Epoch 0 and NaN where no number is finite."""

    epoch: int
    value: float


@dataclass
class History:
    """One number per epoch in each list; a list is empty where that number is not measured.

    Training loss and accuracy are averages over the batches of the epoch, in training mode and while the weights move.
    Those of validation and test data are measured after it, in evaluation mode. There is no accuracy where y holds
    numbers to predict.
    """

    loss: list = field(default_factory=list)
    accuracy: list = field(default_factory=list)
    validation_loss: list = field(default_factory=list)
    validation_accuracy: list = field(default_factory=list)
    test_loss: list = field(default_factory=list)
    test_accuracy: list = field(default_factory=list)
    learning_rate: list = field(default_factory=list)  # at the end of the epoch
    seconds: list = field(default_factory=list)
    stopped: str = ""   # why the training ended before its last epoch

    def line(self):
        """The last epoch in words."""
        parts = [f"epoch {len(self.loss):3d}", f"loss {digits(self.loss[-1])}"]
        parts += [f"accuracy {self.accuracy[-1]:.4f}"] if self.accuracy else []
        for name in ("validation", "test"):
            accuracy, loss = getattr(self, f"{name}_accuracy"), getattr(self, f"{name}_loss")
            parts += [f"{name} accuracy {accuracy[-1]:.4f}"] if accuracy else \
                [f"{name} loss {digits(loss[-1])}"] if loss else []
        return "   ".join([*parts, f"{self.seconds[-1]:.1f} s"])

    def measured(self):
        """{name: list} of all numbers that were measured. pandas.DataFrame(history.measured()) is a table of it."""
        return {name: values for name, values in vars(self).items() if values and isinstance(values, list)}

    def watched(self, watch=None):
        """The name of the list to go by: `watch`, or validation_loss, or else test_loss. UserError if it is empty."""
        check_watch(watch)
        measured, wanted = self.measured(), USUALLY_WATCHED if watch is None else (watch,)
        for name in wanted:
            if name in measured:
                return name
        if not measured:
            raise UserError(f"{' or '.join(wanted)}: nothing is measured yet, no epoch has ended")
        there = ", ".join(name for name in WATCHABLE if name in measured)
        raise UserError(f"{' or '.join(wanted)}: not measured in this training; expected one of {there}. "
                        f"{_cure(wanted[0], measured)}")

    def best(self, watch=None, least_change=0.0):
        """Best(epoch, value): the epoch of the lowest loss or of the highest accuracy, the first one of equal ones.

            epoch, value = history.best("test_accuracy")

        watch: the name of a list; None for validation_loss, or else test_loss
        least_change: a number has to be better than the best so far by more than this
        """
        name = self.watched(watch)
        sign = 1 if name.endswith("accuracy") else -1
        best = Best(0, -sign * inf)
        for epoch, value in enumerate(getattr(self, name), 1):
            if sign * (value - best.value) > least_change:      # never of NaN
                best = Best(epoch, float(value))
        return best if best.epoch else Best(0, nan)

    def plot(self, path=None):
        """The figure of loss and accuracy over the epochs, for training, validation and test data.

        path: a name such as "history.png", where the figure is saved too, and closed; the ending chooses the format
        """
        panels = {kind: {label: values for label, before in DATA.items() if (values := getattr(self, before + kind))}
                  for kind in ("loss", "accuracy")}
        panels = {kind: lines for kind, lines in panels.items() if lines}
        if not panels:
            raise UserError("plot: there is nothing to draw yet, no epoch has ended")
        figure = epochs(panels, f"{' and '.join(panels)} over {counted(len(self.loss), 'epoch')}")
        if path is not None:
            _save(figure, path)
        return figure


def digits(loss):
    """A loss in a line: with four decimals, where it is no number of astronomy."""
    return f"{loss:.4f}" if not abs(loss) >= 1e6 else f"{loss:.4g}"


def check_watch(watch):
    """Raise an error unless this is the name of a loss or of an accuracy in a History, or None."""
    if watch is not None and watch not in WATCHABLE:
        raise UserError(f"watch={watch!r:.60}: expected one of {', '.join(WATCHABLE)}."
                        f"{did_you_mean(watch, WATCHABLE)}")


def counted(count, noun):
    """Such as "1 epoch" and "2 epochs"."""
    return f"{count} {noun}{'s' * (count != 1)}"


def _cure(name, measured):
    """How the number of this name would be measured."""
    if name.endswith("accuracy") and name.replace("accuracy", "loss") in measured:
        return "There is an accuracy only where y holds labels, integers"
    if name.startswith("validation"):
        return "Pass validation=0.1 to fit, which keeps a tenth of the images out of the training"
    return "Pass test=(x_test, y_test) to fit"


def _save(figure, path):
    """Write the figure to a file of the format that the path's ending names, and close it."""
    import matplotlib.pyplot as plt
    kinds = figure.canvas.get_supported_filetypes()
    ending = os.path.splitext(path)[1][1:].lower() if isinstance(path, (str, os.PathLike)) else ""
    if ending not in kinds:
        raise UserError(f"plot: expected the name of a picture, such as 'history.png', got {described(path)}. It may "
                        f"end in {', '.join(sorted(kinds))}")
    with written_whole(path, "the picture") as file:
        figure.savefig(file, format=ending)
    plt.close(figure)
