"""Arrays of the backend in use, their precision, and the way back to the CPU."""

import contextlib

import numpy as np

from minidl.backend.gpu import in_one_line
from minidl.backend.library import backend_name, xp
from minidl.backend.state import state
from minidl.errors import BackendError, UserError


def asarray(a):
    """`a` as an array of the backend in use; floats get the precision in use, integers keep theirs."""
    array = xp.asarray(to_cpu(a) if backend_name() == "numpy" else a)
    return array.astype(float_type(), copy=False) if array.dtype.kind == "f" else array


def to_cpu(a):
    """`a` as a NumPy array, from whichever device has it (for pictures, files and prints)."""
    return np.asarray(a if on_cpu(a) else a.get())


def on_cpu(a):
    """Whether `a` is in the CPU's memory. Reading an array on a GPU makes the CPU wait."""
    return not (hasattr(a, "get") and hasattr(a, "device"))


def address(a):
    """Where the memory of `a` begins."""
    return a.ctypes.data if on_cpu(a) else a.data.ptr


def kind_of(a):
    """What kind of thing `a` is, for errors: numpy.ndarray, cupy.ndarray, builtins.list."""
    return f"{type(a).__module__}.{type(a).__name__}"


@contextlib.contextmanager
def memory_for(what, cure):
    """Inside the block, an array that finds no room, on the CPU or on the GPU, raises one sentence with its cure."""
    try:
        yield
    except MemoryError as reason:  # CuPy's OutOfMemoryError is one, too
        place = "CPU's" if backend_name() == "numpy" else "GPU's"
        raise BackendError(f"{what} does not fit into the {place} memory ({in_one_line(reason).rstrip('.')}). "
                           f"{cure}") from reason


# ------------------------------------------------------------------------------------------------------- precision

@contextlib.contextmanager
def precision(name):
    """Make new parameters and arrays "float32" (the default) or "float64" inside a `with` block.

    Training needs no more than float32; a gradient check needs float64, because it subtracts nearly equal numbers.
    The block concerns its own thread; other threads, also those started inside, have float32.
    """
    types = {"float32": np.float32, "float64": np.float64}
    if name not in types:
        raise UserError(f"unknown precision {name!r}: expected one of {', '.join(types)}")
    before, state.float_type = state.float_type, types[name]
    try:
        yield
    finally:
        state.float_type = before


def float_type():
    """The type of new parameters and arrays: `numpy.float32`, or `numpy.float64` inside `precision("float64")`."""
    return state.float_type
