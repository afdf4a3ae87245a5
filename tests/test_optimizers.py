"""Optimizers against the formulas of their papers, written out for single numbers; how they hold parameters and resume;
averages and schedules by hand."""

import copy
import math
import pickle

import numpy as np
import pytest
from cases import OPTIMIZERS, assert_close, assert_same_bits, assert_says, on_device, tie_free

import minidl
from minidl import Sequential, parallel
from minidl.backend import draw_normal, to_cpu, xp
from minidl.core import Parameter
from minidl.errors import ShapeError, UserError
from minidl.layers import BatchNorm, Conv2D, Dense, Flatten
from minidl.losses import SoftmaxCrossEntropy
from minidl.optimizers import SGD, AdaGrad, Adam, AdamW, Momentum, MovingAverage, RMSProp, clip_by_global_norm
from minidl.optimizers.flat import FlatParameters, in_flat_order
from minidl.regularizers import L1, L2
from minidl.schedules import Constant, Cosine, PiecewiseConstant, ReduceOnPlateau, Triangular

pytestmark = pytest.mark.usefixtures("device")

# One weight through all steps, in plain Python: w before the first, gradient(k, w) of step k; yields w after each.


def sgd(w, gradient, lr):
    for k in range(STEPS):
        w = w - lr * gradient(k, w)
        yield w


def momentum(w, gradient, lr, momentum=0.9):
    """Polyak 1964, with the velocity in units of the gradient, as torch.optim.SGD has it."""
    v = 0.0
    for k in range(STEPS):
        v = momentum * v + gradient(k, w)
        w = w - lr * v
        yield w


def adagrad(w, gradient, lr=0.01, eps=1e-10):
    """Duchi, Hazan & Singer 2011: divided by the root of the sum of all squares so far."""
    squares = []
    for k in range(STEPS):
        g = gradient(k, w)
        squares.append(g**2)
        w = w - lr * g / (math.sqrt(math.fsum(squares)) + eps)
        yield w


def rmsprop(w, gradient, lr=0.01, decay=0.99, eps=1e-8):
    """Tieleman & Hinton 2012: the sum becomes an average whose weights fall by `decay` with every step."""
    seen = []
    for k in range(STEPS):
        g = gradient(k, w)
        seen.append(g)
        average = math.fsum((1 - decay) * decay**age * old**2 for age, old in enumerate(reversed(seen)))
        w = w - lr * g / (math.sqrt(average) + eps)
        yield w


def adam(w, gradient, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
    """Kingma & Ba 2015, Algorithm 1, with the averages written as the sums that they are (equation 1 there)."""
    seen = []
    for k in range(STEPS):
        t = k + 1
        seen.append(gradient(k, w))
        mean = math.fsum((1 - beta1) * beta1 ** (t - i) * g for i, g in enumerate(seen, 1)) / (1 - beta1**t)
        square = math.fsum((1 - beta2) * beta2 ** (t - i) * g**2 for i, g in enumerate(seen, 1)) / (1 - beta2**t)
        w = w - lr * mean / (math.sqrt(square) + eps)
        yield w


STEPS = 6
RULES = [
    (SGD, sgd, {"lr": 0.1}),
    (Momentum, momentum, {"lr": 0.1}),
    (Momentum, momentum, {"lr": 0.05, "momentum": 0.5}),
    (Momentum, momentum, {"lr": 0.05, "momentum": 0.0}),
    (AdaGrad, adagrad, {}),
    (AdaGrad, adagrad, {"lr": 0.2, "eps": 0.1}),
    (RMSProp, rmsprop, {}),
    (RMSProp, rmsprop, {"lr": 0.2, "decay": 0.5, "eps": 0.1}),
    (Adam, adam, {}),
    (Adam, adam, {"lr": 0.1, "beta1": 0.5, "beta2": 0.7, "eps": 0.2}),
    (Adam, adam, {"lr": 0.1, "beta1": 0.0, "beta2": 0.0}),
]
PENALTIES = {"none": (None, lambda w: 0.0), "L2": (L2(0.3), lambda w: 0.3 * w),
             "L1": (L1(0.3), lambda w: 0.3 * math.copysign(1, w))}


def model():
    """Weights that decay and others that do not, in mixed order."""
    return Sequential([Conv2D(2, (2, 1)), BatchNorm(), Flatten(), Dense(3), Dense(2, bias=False)],
                      input_shape=(3, 2, 1))


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(("kind", "rule", "arguments"), RULES, ids=[f"{rule[0].__name__}-{k}" for k, rule in
                                                                   enumerate(RULES)])
def test_six_steps_by_the_formula(kind, rule, arguments, penalty):
    with minidl.precision("float64"):
        parameters = model().parameters()
    draw = np.random.default_rng(2)
    for parameter in parameters:
        parameter.data[...] = on_device(draw.standard_normal(parameter.data.shape))
    start = [parameter.data.copy() for parameter in parameters]
    gradients = [[on_device(draw.standard_normal(p.data.shape) * (p.name != "beta" or k)) for p in parameters]
                 for k in range(STEPS)]   # beta's first gradient is zero: no step, and nothing divided by zero
    optimizer = kind(parameters, penalty=PENALTIES[penalty][0], **arguments)
    trajectory = []
    for k in range(STEPS):
        for parameter, gradient in zip(parameters, gradients[k], strict=True):
            parameter.grad[...] = gradient
        optimizer.step()
        trajectory.append([parameter.data.copy() for parameter in parameters])
    trajectory, gradients, start = ([[to_cpu(array) for array in arrays] for arrays in many]
                                    for many in (trajectory, gradients, [start]))
    for number, parameter in enumerate(parameters):
        pull = PENALTIES[penalty][1] if parameter.name == "W" else PENALTIES["none"][1]
        for index in np.ndindex(parameter.data.shape):
            expected = rule(float(start[0][number][index]),
                            lambda k, w, number=number, index=index, pull=pull: gradients[k][number][index] + pull(w),
                            **arguments)
            for k, w in enumerate(expected):
                assert_close(trajectory[k][number][index], w, f"{kind.__name__} {arguments}, {penalty}, step {k + 1}, "
                             f"{parameter.name} {list(index)}", 1e-12, 1e-13)


@pytest.mark.parametrize(("kind", "arguments", "expected"), [
    (SGD, {"lr": 0.5}, [0.5, -0.5, 0.5]),                     # 1 - 0.5*1, 0.5 - 0.5*2, -0.5 + 0.5*2
    (Momentum, {"lr": 0.5, "momentum": 0.5}, [0.5, -0.75, -0.375]),      # v = 1, 2.5, -0.75
    (AdaGrad, {"lr": 0.5, "eps": 0}, [0.5, 0.5 - 1 / math.sqrt(5), 0.5 - 1 / math.sqrt(5) + 1 / 3]),  # s = 1, 5, 9
    (RMSProp, {"lr": 0.5, "decay": 0.75, "eps": 0.5},         # s = 0.25, 1.1875, 1.890625
     [0.5, 0.5 - 1 / (math.sqrt(1.1875) + 0.5), 0.5 - 1 / (math.sqrt(1.1875) + 0.5) + 1 / (math.sqrt(1.890625) + 0.5)]),
    (Adam, {"lr": 0.5, "beta1": 0.5, "beta2": 0.5, "eps": 0},  # mhat = 1, 5/3, -3/7;  shat = 1, 3, 25/7
     [0.5, 0.5 - 0.5 * (5 / 3) / math.sqrt(3), 0.5 - 0.5 * (5 / 3) / math.sqrt(3) + 0.5 * (3 / 7) / math.sqrt(25 / 7)]),
])
def test_three_steps_by_hand(kind, arguments, expected):
    """w starts at 1, the gradients are 1, 2 and -2."""
    with minidl.precision("float64"):
        (parameter,) = Sequential([Dense(1, bias=False)], input_shape=(1,)).parameters()
    parameter.data[...] = 1
    optimizer = kind([parameter], **arguments)
    for step, (gradient, w) in enumerate(zip((1, 2, -2), expected, strict=True)):
        parameter.grad[...] = gradient
        optimizer.step()
        assert_close(parameter.data[0, 0], w, f"{kind.__name__} after step {step + 1}", atol=1e-15)


def test_defaults_are_those_of_torch():
    parameters = model().parameters()
    assert (Momentum(parameters, lr=1).momentum, AdaGrad(parameters).lr, AdaGrad(parameters).eps) == (0.9, 0.01, 1e-10)
    rmsprop, adam = RMSProp(parameters), Adam(parameters)
    assert (rmsprop.lr, rmsprop.decay, rmsprop.eps) == (0.01, 0.99, 1e-8)
    assert (adam.lr, adam.beta1, adam.beta2, adam.eps) == (0.001, 0.9, 0.999, 1e-8)


def test_the_learning_rate_may_change_at_any_time():
    (parameter,) = Sequential([Dense(1, "zeros", bias=False)], input_shape=(1,)).parameters()
    optimizer = SGD([parameter], lr=0.5)
    parameter.grad[...] = 1
    optimizer.step()
    optimizer.lr = 0.25
    optimizer.step()
    assert parameter.data[0, 0] == -0.75


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_float32_stays_float32(name):
    parameters = model().parameters()
    optimizer = OPTIMIZERS[name](parameters)
    for parameter in parameters:
        parameter.grad[...] = 1
    optimizer.step()
    assert {array.dtype.name for parameter in parameters for array in (parameter.data, parameter.grad)} == {"float32"}


# -------------------------------------------------------------------------------------------------------- flat vectors


def assert_views(parameters, flat):
    start = 0
    for parameter in in_flat_order(parameters):
        for kind, vector in (("data", flat.data), ("grad", flat.grad)):
            array = getattr(parameter, kind)
            assert array.base is vector, f"{parameter.name}.{kind} left the flat vector"
            assert_same_bits(array.ravel(), vector[start:start + array.size], f"{parameter.name}.{kind}")
        start += parameter.data.size
    assert start == flat.data.size == flat.grad.size


def test_parameters_are_views_of_the_flat_vectors_and_stay_so():
    net = model()
    parameters = net.parameters()
    before = [(parameter.data.copy(), parameter.data.shape) for parameter in parameters]
    parameters[0].grad[...] = 7
    optimizer = Adam(parameters)
    assert_views(parameters, optimizer.flat)
    for parameter, (data, shape) in zip(parameters, before, strict=True):
        assert_same_bits(parameter.data, data, parameter.name)
        assert parameter.grad.shape == shape
    assert (parameters[0].grad == 7).all()
    x = on_device(tie_free((4, 3, 2, 1)).astype(np.float32))
    for _ in range(3):
        net.backward(net.forward(x))
        optimizer.step()
    assert_views(parameters, optimizer.flat)


def test_weights_that_decay_come_first():
    parameters = model().parameters()
    flat, ordered = SGD(parameters, lr=1).flat, in_flat_order(parameters)
    assert [parameter.name for parameter in ordered] == ["W", "W", "W", "b", "gamma", "beta", "b"]
    assert flat.decaying == sum(parameter.data.size for parameter in ordered[:3])


def test_two_optimizers_share_the_vectors():
    net = model()
    first, second = SGD(net.parameters(), lr=0.1), Adam(reversed(net.parameters()))
    assert first.flat.data is second.flat.data
    assert first.flat.grad is second.flat.grad
    for parameter in net.parameters():
        parameter.grad[...] = 1
    first.step()
    second.step()


def test_a_stale_optimizer_complains():
    net = model()
    old = SGD(net.parameters(), lr=0.1)
    new = SGD(net.layers[-1].parameters(), lr=0.1)
    with pytest.raises(UserError) as caught:
        old.step()
    assert_says(caught, "SGD", "another optimizer was made", "make this one anew")
    new.step()


def test_an_optimizer_made_anew_works():
    """Also when the first of its parameters still lies in the vectors of an optimizer before."""
    for other in (0, -1):
        net = model()
        SGD(net.parameters(), lr=0.1)
        SGD(net.layers[other].parameters(), lr=0.1)
        optimizer = SGD(net.parameters(), lr=0.5)
        before = [parameter.data.copy() for parameter in net.parameters()]
        for parameter in net.parameters():
            parameter.grad[...] = 1
        optimizer.step()
        assert_views(net.parameters(), optimizer.flat)
        for parameter, data in zip(net.parameters(), before, strict=True):
            assert_close(parameter.data, data - 0.5, parameter.name, 1e-6)


def test_part_of_a_model_can_be_trained_alone():
    net = model()
    before = net.state_dict()
    optimizer = SGD(net.layers[3].parameters(), lr=0.1)
    for parameter in net.parameters():
        parameter.grad[...] = 1
    optimizer.step()
    changed = [name for name, array in net.state_dict().items() if not np.array_equal(array, before[name])]
    assert changed == ["dense_1.W", "dense_1.b"]


def test_load_state_dict_after_an_optimizer_was_made():
    net, other = model(), model()
    optimizer = SGD(net.parameters(), lr=0.5)
    net.load_state_dict(other.state_dict())
    assert_views(net.parameters(), optimizer.flat)
    for parameter in net.parameters():
        parameter.grad[...] = 1
    optimizer.step()
    for parameter, was in zip(net.parameters(), other.parameters(), strict=True):
        assert_close(parameter.data, was.data - 0.5, parameter.name, 1e-6)


@pytest.mark.parametrize("kind", ["data", "grad"])
def test_an_array_put_in_place_of_a_view_is_noticed(kind):
    """`self.W.grad = x.T @ dy` in a layer of one's own would train nothing, silently."""
    net = model()
    optimizer = SGD(net.parameters(), lr=0.5)
    parameter = net.layers[3].W
    setattr(parameter, kind, xp.ones_like(parameter.data))
    with pytest.raises(UserError) as caught:
        optimizer.step()
    assert_says(caught, "SGD", f"W.{kind} of shape (8, 3)", f"self.W.{kind}[...] = ...")


def test_flat_parameters_are_reused_only_for_exactly_the_same_parameters():
    parameters = model().parameters()
    flat = FlatParameters(parameters)
    for some, shared in ((list(reversed(parameters)), True), (parameters[:2], False)):
        again = FlatParameters(some)
        assert (again.data is flat.data, again.grad is flat.grad) == (shared, shared)


def test_training_lowers_the_loss():
    """The sign of every step: 30 steps on one batch, with every optimizer."""
    x, labels = on_device(tie_free((8, 3, 2, 1)).astype(np.float32)), np.arange(8) % 2
    for optimizer in (lambda p: SGD(p, lr=0.1), lambda p: Momentum(p, lr=0.02), lambda p: AdaGrad(p, lr=0.1),
                      lambda p: RMSProp(p, lr=0.02), lambda p: Adam(p, lr=0.02)):
        minidl.seed(0)
        net, loss = model(), SoftmaxCrossEntropy()
        step, losses = optimizer(net.parameters()), []
        for _ in range(30):
            losses.append(loss.forward(net.forward(x), labels))
            net.backward(loss.backward())
            step.step()
        assert losses[-1] < 0.7 * losses[0], f"{type(step).__name__}: {losses[0]:.3f} -> {losses[-1]:.3f}"


# ---------------------------------------------------------------------------------- states, clipping, decay, averages


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


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_resumed_from_its_state_goes_on_as_if_nothing_had_happened(name, tmp_path):
    make = OPTIMIZERS[name]
    whole = make(weights())
    run(whole, 0, 10)
    begun = make(weights())
    run(begun, 0, 5)
    begun.lr = begun.lr / 2  # as a schedule does
    np.savez(tmp_path / "state.npz", **begun.state_dict())
    resumed = make(weights())
    resumed.lr = 1  # an integer, whose type must not stick
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
    with pytest.raises(UserError, match="Adam remembers lr, m, s, t; the state holds lr, v"):
        adam.load_state_dict(state)
    state["v"] = state["v"][:3]
    with pytest.raises(ShapeError, match=r"v of Momentum has shape \(10,\), in the state \(3,\)"):
        momentum.load_state_dict(state)


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


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_leaves_the_gradients_alone(name, monkeypatch):
    """Of clipping and the penalty, too: a second step without a backward pass counts them once. Also in slices, of
    which one has both weights that decay and others."""
    monkeypatch.setattr(parallel, "SLICE_BYTES", 100)
    twice, again = OPTIMIZERS[name](weights()), OPTIMIZERS[name](weights())
    minidl.seed(7)
    gradients = [3 * draw_normal(parameter.data.shape) for parameter in twice.all_parameters]
    for optimizer in (twice, again):
        for parameter, gradient in zip(optimizer.all_parameters, gradients, strict=True):
            parameter.grad[...] = gradient
    for _ in range(3):
        for parameter, gradient in zip(again.all_parameters, gradients, strict=True):
            parameter.grad[...] = gradient
        again.step()
        twice.step()
        for parameter, gradient in zip(twice.all_parameters, gradients, strict=True):
            assert_same_bits(parameter.grad, gradient, f"{parameter.name}.grad after a step")
    for parameter, expected in zip(twice.all_parameters, again.all_parameters, strict=True):
        assert_same_bits(parameter.data, expected.data, f"{parameter.name} after three steps")


@pytest.mark.parametrize(("gradient", "after"), [(lambda w: w, -1.0), (lambda w: w[:], -1.0), (lambda w: 0, 0.0),
                                                 (lambda w: 3 * w, -3.0)])
def test_a_penalty_of_one_s_own_may_give_back_what_it_got(gradient, after):
    """w itself, or one number for all: neither is changed by the gradient that is added."""
    W, b = weights()
    W.data[...], b.data[...], W.grad[...], b.grad[...] = 1, 1, 1, 2
    penalty = L2(1.0)
    penalty.gradient = gradient
    SGD([W, b], lr=1, penalty=penalty).step()
    assert (W.data == after).all() and (b.data == -1).all(), "w - (1 + its penalty's gradient), b - 2"


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
    with pytest.raises(UserError, match="MovingAverage: another optimizer was made for some of these"):
        average.update()


# ------------------------------------------------------------------------------------------------------------- copies


def trained(net, optimizer, average=None):
    x = on_device(tie_free((4, 3, 2, 1)).astype(np.float32))
    for _ in range(2):
        net.backward(net.forward(x))
        optimizer.step()
        if average is not None:
            average.update()
    return net.state_dict()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda things: pickle.loads(pickle.dumps(things))],
                         ids=["deepcopy", "pickle"])
def test_model_and_optimizer_are_copied_together(name, copied):
    net = model()
    optimizer, average = OPTIMIZERS[name](net.parameters()), MovingAverage(net.parameters())
    trained(net, optimizer, average)
    other, second, second_average = copied((net, optimizer, average))
    before = net.state_dict()
    assert_views(other.parameters(), second.flat)
    assert second_average.flat.data is second.flat.data, "both work on the same vectors again"
    expected = trained(other, second, second_average)
    for key, array in net.state_dict().items():
        assert_same_bits(array, before[key], f"{key} of the original, while the copy trains")
    for key, array in trained(net, optimizer, average).items():
        assert_same_bits(array, expected[key], f"{key}: the copy goes on as the original does")
    assert_same_bits(average.average, second_average.average, "average")


def test_an_optimizer_is_not_copied_alone():
    net = model()
    for thing in (Adam(net.parameters()), MovingAverage(net.parameters())):
        with pytest.raises(UserError) as caught:
            copy.deepcopy(thing)
        assert_says(caught, f"{type(thing).__name__}: a copy of it alone trains no model",
                    "copy.deepcopy((model, optimizer))", "load_state_dict(optimizer.state_dict())")
    stale = Adam(net.parameters())
    net.build((3, 2, 1))
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(UserError, match="Adam: the layer of W was built a second time"):
            copied((stale.all_parameters, stale))


def test_a_model_is_copied_without_its_optimizer():
    net = model()
    optimizer = SGD(net.parameters(), lr=0.5)
    other = copy.deepcopy(net)
    owned = [array for parameter in other.parameters() for array in (parameter.data, parameter.grad)]
    assert all(array.base is None for array in owned), "copies of views own just their part"
    before = other.state_dict()
    trained(net, optimizer)
    for key, array in other.state_dict().items():
        assert_same_bits(array, before[key], f"{key} of the copy, while the original trains")
    second = SGD(other.parameters(), lr=0.5)
    second.load_state_dict(optimizer.state_dict())
    trained(other, second)
    assert_views(other.parameters(), second.flat)
    assert_views(net.parameters(), optimizer.flat)


@pytest.mark.parametrize(("name", "value", "parts"), [
    ("lr", np.nan, ["lr of Adam: expected a number of at least 0, got nan", "diverged", "damaged"]),
    ("lr", -0.1, ["lr of Adam: expected a number of at least 0, got -0.1"]),
    ("lr", np.inf, ["lr of Adam: expected a number of at least 0, got inf"]),
    ("lr", "0.1", ["lr of Adam: expected a number of at least 0, got 0.1"]),
    ("t", -1, ["t of Adam: expected an integer of at least 0, got -1"]),
    ("t", 1.5, ["t of Adam: expected an integer of at least 0, got 1.5"]),
    ("m", np.full(10, np.nan), ["m of Adam: expected finite numbers, got NaN, infinity"]),
    ("s", np.full(10, np.inf), ["s of Adam: expected finite numbers, got NaN, infinity"]),
    ("m", np.full(10, 1j), ["m of Adam: expected finite numbers, got NaN, infinity or no numbers"])])
def test_a_state_with_senseless_numbers_is_refused(name, value, parts):
    optimizer = Adam(weights())
    run(optimizer, 0, 3)
    before = optimizer.state_dict()
    other = {key: 2 * array if array.ndim else array for key, array in before.items()}
    with pytest.raises(UserError) as caught:
        optimizer.load_state_dict(other | {name: np.asarray(value)})
    assert_says(caught, *parts)
    for key, array in optimizer.state_dict().items():
        assert_same_bits(array, before[key], f"{key} after the refusal")
    optimizer.load_state_dict(other)


# ---------------------------------------------------------------------------------------------------------- schedules


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
