"""Multi-layer perceptrons: Dense layers and activations, the networks of the first lessons."""

import numpy as np

from minidl.layers import BatchNorm, Dense, Flatten, ReLU
from minidl.models.blocks import drop, new
from minidl.network import Sequential


def mlp(units=(40, 20), input_shape=(784,), classes=10, activation=ReLU, init="he", batch_norm=False, dropout=0):
    """Dense layers one after another, with an activation after each but the last.

        784-40-20-10        mlp((40, 20))        vanishing gradients, batch normalisation, optimizers
        784-100x4-10        mlp([100] * 4)       first weights and optimizers in the textbook
        784-100x6-10        mlp([100] * 6)       overfitting on 300 images

    units: of the hidden layers, from the input on    activation: a layer class such as Sigmoid, or any function that
    makes a layer    batch_norm: BatchNorm before each activation    dropout: the rate after each activation, 0 for none

    The nets of the course "deep learning, day 2" (source 003; its textbook is Saito 2016, chapters 5 and 6).
    Parameters of 784-40-20-10: 32,430. Published test accuracy on MNIST after 2000 steps of SGD at 0.1: 0.9476 with
    ReLU and He, 0.868 to 0.884 with Sigmoid and init="xavier", 0.101 to 0.1135 with Sigmoid and init="normal:0.01".
    Images are flattened first.
    """
    layers = [Flatten()] if np.size(input_shape) > 1 else []
    for width in units:
        layers += [Dense(width, init), *([BatchNorm()] if batch_norm else []), new(activation), *drop(dropout)]
    return Sequential([*layers, Dense(classes, init)], input_shape)
