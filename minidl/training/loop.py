"""The training loop over (data, model, loss, optimizer)."""

from minidl.backend import asarray
from minidl.training.run import Run


def fit(model, optimizer, x, y, epochs, batch_size=100, loss=None, test=None, prepare=asarray, report=print,
        schedule=None, augment=None):
    """Train a model: `epochs` times through all of x, in a new random order each time.

    x: (N, ...) images or vectors    y: (N,) labels    test: (x_test, y_test), evaluated after every epoch, or None;
        all of them move to the device that computes, once, and bytes stay bytes there until their batch is due
    loss: SoftmaxCrossEntropy() unless given
    prepare: turns a batch of x into the model's input, such as Standardize(x_train); x itself may stay uint8
    report: is called with one line per epoch; None for silence
    schedule: sets optimizer.lr before every step, see `minidl.schedules`; None to leave it alone
    augment: changes every batch of training images, before `prepare`, see `minidl.augment`; None to leave them alone

    Labels are integers, unless the loss compares with numbers (MeanSquaredError): then the test loss is
    reported, and no accuracy.

    In each step: rows of x in random order, the last batch smaller; augment; prepare; optimizer.lr = schedule(step /
    steps); then forward, loss, backward and optimizer.step as below. The same in fourteen lines: `minidl.textbook.fit`.

    Returns a History. If the average loss of an epoch is NaN or infinite, training stops after it and says so. Mistakes
    in the arguments and the data are a UserError before the first step; what only seems unintended, as inputs from 0 to
    255, is a `minidl.errors.SuspiciousWarning`.
    """
    run = Run(model, optimizer, x, y, epochs, batch_size, loss, test, prepare, report, schedule, augment)
    with run.training():
        for images, labels in run.batches():
            scores = model.forward(images)
            value = run.loss.forward(scores, labels)
            model.backward(run.loss.backward())
            optimizer.step()
            run.after_step(value, scores, labels)
    return run.history
