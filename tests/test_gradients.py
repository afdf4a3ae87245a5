"""Every backward pass against slopes measured on the forward pass, in float64: once by minidl's own checker, and once
by a few lines written here that share nothing with it. On every backend; on the CPU in slices on two threads, too."""

import numpy as np
import pytest
from cases import CASES, LOSSES, OPTIMIZERS, assert_close, freeze, on_device

import minidl
from minidl import layers, losses, network, optimizers, parallel
from minidl.backend import to_cpu
from minidl.core import Parameter
from minidl.gradcheck import check_layer, check_loss

TABLE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture(autouse=True)
def float64():
    with minidl.precision("float64"):
        yield


@pytest.fixture
def slices(monkeypatch):
    """Two threads that take one image at a time."""
    monkeypatch.setattr(parallel, "SLICE_BYTES", 1)
    minidl.threads(2)


def layer_of(case):
    """The layer of a case. The checker switches its copy to training mode, so a frozen one has to stay frozen."""
    layer = case.layer()
    if case.mode == "frozen":
        kind = type(layer)
        layer.__class__ = type(f"Frozen{kind.__name__}", (kind,), {"train": lambda self: freeze(self) or self})
    return layer


@TABLE
def test_checker(case, device):
    check_all(case, largest=10**9 if device == "numpy" else 40)


@TABLE
def test_checker_in_slices(case, slices):
    check_all(case, largest=40)


def check_all(case, largest):
    layer = layer_of(case)
    report = check_layer(layer, case.x(), largest=largest)
    assert report.passed, f"{case.name}\n{report}"
    names = {"input", *(parameter.name for parameter in layer.parameters())}
    assert {finding.tensor.split(".")[-1] for finding in report.findings} == names
    assert max(finding.max_relative_error for finding in report.findings) < 1e-6


@TABLE
def test_independent(case, device):
    measure_again(case, most=25 if device == "numpy" else 5)


@TABLE
def test_independent_in_slices(case, slices):
    measure_again(case)


def measure_again(case, most=25):
    """Single elements, at most so many, and all elements of a tensor at once along a random direction."""
    layer, x, draw = case.layer(), case.x(), np.random.default_rng(3)
    minidl.seed(5)
    dy = on_device(draw.standard_normal(layer.forward(x).shape))

    def objective():
        minidl.seed(5)  # the same dropout mask every time
        return float((layer.forward(x) * dy).sum())

    objective()
    dx = layer.backward(dy)
    assert dx.shape == x.shape
    tensors = [("input", x, dx.copy())]
    tensors += [(f"{parameter.name}{parameter.data.shape}", parameter.data, parameter.grad.copy())
                for parameter in layer.parameters()]
    assert all(values.dtype == gradient.dtype == np.float64 for _, values, gradient in tensors)

    def slope(values, direction, h=1e-5):
        start = values.copy()
        values += on_device(h * direction)
        above = objective()
        values[...] = start - on_device(h * direction)
        below = objective()
        values[...] = start
        return (above - below) / (2 * h)

    for name, values, gradient in tensors:
        chosen = draw.choice(values.size, min(values.size, most), replace=False)
        indices = [np.unravel_index(k, values.shape) for k in chosen]
        measured = []
        for index in indices:
            single = np.zeros(values.shape)
            single[index] = 1
            measured.append(slope(values, single))
        gradient = to_cpu(gradient)
        got = np.array([gradient[index] for index in indices])
        # the rounding of L = sum of y dy, divided by h, moves a measured slope by about 1e-10
        for index, explicit, numeric in zip(indices, got, measured, strict=True):
            assert_close(explicit, numeric, f"{case.name}, {name}{list(map(int, index))}", rtol=1e-6,
                         atol=1e-8 * np.abs(gradient).max() + 1e-9)
        direction = draw.uniform(-1, 1, values.shape)
        numeric = slope(values, direction)
        assert_close((gradient * direction).sum(), numeric, f"{case.name}, {name} along a random direction", rtol=1e-6,
                     atol=1e-8 * np.abs(gradient).sum() + 1e-9)


@pytest.mark.parametrize("case", LOSSES, ids=lambda case: case.name)
def test_losses(case, device):
    report = check_loss(case.make(), case.shape)
    assert report.passed, f"{case.name}\n{report}"
    assert report.finding("input").max_relative_error < 1e-6


def test_the_table_has_a_row_for_everything_public():
    names = [case.name for case in (*CASES, *LOSSES)]
    assert len(set(names)) == len(names), "two cases of one name"
    kinds = {type(part) for case in CASES for part in case.layer().walk()} | {type(case.make()) for case in LOSSES}
    kinds |= {type(make([Parameter(on_device(np.ones(3)), "W")])) for make in OPTIMIZERS.values()}
    public = {getattr(layers, name) for name in layers.__all__}
    public |= {kind for module, base in ((network, network.Container), (losses, losses.Loss),
                                         (optimizers, optimizers.Optimizer))
               for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, base)}
    missing = public - kinds - {network.Container, losses.Loss, optimizers.Optimizer}
    assert not missing, f"add a row to minidl/cases.py for: {', '.join(sorted(kind.__name__ for kind in missing))}"
