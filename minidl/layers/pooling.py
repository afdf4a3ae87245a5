"""Pooling: make an image smaller and keep what matters."""

from minidl.arguments import pair
from minidl.backend import xp
from minidl.core import Layer
from minidl.errors import UserError
from minidl.layers.windowed import Windowed, checked_padding, window_arguments
from minidl.ops.pooling import average_pool, average_pool_gradient, max_pool, max_pool_gradient


class Pooling(Windowed):
    """What poolings share: a window that slides over the image."""

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
        return self.slide(H, W, self.size, C)

    def __repr__(self):
        return f"{type(self).__name__}({window_arguments(self.size, self.stride, self.padding, self.size)})"


class MaxPool2D(Pooling):
    """Keep the largest value of every window, for each feature by itself.

        y[n, oh, ow, c] = max over kh, kw of  x[n, oh*SH + kh - PH, ow*SW + kw - PW, c]
        dx[n, h, w, c] = sum of dy[n, oh, ow, c] over the windows oh, ow whose largest pixel is h, w

    x: (N, H, W, C)    y: (N, OH, OW, C)    OH = (H + 2 PH - KH) // SH + 1

    The gradient goes to the pixel that was the largest, to the first one in reading order where several are equal
    (as in torch.nn.MaxPool2d). Padding counts as minus infinity and never wins, not even where all pixels of a window
    are minus infinity. stride: the window's size unless given, so that windows do not overlap.
    """

    def forward(self, x):
        self.check(x)
        y = max_pool(self.windows, x)
        self.saved = x, y
        return y

    def backward(self, dy):
        self.check_gradient(dy)
        x, y = self.saved
        return max_pool_gradient(self.windows, dy, x, y)


class AveragePool2D(Pooling):
    """Take the average of every window, for each feature by itself.

        y[n, oh, ow, c] = sum over kh, kw of  x[n, oh*SH + kh - PH, ow*SW + kw - PW, c] / (KH * KW)
        dx[n, h, w, c] = sum of dy[n, oh, ow, c] / (KH * KW) over the windows oh, ow that contain the pixel h, w

    x: (N, H, W, C)    y: (N, OH, OW, C)    OH = (H + 2 PH - KH) // SH + 1

    Every pixel of a window gets an equal share of its gradient. Padding counts as pixels of value zero, in the sum
    and in the divisor KH * KW, so averages at the border come out smaller: the default of torch.nn.AvgPool2d
    (count_include_pad=True); Keras divides by the pixels inside the image instead. stride: the window's size unless
    given. LeCun et al. 1989, "Handwritten digit recognition with a back-propagation network".
    """

    def forward(self, x):
        self.check(x)
        self.saved = ()  # the gradient needs no pixels, but backward wants a forward pass before it
        return average_pool(self.windows, x)

    def backward(self, dy):
        self.check_gradient(dy)
        return average_pool_gradient(self.windows, dy, *self.saved)


class GlobalAveragePool2D(Layer):
    """Take the average of each whole feature map: from an image to a vector, without a weight.

        y[n, c] = sum over h, w of  x[n, h, w, c] / (H * W)            dx[n, h, w, c] = dy[n, c] / (H * W)

    x: (N, H, W, C)    y: (N, C)

    Replaces Flatten and a large Dense layer. As torch.nn.AdaptiveAvgPool2d(1), whose output is
    (N, C, 1, 1). Lin, Chen & Yan 2014, arXiv:1312.4400, section 3.2.
    """

    def build(self, input_shape):
        _, _, C = self.accept(input_shape, ("H", "W", "C"))
        self.output_shape = (C,)
        return self.output_shape

    def forward(self, x):
        self.check(x)
        self.saved = x.shape
        return x.mean((1, 2))                                        # (N, C)

    def backward(self, dy):
        self.check_gradient(dy)
        N, H, W, C = self.saved
        dx = xp.empty((N, H, W, C), dy.dtype)
        dx[...] = dy[:, None, None, :] / (H * W)                     # (N, 1, 1, C), the same for every pixel
        return dx
