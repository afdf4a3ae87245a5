"""The table of planted mistakes: for each subject, (old text, new text, the cause as a teacher would name it, tensor).

A new layer gets a `Subject` and its edits here; every unedited subject also serves as a right layer that must pass.
"""

from dataclasses import dataclass

from minidl import Concat, Residual, Sequential
from minidl.layers import (
    GELU,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    LayerNorm,
    LeakyReLU,
    MaxPool2D,
    ReLU,
    Sigmoid,
    Tanh,
)
from minidl.losses import MeanSquaredError, SoftmaxCrossEntropy
from minidl.ops.convolution import Im2col as Columns
from minidl.ops.features import detrended, gradient_sums
from minidl.ops.pooling import average_pool_gradient, max_pool_gradient, spread
from minidl.ops.softmax import softmax_cross_entropy
from minidl.ops.windows import Windows


@dataclass(frozen=True)
class Subject:
    kind: type
    make: object      # (class) -> layer; the class is the right one or an edited one
    shape: tuple      # of the input, with the batch axis


DENSE = Subject(Dense, lambda kind: kind(5), (4, 7))
SQUARE = Subject(Dense, lambda kind: kind(6), (4, 6))
CONV = Subject(Conv2D, lambda kind: kind(4, 3, padding=1), (3, 6, 7, 2))
STRIDED = Subject(Conv2D, lambda kind: kind(3, (3, 2), stride=(2, 1), padding=(1, 0)), (3, 7, 5, 2))
EQUAL_CHANNELS = Subject(Conv2D, lambda kind: kind(3, (2, 4)), (2, 5, 6, 3))
DEPTHWISE = Subject(DepthwiseConv2D, lambda kind: kind(3, padding=1), (3, 5, 6, 2))
POOL = Subject(MaxPool2D, lambda kind: kind(2), (3, 4, 6, 2))
OVERLAPPING = Subject(MaxPool2D, lambda kind: kind((2, 3), stride=1), (2, 5, 6, 2))
PADDED_POOL = Subject(MaxPool2D, lambda kind: kind(3, stride=2, padding=1), (2, 7, 5, 2))
AVERAGE = Subject(AveragePool2D, lambda kind: kind((2, 3)), (3, 4, 6, 2))
GLOBAL = Subject(GlobalAveragePool2D, lambda kind: kind(), (3, 4, 5, 2))
FLATTEN = Subject(Flatten, lambda kind: kind(), (3, 4, 5, 2))
RELU = Subject(ReLU, lambda kind: kind(), (4, 7))
LEAKY = Subject(LeakyReLU, lambda kind: kind(0.1), (4, 7))
GAUSS = Subject(GELU, lambda kind: kind(), (4, 7))
SIGMOID = Subject(Sigmoid, lambda kind: kind(), (4, 7))
TANH = Subject(Tanh, lambda kind: kind(), (4, 7))
NORM = Subject(BatchNorm, lambda kind: kind(), (7, 5))
IMAGE_NORM = Subject(BatchNorm, lambda kind: kind(), (3, 4, 5, 2))
ROW_NORM = Subject(LayerNorm, lambda kind: kind(), (4, 7))
DROPOUT = Subject(Dropout, lambda kind: kind(0.4), (5, 6))
NETWORK = Subject(Sequential, lambda kind: kind([Dense(6), Tanh(), Dense(6), Sigmoid()]), (5, 6))
SHORTCUT = Subject(Residual, lambda kind: kind([Dense(6), Tanh()]), (4, 6))
BRANCHES = Subject(Concat, lambda kind: kind([Dense(3), [Dense(3), Tanh()]]), (4, 5))
LOSS = Subject(SoftmaxCrossEntropy, lambda kind: kind(), (6, 4))
SMOOTHED = Subject(SoftmaxCrossEntropy, lambda kind: kind(0.2), (6, 4))
SQUARES = Subject(MeanSquaredError, lambda kind: kind(), (6, 4))

B, X = "self.b.grad[...] = db", "return dx"
CONV_W, CONV_DW = "self.W.grad[...] = self.method.kernel_gradient(dweights)", "self.method.kernel_gradient(dweights)"
COLUMNS = "xp.matmul(dy, weights.T, out=columns)"
BY_KERNEL = "weights.reshape(*self.windows.size, -1, weights.shape[1])"
TO_W, TO_B = "product(x.T, dy, out=self.W.grad)", "self.b.grad[...] = feature_sums(dy)"
TO_X = "return product(dy, self.W.data.T) if self.input_gradient else None"
TAP = "dpixel += xp.multiply(d, repeated(taps[k], d), out=product)"
TAP_W = "dtaps[k] = feature_sums(xp.multiply(d, pixel, out=product))"
SPOT, SHARE, LARGEST = "pixels[...] = share", "pixels += share", "yield xp.multiply(d, largest, out=share)"
RESHAPED = "return dy.reshape(len(dy), *self.input_shape)"
RELU_X, LEAKY_X = "xp.multiply(dy, y > 0, out=dx)", "xp.multiply(dy, xp.maximum(y > 0, slope), out=dx)"
GELU_X, SIGMOID_X = "xp.multiply(dy, below + x * density, out=dx)", "xp.multiply(dy, y * (1 - y), out=dx)"
TANH_X = "xp.multiply(dy, 1 - y * y, out=dx)"
NORM_G, NORM_B = "self.gamma.grad[...] = dgamma", "self.beta.grad[...] = dbeta"
NORM_X = "return detrended(dy, x, mean, dbeta / n, dgamma / (n * std), self.gamma.data / std)"
ROW_X = "xp.divide(dxhat - trend, std[rows], out=dx[rows])"
DROP_X = "return self.masked(dy, key)"
CHAIN = "            dy = layer.backward(dy)\n        return dy"
SUM = "return added(self.body.backward(dy), self.shortcut.backward(dy))"
JOIN = "return added(*(branch.backward(part) for branch, part in zip(self.branches, parts, strict=True)))"
MEAN, ONE_HOT = "return gradient / len(gradient)", "dscores[rows, right] -= 1 - smoothing"
SMOOTH = "dscores = exponentials / total - smoothing / classes"
SAVED, FILLED_Y = "self.saved = x", "self.saved = y = filled_in_slices(forward_slice, x)"


def stale(what):
    """Saved in the first forward pass and never again."""
    return f"self.saved = {what} if self._saved is None else self._saved"


TABLE = [
    (DENSE, None, [
        (TO_W, "dW = product(x.T, dy); self.W.grad[...] = -dW", "constant factor", "W"),
        (TO_W, "dW = product(x.T, dy); self.W.grad[...] = 2 * dW", "constant factor", "W"),
        (TO_W, "dW = product(x.T, dy); self.W.grad[...] = dW / 2", "constant factor", "W"),
        (TO_W, "dW = product(x.T, dy); self.W.grad[...] = dW / len(x)", "constant factor", "W"),
        (TO_W, "dW = product(x.T, dy); self.W.grad[...] = dW * len(x)", "constant factor", "W"),
        (TO_W, "dW = product(x.T, dy); self.W.grad[...] = 0.3 * dW", "constant factor", "W"),
        (TO_W, "dW = product(x.T, dy); self.W.grad[...] = 1.00001 * dW", "constant factor", "W"),
        (TO_W, "dW = product(x.T, dy); self.W.grad[...] = dW / xp.linalg.norm(dW)", "constant factor", "W"),
        (TO_W, "dW = product(x.T, dy); self.W.grad[...] = dW + 0.1 * self.W.data", "extra term", "W"),
        (TO_W, "dW = product(x.T, dy); self.W.grad[...] = dW + 0.1 * xp.sign(self.W.data)", "extra term", "W"),
        (TO_W, "dW = product(x.T, dy); self.W.grad[...] = 0", "zero", "W"),
        (TO_W, "pass", "zero", "W"),
        (TO_W, "product(x[:1].T, dy[:1], out=self.W.grad)", "first image only", "W"),
        (TO_W, "product(x[1:].T, dy[1:], out=self.W.grad)", "part of the batch", "W"),
        (TO_W, "self.W.grad += product(x.T, dy)", "accumulated", "W"),
        (TO_W, "dW = product(x.T, dy); self.W.grad[...] = dW.astype('float32')", "wrong dtype", "W"),
        (TO_W, "dW = product(x.T, dy); self.W.grad = dW.astype('float32')", "wrong dtype", "W"),
        (TO_W, "dW = product(x.T, dy); self.W.grad[...] = xp.roll(dW, 1, axis=0)", "shifted", "W"),
        (TO_W, "dW = product(x.T, dy); self.W.grad[...] = dW[:, ::-1]", "flipped", "W"),
        (TO_W, "self.W.grad[...] = product(dy.T, x).reshape(self.W.grad.shape)", "transposed", "W"),
        (TO_W, "self.W.grad = product(dy.T, x)", "transposed", "W"),
        (TO_W, "dW = product(x.T, dy); self.W.grad = dW[1:]", "wrong shape", "W"),
        (TO_W, "self.W.grad = None", "no gradient", "W"),
        (TO_W, "dW = product(x.T, dy); self.W.grad = dW.copy()", "gradient replaced", "W"),
        (TO_W, "product(x.T, xp.ones_like(dy), out=self.W.grad)", "ignores dy", "W"),
        (TO_W, "dW = product(x.T, dy); self.W.grad[...] = dW; self.W.grad[2, 1] = xp.nan", "nan or inf", "W"),
        (TO_W, "dW = product(x.T, dy); self.W.grad[...] = dW; self.W.grad[-1] = 0", "only some elements", "W"),
        (TO_W, "dW = product(x.T, dy); self.W.grad[...] = abs(dW)", "wrong sign", "W"),
        (TO_B, "self.b.grad[...] = dy.mean(axis=0)", "constant factor", "b"),
        (TO_B, "self.b.grad[...] = dy[0]", "first image only", "b"),
        (TO_B, "self.b.grad[...] = dy[:-1].sum(axis=0)", "part of the batch", "b"),
        (TO_B, "self.b.grad[...] = dy.sum()", "summed over too much", "b"),
        (TO_B, "self.b.grad[...] = len(dy)", "ignores dy", "b"),
        (TO_B, "self.b.grad = dy", "wrong shape", "b"),
        (TO_B, "self.b.grad += feature_sums(dy)", "accumulated", "b"),
        (TO_B, "self.b.grad[...] = feature_sums(dy) + self.b.data", "extra term", "b"),
        (TO_X, "return -product(dy, self.W.data.T)", "constant factor", "input"),
        (TO_X, "return product(dy, self.W.data.T) / len(dy)", "constant factor", "input"),
        (TO_X, "dx = product(dy, self.W.data.T); dx[1:] = 0; return dx", "first image only", "input"),
        (TO_X, "return product(dy, self.W.data[::-1].T)", "flipped", "input"),
        (TO_X, "dx = product(dy, self.W.data.T); dy *= 2; return dx", "changed its argument", "input"),
        (TO_X, f"x[...] = 0; {TO_X}", "changed its argument", "input"),
        (TO_X, f"self.W.data -= 0.1 * self.W.grad; {TO_X}", "changed weights", "W"),
        (TO_X, "return product(dy, self.W.data.T).astype('float32')", "wrong dtype", "input"),
        (TO_X, "return product(dy, self.W.data.T) / 0", "nan or inf", "input"),
        (SAVED, stale("x"), "stale state", "W"),
        ("y += self.b.data", "y += 2 * self.b.data", "constant factor", "b"),
    ]),
    (SQUARE, None, [
        (TO_W, "product(dy.T, x, out=self.W.grad)", "transposed", "W"),
        (TO_X, "return product(dy, self.W.data)", "transposed", "input"),
        (TO_X, "return product(dy, self.W.data.T) + self.b.data", "extra term", "input"),
        (SAVED, "self.saved = y", "activated value", "W"),
    ]),
    (CONV, None, [
        (CONV_W, f"self.W.grad[...] = -{CONV_DW}", "constant factor", "W"),
        (CONV_W, f"{CONV_W} / len(x)", "constant factor", "W"),
        (CONV_W, f"{CONV_W} / (self.windows.OH * self.windows.OW)", "constant factor", "W"),
        (CONV_W, f"self.W.grad[...] += {CONV_DW}", "accumulated", "W"),
        (CONV_W, f"{CONV_W} + 0.01 * self.W.data", "extra term", "W"),
        (CONV_W, f"{CONV_W}[::-1, ::-1]", "flipped kernel", "W"),
        (CONV_W, f"{CONV_W}.swapaxes(0, 1)", "transposed", "W"),
        (CONV_W, f"{CONV_W}.reshape(-1, self.filters).T.reshape(self.W.data.shape)", "transposed", "W"),
        (CONV_W, f"{CONV_W}; self.W.grad[0] = 0", "only some elements", "W"),
        (B, "self.b.grad[...] = db / len(x)", "constant factor", "b"),
        (B, "self.b.grad[...] = db.sum()", "summed over too much", "b"),
        (B, "pass", "zero", "b"),
        (X, "return dx[:1] + 0 * dx", "first image only", "input"),
        (X, "dx[:, 0] = dx[:, -1] = dx[:, :, 0] = dx[:, :, -1] = 0; return dx", "border", "input"),
        (X, "return xp.roll(dx, 1, axis=2)", "shifted", "input"),
        (X, "return dx.swapaxes(1, 2)", "transposed", "input"),
        (SAVED, stale("x"), "stale state", "W"),
    ]),
    (CONV, Columns, [
        ("dweights = columns.T @ dy", "dweights = columns[:42].T @ dy[:42]", "first image only", "W"),
        ("im2col(self.windows, x), dy.", "im2col(self.windows, x[:, ::-1]), dy.", "flipped", "W"),
        (COLUMNS, COLUMNS.replace("weights.T", f"{BY_KERNEL}[::-1, ::-1].reshape(weights.shape).T"), "flipped kernel",
         "input"),
        (COLUMNS, COLUMNS.replace("weights.T", f"{BY_KERNEL}[:, ::-1].reshape(weights.shape).T"), "flipped kernel",
         "input"),
        (COLUMNS, COLUMNS.replace("weights.T", f"{BY_KERNEL}.swapaxes(0, 1).reshape(weights.shape).T"), "transposed",
         "input"),
        (COLUMNS, COLUMNS.replace("weights", "(2 * weights)"), "constant factor", "input"),
    ]),
    (STRIDED, Columns, [
        (COLUMNS, COLUMNS.replace("weights.T", "weights[::-1].T"), "flipped kernel", "input"),
        (COLUMNS, COLUMNS.replace("dy,", "dy.reshape(len(x), self.windows.OH, -1)[:, ::-1].reshape(dy.shape),"),
         "flipped", "input"),
    ]),
    (STRIDED, Windows, [
        ("pixels += columns[:, :, :, k]", "pixels[...] = columns[:, :, :, k]", "only some elements", "input"),
        ("pixels += columns[:, :, :, k]", "pixels -= columns[:, :, :, k]", "constant factor", "input"),
        ("        return self.crop(padded)\n", "        return padded[:, :self.H, :self.W]\n", "shifted", "input"),
        ("        return self.crop(padded)\n", "        return self.crop(padded).astype('float32')\n", "wrong dtype",
         "input"),
        ("        return self.crop(padded)\n", "        return self.crop(padded)[:, ::-1]\n", "flipped", "input"),
        ("pixels += columns[:, :, :, k]", "pixels += columns[:1, :, :, k]", "first image only", "input"),
        ("pixels += columns[:, :, :, k]", "pixels[:, 1:-1] += columns[:, 1:-1, :, k]", "border", "input"),
    ]),
    (EQUAL_CHANNELS, Columns, [
        (COLUMNS, COLUMNS.replace("weights.T", f"{BY_KERNEL}.swapaxes(2, 3).reshape(weights.shape).T"), "transposed",
         "input"),
    ]),
    (EQUAL_CHANNELS, None, [
        (X, "return 0 * dx", "zero", "input"),
    ]),
    (DEPTHWISE, None, [
        (TAP, TAP.replace("taps[k]", "taps[-1 - k]"), "flipped kernel", "input"),
        (TAP, TAP.replace("+=", "[...] ="), "only some elements", "input"),
        (TAP_W, TAP_W.replace("(xp", "(0.5 * xp"), "constant factor", "W"),
        (TAP_W, TAP_W.replace("out=product)", "out=product)[:1]"), "first image only", "W"),
        (TAP_W, TAP_W.replace("[k]", "[-1 - k]"), "flipped kernel", "W"),
        (TAP_W, f"{TAP_W}.sum()", "summed over too much", "W"),
        ("self.b.grad[...] = db", "self.b.grad[...] += db", "accumulated", "b"),
        ("dx[rows] = windows.crop(dpadded)", "dx[rows] = dpadded[:, :windows.H, :windows.W]", "shifted", "input"),
    ]),
    (POOL, max_pool_gradient, [
        (LARGEST, "yield d * largest / 4", "constant factor", "input"),
        (LARGEST, "yield d", "only some elements", "input"),
        (LARGEST, "yield d / 4", "only some elements", "input"),
        (LARGEST, "yield d[:1] * largest", "first image only", "input"),
        (LARGEST, "yield largest", "ignores dy", "input"),
        ("return spread(windows, dy, shares)", "return 0 * spread(windows, dy, shares)", "zero", "input"),
        ("return spread(windows, dy, shares)", "return spread(windows, dy, shares)[:, ::-1]", "flipped", "input"),
    ]),
    (POOL, None, [
        ("self.saved = x, y", stale("(x, y)"), "stale state", "input"),
    ]),
    (OVERLAPPING, spread, [
        (SHARE, "pixels[...] = share", "only some elements", "input"),
        (SHARE, "pixels -= share", "constant factor", "input"),
    ]),
    (PADDED_POOL, spread, [
        ("images[...] = windows.crop(target)", "images[...] = target[:, :windows.H, :windows.W]", "shifted", "input"),
        (X, "dx[:, 0] = 0; return dx", "border", "input"),
    ]),
    (AVERAGE, average_pool_gradient, [
        ("yield share", "yield dy[rows]", "constant factor", "input"),
        ("share = dy[rows] / (KH * KW)", "share = dy[rows] / KH", "constant factor", "input"),
        ("yield share", "yield share[:1]", "first image only", "input"),
    ]),
    (AVERAGE, spread, [
        (SPOT, f"{SPOT}; share *= 0", "only some elements", "input"),
    ]),
    (GLOBAL, None, [
        ("dx[...] = dy[:, None, None, :] / (H * W)", "dx[...] = dy[:, None, None, :]", "constant factor", "input"),
        ("dx[...] = dy[:, None, None, :] / (H * W)", "dx[...] = 0; dx[:, 0, 0] = dy", "only some elements", "input"),
        (X, "return dy", "wrong shape", "input"),
        (X, "return xp.ones_like(dx) / (H * W)", "ignores dy", "input"),
    ]),
    (FLATTEN, None, [
        (RESHAPED, "return dy", "wrong shape", "input"),
        (RESHAPED, "return dy.reshape(len(dy), *self.input_shape[::-1]).transpose(0, 3, 2, 1)", "transposed", "input"),
        (RESHAPED, f"{RESHAPED}[::-1]", "flipped", "input"),
        (RESHAPED, "return dy[[-1, *range(len(dy) - 1)]].reshape(len(dy), *self.input_shape)", "shifted", "input"),
    ]),
    (RELU, None, [
        (RELU_X, "xp.multiply(dy, 1, out=dx)", "derivative missing", "input"),
        (RELU_X, "xp.multiply(dy, y, out=dx)", "wrong derivative", "input"),
        (RELU_X, "xp.multiply(dy, dy > 0, out=dx)", "only some elements", "input"),
        (RELU_X, "xp.multiply(1, y > 0, out=dx)", "ignores dy", "input"),
        (RELU_X, "xp.multiply(-dy, y > 0, out=dx)", "constant factor", "input"),
        (RELU_X, "xp.multiply(dy, y <= 0, out=dx)", "wrong derivative", "input"),
        ("relu(x)", "xp.maximum(x, 0, out=x).copy()", "changed its argument", "input"),
    ]),
    (LEAKY, None, [
        (LEAKY_X, "xp.multiply(dy, y > 0, out=dx)", "only some elements", "input"),
        (LEAKY_X, "xp.multiply(dy, 1, out=dx)", "derivative missing", "input"),
        (LEAKY_X, "xp.multiply(dy, xp.where(y > 0, slope, 1), out=dx)", "wrong derivative", "input"),
        (LEAKY_X, "xp.multiply(dy, xp.maximum(y > 0, slope) / 2, out=dx)", "constant factor", "input"),
        (LEAKY_X, "xp.multiply(dy, xp.maximum(y > 0, slope), out=dy) + xp.multiply(dy, 1, out=dx)",
         "changed its argument", "input"),
    ]),
    (GAUSS, None, [
        (GELU_X, "xp.multiply(dy, below, out=dx)", "wrong derivative", "input"),
        (GELU_X, "xp.multiply(dy, below + density, out=dx)", "wrong derivative", "input"),
        (GELU_X, "x = x * below; below = 0.5 + 0.5 * erf(x * sqrt(1 / 2)); "
                 "xp.multiply(dy, below + x * xp.exp(x * x * -0.5) / sqrt(2 * pi), out=dx)", "activated value",
         "input"),
        ("self.saved = x, below", stale("(x, below)"), "stale state", "input"),
    ]),
    (SIGMOID, None, [
        (SIGMOID_X, "xp.multiply(dy, (lambda y: y * (1 - y))(1 / (1 + xp.exp(-y))), out=dx)", "activated value",
         "input"),
        (SIGMOID_X, "xp.multiply(dy, y * (1 + y), out=dx)", "wrong derivative", "input"),
        (SIGMOID_X, "xp.multiply(dy, 1 - y, out=dx)", "wrong derivative", "input"),
        (SIGMOID_X, "xp.multiply(1, y * (1 - y), out=dx)", "ignores dy", "input"),
        (SIGMOID_X, "xp.multiply(dy, 1, out=dx)", "derivative missing", "input"),
        (SIGMOID_X, "xp.multiply(dy, y * (1 - y) + 1, out=dx)", "extra term", "input"),
        (SIGMOID_X, "xp.multiply(4 * dy, y * (1 - y), out=dx)", "constant factor", "input"),
        (FILLED_Y, f"y = filled_in_slices(forward_slice, x); {stale('y')}", "stale state", "input"),
        (FILLED_Y, "y = filled_in_slices(forward_slice, x); self.saved = x", "wrong derivative", "input"),
    ]),
    (TANH, None, [
        (TANH_X, "xp.multiply(dy, 1 - xp.tanh(y)**2, out=dx)", "activated value", "input"),
        (TANH_X, "xp.multiply(dy, 1 - y, out=dx)", "wrong derivative", "input"),
        (TANH_X, "xp.multiply(dy, 1 + y * y, out=dx)", "wrong derivative", "input"),
        (TANH_X, "xp.multiply(-dy, y * y, out=dx)", "missing term", "input"),
        (f"{TANH_X}, dy, y)", f"{TANH_X}, dy, y).astype('float32')", "wrong dtype", "input"),
    ]),
    (NORM, None, [
        (NORM_X, NORM_X.replace("dbeta / n", "0 * dbeta"), "missing term", "input"),
        (NORM_X, NORM_X.replace("dgamma / (n * std)", "0 * dgamma"), "missing term", "input"),
        (NORM_X, NORM_X.replace("dgamma / (n * std)", "0 * dgamma").replace("dbeta / n", "0 * dbeta"), "missing term",
         "input"),
        (NORM_X, NORM_X.replace("self.gamma.data / std", "1 / std"), "varying factor", "input"),
        (NORM_X, NORM_X.replace("self.gamma.data / std", "self.gamma.data"), "varying factor", "input"),
        (NORM_X, NORM_X.replace("self.gamma.data / std", "self.gamma.data / std**2"), "varying factor", "input"),
        (NORM_X, NORM_X.replace("self.gamma.data / std", "self.gamma.data / xp.sqrt(std**2 - self.eps)"),
         "varying factor", "input"),
        (NORM_G, "self.gamma.grad[...] = dgamma * std", "varying factor", "gamma"),
        (NORM_G, "self.gamma.grad[...] = dgamma * self.gamma.data", "varying factor", "gamma"),
        (NORM_G, "self.gamma.grad[...] += dgamma", "accumulated", "gamma"),
        (NORM_B, "self.beta.grad[...] = dy.sum()", "summed over too much", "beta"),
        ("n = x.size // x.shape[-1] if from_batch else inf", "n = x.size // x.shape[-1]", "extra term", "input"),
        (NORM_X, NORM_X.replace(" / std)", " / (std if from_batch else 1))"), "varying factor", "input"),
        (NORM_X, f"{NORM_X} if from_batch else dy", "derivative missing", "input"),
    ]),
    (IMAGE_NORM, None, [
        (NORM_G, "self.gamma.grad[...] = dgamma / (x.size // x.shape[-1])", "constant factor", "gamma"),
        (NORM_G, "self.gamma.grad[...] = (dy * (x - mean) / std)[0].sum((0, 1))", "first image only", "gamma"),
        (NORM_B, "self.beta.grad[...] = dbeta / (x.size // x.shape[-1])", "constant factor", "beta"),
        (NORM_X, NORM_X.replace("dbeta / n", "dbeta / inf"), "missing term", "input"),
        (NORM_X, NORM_X.replace("dbeta / n", "-dbeta / n"), "missing term", "input"),
        (NORM_X, NORM_X.replace("dgamma / (n * std)", "dgamma / std"), "extra term", "input"),
        (NORM_X, "xhat = (x - mean) / std; trend = dy.mean(0) + xhat * (dy * xhat).mean(0); "
                 "return self.gamma.data / std * (dy - trend)", "averaged over too little", "input"),
    ]),
    (IMAGE_NORM, gradient_sums, [
        ("feature_sums(product)", "feature_sums(product[:1])", "first image only", "gamma"),
        ("product = centred(x[rows], mean)", "product = x[rows].copy()", "extra term", "gamma"),
    ]),
    (IMAGE_NORM, detrended, [
        ("dx -= level", "dx += level", "missing term", "input"),
        ("dx -= trend", "pass", "missing term", "input"),
    ]),
    (ROW_NORM, None, [
        (ROW_X, "xp.divide(dxhat - trend + dxhat.mean(-1, keepdims=True), std[rows], out=dx[rows])", "missing term",
         "input"),
        (ROW_X, "xp.divide(dxhat - dxhat.mean(-1, keepdims=True), std[rows], out=dx[rows])", "missing term", "input"),
        (ROW_X, "xp.divide(dxhat, std[rows], out=dx[rows])", "missing term", "input"),
        (ROW_X, "dx[rows] = dxhat - trend", "varying factor", "input"),
        (NORM_G, "self.gamma.grad[...] = dgamma / len(dy)", "constant factor", "gamma"),
        (NORM_B, "self.beta.grad[...] = dy[0]", "first image only", "beta"),
    ]),
    (DROPOUT, None, [
        (DROP_X, "return dy", "derivative missing", "input"),
        (DROP_X, f"{DROP_X} * (1 - self.rate)", "constant factor", "input"),
        (DROP_X, "return self.masked(dy, draw_key())", "new random numbers", "input"),
        (DROP_X, f"{DROP_X} if self.training else (1 - self.rate) * dy", "constant factor", "input"),
        ("self.saved = (key,)", stale("(key,)"), "stale state", "input"),
    ]),
    (NETWORK, None, [
        (CHAIN, f"{CHAIN[:-2]}-dy", "constant factor", "input"),
        (CHAIN, f"{CHAIN}.astype('float32')", "wrong dtype", "input"),
        (CHAIN, f"{CHAIN} * 0", "zero", "input"),
        (CHAIN, "            dx = layer.backward(dy)\n        return dx", "derivative missing", "input"),
        (CHAIN, "            dy = layer.backward(dy[:1] + 0 * dy)\n        return dy", "first image only", "input"),
    ]),
    (SHORTCUT, None, [
        (SUM, "return self.body.backward(dy)", "missing term", "input"),
        (SUM, "self.body.backward(dy); return self.shortcut.backward(dy)", "derivative missing", "input"),
        (SUM, f"{SUM} + dy", "extra term", "input"),
    ]),
    (BRANCHES, None, [
        (JOIN, f"{JOIN} / len(parts)", "constant factor", "input"),
        (JOIN, "return self.branches[0].backward(parts[0])", "missing term", "input"),
    ]),
    (LOSS, None, [
        (MEAN, "return gradient + 0", "constant factor", "input"),
        (MEAN, "return gradient / gradient.size", "constant factor", "input"),
        (MEAN, "return gradient / -len(gradient)", "constant factor", "input"),
        (MEAN, "return 0 * gradient", "zero", "input"),
        (MEAN, "gradient[1:] = 0; return gradient / len(gradient)", "first image only", "input"),
        (MEAN, "return (gradient / len(gradient)).astype('float32')", "wrong dtype", "input"),
        (MEAN, "return (gradient / len(gradient)).T", "transposed", "input"),
        ("self.saved = gradient", stale("gradient"), "stale state", "input"),
    ]),
    (LOSS, softmax_cross_entropy, [
        (ONE_HOT, "pass", "missing term", "input"),
        (ONE_HOT, "dscores[rows, right] += 1", "missing term", "input"),
        (ONE_HOT, "dscores[rows, right - 1] -= 1", "shifted", "input"),
        (ONE_HOT, "dscores[rows, right] -= 2", "extra term", "input"),
        (ONE_HOT, "dscores[...] = 0; dscores[rows, right] = -1", "missing term", "input"),
        (SMOOTH, "p = exponentials / total; dscores = p * (1 - p)", "wrong derivative", "input"),
        (SMOOTH, "dscores = exponentials.copy()", "wrong derivative", "input"),
        ("shifted = scores[part] - scores[part].max(axis=1, keepdims=True)",
         "scores[part] -= scores[part].max(axis=1, keepdims=True); shifted = scores[part]", "changed its argument",
         "input"),
    ]),
    (SMOOTHED, softmax_cross_entropy, [
        (ONE_HOT, "dscores[rows, right] -= 1", "extra term", "input"),
        (SMOOTH, "dscores = exponentials / total", "missing term", "input"),
    ]),
    (SQUARES, None, [
        ("return distance * (2 / distance.size)", "return distance / distance.size", "constant factor", "input"),
        ("return distance * (2 / distance.size)", "return distance * (2 / len(distance))", "constant factor", "input"),
        ("return distance * (2 / distance.size)", "return -distance * (2 / distance.size)", "constant factor", "input"),
        ("return distance * (2 / distance.size)", "return abs(distance) * (2 / distance.size)", "wrong sign", "input"),
    ]),
]
