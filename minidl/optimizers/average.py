"""An average of the weights over the last steps."""

import contextlib

from minidl.arguments import in_range
from minidl.backend import Kernel, on_gpu
from minidl.errors import UserError
from minidl.optimizers.flat import OnParameters
from minidl.parallel import in_slices

MOVING_AVERAGE = Kernel("moving_average", "T w, T share", "T average", "average += share * (w - average);")


def moving_average_on_gpu(kept, w, average):
    MOVING_AVERAGE(w, 1 - kept.decay, average)


class MovingAverage(OnParameters):
    """Weights averaged over the last 1 / (1 - decay) steps or so: they jitter less than those of the last step.

        average = decay * average + (1 - decay) * w    after every step; the first time, average = w

        average = MovingAverage(model.parameters())
        fit(model, optimizer, ..., callbacks=[average])     or, in a loop of one's own, average.update()
        with average.swapped_in():
            evaluate(model, x_test, y_test)

    BatchNorm's running statistics are averages already and stay what they are. To the letter
    torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn. Polyak & Juditsky 1992 (averaging the weights).
    """

    remembered = ("average", "t")
    each_step = True        # `fit` calls it after every step

    def __init__(self, parameters, decay=0.999):
        super().__init__(parameters)
        self.decay = in_range(decay, "MovingAverage decay", 0, 1)
        self.average, self.t = self.flat.data.copy(), 0

    def __call__(self, run):
        """What `fit` calls, with its run, after a step."""
        if self.t == 0 and set(map(id, self.all_parameters)).isdisjoint(map(id, run.model.parameters())):
            raise UserError("MovingAverage: expected the parameters of the model that is trained, got those of another "
                            "one. Make it from model.parameters()")
        self.update()

    def update(self):
        """Take the weights of this step into the average."""
        w, _ = self.vectors()
        if self.t == 0:
            self.average[...] = w
        self.t += 1

        in_slices(lambda part: self.follow(w[part], self.average[part]), len(w), 4 * w.itemsize)

    @on_gpu(moving_average_on_gpu)
    def follow(self, w, average):
        average += (1 - self.decay) * (w - average)

    @contextlib.contextmanager
    def swapped_in(self):
        """Inside the `with` block the model has the averaged weights, after it its own again."""
        w, _ = self.vectors()
        own = w.copy()
        w[...] = self.average
        try:
            yield
        finally:
            w[...] = own
