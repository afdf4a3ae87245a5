"""Activation functions: what makes a deep network more than one matrix product.

Each works on arrays of any shape, element by element, so its derivative multiplies dy element by element.
"""

from math import pi, sqrt

from minidl.arguments import in_range
from minidl.backend import xp
from minidl.core import Layer
from minidl.ops.erf import erf
from minidl.ops.relu import relu
from minidl.parallel import filled_in_slices, in_slices


class ReLU(Layer):
    """Keep what is positive.

        y = max(x, 0)                      dx = dy where x > 0, else 0

    The derivative is 1 or 0, so gradients neither shrink nor grow on their way down; at the kink x = 0 it is taken
    as 0. Nair & Hinton 2010, "Rectified linear units improve restricted Boltzmann machines".
    """

    def forward(self, x):
        self.check(x)
        y = relu(x)
        self.saved = y
        return y

    def backward(self, dy):
        self.check_gradient(dy)
        y = self.saved
        return filled_in_slices(lambda dx, dy, y: xp.multiply(dy, y > 0, out=dx), dy, y)     # y > 0 where x > 0


class LeakyReLU(Layer):
    """Keep what is positive, and a little of what is negative.

        y = x where x > 0, else slope * x              dx = dy where x > 0, else slope * dy

    A unit that is off for every image still gets a gradient, so it can come back; a ReLU's cannot. At the kink x = 0
    the derivative is taken as `slope`, as in torch.nn.
    Maas, Hannun & Ng 2013, "Rectifier nonlinearities improve neural network acoustic models".
    """

    def __init__(self, slope=0.01):
        self.slope = in_range(slope, "LeakyReLU slope", 0, 1)

    def forward(self, x):
        self.check(x)
        # slope < 1: the larger one is right
        y = filled_in_slices(lambda y, x: xp.maximum(x, self.slope * x, out=y), x)
        self.saved = y
        return y

    def backward(self, dy):
        self.check_gradient(dy)
        y = self.saved
        slope = dy.dtype.type(self.slope)                                    # 1 where y > 0, else slope
        return filled_in_slices(lambda dx, dy, y: xp.multiply(dy, xp.maximum(y > 0, slope), out=dx), dy, y)

    def __repr__(self):
        return f"LeakyReLU({self.slope:g})"


class GELU(Layer):
    """Weigh x by the chance that a standard normal number is below it: a ReLU with a soft corner.

        y = x Phi(x)                       dx = dy (Phi(x) + x phi(x))
        Phi(x) = (1 + erf(x / sqrt(2))) / 2            phi(x) = exp(-x² / 2) / sqrt(2 pi), the derivative of Phi

    The exact form, as torch.nn.GELU() computes it; the approximation by tanh that the paper also gives differs by up
    to 0.0005. Hendrycks & Gimpel 2016, arXiv:1606.08415.
    """

    def forward(self, x):
        self.check(x)
        below, y = xp.empty_like(x), xp.empty_like(x)                        # Phi(x), x Phi(x)

        def forward_slice(rows):
            below[rows] = 0.5 + 0.5 * erf(x[rows] * sqrt(1 / 2))
            xp.multiply(x[rows], below[rows], out=y[rows])

        in_slices(forward_slice, len(x), 8 * x[:1].nbytes)
        self.saved = x, below
        return y

    def backward(self, dy):
        self.check_gradient(dy)
        x, below = self.saved

        def backward_slice(dx, dy, x, below):
            density = xp.exp(x * x * -0.5) * (1 / sqrt(2 * pi))              # phi(x)
            xp.multiply(dy, below + x * density, out=dx)

        return filled_in_slices(backward_slice, dy, x, below)


class Sigmoid(Layer):
    """Squeeze any number into (0, 1).

        y = 1 / (1 + exp(-x))              dx = dy y (1 - y)

    The derivative y (1 - y) is written in terms of the *output* y and is at most 0.25, at x = 0: ten such layers
    shrink a gradient by a million or more. Computed with exp(-|x|), which is the same and cannot overflow.
    """

    def forward(self, x):
        self.check(x)

        def forward_slice(y, x):
            decay = xp.exp(-abs(x))                                          # in (0, 1]
            xp.divide(xp.where(x >= 0, 1, decay), 1 + decay, out=y)

        self.saved = y = filled_in_slices(forward_slice, x)
        return y

    def backward(self, dy):
        self.check_gradient(dy)
        y = self.saved
        return filled_in_slices(lambda dx, dy, y: xp.multiply(dy, y * (1 - y), out=dx), dy, y)


class Tanh(Layer):
    """Squeeze any number into (-1, 1), around zero.

        y = tanh(x)                        dx = dy (1 - y²)

    The derivative is 1 at x = 0 and falls towards 0 where the unit saturates.
    """

    def forward(self, x):
        self.check(x)
        y = filled_in_slices(lambda y, x: xp.tanh(x, out=y), x)
        self.saved = y
        return y

    def backward(self, dy):
        self.check_gradient(dy)
        y = self.saved
        return filled_in_slices(lambda dx, dy, y: xp.multiply(dy, 1 - y * y, out=dx), dy, y)
