"""`minidl parity`: it covers everything, finds what is planted, and says so. In small form, through the stand-in."""

import json

import numpy as np
import pytest
import standin.faults
from cases import CASES, LOSSES, OPTIMIZERS

import minidl
from minidl import backend, parity
from minidl.cli import main


@pytest.fixture(autouse=True)
def gpu():
    with standin.installed() as cupy:
        yield cupy
        minidl.use("numpy")


def test_all_is_within_its_bounds_and_nothing_is_left_changed(capsys, tmp_path):
    minidl.seed(5)
    draws = backend.random_state()
    status = main(["parity", "--steps", "3", "--json", str(tmp_path / "parity.json")])
    out = capsys.readouterr().out
    assert status == 0, out
    assert minidl.backend_name() == "numpy"
    assert backend.random_state() == draws
    saved = json.loads((tmp_path / "parity.json").read_text(encoding="utf-8"))
    rows = saved["differences"]
    assert f"all {len(rows)} differences are within their bounds" in out
    assert saved["device"]["GPU"].startswith("stand-in")
    assert all(row["within"] for row in rows)
    by_name = {(row["name"], row["precision"]): row for row in rows}
    for name in ("first weights", "order of batches", "augmented images", "masks of Dropout"):
        assert by_name[name, "float32"]["largest"] == by_name[name, "float32"]["bound"] == 0
    training = by_name["naive CNN, 3 steps", "float32"]
    assert 0 < training["largest"] < training["bound"] == 1e-4, "the two round differently, or nothing was compared"
    assert by_name["naive CNN, 3 steps", "float64"]["bound"] == 1e-9
    lines = out.splitlines()
    assert all(len(line) <= 120 for line in lines)
    assert sum(line.startswith("conv-") for line in lines) >= 3


def test_everything_public_is_compared():
    rows = list(parity.subjects(np.zeros((4, 32, 32, 3), np.uint8), np.zeros(4, int), 1))
    names = [name for _, name, _ in rows]
    assert len(set(names)) == len(names)
    assert set(names) >= {case.name for case in (*CASES, *LOSSES)} | set(OPTIMIZERS)


def changed(function, change):
    """Plant a CuPy whose function of that name gives something else."""
    def plant(cupy, patch):
        right = getattr(cupy, function)

        def wrong(*arguments, out=None, **named):
            result = change(right(*arguments, **named))
            if out is None:
                return result
            out[...] = result
            return out

        patch.setattr(cupy, function, wrong)
    return plant


PLANTED = {
    "tanh": (changed("tanh", lambda y: y * 1.0001), "tanh-4x5x2"),
    "weights": (lambda cupy, patch: patch.setattr(parity, "seed", lambda number: minidl.seed(
        number + (minidl.backend_name() == "cupy"))), "first weights"),
    "dtype": (changed("split", lambda parts: [part.astype("float64") for part in parts]), "concat-empty"),
    "not a number": (changed("sqrt", lambda y: y * float("nan")), "layernorm-4x5x3-eps"),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_difference_is_found(gpu, capsys, monkeypatch, planted):
    plant, name = PLANTED[planted]
    plant(gpu, monkeypatch)
    monkeypatch.setattr(parity, "trained", lambda x, y, steps: {"losses": np.zeros(1)})   # the rest is enough
    assert main(["parity", "--steps", "1"]) == 1
    out = capsys.readouterr().out
    (line,) = (line for line in out.splitlines() if line.startswith(f"{name}  "))
    assert "BEYOND in float32" in line, line
    assert "differences are beyond their bounds" in out.splitlines()[-1]
    assert minidl.backend_name() == "numpy"


def test_bounds_are_on_the_largest_difference_over_the_largest_value():
    one, other = np.array([1.0, 2, 4]), np.array([1.0, 2.5, 4])
    assert parity.distance(one, other) == 0.5 / 4
    assert parity.distance(one, one.copy()) == 0
    assert parity.distance(np.array([np.nan]), np.array([np.nan])) == 0
    for wrong in (one[:2], one.astype(np.float32), np.array([1, 2, np.nan]), np.array([1, 2, np.inf])):
        assert parity.distance(wrong, one) == np.inf
    assert parity.distance(one, np.zeros(3)) == np.inf


def test_without_a_gpu_it_says_so(capsys):
    with standin.faults.broken("no driver"):
        assert main(["parity"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("minidl parity: CuPy is installed but finds no usable NVIDIA driver") and err.count("\n") == 1


def test_wrong_arguments(capsys, tmp_path):
    assert main(["parity", "--steps", "0"]) == 2
    assert "--steps=0: expected an integer of at least 1" in capsys.readouterr().err
