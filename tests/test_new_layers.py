"""Layers, containers, losses, optimizers and schedules: gradients, hand-worked numbers, error texts, resuming."""

import math

import numpy as np
import pytest

import minidl
from minidl import Concat, Residual, Sequential
from minidl.backend import asarray, draw_normal, precision, random_state, to_cpu, xp
from minidl.core import Layer, Parameter
from minidl.errors import ShapeError, UserError
from minidl.gradcheck import check_layer
from minidl.layers import (
    GELU,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    LayerNorm,
    LeakyReLU,
    MaxPool2D,
    ReLU,
    Tanh,
)
from minidl.losses import MeanSquaredError, SoftmaxCrossEntropy
from minidl.ops.erf import erf
from minidl.optimizers import SGD, AdaGrad, Adam, AdamW, Momentum, MovingAverage, RMSProp, clip_by_global_norm
from minidl.regularizers import L2
from minidl.schedules import Constant, Cosine, PiecewiseConstant, ReduceOnPlateau, Triangular
from minidl.textbook import conv2d_loops
from minidl.training import fit

pytestmark = pytest.mark.usefixtures("device")


@pytest.fixture(autouse=True)
def same_draws():
    minidl.seed(0)


def error_text(call, *arguments, kind=UserError, **named):
    with pytest.raises(kind) as caught:
        call(*arguments, **named)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------------- gradients

GRADIENTS = [
    (DepthwiseConv2D(3), (3, 5, 6, 2)),
    (DepthwiseConv2D((3, 2), stride=(2, 1), padding=(1, 0)), (2, 7, 5, 3)),
    (DepthwiseConv2D((2, 4), stride=3, padding="same", bias=False), (3, 5, 7, 2)),
    (AveragePool2D(2), (3, 4, 7, 2)),
    (AveragePool2D((3, 2), stride=(1, 2), padding=(1, 1)), (2, 5, 6, 3)),
    (AveragePool2D(2, stride=3, padding="same"), (2, 7, 5, 3)),
    (GlobalAveragePool2D(), (3, 5, 4, 2)),
    (LeakyReLU(), (3, 7)),
    (LeakyReLU(0.3), (3, 4, 5, 2)),
    (GELU(), (4, 9)),
    (GELU(), (2, 3, 5, 4)),
    (LayerNorm(), (4, 7)),
    (LayerNorm(eps=0.1), (2, 3, 5, 4)),
    (Dropout(0.4, maps=True), (3, 4, 5, 6)),
    (Residual(Dense(5)), (3, 5)),
    (Residual([Conv2D(4, 3, stride=2, padding=1), BatchNorm(), GELU(), Conv2D(4, 3, padding="same", bias=False)],
              Conv2D(4, 1, stride=2)), (3, 5, 7, 2)),
    (Concat([Conv2D(2, 1), [Tanh(), Conv2D(3, 3, padding=1)], []]), (2, 5, 4, 3)),
    (Concat([[]]), (2, 3)),
    (Sequential([Residual([Residual(DepthwiseConv2D(3, padding=1)), LayerNorm()]),
                 Concat([AveragePool2D(3, 1, 1), MaxPool2D(3, 1, 1)]), GlobalAveragePool2D(), Dense(2)]), (2, 5, 4, 3)),
]


@pytest.mark.parametrize(("layer", "shape"), GRADIENTS, ids=lambda value: str(value).replace(" ", ""))
def test_backward_agrees_with_measured_slopes(layer, shape):
    report = check_layer(layer, shape)
    assert report.passed, str(report)
    assert max(finding.max_relative_error for finding in report.findings) < 1e-6, str(report)


class HalfTheShare(AveragePool2D):
    def backward(self, dy):
        return super().backward(dy / 2)


class ForgottenFeature(LayerNorm):
    def backward(self, dy):
        xhat, std = self.saved
        super().backward(dy)
        return self.gamma.data * dy / std


class OnePathOnly(Residual):
    def backward(self, dy):
        return self.body.backward(dy)


class SlopeOfTheApproximation(GELU):
    """The textbook mix-up: forward by erf, backward by the tanh formula."""

    def backward(self, dy):
        x, _ = self.saved
        t = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
        return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x))


class FlippedTaps(DepthwiseConv2D):
    def backward(self, dy):
        dx = super().backward(dy)
        self.W.grad[...] = self.W.grad[::-1].copy()
        return dx


@pytest.mark.parametrize(("layer", "shape", "tensor"), [
    (HalfTheShare(2), (3, 4, 7, 2), "input"), (ForgottenFeature(), (4, 7), "input"),
    (OnePathOnly(Dense(5)), (3, 5), "input"), (SlopeOfTheApproximation(), (4, 9), "input"),
    (FlippedTaps(3), (3, 5, 6, 2), "W")], ids=lambda value: type(value).__name__ if isinstance(value, Layer) else None)
def test_a_planted_wrong_gradient_is_found_and_named(layer, shape, tensor):
    wrong = [finding.tensor for finding in check_layer(layer, shape).findings if finding.verdict == "fail"]
    assert wrong == [tensor]


# ---------------------------------------------------------------------------------------------- hand-worked numbers


def built(layer, x):
    layer.build(x.shape[1:])
    return layer


def plane(*rows):
    """One grey image (1, H, W, 1)."""
    return asarray(np.array(rows, float)[None, :, :, None])


def rows_of(image):
    return image[0, :, :, 0].tolist()


def test_erf_against_the_standard_library():
    x = np.concatenate([np.linspace(-7, 7, 4001), [-np.inf, np.inf, 1e-300, 0.46875, -0.46875]])
    exact = np.array([math.erf(value) for value in x])
    assert abs(to_cpu(erf(xp.asarray(x))) - exact).max() < 1e-15
    single = x.astype(np.float32)
    exact = np.array([math.erf(value) for value in single])
    got = to_cpu(erf(xp.asarray(single)))
    assert got.dtype == np.float32 and abs(got - exact).max() < 1e-6
    for dtype in (np.float32, np.float64):
        assert np.isnan(to_cpu(erf(xp.asarray(np.array([np.nan], dtype)))))[0]


def test_gelu_is_exact_and_keeps_the_type():
    x = asarray([[-1.0, 0.0, 1.0, 2.0]])
    y = built(GELU(), x).forward(x)
    assert y.dtype == np.float32
    assert y[0].tolist() == pytest.approx([-0.15865525, 0.0, 0.84134475, 1.9544997], abs=1e-6)


def test_average_pool_counts_padding_as_zeros():
    x = plane([1, 2], [3, 4])
    layer = built(AveragePool2D(2, stride=1, padding=1), x)
    assert rows_of(layer.forward(x) * 4) == [[1, 3, 2], [4, 10, 6], [3, 7, 4]]  # always divided by 4
    assert rows_of(layer.backward(asarray(np.ones((1, 3, 3, 1))))) == [[1, 1], [1, 1]]


def test_same_padding_with_even_kernels_and_strides_puts_the_odd_zero_below_and_right():
    x = plane([1, 2, 3], [4, 5, 6], [7, 8, 9])
    ones = {"init": lambda shape, fan_in, fan_out: np.ones(shape), "bias": False}
    sums = [[1 + 2 + 4 + 5, 3 + 6], [7 + 8, 9]]  # stride 2: two places each way, one row and one column of zeros
    for layer in (Conv2D(1, 2, stride=2, padding="same", **ones), DepthwiseConv2D(2, stride=2, padding="same", **ones)):
        assert rows_of(built(layer, x).forward(x)) == sums
    assert rows_of(built(AveragePool2D(2, padding="same"), x).forward(x) * 4) == sums
    assert rows_of(built(MaxPool2D(2, padding="same"), x).forward(x)) == [[5, 6], [8, 9]]


def test_global_average_pool():
    x = asarray(np.arange(12.0).reshape(1, 2, 3, 2))
    layer = built(GlobalAveragePool2D(), x)
    assert layer.forward(x).tolist() == [[5, 6]]
    assert (layer.backward(asarray([[6.0, 12.0]])) == asarray([1.0, 2.0])).all()


def test_leaky_relu_at_and_below_zero():
    x = asarray([[-2.0, 0.0, 3.0]])
    layer = built(LeakyReLU(0.25), x)
    assert layer.forward(x).tolist() == [[-0.5, 0.0, 3.0]]
    assert layer.backward(asarray([[1.0, 1.0, 1.0]])).tolist() == [[0.25, 0.25, 1.0]]


def test_layer_norm_sees_one_place_at_a_time():
    x = asarray([[[[1.0, 3.0], [10.0, 10.0]]]])
    layer = built(LayerNorm(eps=0.0), x[:, :, :1])
    assert layer.forward(x[:, :, :1]).ravel().tolist() == [-1, 1]
    assert built(LayerNorm(), x).forward(x)[0, 0, 1].tolist() == [0, 0]  # no spread, no division by zero


def test_depthwise_equals_a_convolution_that_does_not_mix_features():
    with precision("float64"):
        x = draw_normal((2, 5, 6, 3))
        layer = built(DepthwiseConv2D((3, 2), stride=(1, 2), padding=(1, 0)), x)
        layer.b.data[...] = draw_normal(3)
        for c in range(3):
            y = conv2d_loops(x[..., c:c + 1], layer.W.data[:, :, c:c + 1, None], layer.b.data[c:c + 1], (1, 2), (1, 0))
            assert abs(layer.forward(x)[..., c:c + 1] - y).max() < 1e-14


def test_the_size_of_first_weights_follows_the_inputs_of_one_output():
    for make, fans in ((lambda init: Conv2D(5, (3, 2), init=init), (3 * 2 * 4, 3 * 2 * 5)),
                       (lambda init: DepthwiseConv2D((3, 2), init=init), (3 * 2, 3 * 2))):
        met = []
        make(lambda shape, fan_in, fan_out, met=met: met.append((fan_in, fan_out)) or np.zeros(shape)).build((6, 7, 4))
        assert met == [fans]


def test_dropout_of_maps_drops_whole_maps_of_each_image_by_itself():
    x = asarray(np.ones((40, 4, 5, 30)))
    y = to_cpu(built(Dropout(0.25, maps=True), x).forward(x))
    assert (y == y[:, :1, :1, :]).all() and y.dtype == x.dtype
    assert len(np.unique(y[:, 0, 0], axis=0)) == 40
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)}
    assert float((y[:, 0, 0] == 0).mean()) == pytest.approx(0.25, abs=0.05)  # 1200 maps


def test_losses_by_hand():
    loss = MeanSquaredError()
    value = loss.forward(asarray([[1.0, 2.0], [3.0, 4.0]]), [[1, 1], [1, 1]])
    assert float(value) == pytest.approx((0 + 1 + 4 + 9) / 4)
    assert loss.backward().tolist() == [[0, 0.5], [1, 1.5]]
    loss = SoftmaxCrossEntropy(label_smoothing=0.2)
    scores = asarray([[math.log(2), 0.0]])  # probabilities 2/3 and 1/3, target 0.9 and 0.1
    assert float(loss.forward(scores, [0])) == pytest.approx(0.9 * math.log(3 / 2) + 0.1 * math.log(3), abs=1e-6)
    assert loss.backward()[0].tolist() == pytest.approx([2 / 3 - 0.9, 1 / 3 - 0.1], abs=1e-6)


# ------------------------------------------------------------------------------------------------------ containers


def nested_model():
    return Sequential([Residual([Conv2D(4, 3, padding=1), BatchNorm(), Residual(ReLU())], Conv2D(4, 1)),
                       Concat([Conv2D(2, 1), []]), Dropout(0.5), Flatten(), Dense(3)], input_shape=(3, 4, 2))


NESTED_NAMES = ["residual_1.body.conv2d_1.W", "residual_1.body.conv2d_1.b", "residual_1.body.batchnorm_1.gamma",
                "residual_1.body.batchnorm_1.beta", "residual_1.body.batchnorm_1.running_mean",
                "residual_1.body.batchnorm_1.running_var", "residual_1.shortcut.conv2d_1.W",
                "residual_1.shortcut.conv2d_1.b", "concat_1.branch_1.conv2d_1.W", "concat_1.branch_1.conv2d_1.b",
                "dense_1.W", "dense_1.b"]


def test_nested_names_parameters_and_state():
    model, other = nested_model(), nested_model()
    assert list(model.state_dict()) == NESTED_NAMES
    trained = [name.rsplit(".", 1)[1] for name in NESTED_NAMES if "running" not in name]
    assert [parameter.name for parameter in model.parameters()] == trained
    x = draw_normal((5, 3, 4, 2))
    model.forward(x)
    other.load_state_dict(model.state_dict())
    assert (model.eval().forward(x) == other.eval().forward(x)).all()


def test_saving_a_nested_model(tmp_path):
    model, other = nested_model(), nested_model()
    model.save(tmp_path / "model.npz")
    other.load(tmp_path / "model.npz")
    assert all((a == b).all() for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


def test_modes_reach_every_layer():
    model = nested_model()
    assert len(list(model.walk())) == 18
    model.eval()
    assert not any(layer.training or layer.keeping for layer in model.walk())
    model.train()
    assert all(layer.training and layer.keeping for layer in model.walk())


def test_the_plain_shortcut_adds_the_input_itself():
    x = asarray([[1.0, -2.0]])
    layer = built(Residual(ReLU()), x)
    assert layer.forward(x).tolist() == [[2, -2]]
    assert layer.backward(asarray([[1.0, 1.0]])).tolist() == [[2, 1]]


def test_concat_joins_features_in_order():
    x = asarray([[1.0, -2.0]])
    layer = built(Concat([[], ReLU(), LeakyReLU(0.5)]), x)
    assert layer.forward(x).tolist() == [[1, -2, 1, 0, 1, -1]]
    assert layer.backward(asarray([[1.0, 2.0, 10.0, 20.0, 100.0, 200.0]])).tolist() == [[111, 102]]


def test_a_trained_nested_model_learns():
    model = nested_model()
    x, y = draw_normal((60, 3, 4, 2)), np.arange(60) % 3
    history = fit(model, Adam(model.parameters(), lr=0.01), x, y, epochs=15, batch_size=20, report=None)
    assert history.loss[-1] < history.loss[0] / 2


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
    assert "bytes" not in model.summary()
    assert random_state() == draws
    assert all((model.state_dict()[name] == array).all() for name, array in before.items())
    with pytest.raises(UserError, match="nothing to work from"):  # the measuring has left nothing behind
        model.backward(asarray(np.ones((1, 5))))


def test_an_array_that_two_layers_keep_counts_once():
    # Dense keeps a view of the very array that ReLU gave and keeps; of its mask Dropout keeps the key alone
    model = Sequential([ReLU(), Flatten(), Dense(2), Dropout(0.5)], input_shape=(5, 1))
    draws = random_state()
    assert [model.kept_bytes(7)[layer] for layer in model.layers] == [7 * 5 * 4, 0, 0, 0]
    assert random_state() == draws
    model = Sequential([MaxPool2D(2)], input_shape=(4, 6, 1))
    assert sum(model.kept_bytes(3).values()) == 3 * (24 + 6) * 4


def test_multiply_adds_of_convolutions():
    for layer, expected in ((Conv2D(4, 3, padding=1), 5 * 6 * 9 * 3 * 4), (Conv2D(4, 3, stride=2), 2 * 2 * 9 * 3 * 4),
                            (DepthwiseConv2D(3, padding=1), 5 * 6 * 9 * 3), (ReLU(), 0)):
        layer.build((5, 6, 3))
        assert layer.multiply_adds() == expected


# ----------------------------------------------------------------------------------------------------------- errors

MISTAKES = [
    (lambda: Conv2D(0, 3), "filters=0: expected a whole number of at least 1"),
    (lambda: DepthwiseConv2D(0), "kernel_size=0: expected a whole number of at least 1, or a pair"),
    (lambda: DepthwiseConv2D(3, stride=0), "stride=0: expected a whole number"),
    (lambda: DepthwiseConv2D(3, padding="full"), "padding='full': expected \"same\", \"valid\""),
    (lambda: DepthwiseConv2D(3, init="hee"), "init='hee': expected one of zeros"),
    (lambda: DepthwiseConv2D(5).build((3, 4, 2)),
     "DepthwiseConv2D(5): a window of 5x5 does not fit into the padded image of 3x4"),
    (lambda: DepthwiseConv2D(3).build((12,)), "expected input of shape (H, W, C) without the batch axis, got (12,)"),
    (lambda: AveragePool2D(2, padding=2), "padding=2: expected at most half the window (2, 2)"),
    (lambda: AveragePool2D(3).build((2, 5, 1)), "AveragePool2D(3): a window of 3x3 does not fit"),
    (lambda: GlobalAveragePool2D().build((10,)), "GlobalAveragePool2D(): expected input of shape (H, W, C)"),
    (lambda: LeakyReLU(1.5), "slope=1.5: expected a number in [0, 1)"),
    (lambda: LeakyReLU(-0.1), "slope=-0.1: expected a number in [0, 1)"),
    (lambda: LayerNorm(eps=-1), "eps=-1: expected a number at least 0"),
    (lambda: Dropout(1, maps=True), "rate=1: expected a number in [0, 1)"),
    (lambda: Dropout(0.5, maps=True).build((10,)), "Vectors have no feature maps: leave maps=True out"),
    (lambda: Residual(3), "Residual: expected a layer or a list of layers, got 3"),
    (lambda: Residual(ReLU), "Write ReLU(...)"),
    (lambda: Residual([ReLU(), 3]), "Sequential: place 1 holds 3, which is not a layer"),
    (lambda: Residual(Conv2D(8, 3, padding=1)).build((5, 4, 3)),
     "shortcut of 0 layers): for input (5, 4, 3) the body gives (5, 4, 8), the shortcut (5, 4, 3);"),
    (lambda: Sequential([ReLU(), Residual([Conv2D(8, 9), ReLU()])], input_shape=(5, 4, 3)),
     "residual_1.body.conv2d_1: Conv2D(8, 9): a window of 9x9 does not fit"),
    (lambda: Sequential([Sequential([Residual(Dense(4))])], input_shape=(3,)),
     "sequential_1.residual_1: Residual(body of 1, shortcut of 0 layers): for input (3,) the body gives (4,), "
     "the shortcut (3,)"),
    (lambda: Concat([]), "Concat: expected at least one branch, got none"),
    (lambda: Concat([ReLU(), "relu"]), "Concat: expected a layer or a list of layers, got 'relu'"),
    (lambda: Sequential([Concat([[], ReLU(), Conv2D(2, 3)])], input_shape=(5, 4, 3)),
     "concat_1: Concat(3 branches): for input (5, 4, 3) branch_1 gives (5, 4, 3), branch_3 gives (3, 2, 2)"),
    (lambda: Sequential([Residual([])]).summary(), "Sequential(1 layers) is not built yet"),
    (lambda: Sequential([ReLU()], input_shape=(3,)).summary(batch_size=0), "batch_size=0: expected a whole number"),
    (lambda: SoftmaxCrossEntropy(label_smoothing=1.0), "label_smoothing=1.0: expected a number in [0, 1)"),
    (lambda: SoftmaxCrossEntropy(0.1).forward(asarray(np.zeros((2, 3))), [0, 3]), "3 is not the number of a class"),
    (lambda: MeanSquaredError().forward(asarray(np.zeros((3, 1))), np.zeros(3)),
     "target: expected the shape of the scores, (3, 1); got (3,). One column is (N, 1)"),
    (lambda: MeanSquaredError().forward(asarray(np.zeros((3, 2))), np.zeros((3, 1))), "Does the last layer have as"),
    (lambda: SGD(weights(), lr=0.1, clip=-1), "clip=-1: expected a number at least 0"),
    (lambda: clip_by_global_norm(weights(), -1), "limit=-1: expected a number at least 0"),
    (lambda: AdamW(weights(), decay=-0.1), "decay=-0.1: expected a number at least 0"),
    (lambda: MovingAverage(weights(), decay=1), "decay=1: expected a number in [0, 1)"),
    (lambda: MovingAverage([]), "MovingAverage: expected the parameters of a built model"),
    (lambda: Constant(-1), "lr=-1: expected a number at least 0"),
    (lambda: PiecewiseConstant([0.1, 0.01], borders=[0.7, 0.5]), "rising borders, one fewer than rates; got 2 rates"),
    (lambda: PiecewiseConstant([0.1, 0.01], borders=[30]), "borders=30: expected a number in [0, 1)"),
    (lambda: PiecewiseConstant([0.1, 0.01], borders=[0.5, 0.4]), "expected rising borders"),
    (lambda: Cosine(0.1, warmup=1), "warmup=1: expected a number in [0, 1)"),
    (lambda: Triangular(0.1, peak=1), "peak=1: expected a number in [0, 1)"),
    (lambda: ReduceOnPlateau(0.1, factor=1), "factor=1: expected a number in [0, 1)"),
    (lambda: ReduceOnPlateau(0.1, patience=-1), "patience=-1: expected a whole number"),
    (lambda: ReduceOnPlateau(0.1, better="max"), "better='max': expected \"lower\" or \"higher\""),
]


@pytest.mark.parametrize(("mistake", "text"), MISTAKES, ids=[text[:40] for _, text in MISTAKES])
def test_mistakes_are_named_when_a_thing_is_made_or_built(mistake, text):
    assert text in error_text(mistake)


def test_one_layer_may_not_stand_at_two_places_at_any_depth():
    shared = ReLU()
    for make in (lambda: Residual(shared, [shared]), lambda: Concat([[Dense(2), shared], Sequential([shared])]),
                 lambda: Sequential([shared, Residual(shared)])):
        assert "the same ReLU() stands at two places" in error_text(make)


def test_a_container_knows_its_input():
    layer = Residual(Dense(3))
    layer.build((3,))
    for x, text in (([[1.0, 2.0, 3.0]], "0 layers): expected an array of the {} backend, got builtins.list"),
                    (xp.zeros((2, 3), np.int64), "expected an array of fractional numbers, got int64 numbers"),
                    (xp.zeros((2, 3)), "expected an array of float32, as the model's parameters are, got float64"),
                    (asarray(np.zeros((2, 4))), "expected input of shape (N, 3), got (2, 4)")):
        assert text.format(minidl.backend_name()) in error_text(layer.forward, x)
    layer.forward(asarray(np.zeros((2, 3))))
    text = error_text(layer.backward, asarray(np.zeros((2, 4))))
    assert "backward expected dy of the output's shape (N, 3), got (2, 4)" in text


def test_printing():
    assert [str(layer) for layer in (
        DepthwiseConv2D(3), DepthwiseConv2D((3, 2), stride=2, padding="same"), Conv2D(8, 3, stride=(2, 1), padding=1),
        AveragePool2D(2), AveragePool2D(3, stride=2, padding=(1, 0)), MaxPool2D(3, stride=1, padding="same"),
        GlobalAveragePool2D(), LeakyReLU(), GELU(), LayerNorm(), Dropout(0.5), Dropout(0.5, maps=True),
        Residual([ReLU(), ReLU()]), Concat([[], ReLU()]))] == [
        "DepthwiseConv2D(3)", "DepthwiseConv2D((3, 2), stride=2, padding='same')",
        "Conv2D(8, 3, stride=(2, 1), padding=1)", "AveragePool2D(2)", "AveragePool2D(3, stride=2, padding=(1, 0))",
        "MaxPool2D(3, stride=1, padding='same')", "GlobalAveragePool2D()", "LeakyReLU(0.01)", "GELU()", "LayerNorm()",
        "Dropout(0.5)", "Dropout(0.5, maps=True)", "Residual(body of 2, shortcut of 0 layers)", "Concat(2 branches)"]


# ------------------------------------------------------------------------------- optimizers, averages, schedules


def weights():
    minidl.seed(0)
    return [Parameter(draw_normal((3, 2)), "W"), Parameter(draw_normal((4,)), "b", decay=False)]


def run(optimizer, first, last):
    """The steps first ... last - 1, with a gradient that each step number decides."""
    for step in range(first, last):
        minidl.seed(step)
        for parameter in optimizer.all_parameters:
            parameter.grad[...] = draw_normal(parameter.data.shape)
        optimizer.step()


MAKERS = [lambda p: SGD(p, lr=0.1), lambda p: Momentum(p, lr=0.1), lambda p: Momentum(p, lr=0.1, nesterov=True),
          lambda p: AdaGrad(p), lambda p: RMSProp(p), lambda p: Adam(p), lambda p: AdamW(p)]


@pytest.mark.parametrize("make", MAKERS, ids=["SGD", "Momentum", "Nesterov", "AdaGrad", "RMSProp", "Adam", "AdamW"])
def test_a_run_resumed_from_its_state_goes_on_as_if_nothing_had_happened(make, tmp_path):
    whole = make(weights())
    run(whole, 0, 10)
    begun = make(weights())
    run(begun, 0, 5)
    begun.lr = begun.lr / 2  # as a schedule does
    np.savez(tmp_path / "state.npz", **begun.state_dict())
    resumed = make(weights())
    resumed.lr = 1  # a whole number, whose type must not stick
    resumed.flat.data[...] = begun.flat.data
    with np.load(tmp_path / "state.npz") as state:
        resumed.load_state_dict(dict(state))
    assert resumed.lr == begun.lr and type(resumed.lr) is float
    resumed.lr = whole.lr
    run(resumed, 5, 10)
    assert (resumed.flat.data == whole.flat.data).all()


def test_state_of_another_optimizer_or_model_is_refused():
    adam, momentum = Adam(weights()), Momentum(weights(), lr=0.1)
    state = momentum.state_dict()
    assert "Adam remembers lr, m, s, t; the state holds lr, v" in error_text(adam.load_state_dict, state)
    state["v"] = state["v"][:3]
    assert "v of Momentum has shape (10,), in the state (3,)" in error_text(momentum.load_state_dict, state,
                                                                            kind=ShapeError)


def test_decay_spares_biases():
    parameters = weights()
    W, b = (parameter.data.copy() for parameter in parameters)
    AdamW(parameters, lr=0.5, decay=0.1).step()  # no gradient: Adam's own step is zero
    assert to_cpu(parameters[0].data) == pytest.approx(to_cpu(0.95 * W)) and (parameters[1].data == b).all()


def test_clipping_keeps_the_direction_and_leaves_short_gradients_alone():
    W, b = weights()
    W.grad[...], b.grad[...] = 0, 0
    W.grad[0, 0], b.grad[1] = 3, 4
    assert float(clip_by_global_norm([W, b], 10)) == 5
    assert (W.grad[0, 0], b.grad[1]) == (3, 4)
    assert float(clip_by_global_norm([W, b], 1)) == 5
    assert (float(W.grad[0, 0]), float(b.grad[1])) == pytest.approx((0.6, 0.8), rel=1e-6)
    W.grad[0, 0], b.grad[1] = 3, 4
    SGD([W, b], lr=1, clip=0.5, penalty=L2(1.0)).step()  # the penalty is added after clipping
    assert float(W.data[0, 0]) == pytest.approx(-0.3, abs=1e-6) and to_cpu(W.data)[1:] == pytest.approx(0)


def test_averaged_weights_are_swapped_in_and_out():
    parameters = weights()
    average = MovingAverage(parameters, decay=0.5)
    optimizer = SGD(parameters, lr=1.0)  # works on the same vectors
    for value in (1.0, 2.0, 4.0):
        for parameter in parameters:
            parameter.data[...] = value
        average.update()
    with pytest.raises(ZeroDivisionError), average.swapped_in():
        assert (parameters[0].data == 2.75).all()  # ((1 + 2) / 2 + 4) / 2
        raise ZeroDivisionError
    assert (parameters[0].data == 4).all() and (optimizer.flat.data == 4).all()
    other = MovingAverage(weights(), decay=0.5)
    other.load_state_dict(average.state_dict())
    assert (other.average == 2.75).all() and other.t == 3
    Adam(parameters[:1])
    assert "MovingAverage: another optimizer was made for some of these" in error_text(average.update)


def test_schedules_by_hand():
    assert [Constant(0.3)(p) for p in (0, 0.5, 1)] == [0.3] * 3
    assert [PiecewiseConstant([3, 2, 1], [0.5, 0.75])(p) for p in (0, 0.49, 0.5, 0.74, 0.75, 1)] == [3, 3, 2, 2, 1, 1]
    assert [Cosine(2.0, final=1.0, warmup=0.5)(p) for p in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx([0, 1, 2, 1.5, 1])
    assert [Triangular(1.0, peak=0.25, start=0.2, final=0.1)(p) for p in (0, 0.125, 0.25, 0.625, 1)] == \
        pytest.approx([0.2, 0.6, 1, 0.55, 0.1])
    assert Triangular(1.0, peak=0)(0) == 1


def test_reduce_on_plateau_resumes():
    schedule = ReduceOnPlateau(1.0, factor=0.5, patience=1, least=0.3)
    rates = []
    for loss in (5, 4, 4, 4, 4, 4, 4, 4, 4):
        schedule.observe(loss)
        rates.append(schedule(0))
    assert rates == [1, 1, 1, 0.5, 0.5, 0.3, 0.3, 0.3, 0.3]
    other = ReduceOnPlateau(1.0, factor=0.5, patience=1)
    other.load_state_dict(schedule.state_dict())
    assert other.state_dict() == schedule.state_dict()


def test_fit_follows_a_schedule():
    model = Sequential([Dense(2)], input_shape=(3,))
    x, y = draw_normal((10, 3)), np.arange(10) % 2
    met = []
    fit(model, SGD(model.parameters(), lr=9.0), x, y, epochs=2, batch_size=4, report=None,
        schedule=lambda progress: met.append(progress) or 0.1)
    assert met == [0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6]
    optimizer, plateau = SGD(model.parameters(), lr=0.0), ReduceOnPlateau(0.0, patience=5)
    history = fit(model, optimizer, x, y, epochs=3, batch_size=4, report=None, schedule=plateau)
    assert plateau.waiting == 2 and plateau.best == history.loss[0]  # at rate 0 the loss stays
