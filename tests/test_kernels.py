"""Every CUDA kernel against its NumPy twin: run on the CPU by the stand-in for CuPy, or with --backend cupy on a GPU;
and, where CuPy and NVIDIA's compiler are installed, compiled by that."""

import contextlib
import importlib
import importlib.util
import os
import pkgutil

import numpy as np
import pytest
import standin
from cases import OPTIMIZERS, assert_close, assert_same_bits, tie_free
from standin import needs_compiler

import minidl
from minidl import ops
from minidl.backend import to_cpu
from minidl.core import Parameter
from minidl.ops.columns import col2im, im2col
from minidl.ops.dropout import dropped
from minidl.ops.features import detrended, feature_sums, gradient_sums, mean_and_variance, scaled
from minidl.ops.gather import FILLS, pixels_at, pixels_between
from minidl.ops.kernels import Kernel, on_gpu
from minidl.ops.pooling import max_pool, max_pool_gradient
from minidl.ops.relu import relu
from minidl.ops.softmax import softmax_cross_entropy
from minidl.ops.windows import Windows
from minidl.optimizers import MovingAverage

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
DRAW = np.random.default_rng(0)

MODULES = [importlib.import_module(f"minidl.ops.{found.name}") for found in pkgutil.iter_modules(ops.__path__)]
KERNELS = [thing for module in MODULES for thing in vars(module).values() if isinstance(thing, Kernel)]


def both(request, work, *arrays):
    """What work(*arrays) returns with NumPy, and what it returns on the GPU or its stand-in: lists of NumPy arrays."""
    def on(backend):
        minidl.use(backend)
        results = work(*(minidl.backend.xp.asarray(array) for array in arrays))
        return [to_cpu(each) for each in (results if isinstance(results, (list, tuple)) else [results])]

    here = on("numpy")
    real = request.config.getoption("--backend") == "cupy"
    with contextlib.nullcontext() if real else standin.installed():
        there = on("cupy")
        minidl.use("numpy")
    return here, there


@pytest.fixture
def twins(request):
    """assert that both give the same: twins(work, *arrays, rtol=...), or the same bits without rtol."""
    def compare(work, *arrays, rtol=None):
        here, there = both(request, work, *arrays)
        assert len(here) == len(there)
        for k, (one, other) in enumerate(zip(here, there, strict=True)):
            if rtol is None:
                assert_same_bits(other, one, f"result {k}")
            else:
                assert other.dtype == one.dtype
                assert_close(other, one, f"result {k}", rtol, rtol)
    return compare


def rounding(dtype):
    return 1e-5 if dtype is np.float32 else 1e-13


WINDOWS = [((2, 2), (2, 2), "valid"), ((3, 2), (1, 1), (1, 0)), ((2, 3), (3, 2), "valid"), ((3, 3), (2, 2), (1, 1)),
           ((2, 3), (1, 2), "same"), ((1, 1), (1, 1), "valid"), ((1, 1), (2, 3), "valid"), ((4, 5), (3, 1), "same"),
           ((7, 6), (1, 1), "valid")]


@needs_compiler
@pytest.mark.parametrize(("size", "stride", "padding"), WINDOWS)
@DTYPES
def test_windows(size, stride, padding, dtype, twins):
    windows = Windows("test", 7, 6, size, stride, padding)
    x = tie_free((3, 7, 6, 5)).astype(dtype)
    equal = np.maximum(x, 0).round()                                     # many equal pixels in a window
    places = 3, windows.OH, windows.OW
    dy = DRAW.standard_normal((*places, 5)).astype(dtype)
    columns = DRAW.standard_normal((3 * windows.OH * windows.OW, size[0] * size[1] * 5)).astype(dtype)
    for image in (x, equal):
        twins(lambda x: max_pool(windows, x), image)
        twins(lambda x, dy: max_pool_gradient(windows, dy, x, max_pool(windows, x)), image, dy)
    twins(lambda x: im2col(windows, x) + 0, x)
    twins(lambda columns: col2im(windows, columns, 3) + 0, columns)


@needs_compiler
@pytest.mark.parametrize(("mean", "spread", "corner"), [(0, 1, 1000), (100, 0.1, 0), (1, 1e-3, 0), (0, 0.01, 30)])
def test_one_value_far_from_the_others_costs_no_digits_of_the_variance(mean, spread, corner, twins):
    x = (mean + spread * DRAW.standard_normal((16, 32, 32, 4))).astype(np.float32)
    x[0, 0, 0] = corner
    exact = x.astype(np.float64).var((0, 1, 2))
    twins(lambda x: mean_and_variance(x)[1], x, rtol=1e-5)
    assert_close(to_cpu(mean_and_variance(x)[1]).astype(np.float64), exact, "variance", 1e-5)


@needs_compiler
@DTYPES
def test_relu(dtype, twins):
    x = tie_free((3, 5, 4, 2)).astype(dtype)
    x[0, 0, 0], x[1, 1, 1, 0], x[2, 2, 2, 1] = np.nan, np.inf, -np.inf
    twins(relu, x)
    twins(lambda x: relu(x[::-1, :, 1:3]), x)


@needs_compiler
def test_max_pool_passes_on_what_is_no_number(twins):
    x = tie_free((2, 4, 4, 3)).astype(np.float32)
    x[0, 1, 1, 0], x[1, 2, 3, 2], x[1, 0, 0] = np.nan, np.inf, -np.inf
    windows = Windows("test", 4, 4, (2, 2), (1, 1), "valid")
    dy = DRAW.standard_normal((2, 3, 3, 3)).astype(np.float32)
    twins(lambda x: max_pool(windows, x), x)
    twins(lambda x, dy: max_pool_gradient(windows, dy, x, max_pool(windows, x)), x, dy)


@needs_compiler
@pytest.mark.parametrize("shape", [(7, 5), (3, 4, 6, 2), (2, 5, 3), (1, 1, 1, 4), (40, 9, 7, 1)])
@DTYPES
def test_by_feature(shape, dtype, twins):
    dy, x = (3 + DRAW.standard_normal((2, *shape))).astype(dtype)
    mean, average, slope, scale = DRAW.standard_normal((4, shape[-1])).astype(dtype)
    near = rounding(dtype)
    twins(feature_sums, x, rtol=near)
    twins(mean_and_variance, x, rtol=near)
    twins(gradient_sums, dy, x, mean, rtol=near)
    twins(scaled, x, scale, mean, rtol=near)
    twins(detrended, dy, x, mean, average.astype(np.float64), slope, scale, rtol=near)
    twins(lambda x: feature_sums(x[::-1, ..., ::-1]), x, rtol=near)      # a view with gaps
    with_threads = minidl.ops.features.THREADS
    try:
        minidl.ops.features.THREADS = 8                                  # several rows for each thread
        twins(feature_sums, x, rtol=near)
        twins(mean_and_variance, x, rtol=near)
        twins(gradient_sums, dy, x, mean, rtol=near)
    finally:
        minidl.ops.features.THREADS = with_threads


@needs_compiler
@pytest.mark.parametrize("shape", [(5, 3, 7), (9,), (4, 1, 1, 6)])
@DTYPES
def test_dropped_to_the_bit(shape, dtype, twins):
    x = DRAW.standard_normal(shape).astype(dtype)
    for key in ((0, 0), (1, 2**32 - 1), (2**32 - 2, 12345)):
        for rate in (0.3, 0.5, 0.999999):
            twins(lambda x, key=key, rate=rate: dropped(x, key, rate), x)
    twins(lambda x: dropped(x.T, (3, 4), 0.5) + 0, x)


@needs_compiler
@pytest.mark.parametrize("shape", [(1, 2), (4, 3), (3, 10), (5, 1)])
@pytest.mark.parametrize("smoothing", [0, 0.2])
@DTYPES
def test_softmax_cross_entropy(shape, smoothing, dtype, twins):
    scores = (30 * tie_free(shape)).astype(dtype)
    for kind in (np.int64, np.uint8, np.int32):
        labels = (np.arange(shape[0]) * 2 % shape[1]).astype(kind)
        twins(lambda scores, labels: softmax_cross_entropy(scores, labels, smoothing), scores, labels,
              rtol=rounding(dtype))


@needs_compiler
@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_pixels(fill, dtype, twins):
    for shape in ((3, 5, 4, 2), (2, 1, 1, 3)):
        N, H, W, _ = shape
        x = DRAW.integers(0, 256, shape).astype(dtype)
        rows, columns = DRAW.integers(-4 * H, 5 * H, (N, H, 1)), DRAW.integers(-4 * W, 5 * W, (N, 1, W))
        twins(lambda x, rows, columns: pixels_at(x, rows, columns, fill, 7), x, rows, columns)
        for kind in (np.float32, np.float64):
            rows = (H * DRAW.uniform(-3, 4, (N, H, W))).astype(kind)
            columns = (W * DRAW.uniform(-3, 4, (N, H, W))).astype(kind)
            rows[0, 0], columns[0, :, 0] = H - 1, 0                      # whole places among them
            # between the pixels 255 steps in brightness and 20 periods turn a rounding of 1e-7 into 1e-3
            twins(lambda x, rows, columns: pixels_between(x, rows, columns, fill, 7), x, rows, columns,
                  rtol=1e-4 if dtype is not np.uint8 else 1 / 255)


@needs_compiler
def test_a_label_that_is_no_class_makes_the_loss_no_number():
    """The kernel cannot raise an error, and must not read beyond the scores."""
    with standin.installed() as cupy:
        minidl.use("cupy")
        scores, labels = cupy.asarray(np.ones((4, 3), np.float32)), cupy.asarray(np.array([0, 3, -1, 2]))
        losses, gradient = map(to_cpu, softmax_cross_entropy(scores, labels, 0))
        minidl.use("numpy")
    assert np.isnan(losses).tolist() == [False, True, True, False]
    assert np.isfinite(gradient).all()


@needs_compiler
@pytest.mark.parametrize("name", OPTIMIZERS)
@DTYPES
def test_optimizers(name, dtype, twins):
    weights, gradients = DRAW.standard_normal((2, 5, 30)).astype(dtype)

    def steps(weights, gradients):
        parameters = [Parameter(weights[0].copy(), "W"), Parameter(weights[1, :7].copy(), "b", decay=False)]
        optimizer, average = OPTIMIZERS[name](parameters), MovingAverage(parameters, 0.7)
        for gradient in gradients:
            parameters[0].grad[...], parameters[1].grad[...] = gradient, gradient[:7]
            optimizer.step()
            average.update()
        return [optimizer.flat.data, average.average, *optimizer.memory()]

    twins(steps, weights, gradients, rtol=rounding(dtype))


def test_the_backend_decides():
    @on_gpu(lambda x: ("kernel", x))
    def twice(x):
        """What it does."""
        return "plain", x

    assert (twice.__name__, twice.__doc__) == ("twice", "What it does.")
    assert twice(3) == ("plain", 3)
    with standin.installed():
        minidl.use("cupy")
        assert twice(3) == ("kernel", 3)
        assert twice.plain(3) == ("plain", 3)
        minidl.use("numpy")


@needs_compiler
def test_every_kernel_is_tested_here():
    """By the stand-in's record of what it has compiled, in the tests above: each kernel in both precisions."""
    missing = [kernel.name for kernel in KERNELS if not kernel.compiled]
    assert not missing, f"add twin tests for: {', '.join(missing)}"
    for kernel in KERNELS:
        for compiled in kernel.compiled.values():
            kinds = {dtype.name for types in getattr(compiled, "compiled", ()) for dtype in types}
            assert not kinds or {"float32", "float64"} <= kinds, f"{kernel.name}: compiled for {sorted(kinds)} alone"


# ---------------------------------------------------------------------------------------------- NVIDIA's own compiler

def nvrtc():
    """(compile, cupy), or the reason why there is none. CuPy works without a GPU as far as compiling."""
    if importlib.util.find_spec("cupy") is None:
        return None, "CuPy is not installed: pip install cupy-cuda12x nvidia-cuda-nvrtc-cu12 nvidia-cuda-runtime-cu12"
    try:
        import cupy
        from cupy.cuda import nvrtc as library
        library.getVersion()
    except Exception as reason:  # noqa: BLE001 - a missing library shows itself in a dozen ways
        return None, f"NVIDIA's run-time compiler does not answer ({reason})"
    return cupy, ""


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_nvidias_compiler_takes_it(kernel, dtype):
    cupy, reason = nvrtc()
    if cupy is None:
        pytest.skip(reason)
    from cupy._core import _carray, _kernel, _scalar
    from cupy.cuda.compiler import _NVRTCProgram
    made = cupy.ElementwiseKernel(kernel.inputs, kernel.outputs, kernel.body, f"minidl_{kernel.name}",
                                  preamble=kernel.preamble, reduce_dims=False)
    kinds, arguments = {"T": dtype, "L": "int64", "X": "uint8" if dtype == "f" else dtype}, []
    types = {name: np.dtype(kind) for name, kind in kinds.items()}
    scalars = {"lr", "momentum", "nesterov", "eps", "decay", "share", "step", "share1", "beta2", "share2", "root",
               "smoothing", "first", "second", "lowest", "fill", "value"}
    for parameter in made.in_params + made.out_params:
        kind = np.dtype(parameter.dtype) if parameter.dtype is not None else types[parameter.ctype]
        number = parameter.name in scalars or parameter.ctype == "long long"
        arguments.append(_kernel._ArgInfo(3, _scalar.CScalar, kind, 0, True, True) if number else
                         _kernel._ArgInfo(1, cupy.ndarray, kind, 6, True, True))
    arguments.append(_kernel._ArgInfo(2, _carray.Indexer, None, 6, True, True))
    used = {name: kind.type for name, kind in types.items() if any(p.ctype == name for p in made.params)}
    source = _kernel._get_elementwise_kernel_code(tuple(arguments), _kernel._TypeMap(tuple(sorted(used.items()))),
                                                  made.params, made.operation, made.name, made.preamble)
    include = os.path.join(os.path.dirname(cupy.__file__), "_core", "include")
    runtime = os.path.join(os.path.dirname(cupy.__file__), "..", "nvidia", "cuda_runtime", "include")
    headers = "".join(f"#include <cupy/{name}>\n" for name in ("complex.cuh", "carray.cuh", "atomics.cuh",
                                                               "math_constants.h"))
    program = _NVRTCProgram(headers + source, f"{kernel.name}.cu", method="cubin")
    program.compile(("-std=c++17", "--device-as-default-execution-space", f"-I{include}", f"-I{runtime}",
                     *(f"-I{include}/cupy/_cccl/{part}" for part in ("libcudacxx", "cub", "thrust")), "-arch=sm_90"))
