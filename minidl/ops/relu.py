"""ReLU forward, which NumPy computes three times as fast against an array of zeros as against the number 0."""

from minidl.backend import xp
from minidl.backend.kernels import Kernel, on_gpu
from minidl.parallel import filled_in_slices

RELU = Kernel("relu", "T x", "T y", "y = x < 0 ? (T)0 : x;")             # NaN stays NaN


@on_gpu(RELU)
def relu(x):
    """max(x, 0), element by element."""
    def relu_slice(y, x):
        y[...] = 0
        xp.maximum(x, y, out=y)

    return filled_in_slices(relu_slice, x)
