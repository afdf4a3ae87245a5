"""minidl: a deep-learning framework written from scratch on NumPy and CuPy, for teaching."""

from minidl.backend import asarray, backend_name, precision, seed, threads, to_cpu, use
from minidl.network import Concat, Residual, Sequential

__version__ = "0.1.0"

__all__ = ["Concat", "Residual", "Sequential", "asarray", "backend_name", "precision", "seed", "threads", "to_cpu",
           "use"]
