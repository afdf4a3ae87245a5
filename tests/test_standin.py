"""The stand-in for CuPy keeps CuPy's rules: what it refuses, what it counts, and how its kernels compute.

The texts are those of CuPy 14.2 where it has some; where CuPy is silent or undefined, the stand-in's own.
"""

import copy
import json

import numpy as np
import pytest
import standin
from cases import assert_same_bits
from standin import HiddenSynchronisation, counters, cupy, kernels, needs_compiler, no_synchronisation
from standin.record import keywords


def device(*shape, dtype=np.float32):
    return cupy.asarray(np.arange(np.prod(shape)).reshape(shape).astype(dtype))


x, labels = device(3, 4), cupy.asarray(np.array([1, 1, 2]))
host = np.ones((3, 4), np.float32)


# ------------------------------------------------------------------------------------------------------ what is refused

REFUSED = {
    "np.asarray": (lambda: np.asarray(x), TypeError, "Implicit conversion to a NumPy array is not allowed"),
    "device + host": (lambda: x + host, TypeError, "Unsupported type <class 'numpy.ndarray'>"),
    "host + device": (lambda: host + x, TypeError, "Unsupported type <class 'numpy.ndarray'>"),
    "device + host of no dimensions": (lambda: x + np.array(1.0), TypeError, "Unsupported type"),
    "device += host": (lambda: x.copy().__iadd__(host), TypeError, "Unsupported type"),
    "device @ host": (lambda: x @ host.T, TypeError, "Unsupported type"),
    "host @ device": (lambda: host.T @ x, TypeError, "Unsupported type"),
    "np.maximum of both": (lambda: np.maximum(x, host), TypeError, "Unsupported type"),
    "concatenate of both": (lambda: cupy.concatenate([x, host]), TypeError, "Unsupported type"),
    "device = host": (lambda: x.__setitem__(slice(None), host), ValueError, "non-scalar numpy.ndarray"),
    "device = list": (lambda: x.__setitem__(0, [1, 2, 3, 4]), ValueError, "non-scalar numpy.ndarray"),
    "host = device": (lambda: host.copy().__setitem__(slice(None), x), TypeError, "Implicit conversion"),
    "a list in a sum": (lambda: x + [1, 2, 3, 4], TypeError, "Unsupported type <class 'list'>"),
    "out= on the host": (lambda: cupy.exp(x, out=host), TypeError, "must be of ArrayType"),
    "index on the host": (lambda: x[np.array([0, 1])], TypeError, "an index of type ndarray lies on the CPU"),
    "index list": (lambda: x[[0, 1]], TypeError, "an index of type list lies on the CPU"),
    "range": (lambda: range(x.argmax()), TypeError, "cannot be interpreted as an integer"),
    "list index": (lambda: [1, 2][labels[0]], TypeError, "list indices must be integers"),
    "hash": (lambda: {x}, TypeError, "unhashable"),
    "sum(where=)": (lambda: cupy.sum(x, where=x > 1), TypeError, "unexpected keyword argument 'where'"),
    "x.sum(where=)": (lambda: x.sum(where=x > 1), TypeError, "unexpected keyword argument 'where'"),
    "max(initial=)": (lambda: x.max(initial=0), TypeError, "unexpected keyword argument 'initial'"),
    "var(correction=)": (lambda: cupy.var(x, correction=1), TypeError, "unexpected keyword argument 'correction'"),
    "clip(min=)": (lambda: cupy.clip(x, min=0), TypeError, "unexpected keyword argument 'min'"),
    "as_strided(writeable=)": (lambda: cupy.lib.stride_tricks.as_strided(x, writeable=False), TypeError, "'writeable'"),
    "einsum_path": (lambda: cupy.einsum_path, AttributeError, "no attribute 'einsum_path'"),
    "insert": (lambda: cupy.insert, AttributeError, "no attribute 'insert'"),
    "vecdot": (lambda: cupy.vecdot, AttributeError, "no attribute 'vecdot'"),
    "errstate": (lambda: cupy.errstate, AttributeError, "no attribute 'errstate'"),
    "setflags": (lambda: x.setflags(write=False), AttributeError, "'setflags'"),
    "resize": (lambda: x.resize(12), AttributeError, "'resize'"),
    "writeable": (lambda: x.flags.writeable, AttributeError, "'writeable'"),
    "maximum.reduce": (lambda: cupy.maximum.reduce(x), NotImplementedError, "`cupy_maximum.reduce` is not supported"),
    "np.maximum.reduce": (lambda: np.maximum.reduce(x), NotImplementedError, "`cupy_maximum.reduce` is not supported"),
    "multiply.at": (lambda: cupy.multiply.at(x, labels, 1.0), NotImplementedError, "`cupy_multiply.at`"),
    "an index too large": (lambda: x[cupy.asarray(np.array([0, 3]))], IndexError, "out of bounds"),
    "take too large": (lambda: x.take(labels + 20), IndexError, "out of bounds"),
    "assigned twice": (lambda: x.__setitem__(labels, 0.0), IndexError, "the same element is assigned to twice"),
    "RawKernel": (lambda: cupy.RawKernel("", "k"), NotImplementedError, "no RawKernel: write an Element"),
    "ReductionKernel": (lambda: cupy.ReductionKernel("T x", "T y", "x", "a + b", "y = a", "0"),
                        NotImplementedError, "no ReductionKernel: write an ElementwiseKernel"),
    "a second device": (lambda: cupy.cuda.Device(1), ValueError, "number 0; got 1"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what):
    act, kind, text = REFUSED[what]
    before = x.get()
    with pytest.raises(kind) as caught:
        act()
    assert text in str(caught.value)
    assert_same_bits(x.get(), before, "x")


def test_allowed():
    """What works on a GPU works here, and its result stays there."""
    for result in (np.exp(x), np.sum(x, axis=1), np.zeros_like(x), x * 2, 2 * x, x * np.float32(2), np.float32(2) * x,
                   x @ x.T, -x, abs(x), x > 1, 1 - x, x.sum((0, 1)), x.mean(), x.argmax(axis=1),
                   cupy.where(x > 3, x, 0),
                   x[labels], x[cupy.arange(3), labels], x.take(labels, axis=0), cupy.concatenate([x, x]),
                   cupy.lib.stride_tricks.sliding_window_view(x, (2, 2)), cupy.full_like(x, 3), cupy.add.reduce(x),
                   x.astype(np.float64), x.ravel(), cupy.pad(x, 1), cupy.split(x, 2, axis=1)[0], copy.deepcopy(x)):
        assert isinstance(result, cupy.ndarray)
    zeros = cupy.zeros((3, 4))
    zeros[cupy.arange(3), labels] -= 1
    assert zeros.sum() == -3
    cupy.add.at(zeros, labels, 1.0)                # row 1 twice, and no element of it twice at once
    assert zeros.tolist() == [[0, -1, 0, 0], [2, 1, 2, 2], [1, 1, 0, 1]]
    zeros[...] = np.array(5.0)
    assert (zeros == 5).all()


def test_reductions_give_arrays_of_no_dimensions():
    for result in (x.sum(), x.max(), x.argmax(), x.mean(), x[0, 0], cupy.sum(x), np.sum(x)):
        assert isinstance(result, cupy.ndarray)
        assert result.shape == ()


def test_promotion_follows_nep_50():
    assert (x * 2.5).dtype == np.float32
    assert (x * np.float64(2.5)).dtype == np.float64


def test_empty_is_poisoned():
    assert cupy.isnan(cupy.empty((2, 3), np.float32)).all()
    assert cupy.isnan(cupy.empty_like(x)).all()
    assert cupy.empty(3, np.uint8).tolist() == [178] * 3
    assert cupy.empty(2, bool).tolist() == [True, True]


def test_views_know_whose_they_are():
    """FlatParameters tells by it whether a parameter is still a view of the flat vector."""
    flat = cupy.zeros(12)
    part = flat[2:8].reshape(2, 3)
    assert flat.base is None
    assert part.base is flat
    assert part[0].T.base is flat
    assert part.copy().base is None
    assert (part + 1).base is None
    assert copy.deepcopy(part).base is None
    assert flat.astype(np.float64, copy=False) is flat
    assert cupy.asarray(flat) is flat
    part += 1
    assert flat.sum() == 6


# ----------------------------------------------------------------------------------------------------- synchronisations

WAITS = {
    "float": lambda: float(x.sum()), "int": lambda: int(labels[0]), "if": lambda: 1 if x.any() else 0,
    "get": lambda: x.get(), "item": lambda: x.sum().item(), "tolist": lambda: x.tolist(),
    "asnumpy": lambda: cupy.asnumpy(x),
    "format": lambda: f"{x.sum():.3f}", "repr": lambda: repr(x), "str": lambda: str(x), "mask": lambda: x[x > 3],
    "assignment through a mask": lambda: x.copy().__setitem__(x > 3, 0), "nonzero": lambda: cupy.nonzero(x),
    "where of one argument": lambda: cupy.where(x), "unique": lambda: cupy.unique(labels),
    "bincount": lambda: cupy.bincount(labels), "min of Python": lambda: min(labels), "in": lambda: 3 in labels,
    "Device.synchronize": lambda: cupy.cuda.Device().synchronize(),
    "Stream.synchronize": lambda: cupy.cuda.Stream.null.synchronize(),
}
WAITS_NOT = {
    "where": lambda: cupy.where(x > 3, x, 0.0).sum(), "argmax": lambda: x.argmax(axis=1) == labels,
    "asarray": lambda: cupy.asarray(host), "gather": lambda: x[labels], "shape": lambda: len(x) * x.shape[1] * x.size,
    "product": lambda: x @ x.T, "in place": lambda: x.copy().__iadd__(1), "fill": lambda: x.copy().fill(0),
}


@pytest.mark.parametrize("what", WAITS)
def test_what_waits_for_the_gpu(what):
    before = counters.synchronisations
    WAITS[what]()
    assert counters.synchronisations > before
    with no_synchronisation(), pytest.raises(HiddenSynchronisation, match="makes the CPU wait for the GPU"):
        WAITS[what]()
    WAITS[what]()


@pytest.mark.parametrize("what", WAITS_NOT)
def test_what_does_not_wait(what):
    before = counters.synchronisations
    with no_synchronisation():
        WAITS_NOT[what]()
    assert counters.synchronisations == before


def test_uploads_are_counted():
    before = counters.uploads
    cupy.asarray(host)
    cupy.asarray([1, 2])
    cupy.asarray(x)
    assert counters.uploads == before + 2


def test_memory_runs_out():
    with standin.memory_limit(1000):
        cupy.zeros(100)
        with pytest.raises(cupy.cuda.memory.OutOfMemoryError, match="Out of memory allocating 1,600 bytes"):
            cupy.zeros(100) + cupy.zeros((2, 100))
    cupy.zeros(1000)


def test_installed_is_what_import_finds():
    with standin.installed():
        import cupy as found
        from cupy.cuda.memory import OutOfMemoryError
        assert found is cupy
        assert OutOfMemoryError is standin.OutOfMemoryError


# -------------------------------------------------------------------------------------------------------------- kernels

MAXPOOL = ("raw T x, int32 h, int32 w, int32 oh, int32 ow", "T y, int32 place", """
    int c = i / (oh * ow), oy = i / ow % oh, ox = i % ow;
    T largest = x[(c * h + 2 * oy) * w + 2 * ox];
    int at = 0;
    for (int d = 1; d < 4; ++d) {
        T v = x[(c * h + 2 * oy + d / 2) * w + 2 * ox + d % 2];
        if (v > largest) { largest = v; at = d; }
    }
    y = largest;
    place = at;
""", "maxpool")


@needs_compiler
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8])
def test_a_kernel_computes(dtype):
    images = np.random.default_rng(0).permutation(12 * 8 * 6).reshape(12, 8, 6).astype(dtype)
    y, place = cupy.empty((12, 4, 3), dtype), cupy.empty((12, 4, 3), np.int32)
    returned = cupy.ElementwiseKernel(*MAXPOOL)(cupy.asarray(images), 8, 6, 4, 3, y, place)
    assert returned[0] is y and returned[1] is place
    windows = images.reshape(12, 4, 2, 3, 2).transpose(0, 1, 3, 2, 4).reshape(12, 4, 3, 4)
    assert_same_bits(y.get(), windows.max(-1), "y")
    assert_same_bits(place.get(), windows.argmax(-1).astype(np.int32), "place")


@needs_compiler
def test_an_index_outside_is_named():
    inputs, outputs, body, _ = MAXPOOL
    kernel = cupy.ElementwiseKernel(inputs, outputs, body.replace("2 * oy + d / 2", "2 * oy + d"), "planted")
    with pytest.raises(IndexError, match=r"kernel 'planted': x\[48\] lies outside of its 48 elements$"):
        kernel(device(1, 8, 6), 8, 6, 4, 3, cupy.empty((1, 4, 3), np.float32), cupy.empty((1, 4, 3), np.int32))
    write = cupy.ElementwiseKernel("T x", "raw T y", "y[i - 1] = x", "below")
    with pytest.raises(IndexError, match=r"kernel 'below': y\[-1\] lies outside of its 4 elements"):
        write(device(4), device(4))
    axes = cupy.ElementwiseKernel("raw T x", "T y", "ptrdiff_t k[] = {0, i}; y = x[k]", "axes")
    with pytest.raises(IndexError, match=r"kernel 'axes': x\[4\] lies outside of its 4 elements along axis 1"):
        axes(device(3, 4), device(5))


@needs_compiler
def test_arguments_broadcast_and_outputs_are_made():
    kernel = cupy.ElementwiseKernel("T a, T b, float32 c", "T sum, bool more", "sum = a + b * c; more = a > b", "add")
    made, more = kernel(device(3, 1), device(4), 2)
    a, b = np.arange(3, dtype=np.float32)[:, None], np.arange(4, dtype=np.float32)
    assert_same_bits(made.get(), a + b * 2, "sum")
    assert_same_bits(more.get(), a > b, "more")
    single = cupy.ElementwiseKernel("T a", "T b", "b = -a", "negative")
    assert isinstance(single(device(3)), cupy.ndarray)
    assert isinstance(cupy.ElementwiseKernel("T a", "T b", "b = -a", "negative", return_tuple=True)(device(3)), tuple)
    assert cupy.ElementwiseKernel("T a", "T b", "b = -a", "negative", no_return=True)(device(3)) is None
    assert single(cupy.asarray(2.0)).tolist() == -2.0
    assert single(cupy.zeros((0, 3))).shape == (0, 3)


@needs_compiler
def test_arrays_need_not_be_contiguous():
    """A raw array counts its elements in C order, wherever they lie; so do the others."""
    matrix = device(4, 5)
    raw = cupy.ElementwiseKernel("raw T x", "T y", "y = x[i] + x.shape()[0] * 100 + x.size() * 1000", "shape")
    for part in (matrix.T, matrix[::2, 1:4], matrix[::-1]):
        y = cupy.empty(part.size, np.float32)
        raw(part, y)
        rows = part.shape[0]
        assert_same_bits(y.get(), part.get().ravel() + rows * 100 + part.size * 1000, "raw")
    double = cupy.ElementwiseKernel("T x", "T y", "y = 2 * x", "double_")
    y = cupy.zeros((5, 4), np.float32).T
    double(matrix, y)
    assert_same_bits(y.get(), matrix.get() * 2, "not raw")
    index = cupy.ElementwiseKernel("raw T x, T like", "T y", "y = x[_ind.get()] + 0 * like + _ind.size()", "index")
    assert_same_bits(index(matrix.T, cupy.zeros((5, 4), np.float32)).get(), matrix.get().T + 20, "by axes")


@needs_compiler
def test_a_kernel_may_change_its_output():
    w = device(5)
    step = cupy.ElementwiseKernel("T g, T lr", "T w", "w -= lr * g", "sgd")
    step(cupy.full_like(w, 2), 0.5, w)
    assert w.tolist() == [-1, 0, 1, 2, 3]
    count = cupy.ElementwiseKernel("raw T x", "raw T y", "y[i] = x[i] + half(x[i])", "halves",
                                   preamble="__device__ T half(T v) { return v / (T)2; }")
    y = cupy.empty(3, np.float64)
    count(cupy.asarray(np.array([2.0, 4, 6])), y, size=3)
    assert y.tolist() == [3, 6, 9]


@needs_compiler
def test_functions_of_cuda():
    body = "y = rsqrt(x) + min(x, (T)2) + max((T)1, x) + exp(-x) + fabs(x) + erf(x)"
    kernel = cupy.ElementwiseKernel("T x", "T y", body, "functions")
    for dtype in (np.float32, np.float64):
        values = np.array([0.25, 1, 4], dtype)
        y = kernel(cupy.asarray(values))
        from math import erf
        expected = [1 / v**0.5 + min(v, 2) + max(1, v) + np.exp(-v) + v + erf(v) for v in values.astype(float)]
        np.testing.assert_allclose(y.get(), expected, rtol=1e-6)
        assert y.dtype == dtype


KERNEL_FAULTS = {
    "name of the loop": (lambda: cupy.ElementwiseKernel("T x", "T i", ""), ValueError, "Can not use 'i'"),
    "no type": (lambda: cupy.ElementwiseKernel("x", "T y", ""), ValueError, "Syntax error: x"),
    "unknown type": (lambda: cupy.ElementwiseKernel("float16x x", "T y", ""), TypeError, "float16x"),
    "unknown keyword": (lambda: cupy.ElementwiseKernel("T x", "T y", "", prefix=""), TypeError, "'prefix'"),
    "number": (lambda: NEGATIVE(x, x, x), TypeError, "It must be either 1 or 2 (with outputs), but given 3."),
    "host": (lambda: NEGATIVE(host), TypeError, "Unsupported type <class 'numpy.ndarray'>"),
    "types": (lambda: NEGATIVE(x, x.astype(float)), TypeError, "Type is mismatched"),
    "own type": (lambda: MEAN(x.astype(float)), TypeError, "Type is mismatched"),
    "shape": (lambda: NEGATIVE(x, cupy.empty(3, np.float32)), ValueError, "broadcast"),
    "out shape": (lambda: NEGATIVE(x[:1], x[0]), ValueError, "Out shape is mismatched"),
    "half": (lambda: NEGATIVE(x.astype(np.float16)), TypeError, "float16, which the stand-in cannot compute"),
    "size": (lambda: NEGATIVE(x, size=3), ValueError, "can be used only if all of the ndarray are 'raw'"),
    "no size": (lambda: RAW(x, x), ValueError, "Loop size is undecided."),
    "raw output": (lambda: RAW(x, size=3), ValueError, "Output array size is undecided"),
    "raw number": (lambda: RAW(3.0, x, size=3), TypeError, "x is raw"),
    "a number too large": (lambda: LARGE(x, 2**31), OverflowError, "n=2147483648 is no int32"),
    "placeholder": (lambda: PLACEHOLDER(x, 3), TypeError, "no array says which type S of n is"),
}
NEGATIVE = cupy.ElementwiseKernel("T x", "T y", "y = -x", "negative")
MEAN = cupy.ElementwiseKernel("float32 x", "float32 y", "y = x", "mean")
RAW = cupy.ElementwiseKernel("raw T x", "raw T y", "y[i] = x[i]", "raw_copy")
LARGE = cupy.ElementwiseKernel("T x, int32 n", "T y", "y = x * n", "large")
PLACEHOLDER = cupy.ElementwiseKernel("T x, S n", "T y", "y = x * n", "times")


@pytest.mark.parametrize("fault", KERNEL_FAULTS)
def test_kernel_faults(fault):
    act, kind, text = KERNEL_FAULTS[fault]
    with pytest.raises(kind) as caught:
        act()
    assert text in str(caught.value)


@needs_compiler
def test_what_does_not_compile_says_where():
    with pytest.raises(standin.CompileException, match="kernel 'bad' does not compile.*undefined_variable"):
        cupy.ElementwiseKernel("T x", "T y", "y = x + undefined_variable", "bad")(x)
    with pytest.raises(standin.CompileException, match="ambiguous"):  # int and float, as for NVIDIA's compiler
        cupy.ElementwiseKernel("T x", "T y", "y = max(1, x)", "unequal_types")(x)
    with pytest.raises(standin.CompileException, match="read-only"):
        cupy.ElementwiseKernel("raw T x", "T y", "x[0] = y", "writes_its_input")(x, x.copy())


@needs_compiler
@pytest.mark.parametrize("body", ["y[i / 2] = x[i]", "y[0] = max(y[0], (T)i) * 2", "y[i] = i ? y[i - 1] + 1 : 0"])
def test_what_depends_on_the_order_is_refused(body):
    with pytest.raises(RuntimeError, match="kernel 'race': y depends on the order in which the elements are computed"):
        cupy.ElementwiseKernel("raw T x", "raw T y", body, "race")(device(6), cupy.zeros(6, np.float32), size=6)


@needs_compiler
def test_reading_what_nobody_wrote_shows():
    """An output that is read before it is written, or not written everywhere, keeps its poison."""
    y = cupy.ElementwiseKernel("T x", "T y", "if (x > 2) y = x", "half_written")(device(5))
    assert np.isnan(y.get()).tolist() == [True, True, True, False, False]


@needs_compiler
def test_a_kernel_is_compiled_once(monkeypatch, tmp_path):
    monkeypatch.setattr(kernels, "CACHE", tmp_path)
    for _ in range(2):
        cupy.ElementwiseKernel("T x", "T y", "y = 7 * x", "seven")(device(3))
    assert len(list(tmp_path.iterdir())) == 1
    cupy.ElementwiseKernel("T x", "T y", "y = 7 * x", "seven")(device(3, dtype=np.float64))
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(kernels, "COMPILER", None)
    cupy.ElementwiseKernel("T x", "T y", "y = 7 * x", "seven")(device(3))
    with pytest.raises(standin.CompileException, match=r"g\+\+, which is not installed"):
        cupy.ElementwiseKernel("T x", "T y", "y = 8 * x", "eight")(device(3))


# --------------------------------------------------------------------------------------------------------------- record

def test_the_record_reads_signatures():
    def plain(a, axis=None, *, out=None):
        pass

    class Compiled:
        """_base.take(self, indices, int axis=None, out=None) -> _base"""
        __signature__ = "none"

    assert keywords(plain) == ["a", "axis", "out"]
    assert keywords(Compiled) == ["indices", "axis", "out"]


def test_the_record_is_of_the_version_that_the_stand_in_names():
    recorded = json.loads((kernels.Path(kernels.__file__).with_name("cupy.json")).read_text(encoding="utf-8"))
    assert cupy.__version__ == recorded["version"]
    missing = [name for name in vars(cupy) if not name.startswith("_") and name not in recorded["names"]
               and name not in ("cuda", "lib")]
    assert not missing, f"the stand-in has names that CuPy has not: {missing}"
