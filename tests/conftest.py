"""What all tests share: each starts on NumPy, in float32, on one thread, from seed 0, and leaves no trace of itself."""

import numpy as np
import pytest

import minidl
from minidl import backend


@pytest.fixture(autouse=True)
def fresh_backend(monkeypatch):
    monkeypatch.delenv("MINIDL_BACKEND", raising=False)
    monkeypatch.delenv("MINIDL_THREADS", raising=False)

    def start():
        minidl.use("numpy")
        minidl.threads(1)
        minidl.seed(0)
        backend._state.float_type = np.float32

    start()
    yield
    start()
