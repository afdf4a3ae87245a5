"""im2col and col2im: every window of an image as one row of a matrix, and each row added back to its pixels.

On the CPU views of the image do both, on a GPU one kernel does each.
"""

from minidl.backend import xp
from minidl.backend.kernels import Kernel, on_gpu
from minidl.parallel import workspace

# One thread for each number of the matrix, whose index (n, oh, ow, kh, kw, c) says all.
IM2COL = Kernel("im2col", "raw T x, int64 H, int64 W, int64 C, int64 SH, int64 SW, int64 top, int64 left",
                "T column", """
    const ptrdiff_t *place = _ind.get();
    const ptrdiff_t h = place[1] * SH + place[3] - top, w = place[2] * SW + place[4] - left;
    column = h < 0 || h >= H || w < 0 || w >= W ? (T)0 : x[((place[0] * H + h) * W + w) * C + place[5]];
""")


SIZES = ("int64 H, int64 W, int64 C, int64 KH, int64 KW, int64 SH, int64 SW, int64 top, int64 left, "
         "int64 OH, int64 OW")     # as a kernel declares what `sizes` gives


def sizes(windows, C):
    """What a kernel wants to know of the windows on images of C features."""
    return (windows.H, windows.W, C, *windows.size, *windows.stride, windows.top, windows.left, windows.OH, windows.OW)


def gathered(name, arrays, pixel, window):
    """A kernel with one thread for each pixel (n, h, w, c), which sums up in `total` what its windows give it.

    So no two threads write the same element, and the order of the sum is always the same.

    arrays: the raw inputs, before the sizes    pixel: CUDA before the loop
    window: CUDA for each window that contains the pixel, at place (oh, ow) and there the window's pixel (kh, kw)
    """
    return Kernel(name, f"{arrays}, {SIZES}", "T dx", f"""
    const ptrdiff_t *place = _ind.get(), n = place[0], h = place[1], w = place[2], c = place[3];
    T total = 0;
    {pixel}
    for (ptrdiff_t kh = 0; kh < KH; ++kh) {{
        ptrdiff_t down = h + top - kh, oh = down / SH;
        if (down < 0 || down % SH != 0 || oh >= OH) continue;
        for (ptrdiff_t kw = 0; kw < KW; ++kw) {{
            ptrdiff_t right = w + left - kw, ow = right / SW;
            if (right < 0 || right % SW != 0 || ow >= OW) continue;
            {window}
        }}
    }}
    dx = total;
""")


COL2IM = gathered("col2im", "raw T columns", "",
                  "total += columns[((((n * OH + oh) * OW + ow) * KH + kh) * KW + kw) * C + c];")


def im2col_on_gpu(windows, x):
    (KH, KW), (SH, SW), (N, H, W, C) = windows.size, windows.stride, x.shape
    if windows.single_pixels:
        return x.reshape(-1, C)
    columns = xp.empty((N, windows.OH, windows.OW, KH, KW, C), x.dtype)
    return IM2COL(x, H, W, C, SH, SW, windows.top, windows.left, columns).reshape(-1, KH * KW * C)


def col2im_on_gpu(windows, columns, N):
    C = columns.shape[-1] // (windows.size[0] * windows.size[1])
    return COL2IM(columns, *sizes(windows, C), xp.empty((N, windows.H, windows.W, C), columns.dtype))


@on_gpu(im2col_on_gpu)
def im2col(windows, x):
    """Every window as one row, so that a convolution becomes a matrix product: (N*OH*OW, KH*KW*C)."""
    (KH, KW), (SH, SW), C = windows.size, windows.stride, x.shape[3]
    if windows.single_pixels:
        return x.reshape(-1, C)                                          # nothing to copy
    columns = workspace("im2col", (len(x), windows.OH, windows.OW, KH, KW, C), x.dtype)
    view = xp.lib.stride_tricks.sliding_window_view(windows.pad(x), windows.size, axis=(1, 2))
    columns[...] = view[:, ::SH, ::SW].transpose(0, 1, 2, 4, 5, 3)       # from (N, OH, OW, C, KH, KW)
    return columns.reshape(-1, KH * KW * C)


@on_gpu(col2im_on_gpu)
def col2im(windows, columns, N):
    """Add every row back to the pixels that it came from, as the gradient of im2col: (N, H, W, C)."""
    KH, KW = windows.size
    columns = columns.reshape(N, windows.OH, windows.OW, KH * KW, columns.shape[-1] // (KH * KW))
    padded = windows.zeros(N, columns.shape[-1], columns.dtype)
    for k, pixels in enumerate(windows.offsets(padded)):
        pixels += columns[:, :, :, k]                                    # a view: this adds into padded
    return windows.crop(padded)
