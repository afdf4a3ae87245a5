"""Networks: layers put together, which are layers again."""

from collections import Counter
from itertools import accumulate

from minidl.arguments import example_for
from minidl.backend import backend_name, kind_of, xp
from minidl.core import Layer, features_seem_in_front
from minidl.errors import ShapeError, UserError, suspect
from minidl.parallel import filled_in_slices, in_slices
from minidl.state import check_finite_state, read_state, save, state_of, take_over
from minidl.summary import summary


class Container(Layer):
    """What all networks share: the layers inside, their names, a look at the whole, saving and loading.

    A container calls `hold` with its parts when it is made; its `build` leaves their output shapes in
    `output_shapes`, in the same order. Names nest: "residual_1.body.conv2d_1.W".
    """

    def hold(self, parts):
        """Take in the layers inside, given as {name: layer}; `parameters` and `walk` follow this order."""
        kind = type(self).__name__
        for place, (name, layer) in enumerate(parts.items()):
            if not isinstance(layer, Layer):
                raise UserError(f"{kind}: place {place} holds {layer!r}, which is not a layer{layer_cure(layer)}")
            layer.name = name
        self.parts = list(parts.values())
        met = set()
        for layer in self.walk():
            if id(layer) in met:
                raise UserError(f"{kind}: the same {layer!r} is at two places; make one for each, "
                                f"because a layer remembers what it last saw")
            met.add(id(layer))
        _tell_places(self)

    def sublayers(self):
        return self.parts

    def parameters(self):
        return [parameter for layer in self.parts for parameter in layer.parameters()]

    def multiply_adds(self):
        return sum(layer.multiply_adds() for layer in self.parts)

    def check(self, x):
        """The model's door: x must be an array of the backend in use, of the model's precision and input shape."""
        self.check_kind(x, "x")
        first = next((parameter.data for parameter in self.parameters()), x)
        if not isinstance(first, xp.ndarray):
            raise UserError(f"{self.label()}: its parameters are of the kind {kind_of(first)}, but the backend in "
                            f"use now is {backend_name()}. Call minidl.use(...) first, then build the model")
        expected = first.dtype
        if x.dtype.kind == "f" and x.dtype != expected:
            raise UserError(f"{self.label()}: expected an array of {expected}, as the model's parameters are, got "
                            f"{x.dtype}. Pass x.astype(\"{expected}\"), or minidl.asarray(x) for the precision in use")
        super().check(x)

    def require_built(self):
        if self.input_shape is None:
            raise UserError(f"{self.label()} is not built yet: give it an input_shape, or call build(input_shape)")

    # -- a look at the whole, and files

    def summary(self, batch_size=None):
        """A table of all layers: name, output shape, parameters. Print it.

        batch_size: also show what a training step with so many inputs takes: the multiply-adds of the forward pass
        (those of convolutions and Dense layers; backward takes about twice as many) and the bytes that each layer
        keeps for backward. The line of a container sums up the indented ones below it.
        """
        self.require_built()
        return summary(self, batch_size)

    def state_dict(self):
        """Everything that a trained model consists of, by name: {"dense_1.W": array, ...}, as NumPy arrays."""
        self.require_built()
        return state_of(self)

    def load_state_dict(self, state):
        """Take over the arrays of a state_dict. Names and shapes must match; otherwise nothing is changed."""
        self.require_built()
        take_over(self, state)

    def save(self, path, finite=True):
        """Write the state to an .npz file: the whole file or nothing, so a full disk cannot leave half of one.

        finite: refuse a model that has NaN or infinite numbers
        """
        self.require_built()
        save(self, path, finite)

    def load(self, path, finite=True):
        """Take over the state that `save` wrote to `path`. The layers must be the same, in the same order.

        finite: refuse a file that has NaN or infinite numbers
        """
        self.require_built()
        state = read_state(path)
        if finite:
            check_finite_state(state, path, "was not loaded. To load it as it is: model.load(path, finite=False)")
        self.load_state_dict(state)


class Sequential(Container):
    """Layers one after another: the output of each is the input of the next.

        y = last(...(second(first(x))))            dx = gradient through the last layer, ..., the second, the first

        model = Sequential([Dense(40), ReLU(), Dense(10)], input_shape=(784,))

    input_shape: the shape of one input, without the batch axis. It is passed through all layers at once, which
    creates the parameters and finds every layer that does not fit before any data arrives. Without it, the model is
    built by `build(input_shape)`. Without layers, it passes on what it gets.

    input_gradient: False tells the first layer that has parameters to leave dx out; backward then ends there.
    """

    _input_gradient = True
    lowest_trained = None       # the first layer that has parameters

    def __init__(self, layers, input_shape=None):
        if not isinstance(layers, (list, tuple)):
            raise UserError(f"Sequential: expected a list of layers, got {layers!r}. Write Sequential([...])")
        counts, parts = Counter(), {}
        for layer in layers:
            kind = type(layer).__name__.lower()
            counts[kind] += 1
            parts[f"{kind}_{counts[kind]}"] = layer
        self.hold(parts)
        self.layers = self.parts
        if input_shape is not None:
            self.build(input_shape)

    def build(self, input_shape):
        shape = self.accept(input_shape)
        self.output_shapes = []
        for layer in self.layers:
            shape = layer.build(shape)
            self.output_shapes.append(shape)
        self.output_shape = shape
        self.lowest_trained = next((layer for layer in self.layers if layer.parameters()), None)
        self.input_gradient = self._input_gradient   # for the layer that it concerns
        if self.name is None and features_seem_in_front(self.input_shape) and \
                any(hasattr(layer, "windows") for layer in self.walk()):
            C, H, W = self.input_shape
            suspect(f"{self.label()}: input_shape={self.input_shape} means images of {C}x{H} pixels and {W} features. "
                    f"Features come last here: is it input_shape={(H, W, C)}, and x.transpose(0, 2, 3, 1)?")
        return shape

    @property
    def input_gradient(self):
        return self._input_gradient

    @input_gradient.setter
    def input_gradient(self, wanted):
        self._input_gradient = wanted
        if self.lowest_trained is not None:
            self.lowest_trained.input_gradient = wanted

    def forward(self, x):
        self.check(x)
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dy):
        self.check_gradient(dy)
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
            if layer is self.lowest_trained and not self.input_gradient:
                return None
        return dy

    def __repr__(self):
        return f"Sequential({len(self.layers)} layers)"


class Residual(Container):
    """Two paths from the same input, added: the body learns only what is to be changed.

        y = body(x) + shortcut(x)          dx = gradient through the body + gradient through the shortcut

        Residual([Conv2D(64, 3, padding="same"), BatchNorm(), ReLU(), Conv2D(64, 3, padding="same"), BatchNorm()])

    body, shortcut: a layer or a list of layers; without a shortcut, x itself is added. Both must give the same shape:
    where the body changes it, the shortcut has to as well, by a 1x1 Conv2D with the body's stride, say. The gradient
    of the plain shortcut is dy as it came, so it reaches the first layer of the deepest network undiminished.
    He et al. 2015, arXiv:1512.03385, equations 1 and 2.
    """

    def __init__(self, body, shortcut=None):
        self.body, self.shortcut = _path("Residual", body), _path("Residual", [] if shortcut is None else shortcut)
        self.hold({"body": self.body, "shortcut": self.shortcut})

    def build(self, input_shape):
        shape = self.accept(input_shape)
        self.output_shapes = body, shortcut = self.body.build(shape), self.shortcut.build(shape)
        if body != shortcut:
            raise ShapeError(f"{self.label()}: for input {shape} the body gives {body}, the shortcut {shortcut}; they "
                             f"are added, so both must be equal. A 1x1 Conv2D as shortcut changes features and, by its "
                             f"stride, height and width")
        self.output_shape = body
        return body

    def forward(self, x):
        self.check(x)
        return added(self.body.forward(x), self.shortcut.forward(x))

    def backward(self, dy):
        self.check_gradient(dy)
        return added(self.body.backward(dy), self.shortcut.backward(dy))

    def __repr__(self):
        return f"Residual(body of {len(self.body.layers)}, shortcut of {len(self.shortcut.layers)} layers)"


class Concat(Container):
    """Several paths from the same input, their features side by side.

        y = [branch_1(x), branch_2(x), ...] along the last axis        dx = sum of the gradients through the branches

        Concat([Conv2D(8, 1), [Conv2D(4, 1), Conv2D(8, 3, padding="same")], []])

    branches: each a layer or a list of layers; an empty list passes x on. All must agree on height and width, and y
    has the features of all. Backward splits dy along the last axis and gives each branch its part.
    Szegedy et al. 2014, arXiv:1409.4842 (the Inception module); Huang et al. 2016, arXiv:1608.06993 (DenseNet).
    """

    def __init__(self, branches):
        self.branches = [_path("Concat", branch) for branch in branches]
        if not self.branches:
            raise UserError("Concat: expected at least one branch, got none")
        self.hold({f"branch_{number}": branch for number, branch in enumerate(self.branches, 1)})

    def build(self, input_shape):
        shape = self.accept(input_shape)
        self.output_shapes = [branch.build(shape) for branch in self.branches]
        first = self.output_shapes[0]
        for branch, other in zip(self.branches, self.output_shapes, strict=True):
            if other[:-1] != first[:-1]:
                raise ShapeError(f"{self.label()}: for input {shape} branch_1 gives {first}, {branch.name} gives "
                                 f"{other}; they are joined along the last axis, so all other sizes must be equal. Is "
                                 f"a padding=\"same\" missing, or a stride?")
        ends = list(accumulate(other[-1] for other in self.output_shapes))
        self.borders = ends[:-1]  # where in y the features of one branch end and those of the next begin
        self.output_shape = (*first[:-1], ends[-1])
        return self.output_shape

    def forward(self, x):
        self.check(x)
        parts = [branch.forward(x) for branch in self.branches]
        y = xp.empty((len(x), *self.output_shape), x.dtype)

        def join_slice(rows):
            xp.concatenate([part[rows] for part in parts], axis=-1, out=y[rows])

        in_slices(join_slice, len(x), y[:1].nbytes)
        return y

    def backward(self, dy):
        self.check_gradient(dy)
        parts = xp.split(dy, self.borders, axis=-1)
        return added(*(branch.backward(part) for branch, part in zip(self.branches, parts, strict=True)))

    def __repr__(self):
        return f"Concat({len(self.branches)} branches)"


def _path(kind, layers):
    """A layer or a list of layers as a Sequential."""
    if isinstance(layers, Sequential):
        return layers
    if isinstance(layers, (list, tuple)):
        return Sequential(layers)
    if isinstance(layers, Layer):
        return Sequential([layers])
    raise UserError(f"{kind}: expected a layer or a list of layers, got {layers!r}{layer_cure(layers)}")


def layer_cure(thing):
    """What to write in place of a thing that is not a layer, as the end of a sentence."""
    if isinstance(thing, type):
        return f". Write {thing.__name__}(...)"
    if isinstance(thing, (list, tuple)):
        return ". Write Sequential([...]) for layers within layers"
    examples = ("Dense(10)", "ReLU()", "LeakyReLU()", "GELU()", "Sigmoid()", "Tanh()", "Flatten()", "Conv2D(16, 3)",
                "MaxPool2D(2)", "BatchNorm()", "LayerNorm()", "Dropout(0.5)")
    return f". Write {example_for(thing, examples)}" if isinstance(thing, str) else ""


def added(first, *others):
    """first + the others, all of one shape, on all threads."""
    def add_slice(total, first, second, *others):
        xp.add(first, second, out=total)
        for other in others:
            total += other

    return filled_in_slices(add_slice, first, *others) if others else first


def _tell_places(layer):
    """Tell every layer inside this one its place, for the labels in error messages."""
    for part in layer.sublayers():
        part.within = f"{layer.within}{layer.name}." if layer.name else ""
        _tell_places(part)
