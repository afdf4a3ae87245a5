"""Work through a batch in slices that stay in the processor's cache, on every core.

The one mechanism behind minidl's speed on the CPU. A heavy layer splits its batch into slices of rows whose
intermediate arrays fit the cache, and hands a function of one slice to `in_slices`. NumPy gives Python's lock back
while it computes, so plain threads fill all cores; the matrix products inside a slice are held to one thread each
meanwhile. With `minidl.threads(1)`, or a single slice, everything runs in the caller. On the GPU the slice is the
whole batch.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from math import prod

import numpy as np

from minidl import backend
from minidl.backend import xp

SLICE_BYTES = 1 << 20    # about what one core keeps in its own cache
SMALL_BYTES = 1 << 18    # a batch with less to do than this is not worth waking other threads for


def in_slices(work, count, item_bytes, at_least=0):
    """Call work(rows) for each slice `rows` of range(count), on all threads; return the sum of what it returns.

    count: rows in the batch; item_bytes: bytes of intermediate arrays that one row needs; at_least: bytes that a slice
    must have at least to be worth its own fixed cost, such as a weight gradient. `work` returns None, or a
    list of arrays, which are summed over all slices. Each thread has its own run of neighbouring slices, so the order
    of every sum is fixed: one number of threads gives the same bits every time.
    """
    step = count if backend.backend_name() == "cupy" else max(1, min(count, int(max(SLICE_BYTES, at_least) // max(item_bytes, 1))))
    threads = backend.threads()
    if threads > 1 and count * item_bytes > SMALL_BYTES:
        step = min(step, -(-count // threads))
    slices = [slice(start, min(start + step, count)) for start in range(0, count, max(step, 1))]
    if threads == 1 or len(slices) <= 1:
        return _run(work, slices)
    share = -(-len(slices) // threads)
    runs = [slices[k:k + share] for k in range(0, len(slices), share)]
    backend.limit_blas(1)
    try:
        totals = [future.result() for future in [_pool(threads).submit(_run, work, run) for run in runs]]
    finally:
        backend.limit_blas(threads)
    return _add(totals)


def _run(work, slices):
    """The sum of what `work` returns for these slices, in this thread."""
    total = None
    for rows in slices:
        part = work(rows)
        total = _add([total, part]) if total is not None else part
    return total


def _add(parts):
    """The sum of lists of arrays, added into the first one."""
    first = parts[0] if parts else None
    for part in parts[1:]:
        for array, more in zip(first or [], part or [], strict=True):
            array += more
    return first


def _pool(threads):
    if threads not in _pools:
        _pools[threads] = ThreadPoolExecutor(threads, thread_name_prefix="minidl")
    return _pools[threads]


_pools = {}


# ------------------------------------------------------------------------------------------------- reused memory

def workspace(name, shape, dtype):
    """An array for intermediate results, without values, that is reused by the next call with that name.

    Each thread has its own. The system hands out fresh memory page by page, which takes longer than filling it from
    the cache; these pages are there already. The caller must be done with the array before anybody in the same thread
    asks for the same name: use it within one slice.
    """
    if backend.backend_name() == "cupy":
        return xp.empty(shape, dtype)  # CuPy keeps a pool of memory itself
    size = prod(shape) * np.dtype(dtype).itemsize
    held = _local.__dict__.setdefault("buffers", {})
    buffer = held.get(name)
    if buffer is None or buffer.size < size:
        with _lock:
            _reserved[threading.get_ident(), name] = size
        buffer = held[name] = np.empty(size, np.uint8)
    return buffer[:size].view(dtype).reshape(shape)


def workspace_bytes():
    """Bytes that all threads' workspaces hold together."""
    with _lock:
        return sum(_reserved.values())


_local, _lock, _reserved = threading.local(), threading.Lock(), {}
