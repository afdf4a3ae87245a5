"""Is the backward pass right? Compare it with slopes measured on the forward pass.

The slope of a function in one direction needs no calculus: move one number a little up and a little down and look at
how far the output went. A backward pass that was derived by hand must give the same slopes, for the input and for
every parameter:

    numeric  = (L(a + h) - L(a - h)) / (2 h)            for each element a of each tensor
    explicit = what backward computed                   L = sum of y * dy, with dy drawn at random

All of it in float64, because L(a + h) and L(a - h) agree in most of their digits. dy is random rather than all ones:
with ones, the gradient of a softmax or a batch normalisation is zero whatever its backward pass does.
"""

import copy
from dataclasses import dataclass

import numpy as np

from minidl.backend import (
    asarray,
    draw_normal,
    precision,
    random_state,
    restore_random_state,
    seed,
    to_cpu,
    xp,
)
from minidl.core import Layer
from minidl.errors import ShapeError, UserError

TOLERANCE = 1e-6   # a right backward pass stays far below, a wrong one far above
STEP = 1e-5        # h, for values around 1: about the cube root of float64's 1e-16, where both error terms are small
LARGEST = 2000     # elements of one tensor that are measured; of a larger tensor a random sample


@dataclass
class Finding:
    """What the check found for one tensor: "input", or a parameter by its name."""

    tensor: str
    verdict: str                 # "pass" or "fail"
    max_relative_error: float
    index: tuple                 # of the worst element
    explicit: float              # its gradient by the backward pass
    numeric: float               # its gradient by measurement
    checked: int                 # elements measured
    size: int                    # elements in the tensor

    def __str__(self):
        where = f"{self.tensor}{list(self.index)}" if self.index else self.tensor
        sample = "" if self.checked == self.size else f" ({self.checked} of {self.size} elements)"
        return (f"{self.verdict:4}  {self.tensor:<24} max relative error {self.max_relative_error:8.1e}{sample}   "
                f"worst: {where} explicit {self.explicit:.8g}, numeric {self.numeric:.8g}")


@dataclass
class Report:
    """The findings for every tensor of one layer or model; print it to read it."""

    title: str
    findings: list

    @property
    def passed(self):
        return all(finding.verdict == "pass" for finding in self.findings)

    def __str__(self):
        verdict = "the backward pass agrees with the measured slopes" if self.passed else \
            "the backward pass is WRONG for: " + ", ".join(f.tensor for f in self.findings if f.verdict == "fail")
        return "\n".join([f"gradient check of {self.title}: {verdict}", *map(str, self.findings)])


def check_layer(layer, x, tolerance=TOLERANCE, largest=LARGEST):
    """Check the backward pass of a layer: the gradients of its input and of every parameter.

    layer: any layer; it is copied, so its parameters, statistics and mode stay as they are
    x: a batch of inputs, or its shape with the batch axis, such as (8, 5, 6, 3), to draw one at random
    tolerance: the largest relative error that passes
    largest: elements of one tensor that are measured; a random sample of so many, where a tensor has more

    The relative error of an element is the distance of its two values over the larger of them, or over a thousandth
    of the tensor's largest gradient where both are smaller than that.
    """
    if not isinstance(layer, Layer):
        raise UserError(f"check_layer: expected a layer, got {layer!r}" +
                        (". Write the brackets that make one" if isinstance(layer, type) else ""))
    before = random_state()
    try:
        with precision("float64"):
            seed(0)
            x = draw_normal(x) if isinstance(x, tuple) else asarray(x).astype(np.float64)
            layer = _double(layer, x.shape[1:])
            return _check(layer, x, tolerance, largest)
    finally:
        restore_random_state(before)


def check_model(model, x, tolerance=TOLERANCE, largest=20):
    """Check a whole network like one layer, on a random sample of each of its many tensors."""
    return check_layer(model, x, tolerance, largest)


def _double(layer, input_shape):
    """A copy of the layer in float64 and training mode, built if it was not."""
    layer = copy.deepcopy(layer).train()
    if layer.input_shape is None:
        layer.build(input_shape)
    for part in layer.walk():
        for name in part.statistics:
            setattr(part, name, getattr(part, name).astype(np.float64))
    for parameter in layer.parameters():
        parameter.data, parameter.pack = parameter.data.astype(np.float64), None
        parameter.grad = xp.full_like(parameter.data, xp.nan)  # what backward adds to, or leaves out, stays nan
    return layer


def _names(layer, prefix=""):
    """The full name of every parameter, in the order of layer.parameters()."""
    if not layer.sublayers():
        return [prefix + parameter.name for parameter in layer.parameters()]
    return [name for sub in layer.sublayers() for name in _names(sub, f"{prefix}{sub.name}.")]


def _check(layer, x, tolerance, largest):
    draws = random_state()

    def forward():
        restore_random_state(draws)  # dropout draws the same mask every time
        return layer.forward(x).copy()  # a copy, because Flatten and its like return a view of x

    x_before = x.copy()
    dy = draw_normal(forward().shape)
    dy_before, grads = dy.copy(), [parameter.grad for parameter in layer.parameters()]
    y = forward()
    dx = layer.backward(dy)
    for name, array, before in (("its input x", x, x_before), ("dy", dy, dy_before)):
        if not xp.array_equal(array, before):
            raise UserError(f"{layer!r}: forward or backward changed {name}, which belongs to another layer too. "
                            f"Work on a copy, and write a = a * b instead of a *= b")
    for parameter, grad in zip(layer.parameters(), grads, strict=True):
        if parameter.grad is not grad:
            raise UserError(f"{layer!r}: backward put a new array in place of {parameter.name}.grad, which no "
                            f"optimizer would see. Assign into it: self.{parameter.name}.grad[...] = ...")
    if not hasattr(dx, "shape") or dx.shape != x.shape:
        raise ShapeError(f"{layer!r}: backward returned {getattr(dx, 'shape', dx)!r}; expected the gradient of the "
                         f"input, of shape {x.shape}")
    tensors = {"input": (x, dx.copy())}
    for name, parameter in zip(_names(layer), layer.parameters(), strict=True):
        tensors[name] = (parameter.data, parameter.grad.copy())
    # rounding alone moves a measured slope by about this much
    noise = float(np.finfo(np.float64).eps * (abs(y) * abs(dy)).sum() / STEP)
    findings = []
    for name, (values, explicit) in tensors.items():
        chosen = _sample(values.size, largest)
        numeric = np.array([_slope(forward, values, index, dy) for index in chosen])
        findings.append(_finding(name, values.shape, chosen, to_cpu(explicit).ravel()[chosen], numeric, noise,
                                 tolerance))
    return Report(repr(layer), findings)


def _sample(size, largest):
    everything = np.arange(size)
    return everything if size <= largest else np.sort(np.random.default_rng(0).choice(everything, largest, False))


def _slope(forward, values, index, dy):
    """(L(a + h) - L(a - h)) / (2 h) for one element of `values`, which is put back afterwards."""
    place = np.unravel_index(index, values.shape)
    before = float(values[place])
    h = STEP * max(1.0, abs(before))
    values[place] = before + h
    above = forward()
    values[place] = before - h
    below = forward()
    values[place] = before
    return float(((above - below) * dy).sum()) / (2 * h)  # the difference first: it rounds least


def _finding(name, shape, chosen, explicit, numeric, noise, tolerance):
    size = np.maximum(abs(explicit), abs(numeric))
    floor = max(1e-3 * abs(numeric).max(), noise / tolerance, np.finfo(np.float64).tiny)  # all zero: no error
    error = abs(explicit - numeric) / np.maximum(size, floor)
    error[~np.isfinite(error)] = np.inf
    worst = int(error.argmax())
    return Finding(tensor=name, verdict="pass" if error[worst] <= tolerance else "fail",
                   max_relative_error=float(error[worst]),
                   index=tuple(int(k) for k in np.unravel_index(chosen[worst], shape)),
                   explicit=float(explicit[worst]), numeric=float(numeric[worst]),
                   checked=len(chosen), size=int(np.prod(shape)))
