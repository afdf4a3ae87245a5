"""Writes down what the real CuPy offers, for the stand-in to offer no more. Needs the package, but no GPU:

    python -m venv cupy-venv && cupy-venv/bin/pip install cupy-cuda12x && cupy-venv/bin/python tests/standin/record.py

Run it again for a new version of CuPy, and read the difference: what is gone may be in use.
"""

import inspect
import json
import re
from pathlib import Path

RECORD = Path(__file__).with_name("cupy.json")


def keywords(thing):
    """The names of its parameters; None where neither the signature nor the docstring shows them all."""
    try:
        parameters = inspect.signature(thing).parameters.values()
        names = [each.name for each in parameters]
        return None if any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in parameters) else names
    except (TypeError, ValueError):  # compiled: the docstring begins with the signature
        found = re.match(r"[\w.]+\((.*)\)", (thing.__doc__ or "").split(" -> ")[0].splitlines()[0])
        if found is None or "*" in found[1]:
            return None
        words = [re.match(r"(?:\w+ )?(\w+)", part.strip()) for part in found[1].split(",")]
        return [word[1] for word in words if word and word[1] != "self"]


def public(thing):
    return {name: value for name, value in vars(thing).items() if not name.startswith("_")}


def recorded(cupy):
    kinds = {"ufunc": cupy.ufunc, "gufunc": type(cupy.matmul)}
    names = {}
    for name, value in sorted(public(cupy).items()):
        kind = next((kind for kind, type_ in kinds.items() if isinstance(value, type_)), None)
        if kind:
            names[name] = kind
        elif callable(value) and not isinstance(value, type):
            names[name] = keywords(value)
        elif not inspect.ismodule(value):
            names[name] = "value"
    methods = {}
    for name in sorted(set(dir(cupy.ndarray)) - set(dir(object))):
        value = getattr(cupy.ndarray, name)
        if not name.startswith("_"):
            methods[name] = keywords(value) if callable(value) else "value"
    strides = {name: keywords(value) for name, value in public(cupy.lib.stride_tricks).items()
               if inspect.isfunction(value)}
    return {"names": names, "ndarray": methods, "lib.stride_tricks": strides}


if __name__ == "__main__":
    import cupy
    groups = [f"{json.dumps(group)}: {{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}"
                                                         for name, value in entries.items()) + "\n}"
              for group, entries in recorded(cupy).items()]   # a line for every name, so that a difference reads well
    RECORD.write_text("{" + f'"version": "{cupy.__version__}",\n' + ",\n".join(groups) + "}\n", encoding="utf-8")
    print(f"{RECORD}: CuPy {cupy.__version__}")
