"""Slopes measured on the forward pass alone, one element at a time.

    slope = (4 s(h/2) - s(h)) / 3            s(h) = (y(a + h) - y(a - h)) / (2 h)

Two central differences, of step h and h/2, whose errors in h² cancel (Richardson 1911). They also betray a kink, such
as ReLU has at 0: on a smooth stretch the second difference y(a + h) - 2 y(a) + y(a - h) falls to a quarter when h is
halved, across a kink only to a half. Then a smaller step is tried; where even the smallest one meets a kink, there is
no slope to compare with, and the element is set aside.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np

from minidl.backend import to_cpu

STEPS = (2e-4, 2e-5, 2e-6, 2e-7)  # times the size of the element, where that is above 1
SMALL_STEPS = STEPS[1:]           # for deep networks, where a large step meets kinks everywhere
EPSILON = float(np.finfo(np.float64).eps)


@dataclass
class Slopes:
    """The measured gradient of L = sum of y * dy at some elements of one tensor."""

    chosen: np.ndarray    # their places in the flattened tensor, (K,)
    numeric: np.ndarray   # the slopes, (K,)
    by_image: np.ndarray  # the share of each row of the batch in them, (K, N); (K, 1) where y is a single number
    ones: np.ndarray      # what they were if dy were all ones, (K,)
    noise: np.ndarray     # how uncertain each is, (K,)
    reach: np.ndarray     # how many outputs each element moves, (K,)
    kinks: np.ndarray     # whether an element is on a kink and has no slope, (K,) bool


def sample(size, largest, gradient=None):
    """The places of all elements, or of `largest` of them drawn at random.

    gradient: the explicit gradient, if it is known. Half of the sample is then drawn where it is not zero: behind a
        ReLU or a maximum most elements have none.
    """
    if size <= largest:
        return np.arange(size)
    draw = np.random.default_rng(0)
    order = draw.permutation(size)
    if gradient is not None and gradient.size == size:
        lively = order[gradient.ravel()[order] != 0][:ceil(largest / 2)]
        order = np.concatenate([lively, order[~np.isin(order, lively)]])
    return np.sort(order[:largest])


def measure(forward, values, dy, chosen, steps=STEPS, expected=None, tolerance=0):
    """Slopes of forward() in the chosen elements of `values`, which are moved in place and put back.

    expected: slopes with which the measured ones will be compared, (K,), or None. An element whose first difference
        agrees with them within the tolerance is not measured again: half the work, where forward() is slow.
    """
    y, dy = to_cpu(forward()), to_cpu(dy)
    rows = len(dy) if dy.ndim else 1
    count = len(chosen)
    slopes = Slopes(chosen, np.zeros(count), np.zeros((count, rows)), np.zeros(count), np.zeros(count),
                    np.zeros(count, int), np.zeros(count, bool))
    rounding = _rounding(forward, values, chosen, y, dy)
    for k, place in enumerate(chosen):
        wanted = None if expected is None else (expected[k], tolerance)
        jacobian, slopes.noise[k], slopes.kinks[k] = _derivative(forward, values, int(place), y, dy, steps, rounding,
                                                                 wanted)
        slopes.by_image[k] = (jacobian * dy).reshape(rows, -1).sum(axis=1)
        slopes.numeric[k], slopes.ones[k] = slopes.by_image[k].sum(), jacobian.sum()
        slopes.reach[k] = np.count_nonzero(jacobian)
    return slopes


def _rounding(forward, values, chosen, y, dy):
    """How far rounding alone moves L: tried with a step of a few units in the last place, and at least that of y."""
    index = np.unravel_index(int(chosen[0]), values.shape)
    before = float(values[index])
    values[index] = before * (1 + 4 * EPSILON)
    moved = to_cpu(forward())
    values[index] = before
    return max(float(np.linalg.norm((moved - y) * dy)), EPSILON * float(np.linalg.norm(y * dy)))


def _derivative(forward, values, place, y, dy, steps, rounding, wanted):
    """dy/da for one element a: an array like y, the noise in its sum with dy, and whether a is on a kink."""
    index = np.unravel_index(place, values.shape)
    before = float(values[index])

    def at(value):
        values[index] = value
        result = to_cpu(forward())
        values[index] = before
        return result

    def difference(step):
        """The slope of every output, and how much its two sides differ, summed over the outputs."""
        above, below = at(before + step), at(before - step)
        return (above - below) / (2 * step), float((abs(above - 2 * y + below) * weight).sum()) / step

    weight = abs(dy)
    for relative in steps:
        h = relative * max(1.0, abs(before))
        noise = 20 * rounding / h
        wide, bend = difference(h)
        if wanted is not None:
            slope, (explicit, tolerance) = float((wide * dy).sum()), wanted
            if abs(slope - explicit) <= max(tolerance * abs(slope), noise):
                return wide, noise, False
        narrow, half_bend = difference(h / 2)
        size = float((abs(narrow) * weight).sum())
        apart = abs(float(((wide - narrow) * dy).sum()))
        smooth = half_bend <= 0.75 * bend or bend <= 1e-8 * size + noise * np.sqrt(y.size)
        if smooth and apart <= 1e-7 * size + noise:
            return (4 * narrow - wide) / 3, noise + apart, False
    return narrow, noise, True
