"""From images to vectors."""

from math import prod

from minidl.core import Layer


class Flatten(Layer):
    """Lay all axes but the batch end to end: what stands between a convolution and a Dense layer.

        y = x.reshape(N, H*W*C)            dx = dy.reshape(N, H, W, C)

    x: (N, H, W, C), or any other shape            y: (N, H*W*C)
    """

    def build(self, input_shape):
        return (prod(self.accept(input_shape)),)

    def forward(self, x):
        self.check(x)
        return x.reshape(len(x), prod(self.input_shape))

    def backward(self, dy):
        return dy.reshape(len(dy), *self.input_shape)
