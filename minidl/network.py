"""Networks: layers put together, which are layers again."""

import contextlib
import os
from collections import Counter
from math import prod

import numpy as np

from minidl.backend import backend_name, to_cpu, xp
from minidl.core import Layer
from minidl.errors import DataError, ShapeError, UserError


class Sequential(Layer):
    """Layers one after another: the output of each is the input of the next.

        model = Sequential([Dense(40), ReLU(), Dense(10)], input_shape=(784,))

    input_shape: the shape of one input, without the batch axis. It is passed through all layers at once, which
    creates the parameters and finds every layer that does not fit before any data arrives. Without it, the model is
    built by `build(input_shape)`.
    """

    def __init__(self, layers, input_shape=None):
        self.layers = list(layers)
        self.output_shapes = []
        for place, layer in enumerate(self.layers):
            if not isinstance(layer, Layer):
                raise UserError(f"Sequential: place {place} holds {layer!r}, which is not a layer" +
                                (f". Write {layer.__name__}(...)" if isinstance(layer, type) else ""))
            if any(part is other for part in layer.walk() for before in self.layers[:place] for other in before.walk()):
                raise UserError(f"Sequential: the same {layer!r} stands at two places; make one for each, "
                                f"because a layer remembers what it last saw")
        counts = Counter()
        for layer in self.layers:
            kind = type(layer).__name__.lower()
            counts[kind] += 1
            layer.name = f"{kind}_{counts[kind]}"
        if input_shape is not None:
            self.build(input_shape)

    def build(self, input_shape):
        shape = self.accept(input_shape)
        self.output_shapes = []
        for layer in self.layers:
            shape = layer.build(shape)
            self.output_shapes.append(shape)
        return shape

    def forward(self, x):
        self.check(x)
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dy):
        if self.output_shapes and dy.shape[1:] != self.output_shapes[-1]:
            raise ShapeError(f"{self.label()}: backward expected dy of the output's shape "
                             f"{('N', *self.output_shapes[-1])}, got {tuple(dy.shape)}".replace("'", ""))
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy

    def check(self, x):
        """The model's door: x must be an array of the backend in use, of the model's precision and input shape."""
        if not isinstance(x, xp.ndarray):
            raise UserError(f"{self.label()}: expected an array of the {backend_name()} backend, got "
                            f"{type(x).__module__}.{type(x).__name__}. Pass minidl.asarray(x)")
        expected = next((parameter.data.dtype for parameter in self.parameters()), x.dtype)
        if x.dtype.kind == "f" and x.dtype != expected:
            raise UserError(f"{self.label()}: expected an array of {expected}, as the model's parameters are, got "
                            f"{x.dtype}. Pass x.astype(\"{expected}\"), or minidl.asarray(x) for the precision in use")
        super().check(x)

    def parameters(self):
        return [parameter for layer in self.layers for parameter in layer.parameters()]

    def sublayers(self):
        return self.layers

    def require_built(self):
        if self.input_shape is None:
            raise UserError(f"{self.label()} is not built yet: give it an input_shape, or call build(input_shape)")

    # -- what a model weighs

    def summary(self):
        """A table of all layers: name, output shape, parameters. Print it."""
        self.require_built()
        rows = [("layer", "", "output shape", "parameters"), ("input", "", str(self.input_shape), "")]
        for layer, shape in zip(self.layers, self.output_shapes, strict=True):
            count = sum(parameter.data.size for parameter in layer.parameters())
            rows.append((layer.name, repr(layer), str(shape), f"{count:,}" if count else ""))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(f"{cell:{'>' if k == 3 else '<'}{width}}"
                           for k, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows]
        total = sum(parameter.data.size for parameter in self.parameters())
        kept = sum(prod(getattr(layer, name).shape) for layer in self.walk() for name in layer.statistics)
        statistics = f", and {kept:,} running statistics that are not trained" if kept else ""
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:], rule, f"{total:,} parameters{statistics}"])

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

    def __repr__(self):
        return f"Sequential({len(self.layers)} layers)"


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
