"""Checks of arguments: each returns the value in one form, or raises a `UserError` that names the argument."""

import difflib

import numpy as np

from minidl.errors import UserError


def pair(value, what, least=1):
    """(height, width) from one integer or two; `what` names the argument in the error."""
    numbers = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    whole = all(isinstance(number, (int, np.integer)) and not isinstance(number, bool) for number in numbers)
    if len(numbers) != 2 or not whole or min(numbers) < least:
        raise UserError(f"{what}={value!r}: expected an integer of at least {least}, or a pair of them "
                        f"(height, width)")
    return tuple(int(number) for number in numbers)


def short(sizes):
    """A pair as the code would write it: 3 for (3, 3), "same" for "same"."""
    return repr(sizes[0] if isinstance(sizes, tuple) and sizes[0] == sizes[1] else sizes)


def positive_integer(value, what):
    """`value` if it is an integer of at least 1; `what` names the argument in the error."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise UserError(f"{what}={value!r}: expected an integer of at least 1")
    return int(value)


def in_range(value, what, low, high):
    """`value` if low <= value < high; `what` names the argument in the error."""
    if not isinstance(value, (int, float, np.number)) or isinstance(value, bool) or not low <= value < high:
        interval = f"at least {low:g}" if high == float("inf") else f"in [{low:g}, {high:g})"
        raise UserError(f"{what}={value!r}: expected a number {interval}")
    return float(value)


def described(thing):
    """What somebody passed, in the few words that an error has room for."""
    if hasattr(thing, "shape") and hasattr(thing, "dtype"):
        return f"an array of shape {tuple(thing.shape)}"
    if isinstance(thing, type):
        return f"the class {thing.__name__}"
    if isinstance(thing, (list, tuple, dict)):
        return f"a {type(thing).__name__} of {len(thing)}"
    if hasattr(thing, "__name__"):
        return f"the function {thing.__name__}"
    return f"{thing!r:.60}"


def example_for(thing, examples):
    """The example that a text such as "adam", "cross_entropy" or "mse" means; the first one for anything else.

    examples: how the code would write it, such as "Adam(model.parameters())"
    """
    wanted = "".join(filter(str.isalnum, thing)).lower() if isinstance(thing, str) else ""
    for example in examples:
        name, _, _ = example.partition("(")
        initials = "".join(filter(str.isupper, name)).lower()
        if wanted and (wanted in name.lower() or name.lower() in wanted or wanted == initials):
            return example
    return examples[0]


def did_you_mean(name, known):
    """" Did you mean 'x'?" for the one of the known names that is near to `name`, which is not among them; or ""."""
    near = difflib.get_close_matches(str(name).lower().replace("-", "_"), known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
