"""Check a class in a student's own file: from that very file, whatever else of that name is installed.

    minidl gradcheck my_layers.py:Affine --input-shape 8,5 --kwargs units=3
"""

import ast
import difflib
import hashlib
import importlib.util
import inspect
import os
import sys
import traceback
from pathlib import Path

from minidl.core import Layer
from minidl.errors import ShapeError, UserError
from minidl.gradcheck import check_layer, check_loss
from minidl.gradcheck.subjects import blamed


def check_file(target, input_shape, kwargs=()):
    """The Report on `FILE.py:NAME`, a class or a function that makes a layer, for inputs of that shape.

    input_shape: text such as "8,5,6,3", with the batch axis    kwargs: texts such as "units=5", for the class
    A class whose forward takes two arguments, forward(scores, target), is checked as a loss.
    """
    path, name = _split(target)
    shape, arguments = _shape(input_shape), _arguments(kwargs)
    make = _named(_loaded(path), name, path)
    thing = _made(make, name, arguments)
    for method in ("forward", "backward"):
        if not callable(getattr(thing, method, None)):
            raise UserError(f"{path}: {name} has no method {method}; the check needs forward(x) and backward(dy)")
    is_loss = not isinstance(thing, Layer) and len(_required(thing.forward)) == 2
    report = (check_loss if is_loss else check_layer)(thing, shape)
    report.source = str(path)
    return report


def _split(target):
    file, colon, name = target.rpartition(":")
    if not colon or not file or not name.isidentifier():
        raise UserError(f"{target!r}: expected the file and the class in it, as in my_layers.py:Affine")
    path = Path(os.path.expanduser(file)).resolve()
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return path, name


def _shape(text):
    try:
        shape = tuple(int(size) for size in text.strip("()[] ").replace("x", ",").split(",") if size.strip())
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise ShapeError(f"--input-shape {text}: expected integers of at least 1 with commas between them, the "
                         f"batch first, as in 8,5,6,3")
    return shape


def _arguments(texts):
    """{"units": 5, "padding": "same"} from ["units=5", "padding=same"]."""
    arguments = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise UserError(f"--kwargs {text}: expected NAME=VALUE, as in units=5 or kernel_size=3,2")
        try:
            arguments[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            if not value.replace(":", "").replace(".", "").replace("_", "").isalnum():
                raise UserError(f"--kwargs {text}: {value!r} is neither a number, a tuple nor a word") from None
            arguments[name] = value  # a word, such as padding=same
    return arguments


def _loaded(path):
    """The module that the file makes; its neighbours can be imported from it."""
    if path.suffix != ".py":
        raise UserError(f"{path}: expected a Python file, whose name ends in .py")
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"  # never the name of another module
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UserError(f"{path} cannot be imported: line {error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        message = " ".join(str(error).split())
        raise UserError(f"{path} cannot be imported: {f'line {lines[-1]}: ' if lines else ''}{type(error).__name__}"
                        f"{': ' if message else ''}{message}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _named(module, name, path):
    """The class or function of that name, if this file defines it."""
    own = {key: value for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
           and (inspect.isclass(value) or inspect.isfunction(value))}
    if name in own:
        return own[name]
    if hasattr(module, name):
        origin = getattr(getattr(module, name), "__module__", None)
        raise UserError(f"{path} does not define {name}" + (f", it imports it from {origin}; only code in the file "
                                                            f"itself is checked" if origin else " as a class"))
    classes = [key for key, value in own.items() if inspect.isclass(value)]
    nearest = difflib.get_close_matches(name, classes, n=1)
    raise UserError(f"{path} has no class {name}; there {'are' if len(classes) != 1 else 'is'} "
                    f"{', '.join(classes) or 'none'}" + (f". Did you mean {nearest[0]}?" if nearest else ""))


def _made(make, name, arguments):
    """The layer, or which arguments its class needs."""
    try:
        signature = inspect.signature(make)
        signature.bind(**arguments)
    except ValueError:
        pass  # built without a signature: the call will tell
    except TypeError as error:
        missing = [key for key in _required(make) if key not in arguments]
        if missing:
            given = " ".join(f"{key}=..." for key in missing)
            raise UserError(f"{name}{signature} needs the argument{'s' * (len(missing) > 1)} {', '.join(missing)}: add "
                            f"--kwargs {given}. (Arrays cannot be given: write a function without arguments that "
                            f"makes the layer, and name that)") from None
        raise UserError(f"{name}{signature} does not take these arguments: {error}") from None
    with blamed(name, "making it"):
        return make(**arguments)


def _required(function):
    """The names of the arguments that a function cannot do without."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return []
    return [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
