"""Which array library computes: the namespace `xp`, and the switch that refills it."""

import os

import numpy as np

from minidl.backend.cores import threads
from minidl.backend.gpu import choose_products, probed_cupy
from minidl.backend.state import state
from minidl.errors import BackendError

BACKENDS = ("numpy", "cupy")


class Namespace:
    """The functions of the array library in use, under NumPy's names: `xp.exp`, `xp.zeros`, `xp.float32` ...

    It is filled at its first use, with the library that the environment variable MINIDL_BACKEND names (NumPy when
    there is none), and refilled by every `use(name)`.
    """

    def __getattr__(self, name):  # Python comes here only for names that the namespace does not hold
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "random":
            raise AttributeError(f"xp.{name} is left out on purpose: draw with minidl.backend.draw_normal() and its "
                                 f"relatives, so that one seed gives the same numbers on both backends")
        if state.backend is None:
            _start()
            return getattr(self, name)
        raise AttributeError(f"{state.backend} has no function {name!r}")


xp = Namespace()


def use_library(name, tf32=False):
    """Refill `xp` with the library of that name, after proving that it can compute; see `minidl.use`."""
    if name not in BACKENDS:
        raise BackendError(f"unknown backend {name!r}: expected one of {', '.join(BACKENDS)}" +
                           (". An NVIDIA GPU is used by minidl.use(\"cupy\")" if name in ("gpu", "cuda") else ""))
    if tf32 and name != "cupy":
        raise BackendError(f"use({name!r}, tf32=True): TF32 is a mode of NVIDIA GPUs, which the {name} backend does "
                           f"not compute on. Leave tf32 out, or write use(\"cupy\", tf32=True)")
    library = np if name == "numpy" else probed_cupy()
    if name == "cupy":
        choose_products(library, tf32)
    vars(xp).clear()
    vars(xp).update((key, value) for key, value in vars(library).items()
                    if not key.startswith("_") and key != "random")
    state.backend = name
    threads()


def backend_name():
    """The name of the array library in use: "numpy" or "cupy"."""
    if state.backend is None:
        _start()
    return state.backend


def _start():
    """What the environment asks for, at the first use of the backend."""
    name = os.environ.get("MINIDL_BACKEND") or "numpy"
    if name not in BACKENDS:
        raise BackendError(f"MINIDL_BACKEND={name!r}: expected one of {', '.join(BACKENDS)}")
    use_library(name)
