"""What `fit` calls after every epoch: early stopping, best weights, logs; and what a History tells and draws."""

import builtins
import csv
import errno
import signal
import struct
from math import inf, isnan, nan

import numpy as np
import pytest
from cases import assert_same_bits

import minidl
from minidl import Sequential
from minidl.backend import to_cpu
from minidl.errors import DataError, SuspiciousWarning, UserError
from minidl.layers import BatchNorm, Dense
from minidl.optimizers import SGD, Adam, MovingAverage
from minidl.schedules import Cosine
from minidl.training import BestWeights, CsvLog, EarlyStopping, History, TensorBoardLog, evaluate, fit
from minidl.training.history import Best
from minidl.training.tensorboard import crc32c


class FakeRun:
    """The run that `fit` hands to its callbacks, with numbers that the test makes up, such as loss=[3, 2, 1]."""

    def __init__(self, model=None, history=None, **numbers):
        self.model, self.optimizer, self.numbers = model, None, numbers
        self.history = history or History()
        self.epoch = self.step = len(self.history.loss)
        self.epochs = self.steps = len(next(iter(numbers.values())))
        self.reasons = []

    def stop(self, reason):
        self.reasons.append(reason)

    def train(self, *callbacks, until=inf):
        """Epoch after epoch: numbers of that epoch into the history, then the callbacks, as `fit` does."""
        while self.epoch < min(self.epochs, until) and not self.reasons:
            for name, values in self.numbers.items():
                getattr(self.history, name).append(values[self.epoch])
            self.epoch = self.step = self.epoch + 1
            for callback in callbacks:
                callback(self)
        return self

    def finish(self, *callbacks):
        for callback in callbacks:
            callback.finish(self)

    def resumed(self, epoch):
        """Another run, from a checkpoint after that epoch."""
        history = History(**{name: values[:epoch] for name, values in self.history.measured().items()})
        return FakeRun(self.model, history, **self.numbers)


def ramp(count, start=0.0):
    return [start + k for k in range(count)]


# ---------------------------------------------------------------------------------------------------- early stopping


@pytest.mark.parametrize(("settings", "numbers", "stops", "reason"), [
    ({"patience": 3}, {"validation_loss": [1, 0.5, 0.6, 0.7, 0.4, 0.5, 0.4, 0.41, 0, 0]}, 8,
     "stopped early: the validation loss has not fallen for 3 epochs; the best was 0.4, of epoch 5"),
    ({"patience": 1}, {"validation_loss": [1, 1, 1]}, 2,
     "validation loss has not fallen for 1 epoch; the best was 1, of epoch 1"),
    ({"watch": "test_accuracy", "patience": 2}, {"test_accuracy": [0.1, 0.3, 0.2, 0.25, 0.9]}, 4,
     "test accuracy has not risen for 2 epochs; the best was 0.3, of epoch 2"),
    ({"watch": "loss", "patience": 2, "least_change": 0.1}, {"loss": [1, 0.95, 0.92, 0.5, 0.3]}, 3,
     "loss has not fallen by more than 0.1 for 2 epochs; the best was 1, of epoch 1"),
    ({"watch": "loss", "patience": 2, "least_change": 0.1}, {"loss": [1, 0.95, 0.8, 0.75, 0.6, 0.1]}, None, None),
    ({"patience": 2}, {"validation_loss": [nan, nan, nan, nan]}, 2,
     "validation loss has not fallen for 2 epochs; it never was finite"),
    ({"patience": 2}, {"validation_loss": [1, nan, inf, 0]}, 3,
     "validation loss has not fallen for 2 epochs; the best was 1, of epoch 1"),
    ({"patience": 2}, {"test_loss": [1, 2, 3, 4], "loss": [4, 3, 2, 1]}, 3, "test loss has not fallen"),
    ({"patience": 2}, {"validation_loss": [4, 3, 2, 1], "test_loss": [1, 2, 3, 4]}, None, None),
    ({"patience": 2}, {"validation_loss": [1, 2, 3]}, None, None),     # the last epoch: nothing is left to stop
])
def test_early_stopping_by_hand(settings, numbers, stops, reason):
    run = FakeRun(**numbers).train(EarlyStopping(**settings))
    assert run.epoch == (stops or run.epochs)
    assert len(run.reasons) == (stops is not None)
    assert all(reason in said for said in run.reasons), run.reasons


def test_early_stopping_of_a_resumed_run_and_of_a_second_one():
    numbers = {"validation_loss": [3, 1, 2, 2, 2, 2, 2]}
    stopping = EarlyStopping(patience=4)
    whole = FakeRun(**numbers).train(stopping)
    assert (whole.epoch, stopping.epoch, stopping.value) == (6, 2, 1)
    for epoch in range(1, 6):
        again = whole.resumed(epoch)
        again.epoch = epoch
        assert again.train(EarlyStopping(patience=4)).epoch == 6, f"resumed after epoch {epoch}"
    assert FakeRun(validation_loss=[5, 4, 3, 2, 1]).train(stopping).epoch == 5, "it remembers the training before"


@pytest.mark.parametrize(("make", "text"), [
    (lambda: EarlyStopping("val_loss"), "watch='val_loss': expected one of loss, accuracy, validation_loss, "
                                        "validation_accuracy, test_loss, test_accuracy. Did you mean "
                                        "'validation_loss'?"),
    (lambda: BestWeights("seconds"), "watch='seconds': expected one of loss, accuracy"),
    (lambda: EarlyStopping(5), "watch=5: expected one of loss"),
    (lambda: EarlyStopping(patience=0), "EarlyStopping patience=0: expected an integer of at least 1"),
    (lambda: EarlyStopping(least_change=-1), "EarlyStopping least_change=-1: expected a number at least 0"),
    (lambda: CsvLog(None), "CsvLog: expected a name such as 'runs/x/log.csv', got None"),
    (lambda: CsvLog(""), "CsvLog: expected a name such as 'runs/x/log.csv', got ''"),
    (lambda: TensorBoardLog(3), "TensorBoardLog: expected a name such as 'runs/x', got 3"),
])
def test_wrong_arguments(make, text):
    with pytest.raises(UserError) as caught:
        make()
    assert text in str(caught.value)


@pytest.mark.parametrize("callback", [EarlyStopping, BestWeights])
@pytest.mark.parametrize(("watch", "measured", "text"), [
    (None, ["loss", "accuracy"], "validation_loss or test_loss: not measured in this training; expected one of loss, "
                                 "accuracy. Pass validation=0.1 to fit"),
    ("validation_accuracy", ["loss"], "validation_accuracy: not measured in this training; expected one of loss. Pass "
                                      "validation=0.1 to fit"),
    ("test_loss", ["loss", "seconds"], "expected one of loss. Pass test=(x_test, y_test) to fit"),
    ("test_accuracy", ["loss", "test_loss"], "There is an accuracy only where y holds labels"),
    ("accuracy", ["loss"], "There is an accuracy only where y holds labels"),
])
def test_what_is_not_measured_is_told_after_the_first_epoch(callback, watch, measured, text):
    run = FakeRun(**{name: [1.0, 2.0] for name in measured})
    with pytest.raises(UserError) as caught:
        run.train(callback(watch))
    assert text in str(caught.value)
    assert run.epoch == 1


# ------------------------------------------------------------------------------------------------------- best weights


def network(units=3):
    return Sequential([Dense(4), BatchNorm(), Dense(units)], input_shape=(5,))


def move(run):
    """A step of a training: every number of the model becomes that of the epoch."""
    for parameter in run.model.parameters():
        parameter.data[...] = run.epoch
    run.model.layers[1].running_mean[...] = -run.epoch


@pytest.mark.usefixtures("device")
def test_the_best_weights_come_back():
    model, best = network(), BestWeights()
    optimizer = SGD(model.parameters(), lr=1.0)
    run = FakeRun(model, validation_loss=[3, 1, 2, 1, nan]).train(move, best)
    assert (best.epoch, best.value) == (2, 1)
    assert float(model.layers[0].W.data[0, 0]) == 5
    best.finish(run)
    for parameter in model.parameters():
        assert bool((parameter.data == 2).all()), f"{parameter.name}: {parameter.data}"
    assert bool((model.layers[1].running_mean == -2).all()), "BatchNorm's statistics belong to the weights"
    for parameter in model.parameters():
        parameter.grad[...] = 0.5
    optimizer.step()
    assert float(model.layers[0].W.data[0, 0]) == 1.5, "the optimizer works on other arrays than the model"


def test_best_weights_by_an_accuracy_and_in_a_second_training():
    best = BestWeights("accuracy")
    FakeRun(network(), accuracy=[0.5, 0.9, 0.7]).train(move, best).finish(best)
    assert (best.epoch, best.value) == (2, 0.9)
    other = FakeRun(network(units=7), accuracy=[0.1, 0.2])
    before = other.model.state_dict()
    other.finish(best)      # stopped by Ctrl-C in its first epoch
    for name, array in other.model.state_dict().items():
        assert_same_bits(array, before[name], name)


@pytest.mark.parametrize("epoch", [0, 1, 2, 3])
def test_best_weights_of_a_resumed_run(epoch, tmp_path):
    """The state goes through a file, as in a checkpoint."""
    numbers, best = {"validation_loss": [2.0, 1.0, 3.0, 4.0]}, BestWeights()
    run = FakeRun(network(), **numbers).train(move, best, until=epoch)
    np.savez(tmp_path / "state.npz", **best.state_dict())
    with np.load(tmp_path / "state.npz") as file:
        other = BestWeights()
        other.load_state_dict(dict(file))
    again = run.resumed(epoch)
    again.model, again.epoch = network(), epoch
    again.train(move, other).finish(other)
    assert (other.epoch, other.value) == (2, 1)
    assert {float(array.ravel()[0]) for array in again.model.state_dict().values()} == {2, -2, 1}    # 1: the variance


def test_best_weights_want_a_model_of_layers():
    class Own:
        pass

    with pytest.raises(UserError, match=r"BestWeights: expected a model made of layers.*Let the class inherit from"):
        FakeRun(Own(), loss=[1.0]).train(BestWeights("loss"))


# --------------------------------------------------------------------------------------------------------------- logs


def table_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def assert_table(path, history):
    """The file holds every number of the history, with all digits, and nothing else."""
    rows, columns = table_of(path), history.measured()
    assert [row["epoch"] for row in rows] == [str(k + 1) for k in range(len(history.loss))]
    assert list(rows[0]) == ["epoch", *columns]
    for name, values in columns.items():
        assert [row[name] for row in rows] == [str(value) for value in values], name


def test_a_table_of_the_training(tmp_path):
    path, log = tmp_path / "runs" / "x" / "log.csv", CsvLog(tmp_path / "runs" / "x" / "log.csv")
    assert not path.exists(), "an old log stays until the first epoch has ended"
    numbers = {"loss": [1 / 3, 1e-300, nan], "test_accuracy": [0.1, 0.5, 1.0], "seconds": [1.5, 2.5, 3.5]}
    run = FakeRun(**numbers)
    for epoch in (1, 2, 3):
        run.train(log, until=epoch)
        assert_table(path, run.history)     # whole after every epoch
    assert [float(row["loss"]) for row in table_of(path)][:2] == numbers["loss"][:2]
    assert isnan(float(table_of(path)[2]["loss"]))
    assert path.read_bytes().count(b"epoch") == 1
    assert path.read_bytes().endswith(b"\n")
    assert [file.name for file in path.parent.iterdir()] == ["log.csv"]


def test_a_table_that_somebody_deletes_is_whole_again(tmp_path):
    path = tmp_path / "log.csv"
    log, run = CsvLog(path), FakeRun(loss=ramp(4))
    run.train(log, until=2)
    path.unlink()
    run.train(log)
    assert_table(path, run.history)


def test_the_table_of_a_resumed_run_and_of_a_second_one(tmp_path):
    path = tmp_path / "log.csv"
    run = FakeRun(loss=ramp(6), accuracy=ramp(6, 0.5)).train(CsvLog(path), until=4)
    with open(path, "ab") as file:
        file.write(b"5,4.")     # killed while it wrote
    again = run.resumed(2)
    again.numbers = {name: [value + 100 for value in values] for name, values in run.numbers.items()}
    log = CsvLog(path)
    again.train(log)
    assert_table(path, again.history)
    assert [float(row["loss"]) for row in table_of(path)] == [0, 1, 102, 103, 104, 105]
    again.finish(log)
    second = FakeRun(loss=ramp(2, 7)).train(log)
    assert_table(path, second.history)


@pytest.mark.parametrize("log", [CsvLog, TensorBoardLog])
def test_a_place_that_cannot_be_written_to_is_an_error_at_once(log, tmp_path):
    (tmp_path / "file").write_text("here")
    with pytest.raises(DataError, match=r"file.below: the log cannot be written there \(.*May you write into"):
        log(tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "here"


def test_a_table_replaces_no_other_file(tmp_path):
    (tmp_path / "notes.csv").write_text("name,grade\n")
    with pytest.raises(DataError, match=r"notes\.csv: this file is no log of a training.*Choose another name"):
        CsvLog(tmp_path / "notes.csv")
    assert (tmp_path / "notes.csv").read_text() == "name,grade\n"
    with pytest.raises(DataError, match="the log cannot be written there"):
        CsvLog(tmp_path)
    (tmp_path / "empty.csv").touch()
    FakeRun(loss=[1.0]).train(CsvLog(tmp_path / "empty.csv"))


class FullDisk:
    """`open` for a disk that is full while `full`: the first half of what is written arrives, then nothing."""

    full = False

    def __init__(self, monkeypatch):
        for module in ("minidl.training.callbacks", "minidl.training.tensorboard", "minidl.files"):
            monkeypatch.setattr(f"{module}.open", self.open, raising=False)

    def open(self, path, mode):
        return (HalfFile if self.full else builtins.open)(path, mode)


class HalfFile:
    def __init__(self, path, mode):
        self.path, self.mode = path, mode

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def write(self, data):
        with builtins.open(self.path, self.mode) as file:
            file.write(data[:len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("full_at", [{1}, {2}, {3, 4}, {1, 2, 3, 5}])
@pytest.mark.parametrize("kind", [CsvLog, TensorBoardLog])
def test_a_full_disk_stops_no_training(kind, full_at, tmp_path, monkeypatch):
    place = tmp_path / ("log.csv" if kind is CsvLog else "board")
    log, disk = kind(place), FullDisk(monkeypatch)
    run = FakeRun(loss=ramp(6))
    with pytest.warns(SuspiciousWarning) as caught:
        for epoch in range(1, 7):
            disk.full = epoch in full_at
            run.train(log, until=epoch)
    assert run.epoch == 6
    assert len(caught) == 1, "one warning, not one for each epoch"
    assert f"the log of epoch {min(full_at)} cannot be written (No space left" in str(caught[0].message)
    assert "The training goes on" in str(caught[0].message)
    if kind is CsvLog:
        assert_table(place, run.history)
        assert [file.name for file in tmp_path.iterdir()] == ["log.csv"]
    else:
        assert shown(place) == {"loss/train": {k + 1: value for k, value in enumerate(run.history.loss)}}


# -------------------------------------------------------------------------------------------------------- TensorBoard
#
# A reader of its own: the checksum bit by bit, by the rule of long division, and messages by their specification.


def divided(data):
    """CRC-32C as RFC 3720 defines it: the remainder of the reversed bits divided by 0x11EDC6F41, first 32 inverted."""
    bits = [byte >> k & 1 for byte in data for k in range(8)] + [0] * 32
    bits[:32] = [1 - bit for bit in bits[:32]]
    divisor = [int(bit) for bit in f"{0x11EDC6F41:b}"]
    for k in range(len(bits) - 32):
        if bits[k]:
            bits[k:k + 33] = [one ^ other for one, other in zip(bits[k:k + 33], divisor, strict=True)]
    return sum((1 - bit) << k for k, bit in enumerate(bits[-32:]))


def masked(data):
    crc = divided(data)
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) % 2**32


def test_checksums():
    """The examples of RFC 3720, B.4, and random ones."""
    for data, crc in ((bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E),
                      (b"123456789", 0xE3069283)):
        assert crc32c(data) == divided(data) == crc, data
    for size in range(4, 40):
        data = np.random.default_rng(size).bytes(size)
        assert crc32c(data) == divided(data), data


def records(data):
    """The records of an event file, up to the first one that is not whole, as TensorBoard reads them."""
    while len(data) >= 12:
        length, crc = struct.unpack("<QI", data[:12])
        assert crc == masked(data[:8]), "checksum of the length"
        content, rest = data[12:12 + length], data[12 + length:]
        if len(content) < length or len(rest) < 4:
            return
        assert struct.unpack("<I", rest[:4])[0] == masked(content), "checksum of the data"
        yield content
        data = rest[4:]


def fields(message):
    """[(number, value)] of a message."""
    found, place = [], 0

    def varint():
        nonlocal place
        value = shift = 0
        while True:
            byte, place = message[place], place + 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while place < len(message):
        key = varint()
        if key % 8 == 0:
            value = varint()
        else:
            size = {1: 8, 2: None, 5: 4}[key % 8]
            size = varint() if size is None else size
            value, place = message[place:place + size], place + size
            assert len(value) == size, "a field is cut off"
            value = struct.unpack("<d", value)[0] if key % 8 == 1 else struct.unpack("<f", value)[0] \
                if key % 8 == 5 else value
        found.append((key // 8, value))
    return found


def shown(folder):
    """{tag: {step: value}} as TensorBoard shows a folder: file after file, and a start forgets what comes after it."""
    numbers = {}
    for path in sorted(folder.iterdir()):
        assert "tfevents" in path.name
        events = [dict(fields(content)) for content in records(path.read_bytes())]
        if events:
            assert events[0][3] == b"brain.Event:2", "a file begins with its version"
        for event in events:
            assert event[1] > 1.7e9, "seconds since 1970"
            if fields(event.get(7, b"")) == [(1, 1)]:
                numbers = {tag: {step: value for step, value in steps.items() if step < event[2]}
                           for tag, steps in numbers.items()}
            for number, content in fields(event.get(5, b"")):
                assert number == 1
                value = dict(fields(content))
                steps = numbers.setdefault(value[1].decode(), {})
                assert event[2] not in steps, "a step twice"
                steps[event[2]] = value[2]
    return {tag: steps for tag, steps in numbers.items() if steps}


def test_tensorboard_gets_every_number(tmp_path):
    count = 300         # steps of one and of two bytes
    names = {"loss": "loss/train", "accuracy": "accuracy/train", "validation_loss": "loss/validation",
             "validation_accuracy": "accuracy/validation", "test_loss": "loss/test", "test_accuracy": "accuracy/test",
             "seconds": "seconds", "learning_rate": "learning_rate"}
    numbers = {name: list(np.random.default_rng(k).normal(size=count)) for k, name in enumerate(names)}
    FakeRun(**numbers).train(TensorBoardLog(tmp_path / "runs" / "x"))
    found = shown(tmp_path / "runs" / "x")
    assert set(found) == set(names.values())
    for name, tag in names.items():
        assert found[tag] == {k + 1: float(np.float32(value)) for k, value in enumerate(numbers[name])}, name


def test_tensorboard_gets_numbers_beyond_float32(tmp_path):
    FakeRun(loss=[1e300, -inf, nan]).train(TensorBoardLog(tmp_path))
    found = list(shown(tmp_path)["loss/train"].values())
    assert found[:2] == [inf, -inf]
    assert isnan(found[2])


def test_tensorboard_forgets_what_a_resumed_run_repeats(tmp_path):
    run = FakeRun(loss=ramp(6)).train(TensorBoardLog(tmp_path), until=4)
    (first,) = tmp_path.iterdir()
    first.write_bytes(first.read_bytes()[:-3])      # killed while it wrote epoch 4
    again = run.resumed(2)
    again.numbers = {"loss": ramp(6, 100)}
    log = TensorBoardLog(tmp_path)
    again.train(log)
    assert list(shown(tmp_path)["loss/train"].items()) == [(1, 0), (2, 1), (3, 102), (4, 103), (5, 104), (6, 105)]
    again.finish(log)
    FakeRun(loss=[7.0]).train(log)
    assert shown(tmp_path) == {"loss/train": {1: 7}}


# ------------------------------------------------------------------------------------------------------------ History


def test_the_best_epoch():
    history = History(loss=[3, 1, 2, 1], accuracy=[0.1, nan, 0.3, 0.2], validation_loss=[nan, inf], test_loss=[2, 1])
    assert history.best("loss") == (2, 1)
    assert history.best("accuracy") == Best(3, 0.3)
    epoch, value = history.best()
    assert (epoch, isnan(value)) == (0, True), "the validation loss, which is never finite"
    history.validation_loss = []
    assert history.best() == (2, 1)
    with pytest.raises(UserError, match="validation_loss or test_loss: nothing is measured yet, no epoch has ended"):
        History().best()
    with pytest.raises(UserError, match="Did you mean 'accuracy'"):
        history.best("acuracy")


@pytest.fixture
def plt():
    """matplotlib.pyplot; closes what a test has drawn."""
    from matplotlib import pyplot
    yield pyplot
    pyplot.close("all")


@pytest.mark.parametrize("count", [1, 3, 30])
def test_a_picture_of_the_history(plt, count):
    history = History(loss=ramp(count), validation_loss=ramp(count, 1), test_loss=[nan] * count,
                      accuracy=ramp(count, 2), test_accuracy=ramp(count, 3), seconds=ramp(count))
    figure = history.plot()
    loss, accuracy = figure.axes
    assert [axis.get_ylabel() for axis in figure.axes] == ["loss", "accuracy"]
    assert [axis.get_xlabel() for axis in figure.axes] == ["epoch", "epoch"]
    assert figure.get_suptitle() == f"loss and accuracy over {count} epoch{'s' * (count > 1)}"
    drawn = {(axis.get_ylabel(), line.get_label()): line for axis in figure.axes for line in axis.get_lines()}
    assert set(drawn) == {("loss", "training"), ("loss", "validation"), ("loss", "test"), ("accuracy", "training"),
                          ("accuracy", "test")}
    for key, values in {("loss", "validation"): history.validation_loss,
                        ("accuracy", "test"): history.test_accuracy}.items():
        assert list(drawn[key].get_xdata()) == list(range(1, count + 1))
        assert list(drawn[key].get_ydata()) == values
    assert drawn["loss", "test"].get_color() == drawn["accuracy", "test"].get_color() != \
        drawn["loss", "validation"].get_color()
    assert (drawn["loss", "training"].get_marker() == "o") == (count < 15), "a line of one number is not seen"
    assert [text.get_text() for text in loss.texts] == ["NaN throughout:\ntest"]
    figure.canvas.draw()
    ticks = [text.get_text() for text in accuracy.get_xticklabels()]
    assert all(tick.lstrip("\N{MINUS SIGN}").isdigit() for tick in ticks), ticks


def test_a_picture_of_the_loss_alone_in_a_file(plt, tmp_path):
    history = History(loss=[2.0, 1.0])
    figure = history.plot(tmp_path / "history.PNG")
    assert figure.get_suptitle() == "loss over 2 epochs"
    assert len(figure.axes) == 1
    assert plt.imread(tmp_path / "history.PNG", format="png").shape[:2] == (580, 700)
    assert not plt.get_fignums(), "a figure stays open"
    assert [path.name for path in tmp_path.iterdir()] == ["history.PNG"]


@pytest.mark.parametrize(("history", "path", "text"), [
    (History(), None, "plot: there is nothing to draw yet, no epoch has ended"),
    (History(loss=[1.0]), "history.xyz", "expected the name of a picture, such as 'history.png', got 'history.xyz'"),
    (History(loss=[1.0]), 3, "plot: expected the name of a picture, such as 'history.png', got 3"),
    (History(loss=[1.0]), "missing/history.png", "the picture cannot be saved there"),
])
@pytest.mark.usefixtures("plt")
def test_a_picture_that_cannot_be(history, path, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        history.plot(path)
    assert text in str(caught.value)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------ moving average


@pytest.mark.usefixtures("device")
def test_a_moving_average_is_a_callback():
    model, other = network(), network()
    average, by_hand = MovingAverage(model.parameters(), decay=0.5), MovingAverage(other.parameters(), decay=0.5)
    assert average.each_step is True
    for model_now, follow in ((model, average), (other, lambda run: by_hand.update())):
        FakeRun(model_now, loss=[3.0, 2.0, 1.0]).train(move, follow)
    assert average.t == by_hand.t == 3
    assert_same_bits(to_cpu(average.average), to_cpu(by_hand.average), "average")
    assert set(to_cpu(average.average)) == {2.25}     # ((1 + 2) / 2 + 3) / 2
    with pytest.raises(UserError, match="MovingAverage: expected the parameters of the model that is trained"):
        MovingAverage(model.parameters())(FakeRun(other, loss=[1.0]))


# --------------------------------------------------------------------------------------------------------- through fit


class Noted:
    """A callback that notes when it is called, and stops, crashes or presses Ctrl-C at one of these times."""

    def __init__(self, each_step=False, at=None, do=None):
        self.each_step, self.at, self.do, self.times, self.finished = each_step, at, do, [], 0

    def __call__(self, run):
        self.times.append((run.epoch, run.step))
        if self.do and self.times[-1] == self.at:
            self.do(run)

    def finish(self, run):
        self.finished += 1


def crash(run):
    raise ZeroDivisionError


def points(count=60, classes=3):
    rng = np.random.default_rng(3)
    y = rng.integers(0, classes, count)
    return (rng.normal(size=(count, 5)) + y[:, None]).astype("float32"), y


class TestThroughFit:
    """Training on 60 points, 10 at a time: 6 steps an epoch."""

    @staticmethod
    def fit(*callbacks, epochs=3, model=None, **more):
        model = model or network()
        optimizer = Adam(model.parameters(), lr=0.05)
        more = {"batch_size": 10, "test": points(), "report": None} | more
        return model, fit(model, optimizer, *points(), epochs, callbacks=list(callbacks), **more)

    def test_when_callbacks_are_called(self):
        epochs, steps, seen = Noted(), Noted(each_step=True), []
        _, history = self.fit(epochs, steps, lambda run: seen.append(
            (len(run.history.loss), run.epochs, run.steps, isinstance(run.optimizer, Adam))))
        assert epochs.times == [(1, 6), (2, 12), (3, 18)]
        assert [step for _, step in steps.times] == list(range(1, 19))
        assert seen == [(k, 3, 18, True) for k in (1, 2, 3)]
        assert (epochs.finished, steps.finished) == (1, 1)
        assert all(len(values) == 3 for values in history.measured().values()), history

    def test_a_stop_is_reported(self):
        said, callback = [], Noted(at=(2, 12), do=lambda run: run.stop("enough is learned"))
        _, history = self.fit(callback, epochs=9, report=said.append)
        assert len(history.loss) == 2
        assert "enough is learned" in " ".join(said)
        assert callback.finished == 1

    def test_a_stop_after_a_step(self):
        callback = Noted(each_step=True, at=(1, 8), do=lambda run: run.stop("enough is learned"))
        _, history = self.fit(callback)
        assert callback.times[-1] == (1, 8)
        assert len(history.loss) == 1

    def test_callbacks_finish_after_ctrl_c_and_after_an_error(self):
        callback = Noted(each_step=True, at=(1, 8), do=lambda run: signal.raise_signal(signal.SIGINT))
        _, history = self.fit(callback)
        assert (len(history.loss), callback.finished) == (1, 1)
        callback = Noted(at=(2, 12), do=crash)
        with pytest.raises(ZeroDivisionError):
            self.fit(callback)
        assert callback.finished == 1

    def test_early_stopping_by_a_validation_set(self):
        said, stopping = [], EarlyStopping(patience=2)
        _, history = self.fit(stopping, epochs=200, validation=0.2, report=said.append)
        assert len(history.loss) == len(history.validation_loss) == stopping.epoch + 2 < 200
        assert history.best("validation_loss") == (stopping.epoch, stopping.value)
        assert f"validation loss has not fallen for 2 epochs; the best was {stopping.value:.4g}" in " ".join(said)

    def test_the_model_ends_with_its_best_weights(self):
        best = BestWeights("test_accuracy")
        model, history = self.fit(best, Noted(at=(4, 24), do=lambda run: run.model.layers[0].W.data.fill(0)), epochs=4)
        assert best.value == max(history.test_accuracy)
        assert evaluate(model, *points()) == best.value

    def test_logs_hold_the_history(self, tmp_path):
        _, history = self.fit(CsvLog(tmp_path / "log.csv"), TensorBoardLog(tmp_path / "board"), validation=0.2,
                              schedule=Cosine(0.1))
        assert_table(tmp_path / "log.csv", history)
        assert len(history.measured()) == 8, "everything is measured here"
        found = shown(tmp_path / "board")
        assert found["learning_rate"] == {k + 1: float(np.float32(lr)) for k, lr in enumerate(history.learning_rate)}
        assert len(found) == 8

    def test_a_moving_average_follows_every_step(self):
        model = network()
        average, own = MovingAverage(model.parameters()), []

        def remember(run):
            own.append(average.flat.data.copy())

        remember.each_step = True
        self.fit(average, remember, model=model)
        assert average.t == 18
        expected = own[0]
        for weights in own:
            expected = 0.999 * expected + 0.001 * weights
        assert float(abs(expected - average.average).max()) < 1e-6

    def test_a_resumed_training_is_the_same_to_the_bit(self, tmp_path):
        """A crash after the logs of epoch 3 were written and before its checkpoint: that epoch is done again."""
        def callbacks(folder, model, do=None):
            return [CsvLog(folder / "log.csv"), TensorBoardLog(folder / "board"), EarlyStopping("loss", patience=9),
                    BestWeights("loss"), MovingAverage(model.parameters()), Noted(at=(3, 18), do=do)]

        outcomes = []
        for folder, crashes in ((tmp_path / "whole", (None,)), (tmp_path / "broken", (crash, None))):
            for seed, do in enumerate(crashes):
                minidl.seed(seed)
                model, history = network(), None
                mine = callbacks(folder, model, do)
                more = {"model": model, "epochs": 5, "checkpoint": folder / "run", "resume": True}
                if do is crash:
                    with pytest.raises(ZeroDivisionError):
                        self.fit(*mine, **more)
                else:
                    _, history = self.fit(*mine, **more)
            outcomes.append((model.state_dict() | mine[4].state_dict(), history.loss, mine[3].epoch))
            assert_table(folder / "log.csv", history)
            assert list(shown(folder / "board")["loss/train"]) == [1, 2, 3, 4, 5]
        (whole, *numbers), (broken, *same_numbers) = outcomes
        assert numbers == same_numbers
        for name, array in whole.items():
            assert_same_bits(array, broken[name], name)
