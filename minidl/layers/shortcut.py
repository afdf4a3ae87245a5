"""A shortcut without parameters, for residual networks."""

from math import ceil

from minidl.arguments import positive_integer
from minidl.backend import xp
from minidl.core import Layer
from minidl.errors import ShapeError


class ZeroPadShortcut(Layer):
    """A shortcut without parameters, for where the body halves the image and adds features: "option A".

        y[n, h, w, c] = x[n, h * stride, w * stride, c] for c < C, else 0

    x: (N, H, W, C)    y: (N, OH, OW, F)    OH = ceil(H / stride)    F: `features`, at least C

        dx[n, h, w, c] = dy[n, h / stride, w / stride, c] where stride divides h and w, else 0

    The zeros are the last features.
    He et al. 2015, arXiv:1512.03385, section 3.3.
    """

    def __init__(self, features, stride=2):
        self.features, self.stride = positive_integer(features, "features"), positive_integer(stride, "stride")

    def build(self, input_shape):
        H, W, C = self.accept(input_shape, ("H", "W", "C"))
        if self.features < C:
            raise ShapeError(f"{self.label()}: expected input of at most {self.features} features, got {C}. This "
                             f"shortcut only adds features; to take some away, use a 1x1 Conv2D")
        self.output_shape = (ceil(H / self.stride), ceil(W / self.stride), self.features)
        return self.output_shape

    def forward(self, x):
        self.check(x)
        kept = x[:, ::self.stride, ::self.stride]                            # (N, OH, OW, C)
        y = xp.zeros((*kept.shape[:3], self.features), x.dtype)
        y[..., :x.shape[3]] = kept
        return y

    def backward(self, dy):
        self.check_gradient(dy)
        dx = xp.zeros((len(dy), *self.input_shape), dy.dtype)
        dx[:, ::self.stride, ::self.stride] = dy[..., :dx.shape[3]]
        return dx

    def __repr__(self):
        return f"ZeroPadShortcut({self.features}, stride={self.stride})"
