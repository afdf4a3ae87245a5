"""Optimizers: from the gradient to the next weights.

All parameters of a model lie in one flat vector w, their gradients in another, g (see `FlatParameters`), so each
optimizer is its textbook formula over a few vectors: `update`. It is handed one slice of all of them after the other,
small enough to stay in the cache from the first line of the formula to the last. The formulas follow torch.optim to the
letter: where eps stands, how an average starts.
"""

import contextlib
from math import sqrt

from minidl.backend import to_cpu, xp
from minidl.core import FlatParameters, Parameter, in_range
from minidl.errors import ShapeError, UserError
from minidl.ops import updates
from minidl.ops.kernels import on_gpu
from minidl.parallel import in_slices


class OnParameters:
    """What works on all parameters at once: the flat vectors, and a memory that can be saved and taken over.

    parameters: as from model.parameters(), of a model that is built
    """

    remembered = ()  # names of what is kept from step to step: vectors and numbers

    def __init__(self, parameters):
        self.all_parameters = list(parameters) if hasattr(parameters, "__iter__") else []
        if not self.all_parameters or not all(isinstance(p, Parameter) for p in self.all_parameters):
            raise UserError(f"{type(self).__name__}: expected the parameters of a built model, got "
                            f"{len(self.all_parameters)} things. Pass model.parameters(), after model.build(...)")
        if len({id(p) for p in self.all_parameters}) < len(self.all_parameters):
            raise UserError(f"{type(self).__name__}: the same parameter was passed twice")
        self.flat = FlatParameters.of(self.all_parameters)

    def vectors(self):
        """All parameters as one vector, all gradients as another; changing these changes those."""
        if any(parameter.pack is not self.flat for parameter in self.all_parameters):
            raise UserError(f"{type(self).__name__}: another optimizer was made for some of these parameters since. "
                            f"Use that one, or make this one anew")
        for parameter in self.all_parameters:
            for kind, array, vector in (("data", parameter.data, self.flat.data),
                                        ("grad", parameter.grad, self.flat.grad)):
                if array.base is not vector:
                    raise UserError(f"{type(self).__name__}: {parameter.name}.{kind} of shape {array.shape} is another "
                                    f"array than the one this optimizer works on. Assign into it, as in "
                                    f"self.{parameter.name}.{kind}[...] = ..., not over it")
        return self.flat.data, self.flat.grad

    def memory(self):
        """Those of the things remembered that are vectors, one number for each parameter."""
        return [value for value in (getattr(self, name) for name in self.remembered) if isinstance(value, xp.ndarray)]

    def zeros(self):
        """A vector for a running average, as long as that of the parameters."""
        return xp.zeros_like(self.flat.data)

    def state_dict(self):
        """What is remembered from step to step, by name, as NumPy arrays: with it, a run can be resumed."""
        return {name: to_cpu(getattr(self, name)).copy() for name in self.remembered}

    def load_state_dict(self, state):
        """Take over a state_dict. Names and shapes must match; otherwise nothing is changed."""
        kind, mine, state = type(self).__name__, self.state_dict(), {key: to_cpu(state[key]) for key in state}
        if mine.keys() != state.keys():
            raise UserError(f"load_state_dict: {kind} remembers {', '.join(mine)}; the state holds {', '.join(state)}. "
                            f"Was it saved from another optimizer?")
        for name, array in mine.items():
            if array.shape != state[name].shape:
                raise ShapeError(f"load_state_dict: {name} of {kind} has shape {array.shape}, in the state "
                                 f"{state[name].shape}. Was it saved with another model?")
        for name, array in mine.items():
            value = state[name]
            setattr(self, name, xp.asarray(value.astype(array.dtype)) if value.ndim else value.item())


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
        self.lr = in_range(lr, f"{type(self).__name__} lr", 0, float("inf"))
        if penalty is not None and not hasattr(penalty, "gradient"):
            raise UserError(f"{type(self).__name__} penalty={penalty!r}: expected L2(c), L1(c) or None")
        self.penalty = penalty
        self.clip = clip if clip is None else in_range(clip, f"{type(self).__name__} clip", 0, float("inf"))

    def step(self):
        """Change the parameters once, by the gradients that the last backward pass left in them."""
        w, g = self.vectors()
        if self.clip is not None:
            clip_by_global_norm([self.flat], self.clip)
        self.t += 1
        vectors = [w, g, *self.memory()]

        def step_slice(part):
            w, g, *memory = (vector[part] for vector in vectors)
            self.decay_weights(slice(0, max(0, self.flat.decaying - part.start)), w, g)
            self.update(w, g, *memory)

        in_slices(step_slice, len(w), (len(vectors) + 2) * w.itemsize)

    def decay_weights(self, decaying, w, g):
        """Add the penalty's gradient for w[decaying], those of a slice that are weights."""
        if self.penalty is not None:
            g[decaying] += self.penalty.gradient(w[decaying])


def clip_by_global_norm(parameters, limit):
    """Shorten the gradient of all parameters together to length `limit`, where it is longer; its direction stays.

        g = g * min(1, limit / (|g| + 1e-6))           |g| = sqrt(sum of g² over all parameters)

    A single steep place, as recurrent networks have them, then cannot throw the weights far away. To the letter
    torch.nn.utils.clip_grad_norm_. Returns |g| as it was, an array of one number.
    Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, Algorithm 1.
    """
    parameters, limit = list(parameters), in_range(limit, "clip_by_global_norm limit", 0, float("inf"))
    norm = xp.sqrt(sum((parameter.grad * parameter.grad).sum() for parameter in parameters))
    for parameter in parameters:
        parameter.grad *= xp.minimum(limit / (norm + 1e-6), 1)
    return norm


class SGD(Optimizer):
    """Stochastic gradient descent: a small step downhill.

        w = w - lr * g                     Robbins & Monro 1951
    """

    @on_gpu(updates.sgd)
    def update(self, w, g):
        w -= self.lr * g


class Momentum(Optimizer):
    """A ball that rolls downhill: the velocity v remembers earlier gradients.

        v = momentum * v + g
        w = w - lr * v                     Polyak 1964
        w = w - lr * (g + momentum * v)    with nesterov=True: Nesterov 1983; Sutskever et al. 2013, ICML

    v starts at zero. Textbooks often write v = momentum * v - lr * g, w = w + v: the same as long as lr is constant.
    Nesterov's method takes the gradient where the ball will be a step later; as in torch.optim, w here stands for
    that place ahead, so the gradient is taken at w as ever.
    """

    remembered = ("lr", "v")

    def __init__(self, parameters, lr, momentum=0.9, penalty=None, nesterov=False, clip=None):
        super().__init__(parameters, lr, penalty, clip)
        self.momentum, self.nesterov = in_range(momentum, "Momentum momentum", 0, 1), nesterov
        self.v = self.zeros()

    @on_gpu(updates.momentum)
    def update(self, w, g, v):
        v *= self.momentum
        v += g
        w -= self.lr * (g + self.momentum * v if self.nesterov else v)


class AdaGrad(Optimizer):
    """Every weight has its own step, which shrinks with the gradients that it has seen.

        s = s + g²
        w = w - lr * g / (sqrt(s) + eps)   Duchi, Hazan & Singer 2011
    """

    remembered = ("lr", "s")

    def __init__(self, parameters, lr=0.01, eps=1e-10, penalty=None, clip=None):
        super().__init__(parameters, lr, penalty, clip)
        self.eps = in_range(eps, "AdaGrad eps", 0, float("inf"))
        self.s = self.zeros()

    @on_gpu(updates.adagrad)
    def update(self, w, g, s):
        s += g * g
        w -= self.lr * g / (xp.sqrt(s) + self.eps)


class RMSProp(Optimizer):
    """AdaGrad that forgets: the squares are averaged over the last 1 / (1 - decay) steps or so.

        s = decay * s + (1 - decay) * g²
        w = w - lr * g / (sqrt(s) + eps)   Tieleman & Hinton 2012, lecture 6.5 of the course "Neural networks"

    decay: torch.optim calls it alpha; the lecture used 0.9.
    """

    remembered = ("lr", "s")

    def __init__(self, parameters, lr=0.01, decay=0.99, eps=1e-8, penalty=None, clip=None):
        super().__init__(parameters, lr, penalty, clip)
        self.decay = in_range(decay, "RMSProp decay", 0, 1)
        self.eps = in_range(eps, "RMSProp eps", 0, float("inf"))
        self.s = self.zeros()

    @on_gpu(updates.rmsprop)
    def update(self, w, g, s):
        s *= self.decay
        s += (1 - self.decay) * g * g
        w -= self.lr * g / (xp.sqrt(s) + self.eps)


class Adam(Optimizer):
    """Momentum and RMSProp together, both corrected for having started at zero.

        m = beta1 * m + (1 - beta1) * g                mhat = m / (1 - beta1^t)
        s = beta2 * s + (1 - beta2) * g²               shat = s / (1 - beta2^t)
        w = w - lr * mhat / (sqrt(shat) + eps)         Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1

    t counts the steps from 1. eps stands outside the root and after the correction, as in Algorithm 1 and torch.optim
    (the paper's faster variant, before section 2.1, puts it elsewhere).
    """

    remembered = ("lr", "m", "s", "t")

    def __init__(self, parameters, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8, penalty=None, clip=None):
        super().__init__(parameters, lr, penalty, clip)
        kind = type(self).__name__
        self.beta1, self.beta2 = in_range(beta1, f"{kind} beta1", 0, 1), in_range(beta2, f"{kind} beta2", 0, 1)
        self.eps = in_range(eps, f"{kind} eps", 0, float("inf"))
        self.m, self.s = self.zeros(), self.zeros()

    @on_gpu(updates.adam)
    def update(self, w, g, m, s):
        m += (1 - self.beta1) * (g - m)
        s *= self.beta2
        s += (1 - self.beta2) * g * g
        step = self.lr / (1 - self.beta1**self.t)
        w -= step * m / (xp.sqrt(s) / sqrt(1 - self.beta2**self.t) + self.eps)


class AdamW(Adam):
    """Adam, with weight decay as a step of its own instead of a penalty in the loss.

        w = w - lr * decay * w             for the weights; then Adam's step, in which decay plays no part

    A penalty's gradient would be divided by sqrt(shat) like all the rest, so weights with large gradients would decay
    the least. Here all weights shrink by the same share. Biases, gamma and beta do not (`Parameter.decay`);
    torch.optim.AdamW shrinks whatever is in its parameter group, so give those a group with weight_decay=0 there.
    Loshchilov & Hutter 2019, arXiv:1711.05101, Algorithm 2, with the learning rate in the decay as in torch.optim.
    """

    def __init__(self, parameters, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.01, penalty=None, clip=None):
        super().__init__(parameters, lr, beta1, beta2, eps, penalty, clip)
        self.decay = in_range(decay, "AdamW decay", 0, float("inf"))

    def decay_weights(self, decaying, w, g):
        super().decay_weights(decaying, w, g)
        w[decaying] *= 1 - self.lr * self.decay


class MovingAverage(OnParameters):
    """Weights averaged over the last 1 / (1 - decay) steps or so: they jitter less than those of the last step.

        average = decay * average + (1 - decay) * w    after every step; the first time, average = w

        average = MovingAverage(model.parameters())
        ...                                            optimizer.step() and then average.update(), again and again
        with average.swapped_in():
            evaluate(model, x_test, y_test)

    BatchNorm's running statistics are averages already and stay what they are. To the letter
    torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn. Polyak & Juditsky 1992 (averaging the weights).
    """

    remembered = ("average", "t")

    def __init__(self, parameters, decay=0.999):
        super().__init__(parameters)
        self.decay = in_range(decay, "MovingAverage decay", 0, 1)
        self.average, self.t = self.flat.data.copy(), 0

    def update(self):
        """Take the weights of this step into the average."""
        w, _ = self.vectors()
        if self.t == 0:
            self.average[...] = w
        self.t += 1

        in_slices(lambda part: self.follow(w[part], self.average[part]), len(w), 4 * w.itemsize)

    @on_gpu(updates.moving_average)
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
