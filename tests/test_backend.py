"""The backend: one namespace that is refilled, faults that are named, threads and seeds that keep their promises."""

import json
import os
import shlex
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import standin
from cases import CASES, assert_close, assert_same_bits, assert_says
from standin.faults import broken

import minidl
from minidl import backend, parallel
from minidl.backend import draw_integers, draw_normal, draw_permutation, draw_uniform, xp
from minidl.errors import BackendError, UserError


def python(code, **environment):
    """Run a few lines in a Python of their own."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MINIDL_")}
    return subprocess.run([sys.executable, "-c", code], env=clean | environment, capture_output=True, text=True,
                          timeout=60, check=False)


# ----------------------------------------------------------------------------------------- which library, which faults


INSTALL = [f'{shlex.quote(sys.executable)} -m pip install "cupy-cuda12x[ctk]"', 'CUDA 13: "cupy-cuda13x[ctk]"']


@pytest.mark.parametrize(("fault", "parts"), [
    ("no package", ["needs the CuPy package", *INSTALL]),
    ("no driver", ["no usable NVIDIA driver", "cudaErrorInsufficientDriver", "nvidia-smi"]),
    ("old driver", ["the NVIDIA driver is for CUDA 11.4, too old", "Update the driver, or take the CuPy", *INSTALL]),
    ("no device", ["no GPU is visible", "CUDA_VISIBLE_DEVICES", "nvidia-smi -L"]),
    ("no compiler", ["CUDA's libraries are missing", "libnvrtc.so.12", *INSTALL]),
    ("no libraries", ["CUDA's libraries are missing", "libcublasLt.so.12", *INSTALL])])
def test_what_is_missing_for_cupy(fault, parts):
    minidl.use("numpy")
    before = dict(vars(xp))
    with broken(fault), pytest.raises(BackendError) as caught:
        minidl.use("cupy")
    assert_says(caught, *parts)
    assert "\n" not in str(caught.value), "one sentence, on one line"
    assert minidl.backend_name() == "numpy"
    assert vars(xp) == before, "after a failure everything stays as it was"
    assert xp.exp is np.exp


def test_a_driver_that_counts_no_device(monkeypatch):
    with standin.installed() as cupy:
        monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", lambda: 0)
        with pytest.raises(BackendError, match="no GPU is visible"):
            minidl.use("cupy")


def test_use_refills_the_namespace_that_everybody_imported():
    from minidl.layers import activation
    with standin.installed() as cupy:
        minidl.use("cupy")
        assert minidl.backend_name() == "cupy"
        assert activation.xp is xp
        assert xp.asnumpy is cupy.asnumpy
        with pytest.raises(AttributeError, match="cupy has no function 'vecdot'"):
            _ = xp.vecdot
        minidl.use("numpy")
    assert xp.tanh is np.tanh
    with pytest.raises(AttributeError, match="numpy has no function 'asnumpy'"):
        _ = xp.asnumpy


# --------------------------------------------------------------------------------------------------------------- TF32


def test_tf32_is_set_and_taken_back():
    with standin.installed() as cupy:
        products = cupy._core._routines_linalg
        for tf32, kind in ((True, products.COMPUTE_TYPE_TF32), (False, products.COMPUTE_TYPE_DEFAULT)):
            minidl.use("cupy", tf32=tf32)
            assert products.get_compute_type("f") == kind
            assert products.get_compute_type("d") == products.COMPUTE_TYPE_DEFAULT
        minidl.use("cupy", tf32=True)
        minidl.use("cupy")
        assert products.get_compute_type("f") == products.COMPUTE_TYPE_DEFAULT


def test_tf32_where_there_is_none(monkeypatch):
    with pytest.raises(BackendError) as caught:
        minidl.use("numpy", tf32=True)
    assert_says(caught, "TF32 is a mode of NVIDIA GPUs", "Leave tf32 out", 'use("cupy", tf32=True)')
    with standin.installed() as cupy:
        monkeypatch.setattr(cupy.cuda.Device, "compute_capability", "75")
        with pytest.raises(BackendError) as caught:
            minidl.use("cupy", tf32=True)
        assert_says(caught, "8.0 (A100) or newer, this one has 7.5", "Leave tf32 out")
        assert minidl.backend_name() == "numpy"
        minidl.use("cupy")


def test_random_numbers_of_the_library_are_left_out():
    with pytest.raises(AttributeError, match="draw with minidl.backend.draw_normal"):
        _ = xp.random


def test_the_environment_names_the_backend():
    code = "import minidl; from minidl.backend import xp; print(xp.zeros(2), minidl.backend_name())"
    assert python(code, MINIDL_BACKEND="numpy").stdout == "[0. 0.] numpy\n"
    assert python(code).stdout == "[0. 0.] numpy\n"
    assert python(code, MINIDL_BACKEND="").stdout == "[0. 0.] numpy\n"
    answer = python(code, MINIDL_BACKEND="nunpy")
    assert answer.returncode
    assert "MINIDL_BACKEND='nunpy': expected one of numpy, cupy" in answer.stderr
    code = "import sys; sys.modules['cupy'] = None; " + code
    assert "needs the CuPy package" in python(code, MINIDL_BACKEND="cupy").stderr


def test_the_environment_names_the_number_of_threads():
    code = "import minidl; print(minidl.threads())"
    assert python(code, MINIDL_THREADS="3").stdout == "3\n"
    assert int(python(code).stdout) >= 1
    for wrong in ("0", "two", "-1", "1.5", "\N{SUPERSCRIPT TWO}"):
        answer = python(code, MINIDL_THREADS=wrong, PYTHONIOENCODING="utf-8")
        assert f"MINIDL_THREADS={wrong!r}: expected an integer of at least 1" in answer.stderr, wrong
    assert python("import minidl; minidl.use('numpy'); minidl.threads(2); print(minidl.threads())",
                  MINIDL_THREADS="3").stdout == "2\n"


def test_the_environment_asks_for_the_blackboard():
    code = "import minidl; from minidl.layers import Dense; print(Dense.forward.__module__)"
    for value, module in (("1", "minidl.textbook"), ("0", "minidl.layers.dense"), ("", "minidl.layers.dense")):
        assert python(code, MINIDL_TEXTBOOK=value).stdout == f"{module}\n"
    assert "MINIDL_TEXTBOOK='yes': expected 1" in python(code, MINIDL_TEXTBOOK="yes").stderr
    assert python("import minidl; minidl.use()").stderr.count('use("cupy"), or textbook=True or False') == 1


def test_import_is_light():
    """No picture, no network, no GPU library; how long it takes is printed, not tested: machines differ."""
    code = ("import sys, time, json; import numpy; start = time.perf_counter(); import minidl; "
            "seconds = time.perf_counter() - start; import minidl.layers, minidl.losses, minidl.optimizers, "
            "minidl.training, minidl.gradcheck, minidl.probe, minidl.lesson, minidl.regularizers; "
            "print(json.dumps([seconds, sorted({name.split('.')[0] for name in sys.modules})]))")
    seconds, modules = json.loads(python(code).stdout)
    print(f"import minidl: {1000 * seconds:.0f} ms after NumPy")
    heavy = {"matplotlib", "requests", "cupy", "threadpoolctl", "scipy", "torch", "urllib3", "PIL"} & set(modules)
    assert not heavy


# ------------------------------------------------------------------------------------------------- arrays, precision


def test_asarray_gives_fractions_the_precision_in_use():
    for a in ([1.5, 2], np.array([1.5, 2]), np.array([1.5, 2], np.float16), np.array([1.5, 2], np.float32)):
        assert minidl.asarray(a).dtype == np.float32
        with minidl.precision("float64"):
            assert minidl.asarray(a).dtype == np.float64
    for kind in ("uint8", "int64", "bool"):
        assert minidl.asarray(np.ones(2, kind)).dtype == kind
    a = np.ones(3, np.float32)
    assert minidl.asarray(a) is a


def test_precision_ends_with_its_block_also_after_an_error():
    with pytest.raises(KeyError), minidl.precision("float64"):
        assert xp.zeros(1, backend.float_type()).dtype == np.float64
        with minidl.precision("float32"):
            assert backend.float_type() is np.float32
        assert backend.float_type() is np.float64
        raise KeyError
    assert backend.float_type() is np.float32


def test_to_cpu_fetches_from_a_device():
    class OnDevice:
        device = "gpu"

        def get(self):
            return np.arange(3)

    assert_same_bits(minidl.to_cpu(OnDevice()), np.arange(3), "fetched")
    assert_same_bits(minidl.to_cpu(np.arange(3)), np.arange(3), "already there")
    assert_same_bits(minidl.to_cpu([1.0, 2.0]), np.array([1.0, 2.0]), "a list")


# ------------------------------------------------------------------------------------------------------------- seeds


def draws():
    return [draw_normal((2, 3)), draw_normal(4, 0.5), draw_uniform((3, 2)), draw_integers(10, (2, 3)),
            draw_permutation(7)]


def test_the_same_seed_gives_the_same_numbers():
    minidl.seed(3)
    first = draws()
    minidl.seed(3)
    for again, before in zip(draws(), first, strict=True):
        assert_same_bits(again, before, "draw")
    minidl.seed(4)
    assert not np.array_equal(draws()[0], first[0])
    minidl.seed(np.int64(3))
    assert_same_bits(draws()[0], first[0], "draw from a NumPy seed")


def test_both_precisions_draw_the_same_numbers():
    minidl.seed(3)
    single = draws()
    with minidl.precision("float64"):
        minidl.seed(3)
        double = draws()
    for narrow, wide in zip(single, double, strict=True):
        if narrow.dtype.kind == "f":
            assert (narrow.dtype, wide.dtype) == (np.float32, np.float64)
        assert_same_bits(narrow, wide.astype(narrow.dtype), "draw")


def test_a_program_starts_from_seed_0():
    code = "import minidl; from minidl.backend import draw_normal; {} print(draw_normal(3).tolist())"
    assert python(code.format("")).stdout == python(code.format("minidl.seed(0);")).stdout != ""


def test_random_state_can_be_put_back():
    draw_normal(3)
    state = backend.random_state()
    first = draws()
    backend.restore_random_state(state)
    for again, before in zip(draws(), first, strict=True):
        assert_same_bits(again, before, "draw")


def test_what_is_drawn():
    normal, uniform = draw_normal(40_000, 2.0), draw_uniform(40_000)
    assert abs(normal.mean()) < 0.05
    assert abs(normal.std() - 2) < 0.05
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.01
    assert set(draw_integers(4, 500).tolist()) == {0, 1, 2, 3}
    assert sorted(draw_permutation(9).tolist()) == list(range(9))


# ------------------------------------------------------------------------------------------------------------ threads


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("count", "item_bytes", "lengths"), [
    (10, parallel.SLICE_BYTES // 4, [2, 3, 2, 3]), (10, parallel.SLICE_BYTES // 5, [5, 5]),
    (10, parallel.SLICE_BYTES, [1] * 10), (10, 3 * parallel.SLICE_BYTES, [1] * 10), (10, 1, [10]), (10, 0, [10]),
    (9, parallel.SLICE_BYTES // 3, [2, 2, 2, 3]), (9, parallel.SLICE_BYTES // 2, [1] * 7 + [2]),
    (20, parallel.SLICE_BYTES // 2, [1, 1, 1, 2] * 4), (1, parallel.SLICE_BYTES, [1]), (0, 100, [])])
def test_slices_cover_the_batch_once_and_in_order(threads, count, item_bytes, lengths):
    """1, 2, 4, 8, 16, 24 ... slices: even shares for two, four or eight threads."""
    minidl.threads(threads)
    rows = parallel.in_slices(lambda rows: list(range(count))[rows], count, item_bytes)
    assert [row for part in rows for row in part] == list(range(count))
    assert [len(part) for part in rows] == lengths


def test_one_thread_computes_in_the_caller():
    """So a debugger steps straight through; of several threads, the caller is one."""
    def where(rows):
        return threading.current_thread()

    minidl.threads(1)
    assert set(parallel.in_slices(where, 5, parallel.SLICE_BYTES)) == {threading.main_thread()}
    minidl.threads(2)
    assert set(parallel.in_slices(where, 5, 1)) == {threading.main_thread()}, "a single slice"

    both = threading.Barrier(2)

    def meet(rows):
        both.wait(timeout=30)
        return threading.current_thread()

    used = parallel.in_slices(meet, 2, parallel.SLICE_BYTES)
    assert threading.main_thread() in used
    assert len(set(used)) == 2


def test_under_a_debugger_all_slices_run_in_the_caller():
    """A breakpoint in a layer then stops at every slice. Coverage watches too, and changes nothing."""
    def watch(frame, event, argument):
        return None

    minidl.threads(2)
    for module, watched in (("bdb", True), ("pydevd", True), ("coverage.pytracer", False), ("trace", False)):
        watch.__module__, before = module, sys.gettrace()
        sys.settrace(watch)
        try:
            assert parallel.under_debugger() == watched, module
        finally:
            sys.settrace(before)
    code = ("import threading, minidl; from minidl import parallel; minidl.threads(2)\n"
            "where = lambda rows: threading.current_thread() is threading.main_thread()\n"
            "breakpoint()\n"
            "print('all here:', all(parallel.in_slices(where, 8, parallel.SLICE_BYTES)))\n")
    done = subprocess.run([sys.executable, "-c", code], input="next\nnext\nnext\n", capture_output=True, text=True,
                          timeout=60, check=False)
    assert "all here: True" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_slices_within_slices(threads):
    """No thread waits for one that waits for it."""
    minidl.threads(threads)

    def outer(rows):
        return sum(parallel.in_slices(lambda inner: rows.start * 10 + inner.start, 4, parallel.SLICE_BYTES))

    assert parallel.in_slices(outer, 8, parallel.SLICE_BYTES) == [40 * row + 6 for row in range(8)]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("error", [IndexError, ValueError])
def test_an_error_in_a_slice_arrives(threads, error):
    minidl.threads(threads)

    def fails(rows):
        if rows.start == 2:
            raise error("a fault in a slice")

    with pytest.raises(error, match="a fault in a slice"):
        parallel.in_slices(fails, 4, parallel.SLICE_BYTES)


def test_after_an_error_nobody_starts_anything_new():
    """Also where it happens in a thread of the pool: here in the one that is not the caller."""
    minidl.threads(2)
    both, done = threading.Barrier(2), []

    def work(rows):
        if not done:
            done.append("begun")
        if len(done) == 1 or threading.current_thread() is not threading.main_thread():
            if rows.start < 2:
                both.wait(timeout=30)
            if threading.current_thread() is not threading.main_thread():
                raise ValueError("a fault in the other thread")
        time.sleep(0.05)
        done.append(rows.start)

    with pytest.raises(ValueError, match="a fault in the other thread"):
        parallel.in_slices(work, 64, parallel.SLICE_BYTES)
    assert len(done) < 10


def test_threads_of_the_matrix_product_are_given_back():
    import threadpoolctl

    def blas():
        return {library["num_threads"] for library in threadpoolctl.threadpool_info()
                if library["user_api"] == "blas"} or {None}

    minidl.threads(2)
    outside, inside = blas(), parallel.in_slices(lambda rows: blas(), 4, parallel.SLICE_BYTES)
    assert all(counts in ({1}, {None}) for counts in inside)
    assert blas() == outside

    def fails(rows):
        raise KeyError("a fault in a slice")

    with pytest.raises(KeyError, match="a fault in a slice"):
        parallel.in_slices(fails, 4, parallel.SLICE_BYTES)
    assert blas() == outside
    minidl.threads(1)
    assert blas() in ({1}, {None})


def run(case, threads, precision="float32"):
    minidl.threads(threads)
    with minidl.precision(precision):
        minidl.seed(2)
        layer, x = case.layer(), np.concatenate([case.x(precision)] * 5)
        minidl.seed(3)
        y = layer.forward(x)
        dx = layer.backward(y)
    return [y, dx, *(parameter.grad.copy() for parameter in layer.parameters())]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_thread_and_many_give_the_same_numbers(case, monkeypatch):
    """To the bit, because the slices are the same: several images each, the last slice smaller."""
    monkeypatch.setattr(parallel, "SLICE_BYTES", 3000)
    one = run(case, 1)
    for threads in (1, 2, 3):
        for k, (now, before) in enumerate(zip(run(case, threads), one, strict=True)):
            assert_same_bits(now, before, f"{case.name}, tensor {k}, {threads} threads")
    monkeypatch.undo()
    for k, (now, before) in enumerate(zip(run(case, 1), one, strict=True)):
        # one slice or many add up in another order: float32 keeps about 7 digits
        assert_close(now, before, f"{case.name}, tensor {k}, one slice", 1e-5, 1e-5)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_slice_and_many_give_the_same_numbers(case, monkeypatch):
    """But for rounding: they add up in another order. In float64, where what is left of a gradient that cancels to 0,
    as that of a bias in front of BatchNorm, is small."""
    one = run(case, 1, "float64")
    monkeypatch.setattr(parallel, "SLICE_BYTES", 6000)
    for k, (many, whole) in enumerate(zip(run(case, 1, "float64"), one, strict=True)):
        assert_close(many, whole, f"{case.name}, tensor {k}", 1e-12, 1e-12)


def test_threads_says_how_many():
    for count in (1, 2):
        assert minidl.threads(count) == count
        assert minidl.threads() == count
    with pytest.raises(UserError):
        minidl.threads(0)
    assert minidl.threads() == 2
