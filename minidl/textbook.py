"""The blackboard: every layer and loss, Residual and Concat as formulas, in plain array code; fit, conv2d_loops.

The fast classes cut a batch into slices, use all cores and have kernels for a GPU. Their twins here, of the same names,
override `forward` and `backward` alone; both forms are tested to be equal. Shapes and sources: the fast docstrings.

    with textbook(model): model.forward(x)          # a debugger steps into the formulas
    minidl.use(textbook=True)                       # the same for every model, present and future
"""

import contextlib
from math import inf, nan, pi, prod, sqrt

from minidl import layers, losses, network
from minidl.backend import asarray, draw_key, draw_permutation, xp
from minidl.core import Layer
from minidl.errors import UserError
from minidl.ops.dropout import dropped
from minidl.ops.erf import erf


class Dense(layers.Dense):
    def forward(self, x):
        self.check(x)
        b = self.b.data if self.bias else 0
        self.saved = x
        return x @ self.W.data + b                                           # (N, units)

    def backward(self, dy):
        self.check_gradient(dy)
        x = self.saved
        self.W.grad[...] = x.T @ dy                                          # (D, units)
        if self.bias:
            self.b.grad[...] = dy.sum(axis=0)                                # (units,)
        return dy @ self.W.data.T if self.input_gradient else None           # (N, D)


class Flatten(layers.Flatten):
    def forward(self, x):
        self.check(x)
        return x.reshape(len(x), *self.output_shape)

    def backward(self, dy):
        self.check_gradient(dy)
        return dy.reshape(len(dy), *self.input_shape)


def im2col(windows, x, border=0):
    """Copy every window out of the padded images: (N, H, W, C) -> (N, OH, OW, KH, KW, C)."""
    (N, H, W, C), (KH, KW), (SH, SW) = x.shape, windows.size, windows.stride
    OH, OW, top, left = windows.OH, windows.OW, windows.top, windows.left
    padded = xp.full((N, *windows.padded, C), border, x.dtype)
    padded[:, top:top + H, left:left + W] = x
    columns = xp.zeros((N, OH, OW, KH, KW, C), x.dtype)
    for kh in range(KH):
        for kw in range(KW):
            columns[:, :, :, kh, kw] = padded[:, kh:kh + OH * SH:SH, kw:kw + OW * SW:SW]
    return columns


def col2im(windows, dcolumns):
    """Add the gradient of every window to the pixels it was copied from: (N, OH, OW, KH, KW, C) -> (N, H, W, C)."""
    (N, OH, OW, KH, KW, C), (SH, SW) = dcolumns.shape, windows.stride
    H, W, top, left = windows.H, windows.W, windows.top, windows.left
    padded = xp.zeros((N, *windows.padded, C), dcolumns.dtype)
    for kh in range(KH):
        for kw in range(KW):
            padded[:, kh:kh + OH * SH:SH, kw:kw + OW * SW:SW] += dcolumns[:, :, :, kh, kw]
    return padded[:, top:top + H, left:left + W]


class Conv2D(layers.Conv2D):
    def forward(self, x):
        self.check(x)
        KH, KW, C, F = self.W.data.shape
        rows = im2col(self.windows, x).reshape(-1, KH * KW * C)              # (N*OH*OW, KH*KW*C)
        b = self.b.data if self.bias else 0
        y = rows @ self.W.data.reshape(-1, F) + b                            # (N*OH*OW, F)
        self.saved = x
        return y.reshape(len(x), self.windows.OH, self.windows.OW, F)

    def backward(self, dy):
        self.check_gradient(dy)
        x = self.saved
        (N, OH, OW, F), (KH, KW, C, _) = dy.shape, self.W.data.shape
        rows = im2col(self.windows, x).reshape(-1, KH * KW * C)              # (N*OH*OW, KH*KW*C)
        dy = dy.reshape(-1, F)                                               # (N*OH*OW, F)
        self.W.grad[...] = (rows.T @ dy).reshape(KH, KW, C, F)
        if self.bias:
            self.b.grad[...] = dy.sum(axis=0)                                # (F,)
        drows = (dy @ self.W.data.reshape(-1, F).T).reshape(N, OH, OW, KH, KW, C)
        return col2im(self.windows, drows) if self.input_gradient else None  # (N, H, W, C)


class DepthwiseConv2D(layers.DepthwiseConv2D):
    def forward(self, x):
        self.check(x)
        shifted = im2col(self.windows, x)                                    # (N, OH, OW, KH, KW, C)
        b = self.b.data if self.bias else 0
        self.saved = x
        return (shifted * self.W.data).sum((3, 4)) + b                       # KH * KW shifted images, weighted

    def backward(self, dy):
        self.check_gradient(dy)
        x = self.saved
        shifted = im2col(self.windows, x)                                    # (N, OH, OW, KH, KW, C)
        dsums = dy[:, :, :, None, None]                                      # (N, OH, OW, 1, 1, C)
        self.W.grad[...] = (dsums * shifted).sum((0, 1, 2))                  # (KH, KW, C)
        if self.bias:
            self.b.grad[...] = dy.sum((0, 1, 2))                             # (C,)
        return col2im(self.windows, dsums * self.W.data)                     # (N, H, W, C)


def conv2d_loops(x, W, b, stride=(1, 1), padding=(0, 0)):
    """The formula of Conv2D in seven nested loops: far too slow, and impossible to misread. b: (F,), zeros for none."""
    (KH, KW, _, F), (SH, SW), (PH, PW) = W.shape, stride, padding
    x = xp.pad(x, ((0, 0), (PH, PH), (PW, PW), (0, 0)))
    N, height, width, C = x.shape
    OH, OW = (height - KH) // SH + 1, (width - KW) // SW + 1
    y = xp.zeros((N, OH, OW, F), x.dtype) + b
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                for f in range(F):
                    for kh in range(KH):
                        for kw in range(KW):
                            for c in range(C):
                                y[n, oh, ow, f] += x[n, oh * SH + kh, ow * SW + kw, c] * W[kh, kw, c, f]
    return y


class MaxPool2D(layers.MaxPool2D):
    def forward(self, x):
        self.check(x)
        y = im2col(self.windows, x, border=-inf).max((3, 4))                 # (N, OH, OW, C)
        columns = im2col(self.windows, x, border=nan)                        # NaN equals nothing, so padding never wins
        N, OH, OW, KH, KW, C = columns.shape
        columns = columns.reshape(N, OH, OW, KH * KW, C)                     # each window in reading order
        self.saved = (columns == y[:, :, :, None]).argmax(axis=3)            # (N, OH, OW, C): the first of the largest
        return y

    def backward(self, dy):
        self.check_gradient(dy)
        winner = self.saved                                                  # (N, OH, OW, C)
        (N, OH, OW, C), (KH, KW) = dy.shape, self.windows.size
        wins = xp.arange(KH * KW)[:, None] == winner[:, :, :, None]          # (N, OH, OW, KH*KW, C)
        dcolumns = dy[:, :, :, None] * wins                                  # (N, OH, OW, KH*KW, C)
        return col2im(self.windows, dcolumns.reshape(N, OH, OW, KH, KW, C))  # (N, H, W, C)


class AveragePool2D(layers.AveragePool2D):
    def forward(self, x):
        self.check(x)
        columns = im2col(self.windows, x)                                    # (N, OH, OW, KH, KW, C)
        self.saved = columns.shape
        return columns.mean((3, 4))                                          # (N, OH, OW, C)

    def backward(self, dy):
        self.check_gradient(dy)
        shape, (KH, KW) = self.saved, self.windows.size
        share = dy[:, :, :, None, None] / (KH * KW)                          # (N, OH, OW, 1, 1, C)
        return col2im(self.windows, xp.ones(shape, dy.dtype) * share)        # (N, H, W, C)


class GlobalAveragePool2D(layers.GlobalAveragePool2D):
    def forward(self, x):
        self.check(x)
        self.saved = x.shape
        return x.mean((1, 2))                                                # (N, C)

    def backward(self, dy):
        self.check_gradient(dy)
        N, H, W, C = self.saved
        return xp.ones((N, H, W, C), dy.dtype) * dy[:, None, None] / (H * W)


class ZeroPadShortcut(layers.ZeroPadShortcut):
    def forward(self, x):
        self.check(x)
        kept = x[:, ::self.stride, ::self.stride]                            # (N, OH, OW, C)
        zeros = xp.zeros((*kept.shape[:3], self.features - x.shape[3]), x.dtype)
        return xp.concatenate([kept, zeros], axis=3)                         # (N, OH, OW, F)

    def backward(self, dy):
        self.check_gradient(dy)
        dx = xp.zeros((len(dy), *self.input_shape), dy.dtype)                # (N, H, W, C)
        dx[:, ::self.stride, ::self.stride] = dy[:, :, :, :dx.shape[3]]
        return dx


class ReLU(layers.ReLU):
    def forward(self, x):
        self.check(x)
        self.saved = x
        return xp.maximum(x, 0)

    def backward(self, dy):
        self.check_gradient(dy)
        x = self.saved
        return dy * (x > 0)


class LeakyReLU(layers.LeakyReLU):
    def forward(self, x):
        self.check(x)
        self.saved = x
        return xp.where(x > 0, x, self.slope * x)

    def backward(self, dy):
        self.check_gradient(dy)
        x = self.saved
        return xp.where(x > 0, dy, self.slope * dy)


class GELU(layers.GELU):
    def forward(self, x):
        self.check(x)
        Phi = (1 + erf(x / sqrt(2))) / 2
        self.saved = x, Phi
        return x * Phi

    def backward(self, dy):
        self.check_gradient(dy)
        x, Phi = self.saved
        phi = xp.exp(-x**2 / 2) / sqrt(2 * pi)
        return dy * (Phi + x * phi)


class Sigmoid(layers.Sigmoid):
    def forward(self, x):
        self.check(x)
        small = xp.exp(-abs(x))                                              # exp(-x), or exp(x) where x < 0
        self.saved = y = xp.where(x >= 0, 1, small) / (1 + small)            # 1 / (1 + exp(-x)), without overflow
        return y

    def backward(self, dy):
        self.check_gradient(dy)
        y = self.saved
        return dy * y * (1 - y)


class Tanh(layers.Tanh):
    def forward(self, x):
        self.check(x)
        self.saved = y = xp.tanh(x)
        return y

    def backward(self, dy):
        self.check_gradient(dy)
        y = self.saved
        return dy * (1 - y**2)


class BatchNorm(layers.BatchNorm):
    def forward(self, x):
        self.check(x)
        axes, n = tuple(range(x.ndim - 1)), prod(x.shape[:-1])               # all but the features; values per feature
        from_batch = self.training and n > 0
        mean, var = (x.mean(axes), x.var(axes)) if from_batch else (self.running_mean, self.running_var)     # (C,)
        std = xp.sqrt(var + self.eps)
        xhat = (x - mean) / std                                              # (N, ..., C)
        if from_batch:
            self.running_mean[...] = self.momentum * self.running_mean + (1 - self.momentum) * mean
        if from_batch and n > 1:
            unbiased = var * (n / (n - 1))
            self.running_var[...] = self.momentum * self.running_var + (1 - self.momentum) * unbiased
        self.saved = xhat, std, from_batch
        return self.gamma.data * xhat + self.beta.data

    def backward(self, dy):
        self.check_gradient(dy)
        xhat, std, from_batch = self.saved
        axes = tuple(range(dy.ndim - 1))
        self.beta.grad[...] = dy.sum(axes)                                   # (C,)
        self.gamma.grad[...] = (dy * xhat).sum(axes)                         # (C,)
        if not from_batch:                                                   # mean and var were constants
            return self.gamma.data / std * dy
        # every x moves the mean and the variance too: two averages come off
        return self.gamma.data / std * (dy - dy.mean(axes) - xhat * (dy * xhat).mean(axes))


class LayerNorm(layers.LayerNorm):
    def forward(self, x):
        self.check(x)
        std = xp.sqrt(x.var(-1, keepdims=True) + self.eps)                   # (N, ..., 1)
        xhat = (x - x.mean(-1, keepdims=True)) / std                         # (N, ..., C)
        self.saved = xhat, std
        return self.gamma.data * xhat + self.beta.data

    def backward(self, dy):
        self.check_gradient(dy)
        xhat, std = self.saved
        axes = tuple(range(dy.ndim - 1))
        self.beta.grad[...] = dy.sum(axes)                                   # (C,)
        self.gamma.grad[...] = (dy * xhat).sum(axes)                         # (C,)
        dxhat = self.gamma.data * dy
        return (dxhat - dxhat.mean(-1, keepdims=True) - xhat * (dxhat * xhat).mean(-1, keepdims=True)) / std


class Dropout(layers.Dropout):
    def forward(self, x):
        self.check(x)
        shape = (len(x), 1, 1, x.shape[-1]) if self.maps else x.shape
        drops = self.training and self.rate > 0
        mask = dropped(xp.ones(shape, x.dtype), draw_key(), self.rate) if drops else 1       # 0 or 1 / (1 - rate)
        self.saved = mask
        return x * mask

    def backward(self, dy):
        self.check_gradient(dy)
        mask = self.saved
        return dy * mask


class SoftmaxCrossEntropy(losses.SoftmaxCrossEntropy):
    def forward(self, scores, labels):
        labels = losses.checked_labels(labels, scores)
        classes, smoothing = scores.shape[1], self.label_smoothing
        onehot = (xp.arange(classes) == labels[:, None]).astype(scores.dtype)           # (N, classes)
        target = (1 - smoothing) * onehot + smoothing / classes
        shifted = scores - scores.max(axis=1, keepdims=True)                            # exp cannot overflow
        total = xp.exp(shifted).sum(axis=1, keepdims=True)                              # (N, 1)
        p, log_p = xp.exp(shifted) / total, shifted - xp.log(total)                     # (N, classes)
        self.saved = p, target
        return (-target * log_p).sum(axis=1).mean()

    def backward(self):
        p, target = self.saved                                                          # (N, classes)
        return (p - target) / len(p)


class MeanSquaredError(losses.MeanSquaredError):
    def forward(self, scores, target):
        distance = scores - losses.checked_target(target, scores)
        self.saved = distance
        return (distance**2).mean()

    def backward(self):
        distance = self.saved
        return 2 * distance / distance.size


class Residual(network.Residual):
    def forward(self, x):
        self.check(x)
        return self.body.forward(x) + self.shortcut.forward(x)

    def backward(self, dy):
        self.check_gradient(dy)
        return self.body.backward(dy) + self.shortcut.backward(dy)


class Concat(network.Concat):
    def forward(self, x):
        self.check(x)
        return xp.concatenate([branch.forward(x) for branch in self.branches], axis=-1)

    def backward(self, dy):
        self.check_gradient(dy)
        parts = xp.split(dy, self.borders, axis=-1)                          # each branch gets its features' part
        return sum(branch.backward(part) for branch, part in zip(self.branches, parts, strict=True))


def fit(model, optimizer, x, y, epochs, batch_size=100, loss=None, prepare=asarray):
    """Train: through all of x in a new random order, `epochs` times. Returns the average loss of each epoch."""
    x, y, loss, averages = asarray(x), asarray(y), loss or SoftmaxCrossEntropy(), []
    model.train()
    for _ in range(epochs):
        order, total = draw_permutation(len(x)), 0
        for first in range(0, len(x), batch_size):
            rows = order[first:first + batch_size]
            scores = model.forward(prepare(x[rows]))
            total = total + loss.forward(scores, y[rows]) * len(rows)
            model.backward(loss.backward())
            optimizer.step()
        averages.append(float(total) / len(x))
    return averages


TWINS = {kind.__base__: kind for kind in list(vars().values())               # {fast class: its twin in this file}
         if isinstance(kind, type) and kind.__module__ == __name__}


@contextlib.contextmanager
def textbook(model):
    """Inside the block, a model, layer or loss computes by the formulas above; subclasses of yours stay as they are.

    Neither form reads what the other saved: backward inside the block wants a forward pass inside the block.
    """
    if not isinstance(model, (Layer, losses.Loss)):
        raise UserError(f"textbook: expected a model, a layer or a loss, got {model!r}. Write with textbook(model):")
    parts = model.walk() if isinstance(model, Layer) else [model]
    swapped = [(part, type(part)) for part in parts if type(part) in TWINS]
    for part, fast in swapped:
        part.__class__, part._saved = TWINS[fast], None
    try:
        yield model
    finally:
        for part, fast in swapped:
            part.__class__, part._saved = fast, None
