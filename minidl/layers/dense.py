"""The fully connected layer."""

from minidl.backend import float_type, xp
from minidl.core import Layer, Parameter, positive_integer
from minidl.initializers import initial_array, initializer
from minidl.parallel import SLICE_BYTES, in_slices, sum_over_slices


class Dense(Layer):
    """Every output is a weighted sum of every input.

        y = x W + b                        dW = xᵀ dy        db = sum of dy over the batch        dx = dy Wᵀ

    x: (N, D)    W: (D, units)    b: (units,)    y: (N, units)

    init: how W starts, see `minidl.initializers`; b starts at zero.
    """

    def __init__(self, units, init="he", bias=True):
        self.units = positive_integer(units, "Dense units")
        self.init, self.bias = init, bias
        initializer(init, "Dense init")  # a wrong name fails here, not at build

    def build(self, input_shape):
        (D,) = self.accept(input_shape, ("D",), cure="Put Flatten() before it?")
        self.W = Parameter(initial_array(self.init, (D, self.units), fan_in=D, fan_out=self.units), "W")
        if self.bias:
            self.b = Parameter(xp.zeros(self.units, float_type()), "b", decay=False)
        return (self.units,)

    def forward(self, x):
        self.check(x)
        y = xp.empty((len(x), self.units), x.dtype)

        def forward_slice(rows):
            xp.matmul(x[rows], self.W.data, out=y[rows])                     # (n, units)
            if self.bias:
                y[rows] += self.b.data

        in_slices(forward_slice, len(x), self.item_bytes(x))
        self.saved = x
        return y

    def backward(self, dy):
        x = self.saved
        dx = xp.empty(x.shape, x.dtype) if self.input_gradient else None

        def backward_slice(rows):
            if self.input_gradient:
                xp.matmul(dy[rows], self.W.data.T, out=dx[rows])             # (n, D)
            return [x[rows].T @ dy[rows], dy[rows].sum(axis=0)]              # this slice's share of dW and db

        dW, db = sum_over_slices(backward_slice, len(x), self.item_bytes(x))
        self.W.grad[...] = dW                                                # (D, units)
        if self.bias:
            self.b.grad[...] = db
        return dx

    def item_bytes(self, x):
        """Four slices for a large product, one for a small one, which takes no longer than waking another thread."""
        return 4 * SLICE_BYTES / len(x) if len(x) * self.multiply_adds() > 2e7 else 0

    def multiply_adds(self):
        return self.W.data.size

    def __repr__(self):
        return f"Dense({self.units})"
