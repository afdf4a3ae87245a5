"""A look at a trained model: evaluation mode, data on the device, the accuracy."""

import contextlib

from minidl.backend import asarray, memory_for
from minidl.errors import ShapeError
from minidl.losses import check_range, checked_labels, lowest_and_highest


def evaluate(model, x, y, batch_size=500, prepare=asarray):
    """The share of images that the model classifies rightly, in evaluation mode; the mode before is put back."""
    x, y, labels_seen = moved("evaluate", x, y)
    right = 0
    with evaluation_mode(model), memory_for(f"evaluate: a batch of {batch_size}", smaller_batch(batch_size)):
        for first in range(0, len(x), batch_size):
            rows = slice(first, first + batch_size)
            scores = model.forward(prepare(x[rows]))
            right += (scores.argmax(axis=1) == checked_labels(y[rows], scores)).sum()
            check_range(*labels_seen, scores.shape[1])
        return float(right) / len(x)


def moved(who, x, y):
    """x and y on the device that computes, and the smallest and the largest label, which are looked at only here."""
    with memory_for(f"{who}: the data set", "Take fewer images, or compute on the CPU by minidl.use(\"numpy\")"):
        labels_seen = lowest_and_highest(y)
        x, y = asarray(x), asarray(y)
    if len(x) != len(y) or not len(x):
        raise ShapeError(f"{who}: expected as many labels as images, and at least one; got {len(x)} images and "
                         f"{len(y)} labels")
    return x, y, labels_seen


def smaller_batch(batch_size):
    """The cure where a batch does not fit into memory."""
    return f"Take a smaller batch_size, such as {batch_size // 2}" if batch_size > 1 else "Take a smaller model"


@contextlib.contextmanager
def evaluation_mode(model):
    """Inside the block, the model is in evaluation mode; after it, each of its layers in the mode before."""
    modes = [(layer, layer.training, layer.keeping) for layer in model.walk()]
    model.eval()
    try:
        yield
    finally:
        for layer, training, keeping in modes:
            layer.training, layer.keeping = training, keeping
