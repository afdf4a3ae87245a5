"""Losses against numbers worked out by hand, and the penalties on weights."""

import math

import numpy as np
import pytest
from cases import assert_close, assert_same_bits, on_device, tie_free

from minidl import Sequential
from minidl.layers import BatchNorm, Conv2D, Dense, Flatten
from minidl.losses import MeanSquaredError, SoftmaxCrossEntropy
from minidl.regularizers import L1, L2

pytestmark = pytest.mark.usefixtures("device")


def test_two_classes_by_hand():
    """softmax of (0, log 3) is (1/4, 3/4)."""
    loss = SoftmaxCrossEntropy()
    scores = on_device(np.array([[0, math.log(3)], [0, math.log(3)]]))
    assert_close(loss.forward(scores, [0, 1]), (math.log(4) - math.log(0.75)) / 2, "loss", 1e-15)
    assert_close(loss.backward(), [[-0.375, 0.375], [0.125, -0.125]], "dscores", 1e-15)


def test_label_smoothing_by_hand():
    """Probabilities 2/3 and 1/3, target 0.9 and 0.1."""
    loss = SoftmaxCrossEntropy(label_smoothing=0.2)
    scores = on_device(np.array([[math.log(2), 0]]))
    assert_close(loss.forward(scores, [0]), 0.9 * math.log(3 / 2) + 0.1 * math.log(3), "loss", 1e-15)
    assert_close(loss.backward(), [[2 / 3 - 0.9, 1 / 3 - 0.1]], "dscores", 1e-15)


def test_mean_squared_error_by_hand():
    loss = MeanSquaredError()
    assert loss.forward(on_device(np.array([[1.0, 2], [3, 4]])), [[1, 1], [1, 1]]) == (0 + 1 + 4 + 9) / 4
    assert_same_bits(loss.backward(), np.array([[0, 0.5], [1, 1.5]]), "dscores")


def reference(scores, labels):
    """The definition, one number at a time, without any care for overflow."""
    N, total, dscores = len(scores), 0.0, []
    for row, label in zip(scores, labels, strict=True):
        exponentials = [math.exp(score) for score in row]
        probabilities = [value / math.fsum(exponentials) for value in exponentials]
        total -= math.log(probabilities[label])
        dscores.append([(p - (k == label)) / N for k, p in enumerate(probabilities)])
    return total / N, dscores


@pytest.mark.parametrize("shape", [(1, 2), (4, 3), (3, 10), (5, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_the_definition(shape, dtype):
    scores = on_device((3 * tie_free(shape)).astype(dtype))
    labels = np.arange(shape[0]) * 2 % shape[1]
    value, dscores = reference(scores.tolist(), labels)
    loss, before = SoftmaxCrossEntropy(), scores.copy()
    tolerance = 1e-6 if dtype is np.float32 else 1e-14
    got = loss.forward(scores, labels)
    assert_close(got, value, "loss", tolerance, tolerance)
    assert_close(loss.backward(), dscores, "dscores", tolerance, tolerance)
    assert got.dtype == loss.backward().dtype == dtype
    assert got.shape == ()
    assert_same_bits(scores, before, "scores")
    first = loss.backward()
    kept = first.copy()
    first[...] = 7   # the caller's own, to do with as it likes
    assert_same_bits(loss.backward(), kept, "backward twice")


def test_gradient_against_slopes():
    scores, labels, loss, h = on_device(tie_free((4, 5))), [0, 4, 2, 2], SoftmaxCrossEntropy(), 1e-5
    loss.forward(scores, labels)
    explicit = loss.backward()
    for index in np.ndindex(scores.shape):
        step = np.zeros(scores.shape)
        step[index] = h
        step = on_device(step)
        numeric = (SoftmaxCrossEntropy().forward(scores + step, labels) -
                   SoftmaxCrossEntropy().forward(scores - step, labels)) / (2 * h)
        assert_close(explicit[index], numeric, f"dscores{list(index)}", 1e-6, 1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_scores(dtype):
    """No overflow (a warning is an error here): the loss is the distance to the largest score, the gradient 0 or 1."""
    scores = np.array([[1e4, -1e4, 0], [-3e30, 0, -1e30], [-1e5, -1e5 - 8, -1e5], [1e30, 1e30, 0]], dtype)
    scores = on_device(scores)
    loss = SoftmaxCrossEntropy()
    expected = [(0, 0.0), (1, 2e4), (2, 1e4)]
    for label, value in expected:
        assert_close(loss.forward(scores[:1], [label]), dtype(value), f"loss of label {label}", 1e-6)
    assert_same_bits(loss.backward(), np.array([[1, 0, -1]], dtype), "dscores")
    assert loss.forward(scores[1:2], [1]) == 0
    assert_close(loss.forward(scores[1:2], [2]), dtype(1e30), "loss", 1e-6)
    assert_close(loss.forward(scores[3:], [0]), math.log(2), "loss of two equal scores", 1e-6)
    assert_close(loss.forward(scores[2:3], [0]), math.log(2 + math.exp(-8)), "loss of far scores", 1e-6)
    assert_close(loss.backward().sum(axis=1), [0], "sum of dscores", atol=1e-7)
    together = on_device(np.array([[1e4, 1e4 - 1], [-1e4, -1e4 - 1], [0, -1]], dtype))
    assert_close(loss.forward(together, [0, 0, 1]), math.log(1 + math.exp(-1)) + 1 / 3, "loss of rows far apart", 1e-6)


def test_all_kinds_of_whole_numbers_are_labels():
    scores = on_device(tie_free((3, 4)))
    expected = SoftmaxCrossEntropy().forward(scores, [3, 0, 2])
    for kind in ("uint8", "int8", "int32", "uint64"):
        assert SoftmaxCrossEntropy().forward(scores, np.array([3, 0, 2], kind)) == expected


def test_loss_of_equal_scores_is_the_logarithm_of_the_number_of_classes():
    assert_close(SoftmaxCrossEntropy().forward(on_device(np.zeros((3, 10))), [0, 5, 9]), math.log(10), "loss", 1e-15)


# ---------------------------------------------------------------------------------------------------------- penalties


@pytest.mark.parametrize(("penalty", "value", "gradient"), [
    (L2(0.1), 0.05 * (1 + 4 + 9 + 0.25), [0.1, -0.2, 0.3, 0, -0.05]),
    (L1(0.1), 0.1 * (1 + 2 + 3 + 0.5), [0.1, -0.1, 0.1, 0, -0.1]),
    (L2(0), 0.0, [0.0] * 5), (L1(0), 0.0, [0.0] * 5)])
def test_penalties_by_hand(penalty, value, gradient):
    w = on_device(np.array([1, -2, 3, 0, -0.5]))
    model = Sequential([Dense(1, bias=False)], input_shape=(5,))
    (parameter,) = model.parameters()
    parameter.data = w[:, None].copy()
    assert_close(penalty.value([parameter]), value, "value", 1e-14)
    assert_close(penalty.gradient(w), gradient, "gradient", 1e-14)
    assert_same_bits(w, np.array([1, -2, 3, 0, -0.5]), "w")


@pytest.mark.parametrize("penalty", [L1(2.0), L2(2.0)])
def test_penalties_count_the_weights_alone(penalty):
    model = Sequential([Conv2D(2, (2, 1)), BatchNorm(), Flatten(), Dense(3)], input_shape=(3, 2, 1))
    for parameter in model.parameters():
        parameter.data[...] = 1 if parameter.name == "W" else 1000
    weights = 2 * 1 * 1 * 2 + 8 * 3
    assert penalty.value(model.parameters()) == weights * (2 if isinstance(penalty, L1) else 1)
    assert repr(penalty) == f"{type(penalty).__name__}(2)"
