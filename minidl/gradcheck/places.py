"""Where a gradient is wrong, when no single mistake explains it: at the border, beyond the first image, ..."""

import numpy as np

from minidl.gradcheck.report import Cause


def wrong_places(e):
    """An array like the tensor, True where the gradient is wrong; None when not all elements were measured."""
    if not e.complete:
        return None
    size = np.maximum(np.maximum(abs(e.ours), abs(e.numeric)), 1e-3 * abs(e.numeric).max())
    return ((abs(e.ours - e.numeric) > 1e-6 * size + e.slopes.noise) & e.kept).reshape(e.shape)


def beyond_one_image(e):
    wrong = wrong_places(e)
    if wrong is None or e.tensor != "input" or len(wrong) < 2:
        return None
    rows = wrong.reshape(len(wrong), -1).any(axis=1)
    also = ": they are zero there" if not np.any(e.explicit[rows]) else ""
    if not rows[0] and rows[1:].all():
        return Cause("first image only", f"dx is right for the first image of the batch and wrong for all others{also}"
                                         f"; is an index 0 where each row's own belongs?")
    if rows[-1] and not rows[:-1].any():
        return Cause("part of the batch", f"dx is right for all images of the batch but the last{also}; does a loop "
                                          f"stop too early?")
    return None


def border(e):
    wrong = wrong_places(e)
    if wrong is None or wrong.ndim != 4 or wrong.all():
        return None
    image = e.tensor == "input"
    H, W = wrong.shape[1:3] if image else wrong.shape[:2]
    where = wrong.any(axis=(0, 3)) if image else wrong.any(axis=(2, 3))
    if not image and 1 in (where.any(axis=0).sum(), where.any(axis=1).sum()):
        return None  # a single row of a small kernel is no border
    for width in range(1, (min(H, W) - 1) // 2 + 1):
        if where.any() and not where[width:H - width, width:W - width].any():
            inner_rows, inner_columns = slice(width, H - width), slice(width, W - width)  # without the corners
            sides = [side for side, band in (("top", where[:width, inner_columns]),
                                             ("bottom", where[H - width:, inner_columns]),
                                             ("left", where[inner_rows, :width]),
                                             ("right", where[inner_rows, W - width:])) if band.any()] or ["corners"]
            return Cause("border", f"right in the middle and wrong within {width} of the border ({', '.join(sides)}); "
                                   f"does backward take off the same padding that forward puts on?")
    return None


def wrong_derivative(e):
    """An activation function, each of whose elements is off by a factor of its own."""
    if e.tensor != "input" or e.y.shape != e.x.shape or e.slopes.reach.max() > 1:
        return None
    slope, ours = e.numeric / e.at_chosen(e.dy), e.ours / e.at_chosen(e.dy)
    wrong = abs(slope - ours) > 1e-6 * (abs(slope) + abs(ours))
    if not wrong.any() or (~wrong & (slope != 0)).any():
        return None
    x = e.at_chosen(e.x)
    off = np.flatnonzero(wrong)
    off = off[np.argsort(x[off])]
    said = "; ".join(f"at x = {x[k]:.3g} the slope is {slope[k]:.4g}, backward uses {ours[k]:.4g}"
                     for k in sorted({off[len(off) // 4], off[3 * len(off) // 4]}))
    return Cause("wrong derivative", f"{said}. Derive the function once more, and mind whether the formula is in terms "
                                     f"of x or of y")


def some_elements(e):
    wrong = wrong_places(e)
    if wrong is None or not wrong.any() or wrong.mean() > 0.9:
        return None
    also = ""
    if not np.any(e.explicit[wrong]):
        also = ", where backward gives zero"
    elif not np.any(e.numeric.reshape(e.shape)[wrong]):
        also = ", where the output does not depend on the element at all, and backward gives it a gradient"
    for axis in range(wrong.ndim):
        others = tuple(k for k in range(wrong.ndim) if k != axis)
        indices = np.flatnonzero(wrong.any(axis=others))
        if len(indices) <= max(1, wrong.shape[axis] // 3):
            return Cause("only some elements", f"wrong only at index {', '.join(map(str, indices))} of axis {axis}, of "
                                               f"{wrong.shape[axis]}{also}; does a loop or a slice end too early?")
    return Cause("only some elements", f"wrong in {int(wrong.sum())} of {wrong.size} elements{also}, right in all "
                                       f"others; is a mask or a comparison wrong, or an overlap not added up?")


DESCRIPTIONS = (beyond_one_image, border, wrong_derivative, some_elements)
