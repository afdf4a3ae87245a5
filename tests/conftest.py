"""What all tests share: each starts on NumPy, in float32, on one thread, from seed 0, and leaves no trace of itself.

A test that asks for the fixture `device` runs on NumPy and on the stand-in for CuPy (`standin/`), or, with
`--backend cupy`, on the real one alone. Whole files ask by `pytestmark = pytest.mark.usefixtures("device")`.
"""

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
import standin

import minidl
from minidl.backend.state import state
from minidl.errors import BackendError


def pytest_addoption(parser):
    parser.addoption("--backend", choices=["numpy", "stand-in", "cupy"],
                     help="where tests that run on every backend run; numpy and the stand-in for CuPy unless given")


def pytest_configure():
    """The minidl beside the tests is theirs in every process that they start, too; `pythonpath` in setup.cfg is not."""
    others = filter(None, [os.environ.get("PYTHONPATH")])
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).resolve().parents[1]), *others])


def pytest_sessionstart(session):
    if session.config.getoption("--backend") == "cupy":
        try:
            minidl.use("cupy")
        except BackendError as error:
            pytest.exit(str(error), returncode=2)
        minidl.use("numpy")


def pytest_generate_tests(metafunc):
    named = any(mark.args[0] == "device" for mark in metafunc.definition.iter_markers("parametrize"))
    if "device" in metafunc.fixturenames and not named:
        chosen = metafunc.config.getoption("--backend")
        metafunc.parametrize("device", [chosen] if chosen else ["numpy", "stand-in"], indirect=True)


@pytest.fixture
def device(request, fresh_backend):
    """The test runs on this backend: "numpy", "stand-in" or "cupy"."""
    if request.param == "numpy":
        yield request.param
        return
    with standin.installed() if request.param == "stand-in" else contextlib.nullcontext():
        minidl.use("cupy")
        yield request.param
        minidl.use("numpy")


@pytest.fixture(autouse=True)
def fresh_backend(monkeypatch):
    monkeypatch.delenv("MINIDL_BACKEND", raising=False)
    monkeypatch.delenv("MINIDL_THREADS", raising=False)
    monkeypatch.delenv("MINIDL_TEXTBOOK", raising=False)

    def start():
        minidl.use("numpy", textbook=False)
        minidl.threads(1)
        minidl.seed(0)
        state.float_type = np.float32

    start()
    yield
    start()
