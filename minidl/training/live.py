"""How far a training is, in a line at the bottom of a terminal."""

import time

from minidl.parallel import under_debugger
from minidl.text import StatusLine, in_words

DRAW_SECONDS = 0.25


class LiveLine(StatusLine):
    """`epoch 3/10   step 1200/5000   2 min left   loss 0.6231   accuracy 0.7840   5,210 images/s`

    In a narrow terminal the end of it is cut. Where nobody wants reports, or a debugger is at work, there is none.
    """

    def __init__(self, run):
        super().__init__(wanted=bool(run.report) and not under_debugger())
        self.drawn = time.perf_counter()

    def draw(self, run):
        """After a step. The loss is read here, which waits for a GPU, at most four times a second."""
        now = time.perf_counter()
        if not self.active or now - self.drawn < DRAW_SECONDS:
            return
        self.drawn = now
        rate = run.place / (now - run.epoch_began)      # images a second in this epoch
        left = (run.epochs - run.epoch) * len(run.x) - run.place
        parts = [f"epoch {run.epoch + 1}/{run.epochs}", f"step {run.step}/{run.steps}", f"{in_words(left / rate)} left",
                 f"loss {float(run.total) / run.place:.4f}"]
        parts += [f"accuracy {float(run.right) / run.place:.4f}"] if run.classifies else []
        self.show("   ".join([*parts, f"{rate:,.0f} images/s"]))
