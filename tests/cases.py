"""The one table of layers and shapes that the tests walk through, and how two arrays are compared.

A new layer gets its lines here, and is then checked for its gradients and for everything every layer promises.

The batch holds more than one, no two sizes of a case are equal where that can be helped, images are not square: an
axis mixed up with another one then shows. Inputs are free of ties and stay away from 0, so that neither a maximum nor
a ReLU changes its mind within the step of a numeric derivative.
"""

import math
from dataclasses import dataclass

import numpy as np

from minidl import Concat, Residual, Sequential
from minidl.backend import to_cpu, xp
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


@dataclass
class Case:
    name: str
    make: callable
    shape: tuple            # of a batch of inputs
    mode: str = "train"     # "frozen": evaluation mode that keeps what backward needs, as in fine-tuning

    def layer(self):
        """A built layer with parameters and statistics away from their round first values."""
        layer = self.make()
        layer.build(self.shape[1:])
        draw = np.random.default_rng(7)
        for parameter in layer.parameters():
            parameter.data[...] += on_device(0.3 * draw.standard_normal(parameter.data.shape))
        for part in layer.walk():
            for name in part.statistics:
                getattr(part, name)[...] += on_device(0.5 * draw.random(getattr(part, name).shape))
        if self.mode == "frozen":
            freeze(layer)
        return layer

    def x(self, dtype=np.float64, seed=1):
        """A batch of inputs, on the device that computes."""
        return on_device(tie_free(self.shape, seed).astype(dtype))


def on_device(array):
    """A NumPy array as one of the backend in use; its dtype stays, where `minidl.asarray` gives the one in use."""
    return xp.asarray(array)


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


def nested():
    return Sequential([Conv2D(3, (2, 3), padding=(0, 1)), BatchNorm(), ReLU(),
                       Sequential([MaxPool2D(2), Dropout(0.3), Sequential([Flatten()])]), Dense(4), Tanh(), Dense(2)])


CASES = [
    Case("dense-7to5", lambda: Dense(5), (3, 7)),
    Case("dense-4to6-nobias", lambda: Dense(6, bias=False), (5, 4)),
    Case("dense-5to1", lambda: Dense(1, "xavier"), (2, 5)),
    Case("dense-1to3", lambda: Dense(3, "glorot"), (4, 1)),
    Case("conv-3x2-s2x1-p1x2", lambda: Conv2D(5, (3, 2), stride=(2, 1), padding=(1, 2)), (6, 9, 7, 4)),
    Case("conv-2x3-s1x1-p0", lambda: Conv2D(4, (2, 3)), (5, 7, 6, 1)),
    Case("conv-3x3-s3x3-p1", lambda: Conv2D(2, 3, stride=3, padding=1), (4, 8, 5, 6)),
    Case("conv-1x1-s2x3-p0", lambda: Conv2D(3, 1, stride=(2, 3)), (4, 7, 8, 2)),
    Case("conv-2x5-s1x2-same", lambda: Conv2D(4, (2, 5), stride=(1, 2), padding="same"), (3, 6, 9, 2)),
    Case("conv-4x3-s3x2-same", lambda: Conv2D(5, (4, 3), stride=(3, 2), padding="same"), (2, 8, 7, 3)),
    Case("conv-4x2-s2x3-valid", lambda: Conv2D(3, (4, 2), stride=(2, 3), padding="valid"), (5, 9, 8, 2)),
    Case("conv-3x3-winograd4-p1", lambda: Conv2D(8, 3, padding=1), (3, 5, 7, 9)),
    Case("conv-5x5-winograd2-p2x1", lambda: Conv2D(9, 5, padding=(2, 1)), (2, 6, 5, 8)),
    Case("conv-3x3-winograd2-same-nobias", lambda: Conv2D(8, 3, padding="same", bias=False), (3, 2, 2, 8)),
    Case("conv-whole-image", lambda: Conv2D(5, (4, 3)), (6, 4, 3, 2)),
    Case("conv-3x2-s1x3-p2x1-nobias", lambda: Conv2D(4, (3, 2), stride=(1, 3), padding=(2, 1), bias=False),
         (3, 5, 7, 6)),
    Case("maxpool-2x2", lambda: MaxPool2D(2), (3, 7, 5, 4)),
    Case("maxpool-3x2-s1x1", lambda: MaxPool2D((3, 2), stride=1), (4, 7, 5, 6)),
    Case("maxpool-2x3-s3x2", lambda: MaxPool2D((2, 3), stride=(3, 2)), (4, 8, 7, 5)),
    Case("maxpool-3x3-s2x2-p1", lambda: MaxPool2D(3, stride=2, padding=1), (5, 9, 6, 2)),
    Case("maxpool-2x3-s1x2-same", lambda: MaxPool2D((2, 3), stride=(1, 2), padding="same"), (4, 5, 8, 6)),
    Case("maxpool-3x2-p1x0-valid", lambda: MaxPool2D((3, 2), stride=(2, 1), padding=(1, 0)), (2, 7, 5, 3)),
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
    Case("batchnorm-4x5x3", BatchNorm, (6, 4, 5, 3)),
    Case("batchnorm-5-frozen", BatchNorm, (7, 5), "frozen"),
    Case("batchnorm-4x5x3-frozen", BatchNorm, (6, 4, 5, 3), "frozen"),
    Case("dropout-0.4", lambda: Dropout(0.4), (6, 7)),
    Case("dropout-0.7-4x5x2", lambda: Dropout(0.7), (3, 4, 5, 2)),
    Case("dropout-0", lambda: Dropout(0), (3, 5)),
    Case("dropout-0.4-frozen", lambda: Dropout(0.4), (6, 7), "frozen"),
    Case("sequential-nested", nested, (5, 6, 7, 2)),
    Case("sequential-nested-frozen", nested, (5, 6, 7, 2), "frozen"),
    Case("sequential-mlp", lambda: Sequential([Dense(6), Sigmoid(), Dense(4), BatchNorm(), ReLU(), Dense(3)]), (7, 5)),
    Case("sequential-empty", lambda: Sequential([]), (3, 4)),
    Case("depthwise-3x2-s2x1-p1x0", lambda: DepthwiseConv2D((3, 2), stride=(2, 1), padding=(1, 0)), (5, 8, 7, 3)),
    Case("depthwise-2x4-s3-same-nobias", lambda: DepthwiseConv2D((2, 4), stride=3, padding="same", bias=False),
         (4, 8, 7, 3)),
    Case("averagepool-2x2", lambda: AveragePool2D(2), (3, 7, 5, 4)),
    Case("averagepool-3x2-s1x2-p1", lambda: AveragePool2D((3, 2), stride=(1, 2), padding=1), (4, 5, 7, 2)),
    Case("averagepool-2x3-s3-same", lambda: AveragePool2D((2, 3), stride=3, padding="same"), (4, 5, 8, 6)),
    Case("globalaveragepool", GlobalAveragePool2D, (3, 4, 5, 2)),
    Case("leakyrelu-7", LeakyReLU, (3, 7)),
    Case("leakyrelu-0.3-4x5x2", lambda: LeakyReLU(0.3), (3, 4, 5, 2)),
    Case("gelu-7", GELU, (3, 7)),
    Case("gelu-4x5x2", GELU, (3, 4, 5, 2)),
    Case("layernorm-7", LayerNorm, (3, 7)),
    Case("layernorm-4x5x3-eps", lambda: LayerNorm(eps=0.3), (2, 4, 5, 3)),
    Case("dropout-0.4-maps", lambda: Dropout(0.4, maps=True), (3, 4, 5, 6)),
    Case("residual", lambda: Residual([Conv2D(2, 3, padding=1), BatchNorm(), Tanh()]), (5, 4, 6, 2)),
    Case("residual-shortcut", lambda: Residual([Conv2D(3, 3, stride=2, padding=1), GELU()], Conv2D(3, 1, stride=2)),
         (4, 5, 7, 2)),
    Case("concat", lambda: Concat([Conv2D(2, 1), [Tanh(), Conv2D(4, 3, padding=1)], []]), (2, 5, 4, 3)),
]


def assert_close(got, expected, what, rtol=1e-12, atol=0.0):
    """Equal within atol + rtol * the largest expected value; otherwise the worst place, with both values."""
    got, expected = to_cpu(got), to_cpu(expected)
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    if not got.size:
        return
    allowed = atol + rtol * float(np.abs(expected).max())
    distance = np.abs(got.astype(np.float64) - expected.astype(np.float64))
    distance = np.where(np.isfinite(distance), distance, np.inf)
    worst = np.unravel_index(distance.argmax(), distance.shape)
    place = str([int(k) for k in worst]) if worst else ""
    assert distance[worst] <= allowed, (f"{what}{place}: got {got[worst]!r}, expected {expected[worst]!r}, "
                                        f"apart by {distance[worst]:.3g}, allowed {allowed:.3g}")


def assert_same_bits(got, expected, what):
    got, expected = to_cpu(got), to_cpu(expected)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype), f"{what}: {got.shape} {got.dtype}"
    different = np.argwhere((got != expected) & ~(np.isnan(got) & np.isnan(expected)))
    assert not len(different), (f"{what}{different[0].tolist()}: {got[tuple(different[0])]!r} is not exactly "
                                f"{expected[tuple(different[0])]!r} ({len(different)} such places)")


def assert_says(caught, *parts):
    """The message of an error (from pytest.raises) contains every part."""
    text = str(caught.value)
    missing = [part for part in parts if part not in text]
    assert not missing, f"the message lacks {missing}: {text}"
