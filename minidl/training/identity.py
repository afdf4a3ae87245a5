"""What makes two trainings the same, in words: a checkpoint continues only the training that it is of."""

import inspect
import platform
import sys
import zlib

import numpy as np

from minidl.backend import backend_name, float_type, to_cpu
from minidl.state import architecture


def identity(run):
    """{what: its settings in words} of all that a run's numbers depend on, but for the machine and the versions."""
    same = {"the model": architecture(run.model), "the precision": np.dtype(float_type()).name}
    for name in ("optimizer", "loss", "schedule", "augment", "prepare"):
        same[name] = as_code(getattr(run, name))
    same |= {name: getattr(run, name) for name in ("epochs", "batch_size")}
    same |= {"x": contents(run.x), "y": contents(run.y), "callbacks": [type(part).__name__ for part in run.callbacks]}
    return same | {name: contents(x) for name, (x, _) in run.looks.items()}


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


def as_code(thing):
    """An object as the code would write it, Adam(lr=0.001, ...), with the arguments that its class keeps by name."""
    if thing is None or isinstance(thing, (int, float, str, np.number)):
        return repr(thing)
    if isinstance(thing, (list, tuple)):
        return f"[{', '.join(map(as_code, thing))}]"
    if hasattr(thing, "dtype"):
        return contents(thing)
    if inspect.isroutine(thing):
        return getattr(thing, "__qualname__", repr(thing))
    names = inspect.signature(type(thing)).parameters
    kept = {name: value for name, value in vars(thing).items() if name in names} or \
        {name: value for name, value in vars(thing).items() if isinstance(value, (int, float, str, np.ndarray))}
    return f"{type(thing).__name__}({', '.join(f'{name}={as_code(kept[name])}' for name in sorted(kept))})"


def contents(array):
    """Shape, type and checksum of an array."""
    array = np.ascontiguousarray(to_cpu(array))
    return f"{array.dtype} {array.shape}, CRC-32 {zlib.crc32(array):08x}"
