"""The one table of layers, losses and optimizers, each with the sizes that it is tried on.

A new layer gets its rows here. Tests then measure its gradients, hold it to what every layer promises and compare it
with PyTorch (tests/golden/); `minidl parity` compares it between NumPy and CuPy.

    CASES         layers: name, maker, shape of a batch, mode              case("dense-7to5").layer()
    LOSSES        losses: name, maker, shape of the scores                 case("meansquarederror-4x3").make()
    OPTIMIZERS    {name: maker}, the maker takes the parameters            OPTIMIZERS["adam"](model.parameters())

The batch holds more than one image unless the name says "one", no two sizes of a case are equal where that can be
helped, images are not square: an axis mixed up with another one then shows. `x()` is free of ties and stays away from
0, so that neither a maximum nor a ReLU changes its mind within the step of a numeric derivative.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minidl.backend import xp
from minidl.layers import (
    GELU,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    LayerNorm,
    LeakyReLU,
    MaxPool2D,
    ReLU,
    Sigmoid,
    Tanh,
)
from minidl.losses import MeanSquaredError, SoftmaxCrossEntropy
from minidl.models import ZeroPadShortcut
from minidl.network import Concat, Residual, Sequential
from minidl.optimizers import SGD, AdaGrad, Adam, AdamW, Momentum, RMSProp
from minidl.regularizers import L1, L2


@dataclass(frozen=True)
class Case:
    name: str
    make: Callable          # makes a new layer or loss
    shape: tuple            # of a batch of inputs, of the scores
    mode: str = "train"     # "frozen": evaluation mode that keeps what backward needs, as in fine-tuning

    def layer(self):
        """A built layer with parameters and statistics away from their round first values."""
        layer = self.make()
        layer.build(self.shape[1:])
        draw = np.random.default_rng(7)
        for parameter in layer.parameters():
            parameter.data[...] += xp.asarray(0.3 * draw.standard_normal(parameter.data.shape))
        for part in layer.walk():
            for name in part.statistics:
                getattr(part, name)[...] += xp.asarray(0.5 * draw.random(getattr(part, name).shape))
        if self.mode == "frozen":
            freeze(layer)
        return layer

    def x(self, dtype=np.float64, seed=1):
        """A batch of inputs, on the device that computes."""
        return xp.asarray(tie_free(self.shape, seed).astype(dtype))


def freeze(layer):
    """Evaluation mode, but backward works."""
    layer.eval()
    for part in layer.walk():
        part.keeping = True


def tie_free(shape, seed=1):
    """Numbers around 0, of standard deviation 1, no two closer than 3 / size and none that close to 0."""
    size = math.prod(shape)
    values = np.random.default_rng(seed).permutation(size) - (size - 1) // 2 + 0.25
    return (values / size * math.sqrt(12)).reshape(shape)


def case(name):
    """The layer or loss of that name."""
    return {case.name: case for case in (*CASES, *LOSSES)}[name]


# ------------------------------------------------------------------------------------------------------------- layers

def block():
    """A residual block that halves the image."""
    return Residual([Conv2D(4, 3, stride=2, padding=1, bias=False), BatchNorm(), GELU(),
                     Conv2D(4, 3, padding="same", bias=False)], Conv2D(4, 1, stride=2))


def nested():
    return Sequential([Conv2D(3, (2, 3), padding=(0, 1), bias=False), BatchNorm(), ReLU(),
                       Sequential([MaxPool2D(2), Dropout(0.3), Sequential([Flatten()])]), Dense(4), Tanh(), Dense(2)])


def containers():
    return Sequential([block(), Residual([Residual(DepthwiseConv2D(3, padding=1)), LayerNorm()]),
                       Concat([AveragePool2D(3, 1, 1), MaxPool2D(3, 1, 1), []]), LeakyReLU(), GlobalAveragePool2D(),
                       Dense(2)])


CASES = [
    Case("dense-7to5", lambda: Dense(5), (3, 7)),
    Case("dense-4to6-nobias", lambda: Dense(6, bias=False), (5, 4)),
    Case("dense-5to1", lambda: Dense(1, "xavier"), (2, 5)),
    Case("dense-1to3", lambda: Dense(3, "glorot"), (4, 1)),
    Case("dense-6to3-one", lambda: Dense(3), (1, 6)),
    Case("conv-3x2-s2x1-p1x2", lambda: Conv2D(5, (3, 2), stride=(2, 1), padding=(1, 2)), (3, 9, 7, 4)),
    Case("conv-2x3-s1x1-p0", lambda: Conv2D(4, (2, 3)), (3, 7, 6, 1)),
    Case("conv-3x3-s1x1-p0", lambda: Conv2D(4, 3), (2, 5, 6, 3)),
    Case("conv-3x3-s3x3-p1", lambda: Conv2D(2, 3, stride=3, padding=1), (3, 8, 5, 6)),
    Case("conv-5x3-s3x3-p2x1", lambda: Conv2D(3, (5, 3), stride=3, padding=(2, 1)), (2, 9, 7, 1)),
    Case("conv-2x2-s2x2-p1", lambda: Conv2D(4, 2, stride=2, padding=1), (3, 5, 7, 2)),
    Case("conv-1x1", lambda: Conv2D(3, 1), (2, 6, 5, 4)),
    Case("conv-1x1-s2x3-p0", lambda: Conv2D(3, 1, stride=(2, 3)), (4, 7, 8, 2)),
    Case("conv-2x5-s1x2-same", lambda: Conv2D(4, (2, 5), stride=(1, 2), padding="same"), (3, 6, 9, 2)),
    Case("conv-4x3-s3x2-same", lambda: Conv2D(5, (4, 3), stride=(3, 2), padding="same"), (2, 8, 7, 3)),
    Case("conv-4x2-same", lambda: Conv2D(3, (4, 2), padding="same"), (4, 6, 5, 2)),
    Case("conv-4x2-s2x3-valid", lambda: Conv2D(3, (4, 2), stride=(2, 3), padding="valid"), (4, 9, 8, 2)),
    Case("conv-3x3-winograd4-p1", lambda: Conv2D(8, 3, padding=1), (2, 5, 7, 9)),
    Case("conv-5x5-winograd2-p2x1", lambda: Conv2D(9, 5, padding=(2, 1)), (2, 6, 5, 8)),
    Case("conv-3x3-winograd2-same-nobias", lambda: Conv2D(8, 3, padding="same", bias=False), (3, 2, 2, 8)),
    Case("conv-whole-image", lambda: Conv2D(5, (4, 3)), (6, 4, 3, 2)),
    Case("conv-3x2-s1x3-p2x1-nobias", lambda: Conv2D(4, (3, 2), stride=(1, 3), padding=(2, 1), bias=False),
         (3, 5, 7, 6)),
    Case("conv-3x3-p1-one", lambda: Conv2D(3, 3, padding=1), (1, 4, 5, 2)),
    Case("maxpool-2x2", lambda: MaxPool2D(2), (3, 7, 5, 4)),
    Case("maxpool-2x2-fits", lambda: MaxPool2D(2), (3, 4, 6, 2)),
    Case("maxpool-3x2-s1x1", lambda: MaxPool2D((3, 2), stride=1), (3, 7, 5, 4)),
    Case("maxpool-2x3-s3x2", lambda: MaxPool2D((2, 3), stride=(3, 2)), (2, 8, 7, 5)),
    Case("maxpool-3x3-s2x2-p1", lambda: MaxPool2D(3, stride=2, padding=1), (4, 9, 6, 2)),
    Case("maxpool-2x3-s1x2-same", lambda: MaxPool2D((2, 3), stride=(1, 2), padding="same"), (2, 5, 8, 3)),
    Case("maxpool-3x2-p1x0-valid", lambda: MaxPool2D((3, 2), stride=(2, 1), padding=(1, 0)), (2, 7, 5, 3)),
    Case("maxpool-3x2-s1x1-p1x0-one", lambda: MaxPool2D((3, 2), stride=1, padding=(1, 0)), (1, 6, 5, 3)),
    Case("flatten-3x4x5", Flatten, (2, 3, 4, 5)),
    Case("flatten-6", Flatten, (4, 6)),
    Case("relu-7", ReLU, (3, 7)),
    Case("relu-4x5x2", ReLU, (3, 4, 5, 2)),
    Case("sigmoid-7", Sigmoid, (3, 7)),
    Case("sigmoid-4x5x2", Sigmoid, (3, 4, 5, 2)),
    Case("tanh-7", Tanh, (3, 7)),
    Case("tanh-4x5x2", Tanh, (3, 4, 5, 2)),
    Case("batchnorm-5", BatchNorm, (7, 5)),
    Case("batchnorm-3-eps", lambda: BatchNorm(momentum=0.5, eps=0.3), (4, 3)),
    Case("batchnorm-4x5x3", BatchNorm, (2, 4, 5, 3)),
    Case("batchnorm-5-frozen", BatchNorm, (7, 5), "frozen"),
    Case("batchnorm-4x5x3-frozen", lambda: BatchNorm(momentum=0.75, eps=1e-3), (2, 4, 5, 3), "frozen"),
    Case("dropout-0.4", lambda: Dropout(0.4), (6, 7)),
    Case("dropout-0.7-4x5x2", lambda: Dropout(0.7), (3, 4, 5, 2)),
    Case("dropout-0", lambda: Dropout(0), (3, 5)),
    Case("dropout-0.4-frozen", lambda: Dropout(0.4), (6, 7), "frozen"),
    Case("sequential-nested", nested, (5, 6, 7, 2)),
    Case("sequential-nested-frozen", nested, (5, 6, 7, 2), "frozen"),
    Case("sequential-mlp",
         lambda: Sequential([Dense(6), Sigmoid(), Dense(4, bias=False), BatchNorm(), ReLU(), Dense(3)]), (7, 5)),
    Case("sequential-empty", lambda: Sequential([]), (3, 4)),
    Case("sequential-containers", containers, (3, 5, 4, 2)),
    Case("depthwise-3x3", lambda: DepthwiseConv2D(3), (2, 5, 6, 3)),
    Case("depthwise-3x2-s2x1-p1x0", lambda: DepthwiseConv2D((3, 2), stride=(2, 1), padding=(1, 0)), (2, 8, 7, 3)),
    Case("depthwise-5x3-s3-p2x1", lambda: DepthwiseConv2D((5, 3), stride=3, padding=(2, 1)), (3, 9, 7, 2)),
    Case("depthwise-2x4-same", lambda: DepthwiseConv2D((2, 4), padding="same"), (2, 4, 5, 3)),
    Case("depthwise-2x4-s3-same-nobias", lambda: DepthwiseConv2D((2, 4), stride=3, padding="same", bias=False),
         (2, 8, 7, 3)),
    Case("depthwise-3x3-p1-nobias-one", lambda: DepthwiseConv2D(3, padding=1, bias=False), (1, 4, 5, 3)),
    Case("averagepool-2x2", lambda: AveragePool2D(2), (3, 7, 5, 4)),
    Case("averagepool-2x2-fits", lambda: AveragePool2D(2), (3, 4, 6, 2)),
    Case("averagepool-3x3-s1", lambda: AveragePool2D(3, stride=1), (2, 4, 6, 3)),
    Case("averagepool-3x3-s2-p1", lambda: AveragePool2D(3, stride=2, padding=1), (3, 7, 6, 2)),
    Case("averagepool-3x2-s1x2-p1", lambda: AveragePool2D((3, 2), stride=(1, 2), padding=1), (4, 5, 7, 2)),
    Case("averagepool-2x3-s3-same", lambda: AveragePool2D((2, 3), stride=3, padding="same"), (2, 5, 8, 3)),
    Case("averagepool-3x2-s1-p1x0-one", lambda: AveragePool2D((3, 2), stride=1, padding=(1, 0)), (1, 6, 5, 3)),
    Case("globalaveragepool", GlobalAveragePool2D, (3, 4, 5, 2)),
    Case("globalaveragepool-one", GlobalAveragePool2D, (1, 4, 2, 3)),
    Case("leakyrelu-7", LeakyReLU, (3, 7)),
    Case("leakyrelu-0.3-4x5x2", lambda: LeakyReLU(0.3), (3, 4, 5, 2)),
    Case("gelu-7", GELU, (3, 7)),
    Case("gelu-4x5x2", GELU, (3, 4, 5, 2)),
    Case("layernorm-7", LayerNorm, (3, 7)),
    Case("layernorm-4x5x3-eps", lambda: LayerNorm(eps=0.3), (2, 4, 5, 3)),
    Case("layernorm-6-one", LayerNorm, (1, 6)),
    Case("dropout-0.4-maps", lambda: Dropout(0.4, maps=True), (3, 4, 5, 6)),
    Case("residual", lambda: Residual([Conv2D(2, 3, padding=1, bias=False), BatchNorm(), Tanh()]), (5, 4, 6, 2)),
    Case("residual-dense", lambda: Residual(Dense(5)), (3, 5)),
    Case("residual-shortcut", lambda: Residual([Conv2D(3, 3, stride=2, padding=1), GELU()], Conv2D(3, 1, stride=2)),
         (4, 5, 7, 2)),
    Case("residual-block", block, (3, 5, 7, 2)),
    Case("zeropadshortcut-3to5", lambda: ZeroPadShortcut(5), (2, 7, 4, 3)),
    Case("zeropadshortcut-2to2-s3", lambda: ZeroPadShortcut(2, stride=3), (3, 4, 8, 2)),
    Case("concat", lambda: Concat([Conv2D(2, 1), [Tanh(), Conv2D(4, 3, padding=1)], []]), (2, 5, 4, 3)),
    Case("concat-empty", lambda: Concat([[]]), (2, 3)),
]

# ---------------------------------------------------------------------------------------------- losses and optimizers

LOSSES = [
    Case("softmaxcrossentropy-5x3", SoftmaxCrossEntropy, (5, 3)),
    Case("softmaxcrossentropy-20x10", SoftmaxCrossEntropy, (20, 10)),
    Case("softmaxcrossentropy-one", SoftmaxCrossEntropy, (1, 4)),
    Case("softmaxcrossentropy-6x4-smooth", lambda: SoftmaxCrossEntropy(label_smoothing=0.2), (6, 4)),
    Case("softmaxcrossentropy-smooth-one", lambda: SoftmaxCrossEntropy(label_smoothing=0.5), (1, 7)),
    Case("meansquarederror-4x3", MeanSquaredError, (4, 3)),
    Case("meansquarederror-one", MeanSquaredError, (1, 1)),
    Case("meansquarederror-images", MeanSquaredError, (2, 3, 4, 2)),
]

OPTIMIZERS = {
    "sgd": lambda p: SGD(p, lr=0.1),
    "sgd-l2": lambda p: SGD(p, lr=0.1, penalty=L2(0.2)),
    "sgd-clip": lambda p: SGD(p, lr=0.1, clip=0.5),
    "sgd-l2-clip": lambda p: SGD(p, lr=0.1, penalty=L2(0.2), clip=1.5),
    "momentum": lambda p: Momentum(p, lr=0.05),
    "momentum-l1": lambda p: Momentum(p, lr=0.05, penalty=L1(0.1)),
    "momentum-l2": lambda p: Momentum(p, lr=0.05, momentum=0.7, penalty=L2(0.2)),
    "nesterov": lambda p: Momentum(p, lr=0.05, nesterov=True),
    "nesterov-l2-clip": lambda p: Momentum(p, lr=0.05, nesterov=True, penalty=L2(0.2), clip=1.0),
    "adagrad": lambda p: AdaGrad(p, lr=0.1),
    "adagrad-l2": lambda p: AdaGrad(p, lr=0.1, eps=0.1, penalty=L2(0.2)),
    "rmsprop": lambda p: RMSProp(p, lr=0.01),
    "rmsprop-l2": lambda p: RMSProp(p, lr=0.01, decay=0.9, eps=0.01, penalty=L2(0.2)),
    "adam": lambda p: Adam(p, lr=0.02),
    "adam-l2": lambda p: Adam(p, lr=0.02, beta1=0.8, beta2=0.99, eps=0.01, penalty=L2(0.2)),
    "adamw": lambda p: AdamW(p, lr=0.02),
    "adamw-clip": lambda p: AdamW(p, lr=0.02, decay=0.5, clip=1.0),
}
