"""Optimizers: from the gradient to the next weights.

All parameters of a model lie in one flat vector w, their gradients in another, g (see `FlatParameters`), so each
optimizer is its textbook formula over two vectors. The formulas follow torch.optim to the letter: where eps stands,
how an average starts.
"""

from math import sqrt

from minidl.backend import xp
from minidl.core import FlatParameters, Parameter, in_range
from minidl.errors import UserError


class Optimizer:
    """What all optimizers share: the flat vectors, the learning rate, the penalty.

    parameters: as from model.parameters(), of a model that is built
    lr: the learning rate, a number that may be changed at any time (`optimizer.lr = 0.01`)
    penalty: L1(c) or L2(c), whose gradient is added to that of the loss, or None
    """

    def __init__(self, parameters, lr, penalty=None):
        self.all_parameters = list(parameters)
        if not self.all_parameters or not all(isinstance(p, Parameter) for p in self.all_parameters):
            raise UserError(f"{type(self).__name__}: expected the parameters of a built model, got "
                            f"{len(self.all_parameters)} things. Pass model.parameters(), after model.build(...)")
        if len({id(p) for p in self.all_parameters}) < len(self.all_parameters):
            raise UserError(f"{type(self).__name__}: the same parameter was passed twice")
        self.lr = in_range(lr, f"{type(self).__name__} lr", 0, float("inf"))
        self.penalty = penalty
        self.flat = FlatParameters.of(self.all_parameters)

    def step(self):
        """Change the parameters once, by the gradients that the last backward pass left in them."""
        if any(parameter.pack is not self.flat for parameter in self.all_parameters):
            raise UserError(f"{type(self).__name__}: another optimizer was made for some of these parameters since. "
                            f"Use that one, or make this one anew")
        w, g = self.flat.data, self.flat.grad
        for parameter in self.all_parameters:
            for kind, array, vector in (("data", parameter.data, w), ("grad", parameter.grad, g)):
                if array.base is not vector:
                    raise UserError(f"{type(self).__name__}: {parameter.name}.{kind} of shape {array.shape} is another "
                                    f"array than the one this optimizer works on. Assign into it, as in "
                                    f"self.{parameter.name}.{kind}[...] = ..., not over it")
        if self.penalty is not None:
            weights = slice(0, self.flat.decaying)
            g[weights] += self.penalty.gradient(w[weights])
        self.update(w, g)

    def zeros(self):
        """A vector for a running average, as long as w."""
        return xp.zeros_like(self.flat.data)


class SGD(Optimizer):
    """Stochastic gradient descent: a small step downhill.

        w = w - lr * g                     Robbins & Monro 1951
    """

    def update(self, w, g):
        w -= self.lr * g


class Momentum(Optimizer):
    """A ball that rolls downhill: the velocity v remembers earlier gradients.

        v = momentum * v + g
        w = w - lr * v                     Polyak 1964

    v starts at zero. Textbooks often write v = momentum * v - lr * g, w = w + v: the same as long as lr is constant.
    """

    def __init__(self, parameters, lr, momentum=0.9, penalty=None):
        super().__init__(parameters, lr, penalty)
        self.momentum = in_range(momentum, "Momentum momentum", 0, 1)
        self.v = self.zeros()

    def update(self, w, g):
        self.v *= self.momentum
        self.v += g
        w -= self.lr * self.v


class AdaGrad(Optimizer):
    """Every weight has its own step, which shrinks with the gradients that it has seen.

        s = s + g²
        w = w - lr * g / (sqrt(s) + eps)   Duchi, Hazan & Singer 2011
    """

    def __init__(self, parameters, lr=0.01, eps=1e-10, penalty=None):
        super().__init__(parameters, lr, penalty)
        self.eps = in_range(eps, "AdaGrad eps", 0, float("inf"))
        self.s = self.zeros()

    def update(self, w, g):
        self.s += g * g
        w -= self.lr * g / (xp.sqrt(self.s) + self.eps)


class RMSProp(Optimizer):
    """AdaGrad that forgets: the squares are averaged over the last 1 / (1 - decay) steps or so.

        s = decay * s + (1 - decay) * g²
        w = w - lr * g / (sqrt(s) + eps)   Tieleman & Hinton 2012, lecture 6.5 of the course "Neural networks"

    decay: torch.optim calls it alpha; the lecture used 0.9.
    """

    def __init__(self, parameters, lr=0.01, decay=0.99, eps=1e-8, penalty=None):
        super().__init__(parameters, lr, penalty)
        self.decay = in_range(decay, "RMSProp decay", 0, 1)
        self.eps = in_range(eps, "RMSProp eps", 0, float("inf"))
        self.s = self.zeros()

    def update(self, w, g):
        self.s *= self.decay
        self.s += (1 - self.decay) * g * g
        w -= self.lr * g / (xp.sqrt(self.s) + self.eps)


class Adam(Optimizer):
    """Momentum and RMSProp together, both corrected for having started at zero.

        m = beta1 * m + (1 - beta1) * g                mhat = m / (1 - beta1^t)
        s = beta2 * s + (1 - beta2) * g²               shat = s / (1 - beta2^t)
        w = w - lr * mhat / (sqrt(shat) + eps)         Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1

    t counts the steps from 1. eps stands outside the root and after the correction, as in Algorithm 1 and torch.optim
    (the paper's faster variant, before section 2.1, puts it elsewhere).
    """

    def __init__(self, parameters, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8, penalty=None):
        super().__init__(parameters, lr, penalty)
        self.beta1 = in_range(beta1, "Adam beta1", 0, 1)
        self.beta2 = in_range(beta2, "Adam beta2", 0, 1)
        self.eps = in_range(eps, "Adam eps", 0, float("inf"))
        self.m, self.s, self.t = self.zeros(), self.zeros(), 0

    def update(self, w, g):
        self.t += 1
        self.m += (1 - self.beta1) * (g - self.m)
        self.s *= self.beta2
        self.s += (1 - self.beta2) * g * g
        step = self.lr / (1 - self.beta1**self.t)
        w -= step * self.m / (xp.sqrt(self.s) / sqrt(1 - self.beta2**self.t) + self.eps)
