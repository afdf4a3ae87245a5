"""What makes two trainings the same, in words: a checkpoint continues only the training that it is of."""

import functools
import inspect
import os
import platform
import sys
import zlib

import numpy as np

from minidl.backend import backend_name, float_type, to_cpu
from minidl.core import Layer, Parameter
from minidl.optimizers.flat import FlatParameters
from minidl.state import architecture

DEEPEST = 6      # an object may hold others, and these the first again


def identity(run):
    """{what: its settings in words} of all that a run's numbers depend on, but for the machine and the versions."""
    same = {"the model": architecture(run.model), "the precision": np.dtype(float_type()).name}
    for name in ("optimizer", "loss", "schedule", "augment", "prepare"):
        part = getattr(run, name)
        same[name] = as_code(part, changing_names(part, run.schedule is not None))
    same |= {name: getattr(run, name) for name in ("epochs", "batch_size")}
    same |= {"x": contents(run.x), "y": contents(run.y), "callbacks": [type(part).__name__ for part in run.callbacks]}
    return same | {name: contents(x) for name, (x, _) in run.looks.items()}


def changing_names(part, with_schedule):
    """What a part changes itself and a checkpoint brings back: no matter for its identity. Without a schedule, the
    learning rate is what the caller chose."""
    if hasattr(part, "remembered"):
        return {*part.remembered, "t"} - (set() if with_schedule else {"lr"})
    return set(part.state_dict()) if hasattr(part, "state_dict") else set()


def difference(saved, now):
    """What differs, in words; "" where nothing does."""
    for name in dict.fromkeys([*saved, *now]):
        if saved.get(name) == now.get(name):
            continue
        there, here = saved.get(name), now.get(name)
        if isinstance(there, list) and isinstance(here, list):
            unlike = [(a, b) for a, b in zip(there, here, strict=False) if a != b]
            there, here = unlike[0] if unlike else (f"{len(there)} parts", f"{len(here)} parts")
        return f"{name} was {there}, is {here}"
    return ""


def versions():
    """What the bits of a result depend on beside the training itself."""
    return {"minidl": sys.modules["minidl"].__version__, "numpy": np.__version__, "backend": backend_name(),
            "machine": platform.machine()}


def as_code(thing, without=(), depth=0):
    """An object as the code would write it, Adam(lr=0.001, ...), with the arguments that its class keeps by name.

    depth: within how many others it was found; from DEEPEST on, its class has to do
    """
    if depth == DEEPEST:
        return type(thing).__name__
    inside = functools.partial(as_code, depth=depth + 1)
    if thing is None or isinstance(thing, (int, float, str, bytes, np.generic, os.PathLike)):
        return repr(thing)
    if isinstance(thing, (list, tuple, set)):
        return f"[{', '.join(map(inside, thing))}]"
    if isinstance(thing, dict):
        return f"{{{', '.join(f'{key!r}: {inside(thing[key])}' for key in thing)}}}"
    if hasattr(thing, "dtype"):
        return contents(thing)
    if isinstance(thing, functools.partial):
        return f"partial({inside(thing.func)}, {inside(thing.args)}, {inside(thing.keywords)})"
    if inspect.isroutine(thing) or isinstance(thing, type):
        return f"{getattr(thing, '__qualname__', type(thing).__name__)}{code_of(thing, inside)}"
    kept = {name: value for name, value in sorted(getattr(thing, "__dict__", {}).items())
            if name not in without and not name.startswith("_") and is_setting(value)}
    kept = {name: kept[name] for name in kept if name in arguments_of(type(thing))} or kept
    return f"{type(thing).__name__}({', '.join(f'{name}={inside(kept[name])}' for name in kept)})"


def arguments_of(kind):
    """The names of the arguments that make an object of this class."""
    try:
        return set(inspect.signature(kind).parameters)
    except ValueError:      # of some classes that are not written in Python
        return set()


def is_setting(value):
    """Whether the value of an attribute may be an argument, and not parameters, vectors or a generator."""
    if isinstance(value, (list, tuple)):
        return all(map(is_setting, value))
    return not isinstance(value, (Parameter, Layer, FlatParameters, np.random.Generator))


def code_of(function, inside):
    """A checksum of a function that is written in Python: the names and the numbers in it, its defaults, and what it
    has from around it. Two lambdas have the same name."""
    code = getattr(function, "__code__", None)
    if code is None:
        return ""
    constants = [constant for constant in code.co_consts if not inspect.iscode(constant)]
    around = inspect.getclosurevars(function).nonlocals if inspect.isfunction(function) else {}
    text = inside([constants, code.co_names, around, getattr(function, "__defaults__", None)])
    return f" {zlib.crc32(text.encode()):08x}"


def contents(array):
    """Shape, type and checksum of an array."""
    array = np.ascontiguousarray(to_cpu(array))
    return f"{array.dtype} {array.shape}, CRC-32 {zlib.crc32(array):08x}"
