"""The same networks in other libraries, made from minidl's own layers, and the floor: the products of im2col alone.

Each function returns {"train": one training step, "infer": one inference}, functions without arguments. The weights
are each library's own first ones, which cost the same time. A library that cannot build a network raises MissingError.
"""

from functools import partial

import numpy as np

from minidl import Residual, Sequential
from minidl.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, GlobalAveragePool2D, MaxPool2D, ReLU
from minidl.losses import SoftmaxCrossEntropy
from minidl.models.residual import ZeroPadShortcut
from minidl.optimizers import Momentum
from minidl.parallel import SLICE_BYTES, in_slices, workspace

LR = 0.01
ROWS = 2048


class MissingError(Exception):
    """Why a library is left out."""


def minidl(model, x, y):
    """Forward, loss, backward and a step of momentum, as `fit` does them."""
    loss, optimizer = SoftmaxCrossEntropy(), Momentum(model.parameters(), LR)
    model.input_gradient = False

    def train():
        model.train()
        loss.forward(model.forward(x), y)
        model.backward(loss.backward())
        optimizer.step()

    def infer():
        model.eval()
        return model.forward(x)

    return {"train": train, "infer": infer}


def torch(model, x, y, threads, channels_last, device="cpu"):
    """PyTorch in eager mode; images (N, C, H, W), in either of its two orders in memory; device: "cpu" or "cuda"."""
    try:
        import torch as library
        from torch import nn
    except ImportError as reason:
        raise MissingError(str(reason)) from reason
    library.set_num_threads(threads)

    class Both(nn.Module):
        def __init__(self, body, shortcut):
            super().__init__()
            self.body, self.shortcut = body, shortcut

        def forward(self, x):
            return self.body(x) + self.shortcut(x)

    class ZeroPad(nn.Module):
        def __init__(self, more, stride):
            super().__init__()
            self.more, self.stride = more, stride

        def forward(self, x):
            return nn.functional.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, 0, self.more))

    def twin(layer):
        if isinstance(layer, Sequential):
            return nn.Sequential(*map(twin, layer.layers))
        if isinstance(layer, Residual):
            return Both(twin(layer.body), twin(layer.shortcut))
        if isinstance(layer, Conv2D):
            padding = layer.windows.top, layer.windows.left  # all windows here are odd: as much on both sides
            return nn.Conv2d(layer.input_shape[2], layer.filters, layer.kernel_size, layer.stride, padding,
                             bias=layer.bias)
        if isinstance(layer, Dense):
            return nn.Linear(layer.input_shape[0], layer.units)
        if isinstance(layer, BatchNorm):
            return nn.BatchNorm2d(layer.input_shape[-1])
        if isinstance(layer, MaxPool2D):
            return nn.MaxPool2d(layer.size)
        if isinstance(layer, GlobalAveragePool2D):
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        if isinstance(layer, ZeroPadShortcut):
            return ZeroPad(layer.features - layer.input_shape[2], layer.stride)
        if isinstance(layer, Dropout):
            return nn.Dropout2d(layer.rate) if layer.maps else nn.Dropout(layer.rate)
        return {Flatten: nn.Flatten, ReLU: nn.ReLU}[type(layer)]()

    net, images = twin(model), library.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    labels, loss = library.from_numpy(y), nn.CrossEntropyLoss()
    net, images, labels = (thing.to(device) for thing in (net, images, labels))
    if channels_last:
        net, images = (thing.to(memory_format=library.channels_last) for thing in (net, images))
    optimizer = library.optim.SGD(net.parameters(), lr=LR, momentum=0.9)

    def train():
        net.train()
        optimizer.zero_grad()
        loss(net(images), labels).backward()
        optimizer.step()

    def infer():
        net.eval()
        with library.no_grad():
            return net(images)

    return {"train": train, "infer": infer}


def dezero(model, x, y):
    """DeZero, the framework of "Deep Learning from Scratch 3"; its own weights, no skip connections here."""
    vars(np).setdefault("int", int)  # DeZero 0.0.13 uses a name that NumPy has dropped
    try:
        import dezero as library
        from dezero import functions, layers
    except ImportError as reason:  # the package names only NumPy, but wants matplotlib and Pillow too
        raise MissingError(str(reason)) from reason
    steps, holder = [], library.Model()
    for place, layer in enumerate(model.layers):
        if isinstance(layer, Conv2D):
            made = layers.Conv2d(layer.filters, layer.kernel_size, layer.stride[0], layer.windows.top)
        elif isinstance(layer, Dense):
            made = layers.Linear(layer.units)
        elif isinstance(layer, BatchNorm):
            raise MissingError("DeZero's BatchNorm does not take images")
        elif isinstance(layer, MaxPool2D):
            made = partial(functions.pooling, kernel_size=layer.size[0], stride=layer.size[0])
        elif isinstance(layer, Flatten):
            made = functions.flatten
        elif isinstance(layer, ReLU):
            made = functions.relu
        else:
            raise MissingError(f"no {type(layer).__name__}")
        setattr(holder, f"layer_{place}", made)
        steps.append(made)
    images = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    optimizer = library.optimizers.MomentumSGD(LR).setup(holder)

    def forward():
        value = images
        for step in steps:
            value = step(value)
        return value

    def train():
        loss = functions.softmax_cross_entropy(forward(), y)
        holder.cleargrads()
        loss.backward()
        optimizer.update()

    def infer():
        with library.no_grad():
            return forward()

    return {"train": train, "infer": infer}


def floor(model, x, y):
    """The matrix products of all layers and nothing else: on a matrix of ROWS rows at a time that is there already."""
    first = next(layer for layer in model.walk() if isinstance(layer, (Conv2D, Dense)))
    sizes = []
    for layer in model.walk():
        if isinstance(layer, Conv2D):
            KH, KW, C, F = layer.W.data.shape
            sizes.append((len(x) * layer.windows.OH * layer.windows.OW, KH * KW * C, F, layer is first))
        elif isinstance(layer, Dense):
            sizes.append((len(x), *layer.W.data.shape, layer is first))

    columns = [np.ones((min(count, ROWS), K), np.float32) for count, K, _, _ in sizes]
    weights = [np.full((K, F), 1e-3, np.float32) for _, K, F, _ in sizes]

    def products(train):
        for (count, K, F, is_first), x, W in zip(sizes, columns, weights, strict=True):
            def work(rows, x=x, W=W, is_first=is_first, K=K, F=F):
                n = rows.stop - rows.start
                y = np.matmul(x[:n], W, out=workspace("sum of rows", (n, F), np.float32))
                if train:
                    np.matmul(x[:n].T, y, out=workspace("dW", (K, F), np.float32))
                if train and not is_first:
                    np.matmul(y, W.T, out=workspace("im2col", (n, K), np.float32))

            in_slices(work, count, SLICE_BYTES // ROWS)

    return {"train": lambda: products(True), "infer": lambda: products(False)}
