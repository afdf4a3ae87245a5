"""Dropout: train many thinned networks at once."""

from minidl.backend import draw_uniform
from minidl.core import Layer, in_range


class Dropout(Layer):
    """Set each value to zero with probability `rate` while training; do nothing in evaluation mode.

        y = x * mask        dx = dy * mask        mask = 0 with probability rate, else 1 / (1 - rate)

    x, y, mask: any shape. `rate` is the chance of *dropping*. The division keeps the expected value of y at x
    ("inverted" dropout, as in torch.nn), so evaluation needs no correction; the 2014 paper instead multiplied by
    1 - rate at test time. Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".
    """

    def __init__(self, rate):
        self.rate = in_range(rate, "Dropout rate", 0, 1)

    def forward(self, x):
        self.check(x)
        if not self.training or self.rate == 0:
            self.saved = 1.0
            return x
        mask = (draw_uniform(x.shape) >= self.rate) * x.dtype.type(1 / (1 - self.rate))
        self.saved = mask
        return x * mask

    def backward(self, dy):
        mask = self.saved
        return dy * mask

    def __repr__(self):
        return f"Dropout({self.rate:g})"
