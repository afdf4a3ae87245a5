"""What holds for every layer and every shape, tried on random ones."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minidl
from minidl import Concat, Residual, Sequential
from minidl.backend import asarray, draw_normal, precision
from minidl.errors import ShapeError
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

pytestmark = pytest.mark.usefixtures("device")
small = st.integers(1, 3)
pairs = st.tuples(small, small)
vectors = st.tuples(st.integers(1, 7))
images = st.tuples(st.integers(1, 7), st.integers(1, 7), st.integers(1, 4))

elementwise = st.one_of(
    st.sampled_from([ReLU, Sigmoid, Tanh, GELU, BatchNorm, LayerNorm]).map(lambda kind: kind()),
    st.builds(LeakyReLU, st.floats(0, 0.9)), st.builds(Dropout, st.floats(0, 0.9)))
paddings = st.one_of(st.sampled_from(["same", "valid"]), st.tuples(st.integers(0, 2), st.integers(0, 2)))


@st.composite
def poolings(draw):
    kind, size, stride = draw(st.sampled_from([MaxPool2D, AveragePool2D])), draw(pairs), draw(st.none() | pairs)
    return kind(size, stride, draw(st.sampled_from(["same", "valid", tuple(side // 2 for side in size)])))


on_images = st.one_of(
    elementwise, poolings(),
    st.builds(Conv2D, small, pairs, pairs, paddings, bias=st.booleans()),
    st.builds(DepthwiseConv2D, pairs, pairs, paddings, bias=st.booleans()),
    st.builds(Dropout, st.floats(0, 0.9), maps=st.just(True)),
    st.sampled_from([GlobalAveragePool2D, Flatten]).map(lambda kind: kind()))
keeping_the_size = st.one_of(
    elementwise, st.builds(Conv2D, small, pairs, padding=st.just("same")),
    st.builds(DepthwiseConv2D, pairs, padding=st.just("same")),
    st.builds(MaxPool2D, pairs, st.just(1), st.just("same")))
paths = st.lists(keeping_the_size, max_size=2)


@st.composite
def containers(draw):
    body, filters = draw(paths), draw(small)
    return draw(st.sampled_from([
        Sequential([*body, Flatten(), Dense(filters)]), Residual([*body, Conv2D(filters, 1)], Conv2D(filters, 1)),
        Concat([body, [], Conv2D(filters, 1)]), Residual(Residual(Concat([body, []])), Conv2D(filters, 3, 1, "same"))]))


anything = st.one_of(
    st.tuples(st.one_of(elementwise, st.builds(Dense, small, bias=st.booleans()), st.builds(Residual, elementwise),
                        st.builds(lambda units: Concat([Dense(units), []]), small)), vectors),
    st.tuples(st.one_of(on_images, containers()), images))
# the same examples in every run
every_layer = settings(derandomize=True, deadline=None, max_examples=1000, database=None)


def built(layer, shape):
    """Build the layer, or tell hypothesis to try another example where the two do not fit together."""
    minidl.seed(1)
    try:
        return layer.build(shape)
    except ShapeError:
        assume(False)


@every_layer
@given(anything, st.integers(1, 4), st.sampled_from(["float32", "float64"]))
def test_training_mode(layer_and_shape, N, dtype):
    """Forward has the shape that build foretold, backward that of x; both keep the type and change nothing given."""
    layer, shape = layer_and_shape
    with precision(dtype):
        output_shape = built(layer, shape)
        x = draw_normal((N, *shape))
        x_before = x.copy()
        y = layer.train().forward(x)
        assert (y.shape, y.dtype) == ((N, *output_shape), dtype)
        dy, y_before = draw_normal(y.shape), y.copy()
        dy_before = dy.copy()
        dx = layer.backward(dy)
    assert (dx.shape, dx.dtype) == (x.shape, dtype)
    assert (x == x_before).all() and (dy == dy_before).all() and (y == y_before).all()
    for parameter in layer.parameters():
        assert (parameter.grad.shape, parameter.grad.dtype) == (parameter.data.shape, dtype)
        assert np.isfinite(parameter.grad).all()


@every_layer
@given(anything, st.integers(2, 5))
def test_evaluation_mode(layer_and_shape, N):
    """The same input gives the same bits, and an image the same output whichever others are in its batch."""
    layer, shape = layer_and_shape
    built(layer, shape)
    layer.forward(draw_normal((N, *shape)))  # moves the running statistics
    x = draw_normal((N, *shape))
    x_before = x.copy()
    y = layer.eval().forward(x)
    assert (layer.forward(x) == y).all() and (x == x_before).all()
    halves = np.concatenate([layer.forward(x[:N // 2]), layer.forward(x[N // 2:])])
    # a matrix product may add in another order when it has other rows: equal to within rounding
    assert abs(halves - y).max() <= 1e-5 * max(1, abs(y).max())


@every_layer
@given(anything)
def test_state_goes_round_exactly(layer_and_shape):
    """Another model that takes over the state computes the same bits."""
    layer, shape = layer_and_shape
    built(layer, shape)
    model = Sequential([layer])
    model.build(shape)
    model.forward(draw_normal((3, *shape)))
    state = {name: array.copy() for name, array in model.state_dict().items()}
    x = draw_normal((2, *shape))
    y = model.eval().forward(x)
    model.train().build(shape)
    for parameter in model.parameters():
        parameter.data[...] = asarray(np.float64(7))
    model.load_state_dict(state)
    assert (model.eval().forward(x) == y).all()
    after = model.state_dict()
    assert list(after) == list(state) and all((after[name] == state[name]).all() for name in state)
