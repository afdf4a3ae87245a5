"""Numbers that are NaN or infinite: whether a training has some, and where the first one came from.

A look costs a few sums over the weights, and on a GPU one wait, once in LOOK_EVERY steps. Only where it finds
something, the steps since the last look are repeated, from a snapshot, with a look at what every layer returns.
"""

import contextlib
from math import isfinite

import numpy as np

from minidl.backend import xp

LOOK_EVERY = 20             # steps
LARGE_INPUT = 1e6


def all_finite(run):
    """Whether the loss of this epoch, all parameters and all statistics are finite."""
    flat = getattr(run.optimizer, "flat", None)
    weights = [flat.data] if flat is not None else [parameter.data.ravel() for parameter in run.model.parameters()]
    with np.errstate(all="ignore"):
        total = sum((xp.dot(vector, vector) for vector in weights), run.total)
        total = sum((array.sum() for array in statistics_of(run.model)), total)
        return isfinite(float(total)) or (isfinite(float(run.total)) and      # the squares alone may be too large
                                          all(map(finite, [*weights, *statistics_of(run.model)])))


def statistics_of(model):
    return [getattr(layer, name) for layer in leaves(model) for name in layer.statistics]


def leaves(model):
    """The layers that compute something themselves."""
    return [layer for layer in model.walk() if not layer.sublayers()] if hasattr(model, "walk") else []


def finite(array):
    return bool(xp.isfinite(array).all())


def kind(array):
    """ "NaN", "an infinite number": what the array, which is not finite, has."""
    return "NaN" if bool(xp.isnan(array).any()) else "an infinite number"


def largest(array):
    return float(abs(array).max())


class _BadNumber(Exception):  # noqa: N818 - it ends a search, and no user sees it
    """Where the first NaN or infinite number is, in words."""


def first_bad_number(run):
    """Where a number became NaN or infinite first, in words: repeats steps of the run until there.

    Afterwards the run is in a state of no use: restore a snapshot.
    """
    first = run.step
    with np.errstate(all="ignore"), _looking_at_layers(run.model):
        try:
            while run.step < first + LOOK_EVERY and run.place < len(run.x):
                _step(run)
        except _BadNumber as found:
            around = _circumstances(run, run.images(run.rows()))
            return f"step {run.step + 1} of {run.steps} (epoch {run.epoch + 1}): {found}. {around}."
    return (f"between step {first + 1} and {first + LOOK_EVERY} of {run.steps} a number became NaN or infinite, and "
            f"not so when these steps were repeated. Does a callback change something, or does a layer, augment or an "
            f"optimizer of your own draw random numbers or remember something by itself?")


def _step(run):
    """One step, with a look at each number that is not a layer's."""
    images, labels = run.batch()
    if not finite(images):
        raise _BadNumber(f"the model's input has {kind(images)}: augment or prepare made it")
    scores = run.model.forward(images)
    value = run.loss.forward(scores, labels)
    if not isfinite(float(value)):
        raise _BadNumber(f"the loss is {float(value)}, from scores of at most {largest(scores):.3g}")
    dscores = run.loss.backward()
    if not finite(dscores):
        raise _BadNumber(f"the gradient of the loss has {kind(dscores)}, its value is {float(value):.3g}")
    run.model.backward(dscores)
    run.optimizer.step()
    for parameter in run.model.parameters():
        if not finite(parameter.data):
            raise _BadNumber(f"optimizer.step made {kind(parameter.data)} of {parameter.name}, shape "
                         f"{parameter.data.shape}, by a gradient of at most {largest(parameter.grad):.3g}")
    run.count_step(value, scores, labels)


@contextlib.contextmanager
def _looking_at_layers(model):
    """Inside the block, a layer that returns NaN or infinite numbers raises _BadNumber."""
    own = [(vars(layer), {name: vars(layer)[name] for name in ("forward", "backward") if name in vars(layer)})
           for layer in leaves(model)]      # what somebody has hung onto a layer itself
    for layer in leaves(model):
        layer.forward, layer.backward = _forward_of(layer), _backward_of(layer)
    try:
        yield
    finally:
        for attributes, before in own:
            del attributes["forward"], attributes["backward"]
            attributes.update(before)


def _forward_of(layer):
    plain = layer.forward

    def forward(x):
        y = plain(x)
        for what, array in [("output", y), *((name, getattr(layer, name)) for name in layer.statistics)]:
            if not finite(array):
                raise _BadNumber(f"{kind(array)} appeared in forward, in the {what} of {layer.label()}, from inputs of "
                                 f"at most {largest(x):.3g}")
        return y

    return forward


def _backward_of(layer):
    plain = layer.backward

    def backward(dy):
        dx = plain(dy)
        arrays = {"dx": dx} | {f"the gradient of {parameter.name}": parameter.grad for parameter in layer.parameters()}
        for what, array in arrays.items():
            if array is not None and not finite(array):
                raise _BadNumber(f"{kind(array)} appeared in backward, in {what} of {layer.label()}, from dy of at "
                                 f"most {largest(dy):.3g}")
        return dx

    return backward


def _circumstances(run, images):
    """The learning rate, lengths of weights and gradient before that step, and the likely cure."""
    rate = getattr(run.optimizer, "lr", None)
    with np.errstate(all="ignore"):
        w = sum(float((parameter.data.astype("float64") ** 2).sum()) for parameter in run.model.parameters()) ** 0.5
        g = sum(float((parameter.grad.astype("float64") ** 2).sum()) for parameter in run.model.parameters()) ** 0.5
    text = (f"Learning rate {rate:.3g}, l" if rate is not None else "L") + \
        f"ength of all weights {w:.3g}, of the last gradient {g:.3g}. "
    if not finite(images):
        return text + "Look for a division by zero in augment and prepare"
    if largest(images) > LARGE_INPUT:
        return text + f"The largest input is {largest(images):.3g}: scale the data, or leave such rows out"
    return text + "Try a smaller learning rate"
