"""Convolution as matrix products, a few images at a time. Its obvious twin: `minidl.ops.windows.conv2d_loops`.

Three ways to gather the windows of an image into a matrix, all tested equal:

    1x1, stride 1      the image is the matrix already
    stride 1           `Windows.rows2col`: windows along the rows alone, then one product for each row of the kernel
    otherwise          `Windows.im2col`: the whole windows, then one product

The gradient of the input is a convolution again, of dy with the kernel flipped, as long as that does not waste too
much on a border of zeros; otherwise a product, whose windows are added back to the image (`Windows.col2im`).
"""

from minidl.backend import xp
from minidl.parallel import workspace

NARROW = 32   # below so many numbers in a row of a window, KH thin products are slower than one thick one
WASTE = 1.6   # largest ratio of products, image over places, for which the flipped convolution is the faster way back


def correlate(windows, x, W, out):
    """out[n, oh, ow, f] = sum over kh, kw, c of x[n, oh*SH + kh, ow*SW + kw, c] * W[kh, kw, c, f], x padded.

    x: (N, H, W, C)    W: (KH, KW, C, F)    out: (N, OH, OW, F), one block of memory
    """
    KH, KW, C, F = W.shape
    if not by_rows(windows, C):
        xp.matmul(windows.im2col(x), W.reshape(-1, F), out=out.reshape(-1, F))
        return
    N, OH, OW = out.shape[:3]
    rows = windows.rows2col(x)                                           # (H + padding, N, OW, KW*C)
    total = out.reshape(-1, F) if N == 1 else workspace("sum of rows", (OH * N * OW, F), x.dtype)
    part = workspace("one row", (OH * N * OW, F), x.dtype)
    for kh in range(KH):
        xp.matmul(rows[kh:kh + OH].reshape(-1, KW * C), W[kh].reshape(-1, F), out=part if kh else total)
        if kh:
            total += part
    if N > 1:
        out[...] = total.reshape(OH, N, OW, F).swapaxes(0, 1)


def weight_gradient(windows, x, dy, W):
    """dW[kh, kw, c, f] = sum over n, oh, ow of x[n, oh*SH + kh, ow*SW + kw, c] * dy[n, oh, ow, f], x padded."""
    KH, KW, C, F = W.shape
    if not by_rows(windows, C):
        return (windows.im2col(x).T @ dy.reshape(-1, F)).reshape(W.shape)
    N, OH, OW = dy.shape[:3]
    rows = windows.rows2col(x)                                           # (H + padding, N, OW, KW*C)
    d = dy
    if N > 1:
        d = workspace("dy by rows", (OH, N, OW, F), dy.dtype)
        d[...] = dy.swapaxes(0, 1)
    dW = xp.empty((KH, KW * C, F), W.dtype)
    for kh in range(KH):
        xp.matmul(rows[kh:kh + OH].reshape(-1, KW * C).T, d.reshape(-1, F), out=dW[kh])
    return dW.reshape(W.shape)


def input_gradient(windows, dy, W, out):
    """out[n, h, w, c] = sum of dy[n, oh, ow, f] * W[kh, kw, c, f] over all windows in which the pixel stands."""
    KH, KW, C, F = W.shape
    if flipped_is_faster(windows):
        # a pixel meets dy in reverse order: the last kernel row in the first window that holds it, and so on
        correlate(windows.turned(), dy, W[::-1, ::-1].swapaxes(2, 3).copy(), out)
        return
    columns = workspace("im2col", (len(dy) * windows.OH * windows.OW, KH * KW * C), dy.dtype)
    xp.matmul(dy.reshape(-1, F), W.reshape(-1, F).T, out=columns)        # (N*OH*OW, KH*KW*C)
    out[...] = windows.col2im(columns, len(dy))


def by_rows(windows, C):
    """Whether rows2col is the better way to gather these windows."""
    KH, KW = windows.size
    return windows.stride == (1, 1) and KH > 1 and KW * C >= NARROW


def flipped_is_faster(windows):
    """Whether the input's gradient is better computed as a convolution with the flipped kernel."""
    (KH, KW), image, places = windows.size, windows.H * windows.W, windows.OH * windows.OW
    return windows.stride == (1, 1) and windows.top < KH and windows.left < KW and image <= WASTE * places
