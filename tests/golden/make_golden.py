"""Write the golden files: what PyTorch computes for every case of the tables in minidl/cases.py and cases.py.

    python tests/golden/make_golden.py                 needs torch; run it after every change of the tables

One file for each kind of case, NAME.npz, with the arrays "case/dtype/tensor" and the versions of what made them.
"""

import platform
import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

from golden import with_torch  # noqa: E402
from golden.cases import DTYPES, TABLE, save  # noqa: E402


def main():
    torch.set_num_threads(1)
    versions = f"torch {torch.__version__}, numpy {np.__version__}, python {platform.python_version()}"
    for kind, cases in TABLE.items():
        arrays = {f"{case.name}/{dtype}/{tensor}": array for case in cases for dtype in DTYPES
                  for tensor, array in computed(kind, case, dtype).items()}
        path = HERE / f"{kind}.npz"
        save(path, arrays, versions)
        print(f"{path.name}: {len(cases)} cases, {len(arrays)} arrays, {path.stat().st_size:,} bytes ({versions})")


def computed(kind, case, dtype):
    """{tensor: array}; nothing, and a line that says why, where PyTorch has no counterpart yet."""
    try:
        return with_torch.COMPUTE[kind](case, dtype)
    except LookupError as reason:
        print(f"left out: {case.name}: {reason}")
        return {}


if __name__ == "__main__":
    main()
