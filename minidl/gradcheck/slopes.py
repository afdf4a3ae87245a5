"""Slopes measured on the forward pass alone, one element at a time.

    slope = (4 s(h/2) - s(h)) / 3            s(h) = (y(a + h) - y(a - h)) / (2 h)

Two central differences, of step h and h/2, whose errors in h² cancel (Richardson 1911). They also betray a kink, such
as ReLU has at 0: on a smooth stretch the second difference y(a + h) - 2 y(a) + y(a - h) falls to a quarter when h is
halved, across a kink only to a half. Then a smaller step is tried; where even the smallest one meets a kink, there is
no slope to compare with, and the element is set aside.
"""

from dataclasses import dataclass

import numpy as np

from minidl.backend import to_cpu

STEPS = (2e-3, 2e-4, 2e-5, 2e-6, 2e-7)  # times the size of the element, where that is above 1
EPSILON = float(np.finfo(np.float64).eps)


@dataclass
class Slopes:
    """The measured gradient of L = sum of y * dy at some elements of one tensor."""

    chosen: np.ndarray    # their places in the flattened tensor, (K,)
    numeric: np.ndarray   # the slopes, (K,)
    by_image: np.ndarray  # the share of each row of the batch in them, (K, N); (K, 1) where y is a single number
    ones: np.ndarray      # what they were if dy were all ones, (K,)
    noise: np.ndarray     # how uncertain rounding makes each, (K,)
    reach: np.ndarray     # how many outputs each element moves, (K,)
    kinks: np.ndarray     # whether an element lies on a kink and has no slope, (K,) bool


def sample(size, largest):
    """The places of all elements, or of `largest` of them drawn at random."""
    everything = np.arange(size)
    return everything if size <= largest else np.sort(np.random.default_rng(0).choice(everything, largest, False))


def measure(forward, values, dy, chosen, steps=STEPS):
    """Slopes of forward() in the chosen elements of `values`, which are moved in place and put back."""
    y, dy = to_cpu(forward()), to_cpu(dy)
    rows = len(dy) if dy.ndim else 1
    count = len(chosen)
    slopes = Slopes(chosen, np.zeros(count), np.zeros((count, rows)), np.zeros(count), np.zeros(count),
                    np.zeros(count, int), np.zeros(count, bool))
    for k, place in enumerate(chosen):
        jacobian, slopes.noise[k], slopes.kinks[k] = _derivative(forward, values, int(place), y, dy, steps)
        slopes.by_image[k] = (jacobian * dy).reshape(rows, -1).sum(axis=1)
        slopes.numeric[k], slopes.ones[k] = slopes.by_image[k].sum(), jacobian.sum()
        slopes.reach[k] = np.count_nonzero(jacobian)
    return slopes


def _derivative(forward, values, place, y, dy, steps):
    """dy/da for one element a: an array like y, the noise in its sum with dy, and whether a lies on a kink."""
    index = np.unravel_index(place, values.shape)
    before = float(values[index])

    def at(value):
        values[index] = value
        result = to_cpu(forward())
        values[index] = before
        return result

    weight = abs(dy)
    for relative in steps:
        h = relative * max(1.0, abs(before))
        differences = []
        for step in (h, h / 2):
            above, below = at(before + step), at(before - step)
            bend = float((abs(above - 2 * y + below) * weight).sum()) / step
            differences.append(((above - below) / (2 * step), bend))
        (wide, bend), (narrow, half_bend) = differences
        noise = float(4 * EPSILON * (abs(y) * weight).max(initial=0)) / h * np.sqrt(y.size)
        size = float((abs(narrow) * weight).sum())
        smooth = half_bend <= 0.75 * bend or bend <= 1e-4 * size + 20 * noise
        agree = abs(float(((wide - narrow) * dy).sum())) <= 1e-5 * size + 20 * noise
        if smooth and agree:
            return (4 * narrow - wide) / 3, noise, False
    return narrow, noise, True
