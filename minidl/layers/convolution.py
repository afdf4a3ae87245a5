"""Convolution: the same small weighted sum at every place of an image."""

from minidl.arguments import pair, positive_integer
from minidl.backend import float_type, xp
from minidl.core import Parameter
from minidl.errors import suspect
from minidl.initializers import initial_array, initializer
from minidl.layers.windowed import Windowed, checked_padding, window_arguments
from minidl.ops.convolution import convolution_method
from minidl.ops.features import feature_sums, repeated
from minidl.parallel import in_slices, sum_over_slices, workspace


class Convolution(Windowed):
    """What convolutions share: their arguments, and how their parameters are made."""

    def __init__(self, kernel_size, stride, padding, init, bias):
        kind = type(self).__name__
        self.kernel_size = pair(kernel_size, f"{kind} kernel_size")
        self.stride = pair(stride, f"{kind} stride")
        self.padding = checked_padding(padding, f"{kind} padding")
        self.init, self.bias = init, bias
        initializer(init, f"{kind} init")  # a wrong name fails here, not at build

    def build(self, input_shape):
        H, W, C = self.accept(input_shape, ("H", "W", "C"), cure="A grey image has one feature: (H, W, 1)")
        shape, fan_in, fan_out = self.weight_shape(*self.kernel_size, C)
        output_shape = self.slide(H, W, self.kernel_size, shape[-1])
        self.W = Parameter(initial_array(self.init, shape, fan_in, fan_out), "W")
        if self.bias:
            self.b = Parameter(xp.zeros(shape[-1], float_type()), "b", decay=False)
        return output_shape

    def multiply_adds(self):
        return self.windows.OH * self.windows.OW * self.W.data.size

    def arguments(self):
        return window_arguments(self.kernel_size, self.stride, self.padding, usual_stride=(1, 1))


class Conv2D(Convolution):
    """Slide `filters` small weight windows over the image; every place gives one number per filter.

        y[n, oh, ow, f] = b[f] + sum over kh, kw, c of  x[n, oh*SH + kh - PH, ow*SW + kw - PW, c] * W[kh, kw, c, f]

    x: (N, H, W, C)    W: (KH, KW, C, F)    b: (F,)    y: (N, OH, OW, F)
    stride: (SH, SW)    padding: (PH, PW) zeros on each side    OH = (H + 2 PH - KH) // SH + 1

    Computed by im2col: each window becomes a row of a matrix, so the sum above is one matrix product (Chellapilla,
    Puri & Simard 2006). The matrix is made for a few images at a time and never for the whole batch, as
    `minidl.ops.convolution.Im2col` shows. On the CPU, square kernels of 2 to 5 pixels at stride 1 with at least 8
    features in and out take Winograd's method, which needs a half to a quarter of the products
    (`minidl.ops.winograd`). The seven loops of the formula: `minidl.textbook.conv2d_loops`.

        dW[kh, kw, c, f] = sum over n, oh, ow of  x[n, oh*SH + kh - PH, ow*SW + kw - PW, c] * dy[n, oh, ow, f]
        db[f] = sum over n, oh, ow of  dy[n, oh, ow, f]
        dx[n, h, w, c] = sum over f and all windows with oh*SH + kh - PH = h, ow*SW + kw - PW = w
                         of  dy[n, oh, ow, f] * W[kh, kw, c, f]

    Like every deep-learning library, this correlates: the window is not flipped.

    padding: zeros around the image: a number, a pair (height, width), "valid" (none), or "same", which gives
    ceil(H / stride) rows; where "same" needs an odd number of zeros, the extra one is below and to the right.
    """

    def __init__(self, filters, kernel_size, stride=1, padding=0, init="he", bias=True):
        self.filters = positive_integer(filters, "Conv2D filters")
        super().__init__(kernel_size, stride, padding, init, bias)

    def weight_shape(self, KH, KW, C):
        """The shape of W, its fan_in and its fan_out."""
        return (KH, KW, C, self.filters), KH * KW * C, KH * KW * self.filters

    def build(self, input_shape):
        output_shape = super().build(input_shape)
        if text := self.doubt(*self.input_shape[:2]):
            suspect(f"{self.label()}: a kernel of {'x'.join(map(str, self.kernel_size))} on an image of "
                    f"{'x'.join(map(str, self.input_shape[:2]))}. {text}")
        self.method = convolution_method(self.windows, input_shape[2], self.filters)
        return output_shape

    def doubt(self, H, W):
        (KH, KW), (SH, SW), C = self.kernel_size, self.stride, self.input_shape[2]
        as_in_pytorch = self.filters == C <= 3 and min(KH, KW) > 5 and min(SH, SW) > 1      # channels, filters, kernel
        whole_image = KH >= H > 7 and KW >= W > 7
        if not (as_in_pytorch or whole_image or max(KH, KW) > 11):
            return None
        order = "Are these PyTorch's arguments? Here it is Conv2D(filters, kernel_size): the layer sees by itself " \
                "how many features come in"
        return f"{order}. Write Conv2D({KH}, {SH})" if as_in_pytorch else order

    def forward(self, x):
        self.check(x)
        y = xp.empty((len(x), self.windows.OH, self.windows.OW, self.filters), x.dtype)
        weights = self.method.transformed(self.W.data)

        def forward_slice(rows):
            result = y[rows]
            self.method.correlate(x[rows], weights, out=result)
            if self.bias:
                result += repeated(self.b.data, result)

        in_slices(forward_slice, len(x), self.item_bytes(x))
        self.saved = x
        return y

    def backward(self, dy):
        self.check_gradient(dy)
        x = self.saved
        dx = xp.empty(x.shape, x.dtype) if self.input_gradient else None
        weights = self.method.transformed(self.W.data)

        def backward_slice(rows):
            dweights = self.method.gradients(x[rows], dy[rows], weights, dx[rows] if self.input_gradient else None)
            return [dweights, feature_sums(dy[rows])]                            # this slice's share of dW and db

        # a slice should be worth a gradient of the weights of its own
        dweights, db = sum_over_slices(backward_slice, len(x), self.item_bytes(x), at_least=2 * weights.nbytes)
        self.W.grad[...] = self.method.kernel_gradient(dweights)
        if self.bias:
            self.b.grad[...] = db
        return dx

    def item_bytes(self, x):
        """Bytes of intermediate arrays for one image."""
        return self.method.item_bytes(x.shape[3], self.filters, x.dtype)

    def __repr__(self):
        return f"Conv2D({self.filters}, {self.arguments()})"


class DepthwiseConv2D(Convolution):
    """Slide one small weight window over each feature map by itself: features do not mix.

        y[n, oh, ow, c] = b[c] + sum over kh, kw of  x[n, oh*SH + kh - PH, ow*SW + kw - PW, c] * W[kh, kw, c]

        dW[kh, kw, c] = sum over n, oh, ow of  x[n, oh*SH + kh - PH, ow*SW + kw - PW, c] * dy[n, oh, ow, c]
        db = sum of dy over images and places            dx = as in Conv2D, each feature by itself

    x: (N, H, W, C)    W: (KH, KW, C)    b: (C,)    y: (N, OH, OW, C)
    stride: (SH, SW)    padding: as in Conv2D    OH = (H + 2 PH - KH) // SH + 1

    A sum over KH * KW shifted images; with so few products per number, im2col and a matrix product would only move
    memory. A 1x1 Conv2D behind it mixes the features: together they take about 1 / (KH * KW) of the work of one Conv2D
    (MobileNet: Howard et al. 2017, arXiv:1704.04861, section 3.1). As torch.nn.Conv2d(C, C, K, groups=C).
    """

    def __init__(self, kernel_size, stride=1, padding=0, init="he", bias=True):
        super().__init__(kernel_size, stride, padding, init, bias)

    def weight_shape(self, KH, KW, C):
        """The shape of W, its fan_in and its fan_out."""
        return (KH, KW, C), KH * KW, KH * KW

    def forward(self, x):
        self.check(x)
        windows, taps = self.windows, self.W.data.reshape(-1, x.shape[3])        # (KH*KW, C)
        y = xp.empty((len(x), windows.OH, windows.OW, x.shape[3]), x.dtype)

        def forward_slice(rows):
            total, product = y[rows], workspace("product", y[rows].shape, x.dtype)
            total[...] = self.b.data if self.bias else 0
            for pixel, tap in zip(windows.offsets(windows.pad(x[rows])), taps, strict=True):
                total += xp.multiply(pixel, repeated(tap, pixel), out=product)

        in_slices(forward_slice, len(x), 3 * y[:1].nbytes)
        self.saved = x
        return y

    def backward(self, dy):
        self.check_gradient(dy)
        x = self.saved
        windows, taps = self.windows, self.W.data.reshape(-1, x.shape[3])        # (KH*KW, C)
        dx = xp.empty(x.shape, x.dtype)

        def backward_slice(rows):
            padded, d, dtaps = windows.pad(x[rows]), dy[rows], xp.empty_like(taps)
            dpadded, product = windows.zeros(len(d), x.shape[3], x.dtype), workspace("product", d.shape, x.dtype)
            pixels = zip(windows.offsets(padded), windows.offsets(dpadded), strict=True)
            for k, (pixel, dpixel) in enumerate(pixels):
                dpixel += xp.multiply(d, repeated(taps[k], d), out=product)      # a view: this adds into dpadded
                dtaps[k] = feature_sums(xp.multiply(d, pixel, out=product))      # (C,)
            dx[rows] = windows.crop(dpadded)
            return [dtaps, feature_sums(d)]                                      # this slice's share of dW and db

        dW, db = sum_over_slices(backward_slice, len(x), 5 * x[:1].nbytes)
        self.W.grad[...] = dW.reshape(self.W.grad.shape)
        if self.bias:
            self.b.grad[...] = db
        return dx

    def __repr__(self):
        return f"DepthwiseConv2D({self.arguments()})"
