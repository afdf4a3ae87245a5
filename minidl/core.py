"""What every layer is: `Parameter`, the trainable array, and `Layer`, a forward and a backward pass.

Layers know nothing of optimizers, losses or devices. An optimizer meets a layer only at its parameters.
"""

from math import prod
from operator import index

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

    def discard(self):
        """Forget both arrays: the layer was built a second time and has new parameters. An optimizer that still holds
        this one says so at its next step."""
        self.data = self.grad = None

    def __repr__(self):
        return f"Parameter({self.name}, " + ("discarded)" if self.data is None else
                                             f"shape {self.data.shape}, {self.data.dtype})")


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
        training does not need; its backward then ends at the first layer that has parameters and returns None.
    input_shape, output_shape : what `build` was given and what it returned, without the batch axis.
    batch : how many inputs the last forward pass saw.
    name, within : what the container around it calls the layer, and where in the model that is ("residual_1.body.").
    statistics : names of arrays that the layer keeps but does not train, such as a running mean.
    """

    training = True
    keeping = True
    input_gradient = True
    name = None
    within = ""
    input_shape = output_shape = None
    batch = None
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
        """Remember and return the input's shape, after checking that it has the axes named, as in ("H", "W", "C").

        Until `build` says otherwise, the output has the same. Parameters of an earlier `build` are discarded.
        """
        try:
            shape = tuple(index(size) for size in input_shape)
        except TypeError:
            hint = f". One axis is written ({input_shape},)" if isinstance(input_shape, int) else ""
            raise ShapeError(f"{self.label()}: expected a shape such as (32, 32, 3), without the batch axis; "
                             f"got {input_shape!r}{hint}") from None
        if axes is not None and len(shape) != len(axes):
            named = f"({', '.join(axes)}{',' if len(axes) == 1 else ''})"
            batch = f"If {shape[0]} is the number of images, leave it out, as in x_train.shape[1:]"
            hints = [cure] * bool(cure) + [batch] * (len(shape) == len(axes) + 1)
            raise ShapeError(f"{self.label()}: expected input of shape {named} without the batch axis, "
                             f"got {'. '.join([str(shape), *hints])}")
        if min(shape, default=1) < 1:
            raise ShapeError(f"{self.label()}: the input's shape {shape} has an axis without elements. "
                             f"Do earlier layers shrink the image too much?")
        if self.input_shape is not None and not self.sublayers():
            for parameter in self.parameters():
                parameter.discard()
        self.input_shape = self.output_shape = shape
        return shape

    def check(self, x):
        """Raise an error unless x is a batch of inputs of the shape that the layer was built for."""
        self.check_kind(x, "x")
        if x.dtype.kind != "f":
            raise UserError(f"{self.label()}: expected an array of floats, got {x.dtype} numbers. "
                            f"Pass minidl.asarray(x), pixels as minidl.asarray(x / 255)")
        if self.input_shape is None:
            raise UserError(f"{self.label()} is not built yet: call build(input_shape) first, for this input "
                            f"build({tuple(x.shape[1:])})")
        if x.shape[1:] != self.input_shape:
            expected = ", ".join(["N", *map(str, self.input_shape)]) + "," * (not self.input_shape)
            raise ShapeError(f"{self.label()}: expected input of shape ({expected}), got {tuple(x.shape)}. "
                             f"{shape_cure(x.shape, self.input_shape)}")
        self.batch = len(x)

    def check_gradient(self, dy):
        """Raise an error unless dy is a gradient for the output that forward gave last."""
        if dy is None:
            raise UserError(f"{self.label()}: backward expected an array dy, got None. Does the backward before it, "
                            f"such as loss.backward(), return its gradient?")
        self.check_kind(dy, "dy")
        if dy.dtype.kind != "f":
            raise UserError(f"{self.label()}: backward expected dy as an array of floats, got {dy.dtype} "
                            f"numbers. Pass dy.astype(\"float32\")")
        if self.output_shape is None:
            raise UserError(f"{self.label()} is not built yet: call build(input_shape), then forward, then backward")
        if dy.shape[1:] != self.output_shape:
            expected = ", ".join(["N", *map(str, self.output_shape)])
            turned = features_in_front(dy.shape, self.output_shape)
            cure = "Features come last here: dy.transpose(0, 2, 3, 1)" if turned else \
                "Pass the gradient of the loss with respect to this layer's output"
            raise ShapeError(f"{self.label()}: backward expected dy of the output's shape ({expected}), "
                             f"got {tuple(dy.shape)}. {cure}")
        if self.batch not in (None, len(dy)):
            raise ShapeError(f"{self.label()}: backward expected dy for the {self.batch} inputs that forward saw last, "
                             f"got dy for {len(dy)}. Run forward on the batch that dy belongs to, right before it")

    def check_kind(self, array, what):
        """Raise an error unless this is an array of the backend in use; `what` names it there."""
        if not isinstance(array, xp.ndarray):
            raise UserError(f"{self.label()}: expected an array of the {backend_name()} backend, got "
                            f"{kind_of(array)}. Pass minidl.asarray({what})")

    def __repr__(self):
        return f"{type(self).__name__}()"


def shape_cure(got, built_for):
    """What makes an array of the shape `got` one that a layer takes: a batch of inputs of the shape `built_for`."""
    if got == built_for:
        return "Is the batch axis missing? A single x becomes a batch of one by x[None]"
    if features_in_front(got, built_for):
        return "Features come last here: x.transpose(0, 2, 3, 1)"
    if (*got[1:], 1) == built_for:
        return "A grey image has one feature: x[..., None]"
    if got[1:] == (prod(built_for),):
        return f"Vectors become images by x.reshape(-1, {', '.join(map(str, built_for))})"
    if len(got) > 2 and (prod(got[1:]),) == built_for:
        return "Put Flatten() before it?"
    return "A layer is built for one shape: build it anew for another"


def features_in_front(got, shape):
    """Whether a batch of shape `got` is one of images of this `shape`, but for the place of the features."""
    return len(got) == 4 and (*got[2:], got[1]) == shape


def features_seem_in_front(shape):
    """Whether the shape of an image looks like (3, 32, 32) or (1, 28, 28), as PyTorch has it."""
    return len(shape) == 3 and shape[0] in (1, 3) and shape[1] == shape[2] >= 8
