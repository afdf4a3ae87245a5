"""Each kind of case computed by PyTorch: a dictionary of NumPy arrays in minidl's layout, features last.

A new kind of layer gets its line in THEIRS: how PyTorch makes the layer that minidl has built.
"""

from functools import partial

import numpy as np
import torch
from golden.cases import (
    HUGE,
    SNAPSHOTS,
    STEPS,
    first_weights,
    gradient,
    images,
    losses_observed,
    numbers,
    target,
    training_images,
)
from torch import nn, optim
from torch.nn.functional import pad
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from minidl import Concat, Residual, Sequential, layers, losses, optimizers
from minidl.core import Parameter
from minidl.models import ZeroPadShortcut
from minidl.regularizers import L1, L2

# -------------------------------------------------------------------------------------------- PyTorch's counterparts


class Module(nn.Module):
    """A module from a function and the modules that it calls."""

    def __init__(self, compute, *modules):
        super().__init__()
        self.compute, self.inner = compute, nn.ModuleList(modules)

    def forward(self, x):
        return self.compute(x, *self.inner)


def features_last(module):
    """The module on images whose features are the last axis."""
    return Module(lambda x, module: module(x.movedim(1, -1)).movedim(-1, 1), module)


def padded(layer, size, fill, make):
    """The module make(padding); where PyTorch knows no such padding, its images are padded before, with `fill`."""
    if layer.padding != "same":
        return make(0 if layer.padding == "valid" else layer.padding)
    widths = []
    for length, kernel, stride in zip(layer.input_shape[:2], size, layer.stride, strict=True):
        zeros = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        widths = [zeros // 2, zeros - zeros // 2, *widths]                       # PyTorch begins with the last axis
    return nn.Sequential(nn.ConstantPad2d(widths, fill), make(0))


def convolution(layer, filters, groups):
    def make(padding):
        return nn.Conv2d(layer.input_shape[2], filters, layer.kernel_size, layer.stride, padding, groups=groups,
                         bias=layer.bias)

    native = layer.padding == "same" and layer.stride == (1, 1)
    return make("same") if native else padded(layer, layer.kernel_size, 0.0, make)


def batch_norm(layer):
    kind = nn.BatchNorm1d if len(layer.input_shape) == 1 else nn.BatchNorm2d
    return kind(layer.input_shape[-1], layer.eps, momentum=1 - layer.momentum)


def zero_pad_shortcut(layer):
    step, more = layer.stride, layer.features - layer.input_shape[2]
    return Module(lambda x: pad(x[:, :, ::step, ::step], (0, 0, 0, 0, 0, more)))


THEIRS = {
    layers.Dense: lambda layer: nn.Linear(layer.input_shape[0], layer.units, bias=layer.bias),
    layers.Conv2D: lambda layer: convolution(layer, layer.filters, groups=1),
    layers.DepthwiseConv2D: lambda layer: convolution(layer, layer.input_shape[2], groups=layer.input_shape[2]),
    layers.MaxPool2D: lambda layer: padded(layer, layer.size, -np.inf, partial(nn.MaxPool2d, layer.size, layer.stride)),
    layers.AveragePool2D: lambda layer: padded(layer, layer.size, 0.0, partial(nn.AvgPool2d, layer.size, layer.stride)),
    layers.GlobalAveragePool2D: lambda layer: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    layers.Flatten: lambda layer: features_last(nn.Flatten()),
    layers.ReLU: lambda layer: nn.ReLU(),
    layers.LeakyReLU: lambda layer: nn.LeakyReLU(layer.slope),
    layers.GELU: lambda layer: nn.GELU(),
    layers.Sigmoid: lambda layer: nn.Sigmoid(),
    layers.Tanh: lambda layer: nn.Tanh(),
    layers.Dropout: lambda layer: (nn.Dropout2d if layer.maps else nn.Dropout)(layer.rate),
    layers.BatchNorm: batch_norm,
    layers.LayerNorm: lambda layer: features_last(nn.LayerNorm(layer.input_shape[-1], layer.eps)),
    ZeroPadShortcut: zero_pad_shortcut,
    Sequential: lambda layer: nn.Sequential(*map(theirs, layer.layers)),
    Residual: lambda layer: Module(lambda x, body, shortcut: body(x) + shortcut(x), theirs(layer.body),
                                   theirs(layer.shortcut)),
    Concat: lambda layer: Module(lambda x, *branches: torch.cat([branch(x) for branch in branches], dim=1),
                                 *map(theirs, layer.branches)),
    losses.SoftmaxCrossEntropy: lambda loss: nn.CrossEntropyLoss(label_smoothing=loss.label_smoothing),
    losses.MeanSquaredError: lambda loss: nn.MSELoss(),
    optimizers.SGD: lambda rule: optim.SGD,
    optimizers.Momentum: lambda rule: partial(optim.SGD, momentum=rule.momentum, nesterov=rule.nesterov),
    optimizers.AdaGrad: lambda rule: partial(optim.Adagrad, eps=rule.eps),
    optimizers.RMSProp: lambda rule: partial(optim.RMSprop, alpha=rule.decay, eps=rule.eps),
    optimizers.Adam: lambda rule: partial(optim.Adam, betas=(rule.beta1, rule.beta2), eps=rule.eps),
    optimizers.AdamW: lambda rule: partial(optim.AdamW, betas=(rule.beta1, rule.beta2), eps=rule.eps),
}


def theirs(thing):
    """PyTorch's counterpart of a built layer or of a loss; of an optimizer, what makes it from groups and a rate."""
    if type(thing) not in THEIRS:
        raise LookupError(f"write in THEIRS of tests/golden/with_torch.py how PyTorch makes {thing!r}")
    return THEIRS[type(thing)](thing)


# ------------------------------------------------------------------------------- each kind of case, computed by PyTorch


def tensor(array, dtype):
    """A new tensor that wants its gradient; of images, the features become axis 1."""
    array = np.moveaxis(array, -1, 1) if array.ndim == 4 else array
    return torch.tensor(np.ascontiguousarray(array, dtype), requires_grad=True)


def array_of(result):
    """The NumPy array of a tensor; of images, the features become the last axis."""
    array = result.detach().numpy()
    return np.moveaxis(array, 1, -1) if array.ndim == 4 else array


def parameters(module):
    """[(parameter, the function that shows it or its gradient in minidl's layout, as a view)], as defined."""
    def layout(part):
        def show(weight):
            array = weight.detach().numpy()
            if array.ndim == 4 and part.groups > 1:
                array = array[:, 0]                                              # (C, KH, KW)
            # (F, C, KH, KW) -> (KH, KW, C, F)    (C, KH, KW) -> (KH, KW, C)    (units, D) -> (D, units)
            return array.transpose({4: (2, 3, 1, 0), 3: (1, 2, 0), 2: (1, 0), 1: (0,)}[array.ndim])
        return show

    return [(parameter, layout(part)) for part in module.modules() for parameter in part.parameters(recurse=False)]


def prepared(case, dtype):
    """The module with the numbers as its parameters: salt 10 for the first, 11 for the second, and so on."""
    layer = case.make()
    layer.build(case.shape[1:])
    module = theirs(layer).to(getattr(torch, dtype))
    for place, (parameter, show) in enumerate(parameters(module)):
        view = show(parameter)
        view[...] = numbers(view.shape, 10 + place)
    return module


def pass_through(module, case, dtype):
    """Forward and backward once: y, dx and the gradient of each parameter."""
    x = tensor(images(case), dtype)
    y = module(x)
    y.backward(tensor(numbers(array_of(y).shape, 2), dtype))
    gradients = {f"gradient_{place}": show(parameter.grad)
                 for place, (parameter, show) in enumerate(parameters(module))}
    return {"y": array_of(y), "dx": array_of(x.grad), **gradients}


def layers_of(case, dtype):
    return pass_through(prepared(case, dtype), case, dtype)


def frozen_of(case, dtype):
    module = prepared(case, dtype)
    parts = [part for part in module.modules() if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d))]
    kept = []
    for step in range(10):
        module(tensor(training_images(case, step), dtype))
        kept.append([array.numpy().copy() for part in parts for array in (part.running_mean, part.running_var)])
    return {**pass_through(module.eval(), case, dtype), "statistics": np.array(kept, dtype)}


def losses_of(case, dtype):
    results = {}
    for size, largest in (("", 4.0), ("huge_", HUGE)):
        scores, labels = torch.tensor(numbers(case.shape, 1, largest).astype(dtype), requires_grad=True), target(case)
        loss = theirs(case.make())(scores, torch.tensor(labels.astype(dtype) if labels.dtype.kind == "f" else labels))
        loss.backward()
        results |= {f"{size}loss": loss.detach().numpy(), f"{size}dscores": scores.grad.numpy()}
    return results


def first_tensors(dtype):
    return [torch.tensor(weights.astype(dtype), requires_grad=True) for weights in first_weights()]


def optimizers_of(case, dtype):
    W, b = first_tensors(dtype)
    rule = case.make([Parameter(array, name) for array, name in zip(first_weights(), "Wb", strict=True)])
    l1 = rule.penalty.coefficient if isinstance(rule.penalty, L1) else 0.0  # which PyTorch leaves to the caller
    l2 = rule.penalty.coefficient if isinstance(rule.penalty, L2) else 0.0
    decay = rule.decay if isinstance(rule, optimizers.AdamW) else l2
    optimizer = theirs(rule)([{"params": [W], "weight_decay": decay}, {"params": [b], "weight_decay": 0.0}], rule.lr)
    kept = []
    for step in range(1, STEPS + 1):
        for place, weights in enumerate((W, b)):
            weights.grad = torch.tensor(gradient(weights.detach().numpy(), 2 * step + place).astype(dtype))
        if rule.clip is not None:
            nn.utils.clip_grad_norm_([W, b], rule.clip)
        W.grad += l1 * W.detach().sign()
        optimizer.step()
        if step in SNAPSHOTS:
            kept.append(np.concatenate([W.detach().numpy().ravel(), b.detach().numpy()]))
    return {"weights": np.array(kept)}


def averages_of(case, dtype):
    module = nn.ParameterList([nn.Parameter(weights) for weights in first_tensors(dtype)])
    average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(case.decay))
    kept = []
    for step in range(1, STEPS + 1):
        for place, weights in enumerate(module):
            weights.data[...] = torch.tensor(numbers(weights.shape, 2 * step + place))
        average.update_parameters(module)
        if step in SNAPSHOTS:
            kept.append(np.concatenate([weights.detach().numpy().ravel() for weights in average.module]))
    return {"average": np.array(kept)}


def schedules_of(case, dtype):
    optimizer = optim.SGD(first_tensors(dtype), lr=0.1)
    schedule = case.theirs(lr_scheduler, optimizer)
    rates = []
    for loss in losses_observed():
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step(*[loss] * isinstance(schedule, lr_scheduler.ReduceLROnPlateau))
    return {"lr": np.array(rates)}


COMPUTE = {"layers": layers_of, "frozen": frozen_of, "losses": losses_of, "optimizers": optimizers_of,
           "averages": averages_of, "schedules": schedules_of}
