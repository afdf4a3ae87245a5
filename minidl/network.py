"""Networks: layers put together, which are layers again."""

import contextlib
import copy
import os
from collections import Counter
from itertools import accumulate
from math import prod

import numpy as np

from minidl.backend import backend_name, float_type, kind_of, random_state, restore_random_state, to_cpu, xp
from minidl.core import Layer, positive_integer
from minidl.errors import DataError, ShapeError, UserError
from minidl.parallel import filled_in_slices, in_slices


class Container(Layer):
    """What all networks share: the layers inside, their names, a look at the whole, saving and loading.

    A container calls `hold` with its parts when it is made; its `build` leaves their output shapes in
    `output_shapes`, in the same order, and its own in `output_shape`. Names nest: "residual_1.body.conv2d_1.W".
    """

    output_shape = None
    batch = None    # how many inputs the last forward pass saw

    def hold(self, parts):
        """Take in the layers inside, given as {name: layer}; `parameters` and `walk` follow this order."""
        kind = type(self).__name__
        for place, (name, layer) in enumerate(parts.items()):
            if not isinstance(layer, Layer):
                raise UserError(f"{kind}: place {place} holds {layer!r}, which is not a layer" +
                                (f". Write {layer.__name__}(...)" if isinstance(layer, type) else ""))
            layer.name = name
        self.parts = list(parts.values())
        met = set()
        for layer in self.walk():
            if id(layer) in met:
                raise UserError(f"{kind}: the same {layer!r} stands at two places; make one for each, "
                                f"because a layer remembers what it last saw")
            met.add(id(layer))
        _place(self)

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
        self.batch = len(x)

    def check_gradient(self, dy):
        """The model's back door: dy must be an array of the backend in use, of the shape of the output."""
        self.check_kind(dy, "dy")
        if self.output_shape is not None and dy.shape[1:] != self.output_shape:
            expected = ", ".join(["N", *map(str, self.output_shape)])
            raise ShapeError(f"{self.label()}: backward expected dy of the output's shape ({expected}), "
                             f"got {tuple(dy.shape)}")
        if self.batch not in (None, len(dy)):
            raise ShapeError(f"{self.label()}: backward expected dy for the {self.batch} inputs that forward saw last, "
                             f"got dy for {len(dy)}. Run forward on the batch that dy belongs to, right before it")

    def require_built(self):
        if self.input_shape is None:
            raise UserError(f"{self.label()} is not built yet: give it an input_shape, or call build(input_shape)")

    # -- what a model weighs

    def summary(self, batch_size=None):
        """A table of all layers: name, output shape, parameters. Print it.

        batch_size: also show what a training step with so many inputs takes: the multiply-adds of the forward pass
        (those of convolutions and Dense layers; backward takes about twice as many) and the bytes that each layer
        keeps for backward. The line of a container sums up the indented ones below it.
        """
        self.require_built()
        kept = {} if batch_size is None else self.kept_bytes(batch_size)
        rows = [["layer", "", "output shape", "parameters"], ["input", "", str(self.input_shape), ""]]
        if kept:
            rows[0] += ["multiply-adds", "bytes kept"]
            rows[1] += ["", ""]
        for depth, layer, shape in self.table():
            numbers = [sum(parameter.data.size for parameter in layer.parameters())]
            if kept:
                numbers += [layer.multiply_adds() * batch_size, sum(kept[part] for part in layer.walk())]
            rows.append(["  " * depth + layer.name, repr(layer), str(shape),
                         *(f"{number:,}" if number else "" for number in numbers)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(f"{cell:{'>' if k >= 3 else '<'}{width}}"
                           for k, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows]
        total = sum(parameter.data.size for parameter in self.parameters())
        constant = sum(prod(getattr(layer, name).shape) for layer in self.walk() for name in layer.statistics)
        statistics = f", and {constant:,} running statistics that are not trained" if constant else ""
        rule = "-" * max(map(len, lines))
        lines = [lines[0], rule, *lines[1:], rule, f"{total:,} parameters{statistics}"]
        if kept:
            lines.append(f"a batch of {batch_size:,}: {self.multiply_adds() * batch_size:,} multiply-adds forward, "
                         f"{sum(kept.values()):,} bytes kept for backward")
        return "\n".join(lines)

    def table(self, depth=0):
        """(depth, layer, output shape) of every layer inside, at any depth, in order."""
        for layer, shape in zip(self.parts, self.output_shapes, strict=True):
            yield depth, layer, shape
            if isinstance(layer, Container):
                yield from layer.table(depth + 1)

    def kept_bytes(self, batch_size):
        """{layer: bytes that it keeps from forward to backward} for a training step with so many inputs.

        Measured: a copy of the model runs forward on one blank input and on two; every further input adds the same
        again. An array that two layers keep is counted at the first; parameters and gradients are not counted.
        """
        batch_size = positive_integer(batch_size, "batch_size")
        draws, model = random_state(), copy.deepcopy(self).train()
        dtype = next((parameter.data.dtype for parameter in self.parameters()), float_type())
        measured = []
        for count in (1, 2):
            model.forward(xp.zeros((count, *self.input_shape), dtype))
            owners = {owner: (place, size) for place, layer in reversed(list(enumerate(model.walk())))
                      for owner, size in _arrays(layer._saved)}
            measured.append(Counter())
            for place, size in owners.values():
                measured[-1][place] += size
        restore_random_state(draws)
        one, two = measured
        return {layer: one[place] + (batch_size - 1) * (two[place] - one[place])
                for place, layer in enumerate(self.walk())}

    # -- saving

    def state_dict(self):
        """Everything that a trained model consists of, by name: {"dense_1.W": array, ...}, as NumPy arrays."""
        self.require_built()
        return {name: to_cpu(array).copy() for name, array in _named_arrays(self)}

    def load_state_dict(self, state):
        """Take over the arrays of a state_dict. Names and shapes must match; otherwise nothing is changed."""
        self.require_built()
        arrays = dict(_named_arrays(self))
        if missing := [name for name in arrays if name not in state]:
            raise UserError(f"load_state_dict: {missing[0]!r} is missing ({len(missing)} in all). Was the state saved "
                            f"from the same architecture?")
        if unknown := [name for name in state if name not in arrays]:
            raise UserError(f"load_state_dict: this model has no {unknown[0]!r} ({len(unknown)} unknown in all). "
                            f"Was the state saved from the same architecture?")
        for name, array in arrays.items():
            kind = getattr(getattr(state[name], "dtype", None), "kind", None)
            if kind is None or kind not in "fiu":
                raise UserError(f"load_state_dict: {name} is no array of numbers in the state, but {state[name]!r:.60}")
            if array.shape != state[name].shape:
                raise ShapeError(f"load_state_dict: {name} has shape {array.shape} in this model, "
                                 f"{state[name].shape} in the state. Was it saved from the same architecture?")
        for name, array in arrays.items():
            array[...] = xp.asarray(state[name]).astype(array.dtype)

    def save(self, path):
        """Write the state to an .npz file: the whole file or nothing, so a full disk cannot leave half of one."""
        state, path = self.state_dict(), os.fspath(path)
        temporary = f"{path}.{os.getpid()}.part"
        try:
            with open(temporary, "wb") as file:
                np.savez(file, **state)
            os.replace(temporary, path)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as reason:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise DataError(f"{path}: the model cannot be saved there ({reason.strerror}). Does the folder exist, and "
                            f"may you write into it?") from reason
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise

    def load(self, path):
        """Take over the state that `save` wrote to `path`."""
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                state = {name: archive[name] for name in archive.files}
        except FileNotFoundError:
            raise DataError(f"{os.fspath(path)}: no such file. Was the model saved elsewhere?") from None
        except Exception as reason:  # zipfile and NumPy stumble over a damaged file with a dozen kinds of error
            raise DataError(f"{os.fspath(path)}: not a complete model file ({reason}). Save the model anew") from reason
        self.load_state_dict(state)


class Sequential(Container):
    """Layers one after another: the output of each is the input of the next.

        y = last(...(second(first(x))))            dx = gradient through the last layer, ..., the second, the first

        model = Sequential([Dense(40), ReLU(), Dense(10)], input_shape=(784,))

    input_shape: the shape of one input, without the batch axis. It is passed through all layers at once, which
    creates the parameters and finds every layer that does not fit before any data arrives. Without it, the model is
    built by `build(input_shape)`. Without layers, it passes on what it gets.
    """

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
        self.first = next((layer for layer in self.layers if layer.parameters()), None)
        return shape

    def forward(self, x):
        self.check(x)
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dy):
        self.check_gradient(dy)
        for layer in reversed(self.layers):
            if layer is self.first and not self.input_gradient:
                layer.input_gradient = False
                try:
                    layer.backward(dy)
                finally:
                    layer.input_gradient = True
                return None
            dy = layer.backward(dy)
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
    has the features of all. The gradient of y falls apart into the parts that the branches gave.
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
    raise UserError(f"{kind}: expected a layer or a list of layers, got {layers!r}" +
                    (f". Write {layers.__name__}(...)" if isinstance(layers, type) else ""))


def added(first, *others):
    """first + the others, all of one shape, on all threads."""
    def add_slice(total, first, second, *others):
        xp.add(first, second, out=total)
        for other in others:
            total += other

    return filled_in_slices(add_slice, first, *others) if others else first


def _place(layer):
    """Tell every layer inside this one where it stands, for the labels in error messages."""
    for part in layer.sublayers():
        part.within = f"{layer.within}{layer.name}." if layer.name else ""
        _place(part)


def _arrays(value):
    """Every array in nested tuples and lists: where its memory lies, and how many bytes that is."""
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from _arrays(item)
    elif isinstance(value, xp.ndarray):
        while value.base is not None:  # a view keeps the whole array alive
            value = value.base
        yield id(value), value.nbytes


def _named_arrays(layer, prefix=""):
    """(name, array) of each parameter and each running statistic of a layer and of all layers inside it."""
    inner = layer.sublayers()
    for sublayer in inner:
        yield from _named_arrays(sublayer, f"{prefix}{sublayer.name}.")
    if not inner:
        for parameter in layer.parameters():
            yield prefix + parameter.name, parameter.data
        for name in layer.statistics:
            yield prefix + name, getattr(layer, name)
