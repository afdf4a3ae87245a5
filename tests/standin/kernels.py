"""`ElementwiseKernel` on the CPU: the body of a CUDA kernel, compiled by g++, every index of a `raw` array checked.

The generated source has the shape of CuPy's own: a loop over `i`, in which each argument that is not `raw` is a
reference to its element. It is compiled once for each body and choice of types; the objects lie in `CACHE`.

Besides, every call computes twice, from the first `i` to the last and back: a GPU promises no order, so where the two
differ the kernel is wrong (two threads write the same element, or one reads what another writes).
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from math import prod
from pathlib import Path

import numpy as np

from standin.array import ndarray, outer, poisoned

COMPILER = shutil.which("g++")
FLAGS = ("-std=c++17", "-O1", "-shared", "-fPIC", "-w")
CACHE = Path(__file__).resolve().parents[2] / ".pytest_cache" / "kernels"
TYPES = {"bool": "bool", "int8": "signed char", "int16": "short", "int32": "int", "int64": "long long",
         "uint8": "unsigned char", "uint16": "unsigned short", "uint32": "unsigned int", "uint64": "unsigned long long",
         "float32": "float", "float64": "double"}


class CompileException(Exception):  # noqa: N818 - CuPy's name
    """cupy.cuda.compiler.CompileException: what the compiler said about a kernel."""


HEADER = r"""
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
using std::abs; using std::exp; using std::exp2; using std::expm1; using std::log; using std::log1p; using std::log2;
using std::log10; using std::sqrt; using std::cbrt; using std::pow; using std::sin; using std::cos; using std::tan;
using std::asin; using std::acos; using std::atan; using std::atan2; using std::sinh; using std::cosh; using std::tanh;
using std::erf; using std::erfc; using std::floor; using std::ceil; using std::round; using std::rint; using std::trunc;
using std::fabs; using std::fmod; using std::fmin; using std::fmax; using std::fma; using std::copysign;
using std::hypot; using std::isnan; using std::isinf; using std::isfinite; using std::signbit;
using std::ptrdiff_t; using std::size_t;
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __ldg(pointer) (*(pointer))
// CUDA's own choice of types: min(1, x) of a float x is ambiguous there, and so it is here. Of a NaN and a number it
// is the number.
#define PAIR(A, B, C) inline C min(A a, B b) { return (C)b < (C)a ? (C)b : (C)a; } \
                      inline C max(A a, B b) { return (C)a < (C)b ? (C)b : (C)a; }
#define FLOATS(A, B, C) inline C min(A a, B b) { return std::fmin((C)a, (C)b); } \
                        inline C max(A a, B b) { return std::fmax((C)a, (C)b); }
PAIR(int, int, int) PAIR(unsigned, unsigned, unsigned) PAIR(int, unsigned, unsigned) PAIR(unsigned, int, unsigned)
PAIR(long, long, long) PAIR(unsigned long, unsigned long, unsigned long) PAIR(long long, long long, long long)
PAIR(unsigned long long, unsigned long long, unsigned long long)
FLOATS(float, float, float) FLOATS(double, double, double) FLOATS(float, double, double) FLOATS(double, float, double)
template<class A> A rsqrt(A a) { return 1 / sqrt(a); }
inline float rsqrtf(float a) { return 1 / sqrtf(a); }
inline float __expf(float a) { return expf(a); }
inline float __logf(float a) { return logf(a); }
inline float __fdividef(float a, float b) { return a / b; }
inline int __float2int_rn(float a) { return (int)rintf(a); }
inline unsigned int __umulhi(unsigned int a, unsigned int b) { return (unsigned int)(((uint64_t)a * b) >> 32); }

struct Argument {
    void* data; const ptrdiff_t* shape; const ptrdiff_t* strides; ptrdiff_t ndim; ptrdiff_t size; ptrdiff_t contiguous;
};
struct Fault { ptrdiff_t argument; ptrdiff_t axis; ptrdiff_t index; ptrdiff_t size; };

struct Indexer {            // CuPy's CIndexer: the place in the loop, as one number and as one for each axis
    const ptrdiff_t* shape; ptrdiff_t ndim; ptrdiff_t total; ptrdiff_t index[32];
    ptrdiff_t size() const { return total; }
    const ptrdiff_t* get() const { return index; }
    ptrdiff_t last = -2;
    void set(ptrdiff_t i) {     // divisions would take most of the time: the next index and the one before need none
        ptrdiff_t k = ndim - 1;
        if (i == last + 1) for (; k >= 0 && ++index[k] == shape[k]; --k) index[k] = 0;
        else if (i == last - 1) for (; k >= 0 && index[k]-- == 0; --k) index[k] = shape[k] - 1;
        else for (ptrdiff_t rest = i; k >= 0; --k) { index[k] = rest % shape[k]; rest /= shape[k]; }
        last = i;
    }
    ptrdiff_t offset(const ptrdiff_t* strides) const {
        ptrdiff_t place = 0;
        for (ptrdiff_t k = 0; k < ndim; ++k) place += index[k] * strides[k];
        return place;
    }
};

template<class T> struct CArray {   // a raw array: x[i] counts its elements in C order, wherever they lie
    const Argument& given; ptrdiff_t number;
    ptrdiff_t size() const { return given.size; }
    const ptrdiff_t* shape() const { return given.shape; }
    const ptrdiff_t* strides() const { return given.strides; }
    T& at(ptrdiff_t place) const { return *(T*)((char*)given.data + place); }
    template<class Int, class = typename std::enable_if<std::is_integral<Int>::value>::type>
    T& operator[](Int position) const {
        ptrdiff_t i = (ptrdiff_t)position, place = 0;
        if (i < 0 || i >= given.size) throw Fault{number, -1, i, given.size};
        if (given.contiguous) return ((T*)given.data)[i];
        for (ptrdiff_t k = given.ndim - 1; k >= 0; --k) {
            place += i % given.shape[k] * given.strides[k];
            i /= given.shape[k];
        }
        return at(place);
    }
    T& operator[](const ptrdiff_t* index) const {
        ptrdiff_t place = 0;
        for (ptrdiff_t k = 0; k < given.ndim; ++k) {
            if (index[k] < 0 || index[k] >= given.shape[k]) throw Fault{number, k, index[k], given.shape[k]};
            place += index[k] * given.strides[k];
        }
        return at(place);
    }
};
"""


class Argument(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("shape", ctypes.c_void_p), ("strides", ctypes.c_void_p),
                ("ndim", ctypes.c_ssize_t), ("size", ctypes.c_ssize_t), ("contiguous", ctypes.c_ssize_t)]

    @classmethod
    def of(cls, array, kept):
        """array: NumPy's; kept: a list that keeps alive what the structure points to."""
        shape, strides = ((ctypes.c_ssize_t * max(array.ndim, 1))(*numbers) for numbers in (array.shape, array.strides))
        kept += [array, shape, strides]
        return cls(array.ctypes.data, ctypes.addressof(shape), ctypes.addressof(strides), array.ndim, array.size,
                   array.flags.c_contiguous)


class Fault(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_ssize_t), ("axis", ctypes.c_ssize_t), ("index", ctypes.c_ssize_t),
                ("size", ctypes.c_ssize_t)]


class Parameter:
    """One of a kernel's parameters, from its declaration: `raw T x`."""

    def __init__(self, text, output):
        *words, self.name = text.split()
        if not words or set(words[:-1]) - {"raw"}:
            raise ValueError(f"Syntax error: {text}")
        self.raw, self.type, self.output = "raw" in words[:-1], words[-1], output
        if self.name in ("i", "_ind"):
            raise ValueError(f"Can not use {self.name!r} as a parameter name")
        self.dtype = None if len(self.type) == 1 else np.dtype(self.type)

    @staticmethod
    def all(text, output):
        return [Parameter(part, output) for part in text.split(",") if part.strip()]


class ElementwiseKernel:
    """As cupy.ElementwiseKernel: the same arguments, the same rules, the same errors."""

    def __init__(self, in_params, out_params, operation, name="kernel", reduce_dims=True, preamble="", no_return=False,
                 return_tuple=False, **keywords):
        unknown = set(keywords) - {"loop_prep", "after_loop", "options", "doc"}
        if unknown:
            raise TypeError(f"ElementwiseKernel got an unexpected keyword argument {sorted(unknown)[0]!r}")
        self.inputs, self.outputs = Parameter.all(in_params, False), Parameter.all(out_params, True)
        self.parameters = self.inputs + self.outputs
        names = [parameter.name for parameter in self.parameters]
        if len(set(names)) < len(names):
            raise ValueError(f"kernel {name!r} has two parameters of the same name: {', '.join(names)}")
        if not name.isidentifier():
            raise ValueError(f"Invalid kernel name: {name!r}")
        self.operation, self.name, self.preamble = operation, name, preamble
        self.no_return, self.return_tuple = no_return, return_tuple
        self.before, self.after = keywords.get("loop_prep", ""), keywords.get("after_loop", "")
        self.compiled = {}

    def __call__(self, *arguments, size=None, block_size=128, stream=None):
        if len(arguments) not in (len(self.inputs), len(self.parameters)):
            raise TypeError(f"Wrong number of arguments for {self.name!r}. It must be either {len(self.inputs)} or "
                            f"{len(self.parameters)} (with outputs), but given {len(arguments)}.")
        for value in arguments:
            if not isinstance(value, (ndarray, np.generic, bool, int, float)):
                raise TypeError(f"Unsupported type {type(value)}")
        given = dict(zip(self.parameters, arguments, strict=False))
        for parameter, value in given.items():
            if not isinstance(value, ndarray) and (parameter.output or parameter.raw):
                raise TypeError(f"kernel {self.name!r}: {parameter.name} is {'raw' if parameter.raw else 'an output'}, "
                                f"and has to be a cupy.ndarray")
        types = self.types(given)
        shape = self.loop_shape(given, size)
        for parameter in self.outputs[:len(self.parameters) - len(arguments)]:
            if parameter.raw:
                raise ValueError("Output array size is undecided")
            given[parameter] = outer(poisoned(np.empty(shape, types[parameter])))
        if prod(shape):
            self.run(given, types, shape)
        made = [given[parameter] for parameter in self.outputs]
        if self.no_return:
            return None
        return made[0] if len(made) == 1 and not self.return_tuple else tuple(made)

    def types(self, given):
        """The dtype of each parameter: its own, or that of the arrays that its placeholder stands for."""
        placeholders = {}
        for parameter in self.outputs + self.inputs:
            if not isinstance(given.get(parameter), ndarray):
                continue
            dtype = given[parameter].dtype
            expected = parameter.dtype or placeholders.setdefault(parameter.type, dtype)
            if dtype != expected:
                raise TypeError(f"Type is mismatched. {parameter.name} {dtype} {expected} {parameter.type}")
        for parameter in self.parameters:
            dtype = parameter.dtype or placeholders.get(parameter.type)
            if dtype is None:
                raise TypeError(f"kernel {self.name!r}: no array says which type {parameter.type} of {parameter.name} "
                                f"is; give one, or name a type such as float32")
            if dtype.name not in TYPES:
                raise TypeError(f"kernel {self.name!r}: {parameter.name} is {dtype}, which the stand-in cannot compute")
        return {parameter: parameter.dtype or placeholders[parameter.type] for parameter in self.parameters}

    def loop_shape(self, given, size):
        """What `i` runs over: the shape that the arrays broadcast to, or `size` where all are raw."""
        plain = [value.shape for parameter, value in given.items() if isinstance(value, ndarray) and not parameter.raw]
        if size is not None:
            if plain:
                raise ValueError("Specified 'size' can be used only if all of the ndarray are 'raw'.")
            return (int(size),)
        if not plain:
            raise ValueError("Loop size is undecided.")
        shape = np.broadcast_shapes(*plain)
        for parameter, value in given.items():
            if parameter.output and not parameter.raw and value.shape != shape:
                raise ValueError(f"Out shape is mismatched: {parameter.name} {value.shape}, the loop {shape}")
        return shape

    def run(self, given, types, shape):
        kept, structures = [], (Argument * len(self.parameters))()
        for number, parameter in enumerate(self.parameters):
            value = given[parameter]
            if not isinstance(value, ndarray):
                array = np.array(value).astype(types[parameter])
                if array.dtype.kind in "iu" and int(array) != value:
                    raise OverflowError(f"kernel {self.name!r}: {parameter.name}={value} is no {array.dtype}")
            elif parameter.raw or parameter.output:
                array = value._array
            else:
                array = np.broadcast_to(value._array, shape)
            structures[number] = Argument.of(array, kept)
        compiled = self.library(types)
        sizes, fault = (ctypes.c_ssize_t * max(len(shape), 1))(*shape), Fault()
        written = [given[parameter]._array for parameter in self.outputs]
        before = [array.copy() for array in written]

        def compute(backwards):
            if compiled(structures, sizes, len(shape), prod(shape), backwards, ctypes.byref(fault)):
                axis = f" along axis {fault.axis}" if fault.axis >= 0 else ""
                raise IndexError(f"kernel {self.name!r}: {self.parameters[fault.argument].name}[{fault.index}] lies "
                                 f"outside of its {fault.size} elements{axis}")
            return [array.copy() for array in written]

        forwards = compute(backwards=0)
        for array, start in zip(written, before, strict=True):
            array[...] = start
        for parameter, one, other in zip(self.outputs, forwards, compute(backwards=1), strict=True):
            if one.tobytes() != other.tobytes():
                raise RuntimeError(f"kernel {self.name!r}: {parameter.name} depends on the order in which the elements "
                                   f"are computed, and a GPU promises none")

    def library(self, types):
        """The compiled function for these types, from memory, from the cache, or from the compiler."""
        key = tuple(types.values())
        if key not in self.compiled:
            source = self.source(types)
            name = hashlib.sha256(" ".join((source, *FLAGS, platform.machine())).encode()).hexdigest()[:32]
            path = CACHE / f"{name}.so"
            if not path.exists():
                compile_to(path, source, self.name)
            function = ctypes.CDLL(str(path)).run
            function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_ssize_t, ctypes.c_int,
                                 ctypes.c_void_p]
            self.compiled[key] = function
        return self.compiled[key]

    def source(self, types):
        placeholders = {parameter.type: TYPES[types[parameter].name] for parameter in self.parameters
                        if parameter.dtype is None}
        outside, inside = [], []
        for number, parameter in enumerate(self.parameters):
            kind = ("" if parameter.output else "const ") + TYPES[types[parameter].name]
            if parameter.raw:
                outside.append(f"CArray<{kind}> {parameter.name}{{_arguments[{number}], {number}}};")
            else:
                inside.append(f"{kind} &{parameter.name} = *({kind}*)((char*)_arguments[{number}].data + "
                              f"(_arguments[{number}].ndim ? _ind.offset(_arguments[{number}].strides) : 0));")
        newline = "\n"
        return f"""{HEADER}
{newline.join(f"typedef {kind} {name};" for name, kind in placeholders.items())}
{self.preamble}
static void _kernel(const Argument* _arguments, Indexer& _ind, int _backwards) {{
{newline.join(outside)}
{self.before};
for (ptrdiff_t _k = 0; _k < _ind.size(); ++_k) {{
const ptrdiff_t i = _backwards ? _ind.size() - 1 - _k : _k;
_ind.set(i);
{newline.join(inside)}
{self.operation};
}}
{self.after};
}}
extern "C" int run(const Argument* arguments, const ptrdiff_t* shape, ptrdiff_t ndim, ptrdiff_t size, int backwards,
                   Fault* fault) {{
Indexer indexer{{shape, ndim, size}};
try {{ _kernel(arguments, indexer, backwards); }} catch (const Fault& found) {{ *fault = found; return 1; }}
return 0;
}}
"""


def compile_to(path, source, name):
    """Compile a kernel; the object appears at `path` whole or not at all."""
    if COMPILER is None:
        raise CompileException(f"kernel {name!r}: the stand-in compiles kernels with g++, which is not installed")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        text, made = Path(folder) / "kernel.cpp", Path(folder) / "kernel.so"
        text.write_text(source, encoding="utf-8")
        done = subprocess.run([COMPILER, *FLAGS, "-o", str(made), str(text)], capture_output=True, text=True,
                              check=False)
        if done.returncode:
            told = [line.split("kernel.cpp:", 1)[-1] for line in done.stderr.splitlines() if " error: " in line]
            raise CompileException(f"kernel {name!r} does not compile: {'; '.join(told) or done.stderr}")
        os.replace(made, path)
