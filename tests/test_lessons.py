"""Every lesson runs as a script, without a display, saves its pictures, and its claims hold."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minidl import terminal
from minidl.lesson import Claims, Lesson
from minidl.lesson.progress import Bar, in_words
from minidl.lesson.record import Record

ROOT = Path(__file__).resolve().parents[1]
LESSONS = sorted((ROOT / "lessons").glob("[0-9]*.py"))
EACH = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)


def run(lesson, *flags, timeout=900, **environment):
    clean = {key: value for key, value in os.environ.items()
             if key not in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND") and not key.startswith("MINIDL_")}
    return subprocess.run([sys.executable, str(lesson), *map(str, flags)], cwd=ROOT, env=clean | environment,
                          capture_output=True, text=True, timeout=timeout, check=False)


def test_there_are_lessons():
    assert LESSONS


@pytest.mark.slow
@EACH
@pytest.mark.parametrize("data", [[], ["--data", "shapes10"]], ids=["as it is", "shapes10"])
def test_a_lesson_in_full(lesson, data, tmp_path):
    out = tmp_path / "runs of a lesson"
    done = run(lesson, "--fast", "--strict", "--out", out, *data)
    assert done.returncode == 0, f"{lesson.name}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert done.stderr == "", done.stderr[-3000:]
    claims = json.loads((out / "claims.json").read_text(encoding="utf-8"))
    assert claims
    assert not [claim["claim"] for claim in claims if claim["holds"] is not True]
    pictures = sorted(out.glob("*.png"))
    assert pictures
    for picture in pictures:
        assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n", picture.name
        assert picture.stat().st_size > 5000, f"{picture.name}: hardly anything drawn"
        assert f"picture: {picture}" in done.stdout
    assert f"all {len(claims)} claims hold" in done.stdout


@EACH
def test_lessons_keep_their_form(lesson):
    """A title, cells, no main(), at most 200 lines, a table of claims at the end."""
    text = lesson.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) <= 200, f"{lesson.name} has {len(lines)} lines"
    assert lines[0] == '"""'
    assert set(lines[2]) == {"="}, "a title, underlined"
    assert text.count("\n# %%\n") >= 3
    assert f'\nlesson = Lesson("{lesson.stem}", __doc__, ' in text, "the lesson is called as its script is"
    assert "__main__" not in text
    assert lines[-1] == "lesson.finish()"


FAULTS = {
    "no folder for pictures": (["--out", "/dev/null/pictures"], {}, ["--out /dev/null/pictures: no folder can be"]),
    "unknown data set": (["--data", "cifar11"], {}, ["unknown data set 'cifar11'", "Did you mean 'cifar10'?"]),
    "unknown folder": (["--data-dir", "/no/such/folder"], {}, ["/no/such/folder", "data_dir", "mkdir -p"]),
    "unknown folder in the environment": ([], {"MINIDL_DATA": "/no/such/folder"}, ["/no/such/folder", "MINIDL_DATA"]),
    "unknown backend": (["--backend", "torch"], {}, ["--backend", "'torch'", "numpy", "cupy"]),
    "unknown backend in the environment": ([], {"MINIDL_BACKEND": "torch"}, ["MINIDL_BACKEND='torch'", "numpy, cupy"]),
    "no seeds": (["--seeds", "0"], {}, ["--seeds 0", "at least 1"]),
    "a first seed below 0": (["--seed", "-1"], {}, ["--seed -1", "at least 0"]),
    "half a flag": (["--see", "3"], {}, ["unrecognized arguments: --see 3"]),
    "half a seed": (["--seeds", "1.5"], {}, ["--seeds", "1.5"]),
    "unknown flag": (["--fats"], {}, ["--fats"]),
    "no threads": ([], {"MINIDL_THREADS": "none"}, ["MINIDL_THREADS='none'", "at least 1"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_one_plain_message(fault, tmp_path):
    """Nothing of Python's inner life reaches the user."""
    flags, environment, parts = FAULTS[fault]
    done = run(LESSONS[0], "--fast", "--out", tmp_path, *flags, timeout=60, **environment)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr, done.stderr
    missing = [part for part in parts if part not in done.stderr]
    assert not missing, f"the message lacks {missing}: {done.stderr}"
    assert len(done.stderr.strip().splitlines()) <= 8, done.stderr
    assert not list(tmp_path.iterdir())


def test_a_damaged_data_set_is_one_plain_message(tmp_path):
    (tmp_path / "cifar-10-batches-bin").mkdir()
    for name in [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]:
        (tmp_path / "cifar-10-batches-bin" / name).write_bytes(b"\x01" * 5000)
    done = run(LESSONS[0], "--fast", "--data", "cifar10", "--data-dir", tmp_path, timeout=60, MINIDL_OFFLINE="1")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr, done.stderr
    assert "DataError" in done.stderr


@EACH
def test_help_names_every_flag(lesson):
    done = run(lesson, "--help", timeout=60)
    assert done.returncode == 0
    missing = [flag for flag in ("--backend", "--data", "--data-dir", "--seeds", "--seed ", "--fast", "--textbook",
                                 "--debug", "--out", "--strict") if flag not in done.stdout]
    assert not missing, f"{missing} not in\n{done.stdout}"


FORMS = """
import minidl
from minidl.layers import Dense
from minidl.lesson import Lesson
lesson = Lesson("00_small", "what computes, and in how many threads")
print(Dense.backward.__module__, minidl.threads())
"""


@pytest.mark.parametrize(("flags", "form", "threads"), [
    ([], "minidl.layers.dense", 3), (["--textbook"], "minidl.textbook", 3), (["--debug"], "minidl.textbook", 1)])
def test_the_forms_of_the_blackboard(flags, form, threads, tmp_path):
    script = tmp_path / "00_small.py"
    script.write_text(FORMS)
    done = run(script, *flags, "--out", tmp_path, MINIDL_THREADS="3", PYTHONPATH=str(ROOT))
    assert done.stderr == ""
    *said, forms = done.stdout.splitlines()
    assert forms == f"{form} {threads}"
    assert len(said) == ("--debug" in flags), "it says once what it did"
    assert not said or said[0].startswith("--debug: the layers compute by the formulas in minidl/textbook.py, all in")


def test_seeds_begin_at_the_first_one(tmp_path, monkeypatch):
    def seeds(*flags):
        monkeypatch.setattr(sys, "argv", ["00_small.py", "--out", str(tmp_path), *flags])
        monkeypatch.setattr(terminal, "prepare", lambda: None)
        return list(Lesson("00_small", "", seeds=3).seeds)

    assert seeds() == [0, 1, 2]
    assert seeds("--fast") == [0]
    assert seeds("--seed", "3") == [3, 4, 5]
    assert seeds("--seed", "3", "--seeds", "2") == [3, 4]
    assert seeds("--seed", "3", "--fast") == [3]


# ------------------------------------------------------------------------------------------------------------- claims


def test_claims(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    claims = Claims()
    assert claims.hold
    claims.add("Sigmoid networks of great depth do not learn, which takes more than fifty characters to say", 0.123456,
               holds=True, published="0.101 (course)")
    assert claims.hold
    assert "all 1 claims hold" in str(claims)
    claims.add("Ünd dies", "3 of 4", holds=np.bool_(False))
    assert not claims.hold
    text = str(claims)
    assert "1 of 2 claims do not hold in this run" in text
    first = next(line for line in text.splitlines() if line.startswith("Sigmoid"))
    assert first.split("  ")[0] == "Sigmoid networks of great depth do not learn,"
    assert "0.101 (course)" in first
    assert "0.1235" in first
    assert first.endswith("yes")
    assert next(line for line in text.splitlines() if line.startswith("Ünd dies")).endswith("NO")
    Record(tmp_path, {"seed": 0}).save(claims.as_dicts(), complete=True)
    rows = json.loads((tmp_path / "claims.json").read_text(encoding="utf-8"))
    assert rows[1] == {"claim": "Ünd dies", "published": "-", "measured": "3 of 4", "holds": False, "miss": "",
                       "values": []}
    assert rows[0]["measured"] == "0.1235"
    assert rows[0]["holds"] is True


def test_a_claim_added_again_replaces_the_first():
    claims = Claims()
    for sentence, measured in (("a", 1), ("b", 2), ("a", 3)):
        claims.add(sentence, measured, holds=True)
    assert [(row.claim, row.measured) for row in claims.rows] == [("a", "3"), ("b", "2")]


@pytest.mark.parametrize(("terminal", "widest"), [(200, 119), (100, 100), (80, 80), (40, 80)])
def test_the_table_of_claims_fits_the_terminal(monkeypatch, terminal, widest):
    monkeypatch.setenv("COLUMNS", str(terminal))
    claims = Claims()
    claims.add("ReLU, std 0.01: from layer 1 to layer 10 the outputs' spread is multiplied by at most 1e-06", 1e-7,
               holds=True, published="0.868-0.884. Not 003's 0.796: its gradient was wrong")
    lines = str(claims).splitlines()
    assert widest - 20 < max(map(len, lines)) <= widest


def test_measured_over_seeds_and_why_a_claim_may_miss(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    claims = Claims()
    claims.add("high", [0.5, 0.7], holds=True, miss="never shown")
    claims.add("higher", [0.25], holds=False, miss="few images")
    assert [row.measured for row in claims.rows] == ["0.6 ± 0.1 (2 seeds)", "0.25"]
    assert "higher (few images)" in str(claims)
    assert "never shown" not in str(claims)


STOPPED = '''
"""Stopped in the middle."""
import os, signal
from minidl.lesson import Lesson
lesson = Lesson("00_stopped", __doc__, data="shapes10", seeds=4)
accuracy = {}
with lesson.running():
    for name, seed in lesson.each(["A", "B"], lesson.seeds):
        if (name, seed) == ("B", 1):
            os.kill(os.getpid(), signal.SIGINT)
        accuracy.setdefault(name, []).append(0.5 + seed / 10)
        lesson.note(name=name, seed=seed, accuracy=accuracy[name][-1])
print("after the block")
with lesson.running():
    for name in lesson.each(["D"]):
        print("work that nobody asked for")
lesson.claims.add("A learns", accuracy["A"], min(accuracy["A"]) > 0.4)
lesson.claims.add("C learns", accuracy["C"], True)
lesson.finish()
'''


def test_ctrl_c_leaves_what_there_is_so_far(tmp_path):
    """Pictures, table and files of the runs that were finished; exit status 130."""
    (tmp_path / "00_stopped.py").write_text(STOPPED, encoding="utf-8")
    done = run(tmp_path / "00_stopped.py", "--out", tmp_path / "out")
    assert done.returncode == 130, done.stderr
    assert done.stderr == ""
    assert "stopped: pictures and claims of what there is so far\nafter the block\n" in done.stdout
    assert "all 1 claims hold" in done.stdout
    assert "work that nobody asked for" not in done.stdout, "a second block begins although the first was stopped"
    assert (tmp_path / "out" / "metrics.csv").read_text(encoding="utf-8").splitlines() == \
        ["name,seed,accuracy", "A,0,0.5", "A,1,0.6", "A,2,0.7", "A,3,0.8", "B,0,0.5"]
    facts = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert facts["complete"] is False
    assert facts["arguments"]["seeds"] == [0, 1, 2, 3]
    assert facts["packages"]["numpy"] == np.__version__
    assert facts["machine"]


def test_a_bar_makes_way_for_what_is_printed(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen, before = Terminal(), sys.stdout
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdout", screen)
    with Bar(2) as bar:
        print("a line")
        bar.advance()
    assert sys.stdout is screen
    sys.stdout = before
    parts = screen.getvalue().split("\r\x1b[K")
    assert "0 of 2" in parts[1]
    assert parts[2] == "a line\n"
    assert "1 of 2, about" in parts[-2]
    assert parts[-1] == ""
    assert [in_words(seconds) for seconds in (7.4, 99, 150, 7500)] == ["7 s", "99 s", "2 min", "2 h 5 min"]
