"""The layers, one family per file: each a docstring with formula and shapes, then forward and backward.

Features are the last axis everywhere: vectors are (N, D), images (N, H, W, C), convolution weights (KH, KW, C, F).
"""

from minidl.layers.activation import GELU, LeakyReLU, ReLU, Sigmoid, Tanh
from minidl.layers.convolution import Conv2D, DepthwiseConv2D
from minidl.layers.dense import Dense
from minidl.layers.dropout import Dropout
from minidl.layers.flatten import Flatten
from minidl.layers.normalization import BatchNorm, LayerNorm
from minidl.layers.pooling import AveragePool2D, GlobalAveragePool2D, MaxPool2D
from minidl.layers.shortcut import ZeroPadShortcut

__all__ = ["AveragePool2D", "BatchNorm", "Conv2D", "Dense", "DepthwiseConv2D", "Dropout", "Flatten", "GELU",
           "GlobalAveragePool2D", "LayerNorm", "LeakyReLU", "MaxPool2D", "ReLU", "Sigmoid", "Tanh",
           "ZeroPadShortcut"]
