"""What a network weighs: its layers, parameters, multiply-adds and the bytes that it keeps for backward."""

import copy
from collections import Counter
from math import prod

from minidl.arguments import positive_integer
from minidl.backend import float_type, random_state, restore_random_state, xp
from minidl.text import table


def summary(model, batch_size=None):
    """The table that `model.summary(batch_size)` returns."""
    header, rows, footer = ["layer", "", "output shape", "parameters"], [["input", "", str(model.input_shape), ""]], []
    if batch_size is not None:
        batch_size = positive_integer(batch_size, "batch_size")
        kept = kept_bytes(model, batch_size)
        header += ["multiply-adds", "bytes kept"]
        rows[0] += ["", ""]
    for depth, layer, shape in layers_inside(model):
        numbers = [sum(parameter.data.size for parameter in layer.parameters())]
        if batch_size is not None:
            numbers += [layer.multiply_adds() * batch_size, sum(kept[part] for part in layer.walk())]
        rows.append(["  " * depth + layer.name, repr(layer), str(shape),
                     *(f"{number:,}" if number else "" for number in numbers)])
    constant = sum(prod(getattr(layer, name).shape) for layer in model.walk() for name in layer.statistics)
    footer.append(f"{sum(parameter.data.size for parameter in model.parameters()):,} parameters"
                  + (f", and {constant:,} running statistics that are not trained" if constant else ""))
    if batch_size is not None:
        footer.append(f"a batch of {batch_size:,}: {model.multiply_adds() * batch_size:,} multiply-adds forward, "
                      f"{sum(kept.values()):,} bytes kept for backward")
    return table(header, rows, right=range(3, 6), footer=footer)


def layers_inside(model, depth=0):
    """(depth, layer, output shape) of every layer inside, at any depth, in order."""
    for layer, shape in zip(model.sublayers(), model.output_shapes, strict=True):
        yield depth, layer, shape
        if layer.sublayers():
            yield from layers_inside(layer, depth + 1)


def kept_bytes(model, batch_size):
    """{layer: bytes that it keeps from forward to backward} for a training step with so many inputs.

    Measured: a copy of the model runs forward on one blank input and on two; every further input adds the same
    again. An array that two layers keep is counted at the first; parameters and gradients are not counted.
    """
    draws, twin = random_state(), copy.deepcopy(model).train()
    dtype = next((parameter.data.dtype for parameter in model.parameters()), float_type())
    measured = []
    for count in (1, 2):
        twin.forward(xp.zeros((count, *model.input_shape), dtype))
        owners = {owner: (place, size) for place, layer in reversed(list(enumerate(twin.walk())))
                  for owner, size in arrays_in(layer._saved)}
        measured.append(Counter())
        for place, size in owners.values():
            measured[-1][place] += size
    restore_random_state(draws)
    one, two = measured
    return {layer: one[place] + (batch_size - 1) * (two[place] - one[place])
            for place, layer in enumerate(model.walk())}


def arrays_in(value):
    """Every array in nested tuples and lists: the memory that holds it, and how many bytes that is."""
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from arrays_in(item)
    elif isinstance(value, xp.ndarray):
        while value.base is not None:  # a view keeps the whole array alive
            value = value.base
        yield id(value), value.nbytes
