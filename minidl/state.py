"""A model as named arrays, and as a file."""

import os

import numpy as np

from minidl.backend import to_cpu, xp
from minidl.errors import DataError, ShapeError, UserError
from minidl.files import written_whole


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


def take_over(model, state):
    """Copy the arrays of a state into the model. Names and shapes must match; otherwise nothing is changed."""
    arrays = dict(named_arrays(model))
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
    for name, array in arrays.items():
        array[...] = xp.asarray(state[name]).astype(array.dtype)


def save(model, path):
    """Write the state to an .npz file: the whole file or nothing, so a full disk cannot leave half of one."""
    state = state_of(model)
    with written_whole(path, "the model") as file:
        np.savez(file, **state)


def read_state(path):
    """The state in the .npz file that `save` wrote."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise DataError(f"{os.fspath(path)}: no such file. Was the model saved elsewhere?") from None
    except Exception as reason:  # zipfile and NumPy stumble over a damaged file with a dozen kinds of error
        raise DataError(f"{os.fspath(path)}: not a complete model file ({reason}). Save the model anew") from reason
