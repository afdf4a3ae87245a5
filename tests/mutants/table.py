"""The table of planted mistakes: for each subject, (old text, new text, the cause as a teacher would name it, tensor).

A new layer gets a `Subject` and its edits here; every unedited subject also serves as a right layer that must pass.
"""

from dataclasses import dataclass

from minidl import Sequential
from minidl.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, MaxPool2D, ReLU, Sigmoid, Tanh
from minidl.losses import SoftmaxCrossEntropy
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
POOL = Subject(MaxPool2D, lambda kind: kind(2), (3, 4, 6, 2))
OVERLAPPING = Subject(MaxPool2D, lambda kind: kind((2, 3), stride=1), (2, 5, 6, 2))
PADDED_POOL = Subject(MaxPool2D, lambda kind: kind(3, stride=2, padding=1), (2, 7, 5, 2))
FLATTEN = Subject(Flatten, lambda kind: kind(), (3, 4, 5, 2))
RELU = Subject(ReLU, lambda kind: kind(), (4, 7))
SIGMOID = Subject(Sigmoid, lambda kind: kind(), (4, 7))
TANH = Subject(Tanh, lambda kind: kind(), (4, 7))
NORM = Subject(BatchNorm, lambda kind: kind(), (7, 5))
IMAGE_NORM = Subject(BatchNorm, lambda kind: kind(), (3, 4, 5, 2))
DROPOUT = Subject(Dropout, lambda kind: kind(0.4), (5, 6))
NETWORK = Subject(Sequential, lambda kind: kind([Dense(6), Tanh(), Dense(6), Sigmoid()]), (5, 6))
LOSS = Subject(SoftmaxCrossEntropy, lambda kind: kind(), (6, 4))

DENSE_W = "self.W.grad[...] = x.T @ dy"
DENSE_X = "return dy @ self.W.data.T"
DENSE_B = "self.b.grad[...] = dy.sum(axis=0)"
CONV_W = "self.W.grad[...] = sum(dW).reshape(self.W.grad.shape)"
CONV_B = "self.b.grad[...] = sum(db)"
CONV_X = "windows.col2im(d @ kernel.T, len(x[rows]))"
SPOT = "dpixel += dy[rows] * largest"
NORM_G = "self.gamma.grad[...] = (dy * xhat).sum(axes)"
NORM_B = "self.beta.grad[...] = dy.sum(axes)"
NORM_X = "return self.gamma.data / std * (dy - dy.mean(axes) - xhat * (dy * xhat).mean(axes))"
NORM_EVAL = "return self.gamma.data / std * dy\n"
SIGMOID_X = "return dy * (y * (1 - y))"
TANH_X = "return dy * (1 - y * y)"
RELU_X = "return dy * (y > 0)"

TABLE = [
    (DENSE, None, [
        (DENSE_W, "self.W.grad[...] = -(x.T @ dy)", "constant factor", "W"),
        (DENSE_W, "self.W.grad[...] = 2 * x.T @ dy", "constant factor", "W"),
        (DENSE_W, "self.W.grad[...] = x.T @ dy / 2", "constant factor", "W"),
        (DENSE_W, "self.W.grad[...] = x.T @ dy / len(x)", "constant factor", "W"),
        (DENSE_W, "self.W.grad[...] = x.T @ dy * len(x)", "constant factor", "W"),
        (DENSE_W, "self.W.grad[...] = 0.3 * x.T @ dy", "constant factor", "W"),
        (DENSE_W, "self.W.grad[...] = 1.00001 * x.T @ dy", "constant factor", "W"),
        (DENSE_W, "self.W.grad[...] = x.T @ dy + 0.1 * self.W.data", "extra term", "W"),
        (DENSE_W, "self.W.grad[...] = x.T @ dy + 0.1 * xp.sign(self.W.data)", "extra term", "W"),
        (DENSE_W, "self.W.grad[...] = 0", "zero", "W"),
        (DENSE_W, "pass", "zero", "W"),
        (DENSE_W, "self.W.grad[...] = x[:1].T @ dy[:1]", "first image only", "W"),
        (DENSE_W, "self.W.grad[...] = x[1:].T @ dy[1:]", "part of the batch", "W"),
        (DENSE_W, "self.W.grad[...] += x.T @ dy", "accumulated", "W"),
        (DENSE_W, "self.W.grad[...] = (x.T @ dy).astype('float32')", "wrong dtype", "W"),
        (DENSE_W, "self.W.grad = (x.T @ dy).astype('float32')", "wrong dtype", "W"),
        (DENSE_W, "self.W.grad[...] = xp.roll(x.T @ dy, 1, axis=0)", "shifted", "W"),
        (DENSE_W, "self.W.grad[...] = (x.T @ dy)[:, ::-1]", "flipped", "W"),
        (DENSE_W, "self.W.grad[...] = (dy.T @ x).reshape(self.W.grad.shape)", "transposed", "W"),
        (DENSE_W, "self.W.grad = dy.T @ x", "transposed", "W"),
        (DENSE_W, "self.W.grad = (x.T @ dy)[1:]", "wrong shape", "W"),
        (DENSE_W, "self.W.grad = None", "no gradient", "W"),
        (DENSE_W, "self.W.grad[...] = x.T @ xp.ones_like(dy)", "ignores dy", "W"),
        (DENSE_W, "self.W.grad[...] = x.T @ dy; self.W.grad[2, 1] = xp.nan", "nan or inf", "W"),
        (DENSE_W, "self.W.grad[...] = x.T @ dy; self.W.grad[-1] = 0", "only some elements", "W"),
        (DENSE_W, "self.W.grad[...] = x.T @ dy; self.W.grad /= xp.linalg.norm(self.W.grad)", "constant factor", "W"),
        (DENSE_W, "self.W.grad[...] = abs(x.T @ dy)", "wrong sign", "W"),
        (DENSE_B, "self.b.grad[...] = dy.mean(axis=0)", "constant factor", "b"),
        (DENSE_B, "self.b.grad[...] = dy[0]", "first image only", "b"),
        (DENSE_B, "self.b.grad[...] = dy[:-1].sum(axis=0)", "part of the batch", "b"),
        (DENSE_B, "self.b.grad[...] = dy.sum()", "summed over too much", "b"),
        (DENSE_B, "self.b.grad[...] = len(dy)", "ignores dy", "b"),
        (DENSE_B, "self.b.grad = dy", "wrong shape", "b"),
        (DENSE_B, "self.b.grad[...] += dy.sum(axis=0)", "accumulated", "b"),
        (DENSE_B, "self.b.grad[...] = dy.sum(axis=0) + self.b.data", "extra term", "b"),
        (DENSE_X, "return -dy @ self.W.data.T", "constant factor", "input"),
        (DENSE_X, "return dy @ self.W.data.T / len(dy)", "constant factor", "input"),
        (DENSE_X, "dx = xp.zeros_like(x); dx[0] = dy[0] @ self.W.data.T; return dx", "first image only", "input"),
        (DENSE_X, "return dy @ self.W.data[::-1].T", "flipped", "input"),
        (DENSE_X, "dy *= 2; return dy @ self.W.data.T", "changed its argument", "input"),
        (DENSE_X, "self.W.data -= 0.1 * self.W.grad; return dy @ self.W.data.T", "changed weights", "W"),
        (DENSE_X, "dx = dy @ self.W.data.T; x[...] = 0; return dx", "changed its argument", "input"),
        (DENSE_X, "return (dy @ self.W.data.T).astype('float32')", "wrong dtype", "input"),
        (DENSE_X, "return dy @ self.W.data.T / 0", "nan or inf", "input"),
        ("self.saved = x", "self.saved = x if self._saved is None else self._saved", "stale state", "W"),
        ("y += self.b.data", "y += 2 * self.b.data", "constant factor", "b"),
    ]),
    (SQUARE, None, [
        (DENSE_W, "self.W.grad[...] = dy.T @ x", "transposed", "W"),
        (DENSE_X, "return dy @ self.W.data", "transposed", "input"),
        (DENSE_X, "return dy @ self.W.data.T + self.b.data", "extra term", "input"),
        ("self.saved = x", "self.saved = y", "activated value", "W"),
    ]),
    (CONV, None, [
        (CONV_W, "self.W.grad[...] = -sum(dW).reshape(self.W.grad.shape)", "constant factor", "W"),
        (CONV_W, "self.W.grad[...] = sum(dW).reshape(self.W.grad.shape) / len(x)", "constant factor", "W"),
        (CONV_W, "self.W.grad[...] = sum(dW).reshape(self.W.grad.shape) / (windows.OH * windows.OW)",
         "constant factor", "W"),
        (CONV_W, "self.W.grad[...] += sum(dW).reshape(self.W.grad.shape)", "accumulated", "W"),
        (CONV_W, "self.W.grad[...] = sum(dW).reshape(self.W.grad.shape) + 0.01 * self.W.data", "extra term", "W"),
        (CONV_W, "self.W.grad[...] = sum(dW).reshape(self.W.grad.shape)[::-1, ::-1]", "flipped kernel", "W"),
        (CONV_W, "self.W.grad[...] = sum(dW).reshape(self.W.grad.shape).swapaxes(0, 1)", "transposed", "W"),
        (CONV_W, "self.W.grad[...] = sum(dW).T.reshape(self.W.grad.shape)", "transposed", "W"),
        (CONV_B, "self.b.grad[...] = sum(db) / len(x)", "constant factor", "b"),
        (CONV_B, "self.b.grad[...] = sum(db).sum()", "summed over too much", "b"),
        (CONV_B, "pass", "zero", "b"),
        (CONV_X, "windows.col2im(d @ kernel[::-1].T, len(x[rows]))", "flipped kernel", "input"),
        (CONV_X, "windows.col2im(d @ self.W.data[::-1, ::-1].reshape(kernel.shape).T, len(x[rows]))",
         "flipped kernel", "input"),
        (CONV_X, "windows.col2im(d @ self.W.data.swapaxes(0, 1).reshape(kernel.shape).T, len(x[rows]))",
         "transposed", "input"),
        (CONV_X, "windows.col2im(2 * d @ kernel.T, len(x[rows]))", "constant factor", "input"),
        (CONV_X, "windows.col2im(d @ kernel.T, len(x[rows]))[:1]", "first image only", "input"),
        ("return dx", "dx[:, 0] = dx[:, -1] = dx[:, :, 0] = dx[:, :, -1] = 0\n        return dx", "border", "input"),
        ("return dx", "return xp.roll(dx, 1, axis=2)", "shifted", "input"),
        ("return dx", "return dx.swapaxes(1, 2)", "transposed", "input"),
        ("windows.im2col(x[rows]).T @ d, d.sum", "windows.im2col(x[:1]).T @ d[:windows.OH * windows.OW], d.sum",
         "first image only", "W"),
        ("self.saved = x", "self.saved = x if self._saved is None else self._saved", "stale state", "W"),
    ]),
    (STRIDED, Windows, [
        ("pixels += columns[:, :, :, k]", "pixels[...] = columns[:, :, :, k]", "only some elements", "input"),
        ("return self.crop(padded)", "return padded[:, :self.H, :self.W]", "shifted", "input"),
        ("return self.crop(padded)", "return self.crop(padded).astype('float32')", "wrong dtype", "input"),
        ("pixels += columns[:, :, :, k]", "pixels -= columns[:, :, :, k]", "constant factor", "input"),
    ]),
    (CONV, Windows, [
        ("pixels += columns[:, :, :, k]", "pixels[:, 1:-1, 1:-1] += columns[:, 1:-1, 1:-1, k]", "border", "input"),
        ("return self.crop(padded)", "return self.crop(padded)[:, ::-1]", "flipped", "input"),
        ("pixels += columns[:, :, :, k]", "pixels += columns[:1, :, :, k]", "first image only", "input"),
    ]),
    (EQUAL_CHANNELS, None, [
        (CONV_X, "windows.col2im(d @ self.W.data.swapaxes(2, 3).reshape(kernel.shape).T, len(x[rows]))",
         "transposed", "input"),
        (CONV_X, "windows.col2im(d, len(x[rows])) if False else dx[rows] * 0", "zero", "input"),
    ]),
    (POOL, None, [
        (SPOT, "dpixel += dy[rows] * largest / 4", "constant factor", "input"),
        (SPOT, "dpixel += dy[rows]", "only some elements", "input"),
        (SPOT, "dpixel += dy[:1] * largest", "first image only", "input"),
        (SPOT, "dpixel += largest", "ignores dy", "input"),
        ("return dx", "return 0 * dx", "zero", "input"),
        ("return dx", "return dx[:, ::-1]", "flipped", "input"),
        ("self.saved = x, y", "self.saved = (x, y) if self._saved is None else self._saved", "stale state", "input"),
    ]),
    (OVERLAPPING, None, [
        (SPOT, "dpixel[...] = dy[rows] * largest", "only some elements", "input"),
    ]),
    (PADDED_POOL, None, [
        ("dx[rows] = windows.crop(dpadded)", "dx[rows] = dpadded[:, :windows.H, :windows.W]", "shifted", "input"),
        ("return dx", "dx[:, 0] = 0\n        return dx", "border", "input"),
    ]),
    (FLATTEN, None, [
        ("return dy.reshape(len(dy), *self.input_shape)", "return dy", "wrong shape", "input"),
        ("return dy.reshape(len(dy), *self.input_shape)",
         "return dy.reshape(len(dy), *self.input_shape[::-1]).transpose(0, 3, 2, 1)", "transposed", "input"),
        ("return dy.reshape(len(dy), *self.input_shape)", "return dy.reshape(len(dy), *self.input_shape)[::-1]",
         "flipped", "input"),
        ("return dy.reshape(len(dy), *self.input_shape)",
         "return dy[[-1, *range(len(dy) - 1)]].reshape(len(dy), *self.input_shape)", "shifted", "input"),
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
    (SIGMOID, None, [
        (SIGMOID_X, "y = 1 / (1 + xp.exp(-y)); return dy * (y * (1 - y))", "activated value", "input"),
        (SIGMOID_X, "return dy * (y * (1 + y))", "wrong derivative", "input"),
        (SIGMOID_X, "return dy * (1 - y)", "wrong derivative", "input"),
        (SIGMOID_X, "return y * (1 - y)", "ignores dy", "input"),
        (SIGMOID_X, "return dy", "derivative missing", "input"),
        (SIGMOID_X, "return dy * (y * (1 - y)) + dy", "extra term", "input"),
        (SIGMOID_X, "return 4 * dy * (y * (1 - y))", "constant factor", "input"),
        ("self.saved = y", "self.saved = y if self._saved is None else self._saved", "stale state", "input"),
        ("self.saved = y", "self.saved = x", "wrong derivative", "input"),
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
        (NORM_X, "return 1 / std * (dy - dy.mean(axes) - xhat * (dy * xhat).mean(axes))", "varying factor", "input"),
        (NORM_X, "return self.gamma.data * (dy - dy.mean(axes) - xhat * (dy * xhat).mean(axes))",
         "varying factor", "input"),
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
    ]),
    (DROPOUT, None, [
        ("return dy * mask", "return dy", "derivative missing", "input"),
        ("return dy * mask", "return dy * (mask > 0)", "constant factor", "input"),
        ("return dy * mask", "return dy * (draw_uniform(dy.shape) >= self.rate) / (1 - self.rate)",
         "new random numbers", "input"),
        ("self.saved = 1.0", "self.saved = 1 - self.rate", "constant factor", "input"),
        ("self.saved = mask", "self.saved = mask if self._saved is None else self._saved", "stale state", "input"),
    ]),
    (NETWORK, None, [
        ("            dy = layer.backward(dy)\n        return dy",
         "            dy = layer.backward(dy)\n        return -dy", "constant factor", "input"),
        ("            dy = layer.backward(dy)\n        return dy",
         "            dy = layer.backward(dy)\n        return dy.astype('float32')", "wrong dtype", "input"),
        ("            dy = layer.backward(dy)\n        return dy",
         "            dy = layer.backward(dy)\n        return xp.zeros_like(dy)", "zero", "input"),
        ("            dy = layer.backward(dy)\n        return dy",
         "            dx = layer.backward(dy)\n        return dx", "derivative missing", "input"),
        ("            dy = layer.backward(dy)\n        return dy",
         "            dy = layer.backward(dy[:1] + 0 * dy)\n        return dy", "first image only", "input"),
    ]),
    (LOSS, None, [
        ("dscores /= len(dscores)", "pass", "constant factor", "input"),
        ("dscores /= len(dscores)", "dscores /= dscores.size", "constant factor", "input"),
        ("dscores /= len(dscores)", "dscores /= -len(dscores)", "constant factor", "input"),
        ("dscores /= len(dscores)", "dscores[...] = 0", "zero", "input"),
        ("dscores /= len(dscores)", "dscores /= len(dscores); dscores[1:] = 0", "first image only", "input"),
        ("dscores[rows, labels] -= 1", "pass", "missing term", "input"),
        ("dscores[rows, labels] -= 1", "dscores[rows, labels] += 1", "missing term", "input"),
        ("dscores[rows, labels] -= 1", "dscores[rows, labels - 1] -= 1", "shifted", "input"),
        ("dscores[rows, labels] -= 1", "dscores[rows, labels] -= 2", "extra term", "input"),
        ("dscores[rows, labels] -= 1", "dscores[...] = -0.0; dscores[rows, labels] = -1", "missing term", "input"),
        ("dscores = probabilities.copy()", "dscores = probabilities.astype('float32')", "wrong dtype", "input"),
        ("dscores = probabilities.copy()", "dscores = probabilities * (1 - probabilities)", "wrong derivative",
         "input"),
        ("shifted = scores - scores.max(axis=1, keepdims=True)",
         "scores -= scores.max(axis=1, keepdims=True); shifted = scores", "changed its argument", "input"),
        ("self.saved = exponentials / total, rows, labels",
         "self.saved = self.saved or (exponentials / total, rows, labels)", "stale state", "input"),
        ("self.saved = exponentials / total, rows, labels", "self.saved = exponentials, rows, labels",
         "wrong derivative", "input"),
        ("        return dscores", "        return dscores.T", "transposed", "input"),
    ]),
]
