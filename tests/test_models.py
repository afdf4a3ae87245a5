"""The zoo: published parameter counts, shapes, first scores, gradients and error texts of every network."""

import inspect
from math import prod

import numpy as np
import pytest

import minidl
from minidl import Residual, models
from minidl.backend import draw_normal, random_state, restore_random_state
from minidl.errors import ShapeError, UserError
from minidl.gradcheck import check_layer, check_model
from minidl.layers import BatchNorm, Conv2D, Dense, Dropout, LeakyReLU, MaxPool2D, ReLU, Sigmoid
from minidl.models import ZeroPadShortcut


@pytest.fixture(autouse=True)
def same_draws():
    before = random_state()
    minidl.seed(0)
    yield
    restore_random_state(before)


def trained(model):
    return sum(parameter.data.size for parameter in model.parameters())


def statistics(model):
    return sum(getattr(layer, name).size for layer in model.walk() for name in layer.statistics)


def only(model, kind):
    return [layer for layer in model.walk() if isinstance(layer, kind)]


def refused(error, call, *arguments, **named):
    with pytest.raises(error) as caught:
        call(*arguments, **named)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------------------- counts

PARAMETERS = {
    "mlp_40_20": 32_430,
    "mlp_100x4": 109_810,
    "mlp_100x6": 130_010,
    "simple_convnet": 433_890,
    "double_convnet": 291_430,
    "deep_convnet": 123_552,
    "naive_cifar_net": 62_006,
    "vgg_like": 7_225_994,
    "vgg_like_dropout": 7_412_170,
    "ten_layer_net": 2_974_986 - 2_688,
    "residual_basic_2": 17_259_850,        # published: 17.26M
    "residual_basic_6": 42_046_794,        # 42.05M
    "residual_bottleneck_0": 543_178,      # 0.543M
    "residual_bottleneck_6": 2_752_714,    # 2.75M
    "residual_bottleneck_12": 4_962_250,   # 4.96M
    "resnet20": 269_722,                   # 0.27M
    "resnet32": 464_154,                   # 0.46M
    "resnet44": 658_586,                   # 0.66M
    "resnet56": 853_018,                   # 0.85M
    "resnet110": 1_727_962,                # 1.7M
    "plain20": 269_722,
    "plain56": 853_018,
    "alexnet": 1_431_210,
    "vgg": 1_027_498,
    "googlenet": 1_475_418,
    "mobilenet": 823_722,
    "all_cnn_c": 1_369_738,                # 1.4M
}


def light(name, **arguments):
    """The network of that name, with zeros for weights where it takes that: quick to make, however large."""
    if "init" in inspect.signature(models.NETWORKS[name]).parameters:
        arguments = {"init": "zeros", **arguments}
    return models.build(name, **arguments)


def test_every_name_has_its_count_here():
    assert list(PARAMETERS) == models.names()


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_scores_summary_and_docstring(name):
    model = light(name)
    assert trained(model) == PARAMETERS[name]
    assert model.output_shapes[-1] == (10,)
    assert f"\n{PARAMETERS[name]:,} parameters" in model.summary()
    function = getattr(models.NETWORKS[name], "func", models.NETWORKS[name])
    assert function.__name__ in models.__all__
    if not name.startswith(("mlp_100", "plain")):  # their docstring states other counts, or the same one for resnet
        assert f"{PARAMETERS[name] + (2_688 if name == 'ten_layer_net' else 0):,}" in function.__doc__


@pytest.mark.parametrize("name", ["mlp_40_20", "naive_cifar_net", "resnet20", "mobilenet"])
def test_classes(name):
    model = light(name, classes=7)
    features = model.layers[-1].input_shape[0]
    assert model.output_shapes[-1] == (7,)
    assert PARAMETERS[name] - trained(model) == 3 * (features + 1)


@pytest.mark.parametrize("units", [(40, 20), (100,) * 6, ()])
def test_mlp_by_formula(units):
    sizes = [784, *units, 10]
    expected = sum((before + 1) * after for before, after in zip(sizes, sizes[1:], strict=False))
    assert trained(models.mlp(units)) == expected
    assert trained(models.mlp(units, batch_norm=True)) == expected + 2 * sum(units)
    assert trained(models.mlp(units, input_shape=(28, 28, 1))) == expected


@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("depth", [8, 20, 56])
def test_cifar_resnet_by_formula(depth, skips):
    n, expected = (depth - 2) // 6, 3 * 9 * 16 + 2 * 16 + 64 * 10 + 10
    for before, filters in ((16, 16), (16, 32), (32, 64)):
        expected += 9 * before * filters + (2 * n - 1) * 9 * filters**2 + 2 * n * 2 * filters
    model = models.cifar_resnet(depth, skips, init="zeros")
    assert trained(model) == expected
    assert len(only(model, (Conv2D, Dense))) == depth                        # no convolution in a shortcut
    assert len(only(model, Residual)) == (3 * n if skips else 0)
    assert [shape for layer, shape in zip(model.layers, model.output_shapes, strict=True)
            if isinstance(layer, ReLU)][-1] == (8, 8, 64)


def test_width_is_that_of_the_first_stage():
    assert trained(models.cifar_resnet(8, width=4)) < trained(models.cifar_resnet(8)) / 12


# ---------------------------------------------------------------------------------- the printed table of source 004

TABLE = """
Conv2D 32 32 64 256        | BatchNorm 32 32 64 256  | ReLU 32 32 64 0
Conv2D 30 30 64 36928      | BatchNorm 30 30 64 256  | ReLU 30 30 64 0
Conv2D 26 26 64 102464     | BatchNorm 26 26 64 256  | ReLU 26 26 64 0
Dropout 26 26 64 0         | MaxPool2D 13 13 64 0
Conv2D 13 13 128 8320      | BatchNorm 13 13 128 512 | ReLU 13 13 128 0
Conv2D 11 11 128 147584    | BatchNorm 11 11 128 512 | ReLU 11 11 128 0
Conv2D 7 7 128 409728      | BatchNorm 7 7 128 512   | ReLU 7 7 128 0
Dropout 7 7 128 0
Conv2D 7 7 256 33024       | BatchNorm 7 7 256 1024  | ReLU 7 7 256 0
Conv2D 5 5 256 590080      | BatchNorm 5 5 256 1024  | ReLU 5 5 256 0
Conv2D 1 1 256 1638656     | BatchNorm 1 1 256 1024  | ReLU 1 1 256 0
Dropout 1 1 256 0          | Flatten 256 0           | Dense 10 2570
"""


def test_ten_layer_net_row_by_row():
    model = models.ten_layer_net()
    rows = [(type(layer).__name__, *shape, trained(layer) + statistics(layer))
            for layer, shape in zip(model.layers, model.output_shapes, strict=True)]
    expected = [(kind, *map(int, numbers)) for line in TABLE.strip().splitlines()
                for kind, *numbers in (cell.split() for cell in line.split("|"))]
    assert rows == expected
    assert sum(row[-1] for row in rows) == 2_974_986
    assert (trained(model), statistics(model)) == (2_972_298, 2_688)
    assert [layer.rate for layer in only(model, Dropout)] == [0.25] * 3
    assert model.multiply_adds() == 159_885_824                                       # the 159.9 million of its notes


@pytest.mark.parametrize("kernel_sizes", [(1, 3, 5), (5, 3, 1)])
def test_ten_layer_net_in_both_orders(kernel_sizes):
    model = models.ten_layer_net(kernel_sizes=kernel_sizes, dropout=0, init="zeros")
    before, expected = 3, 2570
    for filters in (64, 128, 256):
        for size in kernel_sizes:
            expected += size * size * before * filters + filters + 4 * filters
            before = filters
    assert trained(model) + statistics(model) == expected
    assert not only(model, Dropout)
    assert [layer.kernel_size[0] for layer in only(model, Conv2D)] == list(kernel_sizes) * 3
    assert model.layers[-2].input_shape == (1, 1, 256)


# -------------------------------------------------------------------------------- what else the sources say of theirs


def test_deep_convnet_pads_one_convolution_by_two():
    model = models.deep_convnet()
    assert [layer.padding for layer in only(model, Conv2D)] == [(1, 1)] * 3 + [(2, 2)] + [(1, 1)] * 2
    assert [layer.input_shape[0] for layer in only(model, MaxPool2D)] == [28, 16, 8]
    assert isinstance(models.deep_convnet(dropout_on_scores=True).layers[-1], Dropout)


def test_vgg_like_nets_end_in_one_pixel():
    for model in (light("vgg_like"), light("vgg_like_dropout")):
        last = only(model, Conv2D)[-1]
        assert (last.windows.OH, last.windows.OW) == (1, 1)
        assert len(only(model, LeakyReLU)) == 8
    assert [layer.rate for layer in only(model, Dropout)] == [0.4] * 4
    assert trained(light("vgg_like", padding="same")) == 71_737_994


def test_all_cnn_c_variants():
    parameters = {variant: trained(models.all_cnn_c(variant)) for variant in ("pool", "strided", "convpool", "all")}
    assert parameters == {"pool": 954_730, "strided": 954_730, "convpool": 1_369_738, "all": 1_369_738}
    for variant in parameters:
        assert f"{parameters[variant]:,}" in models.all_cnn_c.__doc__
        model = models.all_cnn_c(variant)
        assert model.layers[-1].input_shape == (6, 6, 10)                    # as the paper says
        assert [layer.rate for layer in only(model, Dropout)] == [0.2, 0.5, 0.5]
        assert len(only(model, MaxPool2D)) == (2 if "pool" in variant else 0)


def test_googlenet_has_the_features_of_the_paper():
    model = models.googlenet(width=1.0)
    outputs = [shape[-1] for layer, shape in zip(model.layers, model.output_shapes, strict=True)
               if layer.name.startswith("concat")]
    assert outputs == [256, 480, 512, 512, 512, 528, 832, 832, 1024]
    assert f"{trained(model):,}" in models.googlenet.__doc__


def test_mobilenet_at_full_width():
    model = models.mobilenet(width=1.0)
    assert trained(model) == 3_217_226 and f"{trained(model):,}" in models.mobilenet.__doc__
    assert len(only(model, Conv2D)) == 14


# ------------------------------------------------------------------------------------------ the residual net of 000


@pytest.mark.parametrize(("pooling", "pools", "sizes"), [
    ("front", 1, [16, 8, 4, 2, 1]), ("none", 0, [16, 8, 4, 2]), ("all", 4, [32, 16, 8, 4, 2])])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_where_residual_net_shrinks_the_image(block, pooling, pools, sizes):
    model = models.residual_net(block, 1, pooling=pooling, filters=(4, 8, 12, 16))
    assert len(only(model, MaxPool2D)) == pools
    seen = [shape[0] for shape in model.output_shapes if len(shape) == 3]
    assert sorted(set(seen), reverse=True) == sizes
    assert trained(model) == trained(models.residual_net(block, 1, filters=(4, 8, 12, 16)))   # pooling has no weights


def test_residual_net_without_skips():
    skips, plain = (models.residual_net(depth=2, skips=kept, init="zeros") for kept in (True, False))
    projections = sum(before * after + 2 * after for before, after in ((64, 128), (128, 256), (256, 512)))
    assert trained(skips) - trained(plain) == projections
    assert not only(plain, Residual) and len(only(skips, Residual)) == 9


def test_the_bottleneck_of_depth_12_has_120_weighted_layers():
    model = light("residual_bottleneck_12")
    shortcuts = [layer for block in only(model, Residual) for layer in only(block.shortcut, Conv2D)]
    assert len(only(model, (Conv2D, Dense))) - len(shortcuts) == 120


def test_zero_gamma_makes_each_block_its_shortcut(device):
    model = models.residual_net(depth=1, filters=(4, 8, 8, 8), pooling="none")
    images = minidl.asarray(np.abs(np.random.default_rng(0).standard_normal((2, 8, 8, 8))))
    halving, keeping, *_ = only(model, Residual)
    assert (keeping.forward(images) == images).all()
    images = minidl.asarray(np.random.default_rng(0).standard_normal((2, 16, 16, 4)))
    assert (halving.forward(images) == halving.shortcut.forward(images)).all()
    gammas = {float(layer.gamma.data[0]) for layer in only(models.residual_net(zero_gamma=False), BatchNorm)}
    assert gammas == {1.0}


def test_windows_on_a_single_pixel_do_not_learn(device):
    def unused(layer):
        """Weights of a convolution that never meet a pixel of the image."""
        windows, (KH, KW), (SH, SW) = layer.windows, layer.kernel_size, layer.stride
        rows = sum(any(0 <= h * SH + k - windows.top < windows.H for h in range(windows.OH)) for k in range(KH))
        columns = sum(any(0 <= w * SW + k - windows.left < windows.W for w in range(windows.OW)) for k in range(KW))
        return (KH * KW - rows * columns) * prod(layer.W.data.shape[2:])

    assert sum(map(unused, only(light("residual_basic_6"), Conv2D))) == 27_918_336
    assert "27,918,336" in models.residual_net.__doc__

    model = models.residual_net(depth=1, filters=(4, 5, 6, 8), zero_gamma=False)
    scores = model.forward(draw_normal((6, 32, 32, 3)))
    model.backward(draw_normal(scores.shape))
    for layer in only(model, Conv2D):
        assert (layer.W.grad == 0).all((2, 3)).sum() * prod(layer.W.data.shape[2:]) == unused(layer)
    assert unused(only(model, Conv2D)[-1]) == 8 * 8 * 8


# ---------------------------------------------------------------------------------------------- the first scores

SHAPES = {"mlp": (784,), "simple": (28, 28, 1), "double": (28, 28, 1), "deep": (28, 28, 1)}


@pytest.mark.parametrize("name", [name for name in PARAMETERS if name != "residual_basic_6"])  # the same, only larger
def test_scores_at_initialisation(name):
    model = models.build(name)
    assert model.input_shape == SHAPES.get(name.split("_")[0], (32, 32, 3))
    scores = model.forward(draw_normal((2, *model.input_shape)))
    assert scores.shape == (2, 10) and scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert 0.05 < float(scores.std()) < 20


# ------------------------------------------------------------------------------------------------------- gradients

NARROW = {
    "mlp": lambda: models.mlp((6, 5), (4, 3, 2), 3, dropout=0.2),
    "mlp-norm": lambda: models.mlp((6, 5), (7,), 3, activation=Sigmoid, init="xavier", batch_norm=True),
    "simple_convnet": lambda: models.simple_convnet((9, 8, 2), 3, filters=3, units=5),
    "double_convnet": lambda: models.double_convnet((10, 9, 2), 3, filters=(2, 3), units=5),
    "deep_convnet": lambda: models.deep_convnet((9, 8, 2), 3, filters=(2, 3, 4), units=5),
    "naive_cifar_net": lambda: models.naive_cifar_net((16, 17, 2), 3, filters=(2, 3), units=(6, 5)),
    "vgg_like": lambda: models.vgg_like((32, 32, 1), 3, filters=(2, 2, 3, 3, 4, 4), units=(6, 5)),
    "vgg_like_dropout": lambda: models.vgg_like_dropout((8, 9, 1), 3, (2, 2, 3, 3, 4, 4), (6, 5), padding="same"),
    "ten_layer_net": lambda: models.ten_layer_net((7, 8, 2), 3, kernel_sizes=(1, 2), filters=(2, 3, 4)),
    "residual-basic": lambda: models.residual_net("basic", 1, filters=(2, 3, 4), zero_gamma=False,
                                                  input_shape=(16, 17, 2), classes=3),
    "residual-bottleneck": lambda: models.residual_net("bottleneck", 1, pooling="none", filters=(3, 4, 8),
                                                       zero_gamma=False, input_shape=(9, 10, 2), classes=3),
    "residual-plain": lambda: models.residual_net("basic", 1, False, "all", (2, 3, 4), input_shape=(9, 8, 2)),
    "cifar_resnet": lambda: models.cifar_resnet(8, width=3, input_shape=(9, 8, 2), classes=3),
    "alexnet": lambda: models.alexnet((9, 8, 2), 3, filters=(2, 3, 4, 4, 3), units=(6, 5)),
    "vgg": lambda: models.vgg((8, 9, 2), 3, filters=((2, 3), (3,), (4, 4)), units=(6, 5)),
    "googlenet": lambda: models.googlenet(0.02, modules=(((150, 100, 150, 100, 100, 100),),), input_shape=(6, 5, 2),
                                          classes=3),
    "mobilenet": lambda: models.mobilenet(0.1, blocks=((40, 1), (50, 2), (50, 1)), input_shape=(7, 6, 2), classes=3),
    "all_cnn_c": lambda: models.all_cnn_c("all", (3, 4), input_shape=(13, 12, 2), classes=3),
    "all_cnn_c-pool": lambda: models.all_cnn_c("pool", (3, 4), input_shape=(13, 12, 2), classes=3),
}


@pytest.mark.parametrize("name", NARROW)
def test_gradients_of_narrow_networks(name, device):
    model = NARROW[name]()
    for parameter in model.parameters():
        if not parameter.decay:  # a bias of 0 leaves a unit whose inputs are all off right at its ReLU's kink
            parameter.data += draw_normal(parameter.data.shape, 0.3)
    report = check_model(model, (6, *model.input_shape), tolerance=1e-5, largest=3)
    # of a bias that BatchNorm takes out again the gradient is 0, and both values are rounding
    wrong = [finding for finding in report.findings if finding.verdict == "fail"
             and max(abs(finding.explicit), abs(finding.numeric)) > 1e-7]
    assert not wrong, "\n".join(map(str, wrong))


# ----------------------------------------------------------------------------------- the shortcut without parameters


@pytest.mark.parametrize(("shape", "features", "stride", "output"), [
    ((6, 5, 3), 7, 2, (3, 3, 7)), ((5, 7, 2), 3, 3, (2, 3, 3)), ((4, 3, 2), 2, 1, (4, 3, 2))])
def test_zero_pad_shortcut(shape, features, stride, output, device):
    layer = ZeroPadShortcut(features, stride)
    assert layer.build(shape) == output and layer.parameters() == []
    images = draw_normal((2, *shape))
    y = layer.forward(images)
    assert y.shape == (2, *output) and y.dtype == images.dtype
    assert (y[..., :shape[2]] == images[:, ::stride, ::stride]).all() and (y[..., shape[2]:] == 0).all()
    report = check_layer(ZeroPadShortcut(features, stride), (2, *shape))
    assert report.passed, str(report)


def test_zero_pad_shortcut_refuses():
    assert "ZeroPadShortcut(2, stride=2): expected input of at most 2 features, got 3" in \
        refused(ShapeError, ZeroPadShortcut(2).build, (4, 4, 3))
    assert "expected input of shape (H, W, C)" in refused(ShapeError, ZeroPadShortcut(2).build, (4,))
    assert "stride=0" in refused(UserError, ZeroPadShortcut, 2, 0)


# ------------------------------------------------------------------------------------------------ wrong arguments


def test_unknown_name_lists_the_known_ones_and_the_nearest():
    text = refused(UserError, models.build, "ResNet-20")
    assert "'ResNet-20'" in text and "Did you mean 'resnet20'?" in text
    assert all(name in text for name in models.names())
    assert "unknown network None" in refused(UserError, models.build, None)
    assert "Did you mean" not in refused(UserError, models.build, "transformer")


@pytest.mark.parametrize("name", [name for name in PARAMETERS if not name.startswith("mlp")])
def test_an_image_without_features_is_refused(name):
    text = refused(ShapeError, light, name, input_shape=(28, 28))
    assert "expected input of shape (H, W, C) without the batch axis, got (28, 28). A grey image has one" in text


@pytest.mark.parametrize(("name", "layer", "inside"), [
    ("ten_layer_net", "conv2d_9: Conv2D(256, 5)", "5x5 does not fit into the padded image of 3x3"),
    ("vgg_like", "conv2d_6: Conv2D(512, 3,", "3x3 does not fit into the padded image of 2x2"),
    ("naive_cifar_net", "maxpool2d_2: MaxPool2D(2)", "2x2 does not fit")])
def test_an_image_that_is_too_small_is_refused(name, layer, inside):
    size = {"ten_layer_net": 28, "vgg_like": 28, "naive_cifar_net": 14}[name]
    text = refused(ShapeError, light, name, input_shape=(size, size, 3))
    assert layer in text and inside in text


def test_a_batch_of_another_shape_is_refused(device):
    model = models.naive_cifar_net()
    assert "expected input of shape (N, 32, 32, 3), got (2, 28, 28, 1)" in \
        refused(ShapeError, model.forward, minidl.asarray(np.zeros((2, 28, 28, 1), np.float32)))


@pytest.mark.parametrize(("call", "text"), [
    (lambda: models.cifar_resnet(18), "depth=18: expected 6n + 2, such as 20"),
    (lambda: models.cifar_resnet(2), "depth=2: expected 6n + 2"),
    (lambda: models.residual_net("wide"), "block='wide': expected one of 'basic', 'bottleneck'"),
    (lambda: models.residual_net(pooling="max"), "pooling='max': expected one of 'front', 'none', 'all'"),
    (lambda: models.residual_net(depth=-1), "depth=-1"),
    (lambda: models.all_cnn_c("A"), "variant='A': expected one of 'pool', 'strided'"),
    (lambda: models.mobilenet(width=-1), "width=-1"),
    (lambda: models.ten_layer_net(dropout=1), "rate=1: expected a number in [0, 1)"),
    (lambda: models.mlp(activation="relu"), "activation='relu': expected a layer class such as ReLU, without quotes"),
    (lambda: models.mlp(activation=ReLU()), "activation=ReLU(): expected a layer class"),
    (lambda: models.mlp(input_shape=784), "expected a shape such as (32, 32, 3), without the batch axis; got 784"),
    (lambda: models.simple_convnet(init="best"), "init='best': expected one of"),
])
def test_wrong_arguments(call, text):
    assert text in refused(UserError, call)
