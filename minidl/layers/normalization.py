"""Normalisation: keep the signals of every layer at mean 0 and spread 1, whatever the weights do."""

from minidl.backend import float_type, xp
from minidl.core import Layer, Parameter, in_range


class BatchNorm(Layer):
    """Normalise every feature over the batch, then scale and shift it.

        xhat = (x - mean) / sqrt(var + eps)            y = gamma * xhat + beta

    x, y: (N, ..., C)            gamma, beta, running_mean, running_var: (C,)

    Training mode takes mean and var over all axes but the last, var being the average of squares. Evaluation mode
    takes the running ones, which move by `running = momentum * running + (1 - momentum) * batch` in every training
    step: mind that torch.nn counts its momentum the other way round (0.1 there is 0.9 here).
    Ioffe & Szegedy 2015, arXiv:1502.03167, Algorithms 1 and 2. As there and in torch.nn, the running variance is the
    unbiased one, n / (n - 1) times the batch's. A single value per feature (n = 1) has no spread: then y = beta,
    no gradient reaches x, and the running variance stays.
    """

    statistics = ("running_mean", "running_var")

    def __init__(self, momentum=0.9, eps=1e-5):
        self.momentum = in_range(momentum, "BatchNorm momentum", 0, 1)
        self.eps = in_range(eps, "BatchNorm eps", 0, float("inf"))

    def build(self, input_shape):
        *_, C = shape = self.accept(input_shape)
        self.gamma = Parameter(xp.ones(C, float_type()), "gamma", decay=False)
        self.beta = Parameter(xp.zeros(C, float_type()), "beta", decay=False)
        self.running_mean, self.running_var = xp.zeros(C, float_type()), xp.ones(C, float_type())
        return shape

    def forward(self, x):
        self.check(x)
        axes = tuple(range(x.ndim - 1))
        if self.training:
            n = x.size // x.shape[-1]                                        # values per feature
            mean = x.mean(axes)                                              # (C,)
            var = ((x - mean) ** 2).mean(axes)
            self.running_mean += (1 - self.momentum) * (mean - self.running_mean)
            if n > 1:
                self.running_var += (1 - self.momentum) * (var * (n / (n - 1)) - self.running_var)
        else:
            mean, var = self.running_mean, self.running_var
        std = xp.sqrt(var + self.eps)
        xhat = (x - mean) / std
        self.saved = xhat, std, axes, self.training
        return self.gamma.data * xhat + self.beta.data

    def backward(self, dy):
        xhat, std, axes, from_batch = self.saved
        self.beta.grad[...] = dy.sum(axes)                                   # (C,)
        self.gamma.grad[...] = (dy * xhat).sum(axes)
        if not from_batch:  # the running statistics were constants
            return self.gamma.data / std * dy
        # every x moves the mean and the variance too: two averages come off
        return self.gamma.data / std * (dy - dy.mean(axes) - xhat * (dy * xhat).mean(axes))


class LayerNorm(Layer):
    """Normalise the features of every image, or of every place in an image, by themselves; then scale and shift them.

        xhat = (x - mean) / sqrt(var + eps)            y = gamma * xhat + beta

    x, y: (N, ..., C)            mean, var: (N, ..., 1)            gamma, beta: (C,)

    mean and var (the average of squares) are taken over the last axis, so no image sees the others: training and
    evaluation mode compute the same, and a batch of one is as good as any. Equals torch.nn.LayerNorm(C) on features
    that stand last; to normalise over several axes, as its normalized_shape=(H, W, C) does, put Flatten() before it.
    Ba, Kiros & Hinton 2016, arXiv:1607.06450, section 3.
    """

    def __init__(self, eps=1e-5):
        self.eps = in_range(eps, "LayerNorm eps", 0, float("inf"))

    def build(self, input_shape):
        *_, C = shape = self.accept(input_shape)
        self.gamma = Parameter(xp.ones(C, float_type()), "gamma", decay=False)
        self.beta = Parameter(xp.zeros(C, float_type()), "beta", decay=False)
        return shape

    def forward(self, x):
        self.check(x)
        centred = x - x.mean(-1, keepdims=True)
        std = xp.sqrt((centred * centred).mean(-1, keepdims=True) + self.eps)    # (N, ..., 1)
        xhat = centred / std
        self.saved = xhat, std
        return self.gamma.data * xhat + self.beta.data

    def backward(self, dy):
        xhat, std = self.saved
        others = tuple(range(dy.ndim - 1))
        self.beta.grad[...] = dy.sum(others)                                     # (C,)
        self.gamma.grad[...] = (dy * xhat).sum(others)
        dxhat = self.gamma.data * dy
        # every feature moves the mean and the variance too: two averages come off
        return (dxhat - dxhat.mean(-1, keepdims=True) - xhat * (dxhat * xhat).mean(-1, keepdims=True)) / std
