"""Mistakes in a call of `fit`, `evaluate` or `predict`: each becomes one error before the first step."""

import contextlib
from math import isfinite
from typing import NamedTuple

import numpy as np

from minidl.arguments import described, example_for, in_range
from minidl.backend import asarray, kind_of, memory_for, xp
from minidl.errors import ShapeError, UserError
from minidl.losses import MeanSquaredError, check_labels, check_range, check_target, lowest_and_highest
from minidl.optimizers.optimizer import checked_lr
from minidl.parallel import in_slices

# ------------------------------------------------------------------------------- what training is put together from


class Part(NamedTuple):
    """An argument that is an object: what it is, which methods it needs, and how the code would write some."""

    what: str
    methods: tuple
    examples: tuple


PARTS = {
    "model": Part("a network", ("forward", "backward", "parameters", "train"),
                  ("Sequential([...], input_shape=x_train.shape[1:])",)),
    "optimizer": Part("an optimizer", ("step",), tuple(f"{name}(model.parameters(), lr=...)" for name in (
        "SGD", "Momentum", "AdaGrad", "RMSProp", "Adam", "AdamW"))),
    "loss": Part("an object with forward and backward", ("forward", "backward"),
                 ("SoftmaxCrossEntropy()", "MeanSquaredError()")),
    "schedule": Part("a function of the training's progress that returns a learning rate", ("__call__",),
                     ("Cosine(0.1)", "Constant(0.1)", "PiecewiseConstant([0.1, 0.01], borders=[0.5])",
                      "Triangular(0.1)", "ReduceOnPlateau(0.1)")),
    "augment": Part("a function that takes a batch and returns one", ("__call__",),
                    ("Flip()", "Shift(0.1)", "Rotate(10)", "Zoom()", "ChannelShift(20)", "Cutout(8)", "Crop(4)",
                     "Affine()", "Chain([Flip(), Shift(0.1)])")),
    "prepare": Part("a function that turns a batch of x into the model's input", ("__call__",),
                    ("Standardize(x_train)", "scale_to_unit")),
    "report": Part("a function that takes a line of text", ("__call__",), ("print, or None for silence",)),
}
MAY_BE_NONE = ("loss", "schedule", "augment", "report")


def check_parts(who, **given):
    """Raise an error unless each argument, such as loss=..., is an object of the kind that PARTS says."""
    if hasattr(given.get("model"), "step") and hasattr(given.get("optimizer"), "forward"):
        raise UserError(f"{who}: model and optimizer are exchanged; expected {who}(model, optimizer, x, y, ...)")
    for name, thing in given.items():
        part = PARTS[name]
        if isinstance(thing, type):
            raise UserError(f"{who}: {name} is the class {thing.__name__}; make one: {thing.__name__}(...)")
        if (thing is None and name in MAY_BE_NONE) or (name == "report" and not thing):
            continue
        if not all(hasattr(thing, method) for method in part.methods):
            raise UserError(f"{who}: {name} is {described(thing)}; expected {part.what}, such as "
                            f"{example_for(thing, part.examples)}{cure(name, thing)}")


def cure(name, thing):
    """What more there is to say to one who passed this thing under that name, as the end of a sentence."""
    if name == "schedule" and isinstance(thing, (int, float)):
        return f". A rate that stays is Constant({thing}), or lr={thing} of the optimizer"
    if name == "schedule" and isinstance(thing, (list, tuple)):
        return ". One rate after the other is PiecewiseConstant(rates, borders)"
    if name == "augment" and isinstance(thing, (list, tuple)):
        return ". Several after each other are Chain([...])"
    if name == "prepare" and hasattr(thing, "shape"):
        return ": the function itself, prepare=Standardize(x_train), which gets every batch"
    if name == "optimizer" and hasattr(thing, "shape"):
        return ". The order is fit(model, optimizer, x, y, epochs)"
    return ""


def check_callbacks(callbacks):
    """The callbacks as a list, after checking that each can be called."""
    if callbacks is None:
        return []
    if callable(callbacks) and not isinstance(callbacks, type):
        raise UserError(f"fit: callbacks is {described(callbacks)}; expected a list of functions of the run. Write "
                        f"callbacks=[...] around it")
    for callback in callbacks:
        if isinstance(callback, type):
            raise UserError(f"fit: callbacks holds the class {callback.__name__}; make one: {callback.__name__}(...)")
        if not callable(callback):
            raise UserError(f"fit: callbacks holds {described(callback)}; expected functions of the run, which are "
                            f"called after every epoch")
    return list(callbacks)


def check_training(model, optimizer):
    """Raise an error unless the optimizer trains this model, which must be built."""
    if hasattr(model, "require_built"):
        model.require_built()
    trained = getattr(optimizer, "all_parameters", ())
    if any(parameter.data is None for parameter in trained):
        raise UserError("fit: the model was built a second time after the optimizer was made, and has new parameters. "
                        "Make the optimizer anew, from model.parameters()")
    if trained and set(map(id, trained)).isdisjoint(map(id, model.parameters())):
        raise UserError("fit: the optimizer trains the parameters of another model, and this one would learn nothing. "
                        "Make it from model.parameters()")
    if hasattr(optimizer, "lr"):
        checked_lr(optimizer.lr, "fit: optimizer.lr")


# ------------------------------------------------------------------------------------------------------------- data


def checked_data(who, model, x, y, loss=None):
    """x and y on the device that computes, after checking all that can be known of them before a forward pass.

    loss: None where y must be labels
    """
    x, y = numbers(who, "x", x), numbers(who, "y", y)
    if x.ndim == 1 and y.ndim > 1 and x.dtype.kind in "iu":
        raise UserError(f"{who}: x and y seem to be exchanged: x is {described(x)}, y is {described(y)}. The "
                        f"images come first, then the labels")
    if x.shape[:1] != y.shape[:1] or not len(x):
        turned = len(y) > 1 and x.shape[-1:] == y.shape
        raise ShapeError(f"{who}: expected as many labels as images, and at least one; got {len(x)} images and "
                         f"{len(y)} labels" + (". The first axis counts the images: transpose x" if turned else ""))
    scores = (len(x), *(getattr(model, "output_shape", None) or ()))
    with saying(who):
        if len(scores) > 1 and (loss is None or getattr(loss, "target", None) == "labels"):
            check_labels(y, scores)
            check_range(*lowest_and_highest(y), scores[1])
        elif len(scores) > 1 and isinstance(loss, MeanSquaredError):
            check_target(y, scores)
    with memory_for(f"{who}: the data set", "Take fewer images, or compute on the CPU by minidl.use(\"numpy\")"):
        x, y = asarray(x), asarray(y)
    check_finite(who, "x", x)
    check_finite(who, "y", y)
    return x, y


@contextlib.contextmanager
def saying(who):
    """Inside the block, an error says who found it."""
    try:
        yield
    except UserError as error:
        raise type(error)(f"{who}: {error}") from None


def pair_to_test(test):
    """x_test and y_test from the argument `test`."""
    if not isinstance(test, (tuple, list)) or len(test) != 2:
        raise UserError(f"fit: test is {described(test)}; expected a pair, test=(x_test, y_test)")
    return test


def set_apart(share, x, y):
    """x and y without a share of their rows, drawn at random, always the same ones, and these: x, y, x', y'."""
    share = in_range(share, "fit: validation", 0, 1)
    count = round(share * len(x))
    if not 0 < count < len(x):
        raise UserError(f"fit: validation={share:g} of {len(x)} images is {count}; expected at least one to train and "
                        f"one to validate. Take another share, such as 0.1")
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(x))
    kept, apart = (xp.asarray(np.sort(rows)) for rows in (order[count:], order[:count]))
    return x[kept], y[kept], x[apart], y[apart]


def check_alike(x, x_test):
    """Raise an error unless images to test are of the shape and the kind of numbers of those to train with."""
    if x_test.shape[1:] != x.shape[1:]:
        raise ShapeError(f"fit, test: expected x_test of the shape {x.shape[1:]} that x has, without the batch axis; "
                         f"got {x_test.shape[1:]}")
    if (x_test.dtype.kind == "f") != (x.dtype.kind == "f"):
        raise UserError(f"fit, test: expected x_test of {x.dtype}, as x is, got {x_test.dtype}. Was only one of them "
                        f"scaled? Leave both as they are, and scale both by prepare=Standardize(x_train)")


def numbers(who, name, given):
    """`given` as an array, wherever it is, after checking that it is one of numbers; `name` is x or y."""
    try:
        array = given if hasattr(given, "dtype") else np.asarray(given)
    except ValueError as reason:
        cure = ". Pass a pair of x and y as two arguments" if isinstance(given, tuple) else ""
        raise ShapeError(f"{who}: {name} is {described(given)} whose rows differ in shape; expected an array of "
                         f"numbers, all rows of the same shape{cure}") from reason
    if array.dtype.kind in "biuf" and array.ndim:
        return array
    what = "text" if array.dtype.kind in "US" or (array.size and isinstance(array.flat[0], str)) else described(given)
    if name == "y":
        raise UserError(f"{who}: y is {what}; expected labels, integers from 0 to the number of classes - 1" +
                        (". They come from classes, y = np.unique(y, return_inverse=True)" if what == "text" else ""))
    raise UserError(f"{who}: {name} is {what}; expected an array of numbers, one row per image" +
                    (". Convert it with x.astype(float)" if what == "text" else ""))


def check_finite(who, name, array):
    """Raise an error that says how many numbers of the array are NaN or infinite, and where the first one is.

    The sum of all squares, a product of BLAS, tells whether there are any, in one pass at the memory's speed: 25 ms for
    20,000 images of 32x32x3, 0.3 % of an epoch of a small convolutional network, 7 % of one of a single Dense layer.
    """
    if array.dtype.kind != "f":
        return

    def squares(rows):
        with np.errstate(all="ignore"):
            return xp.dot(array[rows].ravel(), array[rows].ravel())

    if isfinite(sum(map(float, in_slices(squares, len(array), array[:1].nbytes)))):
        return
    nan, infinite = int(xp.isnan(array).sum()), int(xp.isinf(array).sum())
    if not nan + infinite:
        return      # the sum alone is too large
    counts = " and ".join([f"{nan} NaN"] * (nan > 0) + [f"{infinite} infinite numbers"] * (infinite > 0))
    first = np.unravel_index(int(xp.isfinite(array).argmin()), array.shape)
    raise UserError(f"{who}: {name} holds {counts}, the first at {name}[{', '.join(map(str, map(int, first)))}]; "
                    f"expected finite numbers. Leave these rows out, or replace them by np.nan_to_num({name})")


# ------------------------------------------------------------------------------------------------ the first batch


def check_changed(who, name, images, count):
    """Raise an error unless `images`, which the function called `name` returned, are an array of so many."""
    if images is None:
        raise UserError(f"{who}: {name} returned None; expected a batch of images. Is its return missing?")
    if not isinstance(images, xp.ndarray):
        raise UserError(f"{who}: {name} returned an object of the kind {kind_of(images)}; expected an array. Return "
                        f"minidl.asarray(...)")
    if len(images) != count:
        raise ShapeError(f"{who}: {name} returned {len(images)} images; expected the {count} that it got, in the same "
                         f"order")


def check_input(who, model, images):
    """Raise an error unless the model takes these images."""
    if images.dtype.kind != "f":
        raise UserError(f"{who}: expected floats as the model's input, got {images.dtype}, whole ones. "
                        f"Pass prepare=Standardize(x_train), or prepare=scale_to_unit")
    if hasattr(model, "check"):
        model.check(images)


def check_rate(lr, progress):
    """Raise an error unless what a schedule returned is a learning rate."""
    if not isinstance(lr, (int, float, np.number)) or not lr >= 0 or not isfinite(lr):
        raise UserError(f"fit: schedule returned {lr!r} for progress {progress:.3g}; expected a learning rate, a "
                        f"number of at least 0")
