"""Matrix products on all cores."""

from minidl.backend import xp
from minidl.parallel import SLICE_BYTES, in_slices

SHARE = 15_000_000    # multiply-adds: a smaller product takes no longer than waking another thread for it


def product(a, b, out=None):
    """a @ b, in slices of rows or of columns of the result, whichever are more.

    a: (M, K)    b: (K, N)    out: (M, N), a new array unless given

    minidl holds the library behind NumPy to one thread (`minidl.threads`), so a large product is divided here. Each
    slice writes its own part of the result: nothing is summed up, and no memory is needed beside it.
    """
    (M, K), N = a.shape, b.shape[1]
    out = xp.empty((M, N), a.dtype) if out is None else out

    def by_rows(rows):
        xp.matmul(a[rows], b, out=out[rows])

    def by_columns(columns):
        xp.matmul(a, b[:, columns], out=out[:, columns])

    slices, longer = max(1, M * K * N // SHARE), max(M, N, 1)
    in_slices(by_rows if M >= N else by_columns, longer, SLICE_BYTES * slices // longer)
    return out
