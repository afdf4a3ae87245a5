"""The fully connected layer."""

from minidl.arguments import positive_integer
from minidl.backend import float_type, xp
from minidl.core import Layer, Parameter
from minidl.initializers import initial_array, initializer
from minidl.ops.features import feature_sums
from minidl.ops.products import product


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
        self.output_shape = (self.units,)
        return self.output_shape

    def forward(self, x):
        self.check(x)
        y = product(x, self.W.data)                                          # (N, units)
        if self.bias:
            y += self.b.data
        self.saved = x
        return y

    def backward(self, dy):
        self.check_gradient(dy)
        x = self.saved
        product(x.T, dy, out=self.W.grad)                                    # (D, units)
        if self.bias:
            self.b.grad[...] = feature_sums(dy)                              # (units,)
        return product(dy, self.W.data.T) if self.input_gradient else None   # (N, D)

    def multiply_adds(self):
        return self.W.data.size

    def __repr__(self):
        return f"Dense({self.units})"
