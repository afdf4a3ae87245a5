"""The checker is checked: right layers pass it, every planted mistake is caught, and most are named."""

import time
from collections import Counter

import numpy as np
import pytest
from cases import CASES, assert_same_bits, assert_says, tie_free
from mutants import MUTANTS, SUBJECTS, planted

import minidl
from minidl import Sequential, backend, models
from minidl.backend import draw_uniform
from minidl.core import Layer, Parameter
from minidl.errors import ShapeError, UserError
from minidl.gradcheck import Cause, assert_gradients, check_function, check_layer, check_loss, check_model
from minidl.layers import (
    GELU,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    ReLU,
    Sigmoid,
    Tanh,
)
from minidl.losses import SoftmaxCrossEntropy
from minidl.network import Container
from minidl.optimizers import SGD


def check(thing, x, **options):
    """Check a layer with the options, or a loss."""
    return check_layer(thing, x, **options) if isinstance(thing, Layer) else check_loss(thing, x)


# ----------------------------------------------------------------------------------------------------------- mutants

@pytest.fixture(scope="module")
def verdicts():
    """[(mutant, its Finding)]: every mutant checked once."""
    return [(mutant, check(planted(mutant), mutant.case.shape).finding(mutant.tensor)) for mutant in MUTANTS]


def test_the_table_of_mutants_is_large():
    assert len(MUTANTS) >= 212
    assert len(set(map(str, MUTANTS))) == len(MUTANTS), "the table has the same edit twice"
    assert len({type(mutant.case.make()).__name__ for mutant in MUTANTS}) >= 21
    listed = {"constant factor", "missing term", "extra term", "zero", "transposed", "flipped kernel", "border",
             "first image only", "shifted", "accumulated", "stale state", "activated value", "wrong dtype",
             "nan or inf", "wrong shape", "changed its argument", "changed weights"}
    assert listed <= {mutant.cause for mutant in MUTANTS}


@pytest.mark.parametrize(("mistake", "wrong"), [("one hundredth more", lambda dx: 1.01 * dx),
                                                ("nothing", lambda dx: 0 * dx), ("the wrong sign", lambda dx: -dx)])
def test_a_wrong_dx_is_caught_in_every_layer(mistake, wrong):
    """Also in those without rows in the table of mutants."""
    from minidl import layers
    for name in layers.__all__:
        case = next(case for case in CASES if type(case.make()).__name__ == name and case.mode == "train")
        layer, right = case.make(), getattr(layers, name).backward
        layer.__class__ = type(name, (type(layer),), {"backward": lambda self, dy, right=right: wrong(right(self, dy))})
        verdict = check_layer(layer, case.shape).finding("input").verdict
        assert verdict == "fail", f"{case.name}, dx has {mistake}: {verdict}"


def test_every_mutant_is_caught(verdicts):
    missed = [f"{mutant}: {finding.verdict}" for mutant, finding in verdicts if finding.verdict != "fail"]
    assert not missed, "\n".join(missed)
    assert all(finding.causes and all(cause.evidence for cause in finding.causes) for _, finding in verdicts)


def test_the_right_cause_is_named_first(verdicts):
    """The table of causes named against causes planted, which `pytest -s` prints."""
    named = Counter((mutant.cause, finding.causes[0].name) for mutant, finding in verdicts)
    right = sum(count for (planted_cause, name), count in named.items() if planted_cause == name)
    lines = [f"{'planted':22}{'first named':22}mutants"]
    lines += [f"{cause:22}{name:22}{count:4}{'' if cause == name else '   <-- another'}"
              for (cause, name), count in sorted(named.items())]
    lines.append(f"{right} of {len(verdicts)} named right: {right / len(verdicts):.1%}")
    print("\n" + "\n".join(lines))
    assert right >= 0.95 * len(verdicts), "\n".join(lines)


@pytest.mark.parametrize(("name", "new", "parts"), [
    ("batchnorm-4x5x3, gamma", "(dy * xhat).mean(axes)", ["40 times too small", "places in all output images", "mean"]),
    ("dense-7to5", "(x.T @ dy) / len(x)", ["3 times too small", "3 rows in the batch"]),
    ("dense-7to5", "x.T @ dy + 0.1 * self.W.data", ["0.1 times its own value", "weight decay"]),
    ("sigmoid-7", "dy * (lambda y: y * (1 - y))(1 / (1 + xp.exp(-y)))", ["f'(f(x)) in place of f'(x)"]),
    ("dense-6to6", "dy @ self.W.data", ["if W were transposed"]),
    ("batchnorm-5", "1 / std * (", ["factor 1 / gamma"]),
    ("batchnorm-5", "dy - dy.mean(axes)", ["variance term", "over the batch"]),
    ("maxpool-3x3-s2x2-p1", "dx[:, 0] = 0; return dx", ["within 1 of the border (top)"]),
    ("softmaxcrossentropy-5x3", "(p - target) / p.size", ["3 times too small", "3 features"]),
    ("dense-7to5", "(dy @ self.W.data.T) / 0", ["21 of 21", "first at [0, 0]", "divided by zero"]),
])
def test_the_evidence_says_what_a_student_can_use(name, new, parts, verdicts):
    finding = next(finding for mutant, finding in verdicts
                   if str(mutant).startswith(name) and mutant.new.endswith(new))
    missing = [part for part in parts if part not in finding.causes[0].evidence]
    assert not missing, f"{missing} not in: {finding.causes[0]}"


# ------------------------------------------------------------------------------------------------------- right layers

def right(subject, seed):
    """A right layer with weights and an input of its own for each seed."""
    draw = np.random.default_rng(seed)
    with minidl.precision("float64"):
        minidl.seed(seed)
        layer = subject.make()
        if isinstance(layer, Layer):
            layer.build(subject.shape[1:])
            for parameter in layer.parameters():
                parameter.data += 0.2 * draw.standard_normal(parameter.data.shape)
    return layer, draw.standard_normal(subject.shape) * draw.choice([0.3, 1, 3])


def false_alarms(seeds, largest):
    alarms = []
    for subject in SUBJECTS:
        for seed in seeds:
            report = check(*right(subject, seed), largest=largest)
            if not report.passed:
                alarms.append(f"seed {seed}, {report}")
    return alarms


def test_no_false_alarm_over_ten_seeds():
    alarms = false_alarms(range(10), largest=25)
    assert not alarms, alarms[0]


@pytest.mark.slow
def test_no_false_alarm_over_200_seeds():
    alarms = false_alarms(range(200), largest=25)
    assert not alarms, f"{len(alarms)} alarms, such as\n{alarms[0]}"


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.mode == "train"], ids=lambda case: case.name)
def test_no_false_alarm_over_the_shape_table_and_200_seeds(case):
    passed = 0
    for seed in range(200):
        layer, draw = case.layer(), np.random.default_rng(seed)
        for parameter in layer.parameters():
            parameter.data += 0.3 * draw.standard_normal(parameter.data.shape)
        report = check_layer(layer, draw.standard_normal(case.shape), largest=10)
        assert report.verdict != "fail", f"seed {seed}: {report}"
        passed += report.passed
    assert passed >= 190, f"{200 - passed} inconclusive"  # a network whose last ReLUs are all off tells nothing


@pytest.mark.parametrize("case", [case for case in CASES if case.mode == "train"], ids=lambda case: case.name)
def test_right_layers_agree_to_seven_digits(case):
    """Away from kinks the relative error stays below 1e-7."""
    report = check_layer(case.layer(), case.x(), largest=50)
    assert report.passed, str(report)
    assert max(finding.max_relative_error for finding in report.findings) < 1e-7, str(report)
    assert not any(finding.kinks for finding in report.findings)


def test_small_elements_beside_large_ones_count():
    """An error of a hundredth of a per cent in a gradient 200 times smaller than the largest."""
    class Wrong(Dense):
        def backward(self, dy):
            dx = super().backward(dy)
            self.W.grad[1] *= 1.0001
            return dx
    report = check_layer(Wrong(1, bias=False), tie_free((5, 2)) * [1, 0.005])
    assert [finding.verdict for finding in report.findings] == ["pass", "fail"], str(report)
    assert report.findings[1].index == (1, 0)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_step_follows_the_size_of_the_input(scale):
    report = check_layer(Dense(4), scale * tie_free((5, 3)))
    assert report.passed, str(report)


def test_gradients_that_vanish_on_their_way_down_are_not_taken_for_wrong():
    deep = [part for _ in range(6) for part in (Dense(5, "normal:0.01"), Sigmoid())]
    report = check_layer(Sequential([*deep, Dense(2)]), tie_free((4, 6)))
    assert not any(finding.verdict == "fail" for finding in report.findings), str(report)


def test_a_parameter_that_is_a_single_number():
    class Scale(Layer):
        def build(self, input_shape):
            self.a = Parameter(minidl.asarray(np.array(2.0)), "a")
            return super().build(input_shape)

        def forward(self, x):
            self.saved = x
            return self.a.data * x

        def backward(self, dy):
            self.a.grad[...] = (self.saved * dy).sum()
            return self.a.data * dy
    report = check_layer(Scale(), (4, 3, 2))
    assert report.passed, str(report)
    assert [finding.tensor for finding in report.findings] == ["input", "a"]


def test_a_forward_pass_that_returns_a_view_of_x():
    class Reversed(Layer):
        def forward(self, x):
            return x[:, ::-1]

        def backward(self, dy):
            return dy
    finding = check_layer(Reversed(), (4, 3)).finding("input")
    assert finding.causes[0].name in ("flipped", "derivative missing")


FOR_IMAGES = {type(case.make()): case for case in reversed(CASES) if len(case.shape) == 4}     # the first of each kind


@pytest.mark.parametrize("case", [case for kind, case in FOR_IMAGES.items() if not issubclass(kind, Container)],
                         ids=lambda case: case.name)
def test_class_size(case):
    """The size of the exercises, all elements; `pytest -s` prints how long it takes."""
    layer, start = case.make(), time.perf_counter()
    report = check_layer(layer, (8, 5, 6, 3))
    print(f"  {layer!r} on (8, 5, 6, 3): {time.perf_counter() - start:.2f} s")
    assert report.passed, str(report)
    assert all(finding.checked == finding.size for finding in report.findings)


def test_the_slope_of_an_approximation_is_found():
    """The textbook mix-up: GELU forward by erf, backward by the tanh formula."""
    class Approximate(GELU):
        def backward(self, dy):
            x, _ = self.saved
            t = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
            return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x * x))
    assert check_layer(Approximate(), (4, 9)).finding("input").verdict == "fail"


# --------------------------------------------------------------------------------------------- neither right nor wrong

def test_a_batch_of_one_tells_nothing_about_batchnorm():
    report = check_layer(BatchNorm(), (1, 7))
    assert report.verdict == "inconclusive"
    assert not report.passed
    assert "take two or more" in report.finding("input").reason
    assert "cannot tell" in str(report)


def test_all_gradients_zero_is_no_pass():
    report = check_layer(ReLU(), -np.ones((3, 4)) - np.arange(4))
    assert report.verdict == "inconclusive"
    assert "all its gradients are zero" in report.finding("input").reason


def test_inputs_on_kinks_are_counted_and_set_aside():
    x = np.array([[0.0, 1, -1], [2, 0, 3]])
    finding = check_layer(ReLU(), x).finding("input")
    assert (finding.verdict, finding.kinks, finding.checked) == ("pass", 2, 4)
    assert "2 on a kink" in str(finding)
    ties = tie_free((2, 4, 4, 1))
    ties[0, 0, 0] = ties[0, 0, 1] = 9
    finding = check_layer(MaxPool2D(2), ties).finding("input")
    assert (finding.verdict, finding.kinks) == ("pass", 2)


def test_nothing_but_kinks_is_inconclusive():
    report = check_layer(ReLU(), np.zeros((3, 4)))
    assert report.verdict == "inconclusive"
    assert "kink" in report.finding("input").reason


def test_a_wrong_gradient_beside_kinks_still_fails():
    class Wrong(ReLU):
        def backward(self, dy):
            return 2 * super().backward(dy)
    finding = check_layer(Wrong(), np.array([[0.0, 1, -1], [2, 0, 3]])).finding("input")
    assert (finding.verdict, finding.causes[0].name) == ("fail", "constant factor")


def test_a_forward_pass_that_cannot_be_held_still_is_inconclusive():
    class Noisy(ReLU):
        generator = np.random.default_rng(0)   # on the class, where the check cannot see it

        def forward(self, x):
            return super().forward(x) + self.generator.standard_normal(x.shape)
    report = check_layer(Noisy(), (3, 4))
    assert report.verdict == "inconclusive"
    assert "different outputs for the same input" in str(report)


@pytest.mark.parametrize("draw", ["minidl", "numpy", "own"])
def test_random_layers_are_held_still(draw):
    class Drop(Layer):
        def __init__(self):
            self.own = np.random.default_rng(0)

        def forward(self, x):
            draws = {"minidl": lambda: draw_uniform(x.shape), "numpy": lambda: np.random.rand(*x.shape),
                     "own": lambda: self.own.random(x.shape)}[draw]()
            self.saved = draws > 0.4
            return x * self.saved

        def backward(self, dy):
            return dy * self.saved
    assert check_layer(Drop(), (4, 5)).passed


def test_a_float32_forward_pass_is_named():
    class Coarse(ReLU):
        def forward(self, x):
            return super().forward(x).astype("float32")
    finding = check_layer(Coarse(), (3, 4)).finding("input")
    assert (finding.verdict, finding.causes[0].name) == ("fail", "wrong dtype")


def test_a_forward_pass_that_gives_nan_is_a_plain_error():
    class Nan(ReLU):
        def forward(self, x):
            return super().forward(x) / 0
    with pytest.raises(UserError) as caught:
        check_layer(Nan(), (3, 4))
    assert_says(caught, "the forward pass gives nan or inf", "Mend that first")


# -------------------------------------------------------------------------------------------- nothing is left changed

def test_the_check_leaves_everything_as_it_was():
    model = Sequential([Conv2D(3, 2), BatchNorm(), ReLU(), Flatten(), Dropout(0.3), Dense(4)], input_shape=(4, 5, 2))
    optimizer = SGD(model.parameters(), lr=0.1)
    model.forward(backend.draw_normal((3, 4, 5, 2)))
    model.eval()
    before = model.state_dict()
    gradients = [parameter.grad.copy() for parameter in model.parameters()]
    x = backend.draw_normal((3, 4, 5, 2))
    kept = x.copy()
    state, legacy = backend.random_state(), np.random.get_state()[1].copy()
    assert check_model(model, x).passed
    assert_same_bits(x, kept, "x")
    for name, array in model.state_dict().items():
        assert_same_bits(array, before[name], name)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert_same_bits(parameter.grad, gradient, parameter.name)
    assert not any(layer.training or layer.keeping for layer in model.walk())
    assert backend.random_state() == state
    assert np.array_equal(np.random.get_state()[1], legacy)
    assert backend.float_type() is np.float32
    optimizer.step()


def test_an_unbuilt_layer_stays_unbuilt():
    layer = Dense(3)
    assert check_layer(layer, (4, 5)).passed
    assert layer.input_shape is None


def test_precision_and_random_numbers_come_back_after_an_error():
    state = backend.random_state()
    with pytest.raises(UserError):
        check_layer(Dense(3), (4, 5, 6))
    assert backend.float_type() is np.float32
    assert backend.random_state() == state


# ------------------------------------------------------------------------------------------- everything it can check

def test_losses():
    scores = np.random.default_rng(0).standard_normal((5, 4))
    assert check_loss(SoftmaxCrossEntropy(), scores, np.array([0, 1, 2, 3, 3])).passed
    report = check_loss(SoftmaxCrossEntropy(), (5, 4))
    assert report.passed
    assert [finding.tensor for finding in report.findings] == ["input"]

    class SquaredError:
        def forward(self, scores, target):
            assert scores.shape == target.shape
            self.difference = scores - target
            return (self.difference**2).mean()

        def backward(self):
            return self.difference / len(self.difference)
    finding = check_loss(SquaredError(), (6, 3)).finding("input")
    assert finding.causes[0].name == "constant factor"
    assert "1.5 times too large" in finding.causes[0].evidence


@pytest.mark.slow
def test_the_ten_layer_net_passes():
    start = time.perf_counter()
    report = check_model(models.build("ten_layer_net"), (2, 32, 32, 3))
    print(f"  ten layers on (2, 32, 32, 3): {time.perf_counter() - start:.1f} s")
    assert report.passed, str(report)
    assert not any(finding.verdict == "fail" for finding in report.findings)


def test_models():
    model = Sequential([Conv2D(3, 3, padding=1), BatchNorm(), ReLU(), MaxPool2D(2), Flatten(), Dense(4)])
    report = check_model(model, (3, 6, 8, 2))
    assert report.passed, str(report)
    assert [finding.tensor for finding in report.findings] == [
        "input", "conv2d_1.W", "conv2d_1.b", "batchnorm_1.gamma", "batchnorm_1.beta", "dense_1.W", "dense_1.b"]
    assert report.finding("dense_1.W").checked < report.finding("dense_1.W").size
    assert "elements, drawn at random" in str(report)


def test_a_wrong_layer_deep_inside_a_model_is_found():
    class Wrong(Dense):
        def backward(self, dy):
            dx = super().backward(dy)
            self.W.grad[...] *= 2
            return dx
    model = Sequential([Dense(5), Tanh(), Sequential([Wrong(6), Sigmoid()]), Dense(3)])
    report = check_model(model, (4, 7))
    failed = [finding.tensor for finding in report.findings if finding.verdict == "fail"]
    assert failed == ["sequential_1.wrong_1.W"]
    assert report.finding(failed[0]).causes[0].name == "constant factor"


def affine(x, W, b):
    return x @ W + b


def test_functions_that_use_nothing_of_minidl():
    draw = np.random.default_rng(0)
    params = {"W": draw.standard_normal((4, 3)), "b": draw.standard_normal(3)}
    x = draw.standard_normal((5, 4))
    report = check_function(affine, lambda dy, x, W, b: (dy @ W.T, x.T @ dy, dy.sum(axis=0)), x, params)
    assert report.passed
    assert [finding.tensor for finding in report.findings] == ["input", "W", "b"]
    assert "affine" in str(report)
    report = check_function(affine, lambda dy, x, W, b: (dy @ W.T, {"W": x.T @ dy, "b": dy.mean(axis=0)}), x, params)
    assert report.finding("W").verdict == "pass"
    assert report.finding("b").causes[0].name == "constant factor"
    report = check_function(affine, lambda dy, x, W, b: (dy @ W.T, x.T @ dy, dy.sum(axis=0)), x, list(params.values()))
    assert report.passed
    assert check_function(np.sin, lambda dy, x: dy * np.cos(x), (3, 4)).passed
    assert check_function(np.sin, lambda dy, x: dy * np.cos(np.sin(x)), (3, 4)).finding("input").causes[0].name == \
        "activated value"


def test_functions_that_return_the_wrong_number_of_gradients():
    with pytest.raises(UserError) as caught:
        check_function(affine, lambda dy, x, W, b: (dy @ W.T, x.T @ dy), (5, 4),
                       {"W": np.ones((4, 3)), "b": np.ones(3)})
    assert_says(caught, "1 gradients after dx", "W, b")
    with pytest.raises(UserError) as caught:
        check_function(np.sin, lambda dy, x: None, (3, 4))
    assert_says(caught, "backward returned nothing", "return dx")


class Affine:
    """A layer as textbooks write it, which knows nothing of minidl."""

    def __init__(self, D, units, scale=1.0):
        self.W, self.b, self.scale = np.random.randn(D, units).astype("float32"), np.zeros(units), scale

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, self.scale * dout.sum(axis=0)
        return dout @ self.W.T


def test_plain_objects_with_attributes():
    report = check_layer(Affine(4, 3), (5, 4))
    assert report.passed
    assert [finding.tensor for finding in report.findings] == ["input", "W", "b"]
    assert check_layer(Affine(4, 3, 1 / 5), (5, 4)).finding("b").causes[0].name == "constant factor"


def test_plain_objects_in_evaluation_mode():
    class Half:
        training = True

        def forward(self, x):
            return x if self.training else x / 2

        def backward(self, dy):
            return dy
    finding = check_layer(Half(), (3, 4)).finding("input")
    assert (finding.verdict, finding.mode) == ("fail", "evaluation")
    assert "in evaluation mode" in str(finding)


# ---------------------------------------------------------------------------------------- a bug must not stop the check

class Broken(Layer):
    def build(self, input_shape):
        self.W = Parameter(np.ones(input_shape), "W")
        return super().build(input_shape)

    def forward(self, x):
        self.saved = x
        return x * self.W.data


BROKEN = {
    "returns nothing": (lambda self, dy: None, ["Broken()", "backward returned nothing", "(3, 4)", "return dx"]),
    "raises": (lambda self, dy: dy @ dy, ["backward pass stopped with ValueError", "test_gradcheck.py, line"]),
    "a name": (lambda self, dy: undefined, ["NameError: name 'undefined'", "test_gradcheck.py"]),  # noqa: F821
    "divides integers": (lambda self, dy: 1 // 0, ["ZeroDivisionError"]),
    "a text": (lambda self, dy: "dx", ["backward gave, for input,", "array of real numbers"]),
    "a ragged list": (lambda self, dy: [[1, 2], [3]], ["backward gave, for input,", "a list"]),
    "complex numbers": (lambda self, dy: dy * 1j, ["complex128"]),
    "recursion": (lambda self, dy: self.backward(dy), ["RecursionError"]),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_an_exception_in_backward_becomes_one_sentence(kind):
    backward, parts = BROKEN[kind]
    broken = type("Broken", (Broken,), {"backward": backward})
    with pytest.raises(UserError) as caught:
        check_layer(broken(), (3, 4))
    assert_says(caught, *parts)
    assert "\n" not in str(caught.value)


def test_exceptions_elsewhere_become_one_sentence():
    def stop(self, *_):
        raise KeyError("W")
    for method in ("build", "forward", "__deepcopy__"):
        with pytest.raises(UserError) as caught:
            check_layer(type("Broken", (Broken,), {method: stop})(), (3, 4))
        assert_says(caught, "Broken()", "KeyError", "test_gradcheck.py")


@pytest.mark.parametrize(("backward", "cause"), [
    (lambda self, dy: setattr(self.W, "grad", None) or dy * self.W.data, "no gradient"),
    (lambda self, dy: setattr(self.W, "grad", 3.0) or dy * self.W.data, "wrong shape"),
    (lambda self, dy: setattr(self.W, "grad", [1.0, 2]) or dy * self.W.data, "wrong shape"),
    (lambda self, dy: setattr(self.W, "data", 2 * self.W.data) or dy * self.W.data, "changed weights"),
])
def test_strange_gradients_are_findings(backward, cause):
    report = check_layer(type("Broken", (Broken,), {"backward": backward})(), (3, 4))
    assert report.finding("W").verdict == "fail"
    assert report.finding("W").causes[0].name == cause


def test_weights_changed_in_forward():
    class Moving(Broken):
        def forward(self, x):
            self.W.data *= 0.9
            return super().forward(x)

        def backward(self, dy):
            return dy * self.W.data
    finding = check_layer(Moving(), (3, 4)).finding("W")
    assert (finding.verdict, finding.causes[0].name) == ("fail", "changed weights")
    assert "forward pass" in finding.causes[0].evidence


def test_wrong_use_is_refused_in_one_sentence():
    for call, parts in ((lambda: check_layer(Dense, (3, 4)), ["Make one: Dense(...)"]),
                        (lambda: check_layer(3, (3, 4)), ["forward and backward", "got 3"]),
                        (lambda: check_layer(ReLU(), ()), ["needs a batch axis"]),
                        (lambda: check_layer(ReLU(), (3, 0)), ["no axis of size 0"]),
                        (lambda: check_layer(ReLU(), "abc"), ["expected an array of numbers"]),
                        (lambda: check_loss(SoftmaxCrossEntropy, (3, 4)), ["SoftmaxCrossEntropy(...)"])):
        with pytest.raises((UserError, ShapeError)) as caught:
            call()
        assert_says(caught, *parts)


# ------------------------------------------------------------------------------------------------- what a student reads

def wrong_dense():
    return planted(next(mutant for mutant in MUTANTS if mutant.new == "(x.T @ dy) / len(x)"))


def test_what_a_student_reads():
    report = check_layer(wrong_dense(), (3, 7))
    finding = report.finding("W")
    assert (report.verdict, report.passed, finding.verdict) == ("fail", False, "fail")
    assert finding.explicit == pytest.approx(finding.numeric / 3)
    assert len(finding.index) == 2
    text = str(report)
    for part in ("WRONG for W", "likely cause", "constant factor", f"W[{finding.index[0]}, {finding.index[1]}]",
                 f"{finding.explicit:.8g}", f"{finding.numeric:.8g}", "pass          input"):
        assert part in text, f"{part!r} is missing in\n{text}"


def test_the_worst_element_is_named_with_both_values():
    class Wrong(Dense):
        def backward(self, dy):
            dx = super().backward(dy)
            self.W.grad[2, 1] += 3
            return dx
    finding = check_layer(Wrong(4), (5, 3)).finding("W")
    assert (finding.index, finding.checked, finding.size) == ((2, 1), 12, 12)
    assert finding.explicit - finding.numeric == pytest.approx(3)
    assert finding.max_relative_error == pytest.approx(3 / max(abs(finding.explicit), abs(finding.numeric)))


def test_the_same_check_twice_says_the_same():
    texts = []
    for seed in (1, 2):
        minidl.seed(seed)
        texts.append(str(check_layer(Sequential([Dense(4), Dropout(0.5)]), (5, 3))))
    assert texts[0] == texts[1]


def test_a_right_layer_in_words():
    text = str(check_layer(Dense(3), (4, 7)))
    assert text.splitlines()[0] == "gradient check of Dense(3): the backward pass agrees with the measured slopes"
    assert len(text.splitlines()) == 4
    assert str(Cause("zero", "it is zero")) == "zero: it is zero"


def test_assert_gradients_fails_with_the_diagnosis():
    assert_gradients(Dense(3), (4, 7))
    with pytest.raises(AssertionError) as caught:
        assert_gradients(wrong_dense(), (3, 7))
    assert_says(caught, "WRONG for W", "3 rows in the batch")


@pytest.mark.parametrize("make", [lambda: (wrong_dense(), (4, 7)), lambda: (Conv2D(2, 2), (2, 4, 3, 2)),
                                  lambda: (Flatten(), (2, 3, 2))])
def test_the_picture(make, tmp_path):
    import matplotlib.pyplot as plt
    report = check_layer(*make())
    figure = report.plot()
    assert len([axes for axes in figure.axes if axes.get_title().startswith(
        tuple(finding.tensor for finding in report.findings))]) == len(report.findings)
    figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000
    plt.close(figure)


def test_the_picture_of_a_report_without_numbers():
    import matplotlib.pyplot as plt

    class Shapeless(ReLU):
        def backward(self, dy):
            return super().backward(dy)[:1]
    figure = check_layer(Shapeless(), (3, 4)).plot()
    assert "wrong shape" in figure.axes[0].get_title() + "".join(text.get_text() for text in figure.axes[0].texts)
    plt.close(figure)
