"""The array of the stand-in: NumPy computes, CuPy's rules decide what may be asked.

`ndarray` holds a NumPy array and lets nobody at it. It is no subclass of numpy.ndarray, so whatever would mix the two
fails here as it fails on a GPU. Where CuPy is merely undefined (indices out of range, the same index assigned to
twice) this array raises an error.
"""

import contextlib
import inspect
from collections import Counter
from types import SimpleNamespace

import numpy as np


class HiddenSynchronisation(RuntimeError):  # noqa: N818
    """Something made the CPU wait for the GPU where that was forbidden."""


class OutOfMemoryError(MemoryError):
    """cupy.cuda.memory.OutOfMemoryError, with its words."""


class Counters:
    """What happened so far: how often the CPU waited for the GPU, and for what; how often it sent it an array."""

    waits = Counter()
    uploads = 0
    forbidden = False       # inside `no_synchronisation`
    memory = None           # bytes that one new array may have at most; None: any

    @property
    def synchronisations(self):
        return sum(self.waits.values())


counters = Counters()


@contextlib.contextmanager
def no_synchronisation():
    """Inside the block, whatever would make the CPU wait for the GPU raises HiddenSynchronisation."""
    before, counters.forbidden = counters.forbidden, True
    try:
        yield counters
    finally:
        counters.forbidden = before


@contextlib.contextmanager
def memory_limit(size):
    """Inside the block, a new array of more than `size` bytes raises OutOfMemoryError."""
    before, counters.memory = counters.memory, size
    try:
        yield
    finally:
        counters.memory = before


def synchronise(what):
    counters.waits[what] += 1
    if counters.forbidden:
        raise HiddenSynchronisation(f"{what} makes the CPU wait for the GPU")


# ------------------------------------------------------------------------------------------------ there and back again

def inner(value):
    """The NumPy arrays inside an argument. Arrays that lie on the CPU are refused, as CuPy does."""
    if isinstance(value, ndarray):
        return value._array
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, (list, tuple)):
        return type(value)(map(inner, value))
    return value


def outer(value, *parents):
    """What NumPy returned, as the stand-in's: arrays of 0 dimensions instead of numbers; views know whose they are."""
    if isinstance(value, (tuple, list)):
        return type(value)(outer(each, *parents) for each in value)
    if not isinstance(value, (np.ndarray, np.generic)):
        return value
    array = np.asarray(value)
    for parent in parents:
        if array is parent._array:
            return parent
    if array.base is not None:
        for parent in parents:
            if np.may_share_memory(array, parent._array):
                return ndarray(array, parent.base if parent.base is not None else parent)
    if counters.memory is not None and array.nbytes > counters.memory:
        raise OutOfMemoryError(f"Out of memory allocating {array.nbytes:,} bytes (allocated so far: "
                               f"{counters.memory:,} bytes).")
    return ndarray(array)


def upload(value, dtype=None, order="C"):
    """A copy of an array, list or number of the CPU."""
    if not isinstance(value, (bool, int, float, complex, np.generic)):
        counters.uploads += 1
    return outer(np.array(value, dtype=dtype, order=order or "C"))


def poisoned(array):
    """What `empty` leaves: nothing that looks like a result, so that reading it before writing shows."""
    if array.dtype.kind == "b":
        array.fill(True)
    else:
        array.fill(np.nan if array.dtype.kind in "fc" else np.iinfo(array.dtype).max - 77)
    return array


class Flags:
    """CuPy's flags: fewer than NumPy's, and none can be set."""

    def __init__(self, flags):
        self.c_contiguous, self.f_contiguous, self.owndata = flags.c_contiguous, flags.f_contiguous, flags.owndata
        self.fnc, self.forc = flags.fnc, flags.forc

    def __getitem__(self, name):
        return getattr(self, name.lower())


class Device:
    """The only one there is."""

    id = 0
    compute_capability = "90"
    mem_info = (7 << 30, 8 << 30)

    def __init__(self, number=0):
        if number:
            raise ValueError(f"the stand-in has one device, number 0; got {number}")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False

    def use(self):
        pass

    def synchronize(self):
        synchronise("Device.synchronize()")

    def __repr__(self):
        return "<CUDA Device 0>"


class ndarray:  # noqa: N801 - CuPy's name
    """An array that counts as lying on a GPU."""

    __module__ = "cupy"     # as errors name it
    __hash__ = None
    __array_priority__ = 100
    __slots__ = ("_array", "base")

    def __init__(self, array, base=None):
        self._array, self.base = array, base

    shape = property(lambda self: self._array.shape)
    dtype = property(lambda self: self._array.dtype)
    ndim = property(lambda self: self._array.ndim)
    size = property(lambda self: self._array.size)
    nbytes = property(lambda self: self._array.nbytes)
    itemsize = property(lambda self: self._array.itemsize)
    strides = property(lambda self: self._array.strides)
    flags = property(lambda self: Flags(self._array.flags))
    device = property(lambda self: Device())
    data = property(lambda self: SimpleNamespace(ptr=self._array.ctypes.data))     # CuPy's MemoryPointer
    T = property(lambda self: outer(self._array.T, self))
    mT = property(lambda self: outer(self._array.mT, self))  # noqa: N815

    # -- nothing leaves the GPU unasked

    def __array__(self, *arguments, **keywords):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy "
                        "array explicitly.")

    def get(self, stream=None, order="C", out=None, blocking=True):
        synchronise(".get()")
        return np.array(self._array, order=order)

    def item(self):
        synchronise(".item()")
        return self._array.item()

    def tolist(self):
        synchronise(".tolist()")
        return self._array.tolist()

    def tobytes(self, order="C"):
        synchronise(".tobytes()")
        return self._array.tobytes(order)

    def __float__(self):
        synchronise("float()")
        return float(self._array)

    def __int__(self):
        synchronise("int()")
        return int(self._array)

    def __complex__(self):
        synchronise("complex()")
        return complex(self._array)

    def __bool__(self):
        synchronise("bool(), as `if` and `and` ask for it,")
        return bool(self._array)

    def __format__(self, form):
        synchronise("format()")
        return format(self._array, form)

    def __str__(self):
        synchronise("str()")
        return str(self._array)

    def __repr__(self):
        synchronise("repr()")
        return repr(self._array)

    def set(self, arr, stream=None):
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype or arr.shape != self.shape:
            raise ValueError(f"Shape or dtype mismatch: {arr.shape} {arr.dtype}, {self.shape} {self.dtype}")
        counters.uploads += 1
        self._array[...] = arr

    def fill(self, value):
        self[...] = value

    # -- copies

    def copy(self, order="C"):
        return outer(self._array.copy(order))

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        synchronise("pickling")
        return upload, (self._array.copy(),)

    # -- parts of it

    def __len__(self):
        return len(self._array)

    def __iter__(self):
        return (self[k] for k in range(len(self)))

    def __getitem__(self, key):
        return outer(self._array[checked_key(key, self.shape)], self)

    def __setitem__(self, key, value):
        if isinstance(value, (list, tuple)) or isinstance(value, np.ndarray) and value.ndim:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        if isinstance(value, ndarray):
            value = value._array
        self._array[checked_key(key, self.shape, writing=True)] = value

    # -- what NumPy is asked to do with it

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        from standin.namespace import modules
        mine = getattr(modules["cupy"], ufunc.__name__, None)
        if mine is None:
            return NotImplemented
        if isinstance(keywords.get("out"), tuple) and len(keywords["out"]) == 1:
            (keywords["out"],) = keywords["out"]
        return (mine if method == "__call__" else getattr(mine, method))(*inputs, **keywords)

    def __array_function__(self, function, types, arguments, keywords):
        from standin.namespace import modules
        module = modules["cupy"]
        for part in function.__module__.split(".")[1:]:
            module = getattr(module, part, None)
        mine = getattr(module, function.__name__, None)
        if mine is None or not all(issubclass(each, (ndarray, np.ndarray)) for each in types):
            return NotImplemented
        return mine(*arguments, **keywords)


def checked_key(key, shape, writing=False):
    """An index as NumPy takes it. Masks wait for the GPU; where elements are written, none may be named twice."""
    parts = key if isinstance(key, tuple) else (key,)
    plain, arrays = [], []
    for part in parts:
        if isinstance(part, (ndarray, np.ndarray, list)):
            if not isinstance(part, ndarray):  # CuPy takes it, and copies it to the GPU in silence at every use
                raise TypeError(f"an index of type {type(part).__name__} lies on the CPU: the stand-in refuses what "
                                f"CuPy would copy to the GPU in silence. Keep it there, with asarray")
            part = part._array
            if part.dtype == bool:
                synchronise("indexing with a mask")
            elif part.ndim:
                arrays.append(part)
            elif part.dtype.kind in "iu":
                part = int(part)
        plain.append(part)
    if writing and arrays:
        flat = [each.ravel() for each in np.broadcast_arrays(*arrays)]
        together = np.stack(flat, axis=1)
        if len(np.unique(together, axis=0)) < len(together):
            raise IndexError("the same element is assigned to twice: which value stays is undefined on a GPU")
    return tuple(plain) if isinstance(key, tuple) else plain[0]


# ---------------------------------------------------------------------------------------------- operators and methods

def binary(ufunc, swapped):
    def operator(self, other):
        if isinstance(other, (list, tuple)):
            raise TypeError(f"Unsupported type {type(other)}")
        if not isinstance(other, (ndarray, np.ndarray, np.generic, bool, int, float, complex)):
            return NotImplemented
        other = inner(other)
        return outer(ufunc(other, self._array) if swapped else ufunc(self._array, other))
    return operator


def in_place(ufunc):
    def operator(self, other):
        ufunc(self._array, inner(other), out=self._array)
        return self
    return operator


UFUNCS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "floordiv": np.floor_divide,
          "mod": np.remainder, "pow": np.power, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
          "lshift": np.left_shift, "rshift": np.right_shift}
for _name, _ufunc in UFUNCS.items():
    setattr(ndarray, f"__{_name}__", binary(_ufunc, False))
    setattr(ndarray, f"__r{_name}__", binary(_ufunc, True))
    setattr(ndarray, f"__i{_name}__", in_place(_ufunc))
ndarray.__matmul__, ndarray.__rmatmul__ = binary(np.matmul, False), binary(np.matmul, True)   # CuPy has no @=
for _name, _ufunc in {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal,
                      "ne": np.not_equal}.items():
    setattr(ndarray, f"__{_name}__", binary(_ufunc, False))
for _name, _ufunc in {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}.items():
    setattr(ndarray, f"__{_name}__", lambda self, ufunc=_ufunc: outer(ufunc(self._array)))


def method(name, keywords):
    """A method of NumPy's arrays, with the keywords that CuPy's knows."""
    waits = {"nonzero", "dump", "dumps", "tofile", "searchsorted", "compress"}

    def call(self, *arguments, **given):
        refuse_unknown(f"ndarray.{name}", keywords, given)
        if name in waits:
            synchronise(f".{name}()")
        target = given.get("out")
        given = {key: inner(value) for key, value in given.items() if value is not None or key != "casting"}
        result = getattr(self._array, name)(*map(inner, arguments), **given)
        return target if isinstance(target, ndarray) else outer(result, self)

    call.__name__ = name
    return call


def refuse_unknown(name, keywords, given):
    """A TypeError where a keyword is given that CuPy's function does not have."""
    unknown = [] if keywords is None else sorted(set(given) - set(keywords))
    if unknown:
        raise TypeError(f"{name}() got an unexpected keyword argument {unknown[0]!r}")


def add_methods(recorded):
    """Give the array every method that CuPy's has and that NumPy can compute."""
    for name, keywords in recorded.items():
        if not hasattr(ndarray, name) and inspect.isroutine(getattr(np.ndarray, name, None)):
            setattr(ndarray, name, method(name, keywords))
