"""How far a training is, in a line at the bottom of a terminal."""

import time

from minidl.parallel import under_debugger
from minidl.text import StatusLine, in_words

DRAW_SECONDS = 0.25


class LiveLine(StatusLine):
    """`epoch 3 of 10   step 120 of 500   loss 0.6231   accuracy 0.7840   5,210 images/s   2 min left`

    Where nobody wants reports, or a debugger is at work, there is none.
    """

    def __init__(self, run):
        super().__init__(wanted=bool(run.report) and not under_debugger())
        self.began = self.drawn = time.perf_counter()
        self.first = run.step

    def draw(self, run):
        """After a step. The loss is read here, which waits for a GPU, at most four times a second."""
        now = time.perf_counter()
        if not self.active or now - self.drawn < DRAW_SECONDS:
            return
        self.drawn = now
        seconds = (now - self.began) / (run.step - self.first)      # a step
        accuracy = [f"accuracy {float(run.right) / run.place:.4f}"] if run.classifies else []
        self.show("   ".join([f"epoch {run.epoch + 1} of {run.epochs}", f"step {run.step} of {run.steps}",
                              f"loss {float(run.total) / run.place:.4f}", *accuracy,
                              f"{run.batch_size / seconds:,.0f} images/s",
                              f"{in_words(seconds * (run.steps - run.step))} left"]))
