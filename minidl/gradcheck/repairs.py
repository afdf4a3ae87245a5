"""Mistakes that explain a wrong gradient in full: undo one, and the measured gradient comes out."""

from itertools import combinations, permutations, product
from math import prod

import numpy as np

from minidl.gradcheck.report import Cause

# ------------------------------------------------------------------------------- what depends on how backward was run

def single_precision(e):
    double = e.explicit.dtype == np.float64
    if double and not np.array_equal(e.explicit, e.explicit.astype(np.float32)):
        return None
    if np.linalg.norm((e.ours - e.numeric)[e.kept]) > 1e-3 * np.linalg.norm(e.numeric[e.kept]):
        return None
    return Cause("wrong dtype", f"the gradient agrees to about seven digits and no more: it was computed or stored as "
                                f"{'float32' if double else e.explicit.dtype}, while the input is float64. Take dtypes "
                                f"from x, not fixed ones")


def stale_state(e):
    if getattr(e.fresh, "shape", None) != e.shape or not e.repaired_by(e.fresh):
        return None
    if e.earlier is not None and np.allclose(e.explicit, e.fresh + e.earlier, rtol=1e-6, atol=1e-12):
        return Cause("accumulated", "the first call is right; a second one returns its own gradient plus that of the "
                                    "first call. Assign the gradient (grad[...] = ...) instead of adding to it (+=)")
    return Cause("stale state", "the first call is right; a second one, on other numbers, is not. Something is kept "
                                "from the first forward or backward pass; is it saved anew in every forward?")


# ---------------------------------------------------------------------------------------- the whole gradient is off

def zero(e):
    if np.any(e.explicit):
        return None
    return Cause("zero", f"the gradient is zero everywhere, while the measured one goes up to "
                         f"{abs(e.numeric).max():.3g}. Is it computed at all, and assigned to the right place?")


def constant_factor(e):
    ours, numeric = e.ours[e.kept], e.numeric[e.kept]
    factor = float(ours @ numeric / (numeric @ numeric))
    if not factor or not np.isfinite(factor) or not e.agree(e.ours / factor, e.numeric):
        return None
    if np.count_nonzero(numeric) < 2 and numeric.size > 1:
        return None  # a single number is any multiple of another
    if abs(factor + 1) < 1e-4:
        return Cause("constant factor", "every element has the right size and the wrong sign (factor -1): is a minus "
                                        "sign missing, or one too many?")
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
        sizes |= {"pixels in an input image": e.x.shape[1] * e.x.shape[2],
                  "pixels in all input images": prod(e.x.shape[:3])}
        if e.y.ndim == 4 and e.x.size > e.y.size:
            sizes |= {"pixels in a window": round(e.x.size / e.y.size)}
    if len(e.shape) == 4 and e.tensor != "input":
        sizes |= {"places in the kernel": e.shape[0] * e.shape[1]}
    sizes |= {"features in the input": e.x.shape[-1], "features in the output": e.y.shape[-1] if e.y.ndim else 0,
              "elements in the input": e.x.size}
    for what, number in sizes.items():
        if number > 2 and abs(size / number - 1) < 1e-4:
            return f": there are {number} {what}; is a mean missing, or a sum taken where a mean belongs?"
        if number > 2 and abs(size * number - 1) < 1e-4:
            return f": there are {number} {what}; was the mean taken twice, or a mean where a sum belongs?"
    if abs(size - 2) < 1e-4 or abs(size - 0.5) < 1e-4:
        return ": does the derivative of a square, or a half in front of it, come in?"
    return ""


def passed_through(e):
    if e.tensor != "input" or e.dy.shape != e.shape or not np.allclose(e.explicit, e.dy, rtol=1e-9, atol=0):
        return None
    return Cause("derivative missing", "dx is dy itself: the derivative of the layer is not multiplied in")


def ignores_upstream(e):
    if not e.dy.ndim or not e.agree(e.ours, e.slopes.ones):
        return None
    return Cause("ignores dy", "this would be the gradient if dy were all ones: the upstream gradient is not "
                               "multiplied in")


def part_of_the_batch(e):
    """A parameter's gradient from only some rows of the batch: the first, the last, all but one."""
    rows = e.slopes.by_image
    N = rows.shape[1]
    if N < 2 or e.tensor == "input":
        return None
    for name, what, share in (("first image only", "the first image", rows[:, 0]),
                              ("part of the batch", "the last image", rows[:, -1]),
                              ("part of the batch", "all images but the first", rows[:, 1:].sum(axis=1)),
                              ("part of the batch", "all images but the last", rows[:, :-1].sum(axis=1))):
        for scale, also in ((1, ""), (N, f", times {N}"), (1 / N, f", divided by {N}")):
            if e.agree(e.ours, scale * share):
                return Cause(name, f"this is the gradient of {what} of the batch alone{also}; a parameter's gradient "
                                   f"is the sum over all {N}")
    return None


def summed_over_too_much(e):
    if not e.complete:
        return None
    numeric, axes = e.numeric.reshape(e.shape), range(len(e.shape))
    for count in range(1, len(e.shape) + 1):
        for some in combinations(axes, count):
            total = numeric.sum(some, keepdims=True)
            for value, what in ((total, "sum"), (total / prod(e.shape[k] for k in some), "mean")):
                if prod(e.shape[k] for k in some) > 1 and e.agree(e.ours, e.at_chosen(value)):
                    where = "all its elements" if count == len(e.shape) else f"its axes {list(some)}"
                    return Cause("summed over too much", f"every element is the {what} of the right gradient over "
                                                         f"{where}; give the sum in backward its axis=")
    return None


# -------------------------------------------------------------------------- the right numbers in the wrong places

def rearranged(e):
    """Axes swapped, flipped or shifted."""
    return _transposed(e) or _flipped(e) or _shifted(e) or _reordered(e)


def _transposed(e):
    axes = range(e.explicit.ndim)
    for order in permutations(axes) if len(axes) <= 5 else ():
        if order != tuple(axes) and tuple(e.shape[k] for k in order) == e.shape \
                and e.repaired_by(e.explicit.transpose(order)):
            swapped = [k for k in axes if order[k] != k]
            return Cause("transposed", f"the right numbers with axes {swapped} swapped; was an array transposed, or "
                                       f"reshaped where it should have been transposed?")
    return None


def _flipped(e):
    axes = range(e.explicit.ndim)
    for count in range(1, len(axes) + 1):
        for some in combinations(axes, count):
            if all(e.shape[k] > 1 for k in some) and e.repaired_by(np.flip(e.explicit, some)):
                kernel = e.tensor != "input" and len(e.shape) >= 3
                return Cause("flipped kernel" if kernel else "flipped",
                             f"the right numbers in reverse order along axes {list(some)}; is "
                             f"{'the kernel' if kernel else 'an array'} flipped that should not be, or the other way "
                             f"round?")
    return None


def _shifted(e):
    axes = range(e.explicit.ndim)
    steps = [{k: by} for k in axes for by in (1, -1, 2, -2)]
    if len(axes) == 4:  # both directions of an image, as when padding is cut off at the wrong end
        steps += [{1: down, 2: right} for down, right in product((1, -1, 2, -2), repeat=2)]
    for step in steps:
        if any(e.shape[k] <= abs(by) + 1 for k, by in step.items()):
            continue
        back = np.roll(e.explicit, [-by for by in step.values()], axis=list(step))
        inside = np.ones(e.shape, bool)  # what was rolled over the edge is not compared
        for k, by in step.items():
            inside[(slice(None),) * k + (slice(-by, None) if by > 0 else slice(None, -by),)] = False
        if e.agree(e.at_chosen(back), e.numeric, e.at_chosen(inside)):
            where = " and ".join(f"{abs(by)} place{'s' * (abs(by) > 1)} too far {'up' if by > 0 else 'down'} along "
                                 f"axis {k}" for k, by in step.items())
            return Cause("shifted", f"the right numbers, {where}; is an index off, or the padding cut off at the wrong "
                                    f"end?")
    return None


def _reordered(e):
    if not e.complete or e.numeric.size < 4 or not e.kept.all() or not e.agree(np.sort(e.ours), np.sort(e.numeric)):
        return None
    return Cause("transposed", "all the right numbers are there, in other places: was an array reshaped where it "
                               "should have been transposed, or its axes put in another order?")


# ------------------------------------------------------------------- the right formula, given the wrong quantity

def activated_value(e):
    """σ'(σ(x)) instead of σ'(x), or the output where the layer's input belongs."""
    if e.y.shape != e.x.shape or not e.dy.ndim or not e.measured_with("input", e.y):
        return None
    if e.tensor == "input":
        return Cause("activated value", "this is the derivative at y = f(x) instead of at x: f'(f(x)) in place of "
                                        "f'(x). Was a derivative written for x given the activated value?")
    return Cause("activated value", "this would be right if the layer's input were its output y: did forward save y "
                                    "where backward needs x?")


def altered_parameter(e):
    """The gradient of one tensor computed with another one transposed or flipped, such as W in dx = dy Wᵀ."""
    for name, array in e.parameters.items():
        for what, altered in _alterations(array) if array.ndim >= 2 else ():
            if altered.shape == array.shape and not np.array_equal(altered, array) and e.measured_with(name, altered):
                return Cause("transposed" if "swapped" in what else "flipped kernel",
                             f"this would be the gradient if {name} were {what}; is it turned around on its way back?")
    return None


def _alterations(array):
    """(what, array) for the ways in which a weight array may be turned around by mistake, in its own shape."""
    if array.ndim == 2:
        yield "transposed (its axes swapped)", array.T
    for axes in ((0, 1), (0,), (1,)):
        yield f"flipped along its axes {list(axes)}", np.flip(array, axes)
    for a, b in ((0, 1), (2, 3)) if array.ndim == 4 else ():
        yield f"used with axes {a} and {b} swapped", array.swapaxes(a, b)
    if array.ndim == 4:
        yield "flipped along all axes of the kernel and the input", np.flip(array, (0, 1, 2))


def altered_array(e):
    """The gradient for an x or a dy that was flipped, or had its height and width swapped, on its way in."""
    arrays = {"dy": e.dy} if e.tensor == "input" else {"dy": e.dy, "input": e.x}
    for name, array in arrays.items():
        what = "dy" if name == "dy" else "the input x"
        for axis in range(array.ndim):
            if array.shape[axis] > 1 and e.measured_with(name, np.flip(array, axis)):
                return Cause("flipped", f"this would be the gradient if {what} were reversed along its axis {axis}; is "
                                        f"an index running backward?")
        if array.ndim == 4 and array.shape[1] == array.shape[2] and e.measured_with(name, array.swapaxes(1, 2)):
            return Cause("transposed", f"this would be the gradient if height and width of {what} were swapped")
    return None


def shifted_quantity(e):
    """A known term that is one place beside its own, as with labels that are off by one."""
    difference = e.ours - e.numeric
    for name, quantity in e.known.items():
        if quantity.shape != e.shape:
            continue
        for axis, by in product(range(quantity.ndim), (1, -1)):
            moved = e.at_chosen(np.roll(quantity, by, axis) - quantity)
            c = float(difference @ moved / (moved @ moved)) if np.any(moved) else 0
            if c and e.agree(e.ours - c * moved, e.numeric):
                return Cause("shifted", f"{name} come in {'after' if by > 0 else 'before'} their place, by one along "
                                        f"axis {axis}; is an index off by one?")
    return None


# --------------------------------------------------------------------------------- one term is missing or too many

def term_of_a_known_quantity(e):
    """explicit = right + c * (a parameter, the input, dy, ... ), such as weight decay."""
    difference = e.ours - e.numeric
    candidates = {}
    if e.tensor != "input":
        candidates = {"its own value": e.values, "the sign of its own value": np.sign(e.values)}
    candidates |= e.parameters | e.known | {"the output y": e.y, "dy": e.dy, "the input x": e.x}
    candidates["one and the same number"] = np.ones(e.shape)
    for what, quantity in candidates.items():
        for shaped, also in _fitted(quantity, e.shape):
            q = e.at_chosen(shaped)
            if not np.any(q[e.kept]) or np.count_nonzero(e.kept) < 3:
                continue
            c = float(difference[e.kept] @ q[e.kept] / (q[e.kept] @ q[e.kept]))
            if not c or not e.agree(e.ours - c * q, e.numeric):
                continue
            if what.endswith("own value"):
                return Cause("extra term", f"{abs(c):.6g} times {what} is {'added' if c > 0 else 'taken off'}; is that "
                                           f"weight decay, which belongs to the penalty?")
            # a term that is missing can be seen in the right gradient, with the other sign
            right = e.numeric[e.kept]
            missing = -np.sign(c) * (right @ q[e.kept]) > 0.5 * np.linalg.norm(right) * np.linalg.norm(q[e.kept])
            ask = "is that term missing, or has it the wrong sign?" if missing else "does that term belong there?"
            return Cause("missing term" if missing else "extra term",
                         f"backward gives the right gradient {'plus' if c > 0 else 'minus'} {abs(c):.6g} times {what}"
                         f"{also}; {ask}")
    return None


def _fitted(quantity, shape):
    """The quantity in the tensor's shape, if it has it or broadcasts to it, as it is or averaged over the batch."""
    quantity = np.asarray(quantity, np.float64)
    if not quantity.ndim:
        return
    forms = [(quantity, "")]
    if quantity.ndim > 1:
        forms.append((quantity.mean(tuple(range(quantity.ndim - 1))), ", averaged over the batch"))
    for form, also in forms:
        if form.ndim <= len(shape) and all(a == b for a, b in zip(form.shape[::-1], shape[::-1], strict=False)):
            yield np.broadcast_to(form, shape), also


def mean_or_variance_term(e):
    """The two averages that normalisation takes off: over the batch for each feature, or over the features of a row."""
    if e.tensor != "input" or len(e.shape) < 2 or not e.complete or e.dy.shape != e.shape:
        return None
    numeric, difference = e.numeric.reshape(e.shape), (e.ours - e.numeric).reshape(e.shape)
    batch, features = tuple(range(len(e.shape) - 1)), (len(e.shape) - 1,)
    for axes, where in ((batch, "over the batch, one for each feature"), (features, "over the features of each row")):
        if prod(e.shape[k] for k in axes) < 4:
            continue  # a mean and a slope explain any three numbers, or nearly

        def parts(array, axes=axes):
            """An array's mean, and the part of it that is proportional to the centred input, along the axes."""
            centred = e.x - e.x.mean(axes, keepdims=True)
            slope = (array * centred).sum(axes, keepdims=True) / (centred**2).sum(axes, keepdims=True)
            return array.mean(axes, keepdims=True) + 0 * array, slope * centred

        def rest(array):
            return array - sum(parts(array))

        mean, variance = parts(difference)
        # dy comes in multiplied by gamma / std, whose sign only what is left of dy and of the gradient can tell
        sign = np.sign((rest(e.dy) * rest(numeric)).sum(axes, keepdims=True))
        for name, part, of_dy in (("mean term", mean, parts(e.dy)[0]), ("variance term", variance, parts(e.dy)[1]),
                                  ("mean and variance terms", mean + variance, sum(parts(e.dy)))):
            if np.any(part) and e.agree(e.ours - part.ravel()[e.slopes.chosen], e.numeric):
                if (sign * part * of_dy).sum() > 0:  # ours keeps what should have come off dy
                    return Cause("missing term", f"the {name} of a normalisation: what is wrong is an average {where}. "
                                                 f"Every x also moves the mean and the variance, which takes such "
                                                 f"averages off dx; is one missing, or of the wrong sign?")
                return Cause("extra term", f"the {name} of a normalisation: what is taken off too much is an average "
                                           f"{where}. Is there a sum where a mean belongs, or is it taken off in "
                                           f"evaluation mode, where mean and variance are constants?")
    return None


# ----------------------------------------------------------------------- a factor for each feature, or for each row

def varying_factor(e):
    """A factor that depends on the feature or on the row: a missing gamma, 1/std, ..."""
    if not e.complete or not e.shape:
        return None
    explicit, numeric = np.asarray(e.explicit, np.float64), e.numeric.reshape(e.shape)
    for axis, what in ((len(e.shape) - 1, "feature"), (0, "row")):
        others = tuple(k for k in range(len(e.shape)) if k != axis)
        factors = (explicit * numeric).sum(others, keepdims=True) / (numeric**2).sum(others, keepdims=True)
        flat = factors.ravel()
        mask = np.isin(np.round(flat, 3), (0, 1)).mean() > 0.5 and not np.allclose(flat, 1, atol=1e-3)
        if flat.size < 2 or mask or not e.agree(e.ours, e.at_chosen(factors * numeric)):
            continue
        if what == "feature" and (named := _named_factor(e, flat)):
            ask = "is a factor missing" if named.startswith("1 / ") else "does that come in twice, or should it divide"
            return Cause("varying factor", f"each feature is wrong by the factor {named}; {ask}?")
        if others and prod(e.shape[k] for k in others) >= 3:
            return Cause("varying factor", f"each {what} has a wrong factor of its own, from {flat.min():.6g} to "
                                           f"{flat.max():.6g}; is a scale (gamma, 1/std) missing or applied twice?")
    return None


def _named_factor(e, factors):
    """A factor for each feature in words, where it is a power of something known."""
    batch = tuple(range(e.x.ndim - 1))
    quantities = e.parameters | e.known
    if e.tensor != "input":
        quantities = quantities | {f"{e.tensor} itself": e.values}
    if e.x.shape[-1] == factors.size:
        quantities = quantities | {"the variance of x": e.x.var(batch)}
    for name, quantity in quantities.items():
        quantity = np.asarray(quantity, np.float64).ravel()
        if quantity.size != factors.size or factors.size < 2 or not np.ptp(quantity):
            continue
        for power, words in ((1, "{}"), (-1, "1 / {}"), (0.5, "the square root of {}"),
                             (-0.5, "1 / the square root of {}"), (2, "the square of {}")):
            if np.allclose(factors, quantity**power, rtol=1e-3):
                return words.format(name)
    return ""


def wrong_signs(e):
    if not e.agree(abs(e.ours), abs(e.numeric)):
        return None
    flips = int((np.sign(e.ours) != np.sign(e.numeric)).sum())
    return Cause("wrong sign", f"all sizes are right, but {flips} of {e.ours.size} elements have the wrong sign; is an "
                               f"absolute value taken, or one branch negated?")


REPAIRS = (single_precision, stale_state, zero, constant_factor, passed_through, rearranged, part_of_the_batch,
           summed_over_too_much, ignores_upstream, activated_value, term_of_a_known_quantity, shifted_quantity,
           mean_or_variance_term, varying_factor, altered_parameter, wrong_signs)
LAST_TRIES = (altered_array,)  # these take many measurements, so only where nothing else fits
