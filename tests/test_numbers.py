"""NaN and infinity: found within 20 steps, named by layer, and the model left with its last finite numbers."""

import io
import sys
import warnings

import numpy as np
import pytest
from cases import assert_says, on_device

from minidl import Residual, Sequential
from minidl.backend import to_cpu, xp
from minidl.core import Layer
from minidl.errors import DataError, SuspiciousWarning, UserError
from minidl.layers import BatchNorm, Conv2D, Dense, Flatten, ReLU, Tanh
from minidl.losses import MeanSquaredError, SoftmaxCrossEntropy
from minidl.optimizers import SGD, Adam, Momentum
from minidl.training import evaluate, fit, numbers

pytestmark = [pytest.mark.usefixtures("device"), pytest.mark.filterwarnings("ignore::RuntimeWarning")]
LABELS = np.arange(600) % 3
X = (np.random.default_rng(0).standard_normal((600, 4)) + LABELS[:, None]).astype(np.float32)


class BadForBatch(Layer):
    """Passes everything on, with NaN in the output for one batch: the one that comes as this number of all."""

    def __init__(self, number):
        self.number, self.seen = number, {}

    def forward(self, x):
        self.check(x)
        batch = self.seen.setdefault(float(x.sum()), len(self.seen) + 1)    # the same when a step is repeated
        return x * np.float32(np.nan) if batch == self.number else x

    def backward(self, dy):
        return dy


def train(layers, x=X, make=Momentum, lr=0.01, **options):
    """(model, history, what was said, the weights after every step)."""
    model, lines, after = Sequential(layers, input_shape=x.shape[1:]), [], {}

    def remember(run):
        after[run.step] = {name: array.copy() for name, array in model.state_dict().items()}

    remember.each_step = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SuspiciousWarning)
        history = fit(model, make(model.parameters(), lr=lr), x, LABELS[:len(x)], 3, batch_size=10, report=lines.append,
                      callbacks=[remember], **options)
    return model, history, lines, after


def assert_stopped(found, step, *words):
    """The training stopped within 20 steps of `step`, where the number was planted, and said so with these words."""
    model, history, lines, after = found
    for word in (f"training stopped: step {step} of 180", *words):
        assert word in history.stopped, f"{word!r} is not in {history.stopped!r}"
    assert lines[-1] == history.stopped
    assert step <= max(after) <= step + numbers.LOOK_EVERY, f"it stopped after step {max(after)}"
    assert np.isnan(history.loss[-1])
    state = model.state_dict()
    assert all(np.isfinite(array).all() for array in state.values()), "the model holds NaN or infinite numbers"
    back = int(history.stopped.split("numbers of step ")[1].split()[0])
    for name, array in state.items():
        assert back == 0 or np.array_equal(array, after[back][name]), f"{name} is not as after step {back}"


@pytest.mark.parametrize("step", [1, 19, 20, 21, 37, 59, 60, 61, 119, 177])
def test_the_layer_and_the_step_are_named(step):
    found = train([BadForBatch(step), Dense(5), ReLU(), Dense(3)])
    assert_stopped(found, step, "NaN appeared in forward, in the output of badforbatch_1: BadForBatch()",
                   "Learning rate 0.01", "length of all weights", "Try a smaller learning rate")


def test_an_input_that_is_too_large_for_the_statistics():
    x = X.copy()
    x[17, 2] = 3e20
    found = train([BatchNorm(), Dense(3)], x)
    words = "an infinite number appeared in forward, in the running_var of batchnorm_1: BatchNorm(),"
    assert words in found[1].stopped
    assert "The largest input is 3e+20: scale the data" in found[1].stopped
    assert all(np.isfinite(array).all() for array in found[0].state_dict().values())


class Steep(Dense):
    """A gradient far too large, from the first step on."""

    def backward(self, dy):
        dx = super().backward(dy)
        self.W.grad[...] = np.inf
        return dx


def test_a_gradient_is_named():
    assert_stopped(train([Flatten(), Dense(4), Steep(3)]), 1,
                   "an infinite number appeared in backward, in the gradient of W of steep_1: Dense(3)")


def test_the_optimizer_is_named():
    found = train([Dense(3)], lr=1e38 * 9, make=SGD)
    assert_stopped(found, 1, "optimizer.step made an infinite number of W, shape (4, 3)")


def test_prepare_and_the_loss_are_named():
    calls = []

    def prepare(x):
        calls.append(1)
        return x * (np.float32(np.inf) if len(calls) > 5 else 1)

    assert "the model's input has " in train([Dense(3)], prepare=prepare)[1].stopped

    class Loss(SoftmaxCrossEntropy):
        def backward(self):
            return super().backward() * np.float32(np.inf)

    assert "the gradient of the loss has an infinite number" in train([Dense(3)], loss=Loss())[1].stopped


def test_layers_within_layers_are_named_with_their_place():
    found = train([Dense(4), Residual([Dense(4), Steep(4)]), Dense(3)])
    assert "of residual_1.body.steep_1: Dense(4)" in found[1].stopped


def test_what_does_not_happen_again_is_said_to_be_so():
    class Dice(Layer):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return x * np.float32(np.nan if self.calls == 5 else 1)

        def backward(self, dy):
            return dy

    found = train([Dense(3), Dice()])
    assert "between step 1 and 20 of 180 a number became NaN or infinite, and not so when" in found[1].stopped
    assert "remember something by itself? The model has" in found[1].stopped


def test_without_a_report_it_is_a_warning():
    model = Sequential([Dense(3)], input_shape=(4,))
    with pytest.warns(SuspiciousWarning, match="fit: training stopped: step 2 of 60"):
        fit(model, SGD(model.parameters(), lr=9e37), X, LABELS, 1, batch_size=10, report=None)


def test_large_finite_numbers_do_not_stop_a_training():
    """Squares that overflow are no reason."""
    model = Sequential([BatchNorm(), Dense(3)], input_shape=(4,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SuspiciousWarning)
        history = fit(model, Adam(model.parameters()), X * np.float32(1e15), LABELS, 2, report=None)
    assert history.stopped == ""
    assert len(history.loss) == 2


def test_numbers_to_predict():
    target = X[:, :2] * 3
    model = Sequential([Dense(2)], input_shape=(4,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SuspiciousWarning)
        history = fit(model, SGD(model.parameters(), lr=1e9), X, target, 2, report=None, loss=MeanSquaredError())
    assert "the loss is inf, from scores of at most" in history.stopped
    assert history.accuracy == []
    assert np.isfinite(to_cpu(model.forward(on_device(X)))).all()


def test_on_a_terminal(monkeypatch):
    """The line at the bottom has nothing to divide by where the run went back to the beginning."""
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("minidl.training.live.DRAW_SECONDS", 0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    found = train([Dense(3)], lr=9e38, make=SGD)
    assert "training stopped: step 1 of 180" in found[1].stopped
    found = train([Dense(3)])
    assert found[1].stopped == ""
    assert "epoch 1/3   step 10/180   0 s left   loss " in sys.stderr.getvalue()
    assert "   accuracy 0." in sys.stderr.getvalue()


def test_every_callback_is_finished():
    class Fails:
        def __call__(self, run):
            pass

        def finish(self, run):
            raise OSError("no space")

    finished, model = [], Sequential([Dense(3)], input_shape=(4,))
    last = Fails()
    last.finish = finished.append
    with pytest.raises(OSError, match="no space"):
        fit(model, SGD(model.parameters(), lr=0.1), X, LABELS, 1, report=None, callbacks=[last, Fails()])
    assert len(finished) == 1
    assert model.input_gradient


class OwnModel:
    """A model without layers, for vectors."""

    def __init__(self):
        self.dense = Dense(3)
        self.dense.build((4,))

    def forward(self, x):
        return self.dense.forward(x)

    def backward(self, dy):
        return self.dense.backward(dy)

    def parameters(self):
        return self.dense.parameters()

    def train(self):
        self.dense.train()


def test_a_model_of_ones_own_is_evaluated():
    model = OwnModel()
    history = fit(model, SGD(model.parameters(), lr=0.1), X, LABELS, 2, report=None, test=(X, LABELS), validation=0.1)
    assert len(history.test_loss) == len(history.validation_accuracy) == 2


# --------------------------------------------------------------------------------------------- saved, loaded, evaluated


def with_nan():
    model = Sequential([Dense(4), ReLU(), Dense(3)], input_shape=(4,))
    model.layers[2].W.data[1, 2] = xp.nan
    return model


def test_numbers_that_are_not_finite_are_not_saved_or_loaded_unless_asked_for(tmp_path):
    path = tmp_path / "model.npz"
    with pytest.raises(DataError) as caught:
        with_nan().save(path)
    assert_says(caught, f"{path}: dense_2.W of the model holds 1 numbers that are NaN or infinite", "was not saved",
                "model.save(path, finite=False)")
    assert not path.exists()
    with_nan().save(path, finite=False)
    model = Sequential([Dense(4), ReLU(), Dense(3)], input_shape=(4,))
    before = model.state_dict()
    with pytest.raises(DataError) as caught:
        model.load(path)
    assert_says(caught, "was not loaded", "model.load(path, finite=False)")
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())
    model.load(path, finite=False)
    assert np.isnan(model.state_dict()["dense_2.W"][1, 2])


def test_evaluate_warns_of_scores_that_are_nan():
    with pytest.warns(SuspiciousWarning, match="evaluate: 600 of 600 images have scores that are NaN or infinite"):
        evaluate(with_nan(), X, LABELS)


def test_scores_that_are_images_are_counted_by_image():
    model = Sequential([Conv2D(2, 1)], input_shape=(5, 3, 4))
    x, target = np.ones((6, 5, 3, 4), np.float32), np.zeros((6, 5, 3, 2))
    assert evaluate(model, x, target, loss=MeanSquaredError()).loss > 0
    model.layers[0].W.data[...] = xp.nan
    with pytest.warns(SuspiciousWarning, match="evaluate: 6 of 6 images have scores"):
        evaluate(model, x, target, loss=MeanSquaredError())


def test_a_file_of_other_layers_is_refused(tmp_path):
    path = tmp_path / "model.npz"
    Sequential([Dense(4), ReLU(), Dense(3)], input_shape=(4,)).save(path)
    model = Sequential([Dense(4), Tanh(), Dense(3)], input_shape=(4,))
    before = model.state_dict()
    with pytest.raises(UserError) as caught:
        model.load(path)
    assert_says(caught, "a model that has relu_1: ReLU() where this one has tanh_1: Tanh()", "__layers__")
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())
    Sequential([Dense(4), ReLU(), Dense(3)], input_shape=(4,)).load(path)
