"""The one table of what is compared with PyTorch: with_torch.py computes it there, ../test_golden.py with minidl.

Inputs, weights and arriving gradients come from `numbers`, a formula, so that the golden files hold results alone.
In each case `ours` makes the minidl object and `theirs` the PyTorch one; its argument t is the module with_torch.
"""

from math import prod
from types import SimpleNamespace as Case

import numpy as np

from minidl import Concat, Residual, Sequential
from minidl.layers import (
    GELU,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseConv2D,
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
from minidl.optimizers import SGD, AdaGrad, Adam, AdamW, Momentum, RMSProp
from minidl.regularizers import L2
from minidl.schedules import Constant, Cosine, PiecewiseConstant, ReduceOnPlateau, Triangular

DTYPES = ("float64", "float32")
STEPS = 100
SNAPSHOTS = (1, 2, 3, 5, 10, 20, 50, 100)  # the steps whose weights are compared


def numbers(shape, salt, largest=1.0):
    """Evenly spread numbers between -largest and largest, in an order that only the salt decides; no two are equal.

    They are multiples of a power of two (largest has to be one), so float32 holds the very same ones as float64.
    """
    size = prod(shape)
    mixed = np.arange(size, dtype=np.uint32) + np.uint32(7919 * salt)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):  # no step maps two numbers to one
        mixed = (mixed ^ (mixed >> np.uint32(shift))) * np.uint32(factor)
    order = np.argsort(mixed)
    return (2.0 * order - size + 1).reshape(shape) * largest / 2 ** (size - 1).bit_length()


# ---------------------------------------------------------------------------------------------------------- layers

def layer(name, shape, ours, theirs, largest=2.0, ties=False, features_last=False):
    """largest: of x    ties: round x, so that many are equal    features_last: PyTorch takes images as they are."""
    x = numbers(shape, 1, largest)
    return Case(name=name, x=np.floor(x * 4) / 4 if ties else x, ours=ours, theirs=theirs,
                images=len(shape) == 4 and not features_last)


def conv(name, shape, filters, kernel, **options):
    return layer(f"conv2d-{name}", shape, lambda: Conv2D(filters, kernel, **options),
                 lambda t: t.nn.Conv2d(shape[3], filters, kernel, **options))


def depthwise(name, shape, kernel, **options):
    return layer(f"depthwiseconv2d-{name}", shape, lambda: DepthwiseConv2D(kernel, **options),
                 lambda t: t.nn.Conv2d(shape[3], shape[3], kernel, groups=shape[3], **options))


def poolings(name, shape, size, stride=None, padding=0, **options):
    return [layer(f"maxpool2d-{name}", shape, lambda: MaxPool2D(size, stride, padding),
                  lambda t: t.nn.MaxPool2d(size, stride, padding), **options),
            layer(f"averagepool2d-{name}", shape, lambda: AveragePool2D(size, stride, padding),
                  lambda t: t.nn.AvgPool2d(size, stride, padding), **options)]


def activations(shape):
    kinds = {"relu": (ReLU, lambda t: t.nn.ReLU()), "sigmoid": (Sigmoid, lambda t: t.nn.Sigmoid()),
             "tanh": (Tanh, lambda t: t.nn.Tanh()), "gelu": (GELU, lambda t: t.nn.GELU()),
             "leakyrelu": (LeakyReLU, lambda t: t.nn.LeakyReLU()),
             "leakyrelu-0.25": (lambda: LeakyReLU(0.25), lambda t: t.nn.LeakyReLU(0.25))}
    return [layer(f"{name}-{'x'.join(map(str, shape))}", shape, ours, theirs, largest=8.0)
            for name, (ours, theirs) in kinds.items()]


def block():
    return [Conv2D(4, 3, stride=2, padding=1, bias=False), BatchNorm(), GELU(),
            Conv2D(4, 3, padding="same", bias=False)]


def block_theirs(t):
    return t.nn.Sequential(t.nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), t.nn.BatchNorm2d(4), t.nn.GELU(),
                           t.nn.Conv2d(4, 4, 3, padding="same", bias=False))


LAYERS = [
    layer("dense", (4, 7), lambda: Dense(5), lambda t: t.nn.Linear(7, 5)),
    layer("dense-one", (1, 6), lambda: Dense(3), lambda t: t.nn.Linear(6, 3)),
    layer("dense-nobias", (3, 5), lambda: Dense(2, bias=False), lambda t: t.nn.Linear(5, 2, bias=False)),
    conv("3", (2, 5, 6, 3), 4, 3),
    conv("3-p1", (3, 5, 4, 2), 3, 3, padding=1),
    conv("3x2-s2x1-p1x0", (2, 7, 6, 3), 2, (3, 2), stride=(2, 1), padding=(1, 0)),
    conv("5x3-s3-p2x1", (2, 9, 7, 1), 3, (5, 3), stride=3, padding=(2, 1)),
    conv("2-s3x2-left-over", (2, 7, 6, 2), 3, 2, stride=(3, 2)),
    conv("1", (2, 3, 5, 4), 3, 1),
    conv("1-s2", (2, 5, 4, 3), 2, 1, stride=2),
    conv("2-s2-p1", (2, 5, 7, 2), 2, 2, stride=2, padding=1),
    conv("whole-image", (2, 4, 3, 2), 5, (4, 3)),
    conv("3-same", (2, 4, 6, 2), 3, 3, padding="same"),
    conv("4x2-same", (2, 6, 5, 2), 3, (4, 2), padding="same"),
    conv("3-valid-nobias", (2, 4, 5, 2), 3, 3, padding="valid", bias=False),
    conv("3-one", (1, 4, 5, 2), 3, 3, padding=1),
    depthwise("3", (2, 5, 6, 3), 3),
    depthwise("3x2-s2x1-p1x0", (2, 7, 6, 3), (3, 2), stride=(2, 1), padding=(1, 0)),
    depthwise("5x3-s3-p2x1", (2, 9, 7, 2), (5, 3), stride=3, padding=(2, 1)),
    depthwise("3-same", (3, 4, 5, 2), 3, padding="same"),
    depthwise("2x4-same", (2, 4, 5, 3), (2, 4), padding="same"),
    depthwise("3-nobias-one", (1, 4, 5, 3), 3, padding=1, bias=False),
    *poolings("2", (3, 4, 6, 2), 2),
    *poolings("2-left-over", (2, 5, 7, 3), 2),
    *poolings("3-s2-p1", (2, 7, 6, 2), 3, 2, 1),
    *poolings("2x3-s1x2-p1", (2, 5, 6, 3), (2, 3), (1, 2), 1),
    *poolings("3-s1", (2, 4, 5, 2), 3, 1),
    *poolings("2-s3", (2, 7, 5, 2), 2, 3),
    *poolings("3x2-ties-one", (1, 6, 5, 3), (3, 2), 1, (1, 0), ties=True),
    layer("globalaveragepool2d", (2, 5, 3, 4), lambda: GlobalAveragePool2D(), lambda t: t.global_average()),
    layer("globalaveragepool2d-one", (1, 4, 2, 3), lambda: GlobalAveragePool2D(), lambda t: t.global_average()),
    *activations((4, 7)),
    *activations((2, 3, 4, 2)),
    layer("batchnorm-vectors", (5, 4), lambda: BatchNorm(), lambda t: t.nn.BatchNorm1d(4)),
    layer("batchnorm-images", (2, 3, 4, 3), lambda: BatchNorm(), lambda t: t.nn.BatchNorm2d(3)),
    layer("batchnorm-eps", (3, 5), lambda: BatchNorm(eps=0.5), lambda t: t.nn.BatchNorm1d(5, eps=0.5)),
    layer("layernorm-vectors", (3, 7), lambda: LayerNorm(), lambda t: t.nn.LayerNorm(7)),
    layer("layernorm-images", (2, 3, 4, 5), lambda: LayerNorm(), lambda t: t.nn.LayerNorm(5), features_last=True),
    layer("layernorm-one-eps", (1, 6), lambda: LayerNorm(eps=0.5), lambda t: t.nn.LayerNorm(6, eps=0.5)),
    layer("flatten", (2, 3, 4, 2), lambda: Flatten(), lambda t: t.nn.Flatten(), features_last=True),
    layer("residual", (2, 5, 4, 3), lambda: Residual(Conv2D(3, 3, padding=1)),
          lambda t: t.Residual(t.nn.Conv2d(3, 3, 3, padding=1), t.nn.Identity())),
    layer("residual-shortcut", (3, 5, 4, 3), lambda: Residual(block(), Conv2D(4, 1, stride=2)),
          lambda t: t.Residual(block_theirs(t), t.nn.Conv2d(3, 4, 1, stride=2))),
    layer("concat", (2, 4, 5, 3), lambda: Concat([Conv2D(2, 1), [ReLU(), Conv2D(4, 3, padding=1)], []]),
          lambda t: t.Concat(t.nn.Conv2d(3, 2, 1), t.nn.Sequential(t.nn.ReLU(), t.nn.Conv2d(3, 4, 3, padding=1)),
                             t.nn.Identity())),
    layer("nested", (3, 5, 4, 3),
          lambda: Sequential([Residual(block(), Conv2D(4, 1, stride=2)), Concat([DepthwiseConv2D(3, padding=1), []]),
                              LeakyReLU(), GlobalAveragePool2D(), Dense(2)]),
          lambda t: t.nn.Sequential(t.Residual(block_theirs(t), t.nn.Conv2d(3, 4, 1, stride=2)),
                                    t.Concat(t.nn.Conv2d(4, 4, 3, padding=1, groups=4), t.nn.Identity()),
                                    t.nn.LeakyReLU(), t.global_average(), t.nn.Linear(8, 2))),
]

# ten training steps, then evaluation mode with a gradient
STATISTICS = [
    Case(name="vectors", shape=(6, 3), ours=lambda: BatchNorm(), theirs=lambda t: t.nn.BatchNorm1d(3)),
    Case(name="images", shape=(2, 3, 4, 3), ours=lambda: BatchNorm(momentum=0.75, eps=1e-3),
         theirs=lambda t: t.nn.BatchNorm2d(3, momentum=0.25, eps=1e-3)),
]

# ---------------------------------------------------------------------------------------------------------- losses


def cross_entropy(name, N, classes, smoothing, largest):
    return Case(name=f"softmaxcrossentropy-{name}", scores=numbers((N, classes), 1, largest),
                target=np.argsort(numbers((N * classes,), 2))[:N] % classes,
                ours=lambda: SoftmaxCrossEntropy(label_smoothing=smoothing),
                theirs=lambda t: t.nn.CrossEntropyLoss(label_smoothing=smoothing))


def squared_error(name, *shape):
    return Case(name=f"meansquarederror-{name}", scores=numbers(shape, 1, 2.0), target=numbers(shape, 2),
                ours=lambda: MeanSquaredError(), theirs=lambda t: t.nn.MSELoss())


LOSSES = [
    cross_entropy("5x3", 5, 3, 0.0, 4.0),
    cross_entropy("one", 1, 4, 0.0, 4.0),
    cross_entropy("smooth", 4, 5, 0.1, 4.0),
    cross_entropy("smoother-one", 1, 7, 0.5, 4.0),
    cross_entropy("huge-scores", 6, 4, 0.0, 1024.0),
    cross_entropy("huge-scores-smooth", 6, 4, 0.2, 1024.0),
    squared_error("vectors", 4, 3),
    squared_error("one", 1, 1),
    squared_error("images", 2, 3, 4, 2),
]

# ------------------------------------------------------------------------------------------------------ optimizers


def optimizer(name, ours, theirs, decay=0.0, clip=None):
    """theirs: from (t.optim, parameter groups); decay: weight_decay of the group that holds W."""
    return Case(name=name, ours=ours, theirs=theirs, decay=decay, clip=clip)


def first_weights():
    """W, which decays, and b, which does not."""
    return numbers((5, 3), 1), numbers((4,), 2)


def gradient(w, salt):
    """Of a valley of its own steepness in each direction, with noise that changes from step to step."""
    return w * (1.5 + numbers(w.shape, 3)) + numbers(w.shape, salt, 0.5)


OPTIMIZERS = [
    optimizer("sgd", lambda p: SGD(p, lr=0.1), lambda o, g: o.SGD(g, lr=0.1)),
    optimizer("sgd-l2", lambda p: SGD(p, lr=0.1, penalty=L2(0.2)), lambda o, g: o.SGD(g, lr=0.1), decay=0.2),
    optimizer("sgd-clip", lambda p: SGD(p, lr=0.1, clip=0.5), lambda o, g: o.SGD(g, lr=0.1), clip=0.5),
    optimizer("sgd-l2-clip", lambda p: SGD(p, lr=0.1, penalty=L2(0.2), clip=1.5), lambda o, g: o.SGD(g, lr=0.1),
              decay=0.2, clip=1.5),
    optimizer("momentum", lambda p: Momentum(p, lr=0.05), lambda o, g: o.SGD(g, lr=0.05, momentum=0.9)),
    optimizer("momentum-l2", lambda p: Momentum(p, lr=0.05, momentum=0.7, penalty=L2(0.2)),
              lambda o, g: o.SGD(g, lr=0.05, momentum=0.7), decay=0.2),
    optimizer("nesterov", lambda p: Momentum(p, lr=0.05, nesterov=True),
              lambda o, g: o.SGD(g, lr=0.05, momentum=0.9, nesterov=True)),
    optimizer("nesterov-l2-clip", lambda p: Momentum(p, lr=0.05, nesterov=True, penalty=L2(0.2), clip=1.0),
              lambda o, g: o.SGD(g, lr=0.05, momentum=0.9, nesterov=True), decay=0.2, clip=1.0),
    optimizer("adagrad", lambda p: AdaGrad(p, lr=0.1), lambda o, g: o.Adagrad(g, lr=0.1)),
    optimizer("adagrad-l2", lambda p: AdaGrad(p, lr=0.1, eps=0.1, penalty=L2(0.2)),
              lambda o, g: o.Adagrad(g, lr=0.1, eps=0.1), decay=0.2),
    optimizer("rmsprop", lambda p: RMSProp(p, lr=0.01), lambda o, g: o.RMSprop(g, lr=0.01)),
    optimizer("rmsprop-l2", lambda p: RMSProp(p, lr=0.01, decay=0.9, eps=0.01, penalty=L2(0.2)),
              lambda o, g: o.RMSprop(g, lr=0.01, alpha=0.9, eps=0.01), decay=0.2),
    optimizer("adam", lambda p: Adam(p, lr=0.02), lambda o, g: o.Adam(g, lr=0.02)),
    optimizer("adam-l2", lambda p: Adam(p, lr=0.02, beta1=0.8, beta2=0.99, eps=0.01, penalty=L2(0.2)),
              lambda o, g: o.Adam(g, lr=0.02, betas=(0.8, 0.99), eps=0.01), decay=0.2),
    optimizer("adamw", lambda p: AdamW(p, lr=0.02), lambda o, g: o.AdamW(g, lr=0.02), decay=0.01),
    optimizer("adamw-clip", lambda p: AdamW(p, lr=0.02, decay=0.5, clip=1.0), lambda o, g: o.AdamW(g, lr=0.02),
              decay=0.5, clip=1.0),
]

AVERAGES = [Case(name="0.999", decay=0.999), Case(name="0.9", decay=0.9)]

# ------------------------------------------------------------------------------------------------------- schedules


def losses_observed():
    """Falls, stays, falls again and stays for good: something for ReduceOnPlateau to watch."""
    return [max(1.0, 2.0 - 0.1 * epoch) if epoch < 40 else max(0.5, 3.0 - 0.05 * epoch) for epoch in range(STEPS)]


# theirs: from (t.schedulers, optimizer); its learning rates at 100 steps. last: the step whose progress is 1
SCHEDULES = [
    Case(name=name, ours=ours, theirs=theirs, last=STEPS - 1 if name.startswith("onecycle") else STEPS)
    for name, ours, theirs in (
        ("constant", lambda: Constant(0.1), lambda s, o: s.ConstantLR(o, factor=1.0)),
        ("piecewise", lambda: PiecewiseConstant([0.1, 0.02, 0.004], borders=[0.3, 0.7]),
         lambda s, o: s.MultiStepLR(o, milestones=[30, 70], gamma=0.2)),
        ("cosine", lambda: Cosine(0.1), lambda s, o: s.CosineAnnealingLR(o, T_max=STEPS)),
        ("cosine-final", lambda: Cosine(0.1, final=0.01),
         lambda s, o: s.CosineAnnealingLR(o, T_max=STEPS, eta_min=0.01)),
        ("cosine-warmup", lambda: Cosine(0.1, final=0.01, warmup=0.2), lambda s, o: s.SequentialLR(o, [
            s.LambdaLR(o, lambda step: step / 20), s.CosineAnnealingLR(o, T_max=80, eta_min=0.01)], milestones=[20])),
        ("triangular", lambda: Triangular(0.1, peak=0.3, start=0.01, final=0.01), lambda s, o: s.CyclicLR(
            o, base_lr=0.01, max_lr=0.1, step_size_up=30, step_size_down=70, cycle_momentum=False)),
        ("onecycle", lambda: Triangular(0.1, peak=(0.25 * STEPS - 1) / (STEPS - 1), start=0.02, final=0.0002),
         lambda s, o: s.OneCycleLR(o, max_lr=0.1, total_steps=STEPS, pct_start=0.25, anneal_strategy="linear",
                                   div_factor=5, final_div_factor=100, cycle_momentum=False)),
        ("plateau", lambda: ReduceOnPlateau(0.1, factor=0.5, patience=3),
         lambda s, o: s.ReduceLROnPlateau(o, factor=0.5, patience=3)),
        ("plateau-least", lambda: ReduceOnPlateau(0.1, patience=5, threshold=0.2, least=0.002),
         lambda s, o: s.ReduceLROnPlateau(o, patience=5, threshold=0.2, min_lr=0.002)),
        ("plateau-higher", lambda: ReduceOnPlateau(0.1, factor=0.9, patience=0, better="higher"),
         lambda s, o: s.ReduceLROnPlateau(o, factor=0.9, patience=0, mode="max")),
    )
]

TABLE = {"layers": LAYERS, "statistics": STATISTICS, "losses": LOSSES, "optimizers": OPTIMIZERS, "averages": AVERAGES,
         "schedules": SCHEDULES}
