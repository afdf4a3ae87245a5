"""`minidl doctor`: what minidl needs, piece by piece, and for each fault the command that cures it."""

import importlib.metadata
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np

import minidl
from minidl import backend, datasets
from minidl.errors import BackendError, UserError

NEEDED = {"matplotlib": "pictures", "requests": "downloads", "threadpoolctl": "threads"}

LOOK = """
import importlib.util, json, sys

def find():
    spec = importlib.util.find_spec("minidl")
    return spec and (spec.origin or list(spec.submodule_search_locations)[0])  # no origin: a folder without __init__.py

here = find()
sys.path = [place for place in sys.path if place]  # "" is the current folder
print(json.dumps([here, find()]))
"""


def report(wanted=None, data_dir=None):
    """Print what is there and what is at fault. Status 1 where something is, else 0.

    wanted: the backend that somebody asks for. Without a GPU all is well, unless "cupy" is wanted.
    """
    faults = 0
    for name, look in (("Python", python), ("minidl", package), ("NumPy", lambda: np.__version__),
                       ("packages", packages), ("threads", thread_count), ("BLAS", blas),
                       ("backend", lambda: known(wanted)), ("GPU", gpu), ("data", lambda: data_sets(data_dir))):
        try:
            found = look()
            lines = found.items() if isinstance(found, dict) else [(name, found)]
        except UserError as error:
            fault = name != "GPU" or wanted == "cupy"
            faults += fault
            lines = [(name, f"{'FAULT' if fault else 'not in use'}: {error}")]
        for title, text in lines:
            print(f"{title:8} {text}")
    print("all well" if not faults else "something needs your attention: see FAULT above")
    return 1 if faults else 0


def python():
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}"


def package():
    """The version of minidl and its folder; a UserError where `import minidl` finds something else."""
    own = Path(minidl.__file__).resolve().parent
    clone = clone_around()
    here, elsewhere = map(as_package, imports())
    if here not in (None, own):
        raise UserError(f"in this folder, `import minidl` finds {here}, not {own}. {one_minidl(here)}")
    if clone and clone / "minidl" != own:
        raise UserError(f"this folder is part of the clone {clone}, but `import minidl` finds {own}. "
                        f"{one_minidl(clone)}")
    if elsewhere not in (None, own):
        raise UserError(f"in other folders, `import minidl` finds {elsewhere}, not {own}. {one_minidl(own)}")
    return f"{minidl.__version__} in {own}"


def one_minidl(found):
    """The cure: install the clone that was found, or the clone whose package was found; anything else has to go."""
    for clone in (found, found.parent):
        if datasets.is_checkout(clone):
            return (f"To use this clone everywhere, run:  {shlex.quote(sys.executable)} -m pip install --editable "
                    f"{shlex.quote(str(clone))}")
    return f"Rename {found}, or start Python in another folder"


def imports():
    """What a new Python imports as minidl: from a script or a prompt in the current folder, and in any other folder."""
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def as_package(path):
    """The folder of a package, for its __init__.py; any other path as it is."""
    path = path and Path(path).resolve()
    return path.parent if path and path.name == "__init__.py" else path


def clone_around():
    """The clone of minidl that the current folder is in, or None."""
    try:
        folder = Path.cwd().resolve()
    except FileNotFoundError as reason:
        raise UserError("the current folder was deleted. Change to one that exists:  cd") from reason
    return next((place for place in (folder, *folder.parents) if datasets.is_checkout(place)), None)


def packages():
    """The versions of the packages that minidl needs besides NumPy."""
    versions, missing = {}, []
    for name in NEEDED:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        raise UserError(f"{', '.join(f'{name} (for {NEEDED[name]})' for name in missing)} cannot be found. Run:  "
                        f"{shlex.quote(sys.executable)} -m pip install {' '.join(missing)}")
    for name, lowest in lowest_versions().items():
        if name in versions and _numbers(versions[name]) < _numbers(lowest):
            raise UserError(f"{name} {versions[name]} (for {NEEDED[name]}) is too old, minidl needs {lowest}. Run:  "
                            f"{shlex.quote(sys.executable)} -m pip install '{name}>={lowest}'")
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def lowest_versions():
    """{package: version} that the installed minidl declares; {} where it runs from a folder without an installation."""
    try:
        declared = importlib.metadata.requires("minidl") or []
    except importlib.metadata.PackageNotFoundError:
        declared = []
    return dict(re.findall(r"^([\w-]+) ?\(?>=([\d.]+)\)?$", "\n".join(declared), re.MULTILINE))


def _numbers(version):
    """3.10.1 -> [3, 10, 1]"""
    return [int(part) for part in re.findall(r"\d+", version)[:3]]


def thread_count():
    return f"{backend.threads()} in use, of {os.cpu_count()} processors"


def blas():
    """The library behind NumPy's matrix products, as it was loaded."""
    backend.threads()  # which also holds that library to one thread
    import threadpoolctl
    libraries = [library for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]
    if not libraries:
        built_with = np.show_config(mode="dicts").get("Build Dependencies", {})
        return unknown_blas(built_with.get("blas", {}).get("name", "none"), threadpoolctl.__version__)
    return "; ".join(f"{library['internal_api']} {library['version']}, "
                     + (f"kernels for {library['architecture']}, " if library.get("architecture") else "")
                     + f"{library['num_threads']} thread{'s' * (library['num_threads'] > 1)} for each of minidl's"
                     for library in libraries)


def unknown_blas(name, version):
    """What to say of the library that NumPy was built with, where that version of threadpoolctl does not find it."""
    if not any(kind in name.lower() for kind in ("openblas", "mkl", "blis")):   # such as Apple's Accelerate
        return f"{name}, which chooses its threads itself"
    if os.environ.get("OPENBLAS_NUM_THREADS", os.environ.get("OMP_NUM_THREADS")) == "1":
        return f"{name}, 1 thread for each of minidl's, by OPENBLAS_NUM_THREADS or OMP_NUM_THREADS"
    raise UserError(f"threadpoolctl {version} does not know {name}, so nothing holds it to one thread for each of "
                    f"minidl's: a training step takes up to twice as long. Run:  {shlex.quote(sys.executable)} -m pip "
                    f"install --upgrade threadpoolctl   (3.5 or newer), or start with OPENBLAS_NUM_THREADS=1")


def known(wanted):
    """The backend that is asked for, after checking that there is one of that name."""
    if wanted and wanted not in backend.BACKENDS:
        raise UserError(f"MINIDL_BACKEND={wanted!r}: expected one of {', '.join(backend.BACKENDS)}. Run:  "
                        f"unset MINIDL_BACKEND")
    return wanted or "numpy, as nothing else is asked for"


def gpu():
    """What the GPU and its software are; a BackendError where they cannot be used."""
    try:
        backend.use_library("cupy")
        return backend.device_facts()
    except BackendError:
        raise
    except Exception as reason:  # CuPy has dozens of its own, and none may keep the rest of the report back
        raise BackendError(f"the GPU computes but cannot describe itself ({reason}). Look at the output of:  "
                           f"nvidia-smi") from reason
    finally:
        backend.use_library("numpy")


def data_sets(data_dir):
    """The folder of the data sets, and which can be loaded without a download."""
    folder = datasets.data_folder(data_dir)
    try:
        there = datasets.there(data_dir)
    except OSError as reason:
        raise UserError(f"{folder} cannot be read ({reason.strerror or reason}). Run:  "
                        f"ls -ld {shlex.quote(str(folder))}") from reason
    missing = [name for name in datasets.names() if name not in there]
    return f"{folder}: {', '.join(there)}" + (f" (to download when asked for: {', '.join(missing)})" if missing else "")
