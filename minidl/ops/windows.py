"""A window that slides over an image: the geometry that convolution and pooling share.

    OH = (H + top + bottom - KH) // stride + 1          likewise OW

N images of H x W pixels and C features, windows of KH x KW, OH x OW places where the window stands.
"""

from minidl.backend import xp
from minidl.core import pair, short
from minidl.errors import ShapeError, UserError
from minidl.parallel import workspace


class Windows:
    """The places of a window on images of one size, and the arrays that gather them and scatter them back."""

    def __init__(self, label, H, W, size, stride, padding):
        """label: how an error names the layer; size, stride: (height, width); padding: as in `checked_padding`, or
        ((top, bottom), (left, right))."""
        (KH, KW), (SH, SW) = size, stride
        if padding == "same":
            # as many places as strides fit into the image; an odd pixel of padding goes below and to the right
            above_below, left_right = (max((-(-length // step) - 1) * step + kernel - length, 0)
                                       for length, step, kernel in ((H, SH, KH), (W, SW, KW)))
            self.top, self.left = above_below // 2, left_right // 2
            bottom, right = above_below - self.top, left_right - self.left
        else:
            above_below, left_right = (0, 0) if padding == "valid" else padding
            self.top, bottom = above_below if isinstance(above_below, tuple) else (above_below, above_below)
            self.left, right = left_right if isinstance(left_right, tuple) else (left_right, left_right)
        self.H, self.W, self.size, self.stride = H, W, size, stride
        self.padded = (H + self.top + bottom, W + self.left + right)
        if self.padded[0] < KH or self.padded[1] < KW:
            raise ShapeError(f"{label}: a window of {KH}x{KW} does not fit into the padded image of "
                             f"{self.padded[0]}x{self.padded[1]} (image {H}x{W}). Take a smaller window, more padding, "
                             f"or fewer poolings before it")
        self.OH = (self.padded[0] - KH) // SH + 1
        self.OW = (self.padded[1] - KW) // SW + 1

    def pad(self, x, value=0):
        """x with a border of `value`: (N, H, W, C) -> (N, H + top + bottom, W + left + right, C)."""
        if self.padded == (self.H, self.W):
            return x
        padded = xp.full((len(x), *self.padded, x.shape[3]), value, x.dtype)
        padded[:, self.top:self.top + self.H, self.left:self.left + self.W] = x
        return padded

    def crop(self, padded):
        """The image inside the border: the inverse of `pad`."""
        return padded[:, self.top:self.top + self.H, self.left:self.left + self.W]

    def offsets(self, padded):
        """For each of the KH * KW pixels of the window: a view (N, OH, OW, C) of where that pixel stands, row by row.

        Adding all views is sum pooling, the largest of them is max pooling, adding *into* all of them is col2im.
        """
        (KH, KW), (SH, SW) = self.size, self.stride
        for i in range(KH):
            for j in range(KW):
                yield padded[:, i:i + SH * self.OH:SH, j:j + SW * self.OW:SW]

    def im2col(self, x):
        """Every window as one row, so that a convolution becomes a matrix product: (N*OH*OW, KH*KW*C)."""
        (KH, KW), (SH, SW), C = self.size, self.stride, x.shape[3]
        if self.size == self.stride == (1, 1) and self.padded == (self.H, self.W):
            return x.reshape(-1, C)                                      # every pixel is a window: nothing to copy
        padded = self.pad(x)
        columns = workspace("im2col", (len(x), self.OH, self.OW, KH, KW, C), x.dtype)
        view = xp.lib.stride_tricks.sliding_window_view(padded, self.size, axis=(1, 2))
        columns[...] = view[:, ::SH, ::SW].transpose(0, 1, 2, 4, 5, 3)   # from (N, OH, OW, C, KH, KW)
        return columns.reshape(-1, KH * KW * C)

    def col2im(self, columns, N):
        """Add every row back to the pixels it came from, as the gradient of im2col: (N, H, W, C)."""
        (KH, KW), OH, OW = self.size, self.OH, self.OW
        columns = columns.reshape(N, OH, OW, KH * KW, columns.shape[-1] // (KH * KW))
        padded = self.zeros(N, columns.shape[-1], columns.dtype)
        for k, pixels in enumerate(self.offsets(padded)):
            pixels += columns[:, :, :, k]  # pixels is a view: this adds into padded
        return self.crop(padded)

    def zeros(self, N, C, dtype):
        """An empty padded image to add into: (N, H + top + bottom, W + left + right, C)."""
        padded = workspace("padded gradient", (N, *self.padded, C), dtype)
        padded[...] = 0
        return padded


def checked_padding(value, what):
    """"same", "valid", or (height, width) of zeros on each side, from the argument that `what` names in the error."""
    if isinstance(value, str):
        if value not in ("same", "valid"):
            raise UserError(f"{what}={value!r}: expected \"same\", \"valid\", a whole number, or a pair of them")
        return value
    return pair(value, what, least=0)


def described(size, stride, padding, usual_stride):
    """The arguments of a window as the code would write them: `3, stride=2, padding='same'`."""
    stride = "" if stride == usual_stride else f", stride={short(stride)}"
    padding = "" if padding == (0, 0) else f", padding={short(padding)}"
    return f"{short(size)}{stride}{padding}"
