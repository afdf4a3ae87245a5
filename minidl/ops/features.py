"""One number per feature, on arrays (N, ..., C) whose last axis is the features.

NumPy works along the last axis, and a few dozen features make a run of numbers that takes longer to start than to
compute. So a sum over places is a product with a vector of ones, and what is multiplied or added is repeated along a
whole row of the image. Each function names its obvious twin, to which it is tested equal.

On a GPU, CuPy's x.sum(axis=0) of a tall matrix would keep two of a hundred multiprocessors busy. So sums are taken in
two stages there: for each feature many threads sum up every so many-th row, then their sums are summed up.
"""

from math import prod

from minidl.backend import xp
from minidl.backend.kernels import Kernel, on_gpu
from minidl.parallel import filled_in_slices, in_slices, sum_over_slices, workspace

THREADS = 1 << 16    # that keep a GPU busy


def repeated(numbers, x):
    """One number per feature, (C,), once for each pixel of a row of x: (W, C), to be combined with x as (C,) would.

    They get the type of x: with one float64 among them, all of x would be computed in float64.
    """
    numbers = numbers.astype(x.dtype, copy=False)
    return numbers if x.ndim == 2 else xp.tile(numbers, (x.shape[-2], 1))


def centred(x, mean):
    """x - mean, in memory that is there already: for use within one slice."""
    return xp.subtract(x, mean, out=workspace("centred", x.shape, x.dtype))


def in_runs(kernel, x, *others):
    """What a kernel computes for each of some runs of rows, over all axes but the last: (runs, C) each, in float64."""
    C = x.shape[-1]
    rows = x.size // C
    runs = max(1, min(rows, THREADS // C))
    results = [xp.empty((runs, C), xp.float64) for _ in kernel.outputs.split(",")]
    kernel(x, *others, rows, C, runs, *results)
    return results


# ----------------------------------------------------------------------------------------------------------------- sums

SUMS = Kernel("sums", "raw T x, int64 rows, int64 C, int64 runs", "float64 total", """
    const ptrdiff_t *place = _ind.get(), run = place[0], c = place[1];
    T sum = 0;
    for (ptrdiff_t row = run; row < rows; row += runs) sum += x[row * C + c];
    total = sum;
""")


def feature_sums_on_gpu(x):
    (sums,) = in_runs(SUMS, x)
    return sums.sum(axis=0)


@on_gpu(feature_sums_on_gpu)
def feature_sums(x):
    """x.sum over all axes but the last: (C,), in float64.

    First over the places of each image, then over the images: so rounding errors do not grow with the batch.
    """
    C = x.shape[-1]
    images = 1 if x.ndim == 2 else len(x)
    places = x.reshape(images, prod(x.shape[:-1]) // max(images, 1), C)
    return xp.matmul(xp.ones(places.shape[1], x.dtype), places).sum(axis=0, dtype=xp.float64)


MOMENTS = Kernel("moments", "raw T x, int64 rows, int64 C, int64 runs", "float64 mean, float64 square", """
    const ptrdiff_t *place = _ind.get(), run = place[0], c = place[1];
    T sum = 0, squares = 0, pivot = run < rows ? x[run * C + c] : (T)0;      // a value of the run: little cancels
    for (ptrdiff_t row = run; row < rows; row += runs) {
        T distance = x[row * C + c] - pivot;
        sum += distance;
        squares += distance * distance;
    }
    double count = (rows - run + runs - 1) / runs, shift = count > 0 ? sum / count : 0;
    mean = pivot + shift;
    square = squares - sum * shift;                              // around the mean of the run
""")


def mean_and_variance_on_gpu(x):
    means, squares = in_runs(MOMENTS, x)
    rows, runs = x.size // x.shape[-1], len(means)
    counts = (rows - xp.arange(runs, dtype=xp.float64)[:, None] + runs - 1) // runs     # the rows of each run
    mean = (counts * means).sum(axis=0) / rows
    squares += counts * (means - mean)**2
    return mean.astype(x.dtype), (squares.sum(axis=0) / rows).astype(x.dtype)


@on_gpu(mean_and_variance_on_gpu)
def mean_and_variance(x):
    """x.mean and x.var over all axes but the last: (C,) and (C,).

    The squares within each slice are taken around the mean of that slice; those of the slices' means come on top.
    So one pass over x does, and nothing large is subtracted from anything large.
    """
    def statistics(rows):
        part = x[rows]
        count, total = part.size // part.shape[-1], feature_sums(part)
        from_mean = centred(part, repeated(total / count, x))
        from_mean *= from_mean
        return count, total, feature_sums(from_mean)

    counts, totals, squares = zip(*in_slices(statistics, len(x), 2 * x[:1].nbytes), strict=True)
    n = sum(counts)
    mean = sum(totals) / n
    between = sum(count * (total / count - mean)**2 for count, total in zip(counts, totals, strict=True))
    return mean.astype(x.dtype), ((sum(squares) + between) / n).astype(x.dtype)


GRADIENT_SUMS = Kernel("gradient_sums", "raw T dy, raw T x, raw T mean, int64 rows, int64 C, int64 runs",
                       "float64 total, float64 product", """
    const ptrdiff_t *place = _ind.get(), run = place[0], c = place[1];
    T sum = 0, products = 0, middle = mean[c];
    for (ptrdiff_t row = run; row < rows; row += runs) {
        sum += dy[row * C + c];
        products += dy[row * C + c] * (x[row * C + c] - middle);
    }
    total = sum;
    product = products;
""")


def gradient_sums_on_gpu(dy, x, mean):
    return [sums.sum(axis=0) for sums in in_runs(GRADIENT_SUMS, dy.astype(x.dtype, copy=False), x, mean)]


@on_gpu(gradient_sums_on_gpu)
def gradient_sums(dy, x, mean):
    """The sums of dy and of dy * (x - mean) over all axes but the last: (C,) and (C,), in float64."""
    mean = repeated(mean, x)

    def sums(rows):
        product = centred(x[rows], mean)
        product *= dy[rows]
        return [feature_sums(dy[rows]), feature_sums(product)]

    return sum_over_slices(sums, len(x), 3 * x[:1].nbytes)


# --------------------------------------------------------------------------------------------------- element by element

SCALED = Kernel("scaled", "T x, T scale, T shift", "T y", "y = x * scale + shift;")


@on_gpu(SCALED)
def scaled(x, scale, shift):
    """x * scale + shift, with one scale and one shift per feature: (C,)."""
    scale, shift = repeated(scale, x), repeated(shift, x)

    def scale_slice(y, x):
        xp.multiply(x, scale, out=y)
        y += shift

    return filled_in_slices(scale_slice, x)


DETRENDED = Kernel("detrended", "T dy, T x, T mean, T average, T slope, T scale", "T dx",
                   "dx = scale * (dy - average - slope * (x - mean));")


def detrended_on_gpu(dy, x, *numbers):
    return DETRENDED(*(each.astype(x.dtype, copy=False) for each in (dy, x, *numbers)))


@on_gpu(detrended_on_gpu)
def detrended(dy, x, mean, average, slope, scale):
    """scale * (dy - average - slope * (x - mean)), with one of each number per feature: (C,)."""
    level, tilt = repeated(average * scale, x), repeated(slope * scale, x)
    mean, scale = repeated(mean, x), repeated(scale, x)

    def detrend_slice(dx, dy, x):
        trend = centred(x, mean)
        trend *= tilt
        xp.multiply(dy, scale, out=dx)
        dx -= trend
        dx -= level

    return filled_in_slices(detrend_slice, dy, x)
