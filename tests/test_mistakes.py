"""Mistakes as students write them, and what minidl answers: one sentence with what was expected, what came, the cure.

Each row is code that a student would write, run beside the data and the network of `written_by_a_student`. An `error`
is a UserError before anything has changed; a `warning` is one SuspiciousWarning, and the code runs on. The parts are
regular expressions that the sentence contains, upper or lower case. Further errors that the caller can cure are held
where their function is tested: arguments of layers, losses, optimizers and states in test_contract, downloads and
damaged data sets in test_datasets, flags of the command and of lessons in test_cli and test_lessons, a missing GPU in
test_backend.
"""

import re
import warnings
from typing import NamedTuple

import numpy as np
import pytest
from cases import CASES, assert_same_bits

from minidl import Sequential, layers, models
from minidl.errors import SuspiciousWarning, UserError
from minidl.layers import BatchNorm, Conv2D, Dense, Flatten, MaxPool2D, ReLU
from minidl.losses import MeanSquaredError
from minidl.optimizers import SGD
from minidl.training import History, fit
from minidl.training.doubts import doubt_loss


class Mistake(NamedTuple):
    """What a student writes, and parts of the answer."""

    code: str
    parts: tuple
    is_error: bool


def error(code, *parts):
    return Mistake(code, parts, True)


def warning(code, *parts):
    return Mistake(code, parts, False)


IMPORTS = """
import os
import numpy as np
import minidl
from minidl import Concat, Residual, Sequential, models
from minidl.augment import Chain, Flip, Shift
from minidl.datasets import Standardize, load, scale_to_unit
from minidl.layers import *
from minidl.losses import MeanSquaredError, SoftmaxCrossEntropy
from minidl.optimizers import *
from minidl.regularizers import L1, L2
from minidl.schedules import Constant, Cosine
from minidl.textbook import textbook
from minidl.training import *
"""
START = """
model = Sequential([Flatten(), Dense(8), BatchNorm(), ReLU(), Dense(3)], input_shape=(8, 8, 3))
optimizer = SGD(model.parameters(), lr=0.1)
scale = Standardize(x_train)
"""

# ----------------------------------------------------------------------------------------- the table, by whom it hits

DATA = [
    error("fit(model, optimizer, x_train, y_train, epochs=1, prepare=scale, test=x_test)",
          r"\btest\b", r"\(x_test, y_test\)", "array"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, prepare=scale, test=0.2)",
          r"\btest\b", r"\(x_test, y_test\)", r"0\.2"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, prepare=scale, test=(x_test,))",
          r"\btest\b", r"\(x_test, y_test\)"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, prepare=scale, test=(y_test, x_test))",
          "test", "exchange"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, prepare=scale, test=(x_test, y_test[:-1]))",
          "test", "20 images", "19 labels"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, prepare=scale, test=(x_test, y_test + 1))",
          "test", "3 is not the number of a class", "0 to 2", "start at 1"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, prepare=scale, test=(x_test[:, :7], y_test))",
          "test", r"\(8, 8, 3\)", r"\(7, 8, 3\)"),
    error("fit(model, optimizer, x_train / 255, y_train, epochs=1, test=(x_test, y_test))",
          "test", "uint8", "float", "only one of them"),
    error("fit(model, optimizer, y_train, x_train, epochs=1)", "exchange", r"\bx\b.*\by\b"),
    error("fit(model, optimizer, x_train, y_train[:50], epochs=1, prepare=scale)", "60 images", "50 labels"),
    error("fit(model, optimizer, x_train[:0], y_train[:0], epochs=1, prepare=scale)", "at least one", "0 images"),
    error("fit(model, optimizer, x_train, np.eye(3, dtype=int)[y_train], epochs=1, prepare=scale)",
          "labels", "one-hot", r"argmax\(axis=1\)"),
    error("fit(model, optimizer, x_train, np.eye(3)[y_train], epochs=1, prepare=scale)",
          "labels", "one-hot", r"argmax\(axis=1\)"),
    error("fit(model, optimizer, x_train, y_train.astype(float), epochs=1, prepare=scale)",
          "integers", "float", r"astype\(int\)"),
    error("fit(model, optimizer, x_train, y_train[:, None], epochs=1, prepare=scale)",
          "labels", r"\(60,\)", r"\(60, 1\)", r"ravel\(\)"),
    error('fit(model, optimizer, x_train, [["cat", "dog", "cow"][label] for label in y_train], epochs=1, '
          "prepare=scale)",
          "integers", "text|string|cat", r"np\.unique\(.*return_inverse=True\)"),
    error('fit(model, optimizer, x_train, np.array(["cat", "dog", "cow"])[y_train], epochs=1, prepare=scale)',
          "integers", "text|string|cat", r"np\.unique\(.*return_inverse=True\)"),
    error("fit(model, optimizer, x_train, y_train + 1, epochs=1, prepare=scale)",
          "3 is not the number of a class", "0 to 2", "start at 1"),
    error("fit(model, optimizer, x_train, y_train - 1, epochs=1, prepare=scale)",
          "-1 is not the number of a class", "0 to 2"),
    error("fit(model, optimizer, x_train, None, epochs=1, prepare=scale)", r"labels|\by\b", "None"),
    error("fit(model, optimizer, x_train, y_train, epochs=1)", "uint8", r"prepare=Standardize\(x_train\)"),
    warning("fit(model, optimizer, x_train.astype(np.float32), y_train, epochs=1)",
            r"0 to 25\d|25\d", "255", r"prepare=Standardize\(x_train\)"),
    warning("fit(model, optimizer, x_train / 1.0, y_train, epochs=1, prepare=lambda x: x.astype(np.float32))",
            "255", r"prepare=Standardize\(x_train\)"),
    error("x = x_train / 255\n"
          "x[7, 0, 0, 1] = np.nan\n"
          "fit(model, optimizer, x, y_train, epochs=1)",
          r"\bx\b", "1 NaN", r"x\[7, 0, 0, 1\]", "nan_to_num|remove|without"),
    error("x = x_train / 255\n"
          "x[3] = np.inf\n"
          "fit(model, optimizer, x, y_train, epochs=1)",
          r"\bx\b", "192 infinit", r"x\[3, 0, 0, 0\]"),
    error("x = x_test / 255\n"
          "x[0, 1] = np.nan\n"
          "fit(model, optimizer, x_train / 255, y_train, epochs=1, test=(x, y_test))",
          "test", "24 NaN", r"\[0, 1, 0, 0\]"),
    error("x = x_train / 255\n"
          "x[5] /= 0 * x[5].sum()\n"
          "fit(model, optimizer, x, y_train, epochs=1)",
          "NaN", r"\[5, "),
    error("fit(model, optimizer, x_train, y_train, epochs=1, "
          "prepare=lambda x: minidl.asarray((x - 7.0) / (x - x)))",
          "prepare", "NaN|infinit"),
    error("target = np.ones((60, 3))\n"
          "target[9, 2] = np.nan\n"
          "fit(model, optimizer, x_train, target, epochs=1, prepare=scale, loss=MeanSquaredError())",
          r"\by\b", "1 NaN", r"\[9, 2\]"),
    error("fit(model, optimizer, x_train, np.ones(60), epochs=1, prepare=scale, loss=MeanSquaredError())",
          r"\(60, 3\)", r"\(60,\)"),
    error("fit(model, optimizer, [[1.0, 2.0], [3.0]], [0, 1], epochs=1)",
          r"\bx\b", "same length|array of numbers|one shape"),
    error('fit(model, optimizer, np.array([["1", "2"], ["3", "4"]]), [0, 1], epochs=1)',
          r"\bx\b", "text|str", r"astype\(float\)|numbers"),
    error("fit(model, optimizer, scale(x_train).T, y_train, epochs=1)",
          "60|images", r"transpose|\.T\b|rows|first axis|images"),
    error("fit(model, optimizer, scale(x_train).reshape(60, -1), y_train, epochs=1)",
          r"\(N, 8, 8, 3\)", r"\(60, 192\)", r"reshape\(-1, 8, 8, 3\)"),
    error("fit(model, optimizer, scale(x_train).transpose(0, 3, 1, 2), y_train, epochs=1)",
          r"\(N, 8, 8, 3\)", r"\(60, 3, 8, 8\)", r"x\.transpose\(0, 2, 3, 1\)"),
    error("grey = Sequential([Conv2D(2, 3), Flatten(), Dense(3)], input_shape=(8, 8, 1))\n"
          "fit(grey, SGD(grey.parameters(), lr=0.1), x_train[..., 0] / 255, y_train, epochs=1)",
          r"\(N, 8, 8, 1\)", r"\(60, 8, 8\)", r"x\[\.\.\., None\]"),
    error("predict(model, x_test)", "uint8", "prepare="),
    error("evaluate(model, x_test, np.eye(3)[y_test], prepare=scale)", "one-hot", r"argmax\(axis=1\)"),
    error("predict_classes(model, x_test, y_test)", "batch_size", "integer"),
    error("evaluate(model, x_test, y_test, batch_size=0, prepare=scale)", "batch_size=0", "at least 1"),
    error("evaluate(model, (x_test, y_test), batch_size=10, y=None, prepare=scale)", r"labels|\by\b", "None|pair"),
    error("evaluate(x_test, y_test, model)", "model", "array", r"evaluate\(model, x|expected"),
    error("predict(model, x_test[0] / 255)", "batch axis", r"\(N, 8, 8, 3\)", r"\(8, 8, 3\)"),
    error("evaluate(model, x_test, y_test)", "uint8", "prepare="),
    error("predict(x_test, model)", "model", "array"),
    error("predict_classes(model, x_test[..., 0] / 255)", r"\(N, 8, 8, 3\)", r"\(20, 8, 8\)"),
    error("evaluate(model, x_test, y_test, scale)", "batch_size", "integer"),
    error("predict(Sequential([Dense(3)]), x_test / 255)", "not built", r"build\("),
    error('fit(model, optimizer, np.array([[1, "a"], [2, "b"]], dtype=object), [0, 1], epochs=1)', r"\bx\b", "numbers"),
    error("y = y_train.astype(float)\n"
          "y[4] = np.nan\n"
          "fit(model, optimizer, x_train, y, epochs=1, prepare=scale)",
          "integers|NaN", "y|labels"),
    error("evaluate(model, x_train, y_test, prepare=scale)", "60 images", "20 labels"),
    error("fit(model, optimizer, (x_train, x_test), y_train, epochs=1)", r"\bx\b", "tuple|shape"),
    error('fit(model, optimizer, x_train, {"y": y_train}, epochs=1)', r"\by\b", "dict", "labels"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, prepare=scale, test=[])", "test", r"\(x_test, y_test\)"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, prepare=scale, test=(None, None))", "test", "None"),
    error('fit(model, optimizer, x_train, y_train, epochs=1, prepare=scale, test={"x": x_test, "y": y_test})',
          "test", "dict", r"\(x_test, y_test\)"),
    error("predict_classes(model, x_test)", "uint8", "prepare="),
    error("predict(model, None)", "None", "array"),
    error('predict(model, "x_test")', "x", "text|array"),
    error("predict(None, x_test)", "model", "None", "Sequential"),
]

SHAPES = [
    warning("Sequential([Conv2D(3, 32, 3), Flatten(), Dense(10)], input_shape=(32, 32, 3))",
            "32", "PyTorch", r"Conv2D\(filters, kernel_size\)"),
    warning("Sequential([Conv2D(3, 16, 3, padding=1), ReLU(), Flatten(), Dense(10)], input_shape=(32, 32, 3))",
            "16", "PyTorch", r"Conv2D\(filters, kernel_size\)"),
    warning("Sequential([Conv2D(1, 6, 5), ReLU(), Flatten(), Dense(10)], input_shape=(28, 28, 1))",
            r"\b6\b", "PyTorch", r"Conv2D\(filters, kernel_size\)"),
    error("Sequential([Conv2D(3, 64, 3)], input_shape=(32, 32, 3))",
          "64x64", "32x32", r"Conv2D\(filters, kernel_size\)"),
    warning("Conv2D(8, 15).build((32, 32, 3))", "15x15", "kernel"),
    warning("Sequential([Conv2D(8, 3), Flatten(), Dense(10)], input_shape=(3, 32, 32))",
            r"\(3, 32, 32\)", "features come last|channels", r"\(32, 32, 3\)"),
    warning("Sequential([MaxPool2D(1), Flatten(), Dense(10)], input_shape=(1, 28, 28))",
            r"\(1, 28, 28\)", r"\(28, 28, 1\)"),
    error("Sequential([Conv2D(8, 3), Flatten(), Dense(10)], input_shape=(28, 28))",
          r"\(H, W, C\)", r"\(28, 28\)", r"\(H, W, 1\)|\(28, 28, 1\)"),
    error("Sequential([Conv2D(8, 3)], input_shape=x_train.shape)",
          r"\(60, 8, 8, 3\)", "batch axis", r"shape\[1:\]|\(8, 8, 3\)"),
    error("Sequential([Dense(10)], input_shape=784)", "784", r"\(784,\)"),
    error('Sequential([Dense(10)], input_shape="784")', "'784'", "a shape such as"),
    error("Sequential([Dense(10)], input_shape=(28.5,))", r"28\.5", "a shape such as"),
    error("Sequential([Dense(10)], input_shape=(None, 784))", "None", "without the batch axis"),
    error("Sequential([Dense(10)], input_shape=(60, 784))", r"\(60, 784\)", "batch axis"),
    error("Dense(784, 100)", "100", r"Dense\(100\)|only .*units|inputs"),
    error("BatchNorm(64)", "momentum=64", r"BatchNorm\(\)"),
    error("LayerNorm(128)", "eps=128", r"LayerNorm\(\)"),
    error("Dropout(50)", "rate=50", r"\[0, 1\)"),
    error('MaxPool2D("2")', "size='2'", "integer"),
    error('Conv2D(8, 3, padding="SAME")', "'SAME'", '"same"'),
    error('Conv2D(8, "3x3")', "'3x3'", "integer"),
    error('Dense(10, init="He")', "'He'", r"\bhe\b"),
    error('Dense(10, "relu")', "'relu'", r"ReLU\(\)|layer of its own"),
    error("Sequential(Dense(10), ReLU())", "list of layers", r"Sequential\(\["),
    error("Sequential([Dense(10), ReLU, Dense(3)], input_shape=(4,))", "not a layer", r"ReLU\(\.\.\.\)|ReLU\(\)"),
    error('Sequential([Dense(10), "relu", Dense(3)], input_shape=(4,))', "not a layer", r"ReLU\(\)"),
    error("Sequential([Dense(10), [ReLU(), Dense(3)]], input_shape=(4,))", "not a layer"),
    error("relu = ReLU()\n"
          "Sequential([Dense(10), relu, Dense(10), relu], input_shape=(4,))",
          "two places", "make one for each"),
    error("Sequential([Conv2D(8, 3), ReLU(), Dense(10)], input_shape=(8, 8, 3))",
          r"Dense\(10\)", r"\(6, 6, 8\)", r"Flatten\(\)"),
    error("Sequential([MaxPool2D(2)] * 2, input_shape=(8, 8, 3))", "two places", "make one for each"),
    error("Sequential([Conv2D(8, 3), MaxPool2D(2), Conv2D(8, 3), MaxPool2D(2)], input_shape=(8, 8, 3))",
          "2x2", "1x1", "fewer poolings"),
    error("Sequential([Residual([Conv2D(8, 3)])], input_shape=(8, 8, 3))",
          r"\(6, 6, 8\)", r"\(8, 8, 3\)", "1x1 Conv2D|padding"),
    error("layer = Dense(4)\n"
          "layer.build((3,))\n"
          "layer.forward(np.ones((5, 3), np.float32))\n"
          "layer.backward(np.ones((4, 5), np.float32))",
          r"Dense\(4\)", "dy", r"\(N, 4\)", r"\(4, 5\)"),
    error("layer = Dense(4)\n"
          "layer.build((3,))\n"
          "layer.forward(np.ones((5, 3), np.float32))\n"
          "layer.backward(np.ones((2, 4), np.float32))",
          r"Dense\(4\)", "dy", r"\b5\b", r"\b2\b"),
    error("layer = Dense(4)\n"
          "layer.build((3,))\n"
          "layer.forward(np.ones((5, 3), np.float32))\n"
          "layer.backward([[1.0] * 4] * 5)",
          r"Dense\(4\)", "list", r"asarray\(dy\)"),
    error("layer = Dense(4)\n"
          "layer.build((3,))\n"
          "layer.forward(np.ones((5, 3), np.float32))\n"
          "layer.backward(np.ones((5, 4), int))",
          r"Dense\(4\)", "dy", "int", "asarray|astype|float"),
    error("layer = Dense(4)\n"
          "layer.build((3,))\n"
          "layer.forward(np.ones((5, 3), np.float32))\n"
          "layer.backward(None)",
          r"Dense\(4\)", "dy", "None", r"return|loss\.backward\(\)"),
    error("layer = Conv2D(4, 3)\n"
          "layer.build((8, 8, 3))\n"
          "layer.forward(minidl.asarray(x_train / 255))\n"
          "layer.backward(np.ones((60, 4, 6, 6), np.float32))",
          r"Conv2D\(4, 3\)", r"\(N, 6, 6, 4\)", r"\(60, 4, 6, 6\)", r"transpose\(0, 2, 3, 1\)"),
    error("layer = Dense(4)\n"
          "layer.forward(np.ones((5, 3), np.float32))",
          "not built", r"build\(\(3,\)\)"),
    error("layer = Dense(4)\n"
          "layer.build((3,))\n"
          "layer.backward(np.ones((5, 4), np.float32))",
          r"Dense\(4\)", "forward", "before"),
    error("SoftmaxCrossEntropy().forward(y_test, model.forward(scale(x_test)))", "scores", "exchange"),
    error("SoftmaxCrossEntropy().backward()", r"forward\(scores, labels\)"),
    error("model.forward(x_test)", "uint8", "x / 255"),
    error("model.forward(x_test / 255)", "float64", "float32", r"asarray\(x\)"),
    error("Sequential([Conv2D(16, 3, 1, 1, 1)], input_shape=(8, 8, 3))", "init=1", r"Conv2D\(filters, kernel_size\)"),
    error("Sequential([Conv2D(3, 16, 5, 1, 2)], input_shape=(32, 32, 3))", "init=2", r"Conv2D\(filters, kernel_size\)"),
    error("Dense(784, 100, True)", "init=100", "produce|inputs"),
    error("Sequential([Dense(10)], input_shape=(784, ))\n"
          "Sequential([Dense(10)], (28, 28, 1))",
          r"\(28, 28, 1\)", r"Flatten\(\)"),
    error("Residual(Dense)", "list of layers", r"Dense\(\.\.\.\)"),
    error('Concat([Conv2D(2, 1), "conv"])', "layer", r"Conv2D\("),
]

TRAINING = [
    error("fit(optimizer, model, x_train, y_train, epochs=1)", "exchange", r"fit\(model, optimizer"),
    error("fit(model, x_train, y_train, optimizer, epochs=1)",
          "optimizer", "array", r"Adam\(model\.parameters\(\)|SGD\(model\.parameters\(\)"),
    error('fit(model, "adam", x_train, y_train, epochs=1)', "optimizer", "'adam'", r"Adam\(model\.parameters\(\)"),
    error('fit(model, "sgd", x_train, y_train, epochs=1)', "optimizer", "'sgd'", r"SGD\(model\.parameters\(\)"),
    error("fit(model, 0.01, x_train, y_train, epochs=1)", "optimizer", r"0\.01", r"\(model\.parameters\(\)"),
    error("fit(model, Adam, x_train, y_train, epochs=1)", "class Adam", r"Adam\("),
    error("fit(model, model.parameters(), x_train, y_train, epochs=1)",
          "optimizer", "list", r"\(model\.parameters\(\)"),
    error("fit([Dense(3)], optimizer, x_train, y_train, epochs=1)", "model", "list", r"Sequential\(\["),
    error("other = Sequential([Dense(3)], input_shape=(192,))\n"
          "fit(model, SGD(other.parameters(), lr=0.1), x_train, y_train, epochs=1)",
          "another model", r"model\.parameters\(\)"),
    error("model.build((8, 8, 3))\n"
          "fit(model, optimizer, x_train, y_train, epochs=1, prepare=scale)",
          "optimizer", "built a second time|built anew", r"model\.parameters\(\)"),
    error("net = Sequential([Dense(3)])\n"
          "Adam(net.parameters())",
          "built model", r"build\("),
    error("net = Sequential([Dense(3)])\n"
          "fit(net, optimizer, x_train, y_train, epochs=1, prepare=scale)",
          "not built", r"input_shape|build\("),
    error("SGD(model, lr=0.1)", "SGD", "Sequential|model", r"model\.parameters\(\)"),
    error("SGD(model.parameters, lr=0.1)", "SGD", r"method|brackets|\(\)", r"model\.parameters\(\)"),
    error("Adam(0.001)", "Adam", r"0\.001", r"model\.parameters\(\)"),
    error('SGD(model.parameters(), lr="0.1")', r"lr='0\.1'", "number"),
    error("SGD(model.parameters(), lr=[0.1, 0.01])", r"lr=\[0\.1, 0\.01\]", "number", "schedule"),
    error("SGD(model.parameters(), lr=Cosine(0.1))", "lr=", "number", "schedule="),
    error("SGD(model.parameters(), lr=0.1, penalty=0.01)", r"penalty=0\.01", r"L2\("),
    error('SGD(model.parameters(), lr=0.1, penalty="l2")', "penalty='l2'", r"L2\("),
    error("SGD(model.parameters(), lr=0.1, penalty=L2)", "penalty", "class L2", r"L2\("),
    error("Momentum(model.parameters(), lr=0.1, momentum=9)", "momentum=9", r"\[0, 1\)"),
    error('optimizer.lr = "0.1"\n'
          "fit(model, optimizer, x_train, y_train, epochs=1, prepare=scale)",
          "lr", r"'0\.1'", "number"),
    error("fit(model, optimizer, x_train, y_train, epochs=0, prepare=scale)", "epochs=0", "at least 1"),
    error('fit(model, optimizer, x_train, y_train, epochs="10", prepare=scale)', "epochs='10'", "integer"),
    error("fit(model, optimizer, x_train, y_train, epochs=2.5, prepare=scale)", r"epochs=2\.5", "integer"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, batch_size=0, prepare=scale)",
          "batch_size=0", "at least 1"),
    error("fit(model, optimizer, x_train, y_train, 1, SoftmaxCrossEntropy(), prepare=scale)",
          "batch_size", "integer"),
    error('fit(model, optimizer, x_train, y_train, epochs=1, loss="cross_entropy", prepare=scale)',
          "loss", "'cross_entropy'", r"SoftmaxCrossEntropy\(\)"),
    error('fit(model, optimizer, x_train, y_train, epochs=1, loss="mse", prepare=scale)',
          "loss", "'mse'", r"MeanSquaredError\(\)"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, loss=MeanSquaredError, prepare=scale)",
          "loss", "class MeanSquaredError", r"MeanSquaredError\("),
    error("fit(model, optimizer, x_train, y_train, epochs=1, loss=lambda scores, "
          "y: ((scores - y) ** 2).mean(), prepare=scale)",
          "loss", "forward", "backward", r"SoftmaxCrossEntropy\(\)|MeanSquaredError\(\)"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, loss=0.5, prepare=scale)",
          "loss", r"0\.5", r"SoftmaxCrossEntropy\(\)"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, loss=MeanSquaredError(), prepare=scale)",
          r"\(60, 3\)", r"\(60,\)"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, schedule=0.1, prepare=scale)",
          "schedule", r"0\.1", r"Constant\(0\.1\)", "lr"),
    error('fit(model, optimizer, x_train, y_train, epochs=1, schedule="cosine", prepare=scale)',
          "schedule", "'cosine'", r"Cosine\("),
    error("fit(model, optimizer, x_train, y_train, epochs=1, schedule=[0.1, 0.01], prepare=scale)",
          "schedule", r"\[0\.1, 0\.01\]|list", r"PiecewiseConstant\("),
    error("fit(model, optimizer, x_train, y_train, epochs=1, schedule=Cosine, prepare=scale)",
          "schedule", "class Cosine", r"Cosine\("),
    error("fit(model, optimizer, x_train, y_train, epochs=1, schedule=lambda progress: print(progress), "
          "prepare=scale)",
          "schedule", "None", "learning rate|number"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, augment=[Flip()], prepare=scale)",
          "augment", "list", r"Chain\("),
    error('fit(model, optimizer, x_train, y_train, epochs=1, augment="flip", prepare=scale)',
          "augment", "'flip'", r"Flip\(\)"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, augment=Flip, prepare=scale)",
          "augment", "class Flip", r"Flip\("),
    error("fit(model, optimizer, x_train, y_train, epochs=1, augment=True, prepare=scale)",
          "augment", "True", r"Flip\(\)|Chain\("),
    error("fit(model, optimizer, x_train, y_train, epochs=1, augment=lambda x: x[:5], prepare=scale)",
          "augment", r"\b60\b", r"\b5\b"),
    error("Chain([Flip, Shift(2)])", "brackets"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, prepare=scale(x_train))",
          "prepare", "array", r"prepare=Standardize\(x_train\)|function"),
    error('fit(model, optimizer, x_train, y_train, epochs=1, prepare="standardize")',
          "prepare", "'standardize'", r"Standardize\(x_train\)"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, prepare=Standardize)",
          "prepare", "class Standardize", r"Standardize\("),
    error("def half(x):\n"
          "    x / 255\n"
          "fit(model, optimizer, x_train, y_train, epochs=1, prepare=half)",
          "prepare", "None", "return"),
    error('fit(model, optimizer, x_train, y_train, epochs=1, prepare=scale, report="yes")',
          "report", "'yes'", "None|print"),
    error("Standardize(x_train / 255)", "uint8", "float64", r"load\(\)"),
    warning("fit(model, SGD(model.parameters(), lr=1e4), x_train, y_train, epochs=1, prepare=scale, "
            "batch_size=10)",
            "loss", "learning rate", "smaller"),
    warning("net = Sequential([Flatten(), Dense(3)], input_shape=(8, 8, 3))\n"
            "fit(net, SGD(net.parameters(), lr=5), x_train, np.ones((60, 3)), epochs=9, prepare=scale, "
            "loss=MeanSquaredError())",
            "loss", "learning rate", "smaller"),
    warning('net = Sequential([Flatten(), Dense(8, init="zeros"), ReLU(), Dense(3, init="zeros")], '
            "input_shape=(8, 8, 3))\n"
            "fit(net, SGD(net.parameters(), lr=0.1), x_train, y_train, epochs=20, prepare=scale, batch_size=10)",
            "same score", r"ln\(?3|1\.09", "weights|init|learning rate"),
    warning("net = Sequential([Flatten(), Dense(8), ReLU(), Dense(3), ReLU()], input_shape=(8, 8, 3))\n"
            "fit(net, SGD(net.parameters(), lr=0.1), x_train, y_train, epochs=1, prepare=scale)",
            r"ReLU\(\)", "last", "leave|remove"),
    warning("net = Sequential([Flatten(), Dense(3), Sigmoid()], input_shape=(8, 8, 3))\n"
            "fit(net, SGD(net.parameters(), lr=0.1), x_train, y_train, epochs=1, prepare=scale)",
            r"Sigmoid\(\)", "last", "leave|remove"),
    error("with textbook(Dense):\n"
          "    pass",
          "model, a layer or a loss"),
    error('evaluate(model, x_test, y_test, prepare=scale, loss="mse")', "loss", "'mse'", r"MeanSquaredError\(\)"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, schedule=Cosine(0.1)(0), prepare=scale)",
          "schedule", r"Constant\(0\.1\)"),
    error("SGD(model.parameters(), lr=0.1, penalty=[L1(0.1), L2(0.1)])", "penalty", r"L2\(c\)"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, batch_size=-5, prepare=scale)",
          "batch_size=-5", "at least 1"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, batch_size=32.0, prepare=scale)",
          r"batch_size=32\.0", "integer"),
    error("fit(Sequential, optimizer, x_train, y_train, epochs=1, prepare=scale)", "class Sequential", r"Sequential\("),
    error("SoftmaxCrossEntropy(10)", "label_smoothing=10", r"\[0, 1\)"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, prepare=lambda x: list(x))", "prepare", "list", "array"),
    error("fit(model, optimizer, x_train, y_train, epochs=1, prepare=lambda x: x.reshape(-1, 192) / 255)",
          r"\(N, 8, 8, 3\)|float64", "asarray|reshape"),
    error('fit(model, optimizer, x_train, y_train, epochs=float("inf"), prepare=scale)', "epochs=inf", "integer"),
    error("fit(model, optimizer, x_train, y_train, epochs=None, prepare=scale)", "epochs=None", "integer"),
]

SAVING = [
    error('open("weights.npz", "w").write("0.1 0.2 0.3\\n")\n'
          'model.load("weights.npz")',
          r"weights\.npz", "text", r"model\.save"),
    error('np.save("weights.npy", np.ones(3))\n'
          'model.load("weights.npy")',
          r"weights\.npy", "single array|one array", r"model\.save"),
    error("import pickle\n"
          'pickle.dump(model.state_dict(), open("weights.pkl", "wb"))\n'
          'model.load("weights.pkl")',
          r"weights\.pkl", "pickle", r"model\.save"),
    error('open("weights.npz", "w").close()\n'
          'model.load("weights.npz")',
          r"weights\.npz", "empty", r"model\.save|anew"),
    error("import os\n"
          'os.mkdir("weights")\n'
          'model.load("weights")',
          "weights", "folder"),
    error("import os\n"
          'os.mkdir("weights")\n'
          'model.save("weights")',
          "weights", "folder|directory"),
    error('model.save("weights.npz")\n'
          'half = open("weights.npz", "rb").read()[:500]\n'
          'open("weights.npz", "wb").write(half)\n'
          'model.load("weights.npz")',
          r"weights\.npz", "complete|half|cut", "anew"),
    error("import zipfile\n"
          'with zipfile.ZipFile("weights.pt", "w") as file:\n'
          '    file.writestr("weights/data.pkl", b"\\x80\\x02}q\\x00.")\n'
          'model.load("weights.pt")',
          r"weights\.pt", "PyTorch|not .*minidl|other", r"model\.save"),
    error('open("weights.h5", "wb").write(b"\\x89HDF\\r\\n\\x1a\\n" + bytes(500))\n'
          'model.load("weights.h5")',
          r"weights\.h5", "HDF5|Keras", r"model\.save"),
    error('np.savez("weights.npz", np.array([model], dtype=object))\n'
          'model.load("weights.npz")',
          r"weights\.npz", "object", r"model\.save"),
    error('model.save("weights")\n'
          'model.load("weights.npz")',
          r"weights\.npz", "no such file", "did you mean.*weights|there is.*weights"),
    error('model.save("weights.npz")\n'
          'model.load("weights")',
          "no such file", r"weights\.npz"),
    error('model.load("weights.npz")', r"weights\.npz", "no such file"),
    error('model.save("results/weights.npz")', "results", "folder exist"),
    error("model.save(None)", "None", "file|path|name", r'"model\.npz"'),
    error("model.save(x_train)", "array", "file|path|name"),
    error("model.load(model.state_dict())", "dict", "load_state_dict"),
    error('model.load_state_dict("weights.npz")', r"'weights\.npz'", r"model\.load\("),
    error("model.load_state_dict(model)", "Sequential", r"state_dict\(\)"),
    error("model.load_state_dict(model.parameters())", "list", r"state_dict\(\)"),
    error("other = Sequential([Flatten(), Dense(9), BatchNorm(), ReLU(), Dense(3)], input_shape=(8, 8, 3))\n"
          'other.save("weights.npz")\n'
          'model.load("weights.npz")',
          r"dense_1\.W", r"\(192, 8\)", r"\(192, 9\)", "same architecture"),
    error("other = Sequential([Dense(3)], input_shape=(4,))\n"
          'other.save("weights.npz")\n'
          'model.load("weights.npz")',
          "missing", "same architecture"),
    error('Sequential([Dense(3)]).save("weights.npz")', "not built", "input_shape"),
    error('np.savez("weights.npz", x=x_train)\n'
          'model.load("weights.npz")',
          "missing", "same architecture"),
    error('model.load("")', "name of a file"),
    error('np.savetxt("weights.csv", np.ones(3))\n'
          'model.load("weights.csv")',
          "text file", "model.save"),
    error("import json\n"
          'json.dump({"a": [1]}, open("weights.json", "w"))\n'
          'model.load("weights.json")',
          "text file", "model.save"),
    error('open("w.npz", "wb").write(bytes(range(256)) * 4)\n'
          'model.load("w.npz")',
          "damaged|cut off", "model.save"),
    error('open("w.png", "wb").write(b"\\x89PNG\\r\\n\\x1a\\n" + bytes(100))\n'
          'model.load("w.png")',
          "not a complete model file", "model.save"),
    error("model.load_state_dict([1, 2])", "list", r"state_dict\(\)"),
    error("model.load_state_dict(None)", "None", r"state_dict\(\)"),
]

FLAGS = [
    error('minidl.use("gpu")', "'gpu'", "numpy, cupy", r'did you mean "cupy"|use\("cupy"\)'),
    error('minidl.use("torch")', "'torch'", "numpy, cupy"),
    error("minidl.use(np)", "numpy, cupy"),
    error('minidl.use("cupy")', "CuPy", "pip install"),
    error('minidl.use("numpy", tf32=True)', "tf32", "Leave tf32 out"),
    error('minidl.threads("4")', r"threads\('4'\)", "integer"),
    error("minidl.seed(1.5)", r"seed\(1\.5\)", "integer"),
    error('minidl.seed("zero")', r"seed\('zero'\)", "integer"),
    error('with minidl.precision("float16"):\n'
          "    pass",
          "float16", "float32, float64"),
    error("with minidl.precision(np.float64):\n"
          "    pass",
          "float64", "float32, float64"),
    error('load("cifra10")', "'cifra10'", "'cifar10'"),
    error('load("mnist10k.npz")', "mnist10k", "known are"),
    error('load("mnist", data_dir="nowhere")', "nowhere", "no folder", "mkdir"),
    error('models.build("resnet999")', "resnet999", "known|names"),
    error("import os\n"
          'os.environ["MINIDL_THREADS"] = "all"\n'
          "from minidl.backend.state import state\n"
          "state.threads = None\n"
          "minidl.threads()",
          "MINIDL_THREADS='all'", "integer"),
]

TABLE = {"data": DATA, "shapes": SHAPES, "training": TRAINING, "saving": SAVING, "flags": FLAGS}
ROWS = [pytest.param(mistake, id=f"{who}-{number}") for who, mistakes in TABLE.items()
        for number, mistake in enumerate(mistakes, 1)]


def written_by_a_student():
    """The names that a student's script has when the mistake is made."""
    draw, names = np.random.default_rng(0), {"__name__": "homework"}
    names |= {"x_train": draw.integers(0, 256, (60, 8, 8, 3)).astype(np.uint8), "y_train": np.arange(60) % 3,
              "x_test": draw.integers(0, 256, (20, 8, 8, 3)).astype(np.uint8), "y_test": np.arange(20) % 3}
    exec(IMPORTS + START, names)
    return names


def answers(code, names):
    """(the UserError or None, the SuspiciousWarnings) of the code."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", SuspiciousWarning)
        try:
            exec(compile(code, "homework.py", "exec"), names)
        except UserError as caught_error:
            return caught_error, caught
    return None, caught


@pytest.mark.parametrize("mistake", ROWS)
def test_the_answer_to_a_mistake(mistake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = written_by_a_student()
    model, optimizer = names["model"], names["optimizer"]
    before = model.state_dict()
    found, suspicions = answers(mistake.code, names)
    monkeypatch.delenv("MINIDL_THREADS", raising=False)
    if mistake.is_error:
        assert found is not None, f"no error, but {[str(each.message) for each in suspicions]}: {mistake.code}"
        assert not suspicions, f"a warning beside the error {found}: {suspicions[0].message}"
        text = str(found)
    else:
        assert found is None, f"an error in place of a warning: {found}"
        assert len(suspicions) == 1, f"{[str(each.message) for each in suspicions]}: {mistake.code}"
        assert suspicions[0].filename == "homework.py", "the warning names the student's line"
        text = str(suspicions[0].message)
    missing = [part for part in mistake.parts if not re.search(part, text, re.IGNORECASE)]
    assert not missing, f"{mistake.code}\nis answered without {missing}:\n{text}"
    assert "\n" not in text and "allow_pickle" not in text and len(text) < 450, text
    if mistake.is_error and "fit(" in mistake.code and "model.build" not in mistake.code:
        assert optimizer.t == 0
        for name, array in model.state_dict().items():
            assert_same_bits(array, before[name], f"half-trained: {name}")


def test_the_table_is_large_and_says_nothing_twice():
    codes = [mistake.code for mistakes in TABLE.values() for mistake in mistakes]
    assert len(codes) == len(set(codes)) >= 180
    assert all(len(mistake.parts) >= 1 for mistakes in TABLE.values() for mistake in mistakes)


# ------------------------------------------------------------------------------------- a wrong dy, into every layer


WRONG_DY = {
    "other features": (lambda y: np.concatenate([y, y], axis=-1), r"dy of the output's shape \(N, "),
    "no batch axis": (lambda y: y[0], r"dy of the output's shape \(N, .*Pass the gradient of the loss"),
    "another batch": (lambda y: np.concatenate([y, y]), r"dy for the \d+ inputs that forward saw last"),
    "a list": (lambda y: y.tolist(), r"builtins\.list.*minidl\.asarray\(dy\)"),
    "integers": (lambda y: np.ones(y.shape, int), r"dy as an array of floats, got int64"),
    "nothing": (lambda y: None, r"an array dy, got None.*loss\.backward\(\)"),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_layer_refuses_a_wrong_dy(case):
    layer = case.layer()
    y = layer.forward(case.x(np.float32))
    before = [parameter.grad.copy() for parameter in layer.parameters()]
    for what, (change, part) in WRONG_DY.items():
        with pytest.raises(UserError) as caught:
            layer.backward(change(y))
        assert re.search(part, str(caught.value)), f"{case.name}, {what}: {caught.value}"
    for parameter, grad in zip(layer.parameters(), before, strict=True):
        assert_same_bits(parameter.grad, grad, f"{case.name}: {parameter.name}.grad")


def test_every_public_layer_is_among_them():
    kinds = {type(part).__name__ for case in CASES for part in case.make().walk()}
    assert set(layers.__all__) <= kinds, set(layers.__all__) - kinds


# ------------------------------------------------------------------------------------ no warning where all is well


@pytest.mark.parametrize("name", models.names())
def test_no_network_of_the_zoo_is_suspicious(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error", SuspiciousWarning)
        models.build(name)


RIGHT = {
    "LeNet's last convolution covers the whole image": lambda: Conv2D(120, 5).build((5, 5, 16)),
    "AlexNet's first kernel": lambda: Conv2D(96, 11, stride=4).build((227, 227, 3)),
    "as many filters as channels": lambda: Conv2D(3, 5, stride=2, padding=2).build((32, 32, 3)),
    "one filter": lambda: Conv2D(1, 3, padding=1).build((28, 28, 1)),
    "wide and low": lambda: Sequential([Conv2D(4, 1)], input_shape=(3, 32, 16)),
    "vectors alone": lambda: Sequential([Flatten(), Dense(3)], input_shape=(3, 32, 32)),
    "a network inside that sees three rows": lambda: Sequential([MaxPool2D((10, 1)), Sequential([Conv2D(4, 1)])],
                                                                input_shape=(30, 8, 8)),
}


@pytest.mark.parametrize("what", RIGHT)
def test_no_warning_for_shapes_that_are_meant(what):
    RIGHT[what]()       # warnings are errors in all tests


def trained(model, x, y, lr=0.1, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("error", SuspiciousWarning)
        return fit(model, SGD(model.parameters(), lr=lr), x, y, report=None, **options)


def test_no_warning_for_trainings_that_are_meant():
    draw = np.random.default_rng(1)
    labels = np.arange(60) % 3
    noise = draw.standard_normal((60, 4))
    small = [Dense(6, "normal:0.001"), ReLU(), Dense(3, "normal:0.001")]
    trained(Sequential([BatchNorm(), Dense(3)], (4,)), 200 * noise, labels, epochs=1)          # the network scales
    trained(Sequential(small, (4,)), noise, labels, epochs=3)                                   # too early to say
    slow = trained(Sequential([Dense(3, "zeros")], (4,)), noise + 2 * np.eye(4)[labels], labels, lr=1e-5, epochs=10,
                   batch_size=5)                                                                # slow, but it learns
    assert abs(slow.loss[-1] - np.log(3)) < 0.01 and slow.accuracy[-1] > 0.6
    trained(Sequential([Dense(1)], (4,)), noise, 1e5 * noise[:, :1], loss=MeanSquaredError(), epochs=3)     # prices
    trained(Sequential([Dense(2), ReLU()], (4,)), noise, abs(noise[:, :2]), loss=MeanSquaredError(), epochs=2)


@pytest.mark.parametrize(("losses", "y", "suspicious"), [
    ([2.3, 240.0], [0, 1], True), ([2.3, 220.0], [0, 1], False), ([2e6], [0, 1], True), ([0.0, 0.5], [0, 1], False),
    ([2.3, float("nan")], [0, 1], False), ([1e-9, 1e-5], [1.0, -1.0], False), ([0.1, 20.0], [1.0, -1.0], True),
    ([1e10], [1e5, -1e5], False), ([1e13], [1e5, -1e5], True), ([1e13], [1.0, -1.0], True)])
def test_when_a_loss_is_suspicious(losses, y, suspicious):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert doubt_loss(History(loss=losses), np.array(y)) == suspicious == bool(caught)


def test_warnings_come_once_and_can_be_silenced():
    names = written_by_a_student()
    stuck = ("net = Sequential([Flatten(), Dense(3, init='zeros')], input_shape=(8, 8, 3))\n"
             "fit(net, SGD(net.parameters(), lr=0), x_train, y_train, epochs=60, batch_size=30, prepare=scale)")
    _, suspicions = answers(stuck, names)
    assert len(suspicions) == 1
    assert re.search(r"after epoch 50 the loss is 1\.0986, that of guessing", str(suspicions[0].message))
    assert suspicions[0].lineno == 2
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("ignore", category=SuspiciousWarning)
        exec(stuck, names)
    assert not caught


def test_a_bare_forward_pass_in_training_mode_is_legal():
    names = written_by_a_student()
    error_found, suspicions = answers("model.forward(scale(x_test))", names)
    assert error_found is None and not suspicions
