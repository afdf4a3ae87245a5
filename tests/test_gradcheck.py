"""The checker is checked: right layers pass it, and every planted bug is caught and named."""

import numpy as np
import pytest
from cases import CASES, assert_same_bits, assert_says, tie_free

import minidl
from minidl import Sequential
from minidl.core import Layer, Parameter
from minidl.errors import ShapeError, UserError
from minidl.gradcheck import check_layer, check_model
from minidl.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, MaxPool2D, ReLU, Sigmoid, Tanh
from minidl.optimizers import SGD

# ------------------------------------------------------------------------------------------------------- planted bugs


def planted(kind, **methods):
    """A subclass of the layer whose methods hold a bug; `super_` is the right layer."""
    return type(kind.__name__, (kind,), methods)


def after_backward(change):
    """backward, and then something done to its gradients: change(layer, x, dy, dx) -> dx."""
    def backward(self, dy):
        saved = self.saved
        dx = super(type(self), self).backward(dy)
        result = change(self, saved, dy, dx)
        return dx if result is None else result
    return backward


def scale_grad(name, factor):
    def change(layer, saved, dy, dx):
        getattr(layer, name).grad[...] *= factor(dy) if callable(factor) else factor
    return after_backward(change)


def normalised(batchnorm):
    """xhat, std and the axes of the batch, from what BatchNorm keeps for backward."""
    x, mean, std, _ = batchnorm.saved
    return (x - mean) / std, std, tuple(range(x.ndim - 1))


def batchnorm_without(*dropped):
    def backward(self, dy):
        xhat, std, axes = normalised(self)
        self.beta.grad[...] = dy.sum(axes)
        self.gamma.grad[...] = (dy * xhat).sum(axes)
        mean = 0 if "mean" in dropped else dy.mean(axes)
        spread = 0 if "spread" in dropped else xhat * (dy * xhat).mean(axes)
        return self.gamma.data / std * (dy - mean - spread)
    return backward


def batchnorm_over_the_batch_alone(self, dy):
    xhat, std, axes = normalised(self)
    self.beta.grad[...] = dy.sum(axes)
    self.gamma.grad[...] = (dy * xhat).sum(axes)
    return self.gamma.data / std * (dy - dy.mean(0) - xhat * (dy * xhat).mean(0))


def conv_shifted(self, dy):
    dx = Conv2D.backward(self, dy)
    return np.roll(dx, 1, axis=1)


def conv_flipped_window(self, dy):
    dx = Conv2D.backward(self, dy)
    kernel = self.W.data.copy()
    self.W.data[...] = kernel[::-1, ::-1]
    dx[...] = Conv2D.backward(self, dy)
    self.W.data[...] = kernel
    return dx


def maxpool_to_all_equal_share(self, dy):
    """The gradient of average pooling."""
    x, y = self.saved
    dx = np.zeros_like(x)
    for pixels in self.windows.offsets(dx):
        pixels += dy / 4
    return dx


def maxpool_overwrites(self, dy):
    """`=` instead of `+=` where windows overlap."""
    x, y = self.saved
    dx = np.zeros_like(x)
    for pixel, dpixel in zip(self.windows.offsets(x), self.windows.offsets(dx), strict=True):
        dpixel[...] = np.where(pixel == y, dy, dpixel)
    return dx


BUGS = {
    "dense: dx of the wrong sign": (planted(Dense, backward=after_backward(lambda s, x, dy, dx: -dx))(5), (4, 3),
                                    {"input"}),
    "dense: mean instead of sum in db": (planted(Dense, backward=scale_grad("b", lambda dy: 1 / len(dy)))(5), (4, 3),
                                         {"b"}),
    "dense: dW divided by the batch": (planted(Dense, backward=scale_grad("W", lambda dy: 1 / len(dy)))(5), (4, 3),
                                       {"W"}),
    "dense: dW off by a millionth in one element": (planted(Dense, backward=after_backward(
        lambda s, x, dy, dx: s.W.grad.__setitem__((2, 4), s.W.grad[2, 4] * (1 + 1e-5))))(5), (4, 3), {"W"}),
    "dense: db added up": (planted(Dense, backward=lambda s, dy: (
        s.W.grad.__setitem__(..., s.saved.T @ dy), s.b.grad.__iadd__(dy.sum(0)), dy @ s.W.data.T)[-1])(5), (4, 3),
        {"b"}),
    "dense: db forgotten": (planted(Dense, backward=lambda s, dy: (
        s.W.grad.__setitem__(..., s.saved.T @ dy), dy @ s.W.data.T)[-1])(5), (4, 3), {"b"}),
    "dense: the gradient is not a number": (planted(Dense, backward=scale_grad("W", np.nan))(5), (4, 3), {"W"}),
    "conv: dx one row too low": (planted(Conv2D, backward=conv_shifted)(2, 3, padding=1), (3, 5, 4, 2), {"input"}),
    "conv: the window flipped": (planted(Conv2D, backward=conv_flipped_window)(2, (2, 3)), (3, 5, 4, 2), {"input"}),
    "conv: db of the first image only": (planted(Conv2D, backward=after_backward(
        lambda s, x, dy, dx: s.b.grad.__setitem__(..., dy[0].sum((0, 1)))))(2, 3), (3, 5, 4, 2), {"b"}),
    "conv: dW with height and width swapped": (planted(Conv2D, backward=after_backward(
        lambda s, x, dy, dx: s.W.grad.__setitem__(..., s.W.grad.swapaxes(0, 1).copy())))(2, 3), (3, 5, 4, 2), {"W"}),
    "relu: lets everything through": (planted(ReLU, backward=lambda s, dy: dy + 0)(), (4, 3), {"input"}),
    "relu: the other half": (planted(ReLU, backward=lambda s, dy: dy * (s.saved <= 0))(), (4, 3), {"input"}),
    "sigmoid: y instead of y (1 - y)": (planted(Sigmoid, backward=lambda s, dy: dy * s.saved)(), (4, 3), {"input"}),
    "sigmoid: 1 - y²": (planted(Sigmoid, backward=lambda s, dy: dy * (1 - s.saved**2))(), (4, 3), {"input"}),
    "tanh: 1 - y": (planted(Tanh, backward=lambda s, dy: dy * (1 - s.saved))(), (4, 3), {"input"}),
    "batchnorm: mean forgotten": (planted(BatchNorm, backward=batchnorm_without("mean"))(), (6, 3), {"input"}),
    "batchnorm: spread forgotten": (planted(BatchNorm, backward=batchnorm_without("spread"))(), (6, 3), {"input"}),
    "batchnorm: statistics taken for constants": (planted(BatchNorm, backward=batchnorm_without("mean", "spread"))(),
                                                  (6, 3), {"input"}),
    "batchnorm: averages over the batch alone": (planted(BatchNorm, backward=batchnorm_over_the_batch_alone)(),
                                                 (4, 3, 2, 5), {"input"}),
    "batchnorm: x instead of xhat in dgamma": (planted(BatchNorm, backward=after_backward(
        lambda s, kept, dy, dx: s.gamma.grad.__setitem__(..., (dy * kept[0]).sum(0))))(), (6, 3), {"gamma"}),
    "batchnorm: dgamma and dbeta swapped": (planted(BatchNorm, backward=after_backward(
        lambda s, kept, dy, dx: (s.gamma.grad.__setitem__(..., dy.sum(0)),
                                 s.beta.grad.__setitem__(..., (dy * (kept[0] - kept[1]) / kept[2]).sum(0)),
                                 None)[-1]))(),
        (6, 3), {"gamma", "beta"}),
    "dropout: no mask": (planted(Dropout, backward=lambda s, dy: dy + 0)(0.5), (6, 5), {"input"}),
    "dropout: mask without its scale": (planted(Dropout, backward=lambda s, dy: dy * (s.saved > 0))(0.5), (6, 5),
                                        {"input"}),
    "maxpool: shared among all pixels": (planted(MaxPool2D, backward=maxpool_to_all_equal_share)(2), (3, 4, 6, 2),
                                         {"input"}),
    "maxpool: overwritten where windows overlap": (planted(MaxPool2D, backward=maxpool_overwrites)(2, stride=1),
                                                   (3, 4, 5, 2), {"input"}),
    "flatten: columns first": (planted(Flatten, backward=lambda s, dy: dy.reshape(
        (len(dy), *s.input_shape), order="F"))(), (3, 4, 5, 2), {"input"}),
    "sequential: a layer left out": (planted(Sequential, backward=lambda s, dy: s.layers[0].backward(dy))(
        [Dense(4), ReLU()]), (5, 3), {"input", "dense_1.W", "dense_1.b"}),
}


@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_are_caught_and_named(bug):
    layer, shape, wrong = BUGS[bug]
    report = check_layer(layer, tie_free(shape))
    assert not report.passed
    failed = {finding.tensor for finding in report.findings if finding.verdict == "fail"}
    assert failed == wrong, str(report)
    text = str(report)
    assert "the backward pass is WRONG for: " in text.splitlines()[0]
    assert repr(layer) in text.splitlines()[0]
    for name in wrong:
        assert any(line.startswith(f"fail  {name}") and "explicit" in line and "numeric" in line
                   for line in text.splitlines())


@pytest.mark.parametrize("bug", [bug for bug in BUGS if "sequential" not in bug])
def test_planted_bugs_are_caught_inside_a_model(bug):
    layer, shape, wrong = BUGS[bug]
    report = check_model(Sequential([Sequential([layer]), Tanh()]), tie_free(shape), largest=10**6)
    failed = {finding.tensor for finding in report.findings if finding.verdict == "fail"}
    prefix = f"sequential_1.{layer.name}."
    assert failed == {name if name == "input" else prefix + name for name in wrong}, str(report)


def test_the_worst_element_is_named_with_both_values():
    layer = planted(Dense, backward=after_backward(
        lambda s, x, dy, dx: s.W.grad.__setitem__((2, 1), s.W.grad[2, 1] + 3)))(4, "zeros")
    x = tie_free((5, 3))
    report = check_layer(layer, x)
    good, bad, _ = report.findings
    assert (good.tensor, good.verdict, good.checked, good.size) == ("input", "pass", 15, 15)
    assert (bad.tensor, bad.verdict, bad.index, bad.checked, bad.size) == ("W", "fail", (2, 1), 12, 12)
    assert abs(bad.explicit - bad.numeric - 3) < 1e-6
    assert abs(bad.max_relative_error - 3 / max(abs(bad.explicit), abs(bad.numeric))) < 1e-6
    assert f"W[2, 1] explicit {bad.explicit:.8g}, numeric {bad.numeric:.8g}" in str(report)


def test_small_elements_beside_large_ones_count():
    """An error of a hundredth of a per cent in a gradient 200 times smaller than the largest."""
    layer = planted(Dense, backward=after_backward(
        lambda s, x, dy, dx: s.W.grad.__setitem__(1, s.W.grad[1] * 1.0001)))(1, bias=False)
    report = check_layer(layer, tie_free((5, 2)) * [1, 0.005])
    assert [finding.verdict for finding in report.findings] == ["pass", "fail"], str(report)
    assert report.findings[1].index == (1, 0)
    assert abs(report.findings[1].max_relative_error - 1e-4) < 1e-6


def test_a_gradient_that_is_no_number_is_infinitely_wrong():
    finding = check_layer(*BUGS["dense: the gradient is not a number"][:2]).findings[1]
    assert (finding.tensor, finding.verdict, finding.max_relative_error) == ("W", "fail", float("inf"))


def test_backward_that_returns_another_shape():
    for result in (lambda dy: dy[:1], lambda dy: None, lambda dy: 0.0):
        layer = planted(ReLU, backward=lambda s, dy, result=result: result(dy))()
        with pytest.raises(ShapeError) as caught:
            check_layer(layer, (4, 3))
        assert_says(caught, "ReLU()", "expected the gradient of the input, of shape (4, 3)")


def test_a_backward_that_overwrites_dy():
    def backward(self, dy):
        dy[self.saved <= 0] = 0   # right numbers, but they belong to another layer too
        return dy

    with pytest.raises(UserError) as caught:
        check_layer(planted(ReLU, backward=backward)(), (4, 3))
    assert_says(caught, "ReLU()", "changed dy", "Work on a copy")


def test_a_forward_that_overwrites_x():
    def forward(self, x):
        x[x < 0] = 0
        self.saved = x
        return x

    with pytest.raises(UserError) as caught:
        check_layer(planted(ReLU, forward=forward)(), (4, 3))
    assert_says(caught, "ReLU()", "changed its input x", "Work on a copy")


def test_a_backward_that_puts_a_new_array_in_place_of_grad():
    def backward(self, dy):
        self.W.grad = self.saved.T @ dy
        self.b.grad[...] = dy.sum(axis=0)
        return dy @ self.W.data.T

    with pytest.raises(UserError) as caught:
        check_layer(planted(Dense, backward=backward)(5), (4, 3))
    assert_says(caught, "Dense(5)", "in place of W.grad", "self.W.grad[...] = ...")


@pytest.mark.parametrize("thing", [Dense, "dense", None])
def test_something_that_is_no_layer(thing):
    with pytest.raises(UserError) as caught:
        check_layer(thing, (4, 3))
    assert_says(caught, "check_layer: expected a layer", repr(thing))
    if thing is Dense:
        assert_says(caught, "Write the brackets")


# ------------------------------------------------------------------------------------------------------- right layers


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("case", [case for case in CASES if case.mode == "train"], ids=lambda case: case.name)
def test_right_layers_pass(case, seed):
    """A new layer, other weights, other inputs: no false alarm."""
    minidl.seed(seed)
    report = check_layer(case.make(), 0.5 * tie_free(case.shape, seed + 30) + 0.001, largest=15)
    assert report.passed, str(report)
    assert "the backward pass agrees with the measured slopes" in str(report)


def test_a_shape_stands_for_a_random_input():
    report = check_layer(Dense(5), (4, 3))
    assert report.passed
    assert [finding.size for finding in report.findings] == [12, 15, 5]


def test_large_and_small_values():
    """The step follows the size of the value; gradients that vanish beside the others are not taken for wrong."""
    for scale in (1e-3, 1e3):
        report = check_layer(Dense(4), scale * tie_free((5, 3)))
        assert report.passed, str(report)
    deep = [part for _ in range(6) for part in (Dense(5, "normal:0.01"), Sigmoid())]
    report = check_model(Sequential([*deep, Dense(2)]), tie_free((4, 6)), largest=10)
    assert report.passed, str(report)


def test_a_network_that_starts_with_zeros():
    """Gradients that are exactly zero, measured and explicit, are equal."""
    report = check_model(Sequential([Dense(4, "zeros"), Sigmoid(), Dense(3, "zeros")]), tie_free((5, 6)))
    assert report.passed, str(report)
    assert {finding.tensor: finding.numeric for finding in report.findings}["dense_1.W"] == 0
    bug = BUGS["relu: lets everything through"][0]
    assert not check_layer(bug, -1 - abs(tie_free((4, 3)))).passed, "a gradient where there is none"


def test_a_sample_of_a_large_tensor():
    report = check_layer(Dense(30), (5, 7), largest=11)
    assert [(finding.checked, finding.size) for finding in report.findings] == [(11, 35), (11, 210), (11, 30)]
    assert "(11 of 210 elements)" in str(report)


def test_a_forward_that_returns_a_view_of_x():
    class Same(Layer):
        def forward(self, x):
            return x

        def backward(self, dy):
            return dy

    class Reversed(Same):
        def forward(self, x):
            return x[:, ::-1]

    assert check_layer(Same(), (4, 3)).passed
    assert check_layer(Flatten(), (4, 3, 2)).passed
    assert not check_layer(Reversed(), (4, 3)).passed


def test_a_layer_of_one_s_own():
    class Scale(Layer):
        """y = a x, one number for the whole layer."""

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


# ---------------------------------------------------------------------------------------- a check leaves no trace


def test_a_check_changes_nothing():
    model = Sequential([Conv2D(2, 3), BatchNorm(), ReLU(), Dropout(0.5), Flatten(), Dense(3)], input_shape=(4, 5, 2))
    x = tie_free((3, 4, 5, 2)).astype(np.float32)
    model.forward(x)
    SGD(model.parameters(), lr=0.1)
    model.layers[1].eval()
    minidl.seed(11)
    arrays = [array for parameter in model.parameters() for array in (parameter.data, parameter.grad)]
    arrays += [model.layers[1].running_mean, model.layers[1].running_var, x]
    before = [array.copy() for array in arrays]
    modes = [(part.training, part.keeping, part.input_shape) for part in model.walk()]
    packs = [parameter.pack for parameter in model.parameters()]
    draws, threads = minidl.backend.random_state(), minidl.threads()
    assert check_model(model, x, largest=5).passed
    for k, (array, kept) in enumerate(zip(arrays, before, strict=True)):
        assert_same_bits(array, kept, f"array {k}")
    now = [array for parameter in model.parameters() for array in (parameter.data, parameter.grad)]
    assert all(array is old for array, old in zip(now, arrays, strict=False))
    assert [(part.training, part.keeping, part.input_shape) for part in model.walk()] == modes
    assert [parameter.pack for parameter in model.parameters()] == packs
    assert minidl.backend.random_state() == draws
    assert minidl.threads() == threads
    assert minidl.backend.float_type() is np.float32


def test_a_check_that_fails_to_run_changes_nothing_either():
    layer = Dense(3)
    layer.build((4,))
    draws = minidl.backend.random_state()
    with pytest.raises(ShapeError):
        check_layer(layer, (5, 7))
    assert minidl.backend.random_state() == draws
    assert minidl.backend.float_type() is np.float32


def test_an_unbuilt_layer_stays_unbuilt():
    layer = Dense(3)
    assert check_layer(layer, (5, 7)).passed
    assert layer.input_shape is None
    assert layer.parameters() == []


def test_the_same_check_twice_gives_the_same_numbers():
    minidl.seed(1)
    first = str(check_layer(Sequential([Dense(4), Dropout(0.5)]), (5, 3)))
    minidl.seed(2)
    assert str(check_layer(Sequential([Dense(4), Dropout(0.5)]), (5, 3))) == first
