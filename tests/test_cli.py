"""The command `minidl`: each subcommand as a user runs it, and what wrong usage is answered with."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import standin.faults

import minidl
from minidl import cli, doctor

ROOT = Path(__file__).resolve().parents[1]

STUDENT = '''
"""Layers of a student who uses NumPy alone."""
import numpy as np


class Affine:
    def __init__(self, D, units=3):
        self.W, self.b = np.random.randn(D, units), np.zeros(units)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
        return dout @ self.W.T


class Wrong(Affine):
    def backward(self, dout):
        dx = super().backward(dout)
        self.db = dout.mean(axis=0)
        return dx


class Silent(Affine):
    def backward(self, dout):
        super().backward(dout)


class Crash(Affine):
    def backward(self, dout):
        return dout @ self.W


class Centre:
    """Takes the mean off over the batch, so that a batch of one tells nothing."""
    def forward(self, x):
        return x - x.mean(axis=0)

    def backward(self, dout):
        return dout - dout.mean(axis=0)


class Squares:
    def forward(self, scores, target):
        self.difference = scores - target
        return (self.difference**2).mean()

    def backward(self):
        return 2 * self.difference / self.difference.size


class Backwardless:
    def forward(self, x):
        return x


def small():
    return Affine(4)


answer = 42
'''

LAYERS = '''
from minidl.backend import xp
from minidl.core import Layer
from minidl.layers import Conv2D


class Threshold(Layer):
    def __init__(self, level=0.0, kind="hard"):
        self.level, self.kind = level, kind

    def forward(self, x):
        self.check(x)
        self.saved = x
        return xp.where(x > self.level, x, 0)

    def backward(self, dy):
        return dy * (self.saved > self.level)


class MyConv(Conv2D):
    def backward(self, dy):
        dx = super().backward(dy)
        self.W.grad[...] = self.W.grad[::-1, ::-1].copy()
        return dx
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "student.py").write_text(STUDENT)
    (tmp_path / "layers.py").write_text(LAYERS)
    (tmp_path / "neighbour.py").write_text("import student\n\nclass Mine(student.Affine):\n    pass\n")
    return tmp_path


def run(capsys, *arguments):
    """(exit status, stdout, stderr); argparse leaves through SystemExit."""
    try:
        status = cli.main(list(map(str, arguments)))
    except SystemExit as leaving:
        status = leaving.code
    out, err = capsys.readouterr()
    return status, out, err


# --------------------------------------------------------------------------------------------------------- gradcheck

@pytest.mark.parametrize(("target", "shape", "kwargs", "status", "parts"), [
    ("student.py:Affine", "5,4", ["D=4"], 0, ["agrees", "pass          W", "pass          b"]),
    ("student.py:Affine", "(5, 4)", ["D=4", "units=2"], 0, ["agrees"]),
    ("student.py:small", "5,4", [], 0, ["gradient check of Affine"]),
    ("student.py:Wrong", "5,4", ["D=4"], 1, ["WRONG for b", "constant factor", "5 rows in the batch"]),
    ("student.py:Centre", "1,4", [], 1, ["cannot tell", "take two or more"]),
    ("student.py:Squares", "5,4", [], 0, ["gradient check of Squares", "agrees"]),
    ("layers.py:Threshold", "5,4", ["level=0.5"], 0, ["Threshold()", "agrees"]),
    ("layers.py:MyConv", "3,6,5,2", ["filters=4", "kernel_size=3,2", "padding=same"], 1,
     ["check of MyConv", "WRONG for W", "flipped kernel"]),
    ("neighbour.py:Mine", "5,4", ["D=4"], 0, ["agrees"]),
])
def test_gradcheck_of_a_file(folder, capsys, target, shape, kwargs, status, parts):
    flags = ["--kwargs", *kwargs] if kwargs else []
    done, out, err = run(capsys, "gradcheck", folder / target, "--input-shape", shape, *flags)
    assert (done, err) == (status, ""), err
    assert str(folder / target.split(":")[0]) in out, "the report says which file was checked"
    missing = [part for part in parts if part not in out]
    assert not missing, f"{missing} not in\n{out}"


FAULTS = {
    "no class named": (["student.py", "5,4"], ["expected the file and the class in it"]),
    "no such file": (["missing.py:Affine", "5,4"], ["missing.py", "no such file"]),
    "no Python file": (["notes.txt:Affine", "5,4"], ["notes.txt", ".py"]),
    "syntax error": (["broken.py:Affine", "5,4"], ["broken.py cannot be imported", "line 2"]),
    "missing module": (["needy.py:Affine", "5,4"], ["needy.py cannot be imported", "line 1", "no_such_module_here"]),
    "stops on import": (["leaver.py:Affine", "5,4"], ["leaver.py cannot be imported", "SystemExit"]),
    "no such class": (["student.py:Afine", "5,4"], ["has no class Afine", "Silent, Crash", "Did you mean Affine?"]),
    "not a class": (["student.py:answer", "5,4"], ["does not define answer as a class"]),
    "imported": (["layers.py:Conv2D", "5,4"], ["does not define Conv2D", "from minidl.layers.convolution"]),
    "argument missing": (["student.py:Affine", "5,4"], ["needs the argument D", "--kwargs D=...", "units=3"]),
    "argument unknown": (["student.py:Affine", "5,4", "D=4", "unit=3"], ["unexpected keyword argument 'unit'"]),
    "kwargs without =": (["student.py:Affine", "5,4", "4"], ["--kwargs 4", "NAME=VALUE"]),
    "kwargs no value": (["student.py:Affine", "5,4", "D=4;3"], ["--kwargs D=4;3", "'4;3'"]),
    "arguments of the wrong kind": (["student.py:Affine", "5,4", "D=four"], ["Affine: making it stopped with"]),
    "shape not numbers": (["student.py:Affine", "5,four", "D=4"], ["--input-shape 5,four", "8,5,6,3"]),
    "shape with a zero": (["student.py:Affine", "5,0", "D=4"], ["--input-shape 5,0"]),
    "shape does not fit": (["student.py:Affine", "5,7", "D=4"], ["Affine: the forward pass stopped with ValueError",
                                                                 "student.py, line 12"]),
    "shape does not fit a Layer": (["layers.py:MyConv", "5,7", "filters=4", "kernel_size=3"],
                                   ["Conv2D(4, 3)", "expected input of shape (H, W, C)"]),
    "returns nothing": (["student.py:Silent", "5,4", "D=4"], ["Silent: backward returned nothing", "return dx"]),
    "raises in backward": (["student.py:Crash", "5,4", "D=4"], ["the backward pass stopped with ValueError",
                                                                "student.py, line"]),
    "no backward": (["student.py:Backwardless", "5,4"], ["Backwardless has no method backward"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_gradcheck_refuses_in_one_sentence(folder, capsys, fault):
    (folder / "broken.py").write_text("class Affine:\n    def forward(self x):\n")
    (folder / "needy.py").write_text("import no_such_module_here\n")
    (folder / "leaver.py").write_text("import sys\nsys.exit('bye')\n")
    (folder / "notes.txt").write_text("nothing")
    (target, shape, *kwargs), parts = FAULTS[fault]
    flags = ["--kwargs", *kwargs] if kwargs else []
    status, out, err = run(capsys, "gradcheck", folder / target, "--input-shape", shape, *flags)
    assert (status, out) == (2, "")
    assert err.startswith("minidl gradcheck: ") and err.count("\n") == 1, err
    missing = [part for part in parts if part not in err]
    assert not missing, f"{missing} not in: {err}"


def test_gradcheck_needs_a_shape(folder, capsys):
    status, _, err = run(capsys, "gradcheck", folder / "student.py:Affine")
    assert status == 2
    assert "--input-shape" in err


def test_gradcheck_takes_that_very_file(folder, capsys):
    """Not another of the same name that is imported already, or that lies in the current folder."""
    other = folder / "elsewhere"
    other.mkdir()
    (other / "student.py").write_text(STUDENT.replace("dout.sum(axis=0)", "0 * dout.sum(axis=0)"))
    assert run(capsys, "gradcheck", folder / "student.py:Affine", "--input-shape", "5,4", "--kwargs", "D=4")[0] == 0
    status, out, _ = run(capsys, "gradcheck", other / "student.py:Affine", "--input-shape", "5,4", "--kwargs", "D=4")
    assert status == 1
    assert str(other / "student.py") in out


def test_gradcheck_saves_a_picture(folder, capsys):
    picture = folder / "check.png"
    arguments = ["gradcheck", folder / "layers.py:MyConv", "--input-shape", "3,6,5,2", "--kwargs", "filters=2",
                 "kernel_size=3", "--plot"]
    status, out, _ = run(capsys, *arguments, picture)
    assert status == 1
    assert f"picture: {picture}" in out
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    status, _, err = run(capsys, *arguments, folder / "no such folder" / "check.png")
    assert status == 2
    assert "the picture cannot be saved" in err


def test_gradcheck_as_a_command_of_its_own(folder):
    """Without a display, a network or an import of minidl in the student's file."""
    command = [sys.executable, "-c", "import sys; from minidl.cli import main; sys.exit(main())", "gradcheck"]
    done = subprocess.run([*command, "student.py:Wrong", "--input-shape", "5,4", "--kwargs", "D=4"], cwd=folder,
                          text=True, capture_output=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stderr) == (1, "")
    assert "5 rows in the batch" in done.stdout


# ------------------------------------------------------------------------------------------------- the other commands

def test_lesson_lists_the_lessons(capsys):
    status, out, _ = run(capsys, "lesson")
    assert status == 0
    listed, folders = out.split("\n\n")
    title, _, *lines = listed.splitlines()
    assert title.split() == ["question", "data", "time", "on", "two", "cores"]
    numbers = [line[:2] for line in lines if line[:2].strip()]
    assert numbers == sorted(path.name[:2] for path in (ROOT / "lessons").glob("[0-9][0-9]_*.py"))
    assert all(len(line) <= 80 for line in listed.splitlines())
    assert folders == f"scripts: {ROOT / 'lessons'}\nanswers: {ROOT / 'docs' / 'answers'}\n"
    assert sum("mnist10k" in line for line in lines) >= 3


def test_lesson_that_is_not_there(capsys):
    status, _, err = run(capsys, "lesson", "99")
    assert status == 2
    assert "there is no lesson 99" in err and "02" in err


@pytest.mark.parametrize("number", ["2", "02"])
def test_lesson_hands_on_its_flags(capsys, monkeypatch, number):
    monkeypatch.setattr(sys, "argv", ["minidl"])
    status, out, _ = run(capsys, "lesson", number, "--help")
    assert status == 0
    assert "--seeds" in out and "02_vanishing_gradient.py" in out


@pytest.mark.parametrize(("command", "half"), [
    (["lesson", "2", "--data", "shapes10"], "--see"), (["data"], "--data-di"), (["doctor"], "--back"),
    (["parity"], "--step"), (["gradcheck", "student.py:Affine", "--input-shape", "5,4"], "--kwarg")])
def test_half_a_flag_is_refused(capsys, monkeypatch, command, half):
    """argparse would complete it: --seed 3 once meant --seeds 3."""
    monkeypatch.setattr(sys, "argv", ["minidl"])
    status, out, err = run(capsys, *command, half, "3")
    assert (status, out) == (2, "")
    assert f"unrecognized arguments: {half}" in err


def test_data_lists_and_loads(capsys, tmp_path):
    status, out, _ = run(capsys, "data", "--data-dir", tmp_path)
    assert status == 0
    assert "shapes10" in out and str(tmp_path) in out
    status, _, err = run(capsys, "data", "cifar11", "--data-dir", tmp_path)
    assert status == 2
    assert "Did you mean 'cifar10'?" in err


@pytest.fixture(autouse=True)
def one_minidl(monkeypatch):
    """Doctor finds this minidl everywhere, whatever is installed where the tests run; see test_installation.py."""
    monkeypatch.setattr(doctor, "imports", lambda: [minidl.__file__, minidl.__file__])
    monkeypatch.chdir(ROOT)


def test_doctor(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("MINIDL_DATA", str(tmp_path))
    status, out, _ = run(capsys, "doctor")
    assert status == 0
    lines = described(out)
    assert list(lines) == ["Python", "minidl", "NumPy", "packages", "threads", "BLAS", "backend", "GPU", "data"]
    assert sys.executable in lines["Python"]
    assert lines["minidl"] == f"{minidl.__version__} in {ROOT / 'minidl'}"
    assert "matplotlib" in lines["packages"]
    assert lines["threads"].startswith("1 in use")
    assert "1 thread for each of minidl's" in lines["BLAS"] or "chooses its threads itself" in lines["BLAS"]
    assert lines["GPU"].startswith("not in use: ")
    there, missing = lines["data"].removeprefix(f"{tmp_path}: ").split(" (to download when asked for: ")
    assert {"shapes10", "mnist10k"} <= set(there.split(", "))
    assert missing.startswith("mnist,")
    assert "all well" in out
    assert minidl.backend_name() == "numpy"


@pytest.mark.parametrize(("name", "environment", "status", "parts"), [
    ("scipy-openblas", {}, 1, ["FAULT: threadpoolctl", "does not know scipy-openblas", "up to twice as long",
                               f"{shlex.quote(sys.executable)} -m pip install --upgrade threadpoolctl",
                               "OPENBLAS_NUM_THREADS=1"]),
    ("scipy-openblas", {"OPENBLAS_NUM_THREADS": "2"}, 1, ["FAULT: threadpoolctl"]),
    ("scipy-openblas", {"OPENBLAS_NUM_THREADS": "1"}, 0, ["1 thread for each of minidl's"]),
    ("mkl-dynamic-lp64", {"OMP_NUM_THREADS": "1"}, 0, ["1 thread for each of minidl's"]),
    ("accelerate", {}, 0, ["accelerate, which chooses its threads itself"])])
def test_doctor_names_a_blas_that_nothing_holds(name, environment, status, parts, capsys, monkeypatch):
    """threadpoolctl 3.1 to 3.4 finds no library where NumPy 2 computes with its OpenBLAS."""
    import threadpoolctl
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: [{"user_api": "openmp"}])
    monkeypatch.setattr(np, "show_config", lambda mode: {"Build Dependencies": {"blas": {"name": name}}})
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    found, out, _ = run(capsys, "doctor")
    assert found == status, out
    assert all(part in described(out)["BLAS"] for part in parts), out


def described(out):
    """{"Python": "3.11 ...", ...} from what doctor printed."""
    return dict(line.split(maxsplit=1) for line in out.splitlines()[:-1])


@pytest.mark.parametrize("named", ["--backend", "MINIDL_BACKEND"])
@pytest.mark.parametrize(("fault", "part"), [
    ("no package", f'{shlex.quote(sys.executable)} -m pip install "cupy-cuda12x[ctk]"'), ("no driver", "nvidia-smi"),
    ("old driver", "the NVIDIA driver is for CUDA 11.4, too old for this CuPy"), ("no device", "CUDA_VISIBLE_DEVICES"),
    ("no libraries", "libcublasLt.so.12"), ("no compiler", "libnvrtc.so.12")])
def test_doctor_names_what_the_gpu_lacks(capsys, monkeypatch, fault, part, named):
    """A fault where somebody asks for the GPU; otherwise a remark."""
    with standin.faults.broken(fault):
        status, out, _ = run(capsys, "doctor")
        assert status == 0
        assert part in described(out)["GPU"] and "FAULT" not in out
        if named == "MINIDL_BACKEND":
            monkeypatch.setenv(named, "cupy")
        status, out, _ = run(capsys, "doctor", *(["--backend", "cupy"] if named == "--backend" else []))
    assert status == 1
    assert described(out)["GPU"].startswith("FAULT: ") and part in described(out)["GPU"]
    assert out.splitlines()[-1] == "something needs your attention: see FAULT above"


def test_doctor_describes_the_gpu(capsys):
    with standin.installed():
        status, out, _ = run(capsys, "doctor", "--backend", "cupy")
    lines = described(out)
    assert status == 0
    assert lines["GPU"] == "stand-in, compute capability 9.0"
    assert lines["memory"] == "7.0 of 8.0 GiB free"
    assert lines["CuPy"] == "14.2.0, CUDA 12.9"
    assert lines["driver"] == "for CUDA up to 12.9"
    assert minidl.backend_name() == "numpy"


def test_doctor_finds_data_sets(capsys, tmp_path):
    (tmp_path / "cifar-10-binary.tar.gz").touch()
    (tmp_path / "mnist").mkdir()
    for name in ("train-images-idx3-ubyte.gz", "train-labels.idx1-ubyte", "t10k-images-idx3-ubyte",
                 "t10k-labels.idx1-ubyte.gz"):
        (tmp_path / "mnist" / name).touch()
    _, out, _ = run(capsys, "doctor", "--data-dir", tmp_path)
    there, missing = described(out)["data"].removeprefix(f"{tmp_path}: ").split(" (to download when asked for: ")
    assert {"shapes10", "mnist", "mnist10k", "cifar10"} <= set(there.split(", "))
    assert missing == "fashion_mnist, cifar100)"


@pytest.mark.parametrize(("name", "value", "parts"), [
    ("MINIDL_DATA", "/no/such/folder", ["data     FAULT: /no/such/folder", "MINIDL_DATA", "mkdir -p"]),
    ("MINIDL_BACKEND", "torch", ["backend  FAULT: MINIDL_BACKEND='torch'", "numpy, cupy", "unset MINIDL_BACKEND"]),
    ("MINIDL_THREADS", "none", ["threads  FAULT: MINIDL_THREADS='none'", "at least 1"])])
def test_doctor_names_faults_of_the_environment(capsys, monkeypatch, name, value, parts):
    monkeypatch.setenv(name, value)
    minidl.backend.state.state.threads = None
    status, out, _ = run(capsys, "doctor")
    minidl.threads(1)
    assert status == 1
    assert all(part in out for part in parts), out


def test_doctor_names_missing_packages(capsys, monkeypatch):
    monkeypatch.setitem(doctor.NEEDED, "no-such-package", "nothing")
    status, out, _ = run(capsys, "doctor")
    assert status == 1
    run_this = f"{shlex.quote(sys.executable)} -m pip install no-such-package"
    assert f"FAULT: no-such-package (for nothing) cannot be found. Run:  {run_this}" in out


def test_doctor_names_a_package_that_is_too_old(capsys, monkeypatch):
    """threadpoolctl 3.4 does not know the OpenBLAS of NumPy 2, and small networks are slow."""
    monkeypatch.setattr(doctor, "lowest_versions", lambda: {"threadpoolctl": "3.10", "requests": "2.28"})
    monkeypatch.setattr(doctor.importlib.metadata, "version", {"threadpoolctl": "3.9.1"}.get)
    monkeypatch.setattr(doctor, "NEEDED", {"threadpoolctl": "threads"})
    status, out, _ = run(capsys, "doctor")
    assert status == 1
    assert ("packages FAULT: threadpoolctl 3.9.1 (for threads) is too old, minidl needs 3.10. Run:  "
            f"{shlex.quote(sys.executable)} -m pip install 'threadpoolctl>=3.10'") in out


def test_usage(capsys):
    assert run(capsys)[0] == 2
    assert run(capsys, "grad")[0] == 2
    status, out, _ = run(capsys, "--help")
    assert status == 0
    assert all(command in out for command in ("lesson", "data", "gradcheck", "doctor"))
    assert run(capsys, "--version")[1].strip() == f"minidl {minidl.__version__}"


# ------------------------------------------------------------------------------------------------------------- bench

def test_bench_hands_on_its_flags(capsys, monkeypatch, tmp_path):
    script = tmp_path / "training_step.py"
    script.write_text("import sys\nprint(sys.argv[1:])\n")
    monkeypatch.setattr(cli, "BENCHMARK", script)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "argv", sys.argv)
    assert run(capsys, "bench", "--quick", "--only", "mlp") == (0, "['--quick', '--only', 'mlp']\n", "")
    monkeypatch.setattr(cli, "BENCHMARK", tmp_path / "nothing.py")
    status, _, err = run(capsys, "bench")
    assert status == 2
    assert "clone the project" in err
    status, _, err = run(capsys, "data", "--quick")
    assert status == 2
    assert "unrecognized arguments: --quick" in err


def test_the_benchmark_says_what_it_takes():
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / "training_step.py", "--help"], capture_output=True,
                          text=True, timeout=60, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 0, done.stderr
    assert "--clock" in done.stdout
