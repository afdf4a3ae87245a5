"""Closed pipes, Ctrl-C and terminals of few characters, for the command and for scripts, in real processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-c", "import sys; from minidl.cli import main; sys.exit(main())"]
FIRST_LESSON = ROOT / "lessons" / "01_first_network_and_gradient_check.py"

SCRIPT = '''\
"""Sums: z = Wᵀx, for ever."""
import time
from minidl.lesson import Lesson

lesson = Lesson("00_small", __doc__, data="shapes10")
print("ready")
while True:
    print("z = Wᵀx", flush=True)
    time.sleep(0.01)
'''


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "00_small.py"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


def started(command, folder, **environment):
    return subprocess.Popen([*map(str, command)], cwd=folder, text=True, encoding="utf-8", stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, start_new_session=True,
                            env={**os.environ, "PYTHONPATH": str(ROOT), **environment})


def left_after(lines, process):
    """(exit status, stderr) of a process whose reader leaves after so many lines."""
    with process:
        for _ in range(lines):
            assert process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    return process.returncode, errors


@pytest.mark.parametrize("arguments", [["lesson"], ["data"], ["doctor"]])
def test_a_closed_pipe_ends_a_command_quietly(tmp_path, arguments):
    assert left_after(0, started([*COMMAND, *arguments], tmp_path)) == (141, "")


def test_a_closed_pipe_ends_a_script_quietly(script, tmp_path):
    assert left_after(1, started([sys.executable, script], tmp_path)) == (141, "")


@pytest.mark.slow
@pytest.mark.parametrize("command", [[sys.executable, FIRST_LESSON], [*COMMAND, "lesson", "1"]],
                         ids=["script", "minidl"])
def test_a_closed_pipe_ends_a_lesson_quietly(tmp_path, command):
    flags = ["--fast", "--data", "shapes10"]
    assert left_after(1, started([*command, *flags], tmp_path)) == (141, "")


@pytest.mark.skipif(os.name == "nt", reason="no POSIX shell, no SIGINT for one group of processes")
def test_ctrl_c_stops_a_script(script, tmp_path):
    """A shell sees 130. Python ends itself by SIGINT, so that a loop of the shell stops, too."""
    line = 'trap : INT; "$0" "$1"; echo "status $?" >&2'
    process = started(["sh", "-c", line, sys.executable, script], tmp_path)
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert errors == "\nstopped\nstatus 130\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "ascii:strict"])
def test_a_terminal_of_few_characters(script, tmp_path, encoding):
    process = started([sys.executable, script], tmp_path, PYTHONIOENCODING=encoding)
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "z = W?x\n"]
    assert left_after(0, process) == (141, "")
    done = subprocess.run([sys.executable, script, "--help"], cwd=tmp_path, text=True, check=False, capture_output=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Sums: z = W?x, for ever." in done.stdout


def test_every_line_goes_into_a_pipe_at_once(tmp_path):
    """`| tee log` shows how far a lesson is: nothing is kept until 8 KiB are there."""
    (tmp_path / "00_slow.py").write_text("from minidl.lesson import Lesson\nlesson = Lesson('00_slow', None)\n"
                                         "print('first')\ninput()\n")
    process = subprocess.Popen([sys.executable, "00_slow.py"], cwd=tmp_path, text=True, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert process.stdout.readline() == "first\n"     # or wait for ever
    process.communicate("\n", timeout=60)
    assert process.returncode == 0
