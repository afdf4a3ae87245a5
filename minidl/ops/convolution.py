"""Convolution as matrix products, a few images at a time: two methods with the same functions.

    Im2col      each window becomes a row of a matrix (im2col); for every kernel and stride
    Winograd    fewer multiplications; for square kernels at stride 1 with some features (`minidl.ops.winograd`)

Their obvious twin is `minidl.textbook.conv2d_loops`.
"""

from math import prod

import numpy as np

from minidl.backend import backend_name, xp
from minidl.ops.columns import col2im, im2col
from minidl.ops.winograd import POINTS, Winograd
from minidl.parallel import workspace

FEATURES = 8       # with fewer features, in or out, the transforms of Winograd's method cost more than they save
GAIN = 1.25        # how many times fewer multiplications are worth the transforms
LARGEST = 4        # results of a tile along one side


def convolution_method(windows, C, F):
    """The method that computes a convolution of C features by F filters the fastest."""
    (KH, KW), best = windows.size, Im2col(windows)
    if KH == KW > 1 and windows.stride == (1, 1) and min(C, F) >= FEATURES and backend_name() == "numpy":
        candidates = [Winograd(windows, m) for m in range(2, LARGEST + 1) if m + KH - 1 in POINTS]
        for candidate in candidates:
            if candidate.products() * (GAIN if isinstance(best, Im2col) else 1) < best.products():
                best = candidate
    return best


class Im2col:
    """Each window of the image as one row of a matrix, times the kernels as its columns."""

    def __init__(self, windows):
        self.windows = windows

    def products(self):
        """Multiplications for one image, input feature and filter."""
        return self.windows.OH * self.windows.OW * prod(self.windows.size)

    def item_bytes(self, C, F, dtype):
        """Bytes of intermediate arrays for one image: its windows, and their gradient."""
        return 2 * self.products() * C * np.dtype(dtype).itemsize

    def transformed(self, W):
        """(KH, KW, C, F) -> (KH*KW*C, F)."""
        return W.reshape(-1, W.shape[3])

    def kernel_gradient(self, dweights):
        """(KH*KW*C, F) -> (KH, KW, C, F)."""
        return dweights.reshape(*self.windows.size, -1, dweights.shape[1])

    def correlate(self, x, weights, out):
        """out[n, oh, ow, f] = sum over kh, kw, c of x[n, oh*SH + kh, ow*SW + kw, c] * W[kh, kw, c, f], x padded.

        x: (N, H, W, C)    weights: (KH*KW*C, F)    out: (N, OH, OW, F), one block of memory
        """
        xp.matmul(im2col(self.windows, x), weights, out=out.reshape(-1, out.shape[3]))

    def gradients(self, x, dy, weights, dx):
        """The gradient of the weights (KH*KW*C, F); that of x into dx, unless that is None."""
        columns, dy = im2col(self.windows, x), dy.reshape(-1, dy.shape[3])           # (N*OH*OW, KH*KW*C) and (.., F)
        dweights = columns.T @ dy
        if dx is not None:
            columns = workspace("columns", columns.shape, dy.dtype)
            xp.matmul(dy, weights.T, out=columns)
            dx[...] = col2im(self.windows, columns, len(x))
        return dweights
