"""The forward passes against loops written out, against numbers worked out by hand, and at the edges."""

import math
import statistics

import numpy as np
import pytest
from cases import CASES, assert_close, assert_same_bits, on_device, tie_free

import minidl
from minidl import initializers, layers, parallel, textbook
from minidl.backend import to_cpu, xp
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
from minidl.ops import convolution
from minidl.ops.erf import erf
from minidl.textbook import conv2d_loops

pytestmark = pytest.mark.usefixtures("device")


def built(layer, shape):
    """The layer, built; here it takes NumPy arrays, whichever backend computes."""
    layer.build(shape)
    forward, backward = layer.forward, layer.backward
    layer.forward, layer.backward = lambda x: forward(on_device(x)), lambda dy: backward(on_device(dy))
    return layer


def assign(array, values):
    array[...] = on_device(np.asarray(values, float))


def image(*rows):
    """One grey image as a batch: (1, H, W, 1)."""
    return np.array(rows, float)[None, :, :, None]


@pytest.fixture(autouse=True)
def float64():
    with minidl.precision("float64"):
        yield


# ----------------------------------------------------------------------------------------------------- Dense, Flatten


def test_dense_by_hand():
    layer = built(Dense(2), (3,))
    assign(layer.W.data, [[1, -1], [2, 0], [3, 5]])
    assign(layer.b.data, [10, 20])
    x = np.array([[1.0, 2, 3], [0, -1, 4]])
    assert_same_bits(layer.forward(x), np.array([[24.0, 34], [20, 40]]), "y")
    assert_same_bits(layer.backward(np.array([[1.0, 2], [-3, 4]])), np.array([[-1.0, 2, 13], [-7, -6, 11]]), "dx")
    assert_same_bits(layer.W.grad, np.array([[1.0, 2], [5, 0], [-9, 22]]), "W.grad")
    assert_same_bits(layer.b.grad, np.array([-2.0, 6]), "b.grad")


def test_flatten_reads_row_by_row():
    x = np.arange(24.0).reshape(2, 3, 2, 2)
    layer = built(Flatten(), (3, 2, 2))
    assert_same_bits(layer.forward(x), np.array([np.arange(12.0), np.arange(12.0, 24)]), "y")
    assert_same_bits(layer.backward(layer.forward(x)), x, "dx")


def test_flatten_of_an_empty_batch():
    assert built(Flatten(), (3, 2)).forward(np.zeros((0, 3, 2))).shape == (0, 6)


# -------------------------------------------------------------------------------------------------------- convolution


def test_loops_by_hand():
    """x is 1 to 9 row by row, W is [[1, 2], [3, 4]]: the first window gives 1*1 + 2*2 + 3*4 + 4*5 = 37."""
    x, W, b = image((1, 2, 3), (4, 5, 6), (7, 8, 9)), np.array([[1.0, 2], [3, 4]])[:, :, None, None], np.array([10.0])
    there = [on_device(array) for array in (x, W, b)]
    assert_same_bits(conv2d_loops(*there), image((47, 57), (77, 87)), "y")
    # padded by one pixel above, below, left and right, every second window: the corners of the image
    assert_same_bits(conv2d_loops(*there, (2, 2), (1, 1)), image((14, 28), (10 + 2 * 4 + 4 * 7, 87)), "y")
    layer = built(Conv2D(1, 2, stride=2, padding=1), (3, 3, 1))
    assign(layer.W.data, W)
    assign(layer.b.data, b)
    assert_same_bits(layer.forward(x), image((14, 28), (46, 87)), "Conv2D y")
    assert_same_bits(layer.backward(image((1, 10), (100, 1000))), image((4, 30, 40), (200, 1000, 2000),
                                                                       (400, 3000, 4000)), "Conv2D dx")
    assert_same_bits(layer.W.grad[:, :, 0, 0], np.array([[5000.0 + 0, 400 + 6000], [20 + 8000.0, 1 + 30 + 700 + 9000]]),
                     "Conv2D W.grad")
    assert_same_bits(layer.b.grad, np.array([1111.0]), "Conv2D b.grad")


@pytest.mark.parametrize("case", [case for case in CASES if case.name.startswith("conv")], ids=lambda case: case.name)
@pytest.mark.parametrize("slice_bytes", [1, 1 << 20])
def test_convolution_equals_the_loops(case, slice_bytes, monkeypatch):
    monkeypatch.setattr(parallel, "SLICE_BYTES", slice_bytes)
    layer, x = case.layer(), case.x()
    b = layer.b.data if layer.bias else on_device(np.zeros(layer.filters))
    padding = layer.padding
    if padding == "same":
        x_padded, padding = same_padded(x, layer.kernel_size, layer.stride), (0, 0)
    else:
        x_padded, padding = x, (0, 0) if padding == "valid" else padding
    assert_close(layer.forward(x), conv2d_loops(x_padded, layer.W.data, b, layer.stride, padding), case.name, 1e-14)


def same_padded(x, kernel, stride):
    widths = []
    for length, k, s in zip(x.shape[1:3], kernel, stride, strict=True):
        total = max((math.ceil(length / s) - 1) * s + k - length, 0)
        widths.append((total // 2, total - total // 2))
    return np.pad(x, [(0, 0), *widths, (0, 0)])


@pytest.mark.parametrize("device", ["numpy"], indirect=True)   # a GPU takes the whole batch at once
def test_im2col_never_builds_the_matrix_of_the_whole_batch(monkeypatch, device):
    """Cache for the windows of two images and for their gradient, which backward needs: two images at a time."""
    layer, x, counts = built(Conv2D(3, (3, 2)), (6, 5, 4)), tie_free((7, 6, 5, 4)), []
    im2col, image_bytes = convolution.im2col, layer.item_bytes(x)

    def spy(windows, images):
        counts.append(len(images))
        columns = im2col(windows, images)
        assert columns.nbytes == len(images) * image_bytes / 2
        return columns

    monkeypatch.setattr(convolution, "im2col", spy)
    monkeypatch.setattr(parallel, "SLICE_BYTES", 2 * image_bytes)
    y = layer.forward(x)
    assert counts == [1, 2, 2, 2]
    layer.backward(y)
    assert counts[4:] == [1, 2, 2, 2]


@pytest.mark.parametrize(("length", "kernel", "stride", "before", "after", "places"), [
    (5, 3, 1, 1, 1, 5), (5, 2, 1, 0, 1, 5), (6, 3, 2, 0, 1, 3), (7, 3, 3, 1, 1, 3), (5, 1, 2, 0, 0, 3),
    (4, 1, 3, 0, 0, 2), (5, 4, 1, 1, 2, 5), (2, 5, 1, 2, 2, 2), (1, 4, 3, 1, 2, 1), (9, 2, 3, 0, 0, 3)])
def test_same_padding_by_hand(length, kernel, stride, before, after, places):
    """ceil(length / stride) places; of an odd number of zeros the extra one stands behind."""
    x = np.arange(1.0, length + 1).reshape(1, length, 1, 1)
    wide = x.reshape(1, 1, length, 1)
    for k, axis_first in ((0, x), (1, wide)):
        size, step = ((kernel, 1), (stride, 1)) if k == 0 else ((1, kernel), (1, stride))
        layer = built(Conv2D(kernel, size, step, "same", bias=False), axis_first.shape[1:])
        assign(layer.W.data, np.eye(kernel).reshape(layer.W.data.shape))   # filter k shows pixel k of the window
        padded = [0.0] * before + list(range(1, length + 1)) + [0.0] * after
        windows = np.array([padded[p * stride:p * stride + kernel] for p in range(places)], float)
        assert_same_bits(layer.forward(axis_first).reshape(-1, kernel), windows, f"axis {k}")


def test_same_padding_puts_the_odd_zero_below_and_right():
    """Of every layer with a window: stride 2 gives two places each way, one row and one column of zeros."""
    x = image((1, 2, 3), (4, 5, 6), (7, 8, 9))
    sums = image((1 + 2 + 4 + 5, 3 + 6), (7 + 8, 9))
    ones = {"init": lambda shape, fan_in, fan_out: np.ones(shape), "bias": False, "stride": 2, "padding": "same"}
    for layer in (Conv2D(1, 2, **ones), DepthwiseConv2D(2, **ones)):
        assert_same_bits(built(layer, (3, 3, 1)).forward(x), sums, repr(layer))
    assert_same_bits(built(AveragePool2D(2, padding="same"), (3, 3, 1)).forward(x), sums / 4, "AveragePool2D")
    assert_same_bits(built(MaxPool2D(2, padding="same"), (3, 3, 1)).forward(x), image((5, 6), (8, 9)), "MaxPool2D")


def test_depthwise_equals_a_convolution_that_does_not_mix_features():
    layer, x = built(DepthwiseConv2D((3, 2), stride=(1, 2), padding=(1, 0)), (5, 6, 3)), tie_free((2, 5, 6, 3))
    assign(layer.b.data, [1, -2, 3])
    for c in range(3):
        y = conv2d_loops(on_device(x[..., c:c + 1]), layer.W.data[:, :, c:c + 1, None], layer.b.data[c:c + 1], (1, 2),
                         (1, 0))
        assert_close(layer.forward(x)[..., c:c + 1], y, f"feature {c}", 1e-14)


# ------------------------------------------------------------------------------------------------------------ pooling


def test_maxpool_by_hand():
    x = image((1, 2, 0, 4), (3, 0, 9, 0), (5, 6, 7, 8))
    layer = built(MaxPool2D(2, stride=1), (3, 4, 1))
    assert_same_bits(layer.forward(x), image((3, 9, 9), (6, 9, 9)), "y")
    # 9 is the largest of four windows: it gets the sum of their gradients
    assert_same_bits(layer.backward(image((1, 10, 100), (1000, 10000, 100000))),
                     image((0, 0, 0, 0), (1, 0, 110110, 0), (0, 1000, 0, 0)), "dx")


def test_maxpool_stride_is_the_window_unless_given():
    assert built(MaxPool2D((2, 3)), (7, 8, 5)).forward(tie_free((2, 7, 8, 5))).shape == (2, 3, 2, 5)


def test_maxpool_gives_the_gradient_to_the_first_of_equal_pixels():
    layer = built(MaxPool2D(2), (2, 4, 1))
    layer.forward(image((5, 5, 0, 1), (5, 5, 1, 1)))
    assert_same_bits(layer.backward(image((3, 7))), image((3, 0, 0, 7), (0, 0, 0, 0)), "dx")


def test_maxpool_ties_with_overlap():
    layer = built(MaxPool2D((1, 2), stride=1), (1, 4, 1))
    layer.forward(image((2, 2, 2, 2)))
    assert_same_bits(layer.backward(image((1, 10, 100))), image((1, 10, 100, 0)), "dx")


def test_maxpool_padding_never_wins():
    layer = built(MaxPool2D(2, padding=1), (3, 3, 1))
    x = image((-1, -2, -3), (-4, -5, -6), (-7, -8, -9))
    assert_same_bits(layer.forward(x), image((-1, -2), (-4, -5)), "y")
    assert_same_bits(layer.backward(image((1, 2), (3, 4))), image((1, 2, 0), (3, 4, 0), (0, 0, 0)), "dx")
    layer = built(MaxPool2D(2, stride=2, padding="same"), (3, 3, 1))
    assert_same_bits(layer.forward(x), image((-1, -3), (-7, -9)), "y")


def test_maxpool_of_zeros_beside_padding():
    """What a ReLU leaves: the padding is no pixel, so the gradient stays inside the image."""
    layer = built(MaxPool2D(2, padding=1), (2, 2, 1))
    layer.forward(image((0, 0), (0, 0)))
    assert_same_bits(layer.backward(image((1, 2), (3, 4))), image((1, 2), (3, 4)), "dx")


@pytest.mark.parametrize("form", [layers.MaxPool2D, textbook.MaxPool2D], ids=["fast", "textbook"])
@pytest.mark.parametrize(("size", "stride", "expected"), [
    (2, 2, [(1, 2, 0, 3), (4, 5, 0, 6), (0, 0, 0, 0), (7, 8, 0, 9)]),
    (3, 2, [(1, 2, 0, 0), (3, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 4)]),
    (3, 1, [(14, 10, 12, 0), (19, 0, 0, 0), (27, 0, 0, 0), (0, 0, 0, 54)])])
def test_maxpool_of_minus_infinity_beside_padding(form, size, stride, expected):
    """The first pixel of the image in the window wins, never the padding: what torch.nn.MaxPool2d of 2.13 gives."""
    layer = built(form(size, stride, padding=1), (4, 4, 1))
    x = np.full((1, 4, 4, 1), -np.inf)
    x[0, 3, 3] = 1
    y = layer.forward(x)
    assert_same_bits(layer.backward(np.arange(1.0, y.size + 1).reshape(y.shape)), image(*expected), "dx")


def test_maxpool_takes_each_feature_by_itself():
    x = np.array([[[[1.0, 8], [2, 7]], [[3, 6], [4, 5]]]])
    layer = built(MaxPool2D(2), (2, 2, 2))
    assert_same_bits(layer.forward(x), np.array([[[[4.0, 8]]]]), "y")
    assert_same_bits(layer.backward(np.array([[[[1.0, 2]]]])), np.array([[[[0.0, 2], [0, 0]], [[0, 0], [1, 0]]]]), "dx")


def test_averagepool_counts_padding_as_zeros():
    layer = built(AveragePool2D(2, stride=1, padding=1), (2, 2, 1))
    y = image((1, 3, 2), (4, 10, 6), (3, 7, 4)) / 4                              # always divided by 4
    assert_same_bits(layer.forward(image((1, 2), (3, 4))), y, "y")
    assert_same_bits(layer.backward(np.ones((1, 3, 3, 1))), image((1, 1), (1, 1)), "dx")


def test_globalaveragepool_by_hand():
    layer = built(GlobalAveragePool2D(), (2, 3, 2))
    assert_same_bits(layer.forward(np.arange(12.0).reshape(1, 2, 3, 2)), np.array([[5.0, 6]]), "y")
    assert_same_bits(layer.backward(np.array([[6.0, 12]])), np.tile([1.0, 2], (1, 2, 3, 1)), "dx")


# -------------------------------------------------------------------------------------------------------- activations


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_at_extremes(dtype):
    """No overflow (a warning is an error here), and exactly the limits."""
    x = np.array([[-1e30, -1e4, -100, 0, 100, 1e4, 1e30]], dtype)
    ones = np.ones_like(x)
    zero, one, half = 0.0, 1.0, 0.5
    tiny = np.exp(dtype(-100))  # far from the middle the sigmoid is exp(x), to the last digit
    for layer, y, slope in ((Sigmoid(), [zero, zero, tiny, half, one, one, one], [0, 0, tiny, 0.25, 0, 0, 0]),
                            (Tanh(), [-one, -one, -one, 0, one, one, one], [0, 0, 0, 1, 0, 0, 0]),
                            (ReLU(), [0, 0, 0, 0, 100, 1e4, 1e30], [0, 0, 0, 0, 1, 1, 1])):
        built(layer, (7,))
        assert_same_bits(layer.forward(x), np.array([y], dtype), repr(layer))
        assert_same_bits(layer.backward(ones), np.array([slope], dtype), f"{layer!r} slope")


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-14)])
def test_sigmoid_keeps_its_digits_where_it_is_small(dtype, tolerance):
    x = np.array([[-1.0, -5, -10, -15, -20, -30]], dtype)
    for value, got in zip(x[0], to_cpu(built(Sigmoid(), (6,)).forward(x))[0], strict=True):
        right = math.exp(value) / (1 + math.exp(value))
        assert abs(got - right) <= tolerance * right, f"sigmoid({value}): got {got}, expected {right}"


def test_a_wide_kernel_on_a_narrow_padded_image():
    """Whole columns of the window meet nothing but padding."""
    layer, x = built(Conv2D(2, 8, padding=2), (4, 5, 4)), tie_free((2, 4, 5, 4))
    right = conv2d_loops(on_device(x), layer.W.data, layer.b.data, padding=(2, 2))
    assert_close(layer.forward(x), right, "Conv2D", 1e-13)


def test_activations_by_hand():
    x = np.array([[-2.0, -0.5, 0, 1, 3]])
    sigmoid = np.array([[1 / (1 + math.exp(-v)) for v in x[0]]])
    tanh = np.array([[(math.exp(v) - math.exp(-v)) / (math.exp(v) + math.exp(-v)) for v in x[0]]])
    below = np.array([[(1 + math.erf(v / math.sqrt(2))) / 2 for v in x[0]]])     # Phi, exact: no tanh formula
    density = np.array([[math.exp(-v * v / 2) / math.sqrt(2 * math.pi) for v in x[0]]])
    dy = np.array([[1.0, -2, 5, 3, -4]])
    for layer, y, dx in ((Sigmoid(), sigmoid, dy * sigmoid * (1 - sigmoid)), (Tanh(), tanh, dy * (1 - tanh**2)),
                         (ReLU(), np.array([[0.0, 0, 0, 1, 3]]), np.array([[0.0, 0, 0, 3, -4]])),
                         (LeakyReLU(0.25), np.array([[-0.5, -0.125, 0, 1, 3]]), np.array([[0.25, -0.5, 1.25, 3, -4]])),
                         (GELU(), x * below, dy * (below + x * density))):
        built(layer, (5,))
        assert_close(layer.forward(x), y, repr(layer), 1e-15)
        assert_close(layer.backward(dy), dx, f"{layer!r} dx", 1e-15)


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


# ------------------------------------------------------------------------------------------------ batch normalisation


@pytest.mark.parametrize("shape", [(5, 3), (2, 3), (2, 3, 4, 2)])
@pytest.mark.parametrize("momentum", [0.9, 0.3, 0])
def test_batchnorm_by_hand(shape, momentum):
    """Three training steps, every sum written out in plain Python, then evaluation by the running statistics."""
    C, eps = shape[-1], 0.01
    layer = built(BatchNorm(momentum=momentum, eps=eps), shape[1:])
    assign(layer.gamma.data, np.arange(1, C + 1))
    assign(layer.beta.data, np.arange(C) - 0.5)
    running_mean, running_var = [0.0] * C, [1.0] * C
    assert_same_bits(layer.running_mean, np.zeros(C), "running_mean at the start")
    assert_same_bits(layer.running_var, np.ones(C), "running_var at the start")
    for step in range(3):
        x = 2 * tie_free(shape, seed=step) + 3
        expected = np.empty(shape)
        for c in range(C):
            values = x[..., c].ravel().tolist()
            mean, var = statistics.fmean(values), statistics.pvariance(values)
            expected[..., c] = (c + 1) * (x[..., c] - mean) / math.sqrt(var + eps) + c - 0.5
            running_mean[c] = momentum * running_mean[c] + (1 - momentum) * mean
            running_var[c] = momentum * running_var[c] + (1 - momentum) * statistics.variance(values)   # n - 1
        assert_close(layer.forward(x), expected, f"y of step {step}", 1e-13)
        assert_close(layer.running_mean, running_mean, f"running_mean after step {step}", 1e-13)
        assert_close(layer.running_var, running_var, f"running_var after step {step}", 1e-13)
    layer.eval()
    before = layer.running_mean.copy(), layer.running_var.copy()
    y = layer.forward(x)
    for c in range(C):
        assert_close(y[..., c], (c + 1) * (x[..., c] - running_mean[c]) / math.sqrt(running_var[c] + eps) + c - 0.5,
                     f"y in evaluation mode, feature {c}", 1e-13)
    assert_same_bits(layer.running_mean, before[0], "running_mean after evaluation")
    assert_same_bits(layer.running_var, before[1], "running_var after evaluation")


def test_batchnorm_defaults_follow_torch():
    layer = BatchNorm()
    assert (layer.momentum, layer.eps) == (0.9, 1e-5)


def test_batchnorm_of_a_single_value_per_feature():
    layer = built(BatchNorm(), (3,))
    assign(layer.beta.data, [1, 2, 3])
    assert_same_bits(layer.forward(np.array([[7.0, -8, 9]])), np.array([[1.0, 2, 3]]), "y")
    assert_same_bits(layer.backward(np.array([[1.0, 1, 1]])), np.zeros((1, 3)), "dx")
    assert_same_bits(layer.running_var, np.ones(3), "running_var")
    assert_close(layer.running_mean, [0.7, -0.8, 0.9], "running_mean", 1e-15)


def test_batchnorm_of_a_constant_feature():
    layer = built(BatchNorm(), (1,))
    assert_same_bits(layer.forward(np.full((4, 1), 5.0)), np.zeros((4, 1)), "y")
    assert np.isfinite(to_cpu(layer.backward(np.array([[1.0], [2], [3], [4]])))).all()


def test_layernorm_sees_one_place_at_a_time():
    x = np.array([[[[1.0, 3], [10, 10]]]])
    layer = built(LayerNorm(eps=0.0), (1, 1, 2))
    assert_same_bits(layer.forward(x[:, :, :1]), np.array([[[[-1.0, 1]]]]), "y")
    layer = built(LayerNorm(), (1, 2, 2))
    assert_same_bits(layer.forward(x)[:, :, 1:], np.zeros((1, 1, 1, 2)), "y without spread: no division by zero")


# ------------------------------------------------------------------------------------------------------------ dropout


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dropout(rate, dtype):
    count = 100_000
    layer, x = built(Dropout(rate), (count,)), np.full((1, count), 3.0, dtype)
    y = to_cpu(layer.forward(x))
    kept = dtype(3) * dtype(1 / (1 - rate))
    assert set(np.unique(y)) == {dtype(0), kept}
    spread = math.sqrt(rate * (1 - rate) / count)
    assert abs((y == 0).mean() - rate) < 5 * spread, "share of dropped values"
    assert abs(y.mean() / 3 - 1) < 5 * spread / (1 - rate), "the expected value stays"
    dx = to_cpu(layer.backward(np.full((1, count), 2.0, dtype)))
    assert_close(dx * 3, y * 2, "backward uses the mask of forward", 1e-6)
    assert (to_cpu(layer.forward(x)) != y).any(), "every batch has its own mask"
    layer.eval()
    assert_same_bits(layer.forward(x), x, "evaluation mode")


def test_dropout_of_maps_drops_whole_maps_of_each_image_by_itself():
    y = to_cpu(built(Dropout(0.25, maps=True), (4, 5, 30)).forward(np.ones((40, 4, 5, 30))))
    assert (y == y[:, :1, :1, :]).all()
    assert len(np.unique(y[:, 0, 0], axis=0)) == 40
    assert set(np.unique(y)) == {0, 1 / 0.75}
    assert float((y[:, 0, 0] == 0).mean()) == pytest.approx(0.25, abs=0.05)      # 1200 maps


def test_dropout_rate_0_changes_nothing():
    layer, x = built(Dropout(0), (5,)), tie_free((3, 5))
    state = minidl.backend.random_state()
    assert_same_bits(layer.forward(x), x, "y")
    assert_same_bits(layer.backward(x), x, "dx")
    assert minidl.backend.random_state() == state


# ------------------------------------------------------------------------------------------------------- initializers


@pytest.mark.parametrize(("init", "std"), [
    ("xavier", 1 / math.sqrt(300)), ("glorot", math.sqrt(2 / (300 + 200))), ("he", math.sqrt(2 / 300)),
    ("normal:0.01", 0.01), ("normal:2.5", 2.5), ("normal:1e-3", 0.001)])
def test_dense_initializers(init, std):
    """60,000 draws know their standard deviation to 0.3 %."""
    layer = built(Dense(200, init), (300,))
    assert abs(layer.W.data.std() / std - 1) < 0.015, f"{init}: std {layer.W.data.std():.5g}, expected {std:.5g}"
    assert abs(layer.W.data.mean()) < 5 * std / math.sqrt(60_000)
    assert abs((np.abs(layer.W.data) < std).mean() - 0.6827) < 0.01, "the normal distribution has 68 % within one std"
    assert not layer.b.data.any()


@pytest.mark.parametrize(("init", "std"), [("xavier", 1 / math.sqrt(3 * 2 * 40)), ("he", math.sqrt(2 / (3 * 2 * 40))),
                                           ("glorot", math.sqrt(2 / (3 * 2 * 40 + 3 * 2 * 100)))])
def test_convolution_initializers(init, std):
    layer = built(Conv2D(100, (3, 2), init=init), (8, 9, 40))
    assert abs(layer.W.data.std() / std - 1) < 0.03, f"{init}: std {layer.W.data.std():.5g}, expected {std:.5g}"
    assert not layer.b.data.any()


def test_he_is_the_default():
    for layer in (Dense(100), Conv2D(100, 5)):
        built(layer, (400,) if isinstance(layer, Dense) else (9, 8, 16))
        assert abs(layer.W.data.std() / math.sqrt(2 / 400) - 1) < 0.03


def test_zeros_and_functions():
    assert not built(Dense(3, "zeros"), (4,)).W.data.any()
    asked = []

    def own(shape, fan_in, fan_out):
        asked.append((shape, fan_in, fan_out))
        return np.full(shape, 3, int)

    layer = built(Conv2D(5, (3, 2), init=own), (7, 6, 4))
    assert asked == [((3, 2, 4, 5), 24, 30)]
    assert_same_bits(layer.W.data, np.full((3, 2, 4, 5), 3.0), "W")
    built(Dense(5, own), (7,))
    built(DepthwiseConv2D((3, 2), init=own), (7, 6, 4))
    assert asked[1:] == [((7, 5), 7, 5), ((3, 2, 4), 6, 6)]


def test_an_array_handed_out_by_an_init_function_stays_the_caller_s():
    start = np.ones((2, 3))
    layer = built(Dense(3, lambda shape, fan_in, fan_out: start), (2,))
    layer.W.data[...] = 7
    assert_same_bits(start, np.ones((2, 3)), "start")


def test_names_of_initializers_all_work():
    for name in initializers.NAMES:
        assert built(Dense(3, name), (4,)).W.data.shape == (4, 3)
