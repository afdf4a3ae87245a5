"""Losses: one number that says how wrong the scores are, and its gradient with respect to them.

`forward(scores, target)` returns the mean over the batch, `backward()` the gradient with respect to the scores.
"""

from minidl.backend import asarray, xp
from minidl.errors import ShapeError, UserError


class SoftmaxCrossEntropy:
    """Minus the logarithm of the probability that the network gives to the right class.

        p = softmax(scores) = exp(scores) / sum of exp(scores)         loss = mean over the batch of -log p[label]
        dscores = (p - onehot(label)) / N

    scores: (N, classes), any real numbers    labels: (N,), whole numbers from 0 to classes - 1

    Softmax and logarithm are taken together: their joint gradient is this simple, and subtracting the row's maximum
    first keeps exp from overflowing. Bridle 1990 (softmax). The same as torch.nn.CrossEntropyLoss.
    """

    saved = None

    def forward(self, scores, labels):
        labels = checked_labels(labels, scores)
        shifted = scores - scores.max(axis=1, keepdims=True)                    # (N, classes)
        exponentials = xp.exp(shifted)
        total = exponentials.sum(axis=1, keepdims=True)                         # (N, 1)
        rows = xp.arange(len(scores))
        self.saved = exponentials / total, rows, labels
        return (xp.log(total[:, 0]) - shifted[rows, labels]).mean()

    def backward(self):
        if self.saved is None:
            raise UserError("SoftmaxCrossEntropy: backward has nothing to work from. Call forward(scores, labels) "
                            "before it")
        probabilities, rows, labels = self.saved
        dscores = probabilities.copy()
        dscores[rows, labels] -= 1
        dscores /= len(dscores)
        return dscores


def checked_labels(labels, scores):
    """The labels as an array of the backend, after checking that each is the number of a class."""
    if scores.ndim != 2:
        raise ShapeError(f"scores: expected one row per image, (N, classes); got shape {tuple(scores.shape)}. "
                         f"Is a Flatten() or a last Dense layer missing?")
    labels = asarray(labels)
    N, classes = scores.shape
    if labels.dtype.kind not in "iu":
        raise UserError(f"labels: expected whole numbers from 0 to {classes - 1}, got {labels.dtype}. "
                        f"Convert them with labels.astype(int)")
    if labels.shape != (N,):
        cure = "One-hot rows become numbers by labels.argmax(axis=1)" if labels.ndim == 2 else \
            "Were images and labels cut into batches by the same rows?"
        raise ShapeError(f"labels: expected shape ({N},), one for each row of scores; got {labels.shape}. {cure}")
    lowest, highest = (int(labels.min()), int(labels.max())) if N else (0, 0)
    if lowest < 0 or highest >= classes:
        wrong = lowest if lowest < 0 else highest
        raise UserError(f"labels: {wrong} is not the number of a class; {classes} scores per image mean the classes "
                        f"0 to {classes - 1}. Does the last layer need more units, or do the labels start at 1?")
    return labels
