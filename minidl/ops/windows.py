"""A window that slides over an image: the geometry that convolution and pooling share.

    OH = (H + top + bottom - KH) // stride + 1          likewise OW

N images of H x W pixels and C features, windows of KH x KW, OH x OW places of the window.
"""

from math import ceil

from minidl.backend import xp
from minidl.parallel import workspace


class Windows:
    """The places of a window on images of one size, and the arrays that gather them and scatter them back.

    size, stride: (height, width)    padding: zeros on each side (height, width), "same" or "valid"
    """

    def __init__(self, H, W, size, stride, padding):
        (KH, KW), (SH, SW) = size, stride
        if padding == "same":
            # as many places as strides fit into the image; an odd pixel of padding goes below and to the right
            PH, PW = (max((ceil(length / step) - 1) * step + kernel - length, 0)
                      for length, step, kernel in ((H, SH, KH), (W, SW, KW)))
        else:
            PH, PW = (0, 0) if padding == "valid" else (2 * padding[0], 2 * padding[1])
        self.H, self.W, self.size, self.stride = H, W, size, stride
        self.top, self.left = PH // 2, PW // 2
        self.padded = (H + PH, W + PW)
        self.OH, self.OW = (H + PH - KH) // SH + 1, (W + PW - KW) // SW + 1

    @property
    def fit(self):
        """Whether a window fits into the padded image at all."""
        return all(length >= kernel for length, kernel in zip(self.padded, self.size, strict=True))

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
        """For each of the KH * KW pixels of the window, row by row: a view (N, OH, OW, C) of that pixel at all places.

        Adding all views is sum pooling, the largest of them is max pooling, adding *into* all of them is col2im.
        """
        (KH, KW), (SH, SW) = self.size, self.stride
        for i in range(KH):
            for j in range(KW):
                yield padded[:, i:i + SH * self.OH:SH, j:j + SW * self.OW:SW]

    @property
    def single_pixels(self):
        """Whether every pixel is a window of its own: a 1x1 kernel at stride 1 without padding."""
        return self.size == self.stride == (1, 1) and self.padded == (self.H, self.W)

    def zeros(self, N, C, dtype):
        """A padded image of zeros to add into: (N, H + top + bottom, W + left + right, C)."""
        padded = workspace("padded gradient", (N, *self.padded, C), dtype)
        padded[...] = 0
        return padded
