"""What every layer promises, held over the same table as the gradients; and what is said when something does not fit.

The texts of the errors are part of the contract: they name the layer, what it expected, what came, and the cure.
"""

import numpy as np
import pytest
from cases import CASES, assert_close, assert_same_bits, assert_says, on_device, tie_free

import minidl
from minidl import Concat, Residual, Sequential
from minidl.backend import to_cpu, xp
from minidl.core import Layer, Parameter
from minidl.errors import BackendError, DataError, ShapeError, UserError
from minidl.initializers import initializer
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
    Sigmoid,
    Tanh,
)
from minidl.losses import MeanSquaredError, SoftmaxCrossEntropy
from minidl.optimizers import SGD, AdaGrad, Adam, AdamW, Momentum, MovingAverage, RMSProp, clip_by_global_norm
from minidl.regularizers import L1, L2
from minidl.schedules import Constant, Cosine, PiecewiseConstant, ReduceOnPlateau, Triangular

pytestmark = pytest.mark.usefixtures("device")
TABLE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def gradients(layer):
    return [parameter.grad.copy() for parameter in layer.parameters()]


# ---------------------------------------------------------------------------------------------- what a layer promises


@TABLE
def test_input_and_dy_stay_as_they_are(case):
    layer, x = case.layer(), case.x(np.float32)
    before = x.copy()
    dy = on_device(tie_free(layer.forward(x).shape, 2).astype(np.float32))
    dy_before = dy.copy()
    layer.backward(dy)
    assert_same_bits(x, before, f"{case.name}: x")
    assert_same_bits(dy, dy_before, f"{case.name}: dy")
    if isinstance(x, np.ndarray):
        x.flags.writeable = dy.flags.writeable = False
        layer.forward(x)
        layer.backward(dy)


@TABLE
def test_dy_of_another_precision(case):
    """np.ones and np.eye make float64, which arrives as dy in a loop of one's own: its numbers count, not its bytes."""
    with minidl.precision("float32"):
        minidl.seed(0)
        layer, x = case.layer(), case.x(np.float32)
        dy = on_device(tie_free(layer.forward(x).shape, 2))
        results = []
        for kind in (np.float32, np.float64):
            dx = layer.backward(dy.astype(kind))
            results.append([to_cpu(dx), *(to_cpu(parameter.grad).copy() for parameter in layer.parameters())])
    for k, (same, other) in enumerate(zip(*results, strict=True)):
        assert_close(other.astype(np.float64), same.astype(np.float64), f"{case.name}, gradient {k}", 1e-4, 1e-4)


@TABLE
def test_an_empty_batch_passes(case):
    layer, x = case.layer(), case.x(np.float32)[:0]
    y = layer.forward(x)
    dx = layer.backward(y)
    assert (len(y), dx.shape) == (0, x.shape)
    for parameter in layer.parameters():
        assert not to_cpu(parameter.grad).any(), f"{case.name}: {parameter.name} has a gradient of nothing"
    for part in layer.walk():
        for name in part.statistics:
            assert np.isfinite(to_cpu(getattr(part, name))).all(), f"{case.name}: {name}"


@TABLE
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_dtype_stays(case, name):
    with minidl.precision(name):
        layer, x = case.layer(), case.x(name)
        y = layer.forward(x)
        dx = layer.backward(y)
        arrays = {"y": y, "dx": dx}
        for parameter in layer.parameters():
            arrays |= {parameter.name: parameter.data, f"{parameter.name}.grad": parameter.grad}
        for part in layer.walk():
            arrays |= {statistic: getattr(part, statistic) for statistic in part.statistics}
        layer.eval()
        arrays["y in evaluation mode"] = layer.forward(x)
    wrong = {what: str(array.dtype) for what, array in arrays.items() if array.dtype != name}
    assert not wrong, f"{case.name}: expected {name}, got {wrong}"


@TABLE
def test_float32_is_float64_rounded(case):
    """The same computation in both precisions, far closer than a wrong formula would be."""
    results = {}
    for name in ("float32", "float64"):
        with minidl.precision(name):
            minidl.seed(0)
            layer, x = case.layer(), case.x(name)
            minidl.seed(1)
            y = layer.forward(x)
            results[name] = [y, layer.backward(on_device(tie_free(y.shape, 3).astype(name))), *gradients(layer)]
    for k, (single, double) in enumerate(zip(results["float32"], results["float64"], strict=True)):
        assert_close(single, double, f"{case.name}, tensor {k}", rtol=1e-5)


@TABLE
def test_shape_inference_equals_forward(case):
    layer = case.make()
    promised = layer.build(case.shape[1:])
    assert isinstance(promised, tuple)
    assert all(type(size) is int for size in promised)
    for N in (case.shape[0], 1):
        assert layer.forward(case.x(np.float32)[:N]).shape == (N, *promised)


@TABLE
def test_forward_and_backward_twice_give_the_same(case):
    """Gradients are assigned, not added up; nothing of the batch before is left."""
    layer, x = case.layer(), case.x(np.float32)
    minidl.seed(4)
    y = layer.forward(x)
    dx = layer.backward(y)
    first = [y.copy(), dx.copy(), *gradients(layer)]
    minidl.seed(5)
    layer.backward(layer.forward(on_device(tie_free(x.shape, 9).astype(np.float32))))
    minidl.seed(4)
    again = [layer.forward(x), layer.backward(y), *gradients(layer)]
    for k, (now, before) in enumerate(zip(again, first, strict=True)):
        assert_same_bits(now, before, f"{case.name}, tensor {k}")


@TABLE
def test_backward_assigns_into_the_same_arrays(case):
    layer, x = case.layer(), case.x(np.float32)
    before = [(parameter.data, parameter.grad) for parameter in layer.parameters()]
    for parameter in layer.parameters():
        parameter.grad[...] = np.nan
    layer.backward(layer.forward(x))
    for parameter, (data, grad) in zip(layer.parameters(), before, strict=True):
        assert parameter.data is data, f"{case.name}: {parameter.name}.data is another array now"
        assert parameter.grad is grad, f"{case.name}: {parameter.name}.grad is another array now"
        assert np.isfinite(to_cpu(grad)).all(), f"{case.name}: {parameter.name}.grad was not assigned everywhere"


@TABLE
def test_evaluation_is_deterministic(case):
    layer, x = case.layer().eval(), case.x(np.float32)
    arrays = {name: array.copy() for name, array in named(layer)}
    draws = minidl.backend.random_state()
    y = layer.forward(x).copy()
    assert_same_bits(layer.forward(x), y, case.name)
    assert minidl.backend.random_state() == draws, f"{case.name}: evaluation draws random numbers"
    for name, array in named(layer):
        assert_same_bits(array, arrays[name], f"{case.name}: {name} after evaluation")


@TABLE
def test_evaluation_in_two_halves(case):
    """No image of a batch knows of the others. Not to the bit: a matrix product adds in another order."""
    with minidl.precision("float64"):
        layer, x = case.layer().eval(), case.x()
        half = len(x) // 2
        halves = xp.concatenate([layer.forward(x[:half]), layer.forward(x[half:])])
        assert_close(halves, layer.forward(x), case.name, 1e-14)


@TABLE
def test_layers_take_arrays_that_are_not_contiguous(case):
    layer, x = case.layer(), case.x(np.float32)
    minidl.seed(4)
    y = layer.forward(x)
    dx = layer.backward(y)
    minidl.seed(4)
    strided = xp.asfortranarray(x)
    # another layout in memory adds up in another order, which float32 shows in its last digits
    assert_close(layer.forward(strided), y, f"{case.name}: y", 1e-5)
    assert_close(layer.backward(xp.asfortranarray(y)), dx, f"{case.name}: dx", 1e-5, 1e-6)


def named(layer):
    for k, part in enumerate(layer.walk()):
        if not part.sublayers():
            yield from ((f"{k}.{parameter.name}", parameter.data) for parameter in part.parameters())
        yield from ((f"{k}.{name}", getattr(part, name)) for name in part.statistics)


@TABLE
def test_modes_reach_every_part(case):
    layer = case.layer()
    assert layer.eval() is layer
    assert not any(part.training or part.keeping for part in layer.walk())
    assert layer.train() is layer
    assert all(part.training and part.keeping for part in layer.walk())


def test_parameters_stand_in_definition_order_and_only_weights_decay():
    layers = {Dense(3): ["W", "b"], Conv2D(2, 3): ["W", "b"], BatchNorm(): ["gamma", "beta"],
              Dense(3, bias=False): ["W"]}
    for layer, names in layers.items():
        layer.build((5, 4, 3) if isinstance(layer, Conv2D) else (4,))
        assert [parameter.name for parameter in layer.parameters()] == names
        assert [parameter.decay for parameter in layer.parameters()] == [name == "W" for name in names]
    model = Sequential([Dense(3), Sequential([BatchNorm(), Dense(2)])], input_shape=(4,))
    assert [parameter.name for parameter in model.parameters()] == ["W", "b", "gamma", "beta", "W", "b"]


# ----------------------------------------------------------------------------------------- order of calls, other misuse


NEEDS_NO_FORWARD = "flatten", "zeropadshortcut", "sequential-empty", "concat-empty"
KEEPERS = [case for case in CASES if not case.name.startswith(NEEDS_NO_FORWARD) and case.mode == "train"]


@pytest.mark.parametrize("case", KEEPERS, ids=lambda case: case.name)
def test_backward_needs_a_forward_in_training_mode(case):
    layer, x = case.layer(), case.x(np.float32)
    dy = xp.ones((len(x), *case.make().build(case.shape[1:])), np.float32)
    for before in (lambda: None, lambda: (layer.forward(x), layer.eval()), lambda: layer.forward(x)):
        before()
        with pytest.raises(UserError) as caught:
            layer.backward(dy)
        assert_says(caught, "backward has nothing to work from", "Run forward in training mode", "call train()")


@TABLE
def test_an_unbuilt_layer_says_so(case):
    layer = case.make()
    with pytest.raises(UserError) as caught:
        layer.forward(case.x(np.float32))
    assert_says(caught, repr(layer), "is not built yet: call build(input_shape)", f"build({case.shape[1:]})")


@TABLE
def test_an_input_of_another_shape(case):
    layer, x = case.layer(), case.x(np.float32)
    wider = xp.concatenate([x, x], axis=-1)
    expected = f"expected input of shape (N, {', '.join(map(str, case.shape[1:]))})"
    with pytest.raises(ShapeError) as caught:
        layer.forward(wider)
    assert_says(caught, repr(layer), expected, f"got {wider.shape}", "build it anew")
    with pytest.raises(ShapeError) as caught:
        layer.forward(x[0])
    assert_says(caught, repr(layer), expected, f"got {x[0].shape}", "Is the batch axis missing?")


@TABLE
@pytest.mark.parametrize("wrong", ["uint8", "int64", "bool", "list"])
def test_an_input_that_holds_no_fractions(case, wrong):
    layer = case.layer()
    x = [1.0, 2.0] if wrong == "list" else xp.ones(case.shape, wrong)
    with pytest.raises(UserError) as caught:
        layer.forward(x)
    assert_says(caught, type(layer).__name__, "expected", "minidl.asarray(x", "list" if wrong == "list" else wrong)


def test_the_door_of_a_model():
    model = Sequential([Dense(3)], input_shape=(4,))
    backend = f"{minidl.backend_name()} backend"
    for x, parts in ((xp.ones((2, 4), np.uint8), ["floats", "uint8", "minidl.asarray(x / 255)"]),
                     (xp.ones((2, 4)), ["an array of float32", "got float64", "minidl.asarray(x)"]),
                     ([[1.0] * 4] * 2, [backend, "builtins.list", "minidl.asarray(x)"]),
                     (None, [backend, "NoneType"])):
        with pytest.raises(UserError) as caught:
            model.forward(x)
        assert_says(caught, "Sequential", *parts)
    with pytest.raises(UserError) as caught:
        Sequential([ReLU()], input_shape=(4,)).forward(xp.ones((2, 4), int))
    assert_says(caught, "Sequential", "int64", "pixels")
    with pytest.raises(ShapeError) as caught:
        model.forward(minidl.asarray(np.ones((2, 5))))
    assert_says(caught, "Sequential(1 layers)", "(N, 4)", "(2, 5)")
    with pytest.raises(ShapeError) as caught:
        model.backward(xp.ones((2, 4), np.float32))
    assert_says(caught, "Sequential(1 layers)", "backward", "(N, 3)", "(2, 4)")


def test_flatten_missing():
    with pytest.raises(ShapeError) as caught:
        Sequential([Conv2D(4, 3), ReLU(), Dense(10)], input_shape=(8, 9, 3))
    assert_says(caught, "dense_1: Dense(10)", "expected input of shape (D,)", "got (6, 7, 4)",
                "Put Flatten() before it?")
    layer = Dense(10)
    layer.build((12,))
    with pytest.raises(ShapeError) as caught:
        layer.forward(xp.ones((5, 2, 3, 2), np.float32))
    assert_says(caught, "Dense(10)", "(N, 12)", "(5, 2, 3, 2)", "Put Flatten() before it?")


def test_features_in_front():
    """Images as PyTorch has them."""
    layer = Conv2D(4, 3)
    layer.build((8, 9, 3))
    with pytest.raises(ShapeError) as caught:
        layer.forward(xp.ones((5, 3, 8, 9), np.float32))
    assert_says(caught, "Conv2D(4, 3)", "(N, 8, 9, 3)", "(5, 3, 8, 9)", "Features come last here: x.transpose(0, 2, 3")


@pytest.mark.parametrize("layer", [Conv2D(4, 3), MaxPool2D(2)], ids=repr)
def test_images_need_three_axes(layer):
    with pytest.raises(ShapeError) as caught:
        Sequential([Dense(5), layer], input_shape=(7,))
    assert_says(caught, f"{type(layer).__name__.lower()}_1: {layer!r}", "(H, W, C)", "got (5,)")
    with pytest.raises(ShapeError) as caught:
        layer.build((28, 28))
    assert_says(caught, "(H, W, C)", "got (28, 28)")
    if isinstance(layer, Conv2D):
        assert_says(caught, "A grey image has one feature: (H, W, 1)")


def test_a_window_larger_than_the_image():
    for layer, window in ((Conv2D(4, (5, 2)), "5x2"), (MaxPool2D((2, 5)), "2x5")):
        with pytest.raises(ShapeError) as caught:
            Sequential([layer], input_shape=(3, 4, 1))
        assert_says(caught, f"{type(layer).__name__.lower()}_1: {layer!r}", f"a window of {window} does not fit",
                    "3x4", "Take a smaller window, more padding, or fewer poolings")
    with pytest.raises(ShapeError) as caught:
        Conv2D(4, 6, padding=1).build((3, 9, 1))
    assert_says(caught, "6x6", "padded image of 5x11", "image 3x9")
    assert Conv2D(4, (5, 6), padding=(1, 1)).build((3, 4, 1)) == (1, 1, 4), "a window that just fits"


@pytest.mark.parametrize("shape", [5, None, "ab", (None, 3), 3.5])
def test_a_shape_that_is_none(shape):
    with pytest.raises(ShapeError) as caught:
        ReLU().build(shape)
    assert_says(caught, "ReLU()", "expected a shape such as (32, 32, 3), without the batch axis", repr(shape))


def test_a_shape_without_elements():
    with pytest.raises(ShapeError) as caught:
        Flatten().build((4, 0, 3))
    assert_says(caught, "Flatten()", "(4, 0, 3)", "an axis without elements", "shrink the image too much?")


@pytest.mark.parametrize(("make", "parts"), [
    (lambda: Dense(0), ["Dense units=0", "integer of at least 1"]),
    (lambda: Dense(2.5), ["Dense units=2.5", "integer"]),
    (lambda: Dense(True), ["Dense units=True", "integer"]),
    (lambda: Dense("10"), ["Dense units='10'", "integer"]),
    (lambda: Conv2D(-1, 3), ["Conv2D filters=-1", "integer of at least 1"]),
    (lambda: Conv2D(4, 0), ["Conv2D kernel_size=0", "at least 1", "pair of them (height, width)"]),
    (lambda: Conv2D(4, (3, 3, 3)), ["Conv2D kernel_size=(3, 3, 3)", "pair of them"]),
    (lambda: Conv2D(4, 2.0), ["Conv2D kernel_size=2.0", "integer"]),
    (lambda: Conv2D(4, 3, stride=0), ["Conv2D stride=0", "at least 1"]),
    (lambda: Conv2D(4, 3, stride=(1, -2)), ["Conv2D stride=(1, -2)", "at least 1"]),
    (lambda: Conv2D(4, 3, padding=-1), ["Conv2D padding=-1", "at least 0"]),
    (lambda: Conv2D(4, 3, padding="full"), ["Conv2D padding='full'", '"same", "valid"', "integer"]),
    (lambda: MaxPool2D(0), ["MaxPool2D size=0", "at least 1"]),
    (lambda: MaxPool2D(2, stride=(0, 1)), ["MaxPool2D stride=(0, 1)", "at least 1"]),
    (lambda: MaxPool2D(2, padding="sane"), ["MaxPool2D padding='sane'", '"same", "valid"']),
    (lambda: MaxPool2D((3, 2), padding=(1, 2)), ["MaxPool2D padding=(1, 2)", "at most half the window (3, 2)"]),
    (lambda: Dropout(1), ["Dropout rate=1", "in [0, 1)"]),
    (lambda: Dropout(-0.1), ["Dropout rate=-0.1", "in [0, 1)"]),
    (lambda: Dropout("half"), ["Dropout rate='half'", "in [0, 1)"]),
    (lambda: Dropout(float("nan")), ["Dropout rate=nan", "in [0, 1)"]),
    (lambda: BatchNorm(momentum=1), ["BatchNorm momentum=1", "in [0, 1)"]),
    (lambda: BatchNorm(eps=-1), ["BatchNorm eps=-1", "at least 0"]),
    (lambda: Dense(3, init="kaiming"), ["Dense init='kaiming'", "zeros, normal:0.01, xavier, glorot, he", "function"]),
    (lambda: Conv2D(3, 3, init="normal:small"), ["Conv2D init='normal:small'", "any number after 'normal:'"]),
    (lambda: Dense(3, init="normal:-1"), ["init='normal:-1'", "normal:0.01"]),
    (lambda: Dense(3, init="normal:nan"), ["init='normal:nan'", "normal:0.01"]),
    (lambda: Dense(3, init=None), ["Dense init=None", "expected one of"]),
    (lambda: initializer("He"), ["init='He'", "he"]),
    (lambda: Dense(3, init=lambda shape, fan_in, fan_out: np.zeros(fan_in)).build((4,)), ["(4,)", "expected (4, 3)"]),
    (lambda: Sequential([Dense(3), 5]), ["Sequential", "place 1", "5", "is not a layer"]),
    (lambda: Sequential([ReLU]), ["Sequential", "place 0", "is not a layer", "Write ReLU(...)"]),
    (lambda: SGD([], lr=0.1), ["SGD", "parameters of a built model", "0 things", "model.parameters()"]),
    (lambda: Adam([1, 2]), ["Adam", "2 things"]),
    (lambda: SGD(Sequential([Dense(3)]).parameters(), lr=1), ["SGD", "after model.build(...)"]),
    (lambda: SGD(dense_parameters() * 2, lr=0.1), ["SGD", "the same parameter was passed twice"]),
    (lambda: SGD(dense_parameters(), lr=-0.1), ["SGD lr=-0.1", "at least 0"]),
    (lambda: Adam(dense_parameters(), lr="fast"), ["Adam lr='fast'", "at least 0"]),
    (lambda: SGD(dense_parameters(), lr=float("inf")), ["SGD lr=inf", "at least 0"]),
    (lambda: Momentum(dense_parameters(), lr=0.1, momentum=1.5), ["Momentum momentum=1.5", "in [0, 1)"]),
    (lambda: AdaGrad(dense_parameters(), eps=-1), ["AdaGrad eps=-1", "at least 0"]),
    (lambda: RMSProp(dense_parameters(), decay=1), ["RMSProp decay=1", "in [0, 1)"]),
    (lambda: RMSProp(dense_parameters(), eps=None), ["RMSProp eps=None"]),
    (lambda: Adam(dense_parameters(), beta1=1.0), ["Adam beta1=1.0", "in [0, 1)"]),
    (lambda: Adam(dense_parameters(), beta2=-0.5), ["Adam beta2=-0.5", "in [0, 1)"]),
    (lambda: Adam(dense_parameters(), eps=-1e-8), ["Adam eps=-1e-08", "at least 0"]),
    (lambda: L2(-1), ["L2 coefficient=-1", "at least 0"]),
    (lambda: L1("big"), ["L1 coefficient='big'", "at least 0"]),
    (lambda: minidl.threads(0), ["threads(0)", "at least 1"]),
    (lambda: minidl.threads(1.5), ["threads(1.5)", "at least 1"]),
    (lambda: minidl.threads(True), ["threads(True)", "at least 1"]),
    (lambda: minidl.seed(-1), ["seed(-1)", "at least 0"]),
    (lambda: minidl.seed("x"), ["seed('x')", "at least 0"]),
    (lambda: minidl.precision("float16").__enter__(), ["unknown precision 'float16'", "float32, float64"]),
])
def test_wrong_arguments(make, parts):
    with pytest.raises(UserError) as caught:
        make()
    assert_says(caught, *parts)


@pytest.mark.parametrize(("make", "text"), [
    (lambda: DepthwiseConv2D(0), "kernel_size=0: expected an integer of at least 1, or a pair"),
    (lambda: DepthwiseConv2D(3, stride=0), "stride=0: expected an integer"),
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
    (lambda: Sequential([ReLU()], input_shape=(3,)).summary(batch_size=0), "batch_size=0: expected an integer"),
    (lambda: SoftmaxCrossEntropy(label_smoothing=1.0), "label_smoothing=1.0: expected a number in [0, 1)"),
    (lambda: MeanSquaredError().forward(minidl.asarray(np.zeros((3, 1))), np.zeros(3)),
     "target: expected the shape of the scores, (3, 1); got (3,). One column is (N, 1)"),
    (lambda: MeanSquaredError().forward(minidl.asarray(np.zeros((3, 2))), np.zeros((3, 1))),
     "Does the last layer have as"),
    (lambda: SGD(dense_parameters(), lr=0.1, clip=-1), "clip=-1: expected a number at least 0"),
    (lambda: clip_by_global_norm(dense_parameters(), -1), "limit=-1: expected a number at least 0"),
    (lambda: AdamW(dense_parameters(), decay=-0.1), "decay=-0.1: expected a number at least 0"),
    (lambda: MovingAverage(dense_parameters(), decay=1), "decay=1: expected a number in [0, 1)"),
    (lambda: MovingAverage([]), "MovingAverage: expected the parameters of a built model"),
    (lambda: Constant(-1), "lr=-1: expected a number at least 0"),
    (lambda: PiecewiseConstant([0.1, 0.01], borders=[0.7, 0.5]), "rising borders, one fewer than rates; got 2 rates"),
    (lambda: PiecewiseConstant([0.1, 0.01], borders=[30]), "borders=30: expected a number in [0, 1)"),
    (lambda: Cosine(0.1, warmup=1), "warmup=1: expected a number in [0, 1)"),
    (lambda: Triangular(0.1, peak=1), "peak=1: expected a number in [0, 1)"),
    (lambda: ReduceOnPlateau(0.1, factor=1), "factor=1: expected a number in [0, 1)"),
    (lambda: ReduceOnPlateau(0.1, patience=-1), "patience=-1: expected an integer"),
    (lambda: ReduceOnPlateau(0.1, better="max"), "better='max': expected \"lower\" or \"higher\""),
    (lambda: ReduceOnPlateau(0.1, watch="acc"),
     "watch='acc': expected one of loss, accuracy, validation_loss, "),
    (lambda: ReduceOnPlateau(0.1, watch="loss", better="higher"),
     "watch='loss', better='higher': of a loss, the lower one is better. Leave better out"),
    (lambda: ReduceOnPlateau(0.1, watch="test_accuracy", better="lower"),
     "of a test accuracy, the higher one is better. Leave better out"),
    (lambda: ReduceOnPlateau(0.1).load_state_dict({"lr": float("nan"), "best": 1.0, "waiting": 0}),
     "ReduceOnPlateau, state: lr=nan: expected a number at least 0"),
])
def test_wrong_arguments_in_whole_sentences(make, text):
    with pytest.raises(UserError) as caught:
        make()
    assert_says(caught, text)


def dense_parameters():
    return Sequential([Dense(3)], input_shape=(4,)).parameters()


def test_arguments_at_their_limits_are_fine():
    for make in (lambda: Dropout(0), lambda: BatchNorm(momentum=0, eps=0), lambda: MaxPool2D(2, padding=1),
                 lambda: Conv2D(1, 1, padding=0), lambda: SGD(dense_parameters(), lr=0), lambda: L2(0),
                 lambda: Conv2D(np.int64(3), [2, 3], stride=np.int32(2)), lambda: Dense(3, "normal:0")):
        make()


def test_an_unknown_backend():
    before = minidl.backend_name()
    with pytest.raises(BackendError) as caught:
        minidl.use("torch")
    assert_says(caught, "unknown backend 'torch'", "expected one of numpy, cupy")
    assert minidl.backend_name() == before


def test_the_same_layer_twice():
    layer = ReLU()
    for make in (lambda: Sequential([layer, Dense(3), layer]), lambda: Sequential([layer, Sequential([layer])]),
                 lambda: Sequential([Sequential([Dense(2), layer]), Sequential([layer])]),
                 lambda: Residual(layer, [layer]), lambda: Concat([[Dense(2), layer], Sequential([layer])]),
                 lambda: Sequential([layer, Residual(layer)])):
        with pytest.raises(UserError) as caught:
            make()
        assert_says(caught, "the same ReLU() is at two places", "make one for each")


def test_a_layer_without_forward_or_backward():
    class Own(Layer):
        pass

    layer = Own()
    with pytest.raises(TypeError, match="Own has no forward method yet"):
        layer.forward(np.ones((2, 3)))
    with pytest.raises(TypeError, match="Own has no backward method yet"):
        layer.backward(np.ones((2, 3)))


# -------------------------------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize(("labels", "parts"), [
    ([0, 1, 4], ["labels: 4 is not the number of a class", "4 scores per image", "0 to 3", "more units"]),
    ([0, -1, 2], ["labels: -1 is not the number of a class", "0 to 3"]),
    ([1, 2, 300], ["labels: 300", "0 to 3", "start at 1?"]),
    ([0.0, 1, 2], ["labels: expected integers from 0 to 3", "float32", "labels.astype(int)"]),
    ([True, False, True], ["labels: expected integers", "bool", "labels.astype(int)"]),
    ([0, 1], ["labels: expected shape (3,)", "got (2,)", "cut into batches by the same rows?"]),
    (np.eye(4, dtype=int)[:3], ["labels: expected shape (3,)", "got (3, 4)", "labels.argmax(axis=1)"]),
    ([[0], [1], [2]], ["labels: expected shape (3,)", "got (3, 1)"]),
    (1, ["labels: expected shape (3,)", "got ()"]),
])
def test_wrong_labels(labels, parts):
    with pytest.raises(UserError) as caught:
        SoftmaxCrossEntropy().forward(xp.zeros((3, 4), np.float32), labels)
    assert_says(caught, *parts)


def test_scores_of_a_model_without_flatten():
    with pytest.raises(ShapeError) as caught:
        SoftmaxCrossEntropy().forward(xp.zeros((3, 4, 5, 2), np.float32), [0, 1, 2])
    assert_says(caught, "scores: expected one row per image, (N, classes)", "(3, 4, 5, 2)", "Flatten()")


def test_loss_backward_before_forward():
    with pytest.raises(UserError) as caught:
        SoftmaxCrossEntropy().backward()
    assert_says(caught, "SoftmaxCrossEntropy", "backward has nothing to work from", "Call forward(scores, labels)")


# ------------------------------------------------------------------------------------------------- states and files


def model():
    return Sequential([Conv2D(3, 2), BatchNorm(), ReLU(), Sequential([Flatten(), Dense(4)]), Dense(2)],
                      input_shape=(5, 4, 2))


def trained():
    trained = model()
    draw = np.random.default_rng(0)
    for name, array in trained.state_dict().items():
        arrays = {name: draw.uniform(0.5, 2, array.shape).astype(array.dtype)}
        trained.load_state_dict(trained.state_dict() | arrays)
    return trained


def test_state_dict_names_and_round_trip():
    one, other = trained(), model()
    state = one.state_dict()
    assert list(state) == ["conv2d_1.W", "conv2d_1.b", "batchnorm_1.gamma", "batchnorm_1.beta",
                           "batchnorm_1.running_mean", "batchnorm_1.running_var", "sequential_1.dense_1.W",
                           "sequential_1.dense_1.b", "dense_1.W", "dense_1.b"]
    x = on_device(tie_free((3, 5, 4, 2)).astype(np.float32))
    one.eval()
    other.eval()
    assert not np.array_equal(to_cpu(one.forward(x)), to_cpu(other.forward(x)))
    other.load_state_dict(state)
    assert_same_bits(other.forward(x), one.forward(x), "y")
    for name, array in other.state_dict().items():
        assert_same_bits(array, state[name], name)
    state["dense_1.W"][...] = 0
    assert one.state_dict()["dense_1.W"].any(), "a state is a copy"


def test_save_and_load(tmp_path):
    one, other = trained(), model()
    path = tmp_path / "model.npz"
    one.save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.npz"]
    other.load(str(path))
    for name, array in other.state_dict().items():
        assert_same_bits(array, one.state_dict()[name], name)
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert path.stat().st_mode == ordinary.stat().st_mode, "others may read the file as they may read any other"


def test_a_save_that_fails_leaves_the_file_before(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    trained().save(path)
    before = path.read_bytes()

    def full_disk(file, **arrays):
        file.write(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(DataError) as caught:
        model().save(path)
    assert_says(caught, f"{path}: the model cannot be saved (No space left on device)", "a file that was there before")
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.npz"]


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(("change", "parts"), [
    (lambda state: without(state, "dense_1.b"), ["'dense_1.b' is missing", "1 in all", "same architecture?"]),
    (lambda state: {}, ["'conv2d_1.W' is missing", "10 in all"]),
    (lambda state: state | {"dense_2.W": np.ones(3)}, ["this model has no 'dense_2.W'", "same architecture?"]),
    (lambda state: state | {"dense_1.b": np.ones(3)}, ["dense_1.b has shape (2,)", "(3,)", "same architecture?"]),
    (lambda state: state | {"dense_1.b": np.ones((2, 1))}, ["dense_1.b has shape (2,)", "(2, 1)"]),
    (lambda state: state | {"dense_1.b": np.array(["a", "b"])}, ["dense_1.b is no array of numbers"]),
    (lambda state: state | {"dense_1.b": [1.0, 2.0]}, ["dense_1.b is no array of numbers", "[1.0, 2.0]"]),
    (lambda state: state | {"dense_1.b": np.array([1j, 2])}, ["dense_1.b is no array of numbers"]),
])
def test_a_state_that_does_not_fit_changes_nothing(change, parts):
    target = model()
    before = target.state_dict()
    with pytest.raises(UserError) as caught:
        target.load_state_dict(change(trained().state_dict()))
    assert_says(caught, "load_state_dict", *parts)
    for name, array in target.state_dict().items():
        assert_same_bits(array, before[name], name)


def test_an_unbuilt_model_has_no_state(tmp_path):
    for act in (lambda m: m.state_dict(), lambda m: m.load_state_dict({}), lambda m: m.save(tmp_path / "a.npz"),
                lambda m: m.summary()):
        with pytest.raises(UserError) as caught:
            act(Sequential([Dense(3), BatchNorm()]))
        assert_says(caught, "Sequential(2 layers) is not built yet", "input_shape", "build(input_shape)")
    assert not list(tmp_path.iterdir())


def test_damaged_model_files(tmp_path):
    path, whole = tmp_path / "model.npz", tmp_path / "whole.npz"
    trained().save(whole)
    data = whole.read_bytes()
    np.save(tmp_path / "one.npy", np.ones(3))
    damaged = {"empty": b"", "text": b"hello", "one array": (tmp_path / "one.npy").read_bytes()}
    damaged |= {f"first {length} bytes": data[:length] for length in range(1, len(data), 97)}
    for place in range(0, len(data), 31):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        damaged[f"byte {place} flipped"] = bytes(flipped)
    refused = 0
    for what, content in damaged.items():
        path.write_bytes(content)
        target = model()
        before = target.state_dict()
        try:
            target.load(path)
        except DataError as error:
            refused += 1
            assert f"{path}: not a complete model file" in str(error), what
            assert "Save the model anew" in str(error), what
        except UserError as error:    # the name of an array was hit
            refused += 1
            assert "load_state_dict" in str(error), what
        else:   # a date or a permission in the archive was hit: every array is right all the same
            before = trained().state_dict()
            assert "flipped" in what, what
        for name, array in target.state_dict().items():
            assert_same_bits(array, before[name], f"{what}: {name}")
    assert refused > len(damaged) / 2


def test_a_model_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError) as caught:
        model().load(tmp_path / "nothing.npz")
    assert_says(caught, f"{tmp_path / 'nothing.npz'}: no such file", "saved elsewhere?")


# ------------------------------------------------------------------------------------------------- how layers look


def test_how_layers_are_written():
    for layer, text in ((Dense(10), "Dense(10)"), (Conv2D(8, 3), "Conv2D(8, 3)"),
                        (Conv2D(8, (3, 2), (2, 1), (0, 1)), "Conv2D(8, (3, 2), stride=(2, 1), padding=(0, 1))"),
                        (Conv2D(8, 3, 2, "same"), "Conv2D(8, 3, stride=2, padding='same')"),
                        (MaxPool2D(2), "MaxPool2D(2)"), (MaxPool2D(3, 2, 1), "MaxPool2D(3, stride=2, padding=1)"),
                        (Dropout(0.25), "Dropout(0.25)"), (ReLU(), "ReLU()"), (Sigmoid(), "Sigmoid()"),
                        (Tanh(), "Tanh()"), (Sequential([ReLU(), ReLU()]), "Sequential(2 layers)"),
                        (DepthwiseConv2D(3), "DepthwiseConv2D(3)"),
                        (DepthwiseConv2D((3, 2), 2, "same"), "DepthwiseConv2D((3, 2), stride=2, padding='same')"),
                        (AveragePool2D(3, 2, (1, 0)), "AveragePool2D(3, stride=2, padding=(1, 0))"),
                        (MaxPool2D(3, 1, "same"), "MaxPool2D(3, stride=1, padding='same')"),
                        (GlobalAveragePool2D(), "GlobalAveragePool2D()"), (LeakyReLU(), "LeakyReLU(0.01)"),
                        (GELU(), "GELU()"), (LayerNorm(), "LayerNorm()"),
                        (Dropout(0.5, maps=True), "Dropout(0.5, maps=True)"),
                        (Residual([ReLU(), ReLU()]), "Residual(body of 2, shortcut of 0 layers)"),
                        (Concat([[], ReLU()]), "Concat(2 branches)")):
        assert repr(layer) == text
    assert repr(Parameter(xp.zeros((2, 3)), "W")) == "Parameter(W, shape (2, 3), float64)"
