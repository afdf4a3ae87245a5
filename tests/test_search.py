"""minidl.search: what it draws, what it notes, what it continues from; in this process, in others, and on Dask."""

import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from cases import assert_says

import minidl
from minidl import plots
from minidl.backend import draw_normal, float_type
from minidl.errors import DataError, UserError
from minidl.search import Choice, LogUniform, Results, Trial, Uniform, grid, run, search

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {"lr": LogUniform(1e-6, 1e-2), "units": [32, 64], "epochs": 5}


def needs(*packages, extra):
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} missing: pip install -e '.[{extra}]'")


JOBLIB = needs("joblib", extra="search")
DASK = needs("joblib", "dask", "distributed", extra="dask")


def train(settings, seed):
    """Stands for a training: its result depends on the settings, the seed and minidl's random numbers."""
    return {"score": settings["lr"] * settings["units"] + float(draw_normal(())), "noise": seed % 97}


def quiet(*arguments, **named):
    return search(*arguments, **{"report": None, "jobs": 1} | named)


# -------------------------------------------------------------------------------------------------------------- ranges


def test_log_uniform_is_uniform_in_the_logarithm():
    generator = np.random.default_rng(0)
    values = np.array([LogUniform(1e-6, 1e-2).draw(generator) for _ in range(4000)])
    assert values.min() >= 1e-6
    assert values.max() <= 1e-2
    shares = np.histogram(np.log10(values), bins=4, range=(-6, -2))[0] / 4000
    assert np.abs(shares - 0.25).max() < 0.03, shares        # 4 standard deviations
    values = np.array([Uniform(1e-6, 1e-2).draw(generator) for _ in range(4000)])
    assert np.mean(values < 1e-3) == pytest.approx(0.1, abs=0.02)


def test_points_of_a_grid():
    assert LogUniform(1e-6, 1e-2).points(5) == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3, 1e-2], rel=1e-12)
    assert LogUniform(1e-6, 1e-2).points(1) == pytest.approx([1e-4], rel=1e-12)
    assert Uniform(-1, 1).points(3) == [-1, 0, 1]
    assert Choice("ab").points(3) == ["ab"]
    assert Choice([None, 2]).points(1) == [None, 2]
    found = grid(lambda settings, seed: {"sum": settings["a"] + settings["b"] + settings["c"]},
                 {"a": Uniform(0, 1), "b": [10, 20], "c": 100}, points=2, report=None)
    assert [tuple(trial.settings.values()) for trial in found] == [(0, 10, 100), (0, 20, 100), (1, 10, 100),
                                                                    (1, 20, 100)]
    assert found.column("sum").tolist() == [110, 120, 111, 121]
    found = grid(train, {"lr": LogUniform(1e-6, 1e-2), "units": Uniform(1, 2)}, points={"lr": 3, "units": 2},
                 report=None)
    assert len(found) == 6


@pytest.mark.parametrize(("make", "parts"), [
    (lambda: LogUniform(0, 1), ["LogUniform(0, 1)", "above 0", "Uniform"]),
    (lambda: Uniform(2, 1), ["Uniform(2, 1)", "lower end first"]),
    (lambda: Uniform("a", 1), ["Uniform low='a'"]),
    (lambda: Choice([]), ["at least one value"]),
    (lambda: quiet(train, {}, 3), ["settings={}", "dict of ranges"]),
    (lambda: quiet(train, {"seed": Uniform(0, 1)}, 3), ["'seed'", "other than trial, seed, error"]),
    (lambda: quiet(train, {"lr": Uniform}, 3), ["'lr' is the class Uniform", "Uniform(...)"]),
    (lambda: quiet(train, SETTINGS, 0), ["trials=0", "at least 1"]),
    (lambda: quiet(train, SETTINGS, 3, seed=-1), ["seed=-1", "at least 0"]),
    (lambda: quiet(train, SETTINGS, 3, jobs=0), ["jobs=0", "-1 for one for each core"]),
    (lambda: quiet({"lr": 1}, SETTINGS, 3), ["train={'lr': 1}", "train(settings, seed)"]),
    (lambda: grid(train, SETTINGS, points={"rl": 3}), ["'rl' is none of the settings", "lr, units, epochs"]),
    (lambda: grid(train, SETTINGS, points={"units": 3}), ["how many of 'lr'", "points={'lr': 5}"]),
    (lambda: grid(train, SETTINGS, points=0), ["points of lr=0"]),
    (lambda: quiet(train, SETTINGS, 3, csv="/dev/null/x.csv"), ["/dev/null/x.csv", "no folder"]),
    (lambda: quiet(train, SETTINGS, 3, csv="/proc/x.csv"), ["/proc/x.csv", "the trials cannot be saved"]),
])
def test_what_cannot_work_is_one_sentence(make, parts):
    with pytest.raises(UserError) as caught:
        make()
    assert_says(caught, *parts)


# -------------------------------------------------------------------------------------------------------------- trials


def test_a_trial_depends_on_the_seed_and_its_number_alone():
    long, short = quiet(train, SETTINGS, 12, seed=3), quiet(train, SETTINGS, 5, seed=3)
    assert list(long[:5]) == list(short)
    assert [trial.number for trial in long] == list(range(12))
    assert len({trial.seed for trial in long}) == len({trial["lr"] for trial in long}) == 12
    assert {trial["units"] for trial in long} == {32, 64}
    assert {trial["epochs"] for trial in long} == {5}
    other = quiet(train, SETTINGS, 5, seed=4)
    assert not {trial.seed for trial in other} & {trial.seed for trial in short}


def test_the_caller_keeps_random_numbers_precision_and_threads():
    def look(settings, seed):
        draw_normal((10,))
        return {"bits": np.dtype(float_type()).itemsize * 8, "threads": minidl.threads()}

    minidl.seed(5)
    expected = draw_normal((3,)).tolist()
    minidl.seed(5)
    minidl.threads(2)
    with minidl.precision("float64"):
        found = quiet(look, SETTINGS, 2)
    assert [trial.results for trial in found] == [{"bits": 64, "threads": 2}] * 2
    assert draw_normal((3,)).tolist() == expected
    assert minidl.threads() == 2


def test_a_failing_trial_is_noted_and_the_others_go_on(tmp_path):
    def breaks(settings, seed):
        if settings["units"] == 64:
            raise ValueError("too\nwide")
        return train(settings, seed)

    lines = []
    found = quiet(breaks, SETTINGS, 12, csv=tmp_path / "x.csv", report=lambda trial: lines.append(str(trial)))
    assert len(lines) == 12
    assert found.failed
    assert len(found.failed) < 12
    for trial in found:
        assert bool(trial.error) == (trial["units"] == 64), str(trial)
    failed = found.failed[0]
    assert failed.error.startswith("ValueError: too wide (test_search.py, line ")
    assert failed.results == {}
    assert np.isnan(failed["score"])
    assert "failed: ValueError: too wide" in lines[failed.number]
    assert "ValueError: too wide" in str(found)
    assert not found.best(12).failed
    again = quiet(train, SETTINGS, 12, csv=tmp_path / "x.csv")
    assert list(again) == list(found), "failed trials are not run again"


@pytest.mark.parametrize(("result", "error"), [
    (None, "train returned None: expected a dict of numbers"),
    ({}, "train returned {}: expected a dict"),
    ({"score": "good"}, "score='good': expected a number"),
    ({"score": np.ones(3)}, "expected a number"),
    ({"lr": 1.0}, "'lr', which is the name of something else"),
    ({"error": 1.0}, "'error', which is the name of something else"),
])
def test_results_that_are_no_numbers(result, error):
    assert error in quiet(lambda settings, seed: result, SETTINGS, 1)[0].error


def test_results_become_numbers_of_python():
    given = {"a": np.float32(0.5), "b": np.ones(1), "c": np.int64(3), "d": True}
    (trial,) = quiet(lambda settings, seed: given, SETTINGS, 1)
    assert [(value, type(value)) for value in trial.results.values()] == [(0.5, float), (1.0, float), (3, int),
                                                                           (1, int)]


def test_best():
    scores = [0.5, 0.9, float("nan"), 0.9, 0.1, float("inf")]
    found = Results(Trial(k, 0, {"lr": 0.1}, {"score": score, "loss": -k}) for k, score in enumerate(scores))
    found.append(Trial(6, 0, {"lr": 0.1}, error="ValueError"))
    assert [trial.number for trial in found.best(3)] == [1, 3, 0]
    assert [trial.number for trial in found.best(by="score", lowest=True)] == [4, 0, 1, 3]
    assert [trial.number for trial in found.best(2, by="loss", lowest=True)] == [5, 4]
    with pytest.raises(UserError) as caught:
        found.best(by="accuracy")
    assert_says(caught, "by='accuracy'", "score, loss")
    with pytest.raises(UserError) as caught:
        found.failed.best()
    assert_says(caught, "all 1 trials failed", "number 6", "ValueError")
    assert str(found.best(1)) == "trial   lr  score  loss\n-----------------------\n    1  0.1    0.9    -1"
    assert (str(Results()), Results().best()) == ("no trials", [])


# ------------------------------------------------------------------------------------------------------------ the file


def test_a_search_continues_from_its_file(tmp_path):
    path, ran = tmp_path / "folder" / "x.csv", []

    def noted(settings, seed):
        ran.append(seed)
        if len(ran) == 4:
            raise KeyboardInterrupt
        return train(settings, seed)

    with pytest.raises(KeyboardInterrupt):
        quiet(noted, SETTINGS, 9, csv=path)
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1 + 3
    found = quiet(noted, SETTINGS, 9, csv=path)
    assert len(ran) == 4 + 6
    assert ran[3] == ran[4], "the trial that was stopped is run again, from its seed"
    whole = quiet(train, SETTINGS, 9, csv=tmp_path / "whole.csv")
    assert list(found) == list(whole)
    assert path.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert quiet(noted, SETTINGS, 4, csv=path) == whole[:4]
    assert len(ran) == 10
    assert path.read_bytes() == (tmp_path / "whole.csv").read_bytes(), "a shorter search drops no trial"
    assert [trial.number for trial in quiet(train, SETTINGS, 11, csv=path)] == list(range(11))
    assert not list(path.parent.glob("*.part"))


def test_a_grid_continues_from_its_file(tmp_path):
    settings = {"lr": LogUniform(1e-6, 1e-2), "units": [32, 64]}
    whole = grid(train, settings, points=3, csv=tmp_path / "x.csv", report=None)
    lines = (tmp_path / "x.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "x.csv").write_text("\n".join([*lines[:2], *lines[4:]]) + "\n", encoding="utf-8")
    ran = []
    found = grid(train, settings, points=3, csv=tmp_path / "x.csv", report=lambda trial: ran.append(trial.number))
    assert ran == [1, 2]
    assert list(found) == list(whole)
    with pytest.raises(DataError) as caught:
        grid(train, settings, points=2, csv=tmp_path / "x.csv", report=None)
    assert_says(caught, "trial 2 has lr=0.0001", "in this search it has lr=0.01")
    with pytest.raises(DataError) as caught:
        grid(train, {"lr": LogUniform(1e-6, 1e-2), "units": [32]}, points={"lr": 1}, csv=tmp_path / "x.csv",
             report=None)
    assert_says(caught, "trial 0 has lr=1e-06", "Name another file, or delete this one")


LR = {"lr": LogUniform(1e-6, 1e-2)}
OTHERS = {
    "seed": (SETTINGS, 1, ["trial 0 has seed=", "in this search it has seed="]),
    "range": (SETTINGS | {"lr": LogUniform(1e-5, 1e-2)}, 0, ["trial 0 has lr=", "the ranges or the seed"]),
    "constant": (SETTINGS | {"epochs": 6}, 0, ["trial 0 has epochs=5, in this search it has epochs=6"]),
    "name": (LR | {"width": [32, 64], "epochs": 5}, 0, ["settings lr, units, epochs", "search has lr, width, epochs"]),
    "one less": (LR | {"units": [32, 64]}, 0, ["settings lr, units, epochs", "this search has lr, units."]),
}


@pytest.mark.parametrize("other", OTHERS)
def test_the_file_of_another_search_is_refused(other, tmp_path):
    quiet(train, SETTINGS, 2, csv=tmp_path / "x.csv")
    before = (tmp_path / "x.csv").read_bytes()
    settings, seed, parts = OTHERS[other]
    with pytest.raises(DataError) as caught:
        quiet(train, settings, 2, seed=seed, csv=tmp_path / "x.csv")
    assert_says(caught, "x.csv", "Name another file, or delete this one", *parts)
    assert (tmp_path / "x.csv").read_bytes() == before


@pytest.mark.parametrize(("text", "parts"), [
    ("", ["table that begins with trial,seed"]),
    ("name,age\nAnna,7\n", ["trial,seed", "'name,age'"]),
    ("trial,seed,lr,units,epochs,error,score\n0,12\n", ["line 2", "expected 7 cells", "'0,12'", "Delete the line"]),
    ("trial,seed,lr,units,epochs,error,score\nzero,1,2,3,4,,6\n", ["line 2", "'zero,1,2,3,4,,6'"]),
    ("trial,seed,lr,units,epochs,error,score\n-1,1,2,3,4,,6\n", ["trial -1, which this search does not have"]),
    ("trial,seed,lr,units,epochs,error,score\n0,1,2,3,4,,good\n", ["line 2", "good"]),
    ("\xff", ["cannot be read"]),
], ids=["empty", "another table", "cut", "no number", "below 0", "no result", "no text"])
def test_a_file_that_is_no_search(text, parts, tmp_path):
    (tmp_path / "x.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as caught:
        quiet(train, SETTINGS, 2, csv=tmp_path / "x.csv")
    assert_says(caught, "x.csv", *parts)
    assert (tmp_path / "x.csv").read_bytes() == text.encode("latin-1")


def test_values_of_every_kind_come_back_from_the_file(tmp_path):
    settings = {"kind": [None, "a, \"b\"", (1, 2), True], "rate": [0.1, 1e-300, 7]}
    results = {"good": 0.1 + 0.2, "bad": float("nan"), "whole": 3}
    first = grid(lambda settings, seed: results, settings, csv=tmp_path / "x.csv", report=None)
    again = grid(lambda settings, seed: 1 / 0, settings, csv=tmp_path / "x.csv", report=None)
    assert [trial.settings for trial in again] == [trial.settings for trial in first]
    assert repr(again[5].results) == repr(results)


# ----------------------------------------------------------------------------------------------------- other processes


def test_without_joblib_it_says_so_and_runs_here(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "joblib", None)
    run._say_once.cache_clear()
    here = search(train, SETTINGS, 3)
    assert "joblib" not in capsys.readouterr().out, "nobody asked for processes"
    assert search(train, SETTINGS, 3, jobs=2) == here
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("joblib is missing, so the trials run one after another in this process")
    assert "pip install joblib" in printed[0]
    assert printed[1:] == [str(trial) for trial in here]
    search(train, SETTINGS, 3, jobs=2, report=None)
    assert not capsys.readouterr().out, "it is said once"


SCRIPT = """
import os, sys, time
import numpy as np
import minidl
from minidl.backend import float_type
from minidl.layers import Dense
from minidl.losses import MeanSquaredError
from minidl.optimizers import SGD
from minidl.search import LogUniform, search

x = minidl.asarray(np.linspace(-1, 1, 60).reshape(20, 3))     # travels with the function that uses it

def train(settings, seed):
    layer = Dense(1)
    layer.build((3,))
    optimizer, loss = SGD(layer.parameters(), lr=settings["lr"]), MeanSquaredError()
    if settings["lr"] > 0.5:
        raise ValueError("too large")
    for step in range(50):
        value = float(loss.forward(layer.forward(x), x[:, :1]))
        layer.backward(loss.backward())
        optimizer.step()
    time.sleep(0.05 * (seed % 3))                              # they end in another order than they begin
    return {"loss": value, "threads": minidl.threads(), "elsewhere": os.getpid() != here}

here = os.getpid()
"""


def run_script(text, tmp_path, **environment):
    """Run SCRIPT and what follows it as a script of its own: its functions are those of __main__."""
    (tmp_path / "script.py").write_text(SCRIPT + textwrap.dedent(text), encoding="utf-8")
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MINIDL_")}
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120,
                          env=clean | {"PYTHONPATH": str(ROOT)} | environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def table_of(path):
    """The columns of a file of trials that must not depend on where they ran."""
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    assert rows[0][-2:] == ["threads", "elsewhere"]
    return [row[:-2] for row in rows], [row[-2:] for row in rows[1:]]


@JOBLIB
@pytest.mark.slow
def test_two_processes_give_the_same_as_one(tmp_path):
    run_script("""
        settings = {"lr": LogUniform(1e-3, 1)}
        with minidl.precision("float64"):
            search(train, settings, trials=12, seed=7, csv="one.csv")
            search(train, settings, trials=12, seed=7, csv="two.csv", jobs=2)
        search(train, settings, trials=12, seed=7, csv="float32.csv", jobs=2)
    """, tmp_path, MINIDL_THREADS="3")
    one, here = table_of(tmp_path / "one.csv")
    two, there = table_of(tmp_path / "two.csv")
    assert one == two
    assert any("ValueError: too large" in cell for row in one for cell in row)
    assert {tuple(cells) for cells in here} == {("3", "0"), ("", "")}
    assert {tuple(cells) for cells in there} == {("1", "1"), ("", "")}
    assert table_of(tmp_path / "float32.csv")[0] != two, "the precision travels, too"


@JOBLIB
@pytest.mark.slow
def test_ctrl_c_keeps_what_is_there(tmp_path):
    """Ctrl-C reaches the script and its processes at once, as in a terminal."""
    (tmp_path / "script.py").write_text(textwrap.dedent("""
        import time
        from minidl import terminal
        from minidl.search import Uniform, search
        terminal.prepare()

        def train(settings, seed):
            time.sleep(settings["seconds"])
            return {"seconds_slept": settings["seconds"]}

        search(train, {"seconds": Uniform(0.2, 0.4)}, trials=300, csv="x.csv", jobs=2)
    """), encoding="utf-8")
    with subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, start_new_session=True, env=os.environ | {"PYTHONPATH": str(ROOT)}) as process:
        for line in process.stdout:
            if line.startswith("trial   2"):
                os.killpg(process.pid, signal.SIGINT)
        errors = process.stderr.read()
    assert process.returncode in (130, -signal.SIGINT), errors    # what the shell shows as 130
    assert errors == "\nstopped\n"
    lines = (tmp_path / "x.csv").read_text(encoding="utf-8").splitlines()
    assert 3 <= len(lines) - 1 < 20, lines
    assert all(len(line.split(",")) == 5 for line in lines), lines


@JOBLIB
@pytest.mark.slow
def test_a_process_that_ends_is_one_sentence(tmp_path):
    printed = run_script("""
        import os, threading
        from minidl.errors import UserError

        def ends(settings, seed):
            os._exit(1)

        lock = threading.Lock()
        for broken in (ends, lambda settings, seed: {"lock": lock.locked()}):
            try:
                search(broken, {"lr": LogUniform(1e-3, 1)}, trials=4, jobs=2)
            except UserError as error:
                print("UserError:", error)
    """, tmp_path)
    ended, unsent = printed.split("UserError: ")[1:]
    assert "a process ended in the middle of a trial" in ended
    assert "Try fewer jobs" in ended
    assert "train cannot be sent to other processes" in unsent
    assert "jobs=1" in unsent


@DASK
@pytest.mark.slow
def test_the_same_code_on_dask(tmp_path):
    """Two workers; the second cluster's have two threads each, whose trials wait for each other."""
    run_script("""
        import joblib
        from dask.distributed import Client, LocalCluster

        if __name__ == "__main__":
            settings = {"lr": LogUniform(1e-3, 1)}
            search(train, settings, trials=10, seed=7, csv="one.csv")
            for count in (1, 2):
                with LocalCluster(n_workers=2, threads_per_worker=count, dashboard_address=None) as cluster, \\
                        Client(cluster), joblib.parallel_config(backend="dask"):
                    search(train, settings, trials=10, seed=7, csv=f"dask{count}.csv")
    """, tmp_path)
    one, _ = table_of(tmp_path / "one.csv")
    for count in (1, 2):
        dask, there = table_of(tmp_path / f"dask{count}.csv")
        assert dask == one
        assert {tuple(cells) for cells in there} == {("1", "1"), ("", "")}


# ------------------------------------------------------------------------------------------------------------ pictures


def test_the_plane_rings_the_best_and_crosses_what_failed():
    import matplotlib.pyplot as plt
    from matplotlib.collections import PathCollection
    x, y = np.array([0.1, 0.01, 0.001]), np.array([1e-3, 1e-4, 1e-5])
    figure = plots.plane({"a": (x, y, np.array([0.2, np.nan, 0.9])), "b": (x, y, np.array([0.5, 0.4, 0.3]))}, "title",
                         "lr", "decay", "accuracy")
    for axis, title, best in zip(figure.axes[:2], ("a: best 0.90", "b: best 0.50"), (2, 0), strict=True):
        dots, ring = (each for each in axis.collections if isinstance(each, PathCollection))
        assert axis.get_title() == title
        assert ring.get_offsets().tolist() == [[x[best], y[best]]]
        assert dots.get_clim() == (0.2, 0.9), "one scale of colours for all panels"
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[0.01, 1e-4]]
    plt.close(figure)


def test_points_beside_the_diagonal():
    import matplotlib.pyplot as plt
    x, y = np.array([0.7, 0.8]), np.array([0.6, 0.9])
    figure = plots.points({"worth": {"good": (x, y)}}, "title", "score", logarithmic=False, diagonal=True,
                          rings={"worth": (0.8, 0.9)})
    axis = figure.axes[0]
    dots, diagonal, ring = axis.lines
    assert dots.get_xydata().tolist() == [[0.7, 0.6], [0.8, 0.9]]
    assert diagonal.get_slope() == 1
    assert ring.get_xydata().tolist() == [[0.8, 0.9]]
    assert axis.get_xscale() == "linear"
    assert axis.get_xlim()[0] > 0.5, "the diagonal leaves room for the points"
    plt.close(figure)
