"""What happens around a network: containers in containers, its summary, its input's gradient left out, copied, built
twice, holding a layer by itself."""

import copy

import numpy as np
import pytest
from cases import assert_same_bits, assert_says

import minidl
from minidl import Concat, Residual, Sequential
from minidl.backend import asarray, draw_normal, random_state, to_cpu, xp
from minidl.core import Layer
from minidl.errors import DataError, ShapeError, UserError
from minidl.gradcheck import check_layer, check_model
from minidl.layers import BatchNorm, Conv2D, Dense, DepthwiseConv2D, Dropout, Flatten, LeakyReLU, MaxPool2D, ReLU
from minidl.losses import SoftmaxCrossEntropy
from minidl.optimizers import SGD, Adam
from minidl.summary import kept_bytes
from minidl.training import fit

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


# -------------------------------------------------------------------------------------------- containers in containers


def nested_model():
    return Sequential([Residual([Conv2D(4, 3, padding=1), BatchNorm(), Residual(ReLU())], Conv2D(4, 1)),
                       Concat([Conv2D(2, 1), []]), Dropout(0.5), Flatten(), Dense(3)], input_shape=(3, 4, 2))


NESTED_NAMES = ["residual_1.body.conv2d_1.W", "residual_1.body.conv2d_1.b", "residual_1.body.batchnorm_1.gamma",
                "residual_1.body.batchnorm_1.beta", "residual_1.body.batchnorm_1.running_mean",
                "residual_1.body.batchnorm_1.running_var", "residual_1.shortcut.conv2d_1.W",
                "residual_1.shortcut.conv2d_1.b", "concat_1.branch_1.conv2d_1.W", "concat_1.branch_1.conv2d_1.b",
                "dense_1.W", "dense_1.b"]


def test_names_and_saving_of_a_nested_model(tmp_path):
    model, other = nested_model(), nested_model()
    assert len(list(model.walk())) == 18
    assert list(model.state_dict()) == NESTED_NAMES
    trained = [name.rsplit(".", 1)[1] for name in NESTED_NAMES if "running" not in name]
    assert [parameter.name for parameter in model.parameters()] == trained
    x = draw_normal((5, 3, 4, 2))
    model.forward(x)
    model.save(tmp_path / "model.npz")
    other.load(tmp_path / "model.npz")
    assert (model.eval().forward(x) == other.eval().forward(x)).all()


def test_the_plain_shortcut_adds_the_input_itself():
    layer = Residual(ReLU())
    layer.build((2,))
    assert layer.forward(asarray([[1.0, -2.0]])).tolist() == [[2, -2]]
    assert layer.backward(asarray([[1.0, 1.0]])).tolist() == [[2, 1]]


def test_concat_joins_features_in_order():
    layer = Concat([[], ReLU(), LeakyReLU(0.5)])
    layer.build((2,))
    assert layer.forward(asarray([[1.0, -2.0]])).tolist() == [[1, -2, 1, 0, 1, -1]]
    assert layer.backward(asarray([[1.0, 2.0, 10.0, 20.0, 100.0, 200.0]])).tolist() == [[111, 102]]


def test_a_trained_nested_model_learns():
    model = nested_model()
    x, y = draw_normal((60, 3, 4, 2)), np.arange(60) % 3
    history = fit(model, Adam(model.parameters(), lr=0.01), x, y, epochs=15, batch_size=20, report=None)
    assert history.loss[-1] < history.loss[0] / 2


def test_a_container_knows_its_input():
    layer = Residual(Dense(3))
    layer.build((3,))
    for x, text in (([[1.0, 2.0, 3.0]], "0 layers): expected an array of the {} backend, got builtins.list"),
                    (xp.zeros((2, 3), np.int64), "expected an array of floats, got int64 numbers"),
                    (xp.zeros((2, 3)), "expected an array of float32, as the model's parameters are, got float64"),
                    (asarray(np.zeros((2, 4))), "expected input of shape (N, 3), got (2, 4)")):
        with pytest.raises(UserError) as caught:
            layer.forward(x)
        assert_says(caught, text.format(minidl.backend_name()))
    layer.forward(asarray(np.zeros((2, 3))))
    with pytest.raises(UserError) as caught:
        layer.backward(asarray(np.zeros((2, 4))))
    assert_says(caught, "backward expected dy of the output's shape (N, 3), got (2, 4)")


# ------------------------------------------------------------------------------------------------------------- summary

SUMMARY = """\
layer                                                        output shape  parameters  multiply-adds  bytes kept
----------------------------------------------------------------------------------------------------------------
input                                                        (4, 3, 2)
residual_1     Residual(body of 2, shortcut of 0 layers)     (4, 3, 2)             38          4,320       1,920
  body         Sequential(2 layers)                          (4, 3, 2)             38          4,320       1,920
    conv2d_1   Conv2D(2, 3, padding=1)                       (4, 3, 2)             38          4,320         960
    relu_1     ReLU()                                        (4, 3, 2)                                       960
  shortcut     Sequential(0 layers)                          (4, 3, 2)
batchnorm_1    BatchNorm()                                   (4, 3, 2)              4                        976
flatten_1      Flatten()                                     (24,)
dense_1        Dense(5)                                      (5,)                 125          1,200         960
----------------------------------------------------------------------------------------------------------------
167 parameters, and 4 running statistics that are not trained
a batch of 10: 5,520 multiply-adds forward, 3,856 bytes kept for backward"""


def test_summary_indents_what_is_nested_and_counts_for_a_batch():
    model = Sequential([Residual([Conv2D(2, 3, padding=1), ReLU()]), BatchNorm(), Flatten(), Dense(5)],
                       input_shape=(4, 3, 2))
    draws, before = random_state(), model.state_dict()
    lines = [line.split() for line in model.summary(batch_size=10).splitlines()]
    assert [line for line in lines if "--" not in line[0]] == \
        [line.split() for line in SUMMARY.splitlines() if "--" not in line]
    assert [len(line) - len(line.lstrip()) for line in model.summary().splitlines()[3:8]] == [0, 2, 4, 4, 2]
    assert model.summary().splitlines()[-1] == "167 parameters, and 4 running statistics that are not trained"
    assert random_state() == draws
    assert all((model.state_dict()[name] == array).all() for name, array in before.items())
    with pytest.raises(UserError, match="nothing to work from"):  # the measuring has left nothing behind
        model.backward(asarray(np.ones((1, 5))))


def test_an_array_that_two_layers_keep_counts_once():
    # Dense keeps a view of the very array that ReLU gave and keeps; of its mask Dropout keeps the key alone
    model = Sequential([ReLU(), Flatten(), Dense(2), Dropout(0.5)], input_shape=(5, 1))
    draws = random_state()
    assert [kept_bytes(model, 7)[layer] for layer in model.layers] == [7 * 5 * 4, 0, 0, 8]
    assert random_state() == draws
    model = Sequential([MaxPool2D(2)], input_shape=(4, 6, 1))
    assert sum(kept_bytes(model, 3).values()) == 3 * (24 + 6) * 4


def test_multiply_adds_of_convolutions():
    for layer, expected in ((Conv2D(4, 3, padding=1), 5 * 6 * 9 * 3 * 4), (Conv2D(4, 3, stride=2), 2 * 2 * 9 * 3 * 4),
                            (DepthwiseConv2D(3, padding=1), 5 * 6 * 9 * 3), (ReLU(), 0)):
        layer.build((5, 6, 3))
        assert layer.multiply_adds() == expected
