"""Every lesson as a notebook: what is in it, and that a real Jupyter kernel runs it cell by cell."""

import base64
import importlib.util
import json
import shlex
import sys
from pathlib import Path

import pytest

from minidl import cli, notebook
from minidl.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
LESSONS = sorted((ROOT / "lessons").glob("[0-9]*.py"))
EACH = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)


def needs(*packages):
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} missing: pip install -e '.[notebook]'")


WRITES = needs("sphinx_gallery")
RUNS = needs("sphinx_gallery", "nbclient", "ipykernel")


def cells(path):
    """[(kind, text)] of a notebook file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4
    return [(cell["cell_type"], "".join(cell["source"])) for cell in content["cells"]]


def executed(path):
    """The notebook, run by a kernel of its own in its own folder; an error in a cell raises."""
    import nbclient
    import nbformat
    content = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(content, timeout=900, kernel_name="python3",
                            resources={"metadata": {"path": str(path.parent)}}).execute()
    return content


def printed(content):
    return "".join(output["text"] for cell in content.cells for output in cell.get("outputs", [])
                   if output["output_type"] == "stream")


def pictures(content):
    """The bytes of every PNG among the outputs, in order."""
    return [base64.b64decode(output["data"]["image/png"]) for cell in content.cells
            for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]


@pytest.fixture
def kernel_of_this_python(tmp_path, monkeypatch):
    """A kernel "python3" that is the Python of these tests, with this checkout and with no display."""
    folder = tmp_path / "jupyter" / "kernels" / "python3"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps({
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "language": "python",
        "display_name": "tests"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("MPLBACKEND", raising=False)
    for name in ("MINIDL_BACKEND", "MINIDL_DATA", "MINIDL_THREADS"):
        monkeypatch.delenv(name, raising=False)


# ------------------------------------------------------------------------------------------------------------ writing

@WRITES
@EACH
def test_prose_becomes_markdown_and_code_becomes_code(lesson, tmp_path):
    found = cells(notebook.write_notebook(lesson, tmp_path / "lesson.ipynb"))
    source = lesson.read_text(encoding="utf-8")
    assert found[0][0] == "markdown"
    assert found[0][1].strip().splitlines()[0] == f"# {source.splitlines()[1]}"
    assert found[1][0] == "code" and "FLAGS = ''" in found[1][1]
    prose = "\n".join(text for kind, text in found if kind == "markdown")
    code = "\n".join(text for kind, text in found[2:] if kind == "code")
    assert "====" not in prose and "# %%" not in code
    assert not [text for kind, text in found[2:] if kind == "code" and text.lstrip().startswith("#")]
    for cell in source.split("\n# %%\n")[1:]:
        first, *others = cell.splitlines()
        assert first.removeprefix("# ") in prose and first not in code
        assert [line for line in others if line and not line.startswith("#")][-1] in code
    compile(code, lesson.name, "exec")


@WRITES
def test_a_notebook_holds_the_flags_given(tmp_path):
    flags = ["--data", "mnist", "--out", "my 'own' \"folder\""]
    path = notebook.write_notebook(LESSONS[0], tmp_path / "a.ipynb", flags)
    names = {}
    before = sys.argv
    try:
        exec(cells(path)[1][1], names)
        assert sys.argv == [f"{LESSONS[0].stem}.py", "--data", "mnist", "--out", "my 'own' \"folder\""]
    finally:
        sys.argv = before


@WRITES
def test_the_command_writes_a_notebook(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["lesson", "2", "--notebook", "--fast", "--data", "shapes10"]) == 0
    assert capsys.readouterr().out == "notebook: 02_vanishing_gradient.ipynb\n"
    assert "'--fast --data shapes10'" in cells(tmp_path / "02_vanishing_gradient.ipynb")[1][1]
    assert cli.main(["lesson", "2", "--fast", "--notebook", "new folder/two.ipynb"]) == 0
    assert "FLAGS = '--fast'" in cells(tmp_path / "new folder" / "two.ipynb")[1][1]


@WRITES
def test_a_notebook_is_not_overwritten(tmp_path, capsys):
    mine = tmp_path / "mine.ipynb"
    mine.write_text("my work")
    assert cli.main(["lesson", "2", "--notebook", str(mine)]) == 2
    assert f"--notebook {mine}: this file exists" in capsys.readouterr().err
    assert mine.read_text() == "my work"


@WRITES
@pytest.mark.parametrize(("name", "part"), [("two.py", "ends in .ipynb, such as 02_vanishing_gradient.ipynb"),
                                            ("/dev/null/two.ipynb", "the file cannot be written (")])
def test_a_notebook_that_cannot_be_written(name, part):
    with pytest.raises(UserError) as caught:
        notebook.write_notebook(LESSONS[1], name)
    assert part in str(caught.value)


def test_what_writes_notebooks_may_be_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sphinx_gallery.gen_gallery", None)
    with pytest.raises(UserError) as caught:
        notebook.write_notebook(LESSONS[1], tmp_path / "two.ipynb")
    assert "package sphinx-gallery, which cannot be imported" in str(caught.value)
    assert f"{shlex.quote(sys.executable)} -m pip install sphinx-gallery" in str(caught.value)


# ------------------------------------------------------------------------------------------------------------ running

@RUNS
@pytest.mark.slow
@EACH
def test_a_kernel_runs_a_lesson_and_shows_each_picture_once(lesson, tmp_path, kernel_of_this_python):
    out = tmp_path / "out"
    done = executed(notebook.write_notebook(lesson, tmp_path / "lesson.ipynb", ["--fast", "--out", str(out)]))
    files = {path.name: path.read_bytes() for path in out.glob("*.png")}
    assert files
    shown = pictures(done)
    assert len(shown) == len(files), f"{len(shown)} pictures shown, {len(files)} saved"
    assert set(shown) == set(files.values())
    claims = json.loads((out / "claims.json").read_text(encoding="utf-8"))
    assert claims
    assert not [claim["claim"] for claim in claims if claim["holds"] is not True]
    assert f"all {len(claims)} claims hold" in printed(done)
    assert not [output for cell in done.cells for output in cell.get("outputs", [])
                if output.get("name") == "stderr"], "warnings in the notebook"


SMALL = '''\
import matplotlib.pyplot as plt
from minidl.lesson import Lesson

lesson = Lesson("00_small", None, data="shapes10", seeds=3)
print("flags:", lesson.fast, lesson.data, list(lesson.seeds), lesson.out)
for name in ("one", "two"):
    figure, axes = plt.subplots()
    axes.set_title(name)
    lesson.save(figure, name)
'''


@RUNS
@pytest.mark.slow
def test_flags_and_pictures_in_a_kernel(tmp_path, kernel_of_this_python):
    """Cell by cell without flags, with those of a cell, and with those of %run, under another name as well."""
    import nbformat
    from nbformat import v4
    (tmp_path / "00_small.py").write_text(SMALL)
    (tmp_path / "a_copy.py").write_text(SMALL)
    content = v4.new_notebook(cells=[v4.new_code_cell(text) for text in (
        SMALL, "%run 00_small.py --fast --data mnist10k --seed 4", "%run a_copy.py --seeds 2 --out elsewhere",
        "import sys\nsys.argv = ['00_small.py', '--seed', '7', '--fast']", SMALL)])
    nbformat.write(content, tmp_path / "small.ipynb")
    done = executed(tmp_path / "small.ipynb")
    flags = [line for line in printed(done).splitlines() if line.startswith("flags:")]
    assert flags == ["flags: False shapes10 [0, 1, 2] runs/00_small", "flags: True mnist10k [4] runs/00_small",
                     "flags: False shapes10 [0, 1] elsewhere", "flags: True shapes10 [7] runs/00_small"]
    saved = [(tmp_path / "runs" / "00_small" / f"{name}.png").read_bytes() for name in ("one", "two")]
    assert pictures(done) == 4 * saved
