"""Dropout: train many thinned networks at once."""

from minidl.arguments import in_range
from minidl.backend import draw_key, xp
from minidl.core import Layer
from minidl.ops.dropout import dropped
from minidl.parallel import filled_in_slices


class Dropout(Layer):
    """Set each value to zero with probability `rate` while training; do nothing in evaluation mode.

        y = x * mask        dx = dy * mask        mask = 0 with probability rate, else 1 / (1 - rate)

    x, y, mask: any shape. `rate` is the chance of *dropping*. The division keeps the expected value of y at x
    ("inverted" dropout, as in torch.nn), so evaluation needs no correction; the 2014 paper instead multiplied by
    1 - rate at test time. Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".

    maps=True drops whole feature maps of (N, H, W, C): one draw for each image and feature, as torch.nn.Dropout2d.
    Neighbouring pixels say nearly the same, so dropping them one by one hides little from the next convolution.
    Tompson et al. 2015, arXiv:1411.4280, section 3.2.

    Forward draws a key, and the mask follows from it (`minidl.ops.dropout`); the rate is rounded to 1 / 65536. Backward
    multiplies dy with the mask of the same key, so that no mask is kept.
    """

    def __init__(self, rate, maps=False):
        self.rate, self.maps = in_range(rate, "Dropout rate", 0, 1), maps

    def build(self, input_shape):
        return self.accept(input_shape, ("H", "W", "C") if self.maps else None,
                           cure="Vectors have no feature maps: leave maps=True out")

    def forward(self, x):
        self.check(x)
        key = draw_key() if self.training and self.rate > 0 else None
        self.saved = (key,)
        return self.masked(x, key)

    def backward(self, dy):
        self.check_gradient(dy)
        (key,) = self.saved
        return self.masked(dy, key)

    def masked(self, x, key):
        """x * mask, the mask of this key; x itself where there is none."""
        if key is None:
            return x
        if not self.maps:
            return dropped(x, key, self.rate)
        mask = dropped(xp.ones((len(x), 1, 1, x.shape[3]), x.dtype), key, self.rate)
        return filled_in_slices(lambda y, x, mask: xp.multiply(x, mask, out=y), x, mask)

    def __repr__(self):
        return f"Dropout({self.rate:g}{', maps=True' if self.maps else ''})"
