"""Activation functions: what makes a deep network more than one matrix product.

Each works on arrays of any shape, element by element, so its derivative multiplies dy element by element.
"""

from minidl.backend import xp
from minidl.core import Layer


class ReLU(Layer):
    """Keep what is positive.

        y = max(x, 0)                      dx = dy where x > 0, else 0

    The derivative is 1 or 0, so gradients neither shrink nor grow on their way down; at the kink x = 0 it is taken
    as 0. Nair & Hinton 2010, "Rectified linear units improve restricted Boltzmann machines".
    """

    def forward(self, x):
        self.check(x)
        y = xp.maximum(x, 0)
        self.saved = y
        return y

    def backward(self, dy):
        y = self.saved
        return dy * (y > 0)  # y > 0 exactly where x > 0


class Sigmoid(Layer):
    """Squeeze any number into (0, 1).

        y = 1 / (1 + exp(-x))              dx = dy y (1 - y)

    The derivative y (1 - y) is written in terms of the *output* y and is at most 0.25, at x = 0: ten such layers
    shrink a gradient by a million or more. Computed as (tanh(x / 2) + 1) / 2, which is the same and cannot overflow.
    """

    def forward(self, x):
        self.check(x)
        y = xp.tanh(x * 0.5) * 0.5 + 0.5
        self.saved = y
        return y

    def backward(self, dy):
        y = self.saved
        return dy * (y * (1 - y))


class Tanh(Layer):
    """Squeeze any number into (-1, 1), around zero.

        y = tanh(x)                        dx = dy (1 - y²)

    The derivative is 1 at x = 0 and falls towards 0 where the unit saturates.
    """

    def forward(self, x):
        self.check(x)
        y = xp.tanh(x)
        self.saved = y
        return y

    def backward(self, dy):
        y = self.saved
        return dy * (1 - y * y)
