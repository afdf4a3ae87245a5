"""Losses: one number that says how wrong the scores are, and its gradient with respect to them.

`forward(scores, target)` returns the mean over the batch, `backward()` the gradient with respect to the scores.
"""

from math import prod

from minidl.arguments import in_range
from minidl.backend import asarray, backend_name, kind_of, on_cpu, to_cpu, xp
from minidl.errors import ShapeError, UserError
from minidl.ops.softmax import softmax_cross_entropy


class Loss:
    """What losses share: the memory from forward to backward, and the error where there is none."""

    target = "target"  # what the second argument of forward is called
    _saved = None

    @property
    def saved(self):
        if self._saved is None:
            raise UserError(f"{type(self).__name__}: backward has nothing to work from. Call forward(scores, "
                            f"{self.target}) before it")
        return self._saved

    @saved.setter
    def saved(self, value):
        self._saved = value


class SoftmaxCrossEntropy(Loss):
    """Minus the logarithm of the probability that the network gives to the right class.

        p = softmax(scores) = exp(scores) / sum of exp(scores)         loss = mean over the batch of -log p[label]
        dscores = (p - onehot(label)) / N

    scores: (N, classes), any real numbers    labels: (N,), integers from 0 to classes - 1

    Softmax and logarithm are taken together (`minidl.ops.softmax`): their joint gradient is this simple, and
    subtracting the row's maximum first keeps exp from overflowing. Bridle 1990 (softmax). The same as
    torch.nn.CrossEntropyLoss.

    label_smoothing: this share of the target goes to all classes alike, the right one included, so that no score has
    to grow without bound. With target = (1 - label_smoothing) * onehot(label) + label_smoothing / classes:

        loss = mean over the batch of the sum of -target * log p               dscores = (p - target) / N

    Szegedy et al. 2015, arXiv:1512.00567, section 7.
    """

    target = "labels"

    def __init__(self, label_smoothing=0.0):
        self.label_smoothing = in_range(label_smoothing, "SoftmaxCrossEntropy label_smoothing", 0, 1)

    def forward(self, scores, labels):
        labels = checked_labels(labels, scores)
        losses, gradient = softmax_cross_entropy(scores, labels, self.label_smoothing)      # (N,), (N, classes)
        self.saved = gradient                                                               # p - target
        return losses.mean()

    def backward(self):
        gradient = self.saved
        return gradient / len(gradient)


class MeanSquaredError(Loss):
    """The average square of the distance to the target.

        loss = mean of (scores - target)²                  dscores = 2 (scores - target) / number of elements

    scores, target: arrays of the same shape, (N, D) as a rule

    The mean runs over all N * D elements, as in torch.nn.MSELoss; textbooks often sum over the D of one example, or
    halve the square so that the 2 goes away. Legendre 1805 (least squares).
    """

    def forward(self, scores, target):
        distance = scores - checked_target(target, scores)
        self.saved = distance
        return (distance * distance).mean()

    def backward(self):
        distance = self.saved
        return distance * (2 / distance.size)


def check_kind(scores):
    """Raise an error unless the scores are an array of the backend in use."""
    if not isinstance(scores, xp.ndarray):
        raise UserError(f"scores: expected an array of the {backend_name()} backend, got {kind_of(scores)}. Pass "
                        f"minidl.asarray(scores)")


def checked_target(target, scores):
    """The target as an array of the backend, of the scores' type, after checking that it has their shape."""
    check_kind(scores)
    target = asarray(target)
    check_target(target, tuple(scores.shape))
    return target.astype(scores.dtype, copy=False)


def check_target(target, shape):
    """Raise an error unless the target is one for scores of this shape."""
    if target.shape != shape:
        cure = "One column is (N, 1): take target.reshape(-1, 1)" if prod(shape) == target.size else \
            "Labels become one-hot rows by np.eye(classes)[labels], or take SoftmaxCrossEntropy()" \
            if target.dtype.kind in "iu" and target.ndim == 1 else \
            "Does the last layer have as many units as there are numbers to predict?"
        raise ShapeError(f"target: expected the shape of the scores, {shape}; got {target.shape}. {cure}")


def checked_labels(labels, scores):
    """The labels as an array of the backend, after checking that each is the number of a class.

    Labels on a GPU are not checked here, because the CPU would have to wait for the GPU in every step of a training:
    `fit` and `evaluate` look at all of them once, before they begin.
    """
    check_kind(scores)
    given, labels = labels, asarray(labels)
    check_labels(labels, tuple(scores.shape))
    if on_cpu(given):
        check_range(*lowest_and_highest(given), scores.shape[1])
    return labels


def check_labels(labels, shape):
    """Raise an error unless labels are integers, one for each row of scores of this shape."""
    if len(shape) != 2:
        cure = "Are scores and labels exchanged? It is loss.forward(scores, labels)" if labels.ndim == 2 else \
            "Is a Flatten() or a last Dense layer missing?"
        raise ShapeError(f"scores: expected one row per image, (N, classes); got shape {shape}. {cure}")
    N, classes = shape
    if labels.shape != (N,):
        cure = "Take labels.ravel()" if labels.shape[1:] == (1,) else \
            "One-hot rows become numbers by labels.argmax(axis=1)" if labels.ndim == 2 else \
            "Were images and labels cut into batches by the same rows?"
        raise ShapeError(f"labels: expected shape ({N},), one for each row of scores; got {labels.shape}. {cure}")
    if labels.dtype.kind not in "iu":
        raise UserError(f"labels: expected integers from 0 to {classes - 1}, got {labels.dtype}. "
                        f"Convert them with labels.astype(int)")


def lowest_and_highest(labels):
    """The smallest and the largest label; 0 and 0 of what are no integers. Waits until a GPU is done with them."""
    numbers = to_cpu(labels)
    return (int(numbers.min()), int(numbers.max())) if numbers.size and numbers.dtype.kind in "iu" else (0, 0)


def check_range(lowest, highest, classes):
    """Raise an error unless labels from `lowest` to `highest` are numbers of so many classes."""
    if lowest < 0 or highest >= classes:
        wrong = lowest if lowest < 0 else highest
        raise UserError(f"labels: {wrong} is not the number of a class; {classes} scores per image mean the classes "
                        f"0 to {classes - 1}. Does the last layer need more units, or do the labels start at 1?")
