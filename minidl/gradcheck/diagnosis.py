"""From a wrong gradient to its likely cause, in plain words.

Every kind of mistake has a repair that would undo it: divide by the factor, take the extra term off, turn the axes
back. So each suspect below is a repair of the explicit gradient; where the repaired gradient equals the measured one,
that mistake explains the failure. Suspects stand in order: the more particular explanation before the more general.
"""

from dataclasses import dataclass, field
from itertools import combinations, permutations
from math import prod

import numpy as np

from minidl.gradcheck.report import Cause

FITS = 1e-4  # a repair explains a failure when it leaves less than this share of the gradient unexplained


@dataclass
class Evidence:
    """All that is known about one wrong gradient. Arrays are NumPy arrays in float64 unless said otherwise."""

    tensor: str                # "input" or a parameter's name
    explicit: object           # what backward computed: hopefully an array of the tensor's shape
    shape: tuple               # the tensor's shape
    slopes: object             # the measured Slopes at the chosen places
    x: np.ndarray              # the input
    y: np.ndarray              # the output
    dy: np.ndarray             # the upstream gradient
    values: np.ndarray         # the tensor's own values
    known: dict = field(default_factory=dict)    # other quantities by name: parameters, one-hot labels ...
    fresh: object = None       # the explicit gradient of a fresh copy, before any other backward pass
    earlier: object = None     # what an earlier backward pass, on other numbers, had computed
    slopes_with: object = None  # function (tensor, array, places): the slopes with another array in a tensor's place

    @property
    def numeric(self):
        return self.slopes.numeric

    def at_chosen(self, array):
        """The chosen elements of an array like the tensor."""
        return np.broadcast_to(array, self.shape).ravel()[self.slopes.chosen]

    def unexplained(self, repaired):
        """How much of the measured gradient differs from the repaired one, as a share of its length."""
        kept = ~self.slopes.kinks
        difference = (np.asarray(repaired) - self.numeric)[kept]
        length = np.linalg.norm(self.numeric[kept])
        with np.errstate(invalid="ignore", over="ignore"):
            return float(np.linalg.norm(difference) / length) if length else np.inf


def diagnose(evidence):
    """The causes that fit, best first; never empty."""
    for suspect in UNUSABLE:
        if cause := suspect(evidence):
            return [cause]
    causes = []
    for suspect in SUSPECTS:
        with np.errstate(all="ignore"):
            found = suspect(evidence)
        if found and not any(found.name == cause.name for cause in causes):
            causes.append(found)
    return causes or [Cause("unknown", "none of the mistakes that this check knows explains the numbers. Compare your "
                                       "backward pass with the formula on an input of two or three elements")]


# ------------------------------------------------------------------------- gradients that cannot be compared at all

def not_an_array(e):
    if not hasattr(e.explicit, "shape"):
        what = "nothing (None)" if e.explicit is None else f"a {type(e.explicit).__name__}"
        return Cause("no gradient", f"the backward pass gave {what} for {e.tensor}; is a return or an assignment "
                                    f"missing?")
    return None


def wrong_shape(e):
    if e.explicit.shape == e.shape:
        return None
    for order in permutations(range(e.explicit.ndim)):
        turned = e.explicit.transpose(order)
        if turned.shape == e.shape and e.unexplained(e.at_chosen(turned)) < FITS:
            return Cause("transposed", f"the gradient has shape {e.explicit.shape}, {e.tensor} has {e.shape}; with its "
                                       f"axes in the order {order} it is right. Are the two factors of the product in "
                                       f"the wrong order?")
    return Cause("wrong shape", f"the gradient has shape {e.explicit.shape}, but {e.tensor} has {e.shape}. A gradient "
                                f"has one number for each number of its tensor; is a sum over an axis missing?")


def not_finite(e):
    bad = ~np.isfinite(e.explicit)
    if not bad.any():
        return None
    first = tuple(int(k) for k in np.argwhere(bad)[0])
    return Cause("nan or inf", f"{int(bad.sum())} of {bad.size} elements are not numbers, the first at {list(first)} "
                               f"({e.explicit[first]}). Is something divided by zero, or the logarithm of zero taken?")


UNUSABLE = [not_an_array, wrong_shape, not_finite]


# ------------------------------------------------------------------------------- what depends on how backward was run

def stale_state(e):
    if getattr(e.fresh, "shape", None) != e.shape or e.unexplained(e.at_chosen(e.fresh)) > FITS:
        return None
    if e.unexplained(e.at_chosen(e.explicit)) < FITS:
        return None
    if e.earlier is not None and np.allclose(e.explicit, e.fresh + e.earlier, rtol=1e-6, atol=1e-12):
        return Cause("accumulated", "the first call is right; a second one returns its own gradient plus that of the "
                                    "first call. Assign the gradient (grad[...] = ...) instead of adding to it (+=)")
    return Cause("stale state", "the first call is right; a second one, on other numbers, is not. Something is kept "
                                "from the first forward or backward pass; is it saved anew in every forward?")


def single_precision(e):
    if e.explicit.dtype == np.float64 and not np.array_equal(e.explicit, e.explicit.astype(np.float32)):
        return None
    if e.unexplained(e.at_chosen(e.explicit)) > 1e-3 or e.explicit.dtype == bool:
        return None
    kind = "float32" if e.explicit.dtype == np.float64 else e.explicit.dtype
    return Cause("wrong dtype", f"the gradient agrees to about seven digits and no more: it was computed or stored as "
                                f"{kind}, while the input is float64. Take dtypes from x, not fixed ones")


# ---------------------------------------------------------------------------------------- the whole gradient is off

def zero(e):
    if np.any(e.explicit):
        return None
    return Cause("zero", f"the gradient is zero everywhere, while the measured one goes up to "
                         f"{abs(e.numeric).max():.3g}. Is it computed at all, and assigned to the right place?")


def constant_factor(e):
    explicit = e.at_chosen(e.explicit)
    kept = ~e.slopes.kinks
    factor = float(explicit[kept] @ e.numeric[kept] / (e.numeric[kept] @ e.numeric[kept]))
    if factor == 0 or not np.isfinite(factor) or e.unexplained(explicit / factor) > FITS:
        return None
    if abs(factor - 1) < 1e-3:  # almost right: rounding, not a factor
        return None
    if abs(factor + 1) < FITS:
        return Cause("sign", "every element has the right size and the wrong sign (factor -1)")
    size, sign = abs(factor), " and has the wrong sign" if factor < 0 else ""
    ratio = f"{size:.6g} times too large" if size > 1 else f"{1 / size:.6g} times too small"
    return Cause("constant factor", f"every element is {ratio}{sign} (factor {factor:.6g}){_meaning(e, size)}")


def _meaning(e, size):
    """What a factor may come from: one of the sizes at hand."""
    N = len(e.dy) if e.dy.ndim else len(e.x)
    sizes = {"rows in the batch": N}
    if e.y.ndim == 4:
        _, OH, OW, F = e.y.shape
        sizes |= {"places in an output image": OH * OW, "places in all output images": N * OH * OW}
    if e.x.ndim == 4:
        sizes |= {"pixels of an input image": e.x.shape[1] * e.x.shape[2],
                  "pixels of all input images": prod(e.x.shape[:3])}
    if len(e.shape) == 4 and e.tensor != "input":
        sizes |= {"places of the kernel": e.shape[0] * e.shape[1]}
    if e.x.ndim:
        sizes |= {"features of the input": e.x.shape[-1]}
    if e.y.ndim:
        sizes |= {"features of the output": e.y.shape[-1]}
    sizes |= {"elements in all": e.x.size}
    for what, number in sizes.items():
        if number > 2 and abs(size / number - 1) < FITS:
            return f": there are {number} {what}; is a mean missing, or a sum taken where a mean belongs?"
        if number > 2 and abs(size * number - 1) < FITS:
            return f": there are {number} {what}; was the mean taken twice, or a sum forgotten?"
    if abs(size - 2) < FITS or abs(size - 0.5) < FITS:
        return ": does the derivative of a square, or a half in front of it, come in?"
    return ""


def ignores_upstream(e):
    if not e.dy.ndim or e.unexplained(e.at_chosen(e.explicit)) < FITS:
        return None
    explicit, kept = e.at_chosen(e.explicit), ~e.slopes.kinks
    miss = np.linalg.norm((explicit - e.slopes.ones)[kept]) / max(np.linalg.norm(e.slopes.ones[kept]), 1e-300)
    if miss > FITS:
        return None
    return Cause("ignores dy", "this would be the gradient if dy were all ones: the upstream gradient is not "
                               "multiplied in")


def passed_through(e):
    if e.tensor != "input" or e.dy.shape != e.shape:
        return None
    explicit, dy = e.at_chosen(e.explicit), e.at_chosen(e.dy)
    factor = float(explicit @ dy / (dy @ dy))
    if factor and np.linalg.norm(explicit - factor * dy) <= FITS * np.linalg.norm(explicit):
        times = "" if abs(factor - 1) < FITS else f", times {factor:.4g}"
        return Cause("derivative missing", f"dx is dy itself{times}: the derivative of the layer is not multiplied in")
    return None


def part_of_the_batch(e):
    """Only some rows of the batch count: the first, the last, all but one."""
    N = e.slopes.by_image.shape[1]
    if N < 2:
        return None
    explicit, rows = e.at_chosen(e.explicit), e.slopes.by_image
    kept = ~e.slopes.kinks
    for what, share in (("only the first image", rows[:, 0]), ("only the last image", rows[:, -1]),
                        ("all images but the first", rows[:, 1:].sum(axis=1)),
                        ("all images but the last", rows[:, :-1].sum(axis=1))):
        size = np.linalg.norm(share[kept])
        for scale, also in ((1, ""), (N, f", times {N}"), (1 / N, f", divided by {N}")):
            if size and np.linalg.norm((explicit - scale * share)[kept]) < FITS * size:
                return Cause("part of the batch", f"this is the gradient of {what} of the batch{also}; a parameter's "
                                                  f"gradient is summed over all {N}")
    return None


def rearranged(e):
    """The right numbers in the wrong places: axes swapped, flipped or shifted."""
    wrong = e.explicit
    axes = range(wrong.ndim)
    for order in permutations(axes):
        if order != tuple(axes) and tuple(wrong.shape[k] for k in order) == e.shape \
                and e.unexplained(e.at_chosen(wrong.transpose(order))) < FITS:
            swapped = [k for k in axes if order[k] != k]
            return Cause("transposed", f"the right numbers with axes {swapped} swapped; was an array transposed, or "
                                       f"reshaped where it should have been transposed?")
    for count in range(1, wrong.ndim + 1):
        for some in combinations(axes, count):
            if all(wrong.shape[k] > 1 for k in some) and e.unexplained(e.at_chosen(np.flip(wrong, some))) < FITS:
                return Cause("flipped", f"the right numbers in reverse order along axes {list(some)}; is a kernel "
                                        f"flipped that should not be, or the other way round?")
    for k in axes:
        for by in (1, -1, 2, -2):
            if wrong.shape[k] <= abs(by) + 1:
                continue
            back = np.roll(wrong, -by, axis=k)
            inside = np.ones(e.shape, bool)  # what was rolled over the edge is not compared
            inside[(slice(None),) * k + (slice(-by, None) if by > 0 else slice(None, -by),)] = False
            inside = e.at_chosen(inside) & ~e.slopes.kinks
            size = np.linalg.norm(e.numeric[inside])
            if size and np.linalg.norm((e.at_chosen(back) - e.numeric)[inside]) < FITS * size:
                return Cause("shifted", f"the right numbers, {abs(by)} place{'s' * (abs(by) > 1)} too far "
                                        f"{'up' if by > 0 else 'down'} along axis {k}; is an index off by {abs(by)}?")
    for shape in ((e.shape[::-1],) if wrong.ndim == 2 else ()):
        if e.unexplained(e.at_chosen(wrong.reshape(shape).T)) < FITS:
            return Cause("transposed", "the right numbers, read column by column: a reshape where a transpose belongs")
    return None


def activated_value(e):
    """σ'(σ(x)) instead of σ'(x): the derivative taken of the output."""
    if e.tensor != "input" or e.y.shape != e.x.shape or e.slopes.reach.max() > 1:
        return None
    elsewhere = e.slopes_with("input", e.y, e.slopes.chosen)
    kept = ~elsewhere.kinks & ~e.slopes.kinks
    size = np.linalg.norm(elsewhere.numeric[kept])
    if size and np.linalg.norm((e.at_chosen(e.explicit) - elsewhere.numeric)[kept]) < FITS * size:
        return Cause("activated value", "this is the derivative at y = f(x) instead of at x: f'(f(x)) in place of "
                                        "f'(x). Was a derivative written for x given the activated value?")
    return None


def wrong_derivative(e):
    """An activation function, each of whose elements is off by a factor of its own."""
    if e.tensor != "input" or e.y.shape != e.x.shape or e.slopes.reach.max() > 1:
        return None
    slope, ours = e.numeric / e.at_chosen(e.dy), e.at_chosen(e.explicit) / e.at_chosen(e.dy)
    wrong = abs(slope - ours) > 1e-6 * (abs(slope) + abs(ours))
    if not wrong.any() or (~wrong & (slope != 0)).any():
        return None
    examples = [int(k) for k in np.argsort(e.at_chosen(e.x))[[len(slope) // 4, 3 * len(slope) // 4]]]
    said = "; ".join(f"at x = {e.at_chosen(e.x)[k]:.3g} the slope is {slope[k]:.4g}, backward uses {ours[k]:.4g}"
                     for k in examples)
    return Cause("wrong derivative", f"{said}. Derive the function once more, and mind whether the formula is in terms "
                                     f"of x or of y")


def altered_parameter(e):
    """The gradient of one tensor computed with another one transposed or flipped, such as W in dx = dy Wᵀ."""
    places = e.slopes.chosen[:: max(1, len(e.slopes.chosen) // 12)]
    ours = np.asarray(e.explicit, np.float64).ravel()[places]
    for name, array in e.known.items():
        array = np.asarray(array)
        if name == e.tensor or array.ndim < 2 or array.dtype.kind != "f":
            continue
        for what, altered in _alterations(array):
            if altered.shape != array.shape or np.array_equal(altered, array):
                continue
            with_it = e.slopes_with(name, altered, places)
            size = np.linalg.norm(with_it.numeric[~with_it.kinks])
            if size and np.linalg.norm((ours - with_it.numeric)[~with_it.kinks]) < FITS * size:
                return Cause("transposed" if "swapped" in what else "flipped kernel",
                             f"this would be the gradient if {name} were {what}; is it turned around on its way back?")
    return None


def _alterations(array):
    """(what, array) for the ways in which a weight array may be turned around by mistake, in its own shape."""
    if array.ndim == 2:
        yield "transposed (its axes swapped)", array.T
    spatial = array.ndim - 2 if array.ndim > 2 else 0
    for axes in [(0, 1), (0,), (1,)] if spatial else [(0,), (1,), (0, 1)]:
        yield f"flipped along its axes {list(axes)}", np.flip(array, axes)
    for a, b in ((0, 1), (2, 3)) if array.ndim == 4 else ():
        yield f"used with axes {a} and {b} swapped", array.swapaxes(a, b)
    if array.ndim == 4:
        yield "flipped along all axes of the kernel and the input", np.flip(array, (0, 1, 2))


# --------------------------------------------------------------------------------- one term is missing or too many

def _difference(e):
    return e.at_chosen(e.explicit) - e.numeric


def term_of_a_known_quantity(e):
    """explicit = right + c * (a parameter, the input, dy, ... ), such as weight decay."""
    difference, kept = _difference(e), ~e.slopes.kinks
    size = np.linalg.norm(difference[kept])
    candidates = {}
    if e.tensor != "input":
        candidates = {"its own value": e.values, "the sign of its own value": np.sign(e.values)}
    candidates |= e.known | {"the output y": e.y, "dy": e.dy, "the input x": e.x}
    for what, quantity in candidates.items():
        for shaped, also in _fitted(quantity, e.shape):
            q = e.at_chosen(shaped)
            if not np.any(q[kept]) or (q.size > 1 and not np.ptp(q[kept]) and q.size > 3):
                continue
            c = float(difference[kept] @ q[kept] / (q[kept] @ q[kept]))
            if c and np.linalg.norm((difference - c * q)[kept]) < 1e-3 * size:
                decay = "; is that weight decay, which belongs to the penalty?" if what.endswith("own value") else ""
                return Cause("extra term" if c > 0 else "missing term",
                             f"{abs(c):.6g} times {what}{also} is {'too much' if c > 0 else 'missing'}{decay}")
    return None


def _fitted(quantity, shape):
    """The quantity in the tensor's shape, if it has it or broadcasts to it, as it is or averaged over the batch."""
    quantity = np.asarray(quantity, np.float64)
    if not quantity.ndim:
        return
    forms = [(quantity, "")]
    if quantity.ndim > 1:
        axes = tuple(range(quantity.ndim - 1))
        forms.append((quantity.mean(axes), ", averaged over the batch"))
    for form, also in forms:
        if form.ndim <= len(shape) and all(a == b for a, b in zip(form.shape[::-1], shape[::-1], strict=False)):
            yield np.broadcast_to(form, shape), also


def mean_or_variance_term(e):
    """The two averages that normalisation takes off: over the batch for each feature, or over the features of a row."""
    if e.tensor != "input" or len(e.shape) < 2 or len(e.slopes.chosen) < prod(e.shape):
        return None
    difference = _difference(e).reshape(e.shape)
    length = np.linalg.norm(difference)
    batch, features = tuple(range(len(e.shape) - 1)), (len(e.shape) - 1,)
    for axes, where in ((batch, "over the batch, one for each feature"), (features, "over the features of each row")):
        if prod(e.shape[k] for k in axes) < 3:
            continue
        centred = e.x - e.x.mean(axes, keepdims=True)
        constant = difference.mean(axes, keepdims=True)
        slope = (difference * centred).sum(axes, keepdims=True) / (centred**2).sum(axes, keepdims=True)
        for name, part in (("mean term", constant), ("variance term", slope * centred),
                           ("mean and variance terms", constant + slope * centred)):
            if np.linalg.norm(difference - part) < 1e-3 * length:
                return Cause("missing term", f"the {name}: what is wrong is an average {where}. Every x also moves "
                                             f"the mean and the variance, which takes such averages off dx")
    return None


# --------------------------------------------------------------------------------------- only some elements are off

def wrong_places(e, tolerance=1e-5):
    """An array like the tensor, True where the gradient is wrong; None when not all elements were measured."""
    if len(e.slopes.chosen) < prod(e.shape):
        return None
    wrong = abs(_difference(e)) > tolerance * abs(e.numeric).max()
    return (wrong & ~e.slopes.kinks).reshape(e.shape)


def border(e):
    wrong = wrong_places(e)
    if wrong is None or wrong.ndim != 4 or wrong.all():
        return None
    H, W = wrong.shape[1:3] if e.tensor == "input" else wrong.shape[:2]
    where = wrong.any(axis=(0, 3)) if e.tensor == "input" else wrong.any(axis=(2, 3))
    for width in range(1, (min(H, W) - 1) // 2 + 1):
        if where.any() and not where[width:H - width, width:W - width].any():
            sides = [side for side, some in (("top", where[:width]), ("bottom", where[H - width:]),
                                             ("left", where[:, :width]), ("right", where[:, W - width:])) if some.any()]
            return Cause("border", f"right in the middle and wrong within {width} of the border ({', '.join(sides)}); "
                                   f"does backward take off the same padding that forward puts on?")
    return None


def first_image_right(e):
    wrong = wrong_places(e)
    if wrong is None or e.tensor != "input" or len(wrong) < 2:
        return None
    rows = wrong.reshape(len(wrong), -1).any(axis=1)
    if not rows[0] and rows[1:].all():
        return Cause("only the first image right", "dx is right for the first row of the batch and wrong for all "
                                                   "others; is an index 0 where the row's own belongs?")
    if rows[-1] and not rows[:-1].any():
        return Cause("last image wrong", "dx is right for all rows of the batch but the last; does a loop stop too "
                                         "early?")
    return None


def one_sign(e):
    explicit = e.at_chosen(e.explicit)
    if e.unexplained(np.abs(explicit) * np.sign(e.numeric)) < FITS:
        flips = int((np.sign(explicit) != np.sign(e.numeric)).sum())
        if not flips:
            return None
        return Cause("sign", f"all sizes are right, but {flips} of {explicit.size} elements have the wrong sign; is an "
                             f"absolute value taken, or one branch negated?")
    return None


def localized(e):
    """Wrong along one index of one axis only, or zero where it should not be."""
    wrong = wrong_places(e)
    if wrong is None or wrong.all() or not wrong.any():
        return None
    explicit = np.asarray(e.explicit)
    zeros = not np.any(explicit[wrong])
    also = " (zero there)" if zeros else ""
    for axis in range(wrong.ndim):
        others = tuple(k for k in range(wrong.ndim) if k != axis)
        indices = np.flatnonzero(wrong.any(axis=others))
        if 0 < len(indices) <= max(1, wrong.shape[axis] // 3):
            return Cause("only some elements", f"wrong only at index {', '.join(map(str, indices))} of axis {axis}, "
                                               f"of {wrong.shape[axis]}{also}; does a loop or a slice end too early?")
    if wrong.mean() > 0.9:
        return None
    return Cause("only some elements", f"wrong in {int(wrong.sum())} of {wrong.size} elements{also}, right in all "
                                       f"others; is a mask or a comparison wrong, or an overlap not added up?")


def varying_factor(e):
    """A factor that depends on the feature or on the row: a missing gamma, 1/std, ..."""
    if len(e.slopes.chosen) < prod(e.shape) or len(e.shape) < 1:
        return None
    explicit, numeric = np.asarray(e.explicit, np.float64), e.numeric.reshape(e.shape)
    for axis, what in ((len(e.shape) - 1, "feature"), (0, "row")):
        others = tuple(k for k in range(len(e.shape)) if k != axis)
        if not others or prod(e.shape[k] for k in others) < 3:
            continue
        factors = (explicit * numeric).sum(others, keepdims=True) / (numeric**2).sum(others, keepdims=True)
        flat = factors.ravel()
        if np.ptp(flat) > 1e-3 * abs(flat).max() and \
                np.linalg.norm(explicit - factors * numeric) < FITS * np.linalg.norm(explicit):
            for name, quantity in e.known.items():
                quantity = np.asarray(quantity, np.float64).ravel()
                if quantity.size == flat.size and np.any(np.ptp(quantity)):
                    for power, words in ((1, "multiplied by"), (-1, "divided by")):
                        if np.allclose(flat, quantity**power, rtol=1e-3):
                            cure = "once too often" if power == 1 else "; the factor is missing or turned over"
                            return Cause("varying factor", f"each {what} is {words} {name} {cure}")
            return Cause("varying factor", f"each {what} has a wrong factor of its own, from {flat.min():.4g} to "
                                           f"{flat.max():.4g}; is a scale (gamma, 1/std) missing or applied twice?")
    return None


SUSPECTS = [single_precision, stale_state, zero, passed_through, activated_value, constant_factor, rearranged,
            part_of_the_batch, ignores_upstream, first_image_right, border, term_of_a_known_quantity,
            mean_or_variance_term, varying_factor, altered_parameter, one_sign, wrong_derivative, localized]
