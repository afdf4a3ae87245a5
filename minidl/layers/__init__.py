"""The layers, one family per file: each a docstring with formula and shapes, then forward and backward.

Features are the last axis everywhere: vectors are (N, D), images (N, H, W, C), convolution weights (KH, KW, C, F).
"""

from minidl.layers.activation import ReLU, Sigmoid, Tanh
from minidl.layers.convolution import Conv2D
from minidl.layers.dense import Dense
from minidl.layers.dropout import Dropout
from minidl.layers.flatten import Flatten
from minidl.layers.normalization import BatchNorm
from minidl.layers.pooling import MaxPool2D

__all__ = ["BatchNorm", "Conv2D", "Dense", "Dropout", "Flatten", "MaxPool2D", "ReLU", "Sigmoid", "Tanh"]
