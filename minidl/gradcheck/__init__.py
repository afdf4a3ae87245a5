"""Is the backward pass right? Compare it with slopes measured on the forward pass, and say what is wrong.

The slope of a function in one direction needs no calculus: move one number a little up and a little down and look at
how far the output went. A backward pass that was derived by hand must give the same slopes, for the input and for
every parameter:

    numeric  = dL/da measured           for each element a of each tensor           (`slopes`)
    explicit = what backward computed                   L = sum of y * dy, with dy drawn at random

All of it in float64, because two nearly equal numbers are subtracted. dy is random rather than all ones: with ones,
the gradient of a softmax or a batch normalisation is zero whatever its backward pass does. Before the backward pass
that is judged, another one runs on other numbers, so that a gradient which depends on an earlier call is caught.

    print(check_layer(Conv2D(4, 3, padding=1), (8, 5, 6, 3)))

The report names a verdict for each tensor: "pass", "fail" with the likely causes, best first (`diagnosis`), or
"inconclusive" with the reason, where the input could not have shown a mistake.
"""

import copy
from functools import partial

import numpy as np

from minidl.backend import asarray, draw_integers, draw_normal, seed
from minidl.core import Layer
from minidl.errors import ShapeError, UserError
from minidl.gradcheck.comparison import findings_of, isolated, made, same, worse
from minidl.gradcheck.report import Cause, Finding, Report
from minidl.gradcheck.subjects import FunctionSubject, LayerSubject, LossSubject, PlainSubject, title_of

__all__ = ["Cause", "Finding", "Report", "assert_gradients", "check_function", "check_layer", "check_loss",
           "check_model"]

TOLERANCE = 1e-6   # a right backward pass stays far below, a wrong one far above
LARGEST = 2000     # elements of one tensor that are measured; of a larger tensor a random sample


def check_layer(layer, x, tolerance=TOLERANCE, largest=LARGEST):
    """Check the gradients of a layer: of its input and of every parameter, in training and in evaluation mode.

    layer: a Layer, or any object with `forward(x)` and `backward(dy)`; its parameters are then the arrays `W` for which
        backward leaves a gradient `dW`. The layer is copied, so its parameters, statistics and mode stay as they are.
    x: a batch of inputs, or its shape with the batch axis, such as (8, 5, 6, 3), to draw one at random
    tolerance: the largest relative error that passes
    largest: elements of one tensor that are measured; a random sample of so many, where a tensor has more

    In the copy, parameters whose elements are all equal (a bias of 0, a gamma of 1) are moved at random: they could
    hide a missing factor or term. The relative error of an element is the distance of its two values over the larger
    of them, or over a thousandth of the tensor's largest gradient where both are smaller than that.
    """
    return _checked_layer(layer, x, tolerance, largest, deep=False)


def check_model(model, x, tolerance=TOLERANCE, largest=4):
    """Check a whole network like one layer, on a random sample of each of its many tensors."""
    return _checked_layer(model, x, tolerance, largest, deep=True)


def check_loss(loss, scores, target=None, tolerance=TOLERANCE):
    """Check the gradient of a loss with respect to the scores.

    loss: an object with `forward(scores, target)` and `backward()`    scores: an array (N, classes), or its shape
    target: labels (N,), or numbers like the scores; drawn at random where None (labels, if the loss takes them)
    """
    _require_passes(loss, "a loss")

    def findings():
        x = _input(scores)
        goal = _drawn_target(loss, x) if target is None else asarray(target)
        return findings_of(partial(LossSubject, loss, x, goal), tolerance, LARGEST)

    return Report(title_of(loss), isolated(findings))


def check_function(forward, backward, x, params=(), tolerance=TOLERANCE, largest=LARGEST):
    """Check a pair of functions that use nothing else of minidl.

        forward(x, *params) -> y            backward(dy, x, *params) -> dx, or (dx, gradient of each parameter ...)

    params: {name: array}, or a list of arrays
    """
    params = dict(params) if isinstance(params, dict) else {f"parameter {k}": p for k, p in enumerate(params)}

    def findings():
        arrays = {name: asarray(value).astype(np.float64) for name, value in params.items()}
        return findings_of(partial(FunctionSubject, forward, backward, _input(x), arrays), tolerance, largest)

    return Report(getattr(forward, "__name__", "function"), isolated(findings))


def assert_gradients(layer, x, **options):
    """For tests: raise an AssertionError whose message is the diagnosis, unless `check_layer` passes."""
    report = check_layer(layer, x, **options)
    assert report.passed, f"\n{report}"


def _checked_layer(layer, x, tolerance, largest, deep):
    _require_passes(layer, "a layer")
    kind = LayerSubject if isinstance(layer, Layer) else PlainSubject

    def findings():
        inputs = _input(x)
        training, evaluation = (partial(kind, layer, inputs, mode) for mode in ("training", "evaluation"))
        found = findings_of(training, tolerance, largest, deep)
        if not same(made(evaluation).forward(), made(training).forward()):
            found = worse(found, findings_of(evaluation, tolerance, max(1, largest // 2) if deep else largest, deep))
        return found

    return Report(title_of(layer), isolated(findings))


def _require_passes(thing, what):
    if isinstance(thing, type) or not all(callable(getattr(thing, name, None)) for name in ("forward", "backward")):
        make = f". Make one: {thing.__name__}(...)" if isinstance(thing, type) else ""
        raise UserError(f"gradient check: expected {what} with forward and backward, got {thing!r:.80}{make}")


def _input(x):
    """The input as a float64 array of the backend: drawn, if x is a shape."""
    seed(0)
    if isinstance(x, (tuple, list)) and all(isinstance(size, (int, np.integer)) for size in x):
        if not x or min(x) < 1:
            raise ShapeError(f"gradient check: the input's shape {tuple(x)} needs a batch axis and no axis of size 0; "
                             f"for a batch of 8 images of 5x6 with 3 features it is (8, 5, 6, 3)")
        return draw_normal(tuple(x))
    array = asarray(x)
    if array.dtype.kind not in "fiu" or not array.ndim or not array.size:
        raise UserError(f"gradient check: expected an array of numbers or its shape, got {x!r:.80}")
    return array.astype(np.float64)


def _drawn_target(loss, scores):
    """Labels, or numbers like the scores where the loss does not take labels."""
    if scores.ndim == 2:
        labels = draw_integers(scores.shape[1], len(scores))
        try:
            copy.deepcopy(loss).forward(scores.copy(), labels)
            return labels
        except Exception:  # a regression loss, perhaps: its target looks like the scores
            pass
    return draw_normal(scores.shape)
