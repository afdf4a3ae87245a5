"""From images to vectors."""

from math import prod

from minidl.core import Layer


class Flatten(Layer):
    """Join all axes but the batch into one: what leads from a convolution to a Dense layer.

        y = x.reshape(N, H*W*C)            dx = dy.reshape(N, H, W, C)

    x: (N, H, W, C), or any other shape            y: (N, H*W*C)
    """

    def build(self, input_shape):
        self.output_shape = (prod(self.accept(input_shape)),)
        return self.output_shape

    def forward(self, x):
        self.check(x)
        return x.reshape(len(x), *self.output_shape)

    def backward(self, dy):
        self.check_gradient(dy)
        return dy.reshape(len(dy), *self.input_shape)
