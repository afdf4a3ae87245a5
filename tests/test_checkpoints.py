"""Runs that survive: a training continued from its checkpoint has the bits of one that never stopped; damage is found;
what does not belong together is refused by name; Ctrl-C and SIGTERM end a training in good order."""

import functools
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from cases import assert_says

import minidl
from minidl import Sequential
from minidl.augment import Flip
from minidl.errors import DataError, SuspiciousWarning, UserError
from minidl.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, ReLU, Tanh
from minidl.optimizers import SGD, Adam, Momentum, MovingAverage
from minidl.regularizers import L2
from minidl.schedules import Constant, Cosine, ReduceOnPlateau
from minidl.training import Evaluation, fit
from minidl.training import checkpoint as checkpoint_file
from minidl.training.checkpoint import read_checkpoint
from minidl.training.interruption import ctrl_c_ends_all

ROOT = Path(__file__).resolve().parents[1]
LABELS = np.arange(60) % 3
IMAGES = (np.random.default_rng(0).standard_normal((60, 4, 6, 2)) + LABELS[:, None, None, None]).astype(np.float32)


class Killed(Exception):  # noqa: N818 - no error, an end
    pass


class KilledAt:
    """A callback that ends the program, as it were, after this many steps of all."""

    each_step = True

    def __init__(self, step):
        self.step = step

    def __call__(self, run):
        if run.step == self.step:
            raise Killed


def trained(folder=None, resume=False, step=None, **changes):
    """(digest of all that the training left, its history): 4 epochs of 5 steps with everything that is random."""
    minidl.seed(0)
    model = Sequential([Conv2D(3, 3), BatchNorm(), ReLU(), Dropout(0.3), Flatten(), Dense(3)], input_shape=(4, 6, 2))
    optimizer = Adam(model.parameters(), penalty=L2(1e-3))
    average = MovingAverage(model.parameters(), decay=0.9)
    options = {"x": IMAGES, "y": LABELS, "epochs": 4, "batch_size": 11, "schedule": Cosine(0.01), "augment": Flip(),
               "validation": 0.1, "test": (IMAGES[:20], LABELS[:20]), "report": None} | changes
    history = fit(model, options.pop("optimizer", optimizer), callbacks=[average, KilledAt(step)],
                  checkpoint=folder, resume=resume, **options)
    digest = hashlib.sha256()
    for array in [*model.state_dict().values(), *optimizer.state_dict().values(), average.average]:
        digest.update(np.ascontiguousarray(array))
    numbers = {name: values for name, values in vars(history).items() if name != "seconds"}
    return digest.hexdigest() + json.dumps(numbers), history


@pytest.fixture
def every_step(monkeypatch):
    """A checkpoint after every step."""
    monkeypatch.setattr(checkpoint_file, "SAVE_SECONDS", -1)


# ----------------------------------------------------------------------------------------------------------- resuming


@pytest.mark.parametrize("step", [1, 4, 5, 6, 13, 19, 20])
def test_a_resumed_training_has_the_bits_of_one_that_never_stopped(tmp_path, every_step, step):
    expected, _ = trained(tmp_path / "whole")
    with pytest.raises(Killed):
        trained(tmp_path / "x", step=step)
    assert trained(tmp_path / "x", resume=True)[0] == expected
    assert trained(tmp_path / "x", resume=True)[0] == expected, "a training that has ended was continued"


def test_a_checkpoint_changes_nothing(tmp_path):
    assert trained(tmp_path / "x")[0] == trained()[0]


def test_the_first_run_of_a_job_begins_from_the_start(tmp_path):
    assert trained(tmp_path / "new" / "x", resume=True)[0] == trained()[0]
    assert sorted(os.listdir(tmp_path / "new" / "x")) == ["best.npz", "last.checkpoint", "previous.checkpoint"]


def test_best_is_the_model_of_the_epoch_with_the_best_validation_loss(tmp_path):
    kept = {}
    model = Sequential([Flatten(), Dense(3)], input_shape=(4, 6, 2))
    history = fit(model, SGD(model.parameters(), lr=1.0), IMAGES, LABELS, epochs=6, batch_size=7, validation=0.2,
                  report=None, checkpoint=tmp_path,
                  callbacks=[lambda run: kept.update({run.epoch: model.state_dict()})])
    best = history.best("validation_loss").epoch
    assert best < 6, "this test needs a training whose last epoch is not the best"
    model.load(tmp_path / "best.npz")
    for name, array in model.state_dict().items():
        assert np.array_equal(array, kept[best][name]), name


def test_reduce_on_plateau_goes_on_where_it_was(tmp_path, every_step):
    def schedule():
        return ReduceOnPlateau(0.05, patience=0, factor=0.5, threshold=0.2)

    expected, history = trained(tmp_path / "whole", schedule=schedule())
    assert len(set(history.learning_rate)) > 1
    with pytest.raises(Killed):
        trained(tmp_path / "x", step=17, schedule=schedule())
    assert trained(tmp_path / "x", resume=True, schedule=schedule())[0] == expected


# ------------------------------------------------------------------------------------------------------------ refusals


CHANGES = {
    "epochs was 4, is 5": {"epochs": 5},
    "batch_size was 11, is 10": {"batch_size": 10},
    "schedule was Cosine(final=0.0, lr=0.01, warmup=0.0), is Constant(lr=0.01)": {"schedule": Constant(0.01)},
    "augment was Flip(": {"augment": None},
    "x was float32 (54, 4, 6, 2), CRC-32 ": {"x": IMAGES + 1},
    "y was int64 (54,), CRC-32 ": {"y": (LABELS + 1) % 3},
    "x was float32 (54, 4, 6, 2)": {"validation": 0.2},
    "test was float32 (20, 4, 6, 2)": {"test": None},
}


@pytest.mark.parametrize("words", CHANGES)
def test_another_training_is_refused_by_name(tmp_path, words):
    trained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError) as caught:
        trained(tmp_path, resume=True, **CHANGES[words])
    assert_says(caught, f"fit, resume: {tmp_path / 'last.checkpoint'} is of another training: {words}",
                "Make them equal")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(("change", "words"), [
    (lambda: Sequential([Dense(4), Tanh(), Dense(3)], input_shape=(2,)),
     "the model was relu_1: ReLU(), is tanh_1: Tanh()"),
    (lambda: Sequential([Dense(4), ReLU(), Dense(3), ReLU()], input_shape=(2,)), "the model was 3 parts, is 4 parts"),
])
def test_another_model_is_refused_by_its_first_layer(tmp_path, change, words):
    x, y = IMAGES[:, 0, 0], LABELS
    model = Sequential([Dense(4), ReLU(), Dense(3)], input_shape=(2,))
    fit(model, SGD(model.parameters(), lr=0.1), x, y, 1, report=None, checkpoint=tmp_path)
    with pytest.raises(UserError) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore", SuspiciousWarning)
        model = change()
        fit(model, SGD(model.parameters(), lr=0.1), x, y, 1, report=None, checkpoint=tmp_path, resume=True)
    assert_says(caught, words)


def test_another_optimizer_is_refused(tmp_path):
    x, model = IMAGES[:, 0, 0], Sequential([Dense(3)], input_shape=(2,))
    fit(model, SGD(model.parameters(), lr=0.1), x, LABELS, 1, report=None, checkpoint=tmp_path)
    for optimizer, words in [(SGD(model.parameters(), lr=0.2), "is SGD(clip=None, lr=0.2, penalty=None)"),
                             (Momentum(model.parameters(), lr=0.1), "is Momentum(clip=None, lr=0.1, momentum=0.9")]:
        with pytest.raises(UserError) as caught:
            fit(model, optimizer, x, LABELS, 1, report=None, checkpoint=tmp_path, resume=True)
        assert_says(caught, "optimizer was SGD(clip=None, lr=0.1, penalty=None), ", words)


def test_a_checkpoint_is_not_overwritten_by_a_new_training(tmp_path):
    trained(tmp_path)
    with pytest.raises(UserError) as caught:
        trained(tmp_path)
    assert_says(caught, f"there is a checkpoint already, {tmp_path / 'last.checkpoint'}", "resume=True",
                "another folder")


@pytest.mark.skipif(os.name == "nt", reason="fcntl, which locks a folder, is not on Windows")
def test_two_trainings_at_a_time_in_one_folder(tmp_path):
    def second(run):
        if run.epoch == 1:
            with pytest.raises(UserError) as caught:
                trained(tmp_path, resume=True)
            assert_says(caught, f"another training is writing its checkpoints into {tmp_path} now", "a folder for each")
            done = subprocess.run([sys.executable, "-c", JOB, tmp_path], cwd=ROOT, capture_output=True, text=True)
            assert "another training is writing its checkpoints" in done.stderr
            seen.append(run.epoch)

    seen = []
    model = Sequential([Flatten(), Dense(3)], input_shape=(4, 6, 2))
    fit(model, SGD(model.parameters(), lr=0.1), IMAGES, LABELS, 2, report=None, checkpoint=tmp_path, callbacks=[second])
    assert seen == [1]


def test_mistakes_with_checkpoints(tmp_path):
    with pytest.raises(UserError) as caught:
        trained(resume=True)
    assert_says(caught, "resume=True continues from a checkpoint", 'checkpoint="runs/first"')
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError) as caught:
        trained(tmp_path / "file" / "x")
    assert_says(caught, "no folder can be made there", "Name another one")


def test_the_same_cell_of_a_notebook_continues(tmp_path):
    """The optimizer's rate, and the schedule itself, have changed since they were made."""
    for schedule in (Cosine(0.1), ReduceOnPlateau(0.1, patience=0, threshold=0.9)):
        model = Sequential([Flatten(), Dense(3)], input_shape=(4, 6, 2))
        optimizer, folder = SGD(model.parameters(), lr=0.1), tmp_path / type(schedule).__name__
        for _ in range(2):
            history = fit(model, optimizer, IMAGES, LABELS, 4, report=None, schedule=schedule, checkpoint=folder,
                          resume=True, callbacks=[ends_after(3)])
            assert len(history.loss) == 3, "a stop by a callback is the end"
        assert len(set(history.learning_rate)) > 1
        assert optimizer.lr < 0.1


def ends_after(epochs):
    return lambda run: run.stop("enough") if run.epoch == epochs else None


class Jitter:
    """An augmentation of one's own, with a generator and a table."""

    __slots__ = ("size", "table", "rng")

    def __init__(self, size):
        self.size, self.table, self.rng = size, {"a": Path("b")}, np.random.default_rng(0)

    def __call__(self, x):
        return x + self.size


def rate(high, progress):
    return np.float32(high * (1 - progress))


ODD = {"a partial": {"schedule": functools.partial(rate, 0.1)}, "a lambda": {"schedule": lambda progress: 0.1},
       "slots": {"augment": Jitter(0.5)}, "a method": {"augment": Jitter(0.25).__call__},
       "a ufunc": {"prepare": np.tanh}}


@pytest.mark.parametrize("name", ODD)
def test_parts_of_ones_own(tmp_path, every_step, name):
    expected, _ = trained(tmp_path / "whole", **ODD[name])
    with pytest.raises(Killed):
        trained(tmp_path / "x", step=7, **ODD[name])
    assert trained(tmp_path / "x", resume=True, **ODD[name])[0] == expected


@pytest.mark.parametrize(("before", "after"), [
    (lambda progress: 0.1, lambda progress: 0.9), (functools.partial(rate, 0.1), functools.partial(rate, 0.2))])
def test_another_function_is_another_schedule(tmp_path, before, after):
    trained(tmp_path, schedule=before)
    with pytest.raises(UserError, match="is of another training: schedule was "):
        trained(tmp_path, resume=True, schedule=after)


def test_an_optimizer_whose_memory_nobody_knows(tmp_path):
    class Own:
        def __init__(self, parameters):
            self.parameters = parameters

        def step(self):
            for parameter in self.parameters:
                parameter.data -= 0.1 * parameter.grad

    model = Sequential([Flatten(), Dense(3)], input_shape=(4, 6, 2))
    with pytest.warns(SuspiciousWarning, match="Own has no state_dict .* is not in the checkpoint") as caught:
        fit(model, Own(model.parameters()), IMAGES, LABELS, 1, report=None, checkpoint=tmp_path)
    assert caught[0].filename == __file__
    fit(model, Own(model.parameters()), IMAGES, LABELS, 1, report=None, checkpoint=tmp_path, resume=True)


def test_what_cannot_be_saved_is_known_before_the_first_step(tmp_path, monkeypatch):
    def callback(run):
        raise AssertionError("a step was made")

    callback.each_step = True
    callback.state_dict = lambda: {"strange": object()}
    callback.load_state_dict = callback.state_dict
    model = Sequential([Flatten(), Dense(3)], input_shape=(4, 6, 2))

    def start():
        fit(model, SGD(model.parameters(), lr=0.1), IMAGES, LABELS, 1, checkpoint=tmp_path / "x", callbacks=[callback])

    with pytest.raises(UserError) as caught:
        start()
    assert_says(caught, "a callback remembers cannot be saved (object <object object",
                "Let its state_dict return arrays")
    monkeypatch.setattr(checkpoint_file, "written_whole", no_right)
    callback.state_dict = dict
    with pytest.raises(DataError, match="may you write into it"):
        start()


def no_right(path, what, previous=None):
    raise DataError(f"{path}: {what} cannot be saved there. Does the folder exist, and may you write into it?")


def test_a_program_that_changes_its_folder(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    trained("x", report=lambda line: os.chdir(tmp_path / "elsewhere"))
    assert read_checkpoint(tmp_path / "x" / "last.checkpoint")[1]["epoch"] == 4


def test_best_is_written_after_a_loss_that_is_nan_and_after_a_full_disk(tmp_path, monkeypatch):
    losses = iter([np.nan, 0.9, 0.1, 0.5, 0.4])
    model = Sequential([Flatten(), Dense(3)], input_shape=(4, 6, 2))
    saved, plain = [], model.save
    places = []

    def save(path):
        places.append(len(saved))
        if len(places) == 2:
            raise OSError(28, "No space left on device")
        saved.append(path)
        plain(path)

    model.save = save
    monkeypatch.setattr("minidl.training.run.evaluation", lambda *arguments, **options: Evaluation(0.5, next(losses)))
    with pytest.warns(SuspiciousWarning, match="the best model could not be saved"):
        fit(model, SGD(model.parameters(), lr=0.1), IMAGES, LABELS, 5, report=None, validation=0.1, checkpoint=tmp_path)
    assert len(places) == 4, "tried for 0.9, for 0.1 in vain, then for 0.5 and 0.4"


# -------------------------------------------------------------------------------------------------------- damaged files


def damaged(content, kind, rng):
    place = rng.randrange(len(content))
    if kind == "flipped":
        return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1:]
    if kind == "cut off":
        return content[:place]
    end = min(len(content), place + rng.randrange(1, 5000))
    zeroed = content[:place] + bytes(end - place) + content[end:]
    return zeroed if zeroed != content else damaged(content, kind, rng)


@pytest.mark.parametrize("kind", ["flipped", "cut off", "zeroed"])
def test_every_damage_is_found(tmp_path, kind):
    trained(tmp_path)
    content, rng = (tmp_path / "last.checkpoint").read_bytes(), random.Random(kind)
    for number in range(50):
        (tmp_path / "x").write_bytes(damaged(content, kind, rng))
        with pytest.raises(DataError, match="damaged or cut off") as caught:
            read_checkpoint(tmp_path / "x")
        assert str(tmp_path / "x") in str(caught.value), number


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, every_step):
    expected, _ = trained(tmp_path / "whole")
    with pytest.raises(Killed):
        trained(tmp_path / "x", step=9)
    last = tmp_path / "x" / "last.checkpoint"
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.warns(SuspiciousWarning, match="last.checkpoint is damaged.*The checkpoint before it is taken"):
        assert trained(tmp_path / "x", resume=True)[0] == expected
    assert (tmp_path / "x" / "last.damaged").exists(), "it would have become the previous one"
    for name in ("last", "previous"):
        (tmp_path / "x" / f"{name}.checkpoint").write_bytes(b"")
    with pytest.raises(DataError, match="no checkpoint in .* is whole.*Delete the folder"), \
            pytest.warns(SuspiciousWarning):
        trained(tmp_path / "x", resume=True)


def test_a_full_disk_does_not_end_the_training(tmp_path, monkeypatch, every_step):
    expected, _ = trained()
    with pytest.raises(Killed):
        trained(tmp_path, step=6)
    before = (tmp_path / "last.checkpoint").read_bytes()

    def no_space(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.warns(SuspiciousWarning) as caught:
        assert trained(tmp_path, resume=True)[0] == expected
    for what in ("a checkpoint", "the best model"):
        words = f"fit: {what} could not be saved in {tmp_path} (No space left on device). The training goes on"
        assert any(words in str(warning.message) for warning in caught), what
    assert (tmp_path / "last.checkpoint").read_bytes() == before
    assert not [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")]


def test_litter_of_killed_programs_is_collected(tmp_path):
    old, young, other = (tmp_path / f"last.checkpoint.{letter * 32}.part" for letter in "abc")
    for path in (old, young):
        path.write_bytes(b"half a checkpoint")
    other = tmp_path / "notes.part"
    other.write_bytes(b"of somebody else")
    os.utime(old, (time.time() - 4000,) * 2)
    os.utime(other, (time.time() - 4000,) * 2)
    trained(tmp_path)
    assert (old.exists(), young.exists(), other.exists()) == (False, True, True)


@pytest.mark.parametrize("call", [1, 2, 3, 4])
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_crash_in_the_middle_of_a_save(tmp_path, monkeypatch, every_step, function, call):
    """Wherever it comes, the file before is there and whole."""
    expected, _ = trained(tmp_path / "whole")
    plain, calls = getattr(os, function), []

    def crash(*arguments):
        calls.append(arguments)
        if len(calls) == 10 + call:
            raise Killed
        return plain(*arguments)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, function, crash)
        trained(tmp_path / "x")
    assert trained(tmp_path / "x", resume=True)[0] == expected


def test_threads_that_save_to_one_path_leave_a_whole_file(tmp_path):
    """40 rounds of four threads, each with a model of its own numbers: the file is one of theirs, and nothing else is
    left."""
    models = [Sequential([Dense(200)], input_shape=(50,)) for _ in range(4)]
    for number, model in enumerate(models):
        model.layers[0].W.data[...] = number
    reader = Sequential([Dense(200)], input_shape=(50,))
    for number in range(40):
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(model.save, tmp_path / "model.npz") for model in models]:
                done.result()
        reader.load(tmp_path / "model.npz")
        assert len(set(reader.state_dict()["dense_1.W"].ravel().tolist())) == 1, f"round {number}: a mixed file"
    assert os.listdir(tmp_path) == ["model.npz"]


def test_a_model_file_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "bomb.npz", **{"dense_1.W": np.zeros((1000, 10000))})
    with pytest.raises(DataError) as caught:
        Sequential([Dense(200)], input_shape=(50,)).load(tmp_path / "bomb.npz")
    assert_says(caught, "bomb.npz: not a complete model file but one that would unpack to more than 100 times its size")


# -------------------------------------------------------------------------------------------------- Ctrl-C and SIGTERM


def signals(number, step, times=1):
    """A callback that sends the signal in the middle of training, as a user does."""
    def send(run):
        if run.step == step:
            for _ in range(times):
                signal.raise_signal(number)

    send.each_step = True
    return send


def simple(tmp_path=None, **options):
    model = Sequential([Flatten(), Dense(3)], input_shape=(4, 6, 2))
    lines = []
    try:
        history = fit(model, SGD(model.parameters(), lr=0.1), IMAGES, LABELS, 3, batch_size=10, report=lines.append,
                      checkpoint=tmp_path, **options)
    finally:
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    return history, lines


@pytest.fixture
def nobody_insists(monkeypatch):
    """Other tests may have pressed Ctrl-C a moment ago."""
    monkeypatch.setattr("minidl.training.interruption._last", [])


@pytest.mark.usefixtures("nobody_insists")
def test_ctrl_c_ends_the_training_after_its_step(tmp_path):
    history, lines = simple(callbacks=[signals(signal.SIGINT, 8)])
    assert len(history.loss) == 1
    assert history.stopped == lines[-1] == "stopped by Ctrl-C after step 8 of 18"
    with pytest.raises(KeyboardInterrupt):     # a second time within ten seconds: a loop over many trainings ends
        simple(callbacks=[signals(signal.SIGINT, 8)])


@pytest.mark.usefixtures("nobody_insists")
def test_ctrl_c_leaves_a_checkpoint(tmp_path):
    history, lines = simple(tmp_path, callbacks=[signals(signal.SIGINT, 8)])
    assert lines[-1].endswith(f"; fit(..., checkpoint={str(tmp_path)!r}, resume=True) continues")
    history, lines = simple(tmp_path, callbacks=[signals(signal.SIGINT, None)], resume=True)
    assert lines[0] == f"{tmp_path / 'last.checkpoint'}: continues after step 8 of 18"
    assert (len(history.loss), history.stopped) == (3, "")


@pytest.mark.usefixtures("nobody_insists")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_ctrl_c_after_a_nan_saves_no_nan(tmp_path):
    def too_large(run):
        if run.step == 14:
            run.optimizer.lr = 1e38

    too_large.each_step = True
    history, lines = simple(tmp_path, callbacks=[too_large, signals(signal.SIGINT, 17)])
    assert "training stopped: " in history.stopped
    arrays = read_checkpoint(tmp_path / "last.checkpoint")[0]
    assert all(np.isfinite(array).all() for array in arrays.values())


@pytest.mark.usefixtures("nobody_insists")
def test_ctrl_c_during_an_evaluation():
    pressed = []

    def prepare(x):
        if len(x) == 7 and not pressed:     # the images to test
            pressed.append(signal.raise_signal(signal.SIGINT))
        return x

    history, lines = simple(prepare=prepare, test=(IMAGES[:7], LABELS[:7]))
    assert history.stopped == lines[-1] == "stopped by Ctrl-C after step 6 of 18"


@pytest.mark.usefixtures("nobody_insists")
def test_the_second_ctrl_c_stops_at_once():
    with pytest.raises(KeyboardInterrupt):
        simple(callbacks=[signals(signal.SIGINT, 8, times=2)])


@pytest.mark.usefixtures("nobody_insists")
def test_ctrl_c_ends_all_trainings_where_many_are_run():
    with pytest.raises(KeyboardInterrupt), ctrl_c_ends_all():
        simple(callbacks=[signals(signal.SIGINT, 8)])


def test_sigterm_saves_and_ends_the_program(tmp_path):
    with pytest.raises(SystemExit) as caught:
        simple(tmp_path, callbacks=[signals(signal.SIGTERM, 8)])
    assert caught.value.code == 143
    assert read_checkpoint(tmp_path / "last.checkpoint")[1]["step"] == 8


def test_a_handler_of_somebody_else_stays(monkeypatch):
    received = []
    before = signal.signal(signal.SIGINT, lambda *arguments: received.append(1))
    try:
        model = Sequential([Flatten(), Dense(3)], input_shape=(4, 6, 2))
        history = fit(model, SGD(model.parameters(), lr=0.1), IMAGES, LABELS, 1, report=None,
                      callbacks=[signals(signal.SIGINT, 1)])
    finally:
        signal.signal(signal.SIGINT, before)
    assert (received, history.stopped) == ([1], "")


# --------------------------------------------------------------------------------------------------- real kills, slow

JOB = textwrap.dedent("""
    import hashlib, json, sys, time
    import numpy as np
    import minidl
    from minidl import Sequential
    from minidl.augment import Flip
    from minidl.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, ReLU
    from minidl.optimizers import Adam
    from minidl.schedules import Cosine
    from minidl.training import checkpoint, fit
    checkpoint.SAVE_SECONDS = 0.01
    minidl.seed(0)
    y = np.arange(600) % 3
    x = (np.random.default_rng(0).standard_normal((600, 8, 8, 2)) + y[:, None, None, None]).astype(np.float32)
    model = Sequential([Conv2D(8, 3), BatchNorm(), ReLU(), Dropout(0.3), Flatten(), Dense(3)], input_shape=(8, 8, 2))
    print("ready", flush=True)
    fit(model, Adam(model.parameters()), x, y, 15, batch_size=20, schedule=Cosine(0.01), augment=Flip(), report=None,
        checkpoint=sys.argv[1], resume=True)
    digest = hashlib.sha256()
    for array in model.state_dict().values():
        digest.update(array)
    print(digest.hexdigest(), flush=True)
""")


def start(folder):
    job = subprocess.Popen([sys.executable, "-c", JOB, str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert job.stdout.readline() == "ready\n"
    return job


@pytest.mark.slow
def test_kill_minus_nine_at_twenty_moments(tmp_path):
    began = time.perf_counter()
    expected = start(tmp_path / "whole").communicate()[0]
    seconds, rng, in_a_save = time.perf_counter() - began, random.Random(0), 0
    for number in range(20):
        folder = tmp_path / str(number)
        job = start(folder)
        time.sleep(rng.uniform(0, seconds))
        while number % 3 == 0 and job.poll() is None and not list(folder.glob("*.part")):
            pass        # until it saves
        job.kill()
        job.communicate()
        parts = [path for path in folder.iterdir() if path.suffix == ".part"] if folder.exists() else []
        in_a_save += len(parts)
        assert len(parts) <= 1
        assert start(folder).communicate()[0] == expected, f"killed once, in {folder}"
    assert in_a_save, "no kill came in the middle of a save"
