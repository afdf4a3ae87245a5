"""A look at a trained model, in evaluation mode: its scores, their classes, how many are right."""

import contextlib
import copy
from typing import NamedTuple

import numpy as np

from minidl.arguments import positive_integer
from minidl.backend import asarray, memory_for, on_cpu, to_cpu, xp
from minidl.errors import ShapeError, suspect
from minidl.losses import check_labels, check_range, lowest_and_highest
from minidl.training.checks import check_changed, check_input, check_parts, checked_data, numbers


def predict(model, x, batch_size=500, prepare=asarray):
    """The model's scores for x in evaluation mode, batch by batch; the mode before is put back.

        scores = predict(model, x_test, prepare=scale)        x: (N, ...)        scores: (N, classes)

    Dropout drops nothing and BatchNorm's statistics stay as they are; in model.forward(x_test) after a training they
    would drop and move, because the model is still in training mode. The scores are of the kind that x is: a NumPy
    array for a NumPy array, also where a GPU computes.
    prepare: turns a batch of x into the model's input, the same as in `fit`
    """
    check_parts("predict", model=model, prepare=prepare)
    scores = all_scores("predict", model, numbers("predict", "x", x), batch_size, prepare)
    return to_cpu(scores) if on_cpu(x) else scores


def predict_classes(model, x, batch_size=500, prepare=asarray):
    """For each x the class of the highest score, an integer: (N,). The arguments are those of `predict`.

        mistaken = x_test[predict_classes(model, x_test, prepare=scale) != y_test]
    """
    scores = predict(model, x, batch_size, prepare)
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ShapeError(f"predict_classes: expected one score per class from the model, (N, classes), got "
                         f"{scores.shape}. Take predict(model, x) where it gives no scores of classes")
    return scores.argmax(axis=1)


class Evaluation(NamedTuple):
    """What `evaluate` returns where more than the accuracy is asked for.

    accuracy: the share of images classified rightly; None where y holds numbers to predict
    loss: the average over all images, or None
    confusion: (classes, classes) counts, a NumPy array, or None. The row is the class in y, the column the one that the
        model chose, so the diagonal counts what is right
    """

    accuracy: float | None
    loss: float | None = None
    confusion: np.ndarray | None = None


def evaluate(model, x, y, batch_size=500, prepare=asarray, loss=None, confusion=False):
    """The share of images that the model classifies rightly, in evaluation mode; the mode before is put back.

        accuracy = evaluate(model, x_test, y_test, prepare=scale)
        accuracy, loss, confusion = evaluate(model, x_test, y_test, prepare=scale, loss=SoftmaxCrossEntropy(),
                                             confusion=True)

    loss, confusion: with a loss, or with confusion=True, an `Evaluation` is returned, which holds these as well. With
    loss=MeanSquaredError(), y may be numbers to predict.
    """
    check_parts("evaluate", model=model, prepare=prepare, loss=loss)
    x, y = checked_data("evaluate", model, x, y, None if confusion else loss)
    found = evaluation("evaluate", model, x, y, batch_size, prepare, loss, confusion)
    return found.accuracy if loss is None and not confusion else found


def evaluation(who, model, x, y, batch_size=500, prepare=asarray, loss=None, confusion=False):
    """The Evaluation, from x and y that are checked and on the device that computes."""
    scores = all_scores(who, model, x, batch_size, prepare)
    bad = len(scores) - int(xp.isfinite(scores.reshape(len(scores), -1)).all(axis=1).sum())
    if bad:
        suspect(f"{who}: {bad} of {len(scores)} images have scores that are NaN or infinite, which count as a class "
                f"nonetheless. Does the model hold NaN, or is x not prepared as in training?")
    if loss is not None:
        loss = float(copy.copy(loss).forward(scores, y))      # a copy: what it keeps for backward belongs to a training
    if y.ndim != 1 or y.dtype.kind not in "iu" or scores.ndim != 2:
        return Evaluation(None, loss)
    if getattr(model, "output_shape", None) is None:      # a model of one's own, whose classes are known only now
        check_labels(y, scores.shape)
        check_range(*lowest_and_highest(y), scores.shape[1])
    classes = scores.argmax(axis=1)
    return Evaluation(float((classes == y).sum()) / len(y), loss,
                      confusions(to_cpu(y), to_cpu(classes), scores.shape[1]) if confusion else None)


def confusions(labels, classes, count):
    """(count, count): how often images of the class [row] were taken for the class [column]."""
    return np.bincount(labels.astype(np.int64) * count + classes, minlength=count * count).reshape(count, count)


def all_scores(who, model, x, batch_size, prepare):
    """What the model gives for all of x in evaluation mode, an array of the backend."""
    batch_size, scores = positive_integer(batch_size, f"{who}: batch_size"), []
    with evaluation_mode(model), memory_for(f"{who}: a batch of {batch_size}", smaller_batch(batch_size)):
        x = asarray(x)
        if not len(x):
            raise ShapeError(f"{who}: expected at least one image, got x of shape {tuple(x.shape)}")
        for first in range(0, len(x), batch_size):
            rows = x[first:first + batch_size]
            images = prepare(rows)
            if first == 0:
                check_changed(who, "prepare", images, len(rows))
                check_input(who, model, images)
            scores.append(model.forward(images))
        return scores[0] if len(scores) == 1 else xp.concatenate(scores)


def smaller_batch(batch_size):
    """The cure where a batch does not fit into memory."""
    return f"Take a smaller batch_size, such as {batch_size // 2}" if batch_size > 1 else "Take a smaller model"


@contextlib.contextmanager
def evaluation_mode(model):
    """Inside the block, the model is in evaluation mode; after it, each of its layers in the mode before."""
    layers = model.walk() if hasattr(model, "walk") else ()     # a model of one's own may have no layers
    modes = [(layer, layer.training, layer.keeping) for layer in layers]
    if hasattr(model, "eval"):
        model.eval()
    try:
        yield
    finally:
        if not modes and hasattr(model, "train"):
            model.train()
        for layer, training, keeping in modes:
            layer.training, layer.keeping = training, keeping
