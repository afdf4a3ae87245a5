"""Closed pipes, Ctrl-C, full disks, terminals of few characters: for the command and scripts, in real processes."""

import codecs
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minidl import terminal

with contextlib.suppress(ImportError):  # Windows has none
    import resource

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
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "z = W^Tx\n"]
    assert left_after(0, process) == (141, "")
    done = subprocess.run([sys.executable, script, "--help"], cwd=tmp_path, text=True, check=False, capture_output=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Sums: z = W^Tx, for ever." in done.stdout


codecs.register_error("as in minidl", terminal._in_ascii)


@pytest.mark.parametrize(("text", "ascii_text", "cp1252_text"), [
    ("0.95 ± 0.01", "0.95 +- 0.01", "0.95 ± 0.01"), ("std × √units", "std x sqrtunits", "std × sqrtunits"),
    ("z = Wᵀx", "z = W^Tx", "z = W^Tx"), ("Σw²", "Sigmaw^2", "Sigmaw²"), ("4 in 10¹⁵", "4 in 10^15", "4 in 10¹^5"),
    ("10⁻¹⁵σ²", "10^-15sigma^2", "10^-15sigma²"), ("a → b, µ ≤ ½ … “β”", 'a -> b, mu <= 1/2 ... "beta"', None),
    ("Müller, naïve, Łódź", "Muller, naive, ?odz", "Müller, naïve, ?ódz"), ("x₁ − y", "x1 - y", "x1 - y"),
    ("学\udc80\U0001f600", "???", "???"), ("e\u0301", "e", "e")])
def test_what_is_printed_for_a_character_that_is_not_there(text, ascii_text, cp1252_text):
    assert text.encode("ascii", "as in minidl").decode("ascii") == ascii_text
    if cp1252_text:
        assert text.encode("cp1252", "as in minidl").decode("cp1252") == cp1252_text


def test_every_character_of_the_code_and_the_lessons_has_something_like_it():
    for path in [path for folder in ("minidl", "lessons", "benchmarks") for path in (ROOT / folder).rglob("*.py")]:
        for character in sorted(set(path.read_text(encoding="utf-8")) - set(map(chr, range(128)))):
            printed = character.encode("ascii", "as in minidl")
            assert printed not in (b"", b"?"), f"{path}: {character}: add it to IN_ASCII of minidl/terminal.py"


LAYER = '''\
class Größe:
    """y = σx² ± 1"""
    def forward(self, x):
        self.x = x
        return x * x
    def backward(self, dy):
        return dy * self.x
'''
ALL = """
import sys
from minidl import cli, terminal
terminal.prepare()
for command in [["lesson"], ["lesson", "99"], ["data"], ["data", "cifär"], ["doctor"], ["parity"],
                *(["gradcheck", target, "--input-shape", "4,3"] for target in sys.argv[1:])]:
    print("status", cli.main(command))
"""
TARGETS = ["Müller ×.py:Größe", "Müller ×.py:学"]
SMALL = {"ascii": {"PYTHONIOENCODING": "ascii"}, "cp1252": {"PYTHONIOENCODING": "cp1252"}, "C": {"LC_ALL": "C"},
         "C, not UTF-8": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}}


@pytest.mark.parametrize("kind", ["cp1252", *(pytest.param(kind, marks=pytest.mark.slow)
                                              for kind in ("ascii", "C", "C, not UTF-8"))])
def test_every_command_on_a_terminal_of_few_characters(tmp_path, kind):
    """Tables, reports, errors, and names that only the student's disk knows."""
    (tmp_path / "Müller ×.py").write_text(LAYER, encoding="utf-8")
    (tmp_path / "all.py").write_text(ALL, encoding="utf-8")
    done = subprocess.run([sys.executable, "all.py", *TARGETS], cwd=tmp_path, capture_output=True, check=False,
                          timeout=100, env={**os.environ, "PYTHONPATH": str(ROOT), "MINIDL_DATA": str(tmp_path),
                                            **SMALL[kind]})
    out, errors = (text.decode("cp1252" if kind == "cp1252" else "utf-8") for text in (done.stdout, done.stderr))
    assert done.returncode == 0 and "Traceback" not in out + errors, out + errors
    statuses = [int(line.split()[1]) for line in out.splitlines() if line.startswith("status")]
    assert "unknown data set 'cif" in errors
    if kind == "C, not UTF-8":  # Python hands such names on as undecoded bytes
        assert statuses == [0, 2, 0, 2, 0, 2, 2, 2], out + errors
    else:
        assert statuses == [0, 2, 0, 2, 0, 2, 1, 2], out + errors
        name = "Gro?e" if kind == "ascii" else "Größe"
        assert f"gradient check of {name}: the backward pass is WRONG for input" in out, out + errors
        assert "has no class" in errors, errors


def test_importing_minidl_leaves_the_output_of_a_script_alone(tmp_path):
    code = ("import sys; before = sys.stdout, sys.stderr, sys.excepthook; import minidl, minidl.lesson, minidl.cli; "
            "assert before == (sys.stdout, sys.stderr, sys.excepthook); print(sys.stdout.errors, sys.stderr.errors)")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
                          timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"})
    assert (done.stdout, done.stderr) == ("strict backslashreplace\n", "")


# ------------------------------------------------------------------------------------------- full disks and no output

WITH_PICTURE = '''\
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
from minidl.lesson import Lesson

lesson = Lesson("00_drawn", __doc__)
print("ready")
for name in lesson.each(["blank", "blank"]):
    lesson.save(plt.figure(), name)
lesson.note(loss=1.0)
lesson.claims.add("it is one", 1.0, True)
lesson.finish()
'''
NO_ROOM = "the output cannot be written (No space left on device). Free some space, and run it again\n"


@pytest.fixture
def drawn(tmp_path):
    (tmp_path / "00_drawn.py").write_text(WITH_PICTURE, encoding="utf-8")
    return tmp_path


def finished(command, folder, **named):
    """The process, after its end. Without PYTHONUNBUFFERED, which would hide what is left for the last flush."""
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    named = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | named
    return subprocess.run([*map(str, command)], cwd=folder, text=True, check=False, timeout=100,
                          env={**clean, "PYTHONPATH": str(ROOT)}, **named)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["lesson"], ["lesson", "2", "--help"], None], ids=str)
def test_a_disk_too_full_for_the_output(drawn, arguments):
    command = [sys.executable, "00_drawn.py"] if arguments is None else [*COMMAND, *arguments]
    with open("/dev/full", "w") as full:
        done = finished(command, drawn, stdout=full)
        assert (done.returncode, done.stderr) == (1, NO_ROOM)
        done = finished(command, drawn, stdout=full, stderr=full)
        assert done.returncode == 1


@pytest.mark.skipif(os.name == "nt", reason="no RLIMIT_FSIZE")
def test_a_disk_too_full_for_the_files_of_a_lesson(drawn):
    """The table is printed, one sentence says what was not written, and nothing half-written is left."""
    (drawn / "out").mkdir()
    (drawn / "out" / "claims.json").write_text("[]")
    done = finished([sys.executable, "00_drawn.py", "--out", "out"], drawn,
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10)))
    assert done.returncode == 1
    assert "it is one  -          1              yes" in done.stdout and "all 1 claims hold" in done.stdout
    assert "picture:" not in done.stdout
    assert done.stderr.endswith("not written: blank.png, run.json, claims.json (File too large). Mend that, or name "
                                "another folder by --out, and run it again\n"), done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name: path.read_text() for path in (drawn / "out").iterdir()} == {
        "metrics.csv": "loss\n1.0\n", "claims.json": "[]"}
    done = finished([sys.executable, "00_drawn.py", "--out", "out"], drawn)  # the disk has room again
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads((drawn / "out" / "claims.json").read_text())) == 1
    assert (drawn / "out" / "blank.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.skipif(os.name == "nt", reason="no RLIMIT_FSIZE")
def test_a_disk_too_full_for_the_picture_of_a_gradient_check(tmp_path):
    (tmp_path / "student.py").write_text(LAYER.replace("ß", "ss"), encoding="utf-8")
    arguments = ["gradcheck", "student.py:Grösse", "--input-shape", "4,3", "--plot", "check.png"]
    done = finished([*COMMAND, *arguments], tmp_path,
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10)))
    assert done.returncode == 2 and "WRONG for input" in done.stdout
    said = done.stderr.splitlines()[-1]
    assert said.startswith("minidl gradcheck: ") and "check.png: the picture cannot be saved" in said
    assert "Traceback" not in done.stderr
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    assert [path.name for path in tmp_path.iterdir()] == ["student.py"]


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no folder that not even root may write into")
def test_a_folder_that_takes_no_file_is_known_before_the_training(drawn):
    done = finished([sys.executable, "00_drawn.py", "--out", "/proc/self"], drawn)
    assert done.returncode == 2 and done.stdout == ""
    assert "error: --out /proc/self: no folder can be made there, or no file in it (" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="no POSIX shell")
@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-"])
def test_outputs_that_are_closed(drawn, closed):
    done = finished(["sh", "-c", f'"$0" "$@" {closed}', sys.executable, "00_drawn.py"], drawn)
    assert done.returncode == 0, done.stderr
    assert (drawn / "runs" / "00_drawn" / "claims.json").exists()


def test_nobody_reads_the_errors(tmp_path):
    """`2>&1 | head`: the status of wrong usage, or that of a closed pipe."""
    process = started([*COMMAND, "data", "nope"], tmp_path)
    process.stdout.close()
    process.stderr.close()
    assert process.wait(60) in (2, 141)


HOMELESS = """
import pwd, sys
def nobody(uid):
    raise KeyError(uid)
pwd.getpwuid = nobody
from minidl import cli, datasets, terminal
terminal.prepare()
datasets.is_checkout = lambda folder: False
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name == "nt", reason="no user database")
@pytest.mark.parametrize(("arguments", "status", "part"), [
    (["data"], 0, "folder: {here}/.cache/minidl"), (["data", "mnist10k"], 0, "8,000 training and 2,000 test images"),
    (["data", "--data-dir", "~/data"], 2, "~/data: this user has no home folder"),
    (["gradcheck", "~/x.py:X", "--input-shape", "3"], 2, "no such file")], ids=lambda value: str(value)[:20])
def test_without_a_home(tmp_path, arguments, status, part):
    """As in a container: no HOME, and a user that the system does not know."""
    environment = {key: value for key, value in os.environ.items() if key not in ("HOME", "MINIDL_DATA")}
    done = subprocess.run([sys.executable, "-c", HOMELESS, *arguments], cwd=tmp_path, capture_output=True, text=True,
                          timeout=60, check=False, env={**environment, "PYTHONPATH": str(ROOT)})
    assert done.returncode == status, done.stderr
    assert part.format(here=tmp_path.resolve()) in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_line_goes_into_a_pipe_at_once(tmp_path):
    """`| tee log` shows how far a lesson is: nothing is kept until 8 KiB are there."""
    (tmp_path / "00_slow.py").write_text("from minidl.lesson import Lesson\nlesson = Lesson('00_slow', None)\n"
                                         "print('first')\ninput()\n")
    process = subprocess.Popen([sys.executable, "00_slow.py"], cwd=tmp_path, text=True, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert process.stdout.readline() == "first\n"     # or wait for ever
    process.communicate("\n", timeout=60)
    assert process.returncode == 0
