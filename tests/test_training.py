"""The training loop, what it remembers and when it stops; the probe."""

import math

import numpy as np
import pytest
from cases import assert_close, assert_same_bits, assert_says, on_device, tie_free

import minidl
from minidl import Sequential
from minidl.backend import draw_normal, to_cpu
from minidl.errors import ShapeError, UserError
from minidl.layers import BatchNorm, Dense, Dropout, Flatten, ReLU, Sigmoid
from minidl.losses import MeanSquaredError, SoftmaxCrossEntropy
from minidl.optimizers import SGD, Momentum
from minidl.probe import accuracy_in_training_mode, least_times, probe, weight_gradient_norm
from minidl.schedules import ReduceOnPlateau
from minidl.training import Evaluation, History, evaluate, fit, predict, predict_classes

pytestmark = pytest.mark.usefixtures("device")
LABELS = np.arange(60) % 3


def points():
    """Three clouds in the plane, far apart."""
    centres = np.array([[0.0, 2], [2, -1], [-2, -1]])
    return (centres[LABELS] + 0.3 * np.random.default_rng(0).standard_normal((60, 2))).astype(np.float32)


def network():
    return Sequential([Dense(8), ReLU(), Dense(3)], input_shape=(2,))


# ---------------------------------------------------------------------------------------------------------------- fit


def test_fit_learns_what_can_be_learned():
    x, model, lines = points(), network(), []
    history = fit(model, SGD(model.parameters(), lr=0.2), x, LABELS, epochs=8, batch_size=7, test=(x[:30], LABELS[:30]),
                  report=lines.append)
    assert isinstance(history, History)
    assert {name: len(column) for name, column in vars(history).items()} == {
        "loss": 8, "accuracy": 8, "validation_loss": 0, "validation_accuracy": 0, "test_loss": 8, "test_accuracy": 8,
        "learning_rate": 8, "seconds": 8, "stopped": 0}
    assert history.accuracy[-1] == history.test_accuracy[-1] == 1
    assert history.loss[-1] < 0.2 < history.loss[0]
    assert all(seconds > 0 for seconds in history.seconds)
    assert len(lines) == 8
    assert lines[-1] == (f"epoch   8   loss {history.loss[-1]:.4f}   accuracy 1.0000   test accuracy 1.0000   "
                         f"{history.seconds[-1]:.1f} s")
    assert evaluate(model, x, LABELS) == 1


def test_fit_without_test_data(capsys):
    model = network()
    history = fit(model, SGD(model.parameters(), lr=0.1), points(), LABELS, epochs=1)
    assert history.test_accuracy == []
    printed = capsys.readouterr().out
    assert printed == history.line() + "\n"
    assert "test" not in printed
    fit(model, SGD(model.parameters(), lr=0.1), points(), LABELS, epochs=1, report=None)
    assert capsys.readouterr().out == ""


def test_fit_is_the_loop_that_it_says():
    """By hand: the same seed, the same batches, the last and smaller one too; averages weighted by batch size."""
    x = points()
    minidl.seed(5)
    model = network()
    history = fit(model, SGD(model.parameters(), lr=0.1), x, LABELS, epochs=2, batch_size=25, report=None)
    minidl.seed(5)
    by_hand, loss = network(), SoftmaxCrossEntropy()
    optimizer = SGD(by_hand.parameters(), lr=0.1)
    for epoch in range(2):
        order, total, right = to_cpu(minidl.backend.draw_permutation(60)), 0.0, 0
        for rows in (order[:25], order[25:50], order[50:]):
            scores = by_hand.forward(on_device(x[rows]))
            total += float(loss.forward(scores, LABELS[rows])) * len(rows)
            right += int((to_cpu(scores).argmax(axis=1) == LABELS[rows]).sum())
            by_hand.backward(loss.backward())
            optimizer.step()
        assert_close(history.loss[epoch], total / 60, f"loss of epoch {epoch}", 1e-6)
        assert history.accuracy[epoch] == right / 60
    for name, array in model.state_dict().items():
        assert_same_bits(array, by_hand.state_dict()[name], name)


def test_the_same_seed_trains_the_same_network_to_the_bit():
    states = []
    for _ in range(2):
        minidl.seed(7)
        model = Sequential([Dense(8), BatchNorm(), ReLU(), Dropout(0.2), Dense(3)], input_shape=(2,))
        fit(model, Momentum(model.parameters(), lr=0.05), points(), LABELS, epochs=2, batch_size=9, report=None)
        states.append(model.state_dict())
    for name, array in states[0].items():
        assert_same_bits(array, states[1][name], name)


def test_fit_prepares_every_batch():
    pixels = (points() * 20 + 100).astype(np.uint8)
    seen = []

    def prepare(x):
        assert x.dtype == np.uint8
        seen.append(len(x))
        return minidl.asarray(x / 255)

    model = network()
    fit(model, SGD(model.parameters(), lr=0.1), pixels, LABELS, epochs=1, batch_size=40, prepare=prepare, report=None,
        test=(pixels[:5], LABELS[:5]))
    assert seen == [40, 20, 5]


def test_fit_trains_in_training_mode_also_after_an_evaluation():
    modes = []

    class Spy(ReLU):
        def forward(self, x):
            modes.append(self.training)
            return super().forward(x)

    model = Sequential([Dense(4), Spy(), Dense(3)], input_shape=(2,)).eval()
    x = points()
    fit(model, SGD(model.parameters(), lr=0.1), x, LABELS, epochs=2, batch_size=60, test=(x, LABELS), report=None)
    assert modes == [True, False, True, False]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")    # NumPy's, of numbers that become too large
def test_a_loss_that_is_nan_stops_the_training():
    x, model, lines = points(), network(), []
    history = fit(model, SGD(model.parameters(), lr=1e30), x, LABELS, epochs=5, batch_size=10, report=lines.append)
    assert len(history.loss) == 1
    assert math.isnan(history.loss[0])
    assert lines == [history.stopped]
    for words in ("training stopped: step 2 of 30 (epoch 1): ",
                  "appeared in forward, in the output of dense_2: Dense(3)",
                  "Learning rate 1e+30", "Try a smaller learning rate", "its numbers of step 0 again"):
        assert words in lines[0]


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


@pytest.mark.parametrize(("arguments", "watched"), [
    ({}, "loss"), ({"better": "higher"}, "accuracy"), ({"watch": "accuracy"}, "accuracy"),
    ({"watch": "test_accuracy"}, "test_accuracy"), ({"watch": "test_accuracy", "better": "higher"}, "test_accuracy")])
def test_a_plateau_is_one_of_what_it_watches(arguments, watched):
    """ReduceOnPlateau(better="higher") observed the loss, which falls: the rate went down while all was well."""
    model = Sequential([Dense(2)], input_shape=(3,))
    x, y = draw_normal((40, 3)), np.arange(40) % 2
    plateau = ReduceOnPlateau(0.1, patience=0, factor=0.5, threshold=0, **arguments)
    seen, observe = [], plateau.observe
    plateau.observe = lambda value: seen.append(value) or observe(value)
    history = fit(model, SGD(model.parameters(), lr=0.1), x, y, epochs=4, batch_size=4, report=None, schedule=plateau,
                  test=(x[:20], y[:20]))
    assert seen == getattr(history, watched)
    assert plateau.best == (min if watched == "loss" else max)(seen)


def test_what_a_schedule_watches_must_be_there():
    model = Sequential([Dense(2)], input_shape=(3,))
    x, y = draw_normal((10, 3)), np.arange(10) % 2
    for labels, watch, there in ((y, "test_accuracy", "loss, accuracy"), (draw_normal((10, 2)), "accuracy", "loss")):
        loss = MeanSquaredError() if labels is not y else None
        with pytest.raises(UserError) as caught:
            fit(model, SGD(model.parameters(), lr=0.1), x, labels, epochs=1, report=None, loss=loss,
                schedule=ReduceOnPlateau(0.1, watch=watch))
        assert_says(caught, f"ReduceOnPlateau watch='{watch}': this training has {there}.", "test=(x_test, y_test)")


# ----------------------------------------------------------------------------------------------------------- evaluate


def test_evaluate_counts_right():
    model = Sequential([Dense(3, lambda shape, fan_in, fan_out: np.eye(3))], input_shape=(3,))
    scores = np.array([[3, 1, 2], [1, 3, 2], [1, 2, 3], [3, 2, 1], [0, 0, 1]], np.float32)   # classes 0 1 2 0 2
    for batch_size in (1, 2, 3, 5, 500):
        assert evaluate(model, scores, np.array([0, 1, 2, 1, 0]), batch_size) == 0.6
    assert evaluate(model, scores, [0, 1, 2, 0, 2]) == 1
    assert evaluate(model, scores, [1, 2, 0, 1, 0]) == 0
    assert isinstance(evaluate(model, scores, [0, 1, 2, 1, 0]), float)


def half_frozen():
    model = Sequential([Dense(4), BatchNorm(), Sequential([Dropout(0.5), Dense(3)])], input_shape=(2,))
    model.layers[1].eval()
    model.layers[1].keeping = True
    return model


def test_evaluate_puts_every_mode_back():
    model = half_frozen()
    modes = [(layer.training, layer.keeping) for layer in model.walk()]
    state, draws = model.state_dict(), minidl.backend.random_state()
    evaluate(model, points(), LABELS)
    assert [(layer.training, layer.keeping) for layer in model.walk()] == modes
    for wrong in ((points()[:, :1], LABELS), (points(), LABELS + 7)):
        with pytest.raises(UserError):
            evaluate(model, *wrong)
        assert [(layer.training, layer.keeping) for layer in model.walk()] == modes, "also after an error"
    for name, array in model.state_dict().items():
        assert_same_bits(array, state[name], name)
    assert minidl.backend.random_state() == draws
    model.eval()
    evaluate(model, points(), LABELS)
    assert not any(layer.training or layer.keeping for layer in model.walk())


def test_wrong_calls_of_evaluate():
    model, x = network(), points()
    for labels, parts in ((LABELS[:10], ["evaluate", "60 images", "10 labels"]),
                          (LABELS[:, None], ["labels: expected shape (60,)", "(60, 1)"]),
                          (np.eye(3, dtype=int)[LABELS], ["labels.argmax(axis=1)"]),
                          (LABELS * 2, ["labels: 4 is not the number of a class"])):
        with pytest.raises(UserError) as caught:
            evaluate(model, x, labels)
        assert_says(caught, *parts)
    with pytest.raises(ShapeError) as caught:
        evaluate(model, x[:0], LABELS[:0])
    assert_says(caught, "evaluate", "at least one", "0 images")


def test_evaluate_with_a_loss_and_a_confusion_matrix():
    model = Sequential([Dense(3, lambda shape, fan_in, fan_out: np.eye(3))], input_shape=(3,))
    scores = np.array([[3, 1, 2], [1, 3, 2], [1, 2, 3], [3, 2, 1], [0, 0, 1]], np.float32)   # classes 0 1 2 0 2
    labels = np.array([0, 1, 2, 1, 0])
    loss = SoftmaxCrossEntropy()
    found = evaluate(model, scores, labels, 2, loss=loss, confusion=True)
    assert isinstance(found, Evaluation)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert_close(found.loss, -np.log(p[np.arange(5), labels]).mean(), "loss over all images", 1e-6)
    assert (found.accuracy, found.confusion.tolist()) == (0.6, [[1, 0, 1], [1, 1, 0], [0, 0, 1]])
    assert isinstance(found.confusion, np.ndarray)
    assert evaluate(model, scores, labels, loss=loss) == (0.6, pytest.approx(found.loss), None)
    accuracy, value, confusion = evaluate(model, scores, labels, confusion=True)
    assert (accuracy, value) == (0.6, None) and confusion.trace() == 3
    with pytest.raises(UserError, match="backward has nothing to work from"):
        loss.backward()     # the loss itself was left alone


def test_evaluate_of_numbers_to_predict():
    model = Sequential([Dense(2, lambda shape, fan_in, fan_out: np.eye(2))], input_shape=(2,))
    x = np.array([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]])
    found = evaluate(model, x, x + [1, 3], loss=MeanSquaredError())
    assert (found.accuracy, found.loss, found.confusion) == (None, 5.0, None)
    for target, options in ((x + 1, {}), (x + 1, {"loss": MeanSquaredError(), "confusion": True}),
                            (x[:, :1], {"loss": MeanSquaredError()})):
        with pytest.raises(UserError, match="labels: expected|target: expected"):
            evaluate(model, x, target, **options)


# ------------------------------------------------------------------------------------------------------------ predict


def test_predict_is_the_forward_pass_in_evaluation_mode():
    model = half_frozen()
    fit(model, SGD(model.parameters(), lr=0.1), points(), LABELS, epochs=1, batch_size=20, report=None)
    modes = [(layer.training, layer.keeping) for layer in model.walk()]
    state, draws = model.state_dict(), minidl.backend.random_state()
    scores = predict(model, points(), batch_size=7, prepare=lambda x: minidl.asarray(x * 2))
    assert isinstance(scores, np.ndarray) and scores.shape == (60, 3)
    assert [(layer.training, layer.keeping) for layer in model.walk()] == modes
    for name, array in model.state_dict().items():
        assert_same_bits(array, state[name], name)
    assert minidl.backend.random_state() == draws
    classes = predict_classes(model, points(), prepare=lambda x: minidl.asarray(x * 2))
    assert isinstance(classes, np.ndarray) and classes.dtype.kind == "i"
    assert_same_bits(classes, scores.argmax(axis=1), "classes")
    model.eval()
    assert_close(scores, model.forward(on_device(points() * 2)), "scores", 1e-6)
    with pytest.raises(ShapeError):
        model.train()
        predict(model, points()[:, :1])
    assert all(layer.training for layer in model.walk()), "also after an error"


def test_predictions_are_of_the_kind_that_x_is():
    model = network()
    for x in (on_device(points()), points(), points().tolist()):
        scores, classes = predict(model, x), predict_classes(model, x, batch_size=11)
        wanted = np.ndarray if isinstance(x, list) else type(x)
        assert isinstance(scores, wanted) and isinstance(classes, wanted)
    labels = on_device(LABELS)
    assert float((predict_classes(model, on_device(points())) == labels).mean()) == evaluate(model, points(), labels)


def test_predict_classes_wants_scores_of_classes():
    with pytest.raises(ShapeError) as caught:
        predict_classes(Sequential([Dense(1)], input_shape=(2,)), points())
    assert_says(caught, "predict_classes", "one score per class", "(60, 1)", "predict(model, x)")
    with pytest.raises(ShapeError) as caught:
        predict(network(), points()[:0])
    assert_says(caught, "predict", "at least one image", "(0, 2)")


def test_data_that_is_not_finite_is_found_before_the_first_step():
    model, x = network(), points()
    optimizer = SGD(model.parameters(), lr=0.1)
    x[7, 1], x[9, 0], x[3, 0] = np.nan, np.inf, np.nan
    for data in (x, on_device(x), x.astype(np.float64)):
        with pytest.raises(UserError) as caught:
            fit(model, optimizer, data, LABELS, epochs=1, report=None)
        assert_says(caught, "fit: x holds 2 NaN and 1 infinite numbers, the first at x[3, 0]; expected finite numbers",
                    "np.nan_to_num(x)")
    assert optimizer.t == 0


def test_large_finite_numbers_are_no_mistake_of_the_data():
    x = np.full((60, 2), 3e38, np.float32)
    model = network()
    history = fit(model, SGD(model.parameters(), lr=0.1), x, LABELS, epochs=1, report=None,
                  prepare=lambda x: minidl.asarray(x / np.float32(3e38)))
    assert math.isfinite(history.loss[0])


# -------------------------------------------------------------------------------------------------------------- probe


def test_probe_reports_what_each_layer_saw():
    with minidl.precision("float64"):
        model = Sequential([Flatten(), Dense(4), Sigmoid(), Dense(3)], input_shape=(2, 1))
        x, dy = tie_free((5, 2, 1)), tie_free((5, 3), 2)
        seen = probe(model, on_device(x), lambda scores: on_device(dy))
        first, last = model.layers[1], model.layers[3]
        flat = x.reshape(5, 2)
        inner = flat @ to_cpu(first.W.data)
        squeezed = 1 / (1 + np.exp(-inner))
        scores = squeezed @ to_cpu(last.W.data)
        dsqueezed = dy @ to_cpu(last.W.data).T
        dinner = dsqueezed * squeezed * (1 - squeezed)
        dflat = dinner @ to_cpu(first.W.data).T
        expected = [("flatten_1", flat, dflat, 0), ("dense_1", inner, dinner, flat.T @ dinner),
                    ("sigmoid_1", squeezed, dsqueezed, 0), ("dense_2", scores, dy, squeezed.T @ dy)]
        for observation, layer, (name, y, arriving, weights) in zip(seen, model.layers, expected, strict=True):
            assert (observation.name, observation.layer) == (name, layer)
            assert_close(observation.activations, y, f"{name}: activations", 1e-14)
            assert_close(observation.gradients, arriving, f"{name}: gradients", 1e-14)
            assert_close(observation.weight_gradient, math.sqrt(np.sum(np.square(weights))), f"{name}: weights", 1e-13)
            assert_close(weight_gradient_norm(layer), observation.weight_gradient, f"{name}: weights", 1e-15)


def test_probe_leaves_everything_as_it_was():
    model = half_frozen().train()
    x, state, draws = on_device(points()), model.state_dict(), minidl.backend.random_state()
    before = x.copy()
    seen = probe(model, x, lambda scores: minidl.backend.draw_normal(scores.shape))
    assert len(seen) == 3
    assert_same_bits(x, before, "x")
    for name, array in model.state_dict().items():
        assert_same_bits(array, state[name], name)
    assert minidl.backend.random_state() == draws
    with pytest.raises(ZeroDivisionError):
        probe(model, x, lambda scores: 1 / 0)
    for name, array in model.state_dict().items():
        assert_same_bits(array, state[name], f"{name} after an error")
    assert minidl.backend.random_state() == draws


def test_accuracy_in_training_mode_takes_mean_and_spread_from_each_batch():
    """Of two images, BatchNorm makes +1 and -1: the second unit, class 1, is right for the larger one alone."""
    model = Sequential([BatchNorm(eps=1e-9), Dense(2)], input_shape=(1,))
    model.layers[1].W.data[...] = on_device([[-1, 1]])
    x, y = on_device(np.array([[5], [7], [105], [107]], np.float32)), np.array([0, 1, 0, 1])
    state, draws = model.state_dict(), minidl.backend.random_state()
    assert accuracy_in_training_mode(model, x, y, 2) == 1
    assert accuracy_in_training_mode(model, x, y, 4) == 0.5
    assert accuracy_in_training_mode(model, x, y, 2, prepare=lambda images: -images) == 0
    for name, array in model.state_dict().items():
        assert_same_bits(array, state[name], name)
    assert minidl.backend.random_state() == draws


def test_probe_of_a_model_that_leaves_the_gradient_of_its_input_out():
    """As it is after a training loop written by hand, `model.input_gradient = False`."""
    model, x = network(), on_device(points())
    whole = probe(model, x, lambda scores: scores)
    model.input_gradient = False
    for seen, expected in zip(probe(model, x, lambda scores: scores), whole, strict=True):
        assert_close(seen.gradients, expected.gradients, f"{seen.name}: gradients", 1e-6)
    assert model.input_gradient is False
    assert model.backward(model.forward(x)) is None


def test_probe_of_a_model_in_evaluation_mode_says_what_to_do():
    with pytest.raises(UserError) as caught:
        probe(network().eval(), on_device(points()), lambda scores: scores)
    assert_says(caught, "dense_2: Dense(3)", "call train()")


def test_numbers_to_predict_report_the_loss_on_test_data():
    x, model, lines = points(), Sequential([Dense(1)], input_shape=(2,)), []
    target = (x[:, :1] - 2 * x[:, 1:]) / 3
    history = fit(model, SGD(model.parameters(), lr=0.1), x, target, epochs=3, loss=MeanSquaredError(), batch_size=20,
                  test=(x[:10], target[:10]), report=lines.append)
    assert history.test_accuracy == []
    assert len(history.test_loss) == 3
    distance = predict(model, x[:10]) - target[:10]
    assert history.test_loss[-1] == pytest.approx(float((distance * distance).mean()), rel=1e-5)
    assert f"test loss {history.test_loss[-1]:.4f}" in lines[-1]


def test_least_times_are_those_of_the_fastest_round():
    """All functions take turns; the clock is the test's own."""
    moments, order = iter([0, 5, 10, 11,   20, 23, 30, 34,   40, 49, 50, 52]), []

    def call(name, number):
        order.append(name)
        return np.full((2, 3), number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minidl.probe.perf_counter", lambda: next(moments))
        seconds, results = least_times({"slow": (call, "slow", 1), "fast": (call, "fast", 2)}, rounds=3)
    assert order == ["slow", "fast"] * 3
    assert seconds == {"slow": 3, "fast": 1}
    assert {name: array.tolist() for name, array in results.items()} == {"slow": [[1] * 3] * 2, "fast": [[2] * 3] * 2}
