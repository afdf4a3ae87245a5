"""The sessions of docs/stepping.md, given to pdb again: a step goes where the page says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "stepping.md"
LINE = "model.backward(loss.backward())"       # of the lesson: where the page sets its first breakpoint
SESSIONS = [block for block in re.findall(r"```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
            if "-m pdb" in block]


def parts(session):
    """What pdb printed before the first prompt, and [(command, what it printed)]."""
    first, *others = session.split("\n(Pdb) ")
    return first, [tuple((other + "\n").split("\n", 1)) for other in others]


def comparable(text):
    """Without the checkout's folder, numbers of lines, values returned and the width of tabs."""
    text = text.replace(f"{ROOT}{os.sep}", "").expandtabs()
    text = re.sub(r"\.py(\(|:)\d+", r".py\1N", text)                     # file.py(57) or file.py:57
    text = re.sub(r"^ *\d+( B| )( ->|   ) *", r"N\1\2 ", text, flags=re.MULTILINE)    # longlist
    text = re.sub(r"\)->.*", ")->...", text)                              # --Return--
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def pdb(flags, commands, folder):
    """What pdb printed before its first prompt, and after each command."""
    script = ROOT / "lessons" / "02_vanishing_gradient.py"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MINIDL_")}
    done = subprocess.run([sys.executable, "-m", "pdb", script, *flags], input="\n".join([*commands, ""]), text=True,
                          cwd=folder, env=clean | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}, timeout=600,
                          encoding="utf-8", capture_output=True, check=False)
    assert done.stderr == "", done.stderr
    return done.stdout.split("(Pdb) ")


@pytest.mark.slow
@pytest.mark.parametrize("session", SESSIONS, ids=["with --debug", "without"])
def test_pdb_goes_where_the_page_says(session, tmp_path):
    started, told = parts(session)
    lesson = (ROOT / "lessons" / "02_vanishing_gradient.py").read_text(encoding="utf-8").splitlines()
    number = 1 + next(k for k, line in enumerate(lesson) if line.strip() == LINE)
    commands = [re.sub(r"break \d+", f"break {number}", command) for command, _ in told]
    flags = started.splitlines()[0].split("02_vanishing_gradient.py")[1].split()
    first, *printed = pdb(flags, commands, tmp_path)
    assert comparable(first) == comparable(started.split("\n", 1)[1])
    for (command, expected), came in zip(told, printed, strict=True):
        assert comparable(came) == comparable(expected), f"docs/stepping.md, after (Pdb) {command}: renew the session"


def test_the_page_shows_both_forms():
    with_debug, without = SESSIONS
    assert "textbook.py" in with_debug and "--debug" in with_debug
    assert "textbook.py" not in without and "--debug" not in without


def test_the_page_names_the_line_of_the_lesson():
    lesson = (ROOT / "lessons" / "02_vanishing_gradient.py").read_text(encoding="utf-8").splitlines()
    named = set(map(int, re.findall(r"[Ll]ine (\d+)", PAGE.read_text(encoding="utf-8"))))
    assert {lesson[number - 1].strip() for number in named} == {LINE}
