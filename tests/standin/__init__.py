"""A strict stand-in for CuPy, so that code for the GPU can be tested where there is none.

    with standin.installed():                    from here on, `import cupy` finds the stand-in
        minidl.use("cupy")
        with standin.no_synchronisation():       whatever makes the CPU wait for the GPU is an error
            training_step()

NumPy computes. What the stand-in adds is refusal: it has no function and no keyword that CuPy lacks (`cupy.json`,
written down from the real one by `record.py`), mixes with no NumPy array, returns arrays where NumPy returns numbers,
fills `empty` with NaN, and is an error where CuPy is undefined or waits in silence. Kernels are compiled by g++ and
run on the CPU, with every index checked (`kernels.py`).

What it cannot show: speed, the order in which a GPU adds up, and whether NVIDIA's compiler takes a kernel.
"""

import contextlib
import sys

import pytest

from standin.array import (
    HiddenSynchronisation,
    OutOfMemoryError,
    counters,
    memory_limit,
    ndarray,
    no_synchronisation,
)
from standin.kernels import COMPILER, CompileException, ElementwiseKernel
from standin.namespace import modules

__all__ = ["COMPILER", "CompileException", "ElementwiseKernel", "HiddenSynchronisation", "OutOfMemoryError", "counters",
           "cupy", "installed", "memory_limit", "ndarray", "needs_compiler", "no_synchronisation"]

cupy = modules["cupy"]
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="g++, which compiles a GPU's kernels for the CPU, is not "
                                                             "installed: apt install g++, or xcode-select --install")


@contextlib.contextmanager
def installed():
    """Inside the block, `import cupy` finds the stand-in, whether CuPy is there or not."""
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "cupy"}
    sys.modules.update(modules)
    try:
        yield cupy
    finally:
        for name in modules:
            sys.modules.pop(name, None)
        sys.modules.update(hidden)
