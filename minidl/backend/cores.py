"""How many CPU threads compute."""

import os

from minidl.backend.pool import pool
from minidl.backend.state import state
from minidl.errors import UserError


def threads(count=None):
    """Compute on `count` CPU threads from now on; without an argument, only say how many are in use.

    The first answer is what MINIDL_THREADS says, or as many threads as the process may use cores. With one thread all
    work runs in the caller's own thread, so a debugger steps straight through every layer.

    minidl divides the work itself (see `minidl.parallel`), so the library behind NumPy's matrix products is held to
    one thread: its own threads wait for each other in a busy loop, and where another program wants a core too, a small
    product then takes ten times as long.
    """
    if count is not None:
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise UserError(f"threads({count!r}): expected an integer of at least 1")
        _compute_on(count)
    elif state.threads is None:
        wish = os.environ.get("MINIDL_THREADS", "")
        if wish and not (wish.isdecimal() and int(wish) >= 1):
            raise UserError(f"MINIDL_THREADS={wish!r}: expected an integer of at least 1")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        _compute_on(int(wish) if wish else cores)
    return state.threads


def _compute_on(count):
    import threadpoolctl
    state.threads = count
    pool.resize(count - 1)
    threadpoolctl.threadpool_limits(1, user_api="blas")
