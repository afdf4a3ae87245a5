"""Arithmetic with one number per feature: each function equals its obvious twin."""

import numpy as np
import pytest

import minidl
from minidl import parallel
from minidl.ops.features import by_feature, feature_sums, mean_and_variance

SHAPES = [(7, 5), (3, 4, 6, 2), (2, 5, 3), (1, 1, 1, 4)]


@pytest.mark.parametrize("shape", SHAPES)
def test_sums_and_operations(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    numbers = np.random.default_rng(1).standard_normal(shape[-1])
    others = tuple(range(len(shape) - 1))
    np.testing.assert_allclose(feature_sums(x), x.sum(others), rtol=1e-12, atol=1e-12)
    for operation in (np.multiply, np.subtract):
        assert (by_feature(operation, x, numbers, out=np.empty_like(x)) == operation(x, numbers)).all()
        part = np.concatenate([x, x], axis=-1)[..., :shape[-1]]                  # a view with gaps
        assert (by_feature(operation, part, numbers, out=np.empty_like(x)) == operation(x, numbers)).all()


@pytest.mark.parametrize("slice_bytes", [1, 500, 1 << 20])
@pytest.mark.parametrize("shape", SHAPES)
def test_mean_and_variance(shape, slice_bytes, monkeypatch):
    monkeypatch.setattr(parallel, "SLICE_BYTES", slice_bytes)
    x = 100 + np.random.default_rng(0).standard_normal(shape)
    others = tuple(range(len(shape) - 1))
    mean, variance = mean_and_variance(x)
    np.testing.assert_allclose(mean, x.mean(others), rtol=1e-13)
    np.testing.assert_allclose(variance, x.var(others), rtol=1e-12, atol=1e-24)


def test_workspaces_stay_small_however_large_the_batch():
    """A network's workspaces hold a few slices for each thread, and none of them grows with the batch."""
    from minidl import Sequential
    from minidl.layers import BatchNorm, Conv2D, Dense, DepthwiseConv2D, Flatten, LayerNorm, MaxPool2D, ReLU
    model = Sequential([Conv2D(16, 3, padding=1), BatchNorm(), ReLU(), Conv2D(16, 5, stride=2), ReLU(), MaxPool2D(2),
                        DepthwiseConv2D(3, padding=1), LayerNorm(), Flatten(), Dense(10)], input_shape=(32, 32, 3))
    minidl.threads(1)
    held = []
    for count in (300, 900):
        x = minidl.asarray(np.random.default_rng(0).standard_normal((count, 32, 32, 3)))
        model.backward(model.forward(x))
        held.append(parallel.workspace_bytes())
    assert held[1] == held[0]
    assert held[1] < 16 * parallel.SLICE_BYTES
