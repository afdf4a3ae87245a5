"""One number per feature, on arrays (n, ..., C) whose last axis is the features, as they stand in the cache.

NumPy works along the last axis, and a few dozen features make a short run of numbers that costs more to start than to
compute. So sums are products with a vector of ones, and what is multiplied or added repeats the numbers of the
features along a whole row of the image. Each function names its obvious twin, to which it is tested equal.
"""

from minidl.backend import xp
from minidl.parallel import in_slices, workspace


def feature_sums(x):
    """x.sum over all axes but the last: (C,)."""
    places = x.reshape(-1, x.shape[-1])
    return xp.ones(len(places), x.dtype) @ places


def by_feature(operation, x, numbers, out):
    """operation(x, numbers, out=out), such as xp.multiply, with numbers (C,), one for each feature."""
    if x.ndim == 2:
        return operation(x, numbers, out=out)
    row = workspace("row", x.shape[-2:], x.dtype)
    row[...] = numbers                                                   # (W, C)
    if x.flags.c_contiguous:
        operation(x.reshape(-1, row.size), row.ravel(), out=out.reshape(-1, row.size))
    else:
        operation(x, row, out=out)
    return out


def mean_and_variance(x):
    """x.mean and x.var over all axes but the last: (C,) and (C,).

    The squares within each slice are taken around the mean of that slice; those of the slices' means come on top.
    So one pass over x does, and nothing large is subtracted from anything large.
    """
    def statistics(rows):
        part = x[rows]
        count, total = part.size // part.shape[-1], feature_sums(part)
        centred = workspace("centred", part.shape, x.dtype)
        by_feature(xp.subtract, part, total / count, out=centred)
        centred *= centred
        return count, total, feature_sums(centred)

    counts, totals, squares = zip(*in_slices(statistics, len(x), 2 * x[:1].nbytes), strict=True)
    n = sum(counts)
    mean = sum(totals) / n
    between = sum(count * (total / count - mean)**2 for count, total in zip(counts, totals, strict=True))
    return mean, (sum(squares) + between) / n
