"""After an installation, `import minidl` finds the package in whatever folder a student starts Python.

The difficult folder is the one that contains the clone: Python can take the clone's folder `minidl`, which has no
__init__.py, for the package. `minidl doctor` says where that, a second copy or a file `minidl.py` is in the way.
"""

import configparser
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.machinery import PathFinder
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.version import Version

import minidl

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "minidl"
HOMEWORK = "import minidl; from minidl import Sequential; from minidl.layers import Dense; print(minidl.__file__)"
SCRIPT = "homework.py"
BORROWED = ("numpy", "pip", "setuptools", "matplotlib", "requests", "threadpoolctl")


def run(*command, cwd, **named):
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "MINIDL_", "PIP_"))}
    environment = clean | {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"} | named.pop("env", {})
    return subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True,
                          timeout=120, check=False, **named)


def output(*command, **named):
    done = run(*command, **named)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def copy_clone(parent):
    """A clone of the project named minidl, without what somebody made or downloaded there."""
    clone = parent / "minidl"
    for name in (".ci", "benchmarks", "docs", "lessons", "minidl", "tests"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__", "course", "runs"))
    for path in [*ROOT.glob("*.*"), ROOT / "LICENSE", ROOT / "Makefile", ROOT / "datasets" / "README.md"]:
        if path.is_file() and path.name != ".git":
            (clone / path.relative_to(ROOT)).parent.mkdir(exist_ok=True)
            shutil.copy(path, clone / path.relative_to(ROOT))
    return clone


def make_environment(folder):
    """A fresh virtual environment that borrows NumPy, pip and setuptools from the one that runs the tests."""
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    commands = folder / ("Scripts" if os.name == "nt" else "bin")
    python = commands / Path(sys.executable).name
    site = Path(output(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder))
    found = filter(None, map(PathFinder.find_spec, BORROWED))
    borrowed = {str(Path(spec.origin).parents[1]) for spec in found}
    (site / "zz_borrowed.pth").write_text("\n".join(borrowed), encoding="utf-8")  # last: a minidl there does not count
    return SimpleNamespace(python=python, site=site, commands=commands)


def need_setuptools():
    """What builds minidl without a network, of a version that needs no other package for it."""
    try:
        version = importlib.metadata.version("setuptools")
    except importlib.metadata.PackageNotFoundError:
        version = "0"
    if Version(version) < Version("70.1"):
        pytest.skip("setuptools 70.1 or newer is missing; run:  python -m pip install --editable '.[dev]'")


@pytest.fixture(scope="module", params=["editable", "wheel"])
def installed(request, tmp_path_factory):
    """A folder with the clone `minidl` in it, installed by pip, without a network."""
    need_setuptools()
    parent = tmp_path_factory.mktemp(request.param)
    clone = copy_clone(parent)
    there = make_environment(parent / "environment")
    for folder in (parent, clone, clone / "lessons"):
        (folder / SCRIPT).write_text(HOMEWORK, encoding="utf-8")
    output(there.python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--ignore-installed",
           *(["--editable"] if request.param == "editable" else []), clone, cwd=parent)
    there.kind, there.parent, there.clone = request.param, parent, clone
    there.package = (clone if request.param == "editable" else there.site) / "minidl"
    return there


STARTS = {"script": ([SCRIPT], None), "-c": (["-c", HOMEWORK], None), "prompt": (["-i", "-q"], HOMEWORK + "\n")}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("folder", [".", "minidl", "minidl/lessons"])
def test_homework_finds_the_package(installed, folder, start):
    arguments, typed = STARTS[start]
    found = output(installed.python, *arguments, cwd=installed.parent / folder, input=typed)
    expected = installed.package
    if folder == "minidl" or (folder, installed.kind) == ("minidl", "editable"):
        expected = installed.clone / "minidl"  # Python looks in its own folder first
    assert Path(found).resolve() == (expected / "__init__.py").resolve()


def test_homework_named_by_its_path(installed):
    for script in (Path("minidl") / SCRIPT, Path("minidl") / "lessons" / SCRIPT, installed.parent / SCRIPT):
        assert "minidl" in output(installed.python, script, cwd=installed.parent)


def test_the_command(installed):
    """As `minidl` and as `python -m minidl`, beside the clone."""
    for command in ([installed.commands / "minidl"], [installed.python, "-m", "minidl"]):
        assert output(*command, "--version", cwd=installed.parent) == f"minidl {minidl.__version__}"
        described = output(*command, "doctor", cwd=installed.parent)
        assert f"minidl   {minidl.__version__} in {installed.package.resolve()}\n" in described
        wrong = run(*command, "data", "nope", cwd=installed.parent)
        assert (wrong.returncode, wrong.stdout) == (2, "") and "unknown data set 'nope'" in wrong.stderr


def test_the_digits_come_along(installed, tmp_path):
    """Without a network, and with an empty home; beside them their licence and their authors."""
    code = ("from minidl.datasets import idx, load; x, y, *_ = load('mnist10k'); "
            "print(x.shape, idx.PACKAGE, sep='|')")
    shape, folder = output(installed.python, "-c", code, cwd=tmp_path,
                           env={"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "MINIDL_OFFLINE": "1"}).split("|")
    assert shape == "(8000, 28, 28, 1)"
    assert list(tmp_path.iterdir()) == []
    names = {path.name for path in (Path(folder) / "mnist").iterdir()}
    assert names == {"LICENSE-CC-BY-SA-3.0.txt", "README.md", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"}


def test_doctor_knows_the_lowest_versions(installed):
    code = "from minidl import doctor; print(doctor.lowest_versions())"
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    declared = [line.split(">=") for line in setup["options"]["install_requires"].split()]
    assert len(declared) == 4
    assert output(installed.python, "-c", code, cwd=installed.parent) == str(dict(declared))


def test_the_metadata_names_both_licences(installed):
    code = ("import importlib.metadata as m; d = m.metadata('minidl'); print(d['License'], *d.get_all('License-File'))")
    assert output(installed.python, "-c", code, cwd=installed.parent / "environment") == (
        "MIT AND CC-BY-SA-3.0 LICENSE minidl/datasets/mnist/LICENSE-CC-BY-SA-3.0.txt")


def test_the_course_comes_along(installed):
    """`minidl lesson` lists every lesson, in any folder; a wheel has the scripts and the answers in its own folder."""
    listed = output(installed.commands / "minidl", "lesson", cwd=installed.parent).splitlines()
    course = installed.clone if installed.kind == "editable" else installed.package / "course"
    assert listed[-2:] == [f"scripts: {course.resolve() / 'lessons'}", f"answers: {course.resolve() / 'docs/answers'}"]
    expected = {path.relative_to(ROOT): path.read_bytes()
                for folder in ("lessons", "docs/answers") for path in (ROOT / folder).glob("*.*")}
    assert len(expected) >= 16
    for name, content in expected.items():
        assert (course / name).read_bytes() == content, name
        assert name.parts[0] != "lessons" or any(line.startswith(name.name[:2]) for line in listed), name
    assert not (installed.site / "lessons").exists() and not (installed.site / "docs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("installed", ["wheel"], indirect=True)
@pytest.mark.parametrize(("command", "number", "name", "environment"), [
    (["minidl"], 2, "02_vanishing_gradient", {}),
    (["python", "-m", "minidl"], 1, "01_first_network_and_gradient_check", {"PYTHONIOENCODING": "ascii"})])
def test_a_lesson_runs_from_a_wheel(installed, tmp_path, command, number, name, environment):
    """In an empty folder, far from any clone, and on a terminal of ASCII."""
    program = [installed.commands / command[0], *command[1:]]
    done = output(*program, "lesson", number, "--fast", "--data", "shapes10", cwd=tmp_path, env=environment)
    assert "claims hold" in done or "claims do not hold" in done, done
    out = tmp_path / "runs" / name
    assert {path.suffix for path in out.iterdir()} == {".png", ".json", ".csv"}
    assert json.loads((out / "run.json").read_text(encoding="utf-8"))["commit"] is None


@pytest.fixture(scope="module")
def source_archive(tmp_path_factory):
    """(clone, the folder that its source archive unpacks to)"""
    need_setuptools()
    parent = tmp_path_factory.mktemp("archive")
    clone = copy_clone(parent)
    code = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"
    name = output(sys.executable, "-c", code, parent, cwd=clone).splitlines()[-1]
    safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    shutil.unpack_archive(parent / name, parent / "unpacked", **safely)
    top, = (parent / "unpacked").iterdir()
    return clone, top


def test_a_source_archive_has_all_of_the_clone(source_archive):
    clone, top = source_archive
    paths = [path for path in clone.rglob("*") if path.is_file() and "minidl.egg-info" not in path.parts
             and path != clone / "setup.cfg"]  # setuptools writes that anew, without its comments
    assert len(paths) > 180
    for path in paths:
        assert (top / path.relative_to(clone)).is_file(), f"{path.relative_to(clone)} is missing: see MANIFEST.in"
        assert (top / path.relative_to(clone)).read_bytes() == path.read_bytes(), path


@pytest.mark.slow
def test_a_source_archive_passes_its_own_tests(source_archive):
    """A quick part of them, which reads lessons, documents and golden files; test_doctor sees which minidl it tests."""
    _, top = source_archive
    files = [f"tests/test_{name}.py" for name in ("architecture", "docs", "golden", "lessons", "results")]
    arguments = ["-q", "-m", "not slow", "--backend", "numpy", *files, "tests/test_cli.py::test_doctor"]
    done = output(shutil.which("pytest", path=str(Path(sys.executable).parent)), *arguments, cwd=top)
    assert re.search(r"^\d{3,} passed", done.splitlines()[-1]), done


@pytest.mark.slow
def test_a_source_archive_makes_the_wheel_of_the_clone(source_archive, tmp_path):
    contents = []
    for number, folder in enumerate(source_archive):
        output(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir",
               tmp_path / str(number), folder, cwd=tmp_path)
        wheel, = (tmp_path / str(number)).glob("minidl-*.whl")
        contents.append(set(zipfile.ZipFile(wheel).namelist()))
    assert contents[0] == contents[1]
    assert {name.split("/")[0] for name in contents[0]} == {"minidl", f"minidl-{minidl.__version__}.dist-info"}


def test_another_package_named_datasets_wins(installed):
    """An editable install puts the clone on sys.path, and with it the clone's folder `datasets`."""
    if installed.kind == "wheel":
        assert "ModuleNotFoundError" in run(installed.python, "-c", "import datasets", cwd=installed.parent).stderr
    package = installed.site / "datasets"
    package.mkdir()
    try:
        (package / "__init__.py").touch()
        for folder in (installed.parent, installed.clone):
            found = output(installed.python, "-c", "import datasets; print(datasets.__file__)", cwd=folder)
            assert Path(found).parent == package
    finally:
        shutil.rmtree(package)


# ------------------------------------------------------------------------------------------------------------ doctor

OLD_FINDER = f"""
import importlib.util, sys

class Finder:
    def find_spec(name, path=None, target=None):
        if name == "minidl":
            return importlib.util.spec_from_file_location(name, {str(PACKAGE / "__init__.py")!r})

sys.meta_path.append(Finder)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A Python in which no minidl is installed."""
    return make_environment(tmp_path_factory.mktemp("environment")).python


def doctor(python, cwd, path=ROOT):
    """(exit status, what it says of minidl) of this project's doctor, where PYTHONPATH is `path`."""
    code = f"import sys; sys.path[0] = {str(ROOT)!r}; from minidl.cli import main; sys.exit(main(['doctor']))"
    done = run(python, "-c", code, cwd=cwd, env={"PYTHONPATH": str(path)})
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert "minidl" in lines, done.stderr
    return done.returncode, lines["minidl"]


def install(python, clone):
    python, clone = shlex.quote(str(python)), shlex.quote(str(clone))
    return f"To use this clone everywhere, run:  {python} -m pip install --editable {clone}"


def a_second_clone(parent):
    """As far as doctor looks at it."""
    clone = parent / "minidl"
    (clone / "lessons").mkdir(parents=True)
    (clone / "minidl").mkdir()
    (clone / "minidl" / "__init__.py").touch()
    (clone / "setup.cfg").write_text("[metadata]\nname = minidl\n", encoding="utf-8")
    return clone


def test_doctor_is_content_with_one_minidl(python, tmp_path):
    (tmp_path / "minidl").mkdir()  # of no importance: a package counts more than a folder without __init__.py
    for folder in (tmp_path, ROOT, ROOT / "lessons"):
        assert doctor(python, folder) == (0, f"{minidl.__version__} in {PACKAGE}")


@pytest.mark.parametrize("name", ["minidl.py", "minidl/__init__.py"])
def test_doctor_finds_what_is_in_the_way(python, tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("raise SystemExit('this is not minidl')", encoding="utf-8")
    other = path if name == "minidl.py" else path.parent
    assert doctor(python, tmp_path) == (1, f"FAULT: in this folder, `import minidl` finds {other}, not {PACKAGE}. "
                                           f"Rename {other}, or start Python in another folder")


def test_doctor_finds_a_clone_taken_for_the_package(python, tmp_path):
    """Installed as setuptools does it without `package_dir` in setup.cfg: by a finder that Python asks last."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(OLD_FINDER, encoding="utf-8")
    clone = a_second_clone(tmp_path)
    site = tmp_path / "site"
    broken = run(python, "-c", "from minidl import Sequential", cwd=tmp_path, env={"PYTHONPATH": str(site)})
    assert "unknown location" in broken.stderr  # what the student sees, and asks doctor about
    assert doctor(python, tmp_path, path=site) == (
        1, f"FAULT: in this folder, `import minidl` finds {clone}, not {PACKAGE}. {install(python, clone)}")


def test_doctor_finds_a_clone_that_is_not_the_one_in_use(python, tmp_path):
    clone = a_second_clone(tmp_path)
    assert doctor(python, clone) == (
        1, f"FAULT: in this folder, `import minidl` finds {clone / 'minidl'}, not {PACKAGE}. {install(python, clone)}")
    assert doctor(python, clone / "lessons") == (
        1, f"FAULT: this folder is part of the clone {clone}, but `import minidl` finds {PACKAGE}. "
           f"{install(python, clone)}")


def test_doctor_finds_a_copy_that_other_folders_use(python, tmp_path):
    """As `python -m minidl doctor` sees it at the top of a clone, where another minidl is installed."""
    other = a_second_clone(tmp_path) / "minidl"
    assert doctor(python, ROOT, path=other.parent) == (
        1, f"FAULT: in other folders, `import minidl` finds {other}, not {PACKAGE}. {install(python, ROOT)}")


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no folder that is in use")
def test_doctor_in_a_folder_that_was_deleted(python, tmp_path):
    code = (f"import os, shutil, numpy; shutil.rmtree({str(tmp_path)!r}); "  # Python 3.13.0 fails on NumPy 2.5 there
            f"from minidl.cli import main; main(['doctor'])")
    done = run(python, "-c", code, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    assert "minidl   FAULT: the current folder was deleted. Change to one that exists:  cd" in done.stdout, done.stderr
