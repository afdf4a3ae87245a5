"""Pooling: many pixels of a window become one, and the gradient of that one goes back to them.

The windows, N images of H x W pixels, OH x OW places: see `minidl.ops.windows`.
"""

from functools import reduce
from math import inf, nan

from minidl.backend import xp
from minidl.backend.kernels import Kernel, on_gpu
from minidl.ops.columns import SIZES, gathered, sizes
from minidl.parallel import in_slices, workspace

MAX_POOL = Kernel("max_pool", f"raw T x, {SIZES}", "T y", """
    const ptrdiff_t *place = _ind.get(), n = place[0], c = place[3];
    bool none = true;
    T largest = 0;
    for (ptrdiff_t kh = 0; kh < KH; ++kh) {
        ptrdiff_t h = place[1] * SH + kh - top;
        if (h < 0 || h >= H) continue;
        for (ptrdiff_t kw = 0; kw < KW; ++kw) {
            ptrdiff_t w = place[2] * SW + kw - left;
            if (w < 0 || w >= W) continue;
            T pixel = x[((n * H + h) * W + w) * C + c];
            if (none || pixel > largest || pixel != pixel) largest = pixel;      // once it is NaN, it stays NaN
            none = false;
        }
    }
    y = largest;
""")


def max_pool_on_gpu(windows, x):
    N, _, _, C = x.shape
    return MAX_POOL(x, *sizes(windows, C), xp.empty((N, windows.OH, windows.OW, C), x.dtype))


@on_gpu(max_pool_on_gpu)
def max_pool(windows, x):
    """The largest pixel of every window, for each feature: (N, H, W, C) -> (N, OH, OW, C). Padding never wins."""
    return pooled(windows, x, xp.maximum, border=-inf)


MAX_POOL_GRADIENT = gathered("max_pool_gradient", "raw T dy, raw T x, raw T y", """
    const T pixel = x[((n * H + h) * W + w) * C + c];
""", """
            ptrdiff_t window = ((n * OH + oh) * OW + ow) * C + c;
            bool first = pixel == y[window];
            for (ptrdiff_t k = 0; first && k < kh * KW + kw; ++k) {              // is an equal one read before it?
                ptrdiff_t before = down - top + k / KW, beside = right - left + k % KW;
                if (before < 0 || before >= H || beside < 0 || beside >= W) continue;
                first = x[((n * H + before) * W + beside) * C + c] != pixel;
            }
            if (first) total += dy[window];
""")


def max_pool_gradient_on_gpu(windows, dy, x, y):
    dy = dy.astype(x.dtype, copy=False)
    return MAX_POOL_GRADIENT(dy, x, y, *sizes(windows, x.shape[3]), xp.empty(x.shape, x.dtype))


@on_gpu(max_pool_gradient_on_gpu)
def max_pool_gradient(windows, dy, x, y):
    """dx: each dy goes to the pixel of x that was the largest, y; to the first one in reading order if several were."""
    def shares(rows):
        d, highest = dy[rows], y[rows]
        waiting, share = xp.ones(d.shape, bool), workspace("share", d.shape, d.dtype)
        for pixel in windows.offsets(windows.pad(x[rows], nan)):      # which equals nothing: padding gets no share
            largest = pixel == highest
            largest &= waiting                                       # windows whose largest pixel is not found yet
            waiting ^= largest
            yield xp.multiply(d, largest, out=share)

    return spread(windows, dy, shares)


def average_pool(windows, x):
    """The average pixel of every window, padding included as zeros: (N, H, W, C) -> (N, OH, OW, C)."""
    y, (KH, KW) = pooled(windows, x, xp.add, border=0), windows.size
    y /= KH * KW
    return y


def average_pool_gradient(windows, dy):
    """dx: every pixel of a window gets an equal share of its dy."""
    KH, KW = windows.size

    def shares(rows):
        share = dy[rows] / (KH * KW)
        for _ in range(KH * KW):
            yield share

    return spread(windows, dy, shares)


def pooled(windows, x, operation, border):
    """One number for each window: operation, such as xp.maximum, over its rows and then over its columns.

    So a window of KH x KW pixels takes KH + KW - 2 operations, and those over the rows run along the image.
    """
    (KH, KW), (SH, SW), OH, OW = windows.size, windows.stride, windows.OH, windows.OW
    y = xp.empty((len(x), OH, OW, x.shape[3]), x.dtype)

    def pool_slice(rows):
        padded = windows.pad(x[rows], border)
        lines = reduce(operation, (padded[:, i:i + SH * OH:SH] for i in range(KH)))           # (n, OH, padded W, C)
        first, *others = (lines[:, :, j:j + SW * OW:SW] for j in range(KW))                   # (n, OH, OW, C)
        out = y[rows]
        if not others:
            out[...] = first
        for other in others:
            first = operation(first, other, out=out)

    in_slices(pool_slice, len(x), 2 * x[:1].nbytes)
    return y


def spread(windows, dy, shares):
    """The images to which shares(rows) gives, for each pixel of the window in reading order, what of dy it gets."""
    (KH, KW), (SH, SW), C = windows.size, windows.stride, dy.shape[3]
    dx = xp.empty((len(dy), windows.H, windows.W, C), dy.dtype)
    whole = windows.padded == (windows.H, windows.W)                 # no padding: the images themselves are filled
    apart = KH <= SH and KW <= SW                                    # no pixel is in two windows
    tiled = whole and (KH, KW) == (SH, SW) and windows.padded == (windows.OH * SH, windows.OW * SW)

    def spread_slice(rows):
        images = dx[rows]
        target = images if whole else workspace("padded gradient", (len(images), *windows.padded, C), dy.dtype)
        if not tiled:
            target[...] = 0
        for pixels, share in zip(windows.offsets(target), shares(rows), strict=True):
            if apart:
                pixels[...] = share
            else:
                pixels += share
        if not whole:
            images[...] = windows.crop(target)

    in_slices(spread_slice, len(dy), 2 * dx[:1].nbytes)
    return dx
