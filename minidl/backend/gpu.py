"""CuPy and the GPU: proof that they can compute, and what they are."""

import shlex
import sys

from minidl.errors import BackendError

_NO_DEVICE = ("CuPy and the driver are there, but no GPU is visible to this program. Is CUDA_VISIBLE_DEVICES set to "
              "nothing? Show the devices with:  nvidia-smi -L")


def probed_cupy():
    """Import CuPy and prove in three steps that it can compute; the first step that fails names its cure."""
    install = (f"With a CUDA 12 driver run:  {shlex.quote(sys.executable)} -m pip install \"cupy-cuda12x[ctk]\"   "
               f"(CUDA 13: \"cupy-cuda13x[ctk]\"; nvidia-smi shows which)")
    try:
        import cupy
    except ImportError as reason:
        raise BackendError(f"the cupy backend needs the CuPy package, which cannot be imported ({reason}). "
                           f"{install}") from reason
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except Exception as reason:
        if "cudaErrorNoDevice" in str(reason):
            raise BackendError(_NO_DEVICE) from reason
        if driver := cupy.cuda.runtime.driverGetVersion():
            raise BackendError(f"the NVIDIA driver is for CUDA {version_text(driver)}, too old for this CuPy "
                               f"({in_one_line(reason)}). Update the driver, or take the CuPy for it. "
                               f"{install}") from reason
        raise BackendError(f"CuPy is installed but finds no usable NVIDIA driver ({in_one_line(reason)}). Install or "
                           f"update the driver, then look at the output of:  nvidia-smi") from reason
    if devices == 0:
        raise BackendError(_NO_DEVICE)
    try:
        square = cupy.ones((8, 8), dtype=cupy.float32)
        float((square @ square).sum())  # needs cuBLAS and the run-time compiler, which the driver does not bring
    except Exception as reason:
        raise BackendError(f"the GPU answers, but a product of two small matrices failed: CUDA's libraries are "
                           f"missing or broken ({in_one_line(reason)}). {install}") from reason
    return cupy


def choose_products(cupy, tf32):
    """Have float32 products computed from TF32 factors, or from float32 ones again.

    CuPy's public switch, the environment variable CUPY_TF32, is read once, at the first product; this is what it sets.
    """
    from cupy._core import _routines_linalg as products
    capability = cupy.cuda.Device().compute_capability
    if tf32 and int(capability) < 80:
        raise BackendError(f"use(\"cupy\", tf32=True): expected a GPU of compute capability 8.0 (A100) or newer, this "
                           f"one has {capability[:-1]}.{capability[-1]}. Leave tf32 out")
    products.set_compute_type("f", products.COMPUTE_TYPE_TF32 if tf32 else products.COMPUTE_TYPE_DEFAULT)


def device_facts():
    """What the GPU and its software are, by name, for people to read; the cupy backend must be in use."""
    import cupy
    runtime = cupy.cuda.runtime
    properties, (free, total) = runtime.getDeviceProperties(runtime.getDevice()), runtime.memGetInfo()
    return {"GPU": f"{properties['name'].decode()}, compute capability {properties['major']}.{properties['minor']}",
            "memory": f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free",
            "CuPy": f"{cupy.__version__}, CUDA {version_text(runtime.runtimeGetVersion())}",
            "driver": f"for CUDA up to {version_text(runtime.driverGetVersion())}"}


def version_text(number):
    """CUDA's way to write a version: 12090 is 12.9."""
    return f"{number // 1000}.{number % 1000 // 10}"


def in_one_line(reason):
    """What an exception says, without line breaks, and cut where it becomes a page."""
    return " ".join(str(reason).split())[:300]
