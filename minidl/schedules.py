"""Schedules: how the learning rate changes while a network trains.

A schedule is a function from the progress of the training, 0 at its start and 1 at its end, to a learning rate:

    schedule = Cosine(0.1)
    optimizer.lr = schedule(step / steps)              before every step, for step = 0, 1, ... steps - 1

`fit(..., schedule=schedule)` does just that. So the same schedule fits a run of any length, and any function of your
own will do, as in `schedule=lambda progress: 0.1 * (1 - progress)`. The schedules of torch.optim.lr_scheduler count
steps instead; each class says which of them it equals, at progress = step / steps.
"""

from math import cos, inf, pi

from minidl.arguments import in_range, positive_integer
from minidl.errors import UserError


class Constant:
    """The same learning rate throughout.

        lr(progress) = lr
    """

    def __init__(self, lr):
        self.lr = in_range(lr, "Constant lr", 0, inf)

    def __call__(self, progress):
        return self.lr


class PiecewiseConstant:
    """One learning rate after another: a long walk at a high rate, then short ones at lower rates.

        PiecewiseConstant([0.1, 0.01, 0.001], borders=[0.5, 0.75])     0.1 in the first half, and so on

    borders: where the next rate begins, one fewer than rates. He et al. 2015, arXiv:1512.03385, section 4.2, divided
    by 10 at these places. torch: MultiStepLR with milestones = borders * steps.
    """

    def __init__(self, rates, borders):
        self.rates = [in_range(lr, "PiecewiseConstant rates", 0, inf) for lr in rates]
        self.borders = [in_range(border, "PiecewiseConstant borders", 0, 1) for border in borders]
        if len(self.rates) != len(self.borders) + 1 or self.borders != sorted(self.borders):
            raise UserError(f"PiecewiseConstant: expected rising borders, one fewer than rates; got {len(self.rates)} "
                            f"rates and the borders {self.borders}")

    def __call__(self, progress):
        return self.rates[sum(progress >= border for border in self.borders)]


class Cosine:
    """Down along half a cosine: slowly at first, fast in the middle, slowly again towards the end.

        lr(progress) = final + (lr - final) * (1 + cos(pi * p)) / 2        p = (progress - warmup) / (1 - warmup)

    warmup: the share of the training in which the rate first rises in proportion to progress, from 0 to lr: a network
    just initialised, or a batch that is large, may diverge at lr at once (Goyal et al. 2017, arXiv:1706.02677).
    Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5. torch: without warm-up, CosineAnnealingLR(T_max=steps,
    eta_min=final).
    """

    def __init__(self, lr, final=0.0, warmup=0.0):
        self.lr, self.final = in_range(lr, "Cosine lr", 0, inf), in_range(final, "Cosine final", 0, inf)
        self.warmup = in_range(warmup, "Cosine warmup", 0, 1)

    def __call__(self, progress):
        if progress < self.warmup:
            return self.lr * progress / self.warmup
        p = (progress - self.warmup) / (1 - self.warmup)
        return self.final + (self.lr - self.final) * (1 + cos(pi * p)) / 2


class Triangular:
    """Up along a line, and down along another.

        lr(progress) rises from `start` to lr, where progress = peak, and falls to `final`, where progress = 1

    Smith 2015, arXiv:1506.01186, section 3; one such triangle for the whole training is the "1cycle" policy of Smith &
    Topin 2017, arXiv:1708.07120. torch: one cycle of CyclicLR(start, lr, step_size_up=peak * steps,
    step_size_down=(1 - peak) * steps) where start = final; OneCycleLR(anneal_strategy="linear") is the same triangle
    over steps - 1, so that its last step has the rate `final`, which here would be that of the step after.
    """

    def __init__(self, lr, peak=0.5, start=0.0, final=0.0):
        self.lr, self.peak = in_range(lr, "Triangular lr", 0, inf), in_range(peak, "Triangular peak", 0, 1)
        self.start = in_range(start, "Triangular start", 0, inf)
        self.final = in_range(final, "Triangular final", 0, inf)

    def __call__(self, progress):
        if progress < self.peak:
            return self.start + (self.lr - self.start) * progress / self.peak
        return self.lr + (self.final - self.lr) * (progress - self.peak) / (1 - self.peak)


WATCHED = {f"{of}{kind}": better for of in ("", "validation_", "test_")
           for kind, better in (("loss", "lower"), ("accuracy", "higher"))}     # {name: which is better}


class ReduceOnPlateau:
    """The same rate until the training stops getting better; then a lower one.

        schedule.observe(loss)             after every epoch: after more than `patience` epochs in a row without a
                                           new best, lr = max(lr * factor, least)

    It goes by what it observes, not by progress. A loss counts as a new best if it is below (1 - threshold) times
    the old one; with better="higher", for accuracies, if it is above (1 + threshold) times it.

    watch: what `fit` lets it observe after an epoch, a name in its History: "loss" (of the training, the default),
        "accuracy", "test_loss" or "test_accuracy". It decides which values are better
    better: for values of your own, handed to `observe`; in `fit`, "higher" alone means watch="accuracy"

    torch: ReduceLROnPlateau, which also ignores reductions by less than 1e-8.
    """

    def __init__(self, lr, factor=0.1, patience=10, threshold=1e-4, least=0.0, better=None, watch=None):
        self.lr = in_range(lr, "ReduceOnPlateau lr", 0, inf)
        self.least = in_range(least, "ReduceOnPlateau least", 0, inf)
        self.factor = in_range(factor, "ReduceOnPlateau factor", 0, 1)
        self.patience = 0 if patience == 0 else positive_integer(patience, "ReduceOnPlateau patience")
        self.threshold = in_range(threshold, "ReduceOnPlateau threshold", 0, 1)
        if better not in ("lower", "higher", None):
            raise UserError(f"ReduceOnPlateau better={better!r}: expected \"lower\" or \"higher\"")
        self.watch = watch or ("accuracy" if better == "higher" else "loss")
        if self.watch not in WATCHED:
            raise UserError(f"ReduceOnPlateau watch={watch!r}: expected one of {', '.join(WATCHED)}")
        self.better = better or WATCHED[self.watch]
        if watch and self.better != WATCHED[watch]:
            raise UserError(f"ReduceOnPlateau watch={watch!r}, better={better!r}: of a {watch.replace('_', ' ')}, the "
                            f"{WATCHED[watch]} one is better. Leave better out")
        self.best, self.waiting = inf if self.better == "lower" else -inf, 0

    def __call__(self, progress):
        return self.lr

    def observe(self, value):
        value = float(value)
        improved = value < self.best * (1 - self.threshold) if self.better == "lower" else \
            value > self.best * (1 + self.threshold)
        self.best, self.waiting = (value, 0) if improved else (self.best, self.waiting + 1)
        if self.waiting > self.patience:
            self.lr, self.waiting = min(self.lr, max(self.lr * self.factor, self.least)), 0

    def state_dict(self):
        """What is remembered from epoch to epoch: with it, a run can be resumed."""
        return {"lr": self.lr, "best": self.best, "waiting": self.waiting}

    def load_state_dict(self, state):
        """Take over a state_dict."""
        lr = in_range(float(state["lr"]), "ReduceOnPlateau, state: lr", 0, inf)
        self.lr, self.best, self.waiting = lr, float(state["best"]), int(state["waiting"])


def watched(schedule, measured):
    """The name of the number that a schedule with `observe` wants to be told after every epoch: its `watch`, or "loss".

    measured: the names of what the training measures
    """
    name = getattr(schedule, "watch", "loss")
    if name not in measured:
        raise UserError(f"{type(schedule).__name__} watch={name!r}: this training has {', '.join(measured)}. What "
                        f"begins with validation needs fit(..., validation=0.1), with test fit(..., test=(x_test, "
                        f"y_test)), an accuracy needs labels of classes")
    return name
