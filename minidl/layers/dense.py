"""The fully connected layer."""

from minidl.backend import float_type, xp
from minidl.core import Layer, Parameter, positive_integer
from minidl.initializers import initial_array, initializer
from minidl.ops.features import feature_sums
from minidl.parallel import SLICE_BYTES, in_slices


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

        def forward_slice(units):
            xp.matmul(x, self.W.data[:, units], out=y[:, units])             # (N, some units)
            if self.bias:
                y[:, units] += self.b.data[units]

        in_slices(forward_slice, self.units, self.item_bytes(x, self.units))
        self.saved = x
        return y

    def backward(self, dy):
        x = self.saved
        dx = xp.empty(x.shape, x.dtype) if self.input_gradient else None
        if self.bias:
            self.b.grad[...] = feature_sums(dy)                              # (units,)

        def backward_slice(inputs):
            xp.matmul(x[:, inputs].T, dy, out=self.W.grad[inputs])           # (some of D, units)
            if self.input_gradient:
                xp.matmul(dy, self.W.data[inputs].T, out=dx[:, inputs])      # (N, some of D)

        in_slices(backward_slice, x.shape[1], self.item_bytes(x, x.shape[1]))
        return dx

    def item_bytes(self, x, count):
        """A slice for every 15 million multiply-adds: a smaller product takes no longer than waking a thread for it."""
        return SLICE_BYTES * max(1, len(x) * self.multiply_adds() // 15_000_000) // count

    def multiply_adds(self):
        return self.W.data.size

    def __repr__(self):
        return f"Dense({self.units})"
