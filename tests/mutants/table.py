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
from minidl.layers.pooling import Pooling
from minidl.losses import MeanSquaredError, SoftmaxCrossEntropy
from minidl.ops.convolution import Columns
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

W, B, X = "self.W.grad[...] = dW", "self.b.grad[...] = db", "return dx"
CONV_W, CONV_DW = "self.W.grad[...] = self.method.kernel_gradient(dweights)", "self.method.kernel_gradient(dweights)"
COLUMNS = "xp.matmul(dy, weights.T, out=columns)"
BY_KERNEL = "weights.reshape(*self.windows.size, -1, weights.shape[1])"
SPOT, SHARE = "dpixel += dy * largest", "dpixel += share"
RESHAPED = "return dy.reshape(len(dy), *self.input_shape)"
RELU_X, LEAKY_X = "return dy * (y > 0)", "return dy * xp.maximum(y > 0, dy.dtype.type(self.slope))"
GELU_X, SIGMOID_X, TANH_X = "return dy * (below + x * density)", "return dy * (y * (1 - y))", "return dy * (1 - y * y)"
NORM_G, NORM_B = "self.gamma.grad[...] = (dy * xhat).sum(axes)", "self.beta.grad[...] = dy.sum(axes)"
NORM_X = "return self.gamma.data / std * (dy - dy.mean(axes) - xhat * (dy * xhat).mean(axes))"
NORM_EVAL = "return self.gamma.data / std * dy\n"
ROW_X = "return (dxhat - dxhat.mean(-1, keepdims=True) - xhat * (dxhat * xhat).mean(-1, keepdims=True)) / std"
DROP_X = "return dy * mask"
CHAIN = "            dy = layer.backward(dy)\n        return dy"
SUM = "return self.body.backward(dy) + self.shortcut.backward(dy)"
JOIN = "return reduce(xp.add, (branch.backward(part) for branch, part in zip(self.branches, parts, strict=True)))"
MEAN, ONE_HOT = "dscores /= len(dscores)", "dscores[rows, labels] -= 1 - self.label_smoothing"
SMOOTH = "dscores = probabilities - self.label_smoothing / probabilities.shape[1]"
SAVED, SAVED_Y = "self.saved = x", "self.saved = y"


def stale(what):
    """Saved in the first forward pass and never again."""
    return f"self.saved = {what} if self._saved is None else self._saved"


TABLE = [
    (DENSE, None, [
        (W, "self.W.grad[...] = -dW", "constant factor", "W"),
        (W, "self.W.grad[...] = 2 * dW", "constant factor", "W"),
        (W, "self.W.grad[...] = dW / 2", "constant factor", "W"),
        (W, "self.W.grad[...] = dW / len(x)", "constant factor", "W"),
        (W, "self.W.grad[...] = dW * len(x)", "constant factor", "W"),
        (W, "self.W.grad[...] = 0.3 * dW", "constant factor", "W"),
        (W, "self.W.grad[...] = 1.00001 * dW", "constant factor", "W"),
        (W, "self.W.grad[...] = dW / xp.linalg.norm(dW)", "constant factor", "W"),
        (W, "self.W.grad[...] = dW + 0.1 * self.W.data", "extra term", "W"),
        (W, "self.W.grad[...] = dW + 0.1 * xp.sign(self.W.data)", "extra term", "W"),
        (W, "self.W.grad[...] = 0", "zero", "W"),
        (W, "pass", "zero", "W"),
        (W, "self.W.grad[...] = x[:1].T @ dy[:1]", "first image only", "W"),
        (W, "self.W.grad[...] = x[1:].T @ dy[1:]", "part of the batch", "W"),
        (W, "self.W.grad[...] += dW", "accumulated", "W"),
        (W, "self.W.grad[...] = dW.astype('float32')", "wrong dtype", "W"),
        (W, "self.W.grad = dW.astype('float32')", "wrong dtype", "W"),
        (W, "self.W.grad[...] = xp.roll(dW, 1, axis=0)", "shifted", "W"),
        (W, "self.W.grad[...] = dW[:, ::-1]", "flipped", "W"),
        (W, "self.W.grad[...] = (dy.T @ x).reshape(self.W.grad.shape)", "transposed", "W"),
        (W, "self.W.grad = dy.T @ x", "transposed", "W"),
        (W, "self.W.grad = dW[1:]", "wrong shape", "W"),
        (W, "self.W.grad = None", "no gradient", "W"),
        (W, "self.W.grad = dW.copy()", "gradient replaced", "W"),
        (W, "self.W.grad[...] = x.T @ xp.ones_like(dy)", "ignores dy", "W"),
        (W, "self.W.grad[...] = dW; self.W.grad[2, 1] = xp.nan", "nan or inf", "W"),
        (W, "self.W.grad[...] = dW; self.W.grad[-1] = 0", "only some elements", "W"),
        (W, "self.W.grad[...] = abs(dW)", "wrong sign", "W"),
        (B, "self.b.grad[...] = dy.mean(axis=0)", "constant factor", "b"),
        (B, "self.b.grad[...] = dy[0]", "first image only", "b"),
        (B, "self.b.grad[...] = dy[:-1].sum(axis=0)", "part of the batch", "b"),
        (B, "self.b.grad[...] = dy.sum()", "summed over too much", "b"),
        (B, "self.b.grad[...] = len(dy)", "ignores dy", "b"),
        (B, "self.b.grad = dy", "wrong shape", "b"),
        (B, "self.b.grad[...] += db", "accumulated", "b"),
        (B, "self.b.grad[...] = db + self.b.data", "extra term", "b"),
        (X, "return -dx", "constant factor", "input"),
        (X, "return dx / len(dy)", "constant factor", "input"),
        (X, "dx[1:] = 0; return dx", "first image only", "input"),
        (X, "return dy @ self.W.data[::-1].T", "flipped", "input"),
        (X, "dy *= 2; return dx", "changed its argument", "input"),
        (X, "x[...] = 0; return dx", "changed its argument", "input"),
        (X, "self.W.data -= 0.1 * self.W.grad; return dx", "changed weights", "W"),
        (X, "return dx.astype('float32')", "wrong dtype", "input"),
        (X, "return dx / 0", "nan or inf", "input"),
        (SAVED, stale("x"), "stale state", "W"),
        ("y[rows] += self.b.data", "y[rows] += 2 * self.b.data", "constant factor", "b"),
    ]),
    (SQUARE, None, [
        (W, "self.W.grad[...] = dy.T @ x", "transposed", "W"),
        (X, "return dy @ self.W.data", "transposed", "input"),
        (X, "return dx + self.b.data", "extra term", "input"),
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
        ("im2col(x), dy.", "im2col(x[:, ::-1]), dy.", "flipped", "W"),
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
        ("dpixel += d * taps[k]", "dpixel += d * taps[-1 - k]", "flipped kernel", "input"),
        ("dpixel += d * taps[k]", "dpixel[...] = d * taps[k]", "only some elements", "input"),
        ("dtaps[k] = (d * pixel).sum((0, 1, 2))", "dtaps[k] = (d * pixel).mean((0, 1, 2))", "constant factor", "W"),
        ("dtaps[k] = (d * pixel).sum((0, 1, 2))", "dtaps[k] = (d * pixel)[0].sum((0, 1))", "first image only", "W"),
        ("dtaps[k] = (d * pixel).sum((0, 1, 2))", "dtaps[-1 - k] = (d * pixel).sum((0, 1, 2))", "flipped kernel", "W"),
        ("dtaps[k] = (d * pixel).sum((0, 1, 2))", "dtaps[k] = (d * pixel).sum()", "summed over too much", "W"),
        ("self.b.grad[...] = db", "self.b.grad[...] += db", "accumulated", "b"),
        ("dx[rows] = windows.crop(dpadded)", "dx[rows] = dpadded[:, :windows.H, :windows.W]", "shifted", "input"),
    ]),
    (POOL, None, [
        (SPOT, "dpixel += dy * largest / 4", "constant factor", "input"),
        (SPOT, "dpixel += dy", "only some elements", "input"),
        (SPOT, "dpixel += dy / 4", "only some elements", "input"),
        (SPOT, "dpixel += dy[:1] * largest", "first image only", "input"),
        (SPOT, "dpixel += largest", "ignores dy", "input"),
    ]),
    (POOL, Pooling, [
        (X, "return 0 * dx", "zero", "input"),
        (X, "return dx[:, ::-1]", "flipped", "input"),
        ("self.saved = self.kept(x, y)", stale("self.kept(x, y)"), "stale state", "input"),
    ]),
    (OVERLAPPING, None, [
        (SPOT, "dpixel[...] = dy * largest", "only some elements", "input"),
        (SPOT, "dpixel[...] += -dy * largest", "constant factor", "input"),
    ]),
    (PADDED_POOL, Pooling, [
        ("dx[rows] = windows.crop(dpadded)", "dx[rows] = dpadded[:, :windows.H, :windows.W]", "shifted", "input"),
        (X, "dx[:, 0] = 0; return dx", "border", "input"),
    ]),
    (AVERAGE, None, [
        (SHARE, "dpixel += dy", "constant factor", "input"),
        ("share = dy / (KH * KW)", "share = dy / KH", "constant factor", "input"),
        (SHARE, "dpixel += share[:1]", "first image only", "input"),
        ("dpixel += share ", "dpixel += share; break", "only some elements", "input"),
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
        (RELU_X, "return dy", "derivative missing", "input"),
        (RELU_X, "return dy * y", "wrong derivative", "input"),
        (RELU_X, "return dy * (dy > 0)", "only some elements", "input"),
        (RELU_X, "return y > 0", "ignores dy", "input"),
        (RELU_X, "return -dy * (y > 0)", "constant factor", "input"),
        (RELU_X, "return dy * (y <= 0)", "wrong derivative", "input"),
        ("y = xp.maximum(x, 0)", "x *= x > 0; y = x.copy()", "changed its argument", "input"),
    ]),
    (LEAKY, None, [
        (LEAKY_X, "return dy * (y > 0)", "only some elements", "input"),
        (LEAKY_X, "return dy", "derivative missing", "input"),
        (LEAKY_X, "return dy * xp.where(y > 0, self.slope, 1)", "wrong derivative", "input"),
        (LEAKY_X, f"dy *= 1.0; {LEAKY_X} / 2", "constant factor", "input"),
        (LEAKY_X, "dy[y < 0] *= self.slope; return dy", "changed its argument", "input"),
    ]),
    (GAUSS, None, [
        (GELU_X, "return dy * below", "wrong derivative", "input"),
        (GELU_X, "return dy * (below + density)", "wrong derivative", "input"),
        (GELU_X, "x = x * below; below = 0.5 + 0.5 * erf(x * sqrt(1 / 2)); "
                 "return dy * (below + x * xp.exp(x * x * -0.5) / sqrt(2 * pi))", "activated value", "input"),
        ("self.saved = x, below", stale("(x, below)"), "stale state", "input"),
    ]),
    (SIGMOID, None, [
        (SIGMOID_X, "y = 1 / (1 + xp.exp(-y)); return dy * (y * (1 - y))", "activated value", "input"),
        (SIGMOID_X, "return dy * (y * (1 + y))", "wrong derivative", "input"),
        (SIGMOID_X, "return dy * (1 - y)", "wrong derivative", "input"),
        (SIGMOID_X, "return y * (1 - y)", "ignores dy", "input"),
        (SIGMOID_X, "return dy", "derivative missing", "input"),
        (SIGMOID_X, "return dy * (y * (1 - y)) + dy", "extra term", "input"),
        (SIGMOID_X, "return 4 * dy * (y * (1 - y))", "constant factor", "input"),
        (SAVED_Y, stale("y"), "stale state", "input"),
        (SAVED_Y, "self.saved = x", "wrong derivative", "input"),
    ]),
    (TANH, None, [
        (TANH_X, "return dy * (1 - xp.tanh(y)**2)", "activated value", "input"),
        (TANH_X, "return dy * (1 - y)", "wrong derivative", "input"),
        (TANH_X, "return dy * (1 + y * y)", "wrong derivative", "input"),
        (TANH_X, "return -dy * (y * y)", "missing term", "input"),
        (TANH_X, "return (dy * (1 - y * y)).astype('float32')", "wrong dtype", "input"),
    ]),
    (NORM, None, [
        (NORM_X, "return self.gamma.data / std * (dy - xhat * (dy * xhat).mean(axes))", "missing term", "input"),
        (NORM_X, "return self.gamma.data / std * (dy - dy.mean(axes))", "missing term", "input"),
        (NORM_X, "return self.gamma.data / std * dy", "missing term", "input"),
        (NORM_X, NORM_X.replace("self.gamma.data", "1"), "varying factor", "input"),
        (NORM_X, NORM_X.replace(" / std", ""), "varying factor", "input"),
        (NORM_X, NORM_X.replace("std * (", "std**2 * ("), "varying factor", "input"),
        (NORM_X, NORM_X.replace("std * (", "xp.sqrt(std**2 - self.eps) * ("), "varying factor", "input"),
        (NORM_G, "self.gamma.grad[...] = (dy * xhat * std).sum(axes)", "varying factor", "gamma"),
        (NORM_G, "self.gamma.grad[...] = (dy * xhat * self.gamma.data).sum(axes)", "varying factor", "gamma"),
        (NORM_G, "self.gamma.grad[...] += (dy * xhat).sum(axes)", "accumulated", "gamma"),
        (NORM_B, "self.beta.grad[...] = dy.sum()", "summed over too much", "beta"),
        ("if not from_batch:", "if False:", "extra term", "input"),
        (NORM_EVAL, "return self.gamma.data * dy\n", "varying factor", "input"),
        (NORM_EVAL, "return dy\n", "derivative missing", "input"),
    ]),
    (IMAGE_NORM, None, [
        (NORM_G, "self.gamma.grad[...] = (dy * xhat).mean(axes)", "constant factor", "gamma"),
        (NORM_G, "self.gamma.grad[...] = (dy * xhat)[0].sum((0, 1))", "first image only", "gamma"),
        (NORM_B, "self.beta.grad[...] = dy.mean(axes)", "constant factor", "beta"),
        (NORM_X, NORM_X.replace("dy.mean(axes) -", "0 -"), "missing term", "input"),
        (NORM_X, NORM_X.replace("dy - dy.mean(axes)", "dy + dy.mean(axes)"), "missing term", "input"),
        (NORM_X, NORM_X.replace("(dy * xhat).mean(axes)", "(dy * xhat).sum(axes)"), "extra term", "input"),
        (NORM_X, NORM_X.replace("mean(axes)", "mean(0)"), "averaged over too little", "input"),
    ]),
    (ROW_NORM, None, [
        (ROW_X, ROW_X.replace("- dxhat.mean(-1, keepdims=True) ", ""), "missing term", "input"),
        (ROW_X, "return (dxhat - dxhat.mean(-1, keepdims=True)) / std", "missing term", "input"),
        (ROW_X, "return dxhat / std", "missing term", "input"),
        (ROW_X, ROW_X.removesuffix(" / std"), "varying factor", "input"),
        ("self.gamma.grad[...] = (dy * xhat).sum(others)", "self.gamma.grad[...] = (dy * xhat).mean(others)",
         "constant factor", "gamma"),
        ("self.beta.grad[...] = dy.sum(others)", "self.beta.grad[...] = dy[0]", "first image only", "beta"),
    ]),
    (DROPOUT, None, [
        (DROP_X, "return dy", "derivative missing", "input"),
        (DROP_X, "return dy * (mask > 0)", "constant factor", "input"),
        (DROP_X, "return dy * (draw_uniform(dy.shape) >= self.rate) / (1 - self.rate)", "new random numbers", "input"),
        ("self.saved = 1.0", "self.saved = 1 - self.rate", "constant factor", "input"),
        ("self.saved = mask", stale("mask"), "stale state", "input"),
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
        (MEAN, "pass", "constant factor", "input"),
        (MEAN, "dscores /= dscores.size", "constant factor", "input"),
        (MEAN, "dscores /= -len(dscores)", "constant factor", "input"),
        (MEAN, "dscores[...] = 0", "zero", "input"),
        (MEAN, "dscores /= len(dscores); dscores[1:] = 0", "first image only", "input"),
        (ONE_HOT, "pass", "missing term", "input"),
        (ONE_HOT, "dscores[rows, labels] += 1", "missing term", "input"),
        (ONE_HOT, "dscores[rows, labels - 1] -= 1", "shifted", "input"),
        (ONE_HOT, "dscores[rows, labels] -= 2", "extra term", "input"),
        (ONE_HOT, "dscores[...] = 0; dscores[rows, labels] = -1", "missing term", "input"),
        (SMOOTH, "dscores = probabilities.astype('float32')", "wrong dtype", "input"),
        (SMOOTH, "dscores = probabilities * (1 - probabilities)", "wrong derivative", "input"),
        ("shifted = scores - scores.max(axis=1, keepdims=True)",
         "scores -= scores.max(axis=1, keepdims=True); shifted = scores", "changed its argument", "input"),
        ("self.saved = exponentials / total, rows, labels", stale("(exponentials / total, rows, labels)"),
         "stale state", "input"),
        ("self.saved = exponentials / total, rows, labels", "self.saved = exponentials, rows, labels",
         "wrong derivative", "input"),
        ("        return dscores", "        return dscores.T", "transposed", "input"),
    ]),
    (SMOOTHED, None, [
        (ONE_HOT, "dscores[rows, labels] -= 1", "extra term", "input"),
        (SMOOTH, "dscores = probabilities.copy()", "missing term", "input"),
    ]),
    (SQUARES, None, [
        ("return distance * (2 / distance.size)", "return distance / distance.size", "constant factor", "input"),
        ("return distance * (2 / distance.size)", "return distance * (2 / len(distance))", "constant factor", "input"),
        ("return distance * (2 / distance.size)", "return -distance * (2 / distance.size)", "constant factor", "input"),
        ("return distance * (2 / distance.size)", "return abs(distance) * (2 / distance.size)", "wrong sign", "input"),
    ]),
]
