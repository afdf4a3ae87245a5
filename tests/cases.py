"""How two arrays are compared, and the table of `minidl.cases`, which tests import from here along with that."""

import numpy as np

from minidl.backend import to_cpu, xp
from minidl.cases import CASES, LOSSES, OPTIMIZERS, Case, case, freeze, tie_free

__all__ = ["CASES", "LOSSES", "OPTIMIZERS", "Case", "assert_close", "assert_same_bits", "assert_says", "case", "freeze",
           "on_device", "tie_free"]


def on_device(array):
    """A NumPy array as one of the backend in use; its dtype stays, where `minidl.asarray` gives the one in use."""
    return xp.asarray(array)


def assert_close(got, expected, what, rtol=1e-12, atol=0.0):
    """Equal within atol + rtol * the largest expected value; otherwise the worst place, with both values."""
    got, expected = to_cpu(got), to_cpu(expected)
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    if not got.size:
        return
    allowed = atol + rtol * float(np.abs(expected).max())
    distance = np.abs(got.astype(np.float64) - expected.astype(np.float64))
    distance = np.where(np.isfinite(distance), distance, np.inf)
    worst = np.unravel_index(distance.argmax(), distance.shape)
    place = str([int(k) for k in worst]) if worst else ""
    assert distance[worst] <= allowed, (f"{what}{place}: got {got[worst]!r}, expected {expected[worst]!r}, "
                                        f"apart by {distance[worst]:.3g}, allowed {allowed:.3g}")


def assert_same_bits(got, expected, what):
    got, expected = to_cpu(got), to_cpu(expected)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype), f"{what}: {got.shape} {got.dtype}"
    different = np.argwhere((got != expected) & ~(np.isnan(got) & np.isnan(expected)))
    assert not len(different), (f"{what}{different[0].tolist()}: {got[tuple(different[0])]!r} is not exactly "
                                f"{expected[tuple(different[0])]!r} ({len(different)} such places)")


def assert_says(caught, *parts):
    """The message of an error (from pytest.raises) contains every part."""
    text = str(caught.value)
    missing = [part for part in parts if part not in text]
    assert not missing, f"the message lacks {missing}: {text}"
