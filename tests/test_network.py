"""What happens around a network: its input's gradient left out, copied, built twice, holding a layer by itself."""

import copy

import numpy as np
import pytest
from cases import assert_same_bits

import minidl
from minidl import Sequential
from minidl.backend import to_cpu, xp
from minidl.core import Layer
from minidl.errors import DataError, ShapeError, UserError
from minidl.gradcheck import check_layer, check_model
from minidl.layers import Dense, Flatten, ReLU
from minidl.losses import SoftmaxCrossEntropy
from minidl.optimizers import SGD

pytestmark = pytest.mark.usefixtures("device")


def network():
    minidl.seed(0)
    return Sequential([Flatten(), Dense(5), ReLU(), Dense(3)], input_shape=(2, 3, 1))


def step(model):
    x = minidl.asarray(np.random.default_rng(0).standard_normal((4, 2, 3, 1)))
    loss = SoftmaxCrossEntropy()
    loss.forward(model.forward(x), np.array([0, 1, 2, 0]))
    return model.backward(loss.backward())


def test_without_the_gradient_of_the_images_the_parameters_get_the_same():
    whole, short = network(), network()
    assert step(whole).shape == (4, 2, 3, 1)
    short.input_gradient = False
    assert step(short) is None
    for one, other in zip(whole.parameters(), short.parameters(), strict=True):
        assert np.array_equal(to_cpu(one.grad), to_cpu(other.grad)), one.name
    assert check_model(short, (4, 2, 3, 1)).passed
    assert check_layer(short.layers[1], (4, 6)).passed
    short.input_gradient = True
    assert_same_bits(step(short), step(whole), "dx")


def test_a_copy_of_a_model_in_training_trains_by_itself():
    model = network()
    SGD(model.parameters(), lr=0.1)
    twin = copy.deepcopy(model)
    optimizer = SGD(twin.parameters(), lr=0.1)
    before = [parameter.data.copy() for parameter in model.parameters()]
    step(twin)
    optimizer.step()
    for parameter, other, old in zip(model.parameters(), twin.parameters(), before, strict=True):
        assert np.array_equal(to_cpu(parameter.data), to_cpu(old)), f"{parameter.name} of the original moved"
        assert not np.array_equal(to_cpu(other.data), to_cpu(old)), f"{other.name} of the copy did not move"


@pytest.mark.parametrize("again", [lambda model: model.build((2, 3, 1)),
                                   lambda model: Sequential([model.layers[1]], input_shape=(6,))])
def test_an_optimizer_notices_that_the_model_was_built_again(again):
    model = network()
    optimizer = SGD(model.parameters(), lr=0.1)
    again(model)
    with pytest.raises(UserError, match="the layer of W was built a second time.*Make the optimizer anew"):
        optimizer.step()
    SGD(model.parameters(), lr=0.1).step()


def test_a_layer_hidden_in_a_layer_is_refused():
    class Mine(Layer):
        def __init__(self):
            self.inner = Dense(4)

    with pytest.raises(UserError, match="attribute inner is a layer, whose parameters nobody would train"):
        Sequential([Mine()]).parameters()


@pytest.mark.parametrize(("mistake", "text"), [
    (lambda: Sequential(Dense(3)), "expected a list of layers"),
    (lambda: SGD(network(), lr=0.1), "Pass model.parameters()"),
    (lambda: SGD(network().parameters(), lr=0.1, penalty=0.01), "expected L2(c), L1(c) or None"),
    (lambda: SoftmaxCrossEntropy().forward(xp.ones((2, 3)), np.eye(3)[:2]), "labels.argmax(axis=1)")])
def test_classic_mistakes(mistake, text):
    with pytest.raises(UserError) as caught:
        mistake()
    assert text in str(caught.value)


@pytest.mark.parametrize("count", [1, 3, 9])
def test_dy_of_another_batch_is_refused(count):
    model = network()
    y = model.forward(minidl.asarray(np.ones((4, 2, 3, 1))))
    dy = xp.ones((count, 3), y.dtype)
    with pytest.raises(ShapeError) as caught:
        model.backward(dy)
    assert f"expected dy for the 4 inputs that forward saw last, got dy for {count}" in str(caught.value)
    assert "Run forward on the batch" in str(caught.value)


def test_saving_where_nothing_can_be_saved(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "nowhere" / "model.npz", tmp_path / "file" / "model.npz", tmp_path):
        with pytest.raises(DataError) as caught:
            network().save(path)
        assert str(path) in str(caught.value)
        assert "cannot be saved there" in str(caught.value)
    assert [found.name for found in tmp_path.iterdir()] == ["file"], "half a file was left"
