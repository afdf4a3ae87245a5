"""Normalisation: keep the signals of every layer at mean 0 and spread 1, whatever the weights do."""

from math import inf

from minidl.arguments import in_range
from minidl.backend import float_type, xp
from minidl.core import Layer, Parameter
from minidl.errors import UserError
from minidl.ops.features import detrended, feature_sums, gradient_sums, mean_and_variance, repeated, scaled
from minidl.parallel import filled_in_slices, sum_over_slices


class BatchNorm(Layer):
    """Normalise every feature over the batch, then scale and shift it.

        xhat = (x - mean) / sqrt(var + eps)            y = gamma * xhat + beta

        dbeta = sum of dy                              dgamma = sum of dy * xhat
        dx = gamma / sqrt(var + eps) * (dy - average of dy - xhat * average of dy * xhat)

    x, y: (N, ..., C)            gamma, beta, running_mean, running_var: (C,)

    Sums and averages run over all axes but the last. Every x moves the mean and the variance of its batch, so two
    averages come off; in evaluation mode both are constants and dx = gamma / sqrt(var + eps) * dy.

    Training mode takes mean and var over all axes but the last, var being the average of squares. Evaluation mode
    takes the running ones, which move by `running = momentum * running + (1 - momentum) * batch` in every training
    step: mind that torch.nn counts its momentum the other way round (0.1 there is 0.9 here).
    Ioffe & Szegedy 2015, arXiv:1502.03167, Algorithms 1 and 2. As there and in torch.nn, the running variance is the
    unbiased one, n / (n - 1) times the batch's. A single value per feature (n = 1) has no spread: then y = beta,
    no gradient reaches x, and the running variance stays.
    """

    statistics = ("running_mean", "running_var")

    def __init__(self, momentum=0.9, eps=1e-5):
        self.momentum = in_range(not_features(momentum, "BatchNorm momentum"), "BatchNorm momentum", 0, 1)
        self.eps = in_range(not_features(eps, "BatchNorm eps"), "BatchNorm eps", 0, inf)

    def build(self, input_shape):
        *_, C = shape = self.accept(input_shape)
        self.gamma = Parameter(xp.ones(C, float_type()), "gamma", decay=False)
        self.beta = Parameter(xp.zeros(C, float_type()), "beta", decay=False)
        self.running_mean, self.running_var = xp.zeros(C, float_type()), xp.ones(C, float_type())
        return shape

    def forward(self, x):
        self.check(x)
        from_batch = self.training and len(x) > 0
        if from_batch:
            n = x.size // x.shape[-1]                                        # values per feature
            mean, var = mean_and_variance(x)                                 # (C,)
            self.running_mean += (1 - self.momentum) * (mean - self.running_mean)
            if n > 1:
                self.running_var += (1 - self.momentum) * (var * (n / (n - 1)) - self.running_var)
        else:
            mean, var = self.running_mean.copy(), self.running_var
        std = xp.sqrt(var + self.eps)
        scale = self.gamma.data / std
        self.saved = x, mean, std, from_batch
        return scaled(x, scale, self.beta.data - mean * scale)

    def backward(self, dy):
        self.check_gradient(dy)
        x, mean, std, from_batch = self.saved
        dbeta, dscale = gradient_sums(dy, x, mean)                           # of dy, of dy * (x - mean): (C,)
        dgamma = dscale / std
        self.beta.grad[...] = dbeta
        self.gamma.grad[...] = dgamma
        if not from_batch:                                                   # mean and std were constants
            return scaled(dy.astype(x.dtype, copy=False), self.gamma.data / std, xp.zeros_like(std))
        n = x.size // x.shape[-1]
        # every x moves the mean and the variance too: two averages come off
        # gamma / std * (dy - average of dy - xhat * average of dy * xhat)
        return detrended(dy, x, mean, dbeta / n, dgamma / (n * std), self.gamma.data / std)

    def __repr__(self):
        return f"BatchNorm({eps_argument(self.eps)})"


class LayerNorm(Layer):
    """Normalise the features of every image, or of every place in an image, by themselves; then scale and shift them.

        xhat = (x - mean) / sqrt(var + eps)            y = gamma * xhat + beta

        dbeta = sum of dy                              dgamma = sum of dy * xhat              dxhat = gamma * dy
        dx = (dxhat - average of dxhat - xhat * average of dxhat * xhat) / sqrt(var + eps)

    x, y: (N, ..., C)            mean, var: (N, ..., 1)            gamma, beta: (C,)
    The sums run over all axes but the last, the averages over the last axis alone.

    mean and var (the average of squares) are taken over the last axis, so no image sees the others: training and
    evaluation mode compute the same, and a batch of one is as good as any. Equals torch.nn.LayerNorm(C) on features
    that come last; to normalise over several axes, as its normalized_shape=(H, W, C) does, put Flatten() before it.
    Ba, Kiros & Hinton 2016, arXiv:1607.06450, section 3.
    """

    def __init__(self, eps=1e-5):
        self.eps = in_range(not_features(eps, "LayerNorm eps"), "LayerNorm eps", 0, inf)

    def build(self, input_shape):
        *_, C = shape = self.accept(input_shape)
        self.gamma = Parameter(xp.ones(C, float_type()), "gamma", decay=False)
        self.beta = Parameter(xp.zeros(C, float_type()), "beta", decay=False)
        return shape

    def forward(self, x):
        self.check(x)
        gamma, beta = repeated(self.gamma.data, x), repeated(self.beta.data, x)
        xhat, std = xp.empty(x.shape, x.dtype), xp.empty((*x.shape[:-1], 1), x.dtype)

        def forward_slice(y, x, xhat, std):
            centred = x - x.mean(-1, keepdims=True)
            std[...] = xp.sqrt((centred * centred).mean(-1, keepdims=True) + self.eps)    # (n, ..., 1)
            xp.divide(centred, std, out=xhat)
            xp.multiply(xhat, gamma, out=y)
            y += beta

        y = filled_in_slices(forward_slice, x, xhat, std)
        self.saved = xhat, std
        return y

    def backward(self, dy):
        self.check_gradient(dy)
        xhat, std = self.saved
        gamma, dx = repeated(self.gamma.data, dy), xp.empty(dy.shape, dy.dtype)

        def backward_slice(rows):
            d, normal = dy[rows], xhat[rows]
            dxhat = gamma * d
            # every feature moves the mean and the variance too: two averages come off
            trend = dxhat.mean(-1, keepdims=True) + normal * (dxhat * normal).mean(-1, keepdims=True)
            xp.divide(dxhat - trend, std[rows], out=dx[rows])
            return [feature_sums(d), feature_sums(d * normal)]

        dbeta, dgamma = sum_over_slices(backward_slice, len(dy), 6 * dy[:1].nbytes)
        self.beta.grad[...] = dbeta                                              # (C,)
        self.gamma.grad[...] = dgamma
        return dx

    def __repr__(self):
        return f"LayerNorm({eps_argument(self.eps)})"


def eps_argument(eps):
    """As the code would write it, where it is not the usual one."""
    return "" if eps == 1e-5 else f"eps={eps:g}"


def not_features(value, what):
    """`value`, unless it seems to be a number of features; `what` names the layer and its argument in the error."""
    if isinstance(value, int) and value > 1:
        raise UserError(f"{what}={value}: expected a number below 1. If {value} is the number of features, leave it "
                        f"out, because the layer sees it by itself: {what.split()[0]}()")
    return value
