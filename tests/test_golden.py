"""minidl equals PyTorch, number for number: against files that PyTorch made, and live where torch is installed."""

from pathlib import Path

import numpy as np
import pytest
from cases import freeze
from golden.cases import (
    DTYPES,
    HUGE,
    SNAPSHOTS,
    STEPS,
    TABLE,
    first_weights,
    gradient,
    images,
    load,
    losses_observed,
    numbers,
    target,
    training_images,
)

from minidl import parallel
from minidl.backend import asarray, float_type, precision, threads, to_cpu
from minidl.core import Parameter
from minidl.optimizers import MovingAverage

GOLDEN = Path(__file__).parent / "golden"
LIMITS = {"float64": 1e-10, "float32": 1e-5}  # of the relative error


# ------------------------------------------------------------------------------- each kind of case, computed by minidl


def prepared(case):
    layer = case.make()
    layer.build(case.shape[1:])
    for place, parameter in enumerate(layer.parameters()):
        parameter.data[...] = asarray(numbers(parameter.data.shape, 10 + place))
    return layer


def pass_through(layer, case):
    y = layer.forward(asarray(images(case)))
    dx = layer.backward(asarray(numbers(y.shape, 2)))
    gradients = {f"gradient_{place}": parameter.grad for place, parameter in enumerate(layer.parameters())}
    return {"y": y, "dx": dx, **gradients}


def layers(case):
    return pass_through(prepared(case), case)


def frozen(case):
    layer = prepared(case)
    kept = []
    for step in range(10):
        layer.forward(asarray(training_images(case, step)))
        kept.append([to_cpu(getattr(part, name)).copy() for part in layer.walk() for name in part.statistics])
    freeze(layer)
    return {**pass_through(layer, case), "statistics": np.array(kept, float_type())}


def losses(case):
    results = {}
    for size, largest in (("", 4.0), ("huge_", HUGE)):
        loss = case.make()
        value = loss.forward(asarray(numbers(case.shape, 1, largest)), asarray(target(case)))
        results |= {f"{size}loss": value, f"{size}dscores": loss.backward()}
    return results


def first_parameters():
    W, b = first_weights()
    return [Parameter(asarray(W), "W"), Parameter(asarray(b), "b", decay=False)]


def optimizers(case):
    parameters = first_parameters()
    optimizer = case.make(parameters)
    kept = []
    for step in range(1, STEPS + 1):
        for place, parameter in enumerate(parameters):
            parameter.grad[...] = asarray(gradient(to_cpu(parameter.data), 2 * step + place))
        optimizer.step()
        if step in SNAPSHOTS:
            kept.append(to_cpu(optimizer.flat.data).copy())
    return {"weights": np.array(kept)}


def averages(case):
    parameters = first_parameters()
    average = MovingAverage(parameters, case.decay)
    kept = []
    for step in range(1, STEPS + 1):
        for place, parameter in enumerate(parameters):
            parameter.data[...] = asarray(numbers(parameter.data.shape, 2 * step + place))
        average.update()
        if step in SNAPSHOTS:
            kept.append(to_cpu(average.average).copy())
    return {"average": np.array(kept)}


def schedules(case):
    schedule = case.ours()
    rates = []
    for step, loss in enumerate(losses_observed()):
        rates.append(schedule(step / case.last))
        if hasattr(schedule, "observe"):
            schedule.observe(loss)
    return {"lr": np.array(rates)}


OURS = {"layers": layers, "frozen": frozen, "losses": losses, "optimizers": optimizers, "averages": averages,
        "schedules": schedules}

# ----------------------------------------------------------------------------------------------------------- comparing


def compare(kind, case, dtype, theirs):
    """Fail where an array is further from PyTorch's than the limit, relative to PyTorch's largest value."""
    with precision(dtype):
        ours = {tensor: to_cpu(array) for tensor, array in OURS[kind](case).items()}
    assert ours.keys() == theirs.keys()
    for tensor, expected in theirs.items():
        got = ours[tensor]
        assert got.shape == expected.shape, f"{case.name}: {tensor} has shape {got.shape}, PyTorch's {expected.shape}"
        assert kind == "schedules" or got.dtype == dtype, f"{case.name}: {tensor} is {got.dtype}"
        distance = abs(got.astype(np.float64) - expected.astype(np.float64))
        if not distance.any():
            continue
        error = distance.max() / abs(expected).max()
        worst = np.unravel_index(distance.argmax(), distance.shape)
        assert error <= LIMITS[dtype], (f"{case.name}, {dtype}: {tensor}{[int(k) for k in worst]} is {got[worst]!r}, "
                                        f"PyTorch has {expected[worst]!r}; relative error {error:.1e}")


EVERYTHING = [pytest.param(kind, case, dtype, id=f"{kind}-{case.name}-{dtype}")
              for kind, cases in TABLE.items() for case in cases for dtype in DTYPES]


@pytest.fixture(scope="module")
def golden():
    """{kind: ({"case/dtype/tensor": array}, what made them)} of all golden files."""
    return {kind: load(GOLDEN / f"{kind}.npz") for kind in TABLE}


@pytest.mark.parametrize(("kind", "case", "dtype"), EVERYTHING)
def test_equals_the_golden_file(kind, case, dtype, golden, device):
    theirs = numbers_of(golden, kind, case, dtype)
    if not theirs and new_kinds(kind, case):
        pytest.skip(f"no numbers of PyTorch for {case.name}: write in THEIRS of tests/golden/with_torch.py how PyTorch "
                    f"makes it, and run make_golden.py there")
    assert theirs, f"{kind}.npz does not hold {case.name}/{dtype}: run tests/golden/make_golden.py"
    compare(kind, case, dtype, theirs)


def new_kinds(kind, case):
    """The classes of a row for which nobody has written yet, in with_torch.py, what PyTorch has in their place."""
    made = {"layers": lambda: prepared(case).walk(), "frozen": lambda: prepared(case).walk(),
            "losses": lambda: [case.make()], "optimizers": lambda: [case.make(first_parameters())]}.get(kind, list)()
    written = (GOLDEN / "with_torch.py").read_text(encoding="utf-8")
    return {type(thing).__name__ for thing in made if f"{type(thing).__name__}: " not in written}


def numbers_of(golden, kind, case, dtype):
    start = f"{case.name}/{dtype}/"
    return {name.removeprefix(start): array for name, array in golden[kind][0].items() if name.startswith(start)}


def test_slices_of_one_image_on_two_threads_make_no_difference(golden, monkeypatch):
    monkeypatch.setattr(parallel, "SLICE_BYTES", 1)
    before = threads()
    try:
        threads(2)
        for case in TABLE["layers"]:
            if theirs := numbers_of(golden, "layers", case, "float64"):
                compare("layers", case, "float64", theirs)
    finally:
        threads(before)


def test_golden_files_hold_the_table_and_nothing_else(golden):
    for kind, cases in TABLE.items():
        names = [case.name for case in cases]
        assert len(set(names)) == len(names), f"{kind}: a name stands for two cases"
        arrays, versions = golden[kind]
        assert {name.split("/")[0] for name in arrays} == {case.name for case in cases if not new_kinds(kind, case)}
        assert "torch" in versions


@pytest.fixture(scope="module")
def with_torch():
    pytest.importorskip("torch", reason="torch is not installed: compared with the golden files only")
    import torch
    from golden import with_torch
    torch.set_num_threads(1)
    return with_torch


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("kind", "case", "dtype"), EVERYTHING)
def test_equals_pytorch_live(kind, case, dtype, with_torch):
    try:
        theirs = with_torch.COMPUTE[kind](case, dtype)
    except LookupError as reason:
        pytest.skip(str(reason))
    compare(kind, case, dtype, theirs)
