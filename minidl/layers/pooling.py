"""Pooling: make an image smaller and keep what matters."""

from functools import reduce
from math import inf

from minidl.backend import xp
from minidl.core import Layer, pair
from minidl.errors import UserError
from minidl.ops.windows import Windows, checked_padding, described
from minidl.parallel import in_slices, workspace


class Pooling(Layer):
    """What poolings share: a window that slides over the image, a few images at a time.

    A pooling says in `pool` how the KH * KW pixels of every window become one, in `unpool` how much of dy each of
    them gets, and in `kept` what unpool needs for that. Both see the pixels as KH * KW arrays (n, OH, OW, C), one for
    each place in the window: `Windows.offsets`.
    """

    border = 0  # what padding is filled with

    def __init__(self, size, stride=None, padding=0):
        kind = type(self).__name__
        self.size = pair(size, f"{kind} size")
        self.stride = self.size if stride is None else pair(stride, f"{kind} stride")
        self.padding = checked_padding(padding, f"{kind} padding")
        if not isinstance(self.padding, str) and any(2 * p > k for p, k in zip(self.padding, self.size, strict=True)):
            raise UserError(f"{kind} padding={padding!r}: expected at most half the window {self.size}, or some "
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
            y[rows] = self.pool(windows.offsets(windows.pad(x[rows], self.border)))

        in_slices(forward_slice, len(x), 2 * x[:1].nbytes)
        self.saved = self.kept(x, y)
        return y

    def backward(self, dy):
        kept = self.saved
        windows = self.windows
        dx = xp.empty((len(dy), *self.input_shape), dy.dtype)

        def backward_slice(rows):
            dpadded = windows.zeros(len(dy[rows]), dy.shape[3], dy.dtype)
            self.unpool(dy[rows], windows.offsets(dpadded), *(array[rows] for array in kept))
            dx[rows] = windows.crop(dpadded)

        in_slices(backward_slice, len(dy), 4 * dx[:1].nbytes)
        return dx

    def __repr__(self):
        return f"{type(self).__name__}({described(self.size, self.stride, self.padding, usual_stride=self.size)})"


class MaxPool2D(Pooling):
    """Keep the largest value of every window, for each feature by itself.

        y[n, oh, ow, c] = max over kh, kw of  x[n, oh*stride + kh, ow*stride + kw, c]

    x: (N, H, W, C)    y: (N, OH, OW, C)    OH = (H + padding - KH) // stride + 1

    The gradient goes to the pixel that was the largest, to the first one in reading order where several are equal
    (as in torch.nn.MaxPool2d). Padding counts as minus infinity, so it never wins. stride: the window's size unless
    given, so that windows do not overlap.
    """

    border = -inf

    def pool(self, pixels):
        return reduce(xp.maximum, pixels)

    def kept(self, x, y):
        return x, y

    def unpool(self, dy, dpixels, x, y):
        open_, share = xp.ones(y.shape, bool), workspace("share", y.shape, y.dtype)
        pixels = self.windows.offsets(self.windows.pad(x, self.border))
        for pixel, dpixel in zip(pixels, dpixels, strict=True):
            largest = pixel == y
            largest &= open_                                         # windows whose largest pixel is not found yet
            open_ ^= largest
            dpixel += xp.multiply(dy, largest, out=share)            # dpixel is a view: this adds into the image


class AveragePool2D(Pooling):
    """Take the average of every window, for each feature by itself.

        y[n, oh, ow, c] = sum over kh, kw of  x[n, oh*stride + kh, ow*stride + kw, c] / (KH * KW)

    x: (N, H, W, C)    y: (N, OH, OW, C)    OH = (H + padding - KH) // stride + 1

    Every pixel of a window gets an equal share of its gradient. Padding counts as pixels of value zero, in the sum
    and in the divisor KH * KW, so averages at the border come out smaller: the default of torch.nn.AvgPool2d
    (count_include_pad=True); Keras divides by the pixels inside the image instead. stride: the window's size unless
    given. LeCun et al. 1989, "Handwritten digit recognition with a back-propagation network".
    """

    def pool(self, pixels):
        KH, KW = self.size
        return reduce(xp.add, pixels) / (KH * KW)

    def kept(self, x, y):
        return ()  # the gradient does not depend on the pixels

    def unpool(self, dy, dpixels):
        KH, KW = self.size
        share = dy / (KH * KW)
        for dpixel in dpixels:
            dpixel += share                                          # dpixel is a view: this adds into the image


class GlobalAveragePool2D(Layer):
    """Take the average of each whole feature map: from an image to a vector, without a weight.

        y[n, c] = sum over h, w of  x[n, h, w, c] / (H * W)            dx[n, h, w, c] = dy[n, c] / (H * W)

    x: (N, H, W, C)    y: (N, C)

    Stands where Flatten and a large Dense layer stood before. As torch.nn.AdaptiveAvgPool2d(1), whose output is
    (N, C, 1, 1). Lin, Chen & Yan 2014, arXiv:1312.4400, section 3.2.
    """

    def build(self, input_shape):
        _, _, C = self.accept(input_shape, ("H", "W", "C"))
        return (C,)

    def forward(self, x):
        self.check(x)
        self.saved = x.shape
        return x.mean((1, 2))                                        # (N, C)

    def backward(self, dy):
        N, H, W, C = self.saved
        dx = xp.empty((N, H, W, C), dy.dtype)
        dx[...] = dy[:, None, None, :] / (H * W)                     # (N, 1, 1, C), the same for every pixel
        return dx
