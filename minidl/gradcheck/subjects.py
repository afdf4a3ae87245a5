"""Layers, losses, models, plain objects and functions, brought into one form that the check can run.

A subject is a copy of what is checked: its tensors can be moved in place, its random numbers are held still, and an
exception in its code becomes one sentence that says where.
"""

import copy
import os
import traceback
from contextlib import contextmanager

import numpy as np

from minidl.backend import draw_normal, random_state, restore_random_state, xp
from minidl.core import Layer
from minidl.errors import UserError
from minidl.network import Sequential


@contextmanager
def blamed(title, action):
    """Any exception in the code that is checked becomes a UserError that names it and its place."""
    try:
        yield
    except UserError:
        raise  # says already what is wrong
    except Exception as error:
        message = " ".join(str(error).split())
        raise UserError(f"{title}: {action} stopped with {type(error).__name__}"
                        f"{': ' if message else ''}{message[:300]}{_place(error)}") from error


def _place(error):
    """Where an exception came from: the innermost line that is neither ours nor the array library's."""
    ours = os.path.dirname(os.path.abspath(__file__))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if not os.path.abspath(frame.filename).startswith(ours)
              and not any(f"{os.sep}{library}{os.sep}" in frame.filename for library in ("numpy", "cupy"))
              and os.path.basename(frame.filename) not in ("copy.py", "contextlib.py")]
    if not frames:
        return ""
    last = frames[-1]
    return f" (in {os.path.basename(last.filename)}, line {last.lineno}{f': {last.line}' if last.line else ''})"


def bookmark(generators=()):
    """A function that sets the random numbers back to their state now: minidl's, NumPy's and a layer's own."""
    ours, legacy = random_state(), np.random.get_state()
    own = [(generator, generator.bit_generator.state) for generator in generators]

    def go_back():
        restore_random_state(ours)
        np.random.set_state(legacy)
        for generator, state in own:
            generator.bit_generator.state = state

    return go_back


def position(generators=()):
    """The state of the random numbers, as something to compare."""
    _, key, place, *_ = np.random.get_state()
    own = [str(generator.bit_generator.state) for generator in generators]
    return key.tobytes(), place, str(random_state()), own


class Subject:
    """Something with a forward and a backward pass.

    x: the input    tensors: {name: array}, the parameters    known: what else a wrong term may consist of
    given: the copy of x that the last forward pass was handed, to see whether it was changed
    """

    mode = "training"
    known = {}
    tensors = {}
    draws = None  # whether the forward pass draws random numbers; None until it has run

    def __init__(self, title, x, generators=()):
        self.title, self.x, self.generators = title, x.copy(), generators
        self.hold_still = bookmark(generators)  # dropout drops the same units every time

    def forward(self):
        """y, as an array of its own (Flatten and its like return a view of x)."""
        if self.draws is not False:  # holding still takes longer than a small layer
            self.hold_still()
        before = position(self.generators) if self.draws is None else None
        self.given = self.x.copy()
        with blamed(self.title, "the forward pass"):
            y = self.run(self.given)
        if before:
            self.draws = before != position(self.generators)
        if y is None:
            raise UserError(f"{self.title}: forward returned nothing; is `return y` missing?")
        return self.numbers(y, "forward returned").copy()

    def forward_after(self, tensor):
        """A function like `forward`, for when nothing but this tensor moves."""
        return self.forward

    def gradient_arrays(self):
        """{parameter: the array into which backward has to write its gradient}, where there is such a rule."""
        return {}

    def backward(self, dy):
        """{"input": dx, parameter: its gradient, ...}; copies, or None where there is none."""
        with blamed(self.title, "the backward pass"):
            gradients = self.gradients(dy)
        if gradients["input"] is None:
            raise UserError(f"{self.title}: backward returned nothing; expected dx, an array of the input's shape "
                            f"{tuple(self.x.shape)}. Is `return dx` missing?")
        return {name: None if gradient is None else self.numbers(gradient, f"backward gave, for {name},").copy()
                for name, gradient in gradients.items()}

    def numbers(self, result, what):
        """The result as an array of numbers."""
        try:
            array = xp.asarray(result)
            if array.dtype.kind in "fiub":
                return array
            got = f"an array of {array.dtype}"
        except (ValueError, TypeError):
            got = f"a {type(result).__name__}"
        raise UserError(f"{self.title}: {what} {got}; expected an array of real numbers")


class LayerSubject(Subject):
    """A Layer or a model, in training or evaluation mode."""

    def __init__(self, layer, x, mode):
        title = title_of(layer)
        with blamed(title, "copying the layer"):
            layer = copy.deepcopy(layer)
        super().__init__(title, x, _generators(*layer.walk()))
        self.layer, self.mode = layer.train(), mode
        if layer.input_shape is None:
            with blamed(title, "build"):
                layer.build(tuple(x.shape[1:]))
        for part in layer.walk():
            part.input_gradient = True  # `fit` may have switched it off
            for name in part.statistics:
                setattr(part, name, getattr(part, name).astype(np.float64))
        for parameter in layer.parameters():
            parameter.data = _moved(parameter.data.astype(np.float64))
            parameter.grad = xp.zeros_like(parameter.data)
        self.parameters = dict(zip(_names(layer), layer.parameters(), strict=True))
        if mode == "evaluation":
            for _ in range(2):  # running statistics of 0 and 1 could hide a missing factor or term
                with blamed(title, "the forward pass"):
                    layer.forward(1.5 * x + 0.3)
            for part in layer.eval().walk():
                part.keeping = True

    @property
    def tensors(self):
        return {name: parameter.data for name, parameter in self.parameters.items()}

    @property
    def known(self):
        return {name: getattr(part, name) for part in self.layer.walk() for name in part.statistics}

    def run(self, x):
        return self.layer.forward(x)

    def gradients(self, dy):
        dx = self.layer.backward(dy)
        return {"input": dx} | {name: parameter.grad for name, parameter in self.parameters.items()}

    def gradient_arrays(self):
        return {name: parameter.grad for name, parameter in self.parameters.items()}

    def forward_after(self, tensor):
        """In a Sequential, the layers before the one that the parameter belongs to run once and for all."""
        if tensor == "input" or type(self.layer).forward is not Sequential.forward:
            return self.forward
        moving, layers = self.parameters[tensor], self.layer.layers
        place = next(k for k, layer in enumerate(layers) if any(p is moving for p in layer.parameters()))
        self.hold_still()
        x = self.x.copy()
        for layer in layers[:place]:
            x = layer.forward(x)
        hold_still = bookmark(self.generators)

        def forward():
            if self.draws:
                hold_still()
            y = x.copy()
            for layer in layers[place:]:
                y = layer.forward(y)
            return y.copy()

        return forward


class PlainSubject(Subject):
    """An object that knows nothing of minidl: arrays W in it are parameters if backward leaves a dW."""

    def __init__(self, layer, x, mode):
        title = title_of(layer)
        with blamed(title, "copying the layer"):
            layer = copy.deepcopy(layer)
        super().__init__(title, x, _generators(layer))
        self.layer, self.mode = layer, mode
        if callable(getattr(layer, "build", None)):
            with blamed(title, "build"):
                layer.build(tuple(x.shape[1:]))
        for name in ("training", "train_flg", "train_flag"):
            if isinstance(getattr(layer, name, None), bool):
                setattr(layer, name, mode == "training")
        for name, value in _arrays(layer):
            setattr(layer, name, value.astype(np.float64))
        trial = copy.deepcopy(layer)
        with blamed(title, "the forward pass"):
            y = xp.asarray(trial.forward(x.copy()))
        with blamed(title, "the backward pass"):
            trial.backward(xp.ones_like(y))
        self.names = [name for name, _ in _arrays(layer) if hasattr(trial, f"d{name}")]
        for name in self.names:
            setattr(layer, name, _moved(getattr(layer, name)))

    @property
    def tensors(self):
        return {name: getattr(self.layer, name) for name in self.names}

    def run(self, x):
        return self.layer.forward(x)

    def gradients(self, dy):
        dx = self.layer.backward(dy)
        return {"input": dx} | {name: getattr(self.layer, f"d{name}", None) for name in self.names}


class LossSubject(Subject):
    """A loss: forward(scores, target) gives a number, backward() the gradient of the scores."""

    def __init__(self, loss, scores, target):
        super().__init__(title_of(loss), scores)
        with blamed(self.title, "copying the loss"):
            self.loss = copy.deepcopy(loss)
        self.target = target
        if target.dtype.kind in "iu" and target.ndim == 1 and scores.ndim == 2:
            classes = xp.arange(scores.shape[1])
            self.known = {"the one-hot labels": (target[:, None] == classes).astype(np.float64)}
        else:
            self.known = {"the target": target}

    def run(self, x):
        return self.loss.forward(x, self.target.copy())

    def gradients(self, dy):
        dscores = self.loss.backward()
        return {"input": None if dscores is None else self.numbers(dscores, "backward returned") * dy}


class FunctionSubject(Subject):
    """Two functions: forward(x, *params) and backward(dy, x, *params)."""

    def __init__(self, forward, backward, x, params):
        super().__init__(getattr(forward, "__name__", type(forward).__name__), x)
        self.functions = forward, backward
        self.tensors = {name: value.copy() for name, value in params.items()}

    def run(self, x):
        return self.functions[0](x, *self.tensors.values())

    def gradients(self, dy):
        result = self.functions[1](dy, self.given, *self.tensors.values())
        dx, *gradients = result if isinstance(result, (tuple, list)) else (result,)
        if len(gradients) == 1 and isinstance(gradients[0], dict):
            gradients = [gradients[0].get(name) for name in self.tensors]
        if dx is not None and len(gradients) != len(self.tensors):
            raise UserError(f"{self.title}: backward returned {len(gradients)} gradients after dx; expected one for "
                            f"each of {', '.join(self.tensors) or 'no parameters'}")
        return {"input": dx} | dict(zip(self.tensors, gradients or [None] * len(self.tensors), strict=True))


# ------------------------------------------------------------------------------------------------------ small helpers

def title_of(thing):
    """How the report names what was checked."""
    kind = type(thing).__name__
    try:
        text = repr(thing) if isinstance(thing, Layer) else kind
    except Exception:  # a layer of one's own, whose repr may have a mistake too
        text = kind
    return text if kind in text else f"{kind}, a {text}"  # a class of one's own made from one of minidl's


def _moved(data):
    """The array, or a random one around it where all its elements are equal."""
    if data.size and bool((data == data.ravel()[0]).all()):
        data[...] += 0.3 * draw_normal(data.shape)
    return data


def _names(layer, prefix=""):
    """The full name of every parameter, in the order of layer.parameters()."""
    inner = layer.sublayers()
    if not inner:
        return [prefix + parameter.name for parameter in layer.parameters()]
    return [name for sub in inner for name in _names(sub, f"{prefix}{sub.name}.")]


def _arrays(thing):
    """(name, array) of the arrays of floats in an object."""
    return [(name, value) for name, value in vars(thing).items()
            if isinstance(value, xp.ndarray) and value.dtype.kind == "f"]


def _generators(*things):
    """The random number generators that objects keep for themselves."""
    return [value for thing in things for value in vars(thing).values() if isinstance(value, np.random.Generator)]
