"""Convolution: the same small weighted sum at every place of an image."""

from minidl.backend import float_type, xp
from minidl.core import Layer, Parameter, pair, positive_integer, short
from minidl.initializers import initial_array, initializer
from minidl.ops.windows import Windows, checked_padding
from minidl.parallel import in_slices


class Conv2D(Layer):
    """Slide `filters` small weight windows over the image; every place gives one number per filter.

        y[n, oh, ow, f] = b[f] + sum over kh, kw, c of  x[n, oh*SH + kh - PH, ow*SW + kw - PW, c] * W[kh, kw, c, f]

    x: (N, H, W, C)    W: (KH, KW, C, F)    b: (F,)    y: (N, OH, OW, F)
    stride: (SH, SW)    padding: (PH, PW) zeros on each side    OH = (H + 2 PH - KH) // SH + 1

    Computed by im2col: each window becomes a row of a matrix, so the sum above is one matrix product (Chellapilla,
    Puri & Simard 2006). The matrix is made for a few images at a time and never for the whole batch. The seven loops
    of the formula stand in `minidl.ops.windows.conv2d_loops`. Like every deep-learning library, this correlates: the
    window is not flipped.

    padding: zeros around the image: a number, a pair (height, width), "valid" (none), or "same", which gives
    ceil(H / stride) rows; where "same" needs an odd number of zeros, the extra one stands below and to the right.
    """

    def __init__(self, filters, kernel_size, stride=1, padding=0, init="he", bias=True):
        self.filters = positive_integer(filters, "Conv2D filters")
        self.kernel_size = pair(kernel_size, "Conv2D kernel_size")
        self.stride = pair(stride, "Conv2D stride")
        self.padding = checked_padding(padding, "Conv2D padding")
        self.init, self.bias = init, bias
        initializer(init, "Conv2D init")  # a wrong name fails here, not at build

    def build(self, input_shape):
        H, W, C = self.accept(input_shape, ("H", "W", "C"), cure="A grey image has one feature: (H, W, 1)")
        KH, KW = self.kernel_size
        self.windows = Windows(self.label(), H, W, self.kernel_size, self.stride, self.padding)
        self.W = Parameter(initial_array(self.init, (KH, KW, C, self.filters),
                                         fan_in=KH * KW * C, fan_out=KH * KW * self.filters), "W")
        if self.bias:
            self.b = Parameter(xp.zeros(self.filters, float_type()), "b", decay=False)
        return (self.windows.OH, self.windows.OW, self.filters)

    def forward(self, x):
        self.check(x)
        windows, kernel = self.windows, self.W.data.reshape(-1, self.filters)    # (KH*KW*C, F)
        y = xp.empty((len(x), windows.OH, windows.OW, self.filters), x.dtype)

        def forward_slice(rows):
            y[rows] = (windows.im2col(x[rows]) @ kernel).reshape(y[rows].shape)
            if self.bias:
                y[rows] += self.b.data

        in_slices(forward_slice, len(x), self.column_bytes(x))
        self.saved = x
        return y

    def backward(self, dy):
        x = self.saved
        windows, kernel = self.windows, self.W.data.reshape(-1, self.filters)    # (KH*KW*C, F)
        dx = xp.empty_like(x)

        def backward_slice(rows):
            d = dy[rows].reshape(-1, self.filters)                               # (n*OH*OW, F)
            dx[rows] = windows.col2im(d @ kernel.T, len(x[rows]))
            return windows.im2col(x[rows]).T @ d, d.sum(axis=0)                  # this slice's share of dW and db

        dW, db = zip(*in_slices(backward_slice, len(x), 2 * self.column_bytes(x)), strict=True)
        self.W.grad[...] = sum(dW).reshape(self.W.grad.shape)
        if self.bias:
            self.b.grad[...] = sum(db)
        return dx

    def column_bytes(self, x):
        """Bytes of im2col's matrix for one image."""
        return self.windows.OH * self.windows.OW * (self.W.data.size // self.filters) * x.dtype.itemsize

    def __repr__(self):
        stride = "" if self.stride == (1, 1) else f", stride={short(self.stride)}"
        padding = "" if self.padding == (0, 0) else f", padding={short(self.padding)}"
        return f"Conv2D({self.filters}, {short(self.kernel_size)}{stride}{padding})"
