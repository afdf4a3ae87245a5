"""Each kind of case computed by PyTorch: a dictionary of NumPy arrays in minidl's layout, features last."""

import sys

import numpy as np
import torch
from golden.cases import SNAPSHOTS, STEPS, first_weights, gradient, losses_observed, numbers
from torch import nn, optim
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

THIS = sys.modules[__name__]  # what the table's lambdas call t


class Residual(nn.Module):
    def __init__(self, body, shortcut):
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x):
        return self.body(x) + self.shortcut(x)


class Concat(nn.Module):
    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def global_average():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def tensor(array, dtype, images):
    """A new tensor that wants its gradient; of images, the features become axis 1."""
    array = np.moveaxis(array, -1, 1) if images else array
    return torch.tensor(np.ascontiguousarray(array, dtype), requires_grad=True)


def array_of(result, images):
    """The NumPy array of a tensor; of images, the features become the last axis."""
    array = result.detach().numpy()
    return np.moveaxis(array, 1, -1) if images and array.ndim == 4 else array


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
    module = case.theirs(THIS).to(getattr(torch, dtype))
    for place, (parameter, show) in enumerate(parameters(module)):
        view = show(parameter)
        view[...] = numbers(view.shape, 10 + place)
    return module


def pass_through(module, x, dtype, images):
    """Forward and backward once: y, dx and the gradient of each parameter."""
    x = tensor(x, dtype, images)
    y = module(x)
    dy = numbers(array_of(y, images).shape, 2)
    y.backward(tensor(dy, dtype, images and dy.ndim == 4))
    gradients = {f"gradient_{place}": show(parameter.grad)
                 for place, (parameter, show) in enumerate(parameters(module))}
    return {"y": array_of(y, images), "dx": array_of(x.grad, images), **gradients}


def layers(case, dtype):
    return pass_through(prepared(case, dtype), case.x, dtype, case.images)


def statistics(case, dtype):
    module, images = prepared(case, dtype), len(case.shape) == 4
    means, variances = [], []
    for step in range(10):
        module(tensor(numbers(case.shape, 20 + step, 2.0) + step / 8, dtype, images))
        means.append(module.running_mean.numpy().copy())
        variances.append(module.running_var.numpy().copy())
    module.eval()
    return {"running_mean": np.array(means), "running_var": np.array(variances),
            **pass_through(module, numbers(case.shape, 1, 2.0), dtype, images)}


def losses(case, dtype):
    scores = torch.tensor(case.scores.astype(dtype), requires_grad=True)
    target = torch.tensor(case.target.astype(dtype) if case.target.dtype.kind == "f" else case.target)
    loss = case.theirs(THIS)(scores, target)
    loss.backward()
    return {"loss": loss.detach().numpy(), "dscores": scores.grad.numpy()}


def first_tensors(dtype):
    return [torch.tensor(weights.astype(dtype), requires_grad=True) for weights in first_weights()]


def optimizers(case, dtype):
    W, b = first_tensors(dtype)
    optimizer = case.theirs(optim, [{"params": [W], "weight_decay": case.decay}, {"params": [b], "weight_decay": 0.0}])
    kept = []
    for step in range(1, STEPS + 1):
        for place, weights in enumerate((W, b)):
            weights.grad = torch.tensor(gradient(weights.detach().numpy(), 2 * step + place).astype(dtype))
        if case.clip is not None:
            nn.utils.clip_grad_norm_([W, b], case.clip)
        optimizer.step()
        if step in SNAPSHOTS:
            kept.append(np.concatenate([W.detach().numpy().ravel(), b.detach().numpy()]))
    return {"weights": np.array(kept)}


def averages(case, dtype):
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


def schedules(case, dtype):
    optimizer = optim.SGD(first_tensors(dtype), lr=0.1)
    schedule = case.theirs(lr_scheduler, optimizer)
    rates = []
    for loss in losses_observed():
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step(*[loss] * isinstance(schedule, lr_scheduler.ReduceLROnPlateau))
    return {"lr": np.array(rates)}
