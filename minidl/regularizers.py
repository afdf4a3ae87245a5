"""Weight decay: a penalty on large weights, added to the loss.

A penalty acts on the weights alone, not on biases, gamma or beta (`Parameter.decay`). An optimizer adds its gradient
to that of the loss: `SGD(model.parameters(), lr=0.1, penalty=L2(1e-4))`.
"""

from minidl.arguments import in_range
from minidl.backend import xp


class Penalty:
    """A function of every single weight, summed: `value` is the sum, `gradient` its derivative, as a new array."""

    def __init__(self, coefficient):
        self.coefficient = in_range(coefficient, f"{type(self).__name__} coefficient", 0, float("inf"))

    def value(self, parameters):
        """The penalty itself, a number to add to the loss."""
        return sum(self.of(parameter.data) for parameter in parameters if parameter.decay)

    def __repr__(self):
        return f"{type(self).__name__}({self.coefficient:g})"


class L2(Penalty):
    """Pull every weight towards zero in proportion to its size: ridge regression, weight decay.

        value = c/2 * sum of w²            gradient = c * w

    Krogh & Hertz 1992, "A simple weight decay can improve generalization".
    """

    def of(self, w):
        return self.coefficient / 2 * (w * w).sum()

    def gradient(self, w):
        return self.coefficient * w


class L1(Penalty):
    """Pull every weight towards zero with the same force, so that many end there: the lasso.

        value = c * sum of |w|             gradient = c * sign(w)

    Tibshirani 1996, "Regression shrinkage and selection via the lasso".
    """

    def of(self, w):
        return self.coefficient * abs(w).sum()

    def gradient(self, w):
        return self.coefficient * xp.sign(w)
