"""The blackboard (`minidl.textbook`) computes what the fast layers compute, is short enough to be read, and lets go."""

import ast
import contextlib
import copy
import inspect
import re
from math import prod

import numpy as np
import pytest
from cases import CASES, assert_close, assert_same_bits, assert_says, on_device, tie_free
from test_models import NARROW

import minidl
from minidl import Concat, Residual, Sequential, backend, layers, losses, training
from minidl import textbook as blackboard
from minidl.backend import draw_integers, draw_normal, to_cpu
from minidl.core import Layer
from minidl.errors import ShapeError, UserError
from minidl.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, ReLU
from minidl.losses import Loss, MeanSquaredError, SoftmaxCrossEntropy
from minidl.optimizers import SGD, Momentum
from minidl.textbook import TWINS, conv2d_loops, textbook

LOSSES = [thing for thing in vars(losses).values() if isinstance(thing, type) and issubclass(thing, Loss)
          and thing is not Loss]
PUBLIC = [*(getattr(layers, name) for name in layers.__all__), *LOSSES, Residual, Concat]


@pytest.fixture(autouse=True)
def float64():
    with minidl.precision("float64"):
        yield


@pytest.fixture(autouse=True)
def fast_again():
    yield
    minidl.use(textbook=False)


def unchanged(model):
    """The fast form, where `textbook` would give the other one."""
    return contextlib.nullcontext(model)


# ------------------------------------------------------------------------------------------------------- its form

SOURCE = inspect.getsource(blackboard)


def functions():
    """{name: syntax tree} of every function and method in the file."""
    found = {}
    for node in ast.parse(SOURCE).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}": part for part in node.body if isinstance(part, ast.FunctionDef)}
    return found


def lines_of_code(function):
    """How many lines it has after the signature, without docstring, comments and blank lines."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    lines = SOURCE.splitlines()[body[0].lineno - 1:function.end_lineno]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in lines)


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_everything_public_has_a_twin(kind):
    assert kind in TWINS, f"write the twin of {kind.__name__} in minidl/textbook.py: its formula, without any speed"
    twin = TWINS[kind]
    assert twin.__name__ == kind.__name__ and twin.__bases__ == (kind,)
    own = {name for name in vars(twin) if not name.startswith("__")}
    assert own == {"forward", "backward"}, f"{twin.__name__} overrides {own}; forward and backward alone are its own"


def test_every_twin_is_of_something_public():
    assert set(TWINS) == set(PUBLIC)


@pytest.mark.parametrize("name", functions())
def test_short_enough_for_a_blackboard(name):
    allowed = 15 if "." in name else 20
    lines = lines_of_code(functions()[name])
    assert 0 < lines <= allowed, f"{name}: {lines} lines of code, at most {allowed} fit"


def test_one_sitting():
    lines = len(SOURCE.splitlines())    # 398 for 20 twins when this was written
    assert lines <= 20 * len(TWINS), f"minidl/textbook.py: {lines} lines, more than 20 for each of {len(TWINS)} twins"


@pytest.mark.parametrize("word", ["super(", "in_slices", "sum_over_slices", "workspace", "on_gpu", "out=", "numpy",
                                  "threads("])
def test_nothing_on_the_blackboard_is_there_for_speed(word):
    assert word not in SOURCE


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_the_docstring_has_the_formula_of_the_gradient(kind):
    gradient = "dscores" if issubclass(kind, Loss) else "dx"
    assert re.search(rf"\b{gradient}(\[[^]]*\])? = ", kind.__doc__), \
        f"{kind.__name__}: the docstring lacks a formula `{gradient} = ...`"


# -------------------------------------------------------------------------------------------- it computes the same


def run(layer, x, dy=None, seed=5):
    """Everything that a forward and a backward pass leave: y, dx, gradients, statistics, and y in evaluation mode."""
    minidl.seed(seed)
    y = layer.forward(x)
    dy = on_device(np.random.default_rng(3).standard_normal(y.shape)) if dy is None else dy
    found = {"y": y, "dx": layer.backward(dy)}
    for number, parameter in enumerate(layer.parameters()):
        found[f"parameter {number}, {parameter.name}"] = parameter.grad.copy()
    for number, part in enumerate(layer.walk()):
        found |= {f"layer {number}, {name}": getattr(part, name).copy() for name in part.statistics}
    found["next draw"] = backend.draw_uniform((1,))
    return found | {"y in evaluation mode": layer.eval().forward(x)}


def assert_equal_runs(got, expected, name, rtol=1e-10):
    assert list(got) == list(expected)
    for what in expected:
        assert got[what].dtype == expected[what].dtype, f"{name}, {what}"
        assert_close(got[what], expected[what], f"{name}, {what}", rtol, atol=1e-14)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_twins_equal_the_fast_layers(case, device):
    layer = case.layer()
    other = copy.deepcopy(layer)
    with textbook(other):
        assert not any(type(part) in TWINS for part in other.walk())
        got = run(other, case.x())
    assert_equal_runs(got, run(layer, case.x()), case.name)


@pytest.mark.parametrize("make", [lambda: Dense(3), lambda: Conv2D(3, 2), lambda: BatchNorm(), lambda: Dropout(0.4),
                                  lambda: layers.MaxPool2D(2), lambda: layers.LeakyReLU(), lambda: layers.Sigmoid(),
                                  lambda: layers.GELU(), lambda: layers.LayerNorm(), lambda: layers.AveragePool2D(2)],
                         ids=lambda make: repr(make()))
def test_float32_stays_float32(make, device):
    with minidl.precision("float32"):
        layer, x = make(), on_device(tie_free((2, 4) if isinstance(make(), Dense) else (2, 4, 5, 3)).astype("float32"))
        layer.build(x.shape[1:])
        with textbook(layer):
            y = layer.forward(x)
            assert y.dtype == layer.backward(y).dtype == np.float32


def test_dropout_drops_the_same(device):
    x = on_device(tie_free((5, 4, 3, 6)))
    for arguments in ((0.3,), (0.3, True)):
        dropped = []
        for layer in (Dropout(*arguments), TWINS[Dropout](*arguments)):
            layer.build(x.shape[1:])
            minidl.seed(1)
            dropped.append(to_cpu(layer.forward(x)))
            assert ((to_cpu(layer.backward(x)) == 0) == (dropped[-1] == 0)).all()
        assert_same_bits(dropped[1], dropped[0], f"Dropout{arguments}, y")
        assert 0 < (dropped[0] == 0).mean() < 1


@pytest.mark.parametrize("make", [SoftmaxCrossEntropy, lambda: SoftmaxCrossEntropy(0.2), MeanSquaredError])
@pytest.mark.parametrize("scale", [1, 1000])
def test_losses(make, scale, device):
    loss, other, scores = make(), make(), on_device(scale * tie_free((6, 5)))
    target = on_device(tie_free((6, 5), seed=2)) if isinstance(loss, MeanSquaredError) else np.arange(6) % 5
    value = loss.forward(scores, target)
    with textbook(other):
        assert type(other) is TWINS[type(loss)]
        assert_close(other.forward(scores, target), value, "loss", 1e-10)
        assert_close(other.backward(), loss.backward(), "dscores", 1e-10)
    assert type(other) is type(loss)


@pytest.mark.parametrize(("make", "shape"), [(lambda: TWINS[Dense](3), (4,)), (lambda: TWINS[Conv2D](3, 2), (4, 5, 2))])
def test_the_input_gradient_is_left_out(make, shape):
    layer = make()
    layer.build(shape)
    y = layer.forward(draw_normal((2, *shape)))
    layer.input_gradient = False
    assert layer.backward(y) is None
    assert abs(layer.W.grad).max() > 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_same_errors_at_the_door(case):
    layer, texts = case.layer(), []
    for form in (unchanged, textbook):
        with form(layer), pytest.raises(ShapeError) as caught:
            layer.forward(draw_normal((*case.shape, 2)))
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


@pytest.mark.parametrize(("loss", "target"), [(SoftmaxCrossEntropy(), [0, 5]), (SoftmaxCrossEntropy(), [0.5, 1]),
                                              (MeanSquaredError(), [1, 2])])
def test_the_same_errors_of_losses(loss, target):
    texts = []
    for form in (unchanged, textbook):
        with form(loss), pytest.raises(UserError) as caught:
            loss.forward(draw_normal((2, 3)), target)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_convolution_loops_equal_the_twin(device):
    layer, x = TWINS[Conv2D](3, (3, 2), stride=(2, 1), padding=(1, 2)), on_device(tie_free((2, 5, 4, 3)))
    layer.build(x.shape[1:])
    layer.b.data[...] = draw_normal(3)
    assert_close(layer.forward(x), conv2d_loops(x, layer.W.data, layer.b.data, (2, 1), (1, 2)), "y", 1e-13)


# ---------------------------------------------------------------------------------------------------- whole networks

CHOSEN = ["mlp", "mlp-norm", "simple_convnet", "deep_convnet", "vgg_like_dropout", "ten_layer_net",
          "residual-bottleneck", "cifar_resnet", "googlenet", "mobilenet", "all_cnn_c-pool"]


def trained(name, form):
    """The losses of five steps of Momentum, and the weights and statistics after them."""
    minidl.seed(3)
    model = NARROW[name]()
    images = draw_normal((7, *model.input_shape))
    labels = draw_integers(model.output_shape[0], 7)
    loss, optimizer, values = SoftmaxCrossEntropy(), Momentum(model.parameters(), lr=0.01), []
    model.input_gradient = False
    with form(model), form(loss):
        for _ in range(5):
            values.append(float(loss.forward(model.forward(images), labels)))
            assert model.backward(loss.backward()) is None
            optimizer.step()
    return np.array(values), model.state_dict()


@pytest.mark.parametrize("name", CHOSEN)
def test_networks_train_alike(name, device):
    (fast_values, fast_state), (values, state) = trained(name, unchanged), trained(name, textbook)
    assert len(set(fast_values)) == 5
    assert_close(values, fast_values, f"{name}, losses", 1e-9)
    for key, array in fast_state.items():
        assert_close(state[key], array, f"{name}, {key}", 1e-9, atol=1e-12)


@pytest.mark.parametrize("device", ["numpy"], indirect=True)
def test_fit_is_the_loop_of_the_real_one(device):
    images, labels = tie_free((23, 6, 5, 2)), np.arange(23) % 3
    found = []
    for fit in (training.fit, blackboard.fit):
        minidl.seed(4)
        model = Sequential([Conv2D(3, 3), BatchNorm(), ReLU(), Flatten(), Dropout(0.2), Dense(3)], (6, 5, 2))
        arguments = {"report": None} if fit is training.fit else {}
        result = fit(model, SGD(model.parameters(), lr=0.1), images, labels, epochs=3, batch_size=5, **arguments)
        found.append((getattr(result, "loss", result), model.state_dict()))
    (expected, fast_state), (averages, state) = found
    assert len(averages) == 3 and averages[-1] < averages[0]
    assert_close(np.array(averages), np.array(expected), "losses", 1e-10)
    for key, array in fast_state.items():
        assert_close(state[key], array, key, 1e-10)


# ------------------------------------------------------------------------------------------- there and back again


class Student(Dense):
    """A layer of a student's own, which no form may touch."""

    def backward(self, dy):
        return 2 * Dense.backward(self, dy)


def small():
    return Sequential([Dense(4), ReLU(), Student(3), Residual([Dense(3)]), Concat([[Dense(2)], []])], (5,))


def test_layers_become_their_twins_and_come_back():
    model = small()
    before = [type(part) for part in model.walk()]
    assert Student in before
    with textbook(model) as same:
        assert same is model
        inside = [type(part) for part in model.walk()]
        with textbook(model):
            assert [type(part) for part in model.walk()] == inside
        assert [type(part) for part in model.walk()] == inside
    assert inside == [TWINS.get(kind, kind) for kind in before]
    assert [type(part) for part in model.walk()] == before


def test_layers_come_back_after_an_exception():
    model = small()
    before = [type(part) for part in model.walk()]
    with pytest.raises(ZeroDivisionError), textbook(model):
        raise ZeroDivisionError
    assert [type(part) for part in model.walk()] == before


def test_no_form_reads_what_the_other_saved():
    model, loss = small(), SoftmaxCrossEntropy()
    x, labels = draw_normal((4, 5)), np.arange(4)
    loss.forward(model.forward(x), labels)
    with textbook(model), textbook(loss):
        for call in (lambda: model.backward(draw_normal((4, 5))), loss.backward):
            with pytest.raises(UserError) as caught:
                call()
            assert_says(caught, "backward has nothing to work from")
        loss.forward(model.forward(x), labels)
    for call in (lambda: model.backward(draw_normal((4, 5))), loss.backward):
        with pytest.raises(UserError, match="backward has nothing to work from"):
            call()


def test_what_is_no_model_is_refused():
    for thing in (Dense, "ten_layer_net", None):
        with pytest.raises(UserError) as caught, textbook(thing):
            pass
        assert_says(caught, "textbook: expected a model, a layer or a loss, got", "with textbook(model):")


def test_all_models(device):
    model, x = small(), draw_normal((4, 5))
    originals = {kind: (kind.forward, kind.backward) for kind in PUBLIC}
    expected = run(model, x)
    model.train().forward(x)
    for _ in range(2):
        minidl.use(textbook=True)
        assert all((kind.forward, kind.backward) == (TWINS[kind].forward, TWINS[kind].backward) for kind in PUBLIC)
    with pytest.raises(UserError, match="backward has nothing to work from"):
        model.backward(draw_normal((4, 5)))
    assert_equal_runs(run(model, x), expected, "an older model")
    layer = Conv2D(2, 2)
    layer.build((4, 5, 3))
    layer.forward(draw_normal((2, 4, 5, 3)))
    minidl.use(textbook=True)  # nothing changes, so nothing is forgotten
    layer.backward(draw_normal((2, 3, 4, 2)))
    for _ in range(2):
        minidl.use(textbook=False)
        assert originals == {kind: (kind.forward, kind.backward) for kind in PUBLIC}
    with pytest.raises(UserError, match="backward has nothing to work from"):
        layer.backward(draw_normal((2, 3, 4, 2)))
    assert_equal_runs(run(model.train(), x), expected, "fast again")


def test_all_models_and_one():
    minidl.use(textbook=True)
    model = small()
    with textbook(model):
        assert type(model.layers[0]) is TWINS[Dense]
        model.backward(model.forward(draw_normal((4, 5))))
    assert type(model.layers[0]) is Dense
    assert all(isinstance(part, Layer) and prod(part.input_shape) > 0 for part in model.walk())
    assert Dense.forward is TWINS[Dense].forward
