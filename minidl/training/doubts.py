"""Warnings about what works in a training but is seldom meant: each once, with what to look at.

Reading numbers waits for a GPU, so they are read before the first step and at the end of an epoch.
"""

from math import isfinite, log, sqrt

from minidl.errors import UserError, suspect
from minidl.layers import GELU, BatchNorm, Flatten, LayerNorm, LeakyReLU, ReLU, Sigmoid, Tanh
from minidl.losses import SoftmaxCrossEntropy

LARGE_INPUT = 20            # standardised numbers seldom pass 5
LARGE_LOSS, GROWTH = 1e6, 100
STEPS_TO_LEARN = 100        # before these, a loss that stays says nothing


def doubt_last_layer(model, loss):
    """Warn of scores that went through an activation function."""
    last = model
    while getattr(last, "layers", None):
        last = last.layers[-1]
    if isinstance(last, (ReLU, LeakyReLU, GELU, Sigmoid, Tanh)) and isinstance(loss, SoftmaxCrossEntropy):
        suspect(f"fit: the last layer is {last.label()}, but SoftmaxCrossEntropy wants scores, any real numbers, and "
                f"takes their softmax itself. Leave that last layer out")


def doubt_inputs(model, images):
    """Warn of numbers that make the outputs of the first layer huge. An error where prepare made NaN of them."""
    largest = float(abs(images).max())
    if not isfinite(largest):
        raise UserError("fit: prepare or augment returned NaN or infinite numbers, where x has none; expected finite "
                        "numbers. Does it divide by zero?")
    walk = model.walk() if hasattr(model, "walk") else ()
    first = next((layer for layer in walk if not layer.sublayers() and not isinstance(layer, Flatten)), None)
    if largest > LARGE_INPUT and not isinstance(first, (BatchNorm, LayerNorm)):
        low, high = float(images.min()), float(images.max())
        suspect(f"fit: the inputs of the first batch go from {low:.4g} to {high:.4g}, but a network learns best from "
                f"numbers around 0 to 1. Divide pixels from 0 to 255 by 255, or pass them as bytes with "
                f"prepare=Standardize(x_train)")


def doubt_loss(history, y):
    """Warn of a loss that has grown beyond all bounds; returns whether it did.

    It is GROWTH times that of epoch 1, or above LARGE_LOSS: both in comparison with a network that always says zero.
    """
    now, first = history.loss[-1], history.loss[0]
    if not isfinite(now) or now <= min(LARGE_LOSS, GROWTH * first):
        return False
    zero = 1 if y.dtype.kind in "iu" else float((y * y).mean())
    if not (now > max(LARGE_LOSS, GROWTH * zero) or now > max(GROWTH * first, zero)):
        return False
    before = f", of epoch 1 it was {first:.3g}" if len(history.loss) > 1 else ""
    suspect(f"fit: the average loss of epoch {len(history.loss)} is {now:.3g}{before}: every step overshoots. Try a "
            f"smaller learning rate")
    return True


def doubt_guessing(history, classes, images, steps):
    """Warn of a network that has learned nothing; returns whether it has not.

    Its loss is ln(classes) within 1 %, as where every class gets the same score, and its accuracy is within three
    standard deviations of that of guessing.
    """
    chance = 1 / classes
    above_chance = history.accuracy[-1] > chance + 3 * sqrt(chance * (1 - chance) / images)
    if steps < STEPS_TO_LEARN or above_chance or not abs(history.loss[-1] - log(classes)) < 0.01 * log(classes):
        return False
    suspect(f"fit: after epoch {len(history.loss)} the loss is {history.loss[-1]:.4f}, that of guessing, "
            f"ln({classes}) = {log(classes):.4f}: the network gives every class the same score. Are all weights zero "
            f"at first, is the learning rate too small, or so large that every ReLU is off, are the inputs scaled, do "
            f"labels and images belong together?")
    return True
