"""A model as named arrays, and as a file."""

import os

import numpy as np

from minidl.arguments import described
from minidl.backend import to_cpu, xp
from minidl.errors import DataError, ShapeError, UserError
from minidl.files import written_whole

LAYERS = "__layers__"       # what a model file calls the architecture, among its arrays
BOMB = 100                  # no model is so many times larger than its file


def named_arrays(layer, prefix=""):
    """(name, array) of each parameter and each running statistic of a layer and of all layers inside it."""
    inner = layer.sublayers()
    for sublayer in inner:
        yield from named_arrays(sublayer, f"{prefix}{sublayer.name}.")
    if not inner:
        for parameter in layer.parameters():
            yield prefix + parameter.name, parameter.data
        for name in layer.statistics:
            yield prefix + name, getattr(layer, name)


def state_of(model):
    """{name: array} of everything that a trained model consists of, as NumPy arrays."""
    return {name: to_cpu(array).copy() for name, array in named_arrays(model)}


def architecture(model):
    """What the model consists of, a line for each layer: "relu_1: ReLU()". Dropout is left out: it has no weights, and
    a trained model does without."""
    if not hasattr(model, "walk"):
        parameters = model.parameters()
        return [type(model).__name__, *(f"{parameter.name}: {parameter.data.shape}" for parameter in parameters)]
    layers = [layer for layer in model.walk() if not layer.sublayers() and type(layer).__name__ != "Dropout"]
    return [layer.label() for layer in layers]


def take_over(model, state):
    """Copy the arrays of a state into the model. Names, shapes and, as far as the state tells them, the layers must
    match; otherwise nothing is changed."""
    if isinstance(state, (str, os.PathLike)):
        raise UserError(f"load_state_dict: expected the arrays by name, as state_dict() returns them, got "
                        f"{os.fspath(state)!r}. A file is read by model.load({os.fspath(state)!r})")
    if not hasattr(state, "keys"):
        cure = f"Pass those of the other model: {'its' if hasattr(state, 'state_dict') else 'other_model'}.state_dict()"
        raise UserError(f"load_state_dict: expected the arrays by name, as state_dict() returns them, got "
                        f"{described(state)}. {cure}")
    arrays, state = dict(named_arrays(model)), {name: state[name] for name in state}
    layers = state.pop(LAYERS, None)
    if missing := [name for name in arrays if name not in state]:
        raise UserError(f"load_state_dict: {missing[0]!r} is missing ({len(missing)} in all). Was the state saved "
                        f"from the same architecture?")
    if unknown := [name for name in state if name not in arrays]:
        raise UserError(f"load_state_dict: this model has no {unknown[0]!r} ({len(unknown)} unknown in all). "
                        f"Was the state saved from the same architecture?")
    for name, array in arrays.items():
        kind = getattr(getattr(state[name], "dtype", None), "kind", None)
        if kind is None or kind not in "fiu":
            raise UserError(f"load_state_dict: {name} is no array of numbers in the state, but {state[name]!r:.60}")
        if array.shape != state[name].shape:
            raise ShapeError(f"load_state_dict: {name} has shape {array.shape} in this model, "
                             f"{state[name].shape} in the state. Was it saved from the same architecture?")
    if layers is not None:
        check_same_layers(list(map(str, layers)), architecture(model))
    for name, array in arrays.items():
        array[...] = xp.asarray(state[name]).astype(array.dtype)


def check_same_layers(there, here):
    """Raise an error that names the first layer which differs between a file's architecture and the model's."""
    if there != here:
        there, here = next(((a, b) for a, b in zip(there, here, strict=False) if a != b),
                           (f"{len(there)} layers", f"{len(here)} layers"))
        raise UserError(f"load: the state is of a model that has {there} where this one has {here}. Build the same "
                        f"model first, or take the arrays over without their entry {LAYERS!r}, by load_state_dict")


def save(model, path, finite=True):
    """Write the state to an .npz file: the whole file or nothing, so a full disk cannot leave half of one."""
    path, state = checked_path(path, "save"), state_of(model)
    if finite:
        check_finite_state(state, path, "was not saved. To save it as it is: model.save(path, finite=False)")
    with written_whole(path, "the model") as file:
        np.savez(file, **state, **{LAYERS: np.array(architecture(model))})


def check_finite_state(state, path, consequence):
    """Raise an error that names the first array of the state that has NaN or infinite numbers."""
    for name, array in state.items():
        wrong = int(array.size - np.isfinite(array).sum()) if array.dtype.kind == "f" else 0
        if wrong:
            raise DataError(f"{path}: {name} of the model holds {wrong} numbers that are NaN or infinite; it "
                            f"{consequence}")


def read_state(path):
    """The arrays in the .npz file that `save` wrote."""
    name = checked_path(path, "load")
    try:
        with open(name, "rb") as file:
            return arrays_of_file(file)
    except FileNotFoundError:
        near = next((other for other in (f"{name}.npz", os.path.splitext(name)[0]) if os.path.isfile(other)), None)
        raise DataError(f"{name}: no such file. " + (f"Did you mean {near!r}?" if near else
                                                     "Was the model saved elsewhere?")) from None
    except (IsADirectoryError, PermissionError) as reason:      # Windows says the second of a folder, too
        cure = "It is a folder: name the file in it" if os.path.isdir(name) else "May you read it?"
        raise DataError(f"{name}: expected a file that model.save wrote, which can be read ({reason.strerror}). "
                        f"{cure}") from None
    except Exception as reason:  # zipfile and NumPy stumble over a damaged file with a dozen kinds of error
        kind = str(reason) if isinstance(reason, DataError) else "a damaged or cut off one"
        raise DataError(f"{name}: not a complete model file but {kind}. Save the model anew by "
                        f"model.save(\"model.npz\")") from reason


def arrays_of_file(file):
    """{name: array} of an open .npz file. DataError says what it is instead."""
    if kind := other_kind(file.read(100)):
        raise DataError(kind)
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        members = archive.zip.namelist()
        if sum(member.file_size for member in archive.zip.infolist()) > BOMB * os.fstat(file.fileno()).st_size:
            raise DataError(f"one that would unpack to more than {BOMB} times its size")
        if any(not member.endswith(".npy") for member in members):
            raise DataError("a zip archive of another program, such as PyTorch")
        for member in members:
            with archive.zip.open(member) as opened:
                if b"'descr': '|O'" in opened.read(200):
                    raise DataError("arrays of Python objects in place of numbers")
        return {name: archive[name] for name in archive.files}


def other_kind(head):
    """What a file is by its first bytes, where that is no archive as model.save writes it."""
    kinds = {b"\x93NUMPY": "a single array, as np.save writes it", b"\x80": "a pickle of Python objects",
             b"\x89HDF": "an HDF5 file, as Keras writes it"}
    if not head:
        return "an empty file"
    text = not head.startswith(b"PK") and head.isascii() and min(head) > 8
    return next((kind for start, kind in kinds.items() if head.startswith(start)), "a text file" if text else None)


def checked_path(path, who, what="a file", example="model.npz"):
    """The path as text, after checking that it names something; `what` and `example` say what is expected."""
    if isinstance(path, dict) and what == "a file":
        raise UserError(f"{who}: expected the name of a file, got a dict. Arrays are taken over by "
                        f"model.load_state_dict(...)")
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise UserError(f"{who}: expected the name of {what}, such as \"{example}\", got {described(path)}")
    return os.fspath(path)
