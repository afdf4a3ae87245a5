"""Work through a batch in slices that stay in the processor's cache, on every core.

The one mechanism behind minidl's speed on the CPU. A heavy layer splits its batch into slices of rows whose
intermediate arrays fit the cache, and hands a function of one slice to `in_slices`. NumPy gives Python's lock back
while it computes, so plain threads fill all cores; each matrix product inside a slice runs on one. With
`minidl.threads(1)`, a single slice or under a debugger, everything runs in the caller. On the GPU the slice is the
whole batch.
"""

import sys
import threading
from math import ceil, prod

import numpy as np

from minidl.backend import Job, backend_name, threads, xp

# A smaller slice would stay in a core's own cache, this one in that of all cores. But Python's lock changes hands at
# every call of NumPy, and waking the thread that waits for it takes some 50 microseconds: a call should take longer.
SLICE_BYTES = 1 << 22
RUNS = 8                 # runs of slices that a sum is computed in, each by one thread


def in_slices(work, count, item_bytes):
    """[work(rows) for each slice `rows` of range(count)], in order, computed on all threads.

    count: rows in the batch; item_bytes: bytes of intermediate arrays that one row needs. The slices depend on these
    two alone, never on the number of threads, so any number of threads gives the same bits. Another processor may round
    otherwise: BLAS, the library of the matrix products, has kernels of its own for it.
    """
    return _map(work, _slices(count, item_bytes))


def filled_in_slices(work, x, *others):
    """A new array y of x's shape, which work(y, x, *others) fills: slice by slice, each with its rows of all arrays.

    Passes over a slice in place, as in `xp.exp(x, out=y); y += 1`, find it in the cache.
    """
    y = xp.empty(x.shape, x.dtype)
    if x.nbytes <= SLICE_BYTES // 2:
        work(y, x, *others)  # as one slice would, without cutting anything
    else:
        in_slices(lambda rows: work(y[rows], x[rows], *(other[rows] for other in others)), len(x), 2 * x[:1].nbytes)
    return y


def sum_over_slices(work, count, item_bytes, at_least=0):
    """The sum of what work(rows) returns, a list of arrays, over all slices, computed on all threads.

    at_least: bytes that a slice should have to be worth the size of what it returns, such as a gradient of weights.
    The slices are summed in RUNS runs of neighbours, then these: an order that no number of threads changes.
    """
    slices = _slices(count, item_bytes, at_least) or [slice(0, 0)]
    share = ceil(len(slices) / RUNS)

    def run(some):
        total = work(some[0])
        for rows in some[1:]:
            _add(total, work(rows))
        return total

    first, *others = _map(run, [slices[k:k + share] for k in range(0, len(slices), share)])
    for other in others:
        _add(first, other)
    return first


def _slices(count, item_bytes, at_least=0):
    """1, 2, 4, 8, 16, 24 ... slices of the same size, give or take one row: two, four or eight threads share them."""
    step = count if backend_name() == "cupy" else int(max(SLICE_BYTES, at_least) // max(item_bytes, 1))
    wanted = ceil(count / max(step, 1))
    even = ceil(wanted / RUNS) * RUNS if wanted > RUNS else 1 << max(wanted - 1, 0).bit_length()
    ends = [count * k // min(even, count) for k in range(1, min(even, count) + 1)]
    return [slice(start, stop) for start, stop in zip([0, *ends], ends, strict=False)]


def _add(totals, parts):
    for total, part in zip(totals, parts, strict=True):
        total += part


def _map(work, items):
    """[work(item) for each item]: the caller and threads from the pool take one item after the other."""
    count = min(1 if under_debugger() else threads(), len(items))
    return Job(work, items).run(helpers=count - 1) if count > 1 else [work(item) for item in items]


def under_debugger():
    """Whether a debugger such as pdb, VS Code's or Spyder's watches this thread: then all work runs in it, so that a
    breakpoint in a layer stops at every slice. Coverage and profilers watch as well, but nobody steps through them."""
    trace = sys.gettrace()
    module = getattr(trace, "__module__", None) or type(trace).__module__
    if trace is not None and module.split(".")[0] not in ("coverage", "trace"):
        return True
    monitoring = getattr(sys, "monitoring", None)       # Python 3.12 and newer: debugpy and pdb may register here
    return monitoring is not None and monitoring.get_tool(monitoring.DEBUGGER_ID) is not None


# ------------------------------------------------------------------------------------------------- reused memory

def workspace(name, shape, dtype):
    """An array for intermediate results, without values, that is reused by the next call with that name.

    Each thread has its own, for each name the largest that it needed so far: a few slices in all. The system hands out
    fresh memory page by page, which takes longer than filling it from the cache; these pages are there already. The
    caller must be done with the array before anybody in the same thread asks for the same name: use it in one slice.
    """
    if backend_name() == "cupy":
        return xp.empty(shape, dtype)  # CuPy keeps a pool of memory itself
    size = prod(shape) * np.dtype(dtype).itemsize
    held = _local.__dict__.setdefault("buffers", {})
    buffer = held.get(name)
    if buffer is None or buffer.size < size:
        buffer = held[name] = np.empty(size, np.uint8)
    return buffer[:size].view(dtype).reshape(shape)


_local = threading.local()
