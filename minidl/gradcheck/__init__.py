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

from minidl.backend import (
    asarray,
    draw_integers,
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
from minidl.gradcheck.diagnosis import Evidence, diagnose
from minidl.gradcheck.report import Cause, Finding, Report
from minidl.gradcheck.slopes import STEPS, measure, sample

__all__ = ["Cause", "Finding", "Report", "assert_gradients", "check_function", "check_layer", "check_loss",
           "check_model"]

TOLERANCE = 1e-6   # a right backward pass stays far below, a wrong one far above
LARGEST = 2000     # elements of one tensor that are measured; of a larger tensor a random sample


# ------------------------------------------------------------------------------------------------ what can be checked

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
    if isinstance(layer, type) or not (hasattr(layer, "forward") and hasattr(layer, "backward")):
        brackets = f". Make one: {layer.__name__}(...)" if isinstance(layer, type) else ""
        raise UserError(f"gradient check: expected a layer with forward and backward, got {layer!r}{brackets}")
    kind = _LayerSubject if isinstance(layer, Layer) else _PlainSubject

    def findings():
        inputs = _input(x)
        found = _check(partial(kind, layer, inputs, "training"), tolerance, largest)
        evaluation = partial(kind, layer, inputs, "evaluation")
        if not _same(_made(evaluation).forward(), _made(partial(kind, layer, inputs, "training")).forward()):
            found = _worse(found, _check(evaluation, tolerance, largest))
        return found

    return Report(_title(layer), _isolated(findings))


def check_model(model, x, tolerance=TOLERANCE, largest=6):
    """Check a whole network like one layer, on a random sample of each of its many tensors."""
    return check_layer(model, x, tolerance, largest)


def check_loss(loss, scores, target=None, tolerance=TOLERANCE):
    """Check the gradient of a loss with respect to the scores.

    loss: an object with `forward(scores, target)` and `backward()`    scores: an array (N, classes), or its shape
    target: labels (N,), or numbers like the scores; drawn at random where None (labels, if the loss takes them)
    """
    if isinstance(loss, type) or not (hasattr(loss, "forward") and hasattr(loss, "backward")):
        raise UserError(f"gradient check: expected a loss with forward and backward, got {loss!r}")

    def findings():
        x = _input(scores)
        goal = _drawn_target(loss, x) if target is None else asarray(target)
        return _check(partial(_LossSubject, loss, x, goal), tolerance, LARGEST)

    return Report(_title(loss), _isolated(findings))


def check_function(forward, backward, x, params=(), tolerance=TOLERANCE, largest=LARGEST):
    """Check a pair of functions that use nothing else of minidl.

        forward(x, *params) -> y            backward(dy, x, *params) -> dx, or (dx, gradient of each parameter ...)

    params: {name: array}, or a list of arrays
    """
    params = dict(params) if isinstance(params, dict) else {f"parameter {k}": p for k, p in enumerate(params)}

    def findings():
        arrays = {name: asarray(value).astype(np.float64) for name, value in params.items()}
        return _check(partial(_FunctionSubject, forward, backward, _input(x), arrays), tolerance, largest)

    return Report(getattr(forward, "__name__", "function"), _isolated(findings))


def assert_gradients(layer, x, **options):
    """For tests: raise an AssertionError whose message is the diagnosis, unless `check_layer` passes."""
    report = check_layer(layer, x, **options)
    assert report.passed, f"\n{report}"


# ----------------------------------------------------------------------- the things that are checked, in one form

class _Subject:
    """Something with a forward and a backward pass: its tensors can be moved in place, and it can be run."""

    known = {}

    def __init__(self, title, x):
        self.title, self.x = title, x.copy()
        self.draws = random_state(), np.random.get_state()

    def forward(self):
        restore_random_state(self.draws[0])  # dropout drops the same units every time
        np.random.set_state(self.draws[1])
        return xp.asarray(self.run()).copy()  # a copy, because Flatten and its like return a view of x


class _LayerSubject(_Subject):
    def __init__(self, layer, x, mode):
        super().__init__(_title(layer), x)
        self.layer = copy.deepcopy(layer).train()
        if self.layer.input_shape is None:
            self.layer.build(tuple(x.shape[1:]))
        for part in self.layer.walk():
            for name in part.statistics:
                setattr(part, name, getattr(part, name).astype(np.float64))
        for parameter in self.layer.parameters():
            parameter.data, parameter.pack = _moved(parameter.data.astype(np.float64)), None
            parameter.grad = xp.zeros_like(parameter.data)
        self.parameters = dict(zip(_names(self.layer), self.layer.parameters(), strict=True))
        self.tensors = {name: parameter.data for name, parameter in self.parameters.items()}
        self.known = self.tensors
        if mode == "evaluation":
            for _ in range(3):  # running statistics of 0 and 1 could hide a missing factor or term
                self.layer.forward(2 * x + 1)
            for part in self.layer.eval().walk():
                part.keeping = True
        self.mode = mode

    def run(self):
        return self.layer.forward(self.x)

    def backward(self, dy):
        dx = self.layer.backward(dy)
        return {"input": dx} | {name: parameter.grad for name, parameter in self.parameters.items()}


class _PlainSubject(_Subject):
    """An object that knows nothing of minidl: arrays W in it are parameters if backward leaves a dW."""

    def __init__(self, layer, x, mode):
        super().__init__(_title(layer), x)
        self.layer, self.mode = copy.deepcopy(layer), mode
        if hasattr(self.layer, "build"):
            self.layer.build(tuple(x.shape[1:]))
        flag = mode == "training"
        for name in ("training", "train_flg", "train_flag"):
            if isinstance(getattr(self.layer, name, None), bool):
                setattr(self.layer, name, flag)
        arrays = {name: value for name, value in vars(self.layer).items()
                  if isinstance(value, xp.ndarray) and value.dtype.kind == "f"}
        trial = copy.deepcopy(self.layer)
        trial.backward(xp.ones_like(xp.asarray(trial.forward(x.copy()))))
        self.tensors = {}
        for name, value in arrays.items():
            if hasattr(trial, f"d{name}"):
                self.tensors[name] = _moved(value.astype(np.float64))
                setattr(self.layer, name, self.tensors[name])
        self.known = self.tensors

    def run(self):
        return self.layer.forward(self.x)

    def backward(self, dy):
        dx = self.layer.backward(dy)
        return {"input": dx} | {name: getattr(self.layer, f"d{name}", None) for name in self.tensors}


class _LossSubject(_Subject):
    mode = "training"

    def __init__(self, loss, scores, target):
        super().__init__(_title(loss), scores)
        self.loss, self.target, self.tensors = copy.deepcopy(loss), target, {}
        if target.dtype.kind in "iu":
            classes = xp.arange(scores.shape[1])
            self.known = {"the one-hot labels": (target[:, None] == classes).astype(np.float64)}
        else:
            self.known = {"the target": target}

    def run(self):
        return self.loss.forward(self.x, self.target)

    def backward(self, dy):
        dscores = self.loss.backward()
        return {"input": dscores if dscores is None else dscores * dy}


class _FunctionSubject(_Subject):
    mode = "training"

    def __init__(self, forward, backward, x, params):
        super().__init__(getattr(forward, "__name__", "function"), x)
        self.functions = forward, backward
        self.tensors = self.known = {name: value.copy() for name, value in params.items()}

    def run(self):
        return self.functions[0](self.x, *self.tensors.values())

    def backward(self, dy):
        result = self.functions[1](dy, self.x, *self.tensors.values())
        dx, *gradients = result if isinstance(result, tuple) else (result,)
        if len(gradients) == 1 and isinstance(gradients[0], dict):
            gradients = [gradients[0].get(name) for name in self.tensors]
        if len(gradients) != len(self.tensors):
            raise UserError(f"{self.title}: backward returned {len(gradients)} gradients after dx; expected one for "
                            f"each of {', '.join(self.tensors) or 'no parameters'}")
        return {"input": dx} | dict(zip(self.tensors, gradients, strict=True))


# -------------------------------------------------------------------------------------------------- how it is checked

def _check(make, tolerance, largest):
    """One Finding per tensor of the subject that make() makes, each time a fresh one."""
    subject, fresh = _made(make), _made(make)
    y = subject.forward()
    seed(2)  # other numbers than those of the input and the parameters
    if not np.all(np.isfinite(to_cpu(y))):
        raise UserError(f"{subject.title}: the forward pass gives nan or inf for this input, so there is no slope to "
                        f"measure. Mend that first, or take another input")
    # a loss's own gradient is that of L = 1 * loss: its backward pass is given no dy
    dy = draw_normal(y.shape) if y.ndim else xp.ones((), np.float64)
    earlier = _earlier_pass(subject, dy)
    explicit, causes = _explicit(subject, dy)
    first, _ = _explicit(fresh, dy)
    y = fresh.forward()
    steady = _same(y, fresh.forward())
    steps = STEPS if largest > 100 else STEPS[2:]  # in a deep network a large step meets kinks everywhere
    findings = []
    for name, values in {"input": fresh.x, **fresh.tensors}.items():
        if not steady:
            reason = ("the forward pass gives different outputs for the same input; take random numbers from "
                      "minidl.backend, which the check can hold still")
            findings.append(Finding(name, "inconclusive", reason, mode=subject.mode, size=values.size))
            continue
        slopes = measure(fresh.forward, values, dy, sample(values.size, largest), steps)

        def slopes_with(changed, array, chosen, values=values):
            """The same slopes, measured with another array in place of one tensor."""
            target = fresh.x if changed == "input" else fresh.tensors[changed]
            before = target.copy()
            target[...] = xp.asarray(array)
            result = measure(fresh.forward, values, dy, chosen, steps)
            target[...] = before
            return result

        evidence = Evidence(tensor=name, explicit=_host(explicit[name]), shape=tuple(values.shape), slopes=slopes,
                            x=to_cpu(fresh.x), y=to_cpu(y), dy=to_cpu(dy), values=to_cpu(values),
                            known={key: to_cpu(value) for key, value in fresh.known.items() if key != name},
                            fresh=_host(first[name]), earlier=_host(earlier.get(name)), slopes_with=slopes_with)
        finding = _finding(evidence, causes.get(name, []), tolerance)
        finding.mode = subject.mode
        findings.append(finding)
    return findings


def _made(make):
    """A new subject, with the same random numbers in it every time."""
    seed(1)
    return make()


def _earlier_pass(subject, dy):
    """Run once on other numbers, and return the gradients; the subject's input is put back."""
    before = subject.x.copy()
    subject.x[...] = 0.5 * before + draw_normal(before.shape)
    subject.forward()
    gradients = subject.backward(draw_normal(dy.shape) if dy.ndim else dy.copy())
    subject.x[...] = before
    return {name: None if gradient is None else xp.asarray(gradient).copy() for name, gradient in gradients.items()}


def _explicit(subject, dy):
    """The gradients by the backward pass, and {tensor: [causes]} for what it changed and must not."""
    watched = {"input": subject.x, **subject.tensors}
    before = {name: value.copy() for name, value in watched.items()}
    causes = {}

    def put_back(which_pass, cure):
        for name, value in watched.items():
            if not _same(value, before[name]):
                kind, what = ("changed its argument", "its input x") if name == "input" else \
                    ("changed weights", f"the parameter {name}")
                cause = Cause(kind, f"the {which_pass} pass changed {what} in place; {cure}")
                causes.setdefault(name, []).append(cause)
                value[...] = before[name]

    subject.forward()
    put_back("forward", "write y = ... instead of x += ...")
    given = dy.copy()
    gradients = subject.backward(given)
    if gradients["input"] is None:
        raise UserError(f"{subject.title}: backward returned nothing; expected dx, an array of the input's shape "
                        f"{tuple(subject.x.shape)}. Is `return dx` missing?")
    gradients = {name: gradient if gradient is None else xp.asarray(gradient).copy()
                 for name, gradient in gradients.items()}
    put_back("backward", "it may only set gradients, the optimizer does the rest")
    if not _same(given, dy):
        causes.setdefault("input", []).append(Cause(
            "changed its argument", "the backward pass changed dy in place, which belongs to the layer above; write "
                                    "dx = dy * ... instead of dy *= ..."))
    return gradients, causes


def _finding(evidence, changed, tolerance):
    slopes, explicit = evidence.slopes, evidence.explicit
    kept = ~slopes.kinks
    finding = Finding(evidence.tensor, "pass", checked=int(kept.sum()), size=int(np.prod(evidence.shape)),
                      kinks=int(slopes.kinks.sum()))
    if getattr(explicit, "shape", None) != evidence.shape or not np.all(np.isfinite(explicit)):
        finding.verdict, finding.max_relative_error = "fail", float("inf")
        finding.causes = changed + diagnose(evidence)
        return finding
    if not kept.any():
        finding.verdict, finding.reason = "inconclusive", "every element measured lies on a kink; take other inputs"
        return finding
    ours = explicit.astype(np.float64).ravel()[slopes.chosen]
    doubt = 20 * slopes.noise[kept].max()  # rounding makes zeros about this large
    floor = max(1e-3 * abs(slopes.numeric[kept]).max(), doubt / tolerance)
    error = abs(ours - slopes.numeric) / np.maximum(np.maximum(abs(ours), abs(slopes.numeric)), floor)
    error[~kept] = 0
    worst = int(error.argmax())
    finding.max_relative_error = float(error[worst])
    finding.index = tuple(int(k) for k in np.unravel_index(slopes.chosen[worst], evidence.shape))
    finding.explicit, finding.numeric = float(ours[worst]), float(slopes.numeric[worst])
    finding.values = evidence.shape, slopes.chosen[kept], ours[kept], slopes.numeric[kept]
    if error[worst] > tolerance or changed or (abs(ours).max() > doubt and _single(explicit)):
        finding.verdict = "fail"
        finding.causes = changed + (diagnose(evidence) if error[worst] > tolerance or not changed else [])
    elif max(abs(slopes.numeric[kept]).max(), abs(ours[kept]).max()) <= doubt:
        finding.verdict = "inconclusive"
        finding.reason = "all its gradients are zero, so a wrong backward pass could not show"
        if len(evidence.x) == 1:
            finding.reason += "; the batch has one row, over which a normalisation leaves nothing: take two or more"
    return finding


def _single(explicit):
    """Whether a gradient holds no more than float32's digits."""
    if explicit.dtype != np.float64:
        return True
    some = explicit[explicit != 0]
    return some.size >= 4 and bool(np.array_equal(some, some.astype(np.float32)))


def _worse(first, second):
    """Of two findings for each tensor, from two modes, the worse one."""
    rank = {"pass": 0, "inconclusive": 1, "fail": 2}
    return [b if (rank[b.verdict], b.max_relative_error) > (rank[a.verdict], a.max_relative_error) else a
            for a, b in zip(first, second, strict=True)]


# ------------------------------------------------------------------------------------------------------ small helpers

def _isolated(work):
    """Run `work` in float64 from a fixed seed, and leave precision and random numbers as they were."""
    before, legacy = random_state(), np.random.get_state()
    try:
        with precision("float64"):
            seed(0)
            return work()
    finally:
        restore_random_state(before)
        np.random.set_state(legacy)


def _input(x):
    """The input as a float64 array of the backend: drawn, if x is a shape."""
    if isinstance(x, (tuple, list)) and all(isinstance(size, (int, np.integer)) for size in x):
        if not x or min(x) < 1:
            raise ShapeError(f"gradient check: the input's shape {tuple(x)} needs a batch axis and no axis of size 0; "
                             f"for a batch of 8 images of 5x6 with 3 features it is (8, 5, 6, 3)")
        return draw_normal(tuple(x))
    array = asarray(x)
    return array.astype(np.float64)


def _drawn_target(loss, scores):
    """Labels, or numbers like the scores where the loss does not take labels."""
    if scores.ndim == 2:
        labels = draw_integers(scores.shape[1], len(scores))
        try:
            copy.deepcopy(loss).forward(scores.copy(), labels)
            return labels
        except (ValueError, TypeError, IndexError):
            pass  # a regression loss: its target looks like the scores
    return draw_normal(scores.shape)


def _moved(data):
    """The array, or a random one around it where all its elements are equal."""
    if data.size and bool((data == data.ravel()[0]).all()):
        return data + 0.3 * draw_normal(data.shape)
    return data


def _names(layer, prefix=""):
    """The full name of every parameter, in the order of layer.parameters()."""
    inner = layer.sublayers()
    if not inner:
        return [prefix + parameter.name for parameter in layer.parameters()]
    return [name for sub in inner for name in _names(sub, f"{prefix}{sub.name}.")]


def _host(array):
    return array if array is None or isinstance(array, np.ndarray) else to_cpu(array)


def _same(a, b):
    return a.shape == b.shape and np.array_equal(to_cpu(a), to_cpu(b), equal_nan=True)


def _title(thing):
    return repr(thing) if isinstance(thing, Layer) else type(thing).__name__
