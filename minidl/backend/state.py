"""What the rest of `minidl.backend` remembers: one object, so that there is one place to look."""

import threading
from contextvars import ContextVar

import numpy as np

_float_type = ContextVar("minidl's float type", default=np.float32)


class _State:
    """What holds for the whole process, and what each thread has for itself."""

    backend = None          # "numpy" or "cupy"; None until the first use
    threads = None          # None until somebody asks
    seed = 0                # what the main thread called `minidl.seed` with last

    @property
    def float_type(self):
        """Of the context that runs: a thread's, and of the tasks of asyncio in one thread each its own."""
        return _float_type.get()

    @float_type.setter
    def float_type(self, kind):
        _float_type.set(kind)

    @property
    def generator(self):
        """Of the thread that runs: cells of a notebook may run in a context each, and one seed holds for all."""
        return _own.generator

    @generator.setter
    def generator(self, generator):
        _own.generator = generator


state = _State()


class _Own(threading.local):
    def __init__(self):     # in every thread, when it draws first
        self.generator = generator_from(state.seed)


def generator_from(seed):
    """NumPy's random numbers from this seed on."""
    return np.random.Generator(np.random.PCG64(seed))


_own = _Own()
