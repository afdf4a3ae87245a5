"""The table of planted mistakes: what is edited where, and the cause as a teacher would name it.

    plant(case, tensor, old, {new: cause, ...})

case: a layer or loss of `minidl.cases`, by name, or a `Case` of its own where the mistake needs equal sizes
tensor: the one whose gradient comes out wrong
old, new: text in the twin of the layer in minidl/textbook.py, or in the function `place` there, and what replaces it;
    OLD in the new text means the old one. A class that is as plain as a twin, and so has none, is edited itself

A new layer gets its rows here; every case that is met also serves as a right layer that must pass.
"""

from dataclasses import dataclass

from minidl.cases import Case, case
from minidl.layers import Conv2D, Dense, Sigmoid, Tanh
from minidl.network import Sequential


@dataclass(frozen=True)
class Mutant:
    case: Case      # the layer or loss that is checked
    place: str      # the class or function of minidl/textbook.py whose text is edited
    old: str
    new: str
    cause: str      # the name under which the mistake was planted
    tensor: str     # where it must be found

    def __str__(self):
        return f"{self.case.name}, {self.tensor}: " + " ".join(f"{self.old} -> {self.new}".split())


MUTANTS = []


def plant(subject, tensor, old, edits, place=None):
    """One mutant for each edit of one piece of text."""
    subject = case(subject) if isinstance(subject, str) else subject
    place = place or type(subject.make()).__name__
    MUTANTS.extend(Mutant(subject, place, old, new.replace("OLD", old), cause, tensor) for new, cause in edits.items())


def stale(what):
    """Saved in the first forward pass and never again."""
    return f"self.saved = {what} if self._saved is None else self._saved"


# ----------------------------------------------------------------------------------------------------- fully connected

DENSE = "dense-7to5"
plant(DENSE, "W", "x.T @ dy", {
    "-(OLD)": "constant factor",
    "2 * (OLD)": "constant factor",
    "(OLD) / 2": "constant factor",
    "(OLD) / len(x)": "constant factor",
    "(OLD) * len(x)": "constant factor",
    "0.3 * (OLD)": "constant factor",
    "1.00001 * (OLD)": "constant factor",
    "(OLD) / xp.linalg.norm(OLD)": "constant factor",
    "OLD + 0.1 * self.W.data": "extra term",
    "OLD + 0.1 * xp.sign(self.W.data)": "extra term",
    "0": "zero",
    "x[:1].T @ dy[:1]": "first image only",
    "x[1:].T @ dy[1:]": "part of the batch",
    "(OLD).astype('float32')": "wrong dtype",
    "xp.roll(OLD, 1, axis=0)": "shifted",
    "(OLD)[:, ::-1]": "flipped",
    "(dy.T @ x).reshape(self.W.grad.shape)": "transposed",
    "x.T @ xp.ones_like(dy)": "ignores dy",
    "abs(OLD)": "wrong sign",
})
plant(DENSE, "W", "self.W.grad[...] = x.T @ dy", {
    "pass": "zero",
    "self.W.grad += x.T @ dy": "accumulated",
    "self.W.grad = (x.T @ dy).astype('float32')": "wrong dtype",
    "self.W.grad = dy.T @ x": "transposed",
    "self.W.grad = (x.T @ dy)[1:]": "wrong shape",
    "self.W.grad = None": "no gradient",
    "self.W.grad = x.T @ dy": "gradient replaced",
    "OLD; self.W.grad[2, 1] = xp.nan": "nan or inf",
    "OLD; self.W.grad[-1] = 0": "only some elements",
})
plant(DENSE, "W", "self.saved = x", {stale("x"): "stale state"})
plant(DENSE, "b", "self.b.data if self.bias else 0", {"2 * self.b.data": "constant factor"})
plant(DENSE, "b", "dy.sum(axis=0)", {
    "dy.mean(axis=0)": "constant factor",
    "dy[0]": "first image only",
    "dy[:-1].sum(axis=0)": "part of the batch",
    "dy.sum()": "summed over too much",
    "len(dy)": "ignores dy",
    "OLD + self.b.data": "extra term",
})
plant(DENSE, "b", "self.b.grad[...] = dy.sum(axis=0)", {
    "self.b.grad = dy": "wrong shape",
    "self.b.grad += dy.sum(axis=0)": "accumulated",
})
plant(DENSE, "input", "dy @ self.W.data.T", {
    "-(OLD)": "constant factor",
    "(OLD) / len(dy)": "constant factor",
    "dy @ self.W.data[::-1].T": "flipped",
    "(OLD).astype('float32')": "wrong dtype",
    "(OLD) / 0": "nan or inf",
})
plant(DENSE, "input", "return dy @ self.W.data.T if self.input_gradient else None", {
    "dx = dy @ self.W.data.T; dx[1:] = 0; return dx": "first image only",
    "dx = dy @ self.W.data.T; dy *= 2; return dx": "changed its argument",
    "x[...] = 0; OLD": "changed its argument",
})
plant(DENSE, "W", "return dy", {"self.W.data -= 0.1 * self.W.grad; OLD": "changed weights"})

SQUARE = Case("dense-6to6", lambda: Dense(6), (4, 6))
plant(SQUARE, "W", "x.T @ dy", {"dy.T @ x": "transposed"})
plant(SQUARE, "W", "self.saved = x", {"self.saved = x @ self.W.data + b": "activated value"})
plant(SQUARE, "input", "dy @ self.W.data.T", {
    "dy @ self.W.data": "transposed",
    "OLD + self.b.data": "extra term",
})

FLATTEN = "flatten-3x4x5"
plant(FLATTEN, "input", "return dy.reshape(len(dy), *self.input_shape)", {
    "return dy": "wrong shape",
    "return dy.reshape(len(dy), *self.input_shape[::-1]).transpose(0, 3, 2, 1)": "transposed",
    "OLD[::-1]": "flipped",
    "return xp.roll(dy, 1, axis=1).reshape(len(dy), *self.input_shape)": "shifted",
})

# ------------------------------------------------------------------------------------------------- windows of an image

CONV, STRIDED = "conv-3x3-s1x1-p0", "conv-3x2-s2x1-p1x2"
EQUAL_CHANNELS = Case("conv-2x4-3to3", lambda: Conv2D(3, (2, 4)), (2, 5, 6, 3))
CONV_W, CONV_X = "(rows.T @ dy).reshape(KH, KW, C, F)", "col2im(self.windows, drows)"
plant(CONV, "W", CONV_W, {
    "-OLD": "constant factor",
    "OLD / len(x)": "constant factor",
    "OLD / (OH * OW)": "constant factor",
    "OLD + 0.01 * self.W.data": "extra term",
    "OLD[::-1, ::-1]": "flipped kernel",
    "OLD.swapaxes(0, 1)": "transposed",
    "OLD.reshape(-1, F).T.reshape(KH, KW, C, F)": "transposed",
    "(rows[:OH * OW].T @ dy[:OH * OW]).reshape(KH, KW, C, F)": "first image only",
    "OLD; self.W.grad[0] = 0": "only some elements",
})
plant(CONV, "W", "self.W.grad[...] = ", {"self.W.grad[...] += ": "accumulated"})
plant(CONV, "W", "self.saved = x", {stale("x"): "stale state"})
plant(CONV, "W", "x = self.saved", {"x = self.saved[:, ::-1]": "flipped"})
plant(CONV, "b", "dy.sum(axis=0)", {
    "OLD / len(x)": "constant factor",
    "OLD.sum()": "summed over too much",
})
plant(CONV, "b", "self.b.grad[...] = dy.sum(axis=0)", {"pass": "zero"})
plant(CONV, "input", "self.W.data.reshape(-1, F).T", {
    "self.W.data[::-1, ::-1].reshape(-1, F).T": "flipped kernel",
    "self.W.data[:, ::-1].reshape(-1, F).T": "flipped kernel",
    "self.W.data.swapaxes(0, 1).reshape(-1, F).T": "transposed",
    "(2 * self.W.data).reshape(-1, F).T": "constant factor",
})
plant(CONV, "input", CONV_X, {
    "OLD[:1] + 0 * OLD": "first image only",
    "xp.roll(OLD, 1, axis=2)": "shifted",
    "OLD.swapaxes(1, 2)": "transposed",
})
plant(CONV, "input", f"return {CONV_X} if self.input_gradient else None", {
    f"dx = {CONV_X}; dx[:, 0] = dx[:, -1] = dx[:, :, 0] = dx[:, :, -1] = 0; return dx": "border",
})
plant(STRIDED, "input", "(dy @ self.W.data.reshape(-1, F).T)", {
    "(dy @ self.W.data.reshape(-1, F)[::-1].T)": "flipped kernel",
    "(dy.reshape(N, OH, OW, F)[:, ::-1].reshape(-1, F) @ self.W.data.reshape(-1, F).T)": "flipped",
})
plant(EQUAL_CHANNELS, "input", "self.W.data.reshape(-1, F).T", {
    "self.W.data.swapaxes(2, 3).reshape(-1, F).T": "transposed",
})
plant(EQUAL_CHANNELS, "input", CONV_X, {"0 * OLD": "zero"})

ADDED, CROPPED = "+= dcolumns[:, :, :, kh, kw]", "return padded[:, top:top + H, left:left + W]"
plant(CONV, "input", ADDED, {"= dcolumns[:, :, :, kh, kw]": "only some elements"}, "col2im")
plant(STRIDED, "input", ADDED, {
    "-= dcolumns[:, :, :, kh, kw]": "constant factor",
    "+= dcolumns[:1, :, :, kh, kw]": "first image only",
}, "col2im")
plant(STRIDED, "input", f":SW] {ADDED}", {":SW][:, 1:-1] += dcolumns[:, 1:-1, :, kh, kw]": "border"}, "col2im")
plant(STRIDED, "input", CROPPED, {
    "return padded[:, :H, :W]": "shifted",
    "OLD.astype('float32')": "wrong dtype",
    "OLD[:, ::-1]": "flipped",
}, "col2im")

DEPTHWISE = "depthwise-3x2-s2x1-p1x0"
plant(DEPTHWISE, "W", "(dsums * shifted).sum((0, 1, 2))", {
    "0.5 * OLD": "constant factor",
    "(dsums * shifted)[:1].sum((0, 1, 2))": "first image only",
    "OLD[::-1, ::-1]": "flipped kernel",
    "OLD.sum(2, keepdims=True)": "summed over too much",
})
plant(DEPTHWISE, "b", "self.b.grad[...] = ", {"self.b.grad[...] += ": "accumulated"})
plant(DEPTHWISE, "input", "dsums * self.W.data", {"dsums * self.W.data[::-1, ::-1]": "flipped kernel"})
plant(DEPTHWISE, "input", ADDED, {"= dcolumns[:, :, :, kh, kw]": "only some elements"}, "col2im")
plant(DEPTHWISE, "input", CROPPED, {"return padded[:, :H, :W]": "shifted"}, "col2im")

POOL, OVERLAPPING, PADDED_POOL = "maxpool-2x2-fits", "maxpool-3x2-s1x1", "maxpool-3x3-s2x2-p1"
POOL_X = "col2im(self.windows, dcolumns.reshape(N, OH, OW, KH, KW, C))"
plant(POOL, "input", "dy[:, :, :, None] * wins", {
    "OLD / 4": "constant factor",
    "dy[:, :, :, None] * xp.ones(wins.shape)": "only some elements",
    "dy[:, :, :, None] * xp.ones(wins.shape) / 4": "only some elements",
    "dy[:1, :, :, None] * wins": "first image only",
    "1.0 * wins": "ignores dy",
})
plant(POOL, "input", POOL_X, {"0 * OLD": "zero", "OLD[:, ::-1]": "flipped"})
plant(POOL, "input", "self.saved = (columns == y[:, :, :, None]).argmax(axis=3)", {
    stale("(columns == y[:, :, :, None]).argmax(axis=3)"): "stale state"})
plant(OVERLAPPING, "input", ADDED, {
    "= dcolumns[:, :, :, kh, kw]": "only some elements",
    "-= dcolumns[:, :, :, kh, kw]": "constant factor",
}, "col2im")
plant(PADDED_POOL, "input", CROPPED, {"return padded[:, :H, :W]": "shifted"}, "col2im")
plant(PADDED_POOL, "input", f"return {POOL_X}", {f"dx = {POOL_X}; dx[:, 0] = 0; return dx": "border"})

AVERAGE, GLOBAL, ZERO_PAD = "averagepool-2x2-fits", "globalaveragepool", "zeropadshortcut-3to5"
plant(AVERAGE, "input", " / (KH * KW)", {"": "constant factor", " / KH": "constant factor"})
plant(AVERAGE, "input", "* share", {
    "* share[:1]": "first image only",
    "* share * xp.arange(KH)[:, None, None]": "only some elements",
})
GLOBAL_X = "xp.ones((N, H, W, C), dy.dtype) * dy[:, None, None] / (H * W)"
plant(GLOBAL, "input", GLOBAL_X, {
    "xp.ones((N, H, W, C), dy.dtype) * dy[:, None, None]": "constant factor",
    "dy": "wrong shape",
    "xp.ones((N, H, W, C), dy.dtype) / (H * W)": "ignores dy",
})
plant(GLOBAL, "input", f"return {GLOBAL_X}", {
    "dx = xp.zeros((N, H, W, C)); dx[:, 0, 0] = dy; return dx": "only some elements",
})
plant(ZERO_PAD, "input", "dy[:, :, :, :dx.shape[3]]", {
    "dy[:, :, :, 1:dx.shape[3] + 1]": "shifted",
    "OLD[:1]": "first image only",
    "-OLD": "constant factor",
})

# --------------------------------------------------------------------------------------------------------- activations

RELU, LEAKY, GAUSS, SIGMOID, TANH = "relu-7", "leakyrelu-0.3-4x5x2", "gelu-7", "sigmoid-7", "tanh-7"
plant(RELU, "input", "dy * (x > 0)", {
    "dy * 1": "derivative missing",
    "dy * xp.maximum(x, 0)": "wrong derivative",
    "dy * (dy > 0)": "only some elements",
    "1.0 * (x > 0)": "ignores dy",
    "-dy * (x > 0)": "constant factor",
    "dy * (x <= 0)": "wrong derivative",
})
plant(RELU, "input", "xp.maximum(x, 0)", {"xp.maximum(x, 0, out=x).copy()": "changed its argument"})
plant(LEAKY, "input", "xp.where(x > 0, dy, self.slope * dy)", {
    "dy * (x > 0)": "only some elements",
    "dy * 1": "derivative missing",
    "xp.where(x > 0, self.slope * dy, dy)": "wrong derivative",
    "OLD / 2": "constant factor",
    "xp.multiply(dy, xp.where(x > 0, 1, self.slope), out=dy)": "changed its argument",
})
plant(GAUSS, "input", "dy * (Phi + x * phi)", {
    "dy * Phi": "wrong derivative",
    "dy * (Phi + phi)": "wrong derivative",
})
plant(GAUSS, "input", "x, Phi = self.saved", {
    "x, Phi = self.saved; x = x * Phi; Phi = (1 + erf(x / sqrt(2))) / 2": "activated value",
})
plant(GAUSS, "input", "self.saved = x, Phi", {stale("(x, Phi)"): "stale state"})
plant(SIGMOID, "input", "dy * y * (1 - y)", {
    "dy * (lambda y: y * (1 - y))(1 / (1 + xp.exp(-y)))": "activated value",
    "dy * y * (1 + y)": "wrong derivative",
    "dy * (1 - y)": "wrong derivative",
    "y * (1 - y)": "ignores dy",
    "dy * 1": "derivative missing",
    "dy * (y * (1 - y) + 1)": "extra term",
    "4 * OLD": "constant factor",
})
SIGMOID_Y = "xp.where(x >= 0, 1, small) / (1 + small)"
plant(SIGMOID, "input", f"self.saved = y = {SIGMOID_Y}", {
    f"y = {SIGMOID_Y}; {stale('y')}": "stale state",
    f"y = {SIGMOID_Y}; self.saved = x": "wrong derivative",
})
plant(TANH, "input", "dy * (1 - y**2)", {
    "dy * (1 - xp.tanh(y)**2)": "activated value",
    "dy * (1 - y)": "wrong derivative",
    "dy * (1 + y * y)": "wrong derivative",
    "-dy * y * y": "missing term",
    "(OLD).astype('float32')": "wrong dtype",
})

# ------------------------------------------------------------------------------------------- normalisation and dropout

NORM, IMAGE_NORM, ROW_NORM = "batchnorm-5", "batchnorm-4x5x3", "layernorm-7"
NORM_G, NORM_B, NORM_X = "(dy * xhat).sum(axes)", "dy.sum(axes)", "dy - dy.mean(axes) - xhat * (dy * xhat).mean(axes)"
plant(NORM, "gamma", NORM_G, {
    "OLD * std": "varying factor",
    "OLD * self.gamma.data": "varying factor",
})
plant(NORM, "gamma", "self.gamma.grad[...] = ", {"self.gamma.grad[...] += ": "accumulated"})
plant(NORM, "beta", NORM_B, {"dy.sum()": "summed over too much"})
plant(NORM, "input", NORM_X, {
    "dy - xhat * (dy * xhat).mean(axes)": "missing term",
    "dy - dy.mean(axes)": "missing term",
    "dy": "missing term",
})
plant(NORM, "input", "self.gamma.data / std * (", {
    "1 / std * (": "varying factor",
    "self.gamma.data * (": "varying factor",
    "self.gamma.data / std**2 * (": "varying factor",
    "self.gamma.data / xp.sqrt(std**2 - self.eps) * (": "varying factor",
})
plant(NORM, "input", "if not from_batch:", {"if False:": "extra term"})
plant(NORM, "input", "self.gamma.data / std * dy", {       # in evaluation mode alone
    "self.gamma.data * dy": "varying factor",
    "dy": "derivative missing",
})
plant(IMAGE_NORM, "gamma", NORM_G, {
    "(dy * xhat).mean(axes)": "constant factor",
    "(dy * xhat)[0].sum((0, 1))": "first image only",
    "(dy[:1] * xhat[:1]).sum(axes)": "first image only",
    "(dy * (xhat + 0.5)).sum(axes)": "extra term",
})
plant(IMAGE_NORM, "beta", NORM_B, {"dy.mean(axes)": "constant factor"})
plant(IMAGE_NORM, "input", NORM_X, {
    "dy - xhat * (dy * xhat).mean(axes)": "missing term",
    "dy + dy.mean(axes) - xhat * (dy * xhat).mean(axes)": "missing term",
    "dy - dy.mean(axes) - xhat * (dy * xhat).sum(axes)": "extra term",
    "dy - dy.mean(0) - xhat * (dy * xhat).mean(0)": "averaged over too little",
    "dy - dy.mean(axes)": "missing term",
    "dy - dy.mean(axes) + xhat * (dy * xhat).mean(axes)": "missing term",
})
LEVEL, TILT = "dxhat.mean(-1, keepdims=True)", "xhat * (dxhat * xhat).mean(-1, keepdims=True)"
plant(ROW_NORM, "gamma", NORM_G, {"OLD / len(dy)": "constant factor"})
plant(ROW_NORM, "beta", NORM_B, {"dy[0]": "first image only"})
plant(ROW_NORM, "input", f"(dxhat - {LEVEL} - {TILT}) / std", {
    f"(dxhat - {TILT}) / std": "missing term",
    f"(dxhat - {LEVEL}) / std": "missing term",
    "dxhat / std": "missing term",
    f"(dxhat - {LEVEL} - {TILT})": "varying factor",
})
DROPOUT = "dropout-0.4"
plant(DROPOUT, "input", "dy * mask", {
    "dy": "derivative missing",
    "OLD * (1 - self.rate)": "constant factor",
    "dy * dropped(xp.ones(dy.shape, dy.dtype), draw_key(), self.rate)": "new random numbers",
    "OLD if self.training else (1 - self.rate) * dy": "constant factor",
})
plant(DROPOUT, "input", "self.saved = mask", {stale("mask"): "stale state"})

# ------------------------------------------------------------------------------------------------- networks and losses

NETWORK = Case("sequential-6to6", lambda: Sequential([Dense(6), Tanh(), Dense(6), Sigmoid()]), (5, 6))
plant(NETWORK, "input", "return dy", {
    "return -dy": "constant factor",
    "return dy.astype('float32')": "wrong dtype",
    "return 0 * dy": "zero",
})
plant(NETWORK, "input", "dy = layer.backward(dy)", {
    "dy = layer.backward(dy[:1] + 0 * dy)": "first image only",
    "last = dy if layer is self.layers[-1] else last; dy = layer.backward(last)": "derivative missing",
})
plant("residual", "input", "return self.body.backward(dy) + self.shortcut.backward(dy)", {
    "return self.body.backward(dy)": "missing term",
    "self.body.backward(dy); return self.shortcut.backward(dy)": "derivative missing",
    "OLD + dy": "extra term",
})
SUM = "return sum(branch.backward(part) for branch, part in zip(self.branches, parts, strict=True))"
plant("concat", "input", SUM, {
    "OLD / len(parts)": "constant factor",
    "return self.branches[0].backward(parts[0])": "missing term",
})

LOSS, SMOOTHED, SQUARES = "softmaxcrossentropy-5x3", "softmaxcrossentropy-6x4-smooth", "meansquarederror-4x3"
plant(LOSS, "input", "(p - target) / len(p)", {
    "p - target": "constant factor",
    "(p - target) / p.size": "constant factor",
    "(p - target) / -len(p)": "constant factor",
    "0 * p": "zero",
    "(OLD).astype('float32')": "wrong dtype",
    "(OLD).T": "transposed",
    "p / len(p)": "missing term",
    "(p + target) / len(p)": "missing term",
    "(p - xp.roll(target, -1, axis=1)) / len(p)": "shifted",
    "(p - 2 * target) / len(p)": "extra term",
    "-target / len(p)": "missing term",
    "p * (1 - p) / len(p)": "wrong derivative",
})
plant(LOSS, "input", "return (p - target) / len(p)", {
    "d = (p - target) / len(p); d[1:] = 0; return d": "first image only",
})
plant(LOSS, "input", "self.saved = p, target", {
    stale("(p, target)"): "stale state",
    "self.saved = xp.exp(shifted), target": "wrong derivative",
})
plant(LOSS, "input", "shifted = scores - scores.max(axis=1, keepdims=True)", {
    "scores -= scores.max(axis=1, keepdims=True); shifted = scores": "changed its argument",
})
plant(SMOOTHED, "input", "self.saved = p, target", {
    "self.saved = p, onehot + smoothing / classes": "extra term",
    "self.saved = p, (1 - smoothing) * onehot": "missing term",
})
plant(SQUARES, "input", "2 * distance / distance.size", {
    "distance / distance.size": "constant factor",
    "2 * distance / len(distance)": "constant factor",
    "-2 * distance / distance.size": "constant factor",
    "2 * abs(distance) / distance.size": "wrong sign",
})
