"""The optimizers' formulas, each with the CUDA kernel that computes the same on a GPU, so that every vector is read and
written once. What changes from step to step, such as the learning rate, reaches a kernel as an array of one number.

To add one: a class as below, with `remembered` (what it keeps from step to step), `__init__` and `update(w, g, ...)`;
its name in `minidl/optimizers/__init__.py`; its rows in `OPTIMIZERS` of `minidl/cases.py`. Without a kernel, CuPy
computes `update`, in more passes over memory.
"""

from math import sqrt

from minidl.arguments import in_range
from minidl.backend import Kernel, on_gpu, xp
from minidl.optimizers.optimizer import Optimizer

SGD_KERNEL = Kernel("sgd", "T g, raw T lr", "T w", "w -= lr[0] * g;")


def sgd_on_gpu(optimizer, w, g):
    SGD_KERNEL(g, *optimizer.on_device(w, optimizer.lr), w)


class SGD(Optimizer):
    """Stochastic gradient descent: a small step downhill.

        w = w - lr * g                     Robbins & Monro 1951
    """

    @on_gpu(sgd_on_gpu)
    def update(self, w, g):
        w -= self.lr * g


MOMENTUM_KERNEL = Kernel("momentum", "T g, raw T lr, T momentum, bool nesterov", "T w, T v", """
    v = momentum * v + g;
    w -= lr[0] * (nesterov ? g + momentum * v : v);
""")


def momentum_on_gpu(optimizer, w, g, v):
    MOMENTUM_KERNEL(g, *optimizer.on_device(w, optimizer.lr), optimizer.momentum, optimizer.nesterov, w, v)


class Momentum(Optimizer):
    """A ball that rolls downhill: the velocity v remembers earlier gradients.

        v = momentum * v + g
        w = w - lr * v                     Polyak 1964
        w = w - lr * (g + momentum * v)    with nesterov=True: Nesterov 1983; Sutskever et al. 2013, ICML

    v starts at zero. Textbooks often write v = momentum * v - lr * g, w = w + v: the same as long as lr is constant.
    Nesterov's method takes the gradient where the ball will be a step later; as in torch.optim, w here means
    that place ahead, so the gradient is taken at w as ever.
    """

    remembered = ("lr", "v")

    def __init__(self, parameters, lr, momentum=0.9, penalty=None, nesterov=False, clip=None):
        super().__init__(parameters, lr, penalty, clip)
        self.momentum, self.nesterov = in_range(momentum, "Momentum momentum", 0, 1), nesterov
        self.v = self.zeros()

    @on_gpu(momentum_on_gpu)
    def update(self, w, g, v):
        v *= self.momentum
        v += g
        w -= self.lr * (g + self.momentum * v if self.nesterov else v)


ADAGRAD_KERNEL = Kernel("adagrad", "T g, raw T lr, T eps", "T w, T s", """
    s += g * g;
    w -= lr[0] * g / (sqrt(s) + eps);
""")


def adagrad_on_gpu(optimizer, w, g, s):
    ADAGRAD_KERNEL(g, *optimizer.on_device(w, optimizer.lr), optimizer.eps, w, s)


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

    @on_gpu(adagrad_on_gpu)
    def update(self, w, g, s):
        s += g * g
        w -= self.lr * g / (xp.sqrt(s) + self.eps)


RMSPROP_KERNEL = Kernel("rmsprop", "T g, raw T lr, T decay, T share, T eps", "T w, T s", """
    s = decay * s + share * g * g;
    w -= lr[0] * g / (sqrt(s) + eps);
""")


def rmsprop_on_gpu(optimizer, w, g, s):
    decay = optimizer.decay
    RMSPROP_KERNEL(g, *optimizer.on_device(w, optimizer.lr), decay, 1 - decay, optimizer.eps, w, s)


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

    @on_gpu(rmsprop_on_gpu)
    def update(self, w, g, s):
        s *= self.decay
        s += (1 - self.decay) * g * g
        w -= self.lr * g / (xp.sqrt(s) + self.eps)


ADAM_KERNEL = Kernel("adam", "T g, raw T step, raw T root, T share1, T beta2, T share2, T eps", "T w, T m, T s", """
    m += share1 * (g - m);
    s = beta2 * s + share2 * g * g;
    w -= step[0] * m / (sqrt(s) / root[0] + eps);
""")


def adam_on_gpu(optimizer, w, g, m, s):
    beta1, beta2, t = optimizer.beta1, optimizer.beta2, optimizer.t
    step, root = optimizer.on_device(w, optimizer.lr / (1 - beta1**t), sqrt(1 - beta2**t))
    ADAM_KERNEL(g, step, root, 1 - beta1, beta2, 1 - beta2, optimizer.eps, w, m, s)


class Adam(Optimizer):
    """Momentum and RMSProp together, both corrected for having started at zero.

        m = beta1 * m + (1 - beta1) * g                mhat = m / (1 - beta1^t)
        s = beta2 * s + (1 - beta2) * g²               shat = s / (1 - beta2^t)
        w = w - lr * mhat / (sqrt(shat) + eps)         Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1

    t counts the steps from 1. eps is outside the root and after the correction, as in Algorithm 1 and torch.optim
    (the paper's faster variant, before section 2.1, puts it elsewhere).
    """

    remembered = ("lr", "m", "s", "t")

    def __init__(self, parameters, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8, penalty=None, clip=None):
        super().__init__(parameters, lr, penalty, clip)
        kind = type(self).__name__
        self.beta1, self.beta2 = in_range(beta1, f"{kind} beta1", 0, 1), in_range(beta2, f"{kind} beta2", 0, 1)
        self.eps = in_range(eps, f"{kind} eps", 0, float("inf"))
        self.m, self.s = self.zeros(), self.zeros()

    @on_gpu(adam_on_gpu)
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

    def decay_weights(self, decaying, w):
        w[decaying] *= 1 - self.lr * self.decay
