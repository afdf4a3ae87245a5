"""Look inside a network: what passes through each layer, forward and backward."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from minidl.backend import asarray, random_state, restore_random_state, to_cpu


@dataclass
class Observation:
    """One layer, as one batch met it."""

    name: str                # "dense_1"
    layer: object
    activations: np.ndarray  # its output y, (N, ...)
    gradients: np.ndarray    # the gradient that arrived there, dy, of the same shape
    weight_gradient: float   # the norm of the gradient of its weights (0 where it has none)


def probe(model, x, dy_of):
    """Send one batch forward and backward through a Sequential and note what each layer saw.

    dy_of: a function from the network's output to the gradient that enters at the top: one that applies a loss,
    `lambda scores: (loss.forward(scores, labels), loss.backward())[1]`, or one that draws noise of the same shape.
    Returns one Observation per layer, first to last. Parameters, statistics and random numbers stay as they were;
    gradients are overwritten.
    """
    draws, statistics, wanted = random_state(), _statistics(model), model.input_gradient
    outputs, arriving = [], []
    model.input_gradient = True     # each layer hands its dx to the one below
    try:
        for layer in model.layers:
            x = layer.forward(x)
            outputs.append(x)
        dy = dy_of(x)
        for layer in reversed(model.layers):
            arriving.append(dy)
            dy = layer.backward(dy)
    finally:
        model.input_gradient = wanted
        for layer, name, value in statistics:
            setattr(layer, name, value)
        restore_random_state(draws)
    return [Observation(layer.name, layer, to_cpu(y), to_cpu(dy), weight_gradient_norm(layer))
            for layer, y, dy in zip(model.layers, outputs, reversed(arriving), strict=True)]


def weight_gradient_norm(layer):
    """The length of the gradient of a layer's weights, as the last backward pass left it."""
    weights = [to_cpu(parameter.grad) for parameter in layer.parameters() if parameter.decay]
    return float(np.sqrt(sum(np.vdot(grad, grad) for grad in weights)))


def _statistics(model):
    return [(layer, name, getattr(layer, name).copy()) for layer in model.walk() for name in layer.statistics]


def accuracy_in_training_mode(model, x, y, batch_size, prepare=asarray):
    """The share of images that the model classifies rightly in training mode, where BatchNorm takes mean and spread of
    every batch of images, and Dropout drops. Parameters, statistics and random numbers stay as they were."""
    draws, statistics, right = random_state(), _statistics(model), 0
    try:
        for first in range(0, len(x), batch_size):
            scores = model.forward(prepare(x[first:first + batch_size]))
            right += int((scores.argmax(axis=1) == asarray(y[first:first + batch_size])).sum())
        return right / len(x)
    finally:
        for layer, name, value in statistics:
            setattr(layer, name, value)
        restore_random_state(draws)


def least_times(calls, rounds=7):
    """How long each of these calls takes: the seconds of its fastest round, and what it returned.

    calls: {name: (function, argument, argument ...)}. They take turns, one call each in a round: what else the computer
    does makes single calls slower, never faster, and it meets all functions alike.
    Returns {name: seconds}, {name: array}. On a GPU a call ends when its array is there.
    """
    seconds, results = {name: [] for name in calls}, {}
    for name in list(calls) * rounds:
        function, *arguments = calls[name]
        start = perf_counter()
        results[name] = function(*arguments)
        float(results[name].reshape(-1)[0])      # a GPU computes on while Python goes on: this waits for it
        seconds[name].append(perf_counter() - start)
    return {name: min(values) for name, values in seconds.items()}, results
