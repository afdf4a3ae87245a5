"""What a training remembers."""

from dataclasses import dataclass, field


@dataclass
class History:
    """One number per epoch: training loss and accuracy (averages over its batches), accuracy or loss on test data."""

    loss: list = field(default_factory=list)
    accuracy: list = field(default_factory=list)
    test_accuracy: list = field(default_factory=list)  # empty without test data, or where numbers are predicted
    test_loss: list = field(default_factory=list)      # where numbers are predicted
    seconds: list = field(default_factory=list)

    def line(self):
        """The last epoch in words."""
        test = f"   test accuracy {self.test_accuracy[-1]:.4f}" if self.test_accuracy else \
            f"   test loss {self.test_loss[-1]:.4f}" if self.test_loss else ""
        accuracy = f"   accuracy {self.accuracy[-1]:.4f}" if self.accuracy else ""
        return f"epoch {len(self.loss):3d}   loss {self.loss[-1]:.4f}{accuracy}{test}   {self.seconds[-1]:.1f} s"
