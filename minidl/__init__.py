"""minidl: a deep-learning framework written from scratch on NumPy and CuPy, for teaching."""

from minidl.backend import asarray, backend_name, precision, seed, threads, to_cpu
from minidl.network import Concat, Residual, Sequential
from minidl.switch import start_as_environment_says, use

__version__ = "0.1.0"

__all__ = ["Concat", "Residual", "Sequential", "asarray", "backend_name", "precision", "seed", "threads", "to_cpu",
           "use"]

start_as_environment_says()
