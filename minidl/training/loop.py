"""The training loop over (data, model, loss, optimizer)."""

from minidl.backend import asarray
from minidl.training.run import Run


def fit(model, optimizer, x, y, epochs, batch_size=100, loss=None, test=None, prepare=asarray, report=print,
        schedule=None, augment=None, validation=None, callbacks=(), checkpoint=None, resume=False):
    """Train a model: `epochs` times through all of x, in a new random order each time.

    x: (N, ...) images or vectors    y: (N,) labels    test: (x_test, y_test), evaluated after every epoch, or None;
        all of them move to the device that computes, once, and bytes stay bytes there until their batch is due
    validation: a share of x and y, such as 0.1, that is set apart and evaluated after every epoch as well; its rows
        are drawn at random, the same in every run
    loss: SoftmaxCrossEntropy() unless given
    prepare: turns a batch of x into the model's input, such as Standardize(x_train); x itself may stay uint8
    report: is called with one line per epoch; None for silence. A terminal also shows, below, the step under way
    schedule: sets optimizer.lr before every step, see `minidl.schedules`; None to leave it alone
    augment: changes every batch of training images, before `prepare`, see `minidl.augment`; None to leave them alone
    callbacks: functions of the run (`minidl.training.run.Run`), which are called after every epoch, or after every
        step where they have an attribute each_step = True; see `minidl.training.callbacks`
    checkpoint: a folder that gets all that is needed to continue: at the start, after every epoch, within one every ten
        minutes, at Ctrl-C and at SIGTERM; beside it best.npz, the model of the epoch with the best validation (else
        test, else training) loss, for model.load
    resume: True continues from that folder's checkpoint, to the bit as a run never stopped (on the same machine, with
        the same versions); where there is none yet, it begins from the start, so that a job needs one line

    Labels are integers, unless the loss compares with numbers (MeanSquaredError): then losses alone are reported, and
    no accuracy.

    In each step: rows of x in random order, the last batch smaller; augment; prepare; optimizer.lr = schedule(step /
    steps); then forward, loss, backward and optimizer.step as below. The same in fourteen lines: `minidl.textbook.fit`.

    Returns a History, also after Ctrl-C, which ends the training after its step: history.stopped says so. The second
    Ctrl-C stops at once, and within ten seconds also in the next training (docs/training.md). Where a number becomes
    NaN or infinite, the training stops within 20 steps, says in which layer it happened first, and leaves the model
    with its last finite numbers. Mistakes in the arguments and the data are a UserError before the first step; what
    only seems unintended, as inputs from 0 to 255, is a `minidl.errors.SuspiciousWarning`.
    """
    run = Run(model, optimizer, x, y, epochs, batch_size, loss, test, prepare, report, schedule, augment, validation,
              callbacks)
    with run.training(checkpoint, resume):
        for images, labels in run.batches():
            scores = model.forward(images)
            value = run.loss.forward(scores, labels)
            model.backward(run.loss.backward())
            optimizer.step()
            run.after_step(value, scores, labels)
    return run.history
