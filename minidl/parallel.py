"""Work through a batch in slices that stay in the processor's cache, on every core.

The one mechanism behind minidl's speed on the CPU. A heavy layer splits its batch into slices of rows whose
intermediate arrays fit the cache, and hands a function of one slice to `in_slices`. NumPy gives Python's lock back
while it computes, so plain threads fill all cores; the matrix products inside a slice are held to one thread each
meanwhile. With `minidl.threads(1)`, or a single slice, everything runs in the caller. On the GPU the slice is the
whole batch.
"""

from concurrent.futures import ThreadPoolExecutor

from minidl import backend

SLICE_BYTES = 1 << 20  # about what one core keeps in its own cache


def in_slices(work, count, item_bytes):
    """[work(rows) for each slice `rows` of range(count)], in order, computed on all threads.

    count: rows in the batch; item_bytes: bytes of intermediate arrays that one row needs. The slices depend on these
    two alone, never on the number of threads, so sums over slices round the same way on any machine.
    """
    step = count if backend.backend_name() == "cupy" else max(1, int(SLICE_BYTES // max(item_bytes, 1)))
    slices = [slice(start, min(start + step, count)) for start in range(0, count, max(step, 1))]
    threads = backend.threads()
    if threads == 1 or len(slices) <= 1:
        return [work(rows) for rows in slices]
    backend.limit_blas(1)
    try:
        return list(_pool(threads).map(work, slices))
    finally:
        backend.limit_blas(threads)


def _pool(threads):
    if threads not in _pools:
        _pools[threads] = ThreadPoolExecutor(threads, thread_name_prefix="minidl")
    return _pools[threads]


_pools = {}
