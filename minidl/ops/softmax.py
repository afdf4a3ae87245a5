"""Softmax and cross-entropy in one: the losses and their gradient."""

from minidl.backend import xp
from minidl.backend.kernels import Kernel, on_gpu
from minidl.parallel import in_slices

# One thread for each row: it reads its few scores three times, the second and third time from the cache.
SOFTMAX_CROSS_ENTROPY = Kernel("softmax_cross_entropy", "raw T scores, L label, T smoothing, int64 classes",
                               "T loss, raw T gradient", """
    const ptrdiff_t start = i * classes, right = label;
    const bool known = right >= 0 && right < classes;            // a label that is no class makes the loss NaN
    T largest = scores[start], total = 0, mean = 0;
    for (ptrdiff_t k = 1; k < classes; ++k) {
        T score = scores[start + k];
        if (score > largest || score != score) largest = score;
    }
    for (ptrdiff_t k = 0; k < classes; ++k) {
        T shifted = scores[start + k] - largest;
        T exponential = exp(shifted);
        gradient[start + k] = exponential;
        total += exponential;
        mean += shifted;
    }
    mean /= classes;
    for (ptrdiff_t k = 0; k < classes; ++k) {
        T target = smoothing / classes + (k == right ? 1 - smoothing : (T)0);
        gradient[start + k] = gradient[start + k] / total - target;
    }
    T score = known ? scores[start + right] - largest : log((T)-1);
    loss = log(total) - (1 - smoothing) * score - smoothing * mean;
""")


def softmax_cross_entropy_on_gpu(scores, labels, smoothing):
    losses, gradient = xp.empty(len(scores), scores.dtype), xp.empty(scores.shape, scores.dtype)
    return SOFTMAX_CROSS_ENTROPY(scores, labels, smoothing, scores.shape[1], losses, gradient)


@on_gpu(softmax_cross_entropy_on_gpu)
def softmax_cross_entropy(scores, labels, smoothing):
    """The loss of each row, (N,), and its gradient with respect to the scores of that row, (N, classes).

        loss = sum of -target * log p            p = exp(scores) / sum of exp(scores)
        gradient = p - target                    target = (1 - smoothing) * onehot(label) + smoothing / classes
    """
    N, classes = scores.shape
    losses, gradient = xp.empty(N, scores.dtype), xp.empty((N, classes), scores.dtype)

    def softmax_slice(part):
        rows, right = xp.arange(part.stop - part.start), labels[part]
        shifted = scores[part] - scores[part].max(axis=1, keepdims=True)        # (n, classes): exp cannot overflow
        exponentials = xp.exp(shifted)
        total = exponentials.sum(axis=1, keepdims=True)                         # (n, 1)
        score = (1 - smoothing) * shifted[rows, right]                          # (n,), that of the target
        if smoothing:
            score += smoothing * shifted.mean(axis=1)
        losses[part] = xp.log(total[:, 0]) - score
        dscores = exponentials / total - smoothing / classes
        dscores[rows, right] -= 1 - smoothing
        gradient[part] = dscores

    in_slices(softmax_slice, N, 4 * scores[:1].nbytes)
    return losses, gradient
