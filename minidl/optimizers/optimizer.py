"""What all optimizers share, and the clipping of gradients."""

from minidl.arguments import in_range
from minidl.backend import xp
from minidl.errors import UserError
from minidl.optimizers.flat import OnParameters
from minidl.parallel import in_slices


class Optimizer(OnParameters):
    """What all optimizers share: the learning rate, the clipping, the penalty.

    parameters: as from model.parameters(), of a model that is built
    lr: the learning rate, a number that may be changed at any time (`optimizer.lr = 0.01`)
    penalty: L1(c) or L2(c), whose gradient is added to that of the loss, or None
    clip: the largest length that the gradient of the loss may have, see `clip_by_global_norm`, or None

    An optimizer defines `update(w, g, ...)`, which changes w by its formula; further arguments are the vectors that it
    remembers. t counts the steps, from 1 in the first one.
    """

    remembered = ("lr",)
    t = 0

    def __init__(self, parameters, lr, penalty=None, clip=None):
        super().__init__(parameters)
        self.lr = checked_lr(lr, f"{type(self).__name__} lr")
        if isinstance(penalty, type):
            raise UserError(f"{type(self).__name__}: penalty is the class {penalty.__name__}; make one: "
                            f"{penalty.__name__}(1e-4)")
        if penalty is not None and not hasattr(penalty, "gradient"):
            raise UserError(f"{type(self).__name__} penalty={penalty!r}: expected L2(c), L1(c) or None")
        self.penalty = penalty
        self.device_numbers = []    # of one number each, see on_device
        self.clip = clip if clip is None else in_range(clip, f"{type(self).__name__} clip", 0, float("inf"))

    def step(self):
        """Change the parameters once, by the gradients that the last backward pass left in them.

        Those stay as they are: clipping and the penalty concern what this step goes by.
        """
        w, g = self.vectors()
        shrink = None if self.clip is None else norm_and_shrink([self.flat], self.clip)[1]
        self.t += 1
        vectors = [w, g, *self.memory()]

        def step_slice(part):
            w, g, *memory = (vector[part] for vector in vectors)
            decaying = slice(0, max(0, self.flat.decaying - part.start))
            g = self.gradient(decaying, w, g, shrink)
            self.decay_weights(decaying, w)
            self.update(w, g, *memory)

        in_slices(step_slice, len(w), (len(vectors) + 2) * w.itemsize)

    def on_device(self, w, *numbers):
        """The numbers as arrays of one number each, as a kernel reads them; the same arrays at every step."""
        if len(self.device_numbers) != len(numbers):
            self.device_numbers = [xp.empty(1, w.dtype) for _ in numbers]
        for array, number in zip(self.device_numbers, numbers, strict=True):
            array.fill(number)
        return self.device_numbers

    def gradient(self, decaying, w, g, shrink):
        """What the step goes by in this slice: g, clipped, and in its part `decaying` with the penalty's gradient."""
        if shrink is not None:
            g = g * shrink
        if self.penalty is None or decaying.stop == 0:
            return g
        total = self.penalty.gradient(w)
        if getattr(total, "base", w) is not None:       # not an array of its own, but w or one number for all
            total = total + xp.zeros_like(w)
        total[decaying] += g[decaying]
        total[decaying.stop:] = g[decaying.stop:]       # in the memory of `total`, which is in the cache
        return total

    def decay_weights(self, decaying, w):
        """Weight decay as a step of its own, for w[decaying]; AdamW has it."""


def checked_lr(lr, what):
    """`lr` if it is a learning rate; `what` names it in the error."""
    if callable(lr) or isinstance(lr, (list, tuple)):
        raise UserError(f"{what}={lr!r}: expected a number of at least 0. A rate that changes is a schedule, as in "
                        f"fit(..., schedule=Cosine(0.1))")
    return in_range(lr, what, 0, float("inf"))


def clip_by_global_norm(parameters, limit):
    """Shorten the gradient of all parameters together to length `limit`, where it is longer; its direction stays.

        g = g * min(1, limit / (|g| + 1e-6))           |g| = sqrt(sum of g² over all parameters)

    A single steep place, as recurrent networks have them, then cannot throw the weights far away. It changes each
    parameter's grad; an optimizer's `clip` leaves those as backward left them. To the letter
    torch.nn.utils.clip_grad_norm_. Returns |g| as it was, an array of one number.
    Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, Algorithm 1.
    """
    parameters, limit = list(parameters), in_range(limit, "clip_by_global_norm limit", 0, float("inf"))
    norm, shrink = norm_and_shrink(parameters, limit)
    for parameter in parameters:
        parameter.grad *= shrink
    return norm


def norm_and_shrink(parameters, limit):
    """|g| of all parameters together, and the factor that brings it down to the limit; see `clip_by_global_norm`."""
    norm = xp.sqrt(sum((parameter.grad * parameter.grad).sum() for parameter in parameters))
    return norm, xp.minimum(limit / (norm + 1e-6), 1)
