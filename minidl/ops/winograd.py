"""Winograd's convolution: the same sums with a half to a quarter of the multiplications (square kernels, stride 1).

The image is cut into overlapping tiles of n x n pixels, each of which gives m x m results; r is the height of the
kernel, n = m + r - 1. For one tile d and one kernel g (Lavin & Gray 2015, arXiv:1509.09308, equation 13):

    y = Aᵀ [ (G g Gᵀ) * (Bᵀ d B) ] A            * element by element: n² multiplications instead of m² r²

So a convolution is a transform of the image, n² matrix products over the features, one for each element of a tile,
and a transform back. All three transforms are linear, and the backward pass is the forward pass transposed:

    dU = Vᵀ dM      dV = dM Uᵀ      with U = G g Gᵀ, V = Bᵀ d B, M = V U, dM = A dy Aᵀ;   dg = Gᵀ dU G, dd = B dV Bᵀ

A transform multiplies the rows and then the columns of a tile by a small matrix. Here that is one matrix product for
all tiles at once: the tiles' rows (columns) are the outermost axis, and a tile is a view into them. NaN or
infinity in a pixel spreads over all results of its tiles.
"""

from math import ceil, prod

import numpy as np

from minidl.backend import xp
from minidl.parallel import workspace

# Polynomials are multiplied by their values at these points and at infinity (Toom 1963, Cook 1966). The points decide
# how much float32 loses: with these, in tiles of 6 x 6, 1.4 to 2.6e-6 of the largest result, about as much as PyTorch's
# convolution (1.1 to 1.8e-6) and several times what im2col does (4e-7); with 0, ±1, ±2 it would be 5 to 8e-6.
POINTS = {4: (0, 1, -1), 6: (0, 3 / 4, -3 / 4, 3 / 2, -3 / 2)}     # by the size of a tile, n

# Three pieces of memory serve all steps: each reads one of them and writes another, so more images fit the cache.
ONE, TWO, THREE = "winograd 1", "winograd 2", "winograd 3"


def transforms(m, r):
    """Aᵀ (m, n), G (n, r) and Bᵀ (n, n) for m results of a kernel of length r.

    A polynomial of degree n - 1 is known by its values at n - 1 points and its leading coefficient, its value "at
    infinity". Aᵀ and G evaluate at the points, Bᵀ interpolates (Lavin & Gray 2015, section 4; Barabasz et al. 2018,
    arXiv:1803.10986, section 3).
    """
    n = m + r - 1
    points = np.array(POINTS[n])
    AT, G, BT = np.zeros((m, n)), np.zeros((n, r)), np.zeros((n, n))
    for j, point in enumerate(points):
        others = np.delete(points, j)
        AT[:, j] = point ** np.arange(m)
        G[j] = point ** np.arange(r) / prod(point - others)
        BT[j, :n - 1] = np.poly(others)[::-1]                           # (x - a)(x - b) ..., lowest power first
    AT[-1, -1] = G[-1, -1] = 1
    BT[-1] = np.poly(points)[::-1]
    return AT, G, BT


def pixels(images):
    """The same numbers with whole pixels as items, (..., C) -> (...): NumPy copies them C numbers at a time."""
    if images.strides[-1] != images.itemsize:
        images = np.ascontiguousarray(images)
    return images.view(np.dtype((np.void, images.shape[-1] * images.itemsize)))[..., 0]


class Winograd:
    """Convolution of one size by tiles. Its twins: `minidl.ops.convolution.Im2col`, `minidl.textbook.conv2d_loops`.

    TH x TW tiles an image; T tiles in a slice of N images, ordered (tw, th, image). In a transformed array the first
    axes are the column l and the row k of the tile.
    """

    def __init__(self, windows, m):
        self.windows, self.m, self.r = windows, m, windows.size[0]
        self.n = m + self.r - 1
        self.TH, self.TW = ceil(windows.OH / m), ceil(windows.OW / m)
        self.height, self.width = self.TH * m + self.r - 1, self.TW * m + self.r - 1    # of all tiles together
        self.fits = (self.TH * m, self.TW * m) == (windows.OH, windows.OW)              # or the last ones reach beyond
        AT, G, BT = transforms(m, self.r)
        self.matrices = AT, BT, np.kron(G, G)

    def products(self):
        """Multiplications for one image, input feature and filter."""
        return self.TH * self.TW * self.n**2

    def item_bytes(self, C, F, dtype):
        """Bytes of intermediate arrays for one image: three of the size of all its tiles."""
        return 3 * self.TH * self.TW * self.n**2 * max(C, F) * np.dtype(dtype).itemsize

    def transformed(self, W):
        """U = G W Gᵀ: (KH, KW, C, F) -> (n*n, C, F)."""
        C, F = W.shape[2:]
        GG = xp.asarray(self.matrices[2], W.dtype)
        return (GG @ W.swapaxes(0, 1).reshape(-1, C * F)).reshape(-1, C, F)

    def kernel_gradient(self, dU):
        """dW = Gᵀ dU G: (n*n, C, F) -> (KH, KW, C, F)."""
        C, F = dU.shape[1:]
        GG = xp.asarray(self.matrices[2], dU.dtype)
        return (GG.T @ dU.reshape(-1, C * F)).reshape(self.r, self.r, C, F).swapaxes(0, 1)

    def correlate(self, x, U, out):
        """The convolution of x (N, H, W, C), with U = transformed(W), into out (N, OH, OW, F)."""
        n, m, F, T = self.n, self.m, U.shape[2], self.TH * self.TW * len(x)
        AT, V = xp.asarray(self.matrices[0], x.dtype), self.tiles(x)
        M = xp.matmul(V, U, out=workspace(ONE, (n * n, T, F), x.dtype))
        columns = xp.matmul(AT, M.reshape(n, n * T * F), out=workspace(TWO, (m, n * T * F), x.dtype))
        rows = xp.matmul(AT, columns.reshape(m, n, T * F), out=workspace(ONE, (m, m, T * F), x.dtype))
        whole = out if self.fits else workspace(TWO, (len(x), self.TH * m, self.TW * m, F), x.dtype)
        self.by_tile(whole)[...] = self.in_order(rows, whole)
        if not self.fits:
            out[...] = whole[:, :out.shape[1], :out.shape[2]]

    def gradients(self, x, dy, U, dx):
        """dU for a slice x (N, H, W, C) and dy (N, OH, OW, F); the gradient of x into dx, unless that is None."""
        n, m, F, T = self.n, self.m, U.shape[2], self.TH * self.TW * len(x)
        A, V = xp.asarray(self.matrices[0].T, x.dtype), self.tiles(x)
        whole = dy.astype(x.dtype, copy=False)                          # copying whole pixels converts nothing
        if not self.fits:
            whole = workspace(THREE, (len(x), self.TH * m, self.TW * m, F), x.dtype)
            whole[...] = 0
            whole[:, :dy.shape[1], :dy.shape[2]] = dy
        rows = workspace(ONE, (m, m, T * F), x.dtype)
        self.in_order(rows, whole)[...] = self.by_tile(whole)
        columns = xp.matmul(A, rows, out=workspace(THREE, (m, n, T * F), x.dtype))
        dM = xp.matmul(A, columns.reshape(m, n * T * F), out=workspace(ONE, (n, n * T * F), x.dtype))
        dM = dM.reshape(n * n, T, F)
        dU = xp.matmul(V.swapaxes(1, 2), dM)                            # (n*n, C, F)
        if dx is not None:
            self.add_tiles(xp.matmul(dM, U.swapaxes(1, 2), out=V), dx)
        return dU

    def by_tile(self, whole):
        """The pixels of (N, TH*m, TW*m, F) as (N, TH, m, TW, m)."""
        return pixels(whole).reshape(len(whole), self.TH, self.m, self.TW, self.m)

    def in_order(self, rows, whole):
        """The same pixels in the same order of axes, out of rows (m, m, T*F)."""
        N, F = len(whole), whole.shape[3]
        return pixels(rows.reshape(self.m, self.m, self.TW, self.TH, N, F)).transpose(4, 3, 1, 2, 0)

    def tiles(self, x):
        """V = Bᵀ d B for every tile d of the images: (N, H, W, C) -> (n*n, T, C)."""
        n, N, C, TH, TW = self.n, len(x), x.shape[3], self.TH, self.TW
        BT = xp.asarray(self.matrices[1], x.dtype)
        padded = workspace(ONE, (self.height, self.width, N, C), x.dtype)
        padded[...] = 0
        self.inside(padded)[...] = pixels(x)
        rows = workspace(TWO, (n, TH, self.width * N * C), x.dtype)
        lines = padded.reshape(1, self.height, self.width * N * C)
        xp.matmul(BT, self.overlapping(lines, TH)[0], out=rows.swapaxes(0, 1))
        columns = workspace(ONE, (self.width, n, TH, N * C), x.dtype)
        columns[...] = rows.reshape(n, TH, self.width, N * C).transpose(2, 0, 1, 3)
        V = workspace(TWO, (n, n, TW, TH * N * C), x.dtype)
        lines = columns.reshape(self.width, n, TH * N * C).swapaxes(0, 1)
        xp.matmul(BT, self.overlapping(lines, TW), out=V.transpose(1, 2, 0, 3))
        return V.reshape(n * n, TW * TH * N, C)

    def add_tiles(self, dV, dx):
        """dx = the sum of B dV Bᵀ over the tiles that contain a pixel: the transpose of `tiles`."""
        n, N, C, TH, TW = self.n, len(dx), dx.shape[3], self.TH, self.TW
        columns = self.add_overlapping(dV.reshape(n, n, TW, TH * N * C))[:self.width]
        rows = workspace(TWO, (n, TH, self.width, N * C), dx.dtype)
        rows[...] = columns.reshape(self.width, n, TH, N * C).transpose(1, 2, 0, 3)
        padded = self.add_overlapping(rows.reshape(n, 1, TH, self.width * N * C))[:self.height]
        pixels(dx)[...] = self.inside(padded.reshape(self.height, self.width, N, C))

    def inside(self, padded):
        """The pixels of the images in (height, width, N, C), in the images' order: (N, H, W)."""
        top, left, H, W = self.windows.top, self.windows.left, self.windows.H, self.windows.W
        return pixels(padded[top:top + H, left:left + W]).transpose(2, 0, 1)

    def overlapping(self, lines, tiles):
        """View (K, lines, L) as (K, tiles, n, L): n lines a tile, each tile m lines after the one before."""
        K, line, item = lines.strides
        shape = (len(lines), tiles, self.n, lines.shape[2])
        return xp.lib.stride_tricks.as_strided(lines, shape, (K, self.m * line, line, item))

    def add_overlapping(self, tiles):
        """Multiply by B and add up the lines that tiles share: (n, K, tiles, L) -> (at least all lines, K, L)."""
        n, m, (_, K, count, L) = self.n, self.m, tiles.shape
        B, tiles = xp.asarray(self.matrices[1].T, tiles.dtype), tiles.transpose(1, 2, 0, 3)         # (K, tiles, n, L)
        total = workspace(ONE, (count + ceil(n / m) - 1, m, K, L), tiles.dtype)
        total[count:] = 0
        for start in range(0, n, m):
            B_part, first = B[start:start + m], start // m              # these lines fall into the tile `first` ahead
            target = total[first:first + count, :len(B_part)]
            part = workspace(THREE, target.shape, tiles.dtype) if start else target
            xp.matmul(B_part, tiles, out=part.transpose(2, 0, 1, 3))    # (K, tiles, lines, L)
            if start:
                target += part
        return total.reshape(len(total) * m, K, L)
