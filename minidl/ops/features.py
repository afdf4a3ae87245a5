"""One number per feature, on arrays (N, ..., C) whose last axis is the features.

NumPy works along the last axis, and a few dozen features make a run of numbers that takes longer to start than to
compute. So a sum over places is a product with a vector of ones, and what is multiplied or added is repeated along a
whole row of the image. Each function names its obvious twin, to which it is tested equal.
"""

from minidl.backend import xp
from minidl.parallel import filled_in_slices, in_slices, sum_over_slices


def feature_sums(x):
    """x.sum over all axes but the last: (C,), in float64.

    First over the places of each image, then over the images: so rounding errors do not grow with the batch.
    """
    C = x.shape[-1]
    places = x.reshape(1 if x.ndim == 2 else len(x), -1, C)
    return xp.matmul(xp.ones(places.shape[1], x.dtype), places).sum(axis=0, dtype=xp.float64)


def repeated(numbers, x):
    """One number per feature, (C,), once for each pixel of a row of x: (W, C), to be combined with x as (C,) would.

    They get the type of x: with one float64 among them, all of x would be computed in float64.
    """
    numbers = numbers.astype(x.dtype, copy=False)
    return numbers if x.ndim == 2 else xp.tile(numbers, (x.shape[-2], 1))


def mean_and_variance(x):
    """x.mean and x.var over all axes but the last: (C,) and (C,).

    The squares within each slice are taken around the mean of that slice; those of the slices' means come on top.
    So one pass over x does, and nothing large is subtracted from anything large.
    """
    def statistics(rows):
        part = x[rows]
        count, total = part.size // part.shape[-1], feature_sums(part)
        centred = part - repeated(total / count, x)
        centred *= centred
        return count, total, feature_sums(centred)

    counts, totals, squares = zip(*in_slices(statistics, len(x), 2 * x[:1].nbytes), strict=True)
    n = sum(counts)
    mean = sum(totals) / n
    between = sum(count * (total / count - mean)**2 for count, total in zip(counts, totals, strict=True))
    return mean.astype(x.dtype), ((sum(squares) + between) / n).astype(x.dtype)


def scaled(x, scale, shift):
    """x * scale + shift, with one scale and one shift per feature: (C,)."""
    scale, shift = repeated(scale, x), repeated(shift, x)

    def scale_slice(y, x):
        xp.multiply(x, scale, out=y)
        y += shift

    return filled_in_slices(scale_slice, x)


def gradient_sums(dy, x, mean):
    """The sums of dy and of dy * (x - mean) over all axes but the last: (C,) and (C,), in float64."""
    mean = repeated(mean, x)

    def sums(rows):
        product = x[rows] - mean
        product *= dy[rows]
        return [feature_sums(dy[rows]), feature_sums(product)]

    return sum_over_slices(sums, len(x), 3 * x[:1].nbytes)


def detrended(dy, x, mean, average, slope, scale):
    """scale * (dy - average - slope * (x - mean)), with one of each number per feature: (C,)."""
    # the same as  dy * scale - x * tilt - level  with two passes fewer
    tilt = slope * scale
    level = repeated(average * scale - mean * tilt, x)
    scale, tilt = repeated(scale, x), repeated(tilt, x)

    def detrend_slice(dx, dy, x):
        xp.multiply(dy, scale, out=dx)
        dx -= x * tilt
        dx -= level

    return filled_in_slices(detrend_slice, dy, x)
