"""Whole trainings on shapes10: the set must tell methods apart, and everything together must learn. Slow."""

import pytest

import minidl
from minidl import Sequential
from minidl.datasets import Standardize, load
from minidl.layers import Conv2D, Dense, Flatten, MaxPool2D, ReLU
from minidl.optimizers import Adam
from minidl.training import fit

pytestmark = pytest.mark.slow


def best_accuracy(layers, epochs):
    minidl.seed(0)
    x_train, y_train, x_test, y_test, _ = load("shapes10")
    model = Sequential(layers, input_shape=x_train.shape[1:])
    history = fit(model, Adam(model.parameters(), lr=0.001), x_train, y_train, epochs, test=(x_test, y_test),
                  prepare=Standardize(x_train))
    return max(history.test_accuracy)


def test_a_fully_connected_network_stays_below_70_percent():
    best = best_accuracy([Flatten(), Dense(256), ReLU(), Dense(128), ReLU(), Dense(10)], epochs=12)
    assert 0.4 < best < 0.7, f"test accuracy {best}"


def test_a_small_convolutional_network_passes_90_percent():
    best = best_accuracy([Conv2D(32, 3), ReLU(), MaxPool2D(2), Conv2D(64, 3), ReLU(), MaxPool2D(2),
                          Conv2D(64, 3), ReLU(), MaxPool2D(2), Flatten(), Dense(10)], epochs=8)
    assert best > 0.9, f"test accuracy {best}"
