"""The formulas of `minidl.optimizers` for the GPU: one kernel each, so that every vector is read and written once.

Their twins are the methods `update` there. Each function here takes the same arguments as that method.
"""

from math import sqrt

from minidl.ops.kernels import Kernel

SGD = Kernel("sgd", "T g, T lr", "T w", "w -= lr * g;")

MOMENTUM = Kernel("momentum", "T g, T lr, T momentum, bool nesterov", "T w, T v", """
    v = momentum * v + g;
    w -= lr * (nesterov ? g + momentum * v : v);
""")

ADAGRAD = Kernel("adagrad", "T g, T lr, T eps", "T w, T s", """
    s += g * g;
    w -= lr * g / (sqrt(s) + eps);
""")

RMSPROP = Kernel("rmsprop", "T g, T lr, T decay, T share, T eps", "T w, T s", """
    s = decay * s + share * g * g;
    w -= lr * g / (sqrt(s) + eps);
""")

ADAM = Kernel("adam", "T g, T step, T share1, T beta2, T share2, T root, T eps", "T w, T m, T s", """
    m += share1 * (g - m);
    s = beta2 * s + share2 * g * g;
    w -= step * m / (sqrt(s) / root + eps);
""")

MOVING_AVERAGE = Kernel("moving_average", "T w, T share", "T average", "average += share * (w - average);")


def moving_average(kept, w, average):
    MOVING_AVERAGE(w, 1 - kept.decay, average)


def sgd(optimizer, w, g):
    SGD(g, optimizer.lr, w)


def momentum(optimizer, w, g, v):
    MOMENTUM(g, optimizer.lr, optimizer.momentum, optimizer.nesterov, w, v)


def adagrad(optimizer, w, g, s):
    ADAGRAD(g, optimizer.lr, optimizer.eps, w, s)


def rmsprop(optimizer, w, g, s):
    RMSPROP(g, optimizer.lr, optimizer.decay, 1 - optimizer.decay, optimizer.eps, w, s)


def adam(optimizer, w, g, m, s):
    beta1, beta2, t = optimizer.beta1, optimizer.beta2, optimizer.t
    ADAM(g, optimizer.lr / (1 - beta1**t), 1 - beta1, beta2, 1 - beta2, sqrt(1 - beta2**t), optimizer.eps, w, m, s)
