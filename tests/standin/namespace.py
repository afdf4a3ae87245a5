"""The module `cupy` of the stand-in: every name that the real one has and that NumPy can compute, and no other."""

import functools
import json
import types
from pathlib import Path

import numpy as np

from standin.array import (
    Device,
    OutOfMemoryError,
    add_methods,
    inner,
    ndarray,
    outer,
    poisoned,
    refuse_unknown,
    synchronise,
    upload,
)
from standin.kernels import CompileException, ElementwiseKernel

RECORDED = json.loads(Path(__file__).with_name("cupy.json").read_text(encoding="utf-8"))
WAITING = {"nonzero", "argwhere", "flatnonzero", "unique", "bincount", "histogram", "array_repr", "array_str", "save",
           "savez", "compress", "extract", "searchsorted", "digitize", "delete", "setdiff1d", "union1d", "intersect1d"}


def parents(arguments):
    """Every array of the stand-in among the arguments, at any depth."""
    for each in arguments:
        if isinstance(each, ndarray):
            yield each
        elif isinstance(each, (list, tuple)):
            yield from parents(each)


def function(name, compute, keywords):
    """NumPy's function of that name for the stand-in's arrays, with the keywords that CuPy's has."""
    @functools.wraps(compute)
    def call(*arguments, **given):
        refuse_unknown(name, keywords, given)
        if keywords is not None and len(arguments) > len(keywords):
            raise TypeError(f"{name}() takes at most {len(keywords)} arguments ({len(arguments)} given)")
        if name in WAITING or (name == "where" and len(arguments) + len(given) == 1):
            synchronise(f"cupy.{name}()")
        target = given.get("out")
        result = compute(*map(inner, arguments), **{key: inner(value) for key, value in given.items()})
        return target if isinstance(target, ndarray) else outer(result, *parents(arguments))
    return call


class UFunc:
    """An elementwise function. CuPy's have fewer keywords than NumPy's, and reduce only by addition and product."""

    keywords = ("out", "dtype", "casting", "where")

    def __init__(self, name, compute):
        self.name, self.compute, self.__name__ = name, compute, name
        self.nin, self.nout, self.nargs = compute.nin, compute.nout, compute.nargs

    def __call__(self, *arguments, **given):
        refuse_unknown(self.name, self.keywords, given)
        target = given.get("out", arguments[self.nin] if len(arguments) > self.nin else None)
        if target is not None and not isinstance(target, (ndarray, tuple)):
            raise TypeError("return arrays must be of ArrayType")
        for each in arguments:
            if isinstance(each, (list, tuple)):
                raise TypeError(f"Unsupported type {type(each)}")
        result = self.compute(*map(inner, arguments), **{key: inner(value) for key, value in given.items()})
        return target if isinstance(target, ndarray) else outer(result)

    # What CuPy 14.2 itself does not support, it says in these words, and so does the stand-in.

    def at(self, array, indices, values=None):
        if self.name not in ("add", "subtract", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor"):
            raise NotImplementedError(f"`cupy_{self.name}.at` is not supported yet")
        self.compute.at(inner(array), inner(indices), inner(values))

    def __getattr__(self, name):
        if name not in ("reduce", "accumulate", "outer", "reduceat"):
            raise AttributeError(f"'ufunc' object has no attribute {name!r}")
        if name != "outer" and self.name not in (("add",) if name == "reduceat" else ("add", "multiply")):
            raise NotImplementedError(f"`cupy_{self.name}.{name}` is not supported yet")
        return function(f"{self.name}.{name}", getattr(self.compute, name), None)

    def __repr__(self):
        return f"<ufunc 'cupy_{self.name}'>"


class GUFunc(UFunc):
    """matmul and its relatives."""

    keywords = ("axes", "axis", "keepdims", "casting", "dtype", "order", "out")


# ------------------------------------------------------------------------------------- what takes arrays from the CPU

def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    if isinstance(a, ndarray):
        wanted = a if dtype is None else a.astype(dtype, copy=False)
        return wanted.copy() if copy else wanted
    return upload(a, dtype, order)


def array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
    made = asarray(obj, dtype, copy=copy)
    return made.reshape((1,) * (ndmin - made.ndim) + made.shape) if made.ndim < ndmin else made


def ascontiguousarray(a, dtype=None):
    a = asarray(a, dtype)
    return outer(np.ascontiguousarray(a._array), a)


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


def empty(shape, dtype=float, order="C"):
    return outer(poisoned(np.empty(shape, dtype, order)))


def empty_like(prototype, dtype=None, order="K", subok=None, shape=None):
    return outer(poisoned(np.empty_like(inner(prototype), dtype, order, shape=shape)))


def get_array_module(*arguments):
    return modules["cupy"] if any(isinstance(each, ndarray) for each in arguments) else np


def not_here(name):
    """What CuPy has and the stand-in has not: threads that share memory need a GPU, and minidl uses none of these."""
    def refuse(*arguments, **keywords):
        raise NotImplementedError(f"the stand-in for CuPy has no {name}: write an ElementwiseKernel, which it can run "
                                  f"and check on the CPU (minidl.backend.kernels)")
    return refuse


# ------------------------------------------------------------------------------------------------- devices and settings

class ComputeType:
    """cupy._core's setting for matrix products; the numbers are CuPy's."""

    COMPUTE_TYPE_DEFAULT, COMPUTE_TYPE_FP32, COMPUTE_TYPE_TF32 = 1, 4, 7

    def __init__(self):
        self.chosen = {}

    def set_compute_type(self, dtype, compute_type):
        self.chosen[np.dtype(dtype).char] = compute_type

    def get_compute_type(self, dtype):
        return self.chosen.get(np.dtype(dtype).char, self.COMPUTE_TYPE_DEFAULT)


class Pool:
    """The memory pool: the stand-in keeps none."""

    def used_bytes(self):
        return 0

    def total_bytes(self):
        return 0

    def free_all_blocks(self):
        pass


class CUDARuntimeError(RuntimeError):
    """cupy.cuda.runtime.CUDARuntimeError"""


class Stream:
    """The only one: work is done when the call returns."""

    def synchronize(self):
        synchronise("Stream.synchronize()")


Stream.null = Stream()


def module(name, **contents):
    made = types.ModuleType(name)
    vars(made).update(contents)
    return made


def built():
    """{"cupy": the module, "cupy.cuda": ...}, as sys.modules wants them."""
    add_methods(RECORDED["ndarray"])
    own = {each.__name__: each for each in (asarray, array, ascontiguousarray, asnumpy, empty, empty_like,
                                            get_array_module, ndarray, ElementwiseKernel)}
    own |= {"asanyarray": asarray, "ufunc": UFunc}
    own |= {name: not_here(name) for name in ("RawKernel", "RawModule", "ReductionKernel")}
    own |= dict.fromkeys(("get_default_memory_pool", "get_default_pinned_memory_pool"), Pool)
    contents = {}
    for name, kind in RECORDED["names"].items():
        known = getattr(np, name, None)
        if name in own:
            contents[name] = own[name]
        elif known is None and name != "newaxis":
            continue
        elif kind in ("ufunc", "gufunc") and isinstance(known, np.ufunc):
            contents[name] = (UFunc if kind == "ufunc" else GUFunc)(name, known)
        elif kind == "value":
            contents[name] = known
        elif callable(known):
            contents[name] = function(name, known, None if kind in ("ufunc", "gufunc") else kind)
    strides = {name: function(name, getattr(np.lib.stride_tricks, name), keywords)
               for name, keywords in RECORDED["lib.stride_tricks"].items()}
    runtime = module("cupy.cuda.runtime", getDeviceCount=lambda: 1, CUDARuntimeError=CUDARuntimeError,
                     getDevice=lambda: 0, driverGetVersion=lambda: 12090, runtimeGetVersion=lambda: 12090,
                     memGetInfo=lambda: Device.mem_info, deviceSynchronize=lambda: Device().synchronize(),
                     getDeviceProperties=lambda number: {"name": b"stand-in", "major": 9, "minor": 0,
                                                         "totalGlobalMem": Device.mem_info[1]})
    memory = module("cupy.cuda.memory", OutOfMemoryError=OutOfMemoryError)
    compiler = module("cupy.cuda.compiler", CompileException=CompileException)
    cuda = module("cupy.cuda", runtime=runtime, memory=memory, compiler=compiler, Device=Device, Stream=Stream,
                  is_available=lambda: True)
    compute, core = ComputeType(), module("cupy._core")
    core._routines_linalg, core.set_compute_type = compute, compute.set_compute_type
    stride_tricks = module("cupy.lib.stride_tricks", **strides)
    lib = module("cupy.lib", stride_tricks=stride_tricks)
    top = module("cupy", __version__=RECORDED["version"], __path__=[], cuda=cuda, lib=lib, _core=core, **contents)
    return {each.__name__: each for each in (top, cuda, runtime, memory, compiler, core, lib, stride_tricks)} | {
        "cupy._core._routines_linalg": compute}


modules = built()
