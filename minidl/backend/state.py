"""What the rest of `minidl.backend` remembers: one object, so that there is one place to look."""

import numpy as np


class _State:
    backend = None          # "numpy" or "cupy"; None until the first use
    float_type = np.float32
    threads = None          # None until somebody asks
    generator = np.random.Generator(np.random.PCG64(0))


state = _State()
