"""Machines on which the real CuPy cannot work, with the words that it has for each (those of CuPy 14.2)."""

import contextlib
import sys
from unittest import mock

import standin
from standin.namespace import CUDARuntimeError


def raising(error):
    return mock.Mock(side_effect=error)


def no_package():
    return mock.patch.dict(sys.modules, {"cupy": None})   # makes `import cupy` fail


def no_driver():
    runtime = standin.cupy.cuda.runtime
    return mock.patch.multiple(runtime, driverGetVersion=lambda: 0, getDeviceCount=raising(CUDARuntimeError(
        "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version")))


def old_driver():
    runtime = standin.cupy.cuda.runtime
    return mock.patch.multiple(runtime, driverGetVersion=lambda: 11040, getDeviceCount=raising(CUDARuntimeError(
        "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version")))


def no_device():
    return mock.patch.object(standin.cupy.cuda.runtime, "getDeviceCount", raising(CUDARuntimeError(
        "cudaErrorNoDevice: no CUDA-capable device is detected")))


def no_libraries():
    return mock.patch.object(standin.cupy.ndarray, "__matmul__", raising(ImportError(
        'Failure finding "libcublasLt.so.13 or libcublasLt.so.12": No such file: libcublasLt.so.12')))


def no_compiler():
    return mock.patch.object(standin.cupy, "ones", raising(RuntimeError(
        "CuPy failed to load libnvrtc.so.12:\nOSError: libnvrtc.so.12: cannot open shared object file")))


FAULTS = {"no package": no_package, "no driver": no_driver, "old driver": old_driver, "no device": no_device,
          "no libraries": no_libraries, "no compiler": no_compiler}


@contextlib.contextmanager
def broken(how):
    """The stand-in is installed, and broken in one of these ways."""
    with standin.installed(), FAULTS[how]():
        yield
