"""How a subject is checked: run it, measure its slopes, compare, and judge each tensor."""

import warnings
from functools import partial

import numpy as np

from minidl.backend import draw_normal, precision, random_state, restore_random_state, seed, to_cpu, xp
from minidl.errors import UserError
from minidl.gradcheck.diagnosis import Evidence, diagnose
from minidl.gradcheck.report import Cause, Finding
from minidl.gradcheck.slopes import SMALL_STEPS, STEPS, measure, sample
from minidl.gradcheck.subjects import position


def isolated(work):
    """Run `work` in float64 from a fixed seed, and leave precision and random numbers as they were."""
    before, legacy = random_state(), np.random.get_state()
    try:
        with precision("float64"), np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a division by zero in the code that is checked is reported as a finding
            return work()
    finally:
        restore_random_state(before)
        np.random.set_state(legacy)


def made(make):
    """A new subject, with the same random numbers in it every time."""
    seed(1)
    np.random.seed(1)
    return make()


def findings_of(make, tolerance, largest, deep=False):
    """One Finding per tensor of the subject that make() makes, each time a fresh one.

    deep: for networks: take small steps, and measure once where the first measurement agrees
    """
    subject, fresh = made(make), made(make)
    y = fresh.forward()
    seed(2)  # other numbers than those of the input and the parameters
    if not np.all(np.isfinite(to_cpu(y))):
        raise UserError(f"{subject.title}: the forward pass gives nan or inf for this input, so there is no slope to "
                        f"measure. Mend that first, or take another input")
    # a loss's own gradient is that of L = 1 * loss: its backward pass is given no dy
    dy = draw_normal(y.shape) if y.ndim else xp.ones((), np.float64)
    earlier = _earlier_pass(subject, dy)
    explicit, causes, moved = _explicit(subject, dy)
    first, _, _ = _explicit(fresh, dy)
    unmeasurable = _unmeasurable(fresh, y, moved)
    if y.dtype != np.float64:
        causes.setdefault("input", []).append(Cause(
            "wrong dtype", f"the forward pass turns a float64 input into {y.dtype}; take dtypes from x"))
    findings = []
    for name, values in {"input": fresh.x, **fresh.tensors}.items():
        if unmeasurable:
            findings.append(Finding(name, "fail" if causes.get(name) else "inconclusive", unmeasurable,
                                    causes=causes.get(name, []), mode=subject.mode, size=values.size))
            continue
        ours = _host(explicit[name])
        slopes, slopes_with = _slopes(fresh, name, values, dy, ours, tolerance, largest, deep)
        evidence = Evidence(tensor=name, explicit=ours, shape=tuple(values.shape), slopes=slopes,
                            x=to_cpu(fresh.x), y=to_cpu(y), dy=to_cpu(dy), values=to_cpu(values),
                            parameters={key: to_cpu(a) for key, a in fresh.tensors.items() if key != name},
                            known={key: to_cpu(a) for key, a in fresh.known.items()},
                            fresh=_host(first[name]), earlier=_host(earlier.get(name)), slopes_with=slopes_with)
        finding = _judged(evidence, causes.get(name, []), tolerance)
        finding.mode = subject.mode
        findings.append(finding)
    return findings


def _slopes(fresh, name, values, dy, ours, tolerance, largest, deep):
    """The measured slopes of one tensor, and a function that measures them with other numbers in some tensor."""
    comparable = getattr(ours, "shape", None) == values.shape
    chosen = sample(values.size, largest, ours)
    steps = SMALL_STEPS if deep else STEPS
    forward = fresh.forward_after(name)
    slopes = measure(forward, values, dy, chosen, steps, ours.ravel()[chosen] if deep and comparable else None,
                     tolerance / 10)
    if comparable:
        _measure_again(slopes, ours.ravel()[chosen], partial(measure, forward, values, dy), steps, tolerance)

    def slopes_with(changed, array, chosen):
        """The same slopes, measured with another array in place of one tensor, or of dy."""
        if changed == "dy":
            return measure(fresh.forward, values, xp.asarray(array), chosen, steps)
        target = fresh.x if changed == "input" else fresh.tensors[changed]
        before = target.copy()
        target[...] = xp.asarray(array)
        result = measure(fresh.forward, values, dy, chosen, steps)
        target[...] = before
        return result

    return slopes, slopes_with


def _unmeasurable(fresh, y, moved):
    """Why the forward pass cannot be measured, or nothing."""
    if moved:
        return f"the forward pass changes {moved} in place, so every call starts from other numbers"
    if y.dtype != np.float64:
        return f"the forward pass computes in {y.dtype}, too coarse to measure slopes on"
    if not same(y, fresh.forward()):
        return ("the forward pass gives different outputs for the same input; take random numbers from minidl.backend "
                "or numpy.random, which the check can hold still")
    return ""


def _earlier_pass(subject, dy):
    """Run once on other numbers, and return the gradients; the subject's tensors are put back."""
    watched = {"input": subject.x, **subject.tensors}
    before = {name: value.copy() for name, value in watched.items()}
    subject.x[...] = 0.5 * before["input"] + draw_normal(subject.x.shape)
    hold_still, subject.hold_still = subject.hold_still, lambda: None  # another dropout mask, too
    subject.forward()
    subject.hold_still = hold_still
    gradients = subject.backward(draw_normal(dy.shape) if dy.ndim else dy.copy())
    for name, value in {"input": subject.x, **subject.tensors}.items():
        value[...] = before[name]
    return gradients


def _explicit(subject, dy):
    """The gradients by the backward pass, {tensor: [causes]} for what it did and must not, what forward moved."""
    before = {name: value.copy() for name, value in subject.tensors.items()}
    causes, moved, homes = {}, "", subject.gradient_arrays()

    def look(which_pass, cure):
        """Find the tensors that a pass has changed, and put them back."""
        nonlocal moved
        for name, value in subject.tensors.items():
            if not same(value, before[name]):
                causes.setdefault(name, []).append(Cause(
                    "changed weights", f"the {which_pass} pass changed the parameter {name} in place; {cure}"))
                value[...] = before[name]
                moved = f"the parameter {name}" if which_pass == "forward" else moved
        if not same(subject.given, subject.x):
            causes.setdefault("input", []).append(Cause(
                "changed its argument", f"the {which_pass} pass changed its input x in place, which belongs to the "
                                        f"layer below; {cure}"))
            subject.given[...] = subject.x

    subject.forward()
    look("forward", "write y = ... instead of x += ...")
    given, random_numbers = dy.copy(), position(subject.generators)
    gradients = subject.backward(given)
    look("backward", "it may only set gradients, the optimizer does the rest")
    if not same(given, dy):
        causes.setdefault("input", []).append(Cause(
            "changed its argument", "the backward pass changed dy in place, which belongs to the layer above; write "
                                    "dx = dy * ... instead of dy *= ..."))
    if random_numbers != position(subject.generators):
        causes.setdefault("input", []).append(Cause(
            "new random numbers", "the backward pass draws random numbers of its own; it has to use those that forward "
                                  "drew, so forward has to save them"))
    for name, array in subject.gradient_arrays().items():
        if array is not homes[name] and getattr(array, "shape", None) == before[name].shape:
            causes.setdefault(name, []).append(Cause(
                "gradient replaced", f"backward puts a new array in place of {name}.grad, which an optimizer does not "
                                     f"see; assign into it: self.{name.split('.')[-1]}.grad[...] = ..."))
    return gradients, causes, moved


def _judged(evidence, causes, tolerance):
    """The Finding for one tensor. causes: what backward did and must not, whatever its numbers are."""
    slopes, explicit = evidence.slopes, evidence.explicit
    kept = ~slopes.kinks
    finding = Finding(evidence.tensor, "pass", checked=int(kept.sum()), size=int(np.prod(evidence.shape)),
                      kinks=int(slopes.kinks.sum()))
    if getattr(explicit, "shape", None) != evidence.shape or not np.all(np.isfinite(explicit)):
        finding.verdict, finding.max_relative_error = "fail", float("inf")
        finding.causes = causes + diagnose(evidence)
        return finding
    if not kept.any():
        finding.verdict, finding.causes = "fail" if causes else "inconclusive", causes
        finding.reason = "every element measured is on a kink; take other inputs"
        return finding
    ours = explicit.astype(np.float64).ravel()[slopes.chosen]
    error = _relative_error(slopes, ours, tolerance)
    doubt = slopes.noise[kept].max()  # rounding makes zeros about this large
    worst = int(error.argmax())
    finding.max_relative_error = float(error[worst])
    finding.index = tuple(int(k) for k in np.unravel_index(slopes.chosen[worst], evidence.shape))
    finding.explicit, finding.numeric = float(ours[worst]), float(slopes.numeric[worst])
    finding.values = evidence.shape, slopes.chosen[kept], ours[kept], slopes.numeric[kept]
    wrong = error[worst] > tolerance
    coarse = abs(ours).max() > doubt and _single(explicit)
    if wrong or causes or coarse:
        finding.verdict = "fail"
        finding.causes = causes + (diagnose(evidence) if wrong or coarse else [])
        finding.causes.sort(key=lambda cause: cause.name == "gradient replaced")  # the least of two mistakes
    elif max(abs(slopes.numeric[kept]).max(), abs(ours[kept]).max()) <= doubt:
        finding.verdict, finding.max_relative_error = "inconclusive", 0.0  # both are zero, as far as rounding can tell
        finding.reason = "all its gradients are zero, so a wrong backward pass could not show"
        if len(evidence.x) == 1:
            finding.reason += "; the batch has one row, over which a normalisation leaves nothing: take two or more"
    return finding


def _relative_error(slopes, ours, tolerance):
    """Distance over the larger value, or over what the distance cannot be told from zero; 0 on a kink."""
    kept = ~slopes.kinks
    floor = np.maximum(1e-3 * abs(slopes.numeric[kept]).max(initial=0), slopes.noise / tolerance)
    error = abs(ours - slopes.numeric) / np.maximum(np.maximum(abs(ours), abs(slopes.numeric)), floor)
    return np.where(kept & np.isfinite(error), error, 0)


def _measure_again(slopes, ours, measured, steps, tolerance):
    """Where only a few elements disagree, a kink may hide in the curvature: measure those with smaller steps."""
    for again in (steps[1:], steps[2:]):
        few = np.flatnonzero(_relative_error(slopes, ours, tolerance) > tolerance)
        if not 0 < len(few) <= 10:
            return
        closer = measured(slopes.chosen[few], again)
        for name in ("numeric", "by_image", "ones", "noise", "reach", "kinks"):
            getattr(slopes, name)[few] = getattr(closer, name)


def _single(explicit):
    """Whether a gradient holds no more than float32's digits."""
    if explicit.dtype != np.float64:
        return True
    some = explicit[explicit != 0]
    return some.size >= 4 and bool(np.array_equal(some, some.astype(np.float32)))


def worse(first, second):
    """Of two findings for each tensor, from two modes, the worse one; the first where both fail."""
    rank = {"pass": 0, "inconclusive": 1, "fail": 2}

    def badness(finding):
        return rank[finding.verdict], finding.max_relative_error if finding.verdict == "pass" else 0

    return [b if badness(b) > badness(a) else a for a, b in zip(first, second, strict=True)]


def same(a, b):
    return a.shape == b.shape and np.array_equal(to_cpu(a), to_cpu(b), equal_nan=True)


def _host(array):
    return array if array is None or isinstance(array, np.ndarray) else to_cpu(array)
