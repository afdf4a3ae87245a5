"""Normalisation: keep the signals of every layer at mean 0 and spread 1, whatever the weights do."""

from math import inf

from minidl.backend import float_type, xp
from minidl.core import Layer, Parameter, in_range
from minidl.ops.features import by_feature, feature_sums, mean_and_variance
from minidl.parallel import filled_in_slices, sum_over_slices, workspace


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
        if self.training:
            n = x.size // x.shape[-1]                                        # values per feature
            mean, var = mean_and_variance(x)                                 # (C,)
            self.running_mean += (1 - self.momentum) * (mean - self.running_mean)
            if n > 1:
                self.running_var += (1 - self.momentum) * (var * (n / (n - 1)) - self.running_var)
        else:
            mean, var = self.running_mean.copy(), self.running_var
        std = xp.sqrt(var + self.eps)
        scale = self.gamma.data / std

        def forward_slice(y, x):
            by_feature(xp.subtract, x, mean, out=y)
            by_feature(xp.multiply, y, scale, out=y)
            by_feature(xp.add, y, self.beta.data, out=y)

        self.saved = x, mean, std, self.training
        return filled_in_slices(forward_slice, x)

    def backward(self, dy):
        x, mean, std, from_batch = self.saved

        def sums(rows):
            product = workspace("centred", x[rows].shape, x.dtype)
            by_feature(xp.subtract, x[rows], mean, out=product)
            product *= dy[rows]
            return [feature_sums(dy[rows]), feature_sums(product)]

        total, product = sum_over_slices(sums, len(x), 3 * x[:1].nbytes)     # of dy, of dy * (x - mean): (C,)
        self.beta.grad[...] = total
        self.gamma.grad[...] = product / std
        # every x moves the mean and the variance too: two averages come off, unless the statistics were constants
        n = x.size // x.shape[-1] if from_batch else inf
        scale, average, slope = self.gamma.data / std, total / n, product / (n * std * std)

        def backward_slice(dx, dy, x):                                       # gamma / std *
            centred = workspace("centred", x.shape, x.dtype)                 #   (dy - average - xhat * average of both)
            by_feature(xp.subtract, x, mean, out=centred)
            by_feature(xp.multiply, centred, slope, out=centred)
            by_feature(xp.subtract, dy, average, out=dx)
            dx -= centred
            by_feature(xp.multiply, dx, scale, out=dx)

        return filled_in_slices(backward_slice, dy, x)


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
        xhat, std = xp.empty(x.shape, x.dtype), xp.empty((*x.shape[:-1], 1), x.dtype)

        def forward_slice(y, x, xhat, std):
            xp.subtract(x, x.mean(-1, keepdims=True), out=xhat)
            std[...] = xp.sqrt((xhat * xhat).mean(-1, keepdims=True) + self.eps)    # (n, ..., 1)
            xhat /= std
            by_feature(xp.multiply, xhat, self.gamma.data, out=y)
            by_feature(xp.add, y, self.beta.data, out=y)

        self.saved = xhat, std
        return filled_in_slices(forward_slice, x, xhat, std)

    def backward(self, dy):
        xhat, std = self.saved
        dx = xp.empty(dy.shape, dy.dtype)

        def backward_slice(rows):
            dxhat, product = dx[rows], dy[rows] * xhat[rows]
            by_feature(xp.multiply, dy[rows], self.gamma.data, out=dxhat)
            # every feature moves the mean and the variance too: two averages come off
            along = (dxhat * xhat[rows]).mean(-1, keepdims=True)
            dxhat -= dxhat.mean(-1, keepdims=True)
            dxhat -= xhat[rows] * along
            dxhat /= std[rows]
            return [feature_sums(dy[rows]), feature_sums(product)]

        dbeta, dgamma = sum_over_slices(backward_slice, len(dy), 4 * dy[:1].nbytes)
        self.beta.grad[...] = dbeta                                              # (C,)
        self.gamma.grad[...] = dgamma
        return dx
