"""Floor 0: which array library computes, with which precision, on how many threads, from which seed.

The rest of minidl writes `from minidl.backend import xp` and calls `xp.exp(x)` where NumPy code would call
`np.exp(x)`. `minidl.use("cupy")` refills that one namespace with CuPy's functions of the same names, so every module
that imported it computes on the GPU from then on, and a call costs no more than a call through `np`.

    library    the namespace xp, the switch          arrays     asarray, to_cpu, precision
    cores      how many threads                      draws      seed and random numbers
    pool       these threads, forks                  state      what is remembered, for all or for a thread
    gpu        CuPy's faults and facts               kernels    CUDA beside NumPy: Kernel, on_gpu
"""

from minidl.backend.arrays import address, asarray, float_type, kind_of, memory_for, on_cpu, precision, to_cpu
from minidl.backend.cores import threads
from minidl.backend.draws import (
    draw_integers,
    draw_key,
    draw_normal,
    draw_permutation,
    draw_uniform,
    random_state,
    restore_random_state,
    seed,
)
from minidl.backend.gpu import device_facts
from minidl.backend.kernels import Kernel, on_gpu
from minidl.backend.library import BACKENDS, backend_name, use_library, xp
from minidl.backend.pool import Job

__all__ = ["BACKENDS", "Job", "Kernel", "address", "asarray", "backend_name", "device_facts", "draw_integers",
           "draw_key", "draw_normal", "draw_permutation", "draw_uniform", "float_type", "kind_of", "memory_for",
           "on_cpu", "on_gpu", "precision", "random_state", "restore_random_state", "seed", "threads", "to_cpu",
           "use_library", "xp"]
