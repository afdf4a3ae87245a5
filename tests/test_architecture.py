"""The floors: imports only point down. Read from the source, so a module need not even be importable."""

import ast
import functools
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "minidl"

FLOORS = [
    ["errors", "arguments", "text", "files", "backend"],
    ["parallel", "core", "initializers", "ops"],
    ["layers", "losses", "regularizers", "optimizers", "schedules", "augment"],
    ["summary", "state", "network", "textbook", "models", "datasets"],
    ["training", "search", "cases", "parity", "gradcheck", "probe", "plots"],
    ["switch", "terminal", "lesson", "notebook", "doctor", "cli",
     "__init__", "__main__"],   # minidl/__init__.py names what users import
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
LAZY = {"matplotlib", "requests", "cupy", "threadpoolctl", "urllib3",     # imported where they are used, or never
        "IPython", "sphinx_gallery", "joblib", "dask", "distributed", "PIL"}
KNOW_CUPY = ["backend", "ops"]
COMPUTING = ["layers", "losses", "optimizers", "regularizers", "schedules", "textbook"]


def modules(package=PACKAGE):
    """{"layers.dense": syntax tree, ...}"""
    return dict(parsed(package))


@functools.cache
def parsed(package):
    trees = {}
    for path in sorted(package.rglob("*.py")):
        parts = list(path.relative_to(package).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        trees[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return trees


def imports(tree, known):
    """(line, imported module, whether at the top level) of every import, those inside functions too."""
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: a relative import; write it in full"
            names = [f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}".removeprefix("minidl.") in known
                     else node.module for alias in node.names]
        else:
            continue
        for name in names:
            yield node.lineno, name, id(node) in top


def floor(module):
    top = module.split(".")[0]
    assert top in FLOOR, (f"minidl/{module.replace('.', '/')} stands on no floor: add it to FLOORS in "
                          f"tests/test_architecture.py and to the table in docs/design.md")
    return FLOOR[top]


def inside(name):
    """The module of minidl that an import means: "backend" for minidl.backend, "__init__" for minidl itself."""
    if name == "minidl":
        return "__init__"
    return name.removeprefix("minidl.") if name.startswith("minidl.") else None


def test_every_module_stands_on_a_floor():
    for module in modules():
        floor(module)
    with pytest.raises(AssertionError, match="stands on no floor: add it to FLOORS"):
        floor("something_new")


def faults(trees):
    found, edges = [], {}
    for module, tree in trees.items():
        for line, name, top in imports(tree, trees):
            where, package = f"minidl/{module.replace('.', '/')}.py, line {line}", name.split(".")[0]
            target = inside(name)
            if target is not None and floor(target) > floor(module):
                found.append(f"{where}: imports {name} from floor {floor(target)}, itself on floor {floor(module)}")
            if target is not None:
                edges.setdefault(module, set()).add(target)
            if package == "cupy" and module.split(".")[0] not in KNOW_CUPY:
                found.append(f"{where}: only {', '.join(KNOW_CUPY)} may know CuPy")
            if package in LAZY and top:
                found.append(f"{where}: import {package} inside the function that needs it")
            if package == "numpy" and module.split(".")[0] in COMPUTING:
                found.append(f"{where}: compute with xp, so that it runs on the GPU too")
            if package in ("lessons", "tests", "benchmarks"):
                found.append(f"{where}: the package must not know {package}")
    return found + circles(edges)


def circles(edges):
    found, done = [], set()

    def visit(module, path):
        if module in path:
            found.append("a circle: " + " -> ".join([*path[path.index(module):], module]))
        elif module not in done:
            for target in sorted(edges.get(module, ())):
                visit(target, [*path, module])
            done.add(module)

    for module in sorted(edges):
        visit(module, [])
    return found


def test_imports_only_point_down():
    trees = modules()
    assert len(trees) > 20
    found = faults(trees)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("module", "line", "fault"), [
    ("layers.dense", "from minidl.network import Sequential", "from floor 3, itself on floor 2"),
    ("layers.dense", "from minidl import Sequential", "from floor 5"),
    ("backend", "from minidl import core", "from floor 1, itself on floor 0"),
    ("losses", "def f():\n    import minidl.training", "from floor 4"),
    ("layers.dense", "import cupy", "may know CuPy"),
    ("training", "def f():\n    from cupy import ones", "may know CuPy"),
    ("ops.windows", "import cupy", "inside the function"),
    ("plots", "import matplotlib.pyplot as plt", "inside the function"),
    ("datasets.download", "from requests import get", "inside the function"),
    ("backend", "import threadpoolctl", "inside the function"),
    ("search.run", "import joblib", "inside the function"),
    ("optimizers", "import numpy as np", "compute with xp"),
    ("layers.pooling", "from numpy import exp", "compute with xp"),
    ("textbook", "from minidl.training import fit", "from floor 4, itself on floor 3"),
    ("cli", "import lessons", "must not know lessons"),
    ("initializers", "from minidl.core import Layer", None),
    ("core", "from minidl.parallel import in_slices", None),
])
def test_the_rules_notice(module, line, fault):
    """The test of the test: one line added to a module of today."""
    trees = modules()
    trees[module] = ast.Module(trees[module].body + ast.parse(line).body, [])
    found = faults(trees)
    assert any(fault in text for text in found) if fault else not found, found


def test_circles_are_noticed():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["a circle: b -> c -> b"]
    assert circles({"a": {"b", "c"}, "b": {"c"}}) == []


LONGEST = 40    # lines of code, docstrings and comments not counted
# one name, one meaning: the blackboard's twins have the names of what they are twins of; a data set in its module and
# the registry answer the same questions; `names` is what users ask datasets and models for
SHARED_NAMES = {"load", "there", "names"}


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def lines_of_code(function, source):
    text = ast.get_docstring(function, clean=False)
    body = source.splitlines()[function.lineno - 1:function.end_lineno]
    words = [line for line in body if line.strip() and not line.strip().startswith("#")]
    return len(words) - (len([line for line in text.splitlines() if line.strip()]) if text else 0)


def test_functions_fit_on_a_screen():
    long = []
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        long += [f"{path.relative_to(PACKAGE)}: {function.name} has {lines} lines of code, at most {LONGEST}"
                 for function in functions(ast.parse(source))
                 if (lines := lines_of_code(function, source)) > LONGEST]
    assert not long, "\n".join(long)


def test_one_name_one_meaning():
    """No two functions of one name in different modules."""
    places = {}
    for module, tree in modules().items():
        if module != "textbook":
            for node in tree.body:
                if isinstance(node, ast.FunctionDef) and node.name not in SHARED_NAMES:
                    places.setdefault(node.name, []).append(module)
    twice = {name: where for name, where in places.items() if len(where) > 1}
    assert not twice, f"give them names of their own: {twice}"


def test_parameters_know_no_optimizer():
    """A Parameter has its arrays, its name and whether it decays: nothing that leads back to an optimizer."""
    from minidl.core import Parameter
    from minidl.layers import Dense
    from minidl.optimizers import SGD
    layer = Dense(3)
    layer.build((4,))
    SGD(layer.parameters(), lr=0.1)
    assert isinstance(layer.W, Parameter)
    assert set(vars(layer.W)) == {"data", "grad", "name", "decay"}
    assert not [path.name for path in PACKAGE.rglob("*.py") if ".pack" in path.read_text(encoding="utf-8")]


def test_no_module_of_the_name_datasets_beside_the_package():
    """An importable top-level `datasets` would stand in the way of the well-known package of that name."""
    assert not (PACKAGE.parent / "datasets" / "__init__.py").exists()
