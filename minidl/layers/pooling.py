"""Pooling: make an image smaller and keep what matters."""

from functools import reduce

from minidl.backend import xp
from minidl.core import Layer, pair, short
from minidl.errors import UserError
from minidl.ops.windows import Windows, checked_padding
from minidl.parallel import in_slices


class MaxPool2D(Layer):
    """Keep the largest value of every window, for each feature by itself.

        y[n, oh, ow, c] = max over kh, kw of  x[n, oh*stride + kh, ow*stride + kw, c]

    x: (N, H, W, C)    y: (N, OH, OW, C)    OH = (H + padding - KH) // stride + 1

    The gradient goes to the pixel that was the largest, to the first one in reading order where several are equal
    (as in torch.nn.MaxPool2d). Padding counts as minus infinity, so it never wins. stride: the window's size unless
    given, so that windows do not overlap.
    """

    def __init__(self, size, stride=None, padding=0):
        self.size = pair(size, "MaxPool2D size")
        self.stride = self.size if stride is None else pair(stride, "MaxPool2D stride")
        self.padding = checked_padding(padding, "MaxPool2D padding")
        if not isinstance(self.padding, str) and any(2 * p > k for p, k in zip(self.padding, self.size, strict=True)):
            raise UserError(f"MaxPool2D padding={padding!r}: expected at most half the window {self.size}, or some "
                            f"windows would see nothing but padding")

    def build(self, input_shape):
        H, W, C = self.accept(input_shape, ("H", "W", "C"))
        self.windows = Windows(self.label(), H, W, self.size, self.stride, self.padding)
        return (self.windows.OH, self.windows.OW, C)

    def forward(self, x):
        self.check(x)
        windows = self.windows
        y = xp.empty((len(x), windows.OH, windows.OW, x.shape[3]), x.dtype)

        def forward_slice(rows):
            y[rows] = reduce(xp.maximum, windows.offsets(windows.pad(x[rows], -xp.inf)))

        in_slices(forward_slice, len(x), 2 * x[:1].nbytes)
        self.saved = x, y
        return y

    def backward(self, dy):
        x, y = self.saved
        windows = self.windows
        dx = xp.empty_like(x)

        def backward_slice(rows):
            padded = windows.pad(x[rows], -xp.inf)
            dpadded = xp.zeros_like(padded)
            open_ = xp.ones(y[rows].shape, bool)                     # windows whose largest pixel is not found yet
            for pixel, dpixel in zip(windows.offsets(padded), windows.offsets(dpadded), strict=True):
                largest = open_ & (pixel == y[rows])
                dpixel += dy[rows] * largest                         # dpixel is a view: this adds into dpadded
                open_ &= ~largest
            dx[rows] = windows.crop(dpadded)

        in_slices(backward_slice, len(x), 4 * x[:1].nbytes)
        return dx

    def __repr__(self):
        stride = "" if self.stride == self.size else f", stride={short(self.stride)}"
        padding = "" if self.padding == (0, 0) else f", padding={short(self.padding)}"
        return f"MaxPool2D({short(self.size)}{stride}{padding})"
