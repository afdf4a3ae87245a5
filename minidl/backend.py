"""Floor 0: which array library computes, with which precision, on how many threads, from which seed.

The rest of minidl writes `from minidl.backend import xp` and calls `xp.exp(x)` where NumPy code would call
`np.exp(x)`. `use("cupy")` refills that one namespace with CuPy's functions of the same names, so every module that
imported it computes on the GPU from then on, and a call costs no more than a call through `np`.

Random numbers are drawn on the CPU by one NumPy generator, whichever backend is in use: the same seed gives the same
initial weights, the same shuffles and the same dropout masks on both.
"""

import contextlib
import os
import shlex
import sys

import numpy as np

from minidl.errors import BackendError, UserError

BACKENDS = ("numpy", "cupy")


class Namespace:
    """The functions of the array library in use, under NumPy's names: `xp.exp`, `xp.zeros`, `xp.float32` ...

    It is filled at its first use, with the library that the environment variable MINIDL_BACKEND names (NumPy when
    there is none), and refilled by every `use(name)`.
    """

    def __getattr__(self, name):  # Python comes here only for names that the namespace does not hold
        if name == "random" or name.startswith("__"):
            raise AttributeError(f"xp.{name} is left out on purpose: draw with minidl.backend.draw_normal() and its "
                                 f"relatives, so that one seed gives the same numbers on both backends")
        if _state.backend is None:
            _start()
            return getattr(self, name)
        raise AttributeError(f"{_state.backend} has no function {name!r}")


class _State:
    backend = None          # "numpy" or "cupy"; None until the first use
    float_type = np.float32
    threads = None          # None until somebody asks
    generator = np.random.Generator(np.random.PCG64(0))


xp = Namespace()
_state = _State()


# ---------------------------------------------------------------------------------------------- which array library

def use(name, tf32=False):
    """Compute with the array library `name`: "numpy" (CPU) or "cupy" (an NVIDIA GPU).

    tf32: let the GPU multiply float32 matrices with factors rounded to 11 binary digits instead of 24: several times
        faster, and exact to three decimal digits instead of seven. It adds up in float32 all the same. For training
        on an A100 or newer; not for comparing numbers. The next `use` without it takes it back.

    Models and arrays made earlier stay where they are: choose first, then build. Raises BackendError, which says what
    is missing and the command that cures it; it never falls back to another library by itself.
    """
    if name not in BACKENDS:
        raise BackendError(f"unknown backend {name!r}: expected one of {', '.join(BACKENDS)}")
    if tf32 and name != "cupy":
        raise BackendError(f"use({name!r}, tf32=True): TF32 is a mode of NVIDIA GPUs, which the {name} backend does "
                           f"not compute on. Leave tf32 out, or write use(\"cupy\", tf32=True)")
    library = np if name == "numpy" else _probed_cupy()
    if name == "cupy":
        _choose_products(library, tf32)
    vars(xp).clear()
    vars(xp).update((key, value) for key, value in vars(library).items()
                    if not key.startswith("_") and key != "random")
    _state.backend = name
    threads()


def backend_name():
    """The name of the array library in use: "numpy" or "cupy"."""
    if _state.backend is None:
        _start()
    return _state.backend


def _start():
    """What the environment asks for, at the first use of the backend."""
    name = os.environ.get("MINIDL_BACKEND") or "numpy"
    if name not in BACKENDS:
        raise BackendError(f"MINIDL_BACKEND={name!r}: expected one of {', '.join(BACKENDS)}")
    use(name)


_NO_DEVICE = ("CuPy and the driver are there, but no GPU is visible to this program. Is CUDA_VISIBLE_DEVICES set to "
              "nothing? Show the devices with:  nvidia-smi -L")


def _probed_cupy():
    """Import CuPy and prove in three steps that it can compute; the first step that fails names its cure."""
    install = (f"With a CUDA 12 driver run:  {shlex.quote(sys.executable)} -m pip install \"cupy-cuda12x[ctk]\"   "
               f"(CUDA 13: \"cupy-cuda13x[ctk]\"; nvidia-smi shows which)")
    try:
        import cupy
    except ImportError as reason:
        raise BackendError(f"the cupy backend needs the CuPy package, which cannot be imported ({reason}). "
                           f"{install}") from reason
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except Exception as reason:
        if "cudaErrorNoDevice" in str(reason):
            raise BackendError(_NO_DEVICE) from reason
        if driver := cupy.cuda.runtime.driverGetVersion():
            raise BackendError(f"the NVIDIA driver is for CUDA {_version(driver)}, too old for this CuPy "
                               f"({_in_one_line(reason)}). Update the driver, or take the CuPy for it. "
                               f"{install}") from reason
        raise BackendError(f"CuPy is installed but finds no usable NVIDIA driver ({_in_one_line(reason)}). Install or "
                           f"update the driver, then look at the output of:  nvidia-smi") from reason
    if devices == 0:
        raise BackendError(_NO_DEVICE)
    try:
        square = cupy.ones((8, 8), dtype=cupy.float32)
        float((square @ square).sum())  # needs cuBLAS and the run-time compiler, which the driver does not bring
    except Exception as reason:
        raise BackendError(f"the GPU answers, but a product of two small matrices failed: CUDA's libraries are "
                           f"missing or broken ({_in_one_line(reason)}). {install}") from reason
    return cupy


def _choose_products(cupy, tf32):
    """Have float32 products computed from TF32 factors, or from float32 ones again.

    CuPy's public switch, the environment variable CUPY_TF32, is read once, at the first product; this is what it sets.
    """
    from cupy._core import _routines_linalg as products
    capability = cupy.cuda.Device().compute_capability
    if tf32 and int(capability) < 80:
        raise BackendError(f"use(\"cupy\", tf32=True): expected a GPU of compute capability 8.0 (A100) or newer, this "
                           f"one has {capability[:-1]}.{capability[-1]}. Leave tf32 out")
    products.set_compute_type("f", products.COMPUTE_TYPE_TF32 if tf32 else products.COMPUTE_TYPE_DEFAULT)


def device_facts():
    """What the GPU and its software are, by name, for people to read; the cupy backend must be in use."""
    import cupy
    runtime = cupy.cuda.runtime
    properties, (free, total) = runtime.getDeviceProperties(runtime.getDevice()), runtime.memGetInfo()
    return {"GPU": f"{properties['name'].decode()}, compute capability {properties['major']}.{properties['minor']}",
            "memory": f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free",
            "CuPy": f"{cupy.__version__}, CUDA {_version(runtime.runtimeGetVersion())}",
            "driver": f"for CUDA up to {_version(runtime.driverGetVersion())}"}


def _version(number):
    """CUDA's way to write a version: 12090 is 12.9."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _in_one_line(reason):
    """What an exception says, without line breaks, and cut where it becomes a page."""
    return " ".join(str(reason).split())[:300]


def asarray(a):
    """`a` as an array of the backend in use; fractional numbers get the precision in use, whole numbers keep theirs."""
    array = xp.asarray(to_cpu(a) if backend_name() == "numpy" else a)
    return array.astype(_state.float_type, copy=False) if array.dtype.kind == "f" else array


def to_cpu(a):
    """`a` as a NumPy array, from whichever device it lies on (for pictures, files and prints)."""
    return np.asarray(a if on_cpu(a) else a.get())


def on_cpu(a):
    """Whether the numbers of `a` can be looked at for nothing; for those on a GPU, the CPU waits until it is done."""
    return not (hasattr(a, "get") and hasattr(a, "device"))


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
        raise BackendError(f"{what} does not fit into the {place} memory ({_in_one_line(reason).rstrip('.')}). "
                           f"{cure}") from reason


# ------------------------------------------------------------------------------------------------------- precision

@contextlib.contextmanager
def precision(name):
    """Make new parameters and arrays "float32" (the default) or "float64" inside a `with` block.

    Training needs no more than float32; a gradient check needs float64, because it subtracts nearly equal numbers.
    """
    types = {"float32": np.float32, "float64": np.float64}
    if name not in types:
        raise UserError(f"unknown precision {name!r}: expected one of {', '.join(types)}")
    before, _state.float_type = _state.float_type, types[name]
    try:
        yield
    finally:
        _state.float_type = before


def float_type():
    """The type of new parameters and arrays: `numpy.float32`, or `numpy.float64` inside `precision("float64")`."""
    return _state.float_type


# --------------------------------------------------------------------------------------------------------- threads

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
            raise UserError(f"threads({count!r}): expected a whole number of at least 1")
        _state.threads = count
        _hold_blas()
    elif _state.threads is None:
        wish = os.environ.get("MINIDL_THREADS", "")
        if wish and not (wish.isdecimal() and int(wish) >= 1):
            raise UserError(f"MINIDL_THREADS={wish!r}: expected a whole number of at least 1")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        _state.threads = int(wish) if wish else cores
        _hold_blas()
    return _state.threads


def _hold_blas():
    import threadpoolctl
    threadpoolctl.threadpool_limits(1, user_api="blas")


# -------------------------------------------------------------------------------------------------- random numbers

def seed(number):
    """Start the random numbers anew: the same seed gives the same run, on both backends.

    Without a call, every program starts from seed 0.
    """
    if not isinstance(number, (int, np.integer)) or number < 0:
        raise UserError(f"seed({number!r}): expected a whole number of at least 0")
    _state.generator = np.random.Generator(np.random.PCG64(int(number)))


def random_state():
    """Where the random numbers stand; `restore_random_state` goes back there."""
    return _state.generator.bit_generator.state


def restore_random_state(state):
    """Continue the random numbers from a state that `random_state` gave."""
    _state.generator.bit_generator.state = state


def draw_normal(shape, std=1.0):
    """Draws from the normal distribution of mean 0; rounded from float64, so both precisions get the same ones."""
    return asarray(std * _state.generator.standard_normal(shape))


def draw_uniform(shape):
    """Draws from the uniform distribution on [0, 1)."""
    return asarray(_state.generator.random(shape, dtype=np.float32))


def draw_key():
    """Two random numbers of 32 bits, from which a whole mask follows (`minidl.ops.dropout`); plain Python numbers."""
    return tuple(map(int, _state.generator.integers(1 << 32, size=2)))


def draw_integers(high, shape):
    """Whole numbers from 0 to high - 1, with replacement: a batch of random rows, say."""
    return xp.asarray(_state.generator.integers(high, size=shape))


def draw_permutation(count):
    """The numbers 0 to count - 1 in random order."""
    return xp.asarray(_state.generator.permutation(count))
