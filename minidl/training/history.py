"""What a training remembers."""

from dataclasses import dataclass, field


@dataclass
class History:
    """One number per epoch: training loss and accuracy (averages over its batches), and what was measured after it.

    The lists of what was not measured are empty: accuracies where numbers are predicted, validation and test without
    such data, the learning rate of an optimizer that has none.
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
        parts = [f"epoch {len(self.loss):3d}", f"loss {self.loss[-1]:.4f}"]
        parts += [f"accuracy {self.accuracy[-1]:.4f}"] if self.accuracy else []
        for name in ("validation", "test"):
            accuracy, loss = getattr(self, f"{name}_accuracy"), getattr(self, f"{name}_loss")
            parts += [f"{name} accuracy {accuracy[-1]:.4f}"] if accuracy else \
                [f"{name} loss {loss[-1]:.4f}"] if loss else []
        return "   ".join([*parts, f"{self.seconds[-1]:.1f} s"])
