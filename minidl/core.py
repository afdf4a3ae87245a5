"""What every layer is: `Parameter`, the trainable array, and `Layer`, a forward and a backward pass.

Layers know nothing of optimizers, losses or devices. An optimizer meets a layer only at its parameters.
"""

from math import prod

import numpy as np

from minidl.backend import backend_name, kind_of, xp
from minidl.errors import ShapeError, UserError


class Parameter:
    """A trainable array and the gradient of the loss with respect to it.

    data, grad: two arrays of the same shape. A layer's backward pass assigns into `grad`, as in
    `self.W.grad[...] = x.T @ dy`; nothing accumulates and nothing needs to be zeroed.
    decay: whether weight decay (L1, L2) applies: yes for weights, no for biases, gamma and beta.
    """

    def __init__(self, data, name, decay=True):
        self.data = data
        self.grad = xp.zeros_like(data)
        self.name = name
        self.decay = decay
        self.pack = None  # the FlatParameters that holds data and grad, once an optimizer has taken them in

    def __repr__(self):
        return f"Parameter({self.name}, shape {self.data.shape}, {self.data.dtype})"


class FlatParameters:
    """All parameters in one flat vector, all gradients in another; each parameter keeps views of its part.

    An optimizer is then its textbook formula over two flat vectors. Parameters that decay come first, so a penalty on
    the weights is a formula over the first `decaying` elements.
    """

    def __init__(self, parameters):
        ordered = sorted(parameters, key=lambda parameter: not parameter.decay)  # stable: otherwise as defined
        self.parameters = ordered
        self.data = xp.concatenate([parameter.data.ravel() for parameter in ordered])
        self.grad = xp.concatenate([parameter.grad.ravel() for parameter in ordered])
        self.decaying = sum(parameter.data.size for parameter in ordered if parameter.decay)
        start = 0
        for parameter in ordered:
            shape, end = parameter.data.shape, start + parameter.data.size
            parameter.data = self.data[start:end].reshape(shape)
            parameter.grad = self.grad[start:end].reshape(shape)
            parameter.pack = self
            start = end

    @classmethod
    def of(cls, parameters):
        """The flat vectors of just these parameters: those that an earlier optimizer made, or new ones."""
        pack = parameters[0].pack
        if pack is not None and len(parameters) == len(pack.parameters) and \
                all(p.pack is pack and p.data.base is pack.data and p.grad.base is pack.grad for p in parameters):
            return pack  # a copied model has copied arrays, which are views of nothing: it is packed anew
        return cls(parameters)


class Layer:
    """One step of a network: `forward` computes y from x, `backward` computes dx from dy.

    x → y forward; dy arrives, dx leaves, both the gradient of the loss. The first axis of all four is the batch, the
    last one the features. A layer of your own needs these two methods; one that has parameters, or whose output has
    another shape than its input, also a `build`.

    Attributes
    ----------
    saved : what forward keeps for backward. Assigning to it in eval mode keeps nothing; reading it when nothing is
        kept raises an error that says what to call first.
    training : False after `eval()`: dropout then drops nothing, batch normalisation uses its running statistics.
    keeping : whether `saved` keeps anything; follows `training` unless set by hand.
    input_gradient : whether backward has to compute dx. False in a model saves the gradient of the data itself, which
        training does not need; its backward then returns None.
    name, within : what the container around it calls the layer, and where in the model that is ("residual_1.body.").
    statistics : names of arrays that the layer keeps but does not train, such as a running mean.
    """

    training = True
    keeping = True
    input_gradient = True
    name = None
    within = ""
    input_shape = None
    statistics = ()
    _saved = None

    # -- what a layer defines

    def build(self, input_shape):
        """Create the parameters for inputs of this shape (without the batch axis); return the output's shape."""
        return self.accept(input_shape)

    def forward(self, x):
        raise TypeError(f"{type(self).__name__} has no forward method yet")

    def backward(self, dy):
        raise TypeError(f"{type(self).__name__} has no backward method yet")

    # -- what every layer can do

    def parameters(self):
        """The trainable parameters, in the order in which the layer defines them."""
        inner = [name for name, value in vars(self).items() if isinstance(value, Layer)]
        if inner and not self.sublayers():
            raise UserError(f"{self.label()}: its attribute {inner[0]} is a layer, whose parameters nobody would "
                            f"train. Make this a Sequential, Residual or Concat, or write its sublayers() and "
                            f"parameters()")
        return [value for value in vars(self).values() if isinstance(value, Parameter)]

    def sublayers(self):
        """The layers that this one is made of; containers override it."""
        return []

    def multiply_adds(self):
        """Products that the forward pass takes for one input, each added to a sum; 0 for work that is none of these."""
        return 0

    def walk(self):
        """This layer, then every layer inside it, at any depth."""
        yield self
        for layer in self.sublayers():
            yield from layer.walk()

    def train(self):
        """Switch to training mode: forward keeps what backward needs, dropout drops, statistics move."""
        for layer in self.walk():
            layer.training = layer.keeping = True
        return self

    def eval(self):
        """Switch to evaluation mode: the same input gives the same output, and nothing is kept for backward."""
        for layer in self.walk():
            layer.training = layer.keeping = False
            layer._saved = None
        return self

    @property
    def saved(self):
        if self._saved is None:
            raise UserError(f"{self.label()}: backward has nothing to work from. Run forward in training mode before "
                            f"it (after eval(), call train() first)")
        return self._saved

    @saved.setter
    def saved(self, value):
        self._saved = value if self.keeping else None

    # -- checks, so that a mistake is named where it is made

    def label(self):
        """How error messages name this layer: `dense_2: Dense(10)` inside a model, `Dense(10)` alone."""
        return f"{self.within}{self.name}: {self!r}" if self.name else repr(self)

    def accept(self, input_shape, axes=None, cure=""):
        """Remember and return the input's shape, after checking that it has the axes named, as in ("H", "W", "C")."""
        if self.input_shape is not None and any(parameter.pack is not None for parameter in self.parameters()):
            raise UserError(f"{self.label()}: built a second time, but an optimizer holds the parameters of the first, "
                            f"and would train them on. Make a new layer or model, then a new optimizer")
        try:
            shape = tuple(int(size) for size in input_shape)
        except (TypeError, ValueError):
            raise ShapeError(f"{self.label()}: expected a shape such as (32, 32, 3), without the batch axis; "
                             f"got {input_shape!r}") from None
        if axes is not None and len(shape) != len(axes):
            named = f"({', '.join(axes)}{',' if len(axes) == 1 else ''})"
            raise ShapeError(f"{self.label()}: expected input of shape {named} without the batch axis, "
                             f"got {shape}." + (f" {cure}" if cure else ""))
        if min(shape, default=1) < 1:
            raise ShapeError(f"{self.label()}: the input's shape {shape} has an axis without elements. "
                             f"Do earlier layers shrink the image too much?")
        self.input_shape = shape
        return shape

    def check(self, x):
        """Raise an error unless x is a batch of inputs of the shape that the layer was built for."""
        self.check_kind(x, "x")
        if x.dtype.kind != "f":
            raise UserError(f"{self.label()}: expected an array of fractional numbers, got {x.dtype} numbers. "
                            f"Pass minidl.asarray(x), pixels as minidl.asarray(x / 255)")
        if self.input_shape is None:
            raise UserError(f"{self.label()} is not built yet: call build(input_shape) first, for this input "
                            f"build({tuple(x.shape[1:])})")
        if x.shape[1:] != self.input_shape:
            expected = ", ".join(["N", *map(str, self.input_shape)]) + "," * (not self.input_shape)
            if x.shape == self.input_shape:
                cure = "Is the batch axis missing?"
            elif x.ndim == 4 and (*x.shape[2:], x.shape[1]) == self.input_shape:
                cure = "Features come last here: x.transpose(0, 2, 3, 1)"
            elif x.ndim > 2 and (prod(x.shape[1:]),) == self.input_shape:
                cure = "Put Flatten() before it?"
            else:
                cure = "A layer is built for one shape: build it anew for another"
            raise ShapeError(f"{self.label()}: expected input of shape ({expected}), got {tuple(x.shape)}. {cure}")

    def check_kind(self, array, what):
        """Raise an error unless this is an array of the backend in use; `what` names it there."""
        if not isinstance(array, xp.ndarray):
            raise UserError(f"{self.label()}: expected an array of the {backend_name()} backend, got "
                            f"{kind_of(array)}. Pass minidl.asarray({what})")

    def __repr__(self):
        return f"{type(self).__name__}()"


def pair(value, what, least=1):
    """(height, width) from one whole number or two; `what` names the argument in the error."""
    numbers = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    whole = all(isinstance(number, (int, np.integer)) and not isinstance(number, bool) for number in numbers)
    if len(numbers) != 2 or not whole or min(numbers) < least:
        raise UserError(f"{what}={value!r}: expected a whole number of at least {least}, or a pair of them "
                        f"(height, width)")
    return tuple(int(number) for number in numbers)


def short(sizes):
    """A pair as the code would write it: 3 for (3, 3), "same" for "same"."""
    return repr(sizes[0] if isinstance(sizes, tuple) and sizes[0] == sizes[1] else sizes)


def positive_integer(value, what):
    """`value` if it is a whole number of at least 1; `what` names the argument in the error."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise UserError(f"{what}={value!r}: expected a whole number of at least 1")
    return int(value)


def in_range(value, what, low, high):
    """`value` if low <= value < high; `what` names the argument in the error."""
    if not isinstance(value, (int, float, np.number)) or isinstance(value, bool) or not low <= value < high:
        interval = f"at least {low:g}" if high == float("inf") else f"in [{low:g}, {high:g})"
        raise UserError(f"{what}={value!r}: expected a number {interval}")
    return float(value)
