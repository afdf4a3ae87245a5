"""What is compared with PyTorch: the table of `minidl.cases`, and schedules; with_torch.py computes it there,
../test_golden.py with minidl.

Inputs, weights and arriving gradients come from `numbers`, a formula, so that the golden files hold results alone.
"""

import json
from math import prod
from types import SimpleNamespace as Row

import numpy as np

from minidl.cases import CASES, LOSSES, OPTIMIZERS
from minidl.layers import Dropout, MaxPool2D
from minidl.schedules import Constant, Cosine, PiecewiseConstant, ReduceOnPlateau, Triangular

DTYPES = ("float64", "float32")
STEPS = 100
SNAPSHOTS = (1, 2, 3, 5, 10, 20, 50, 100)  # the steps whose weights are compared
HUGE = 1024.0  # scores whose exponentials overflow


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


def images(case):
    """x of a layer. For MaxPool2D 16 different numbers: some windows have two largest pixels, most have one."""
    x = numbers(case.shape, 1, 8.0)
    return np.floor(x) if isinstance(case.make(), MaxPool2D) else x


def target(case):
    """Labels, or numbers of the scores' shape."""
    if case.make().target == "labels":
        N, classes = case.shape
        return np.argsort(numbers((N * classes,), 2))[:N] % classes
    return numbers(case.shape, 2)


def drops(layer):
    """Whether random numbers, which differ in PyTorch, decide what it computes."""
    return any(isinstance(part, Dropout) and part.rate for part in layer.walk())


def training_images(case, step):
    """x of ten training steps before the evaluation mode of a frozen layer; their mean moves."""
    return numbers(case.shape, 20 + step, 2.0) + step / 8


def first_weights():
    """W, which decays, and b, which does not."""
    return numbers((5, 3), 1), numbers((4,), 2)


def gradient(w, salt):
    """Of a valley of its own steepness in each direction, with noise that changes from step to step."""
    return w * (1.5 + numbers(w.shape, 3)) + numbers(w.shape, salt, 0.5)


# ------------------------------------------------------------------------------------------------------- schedules


def losses_observed():
    """Falls, stays, falls again and stays for good: something for ReduceOnPlateau to watch."""
    return [max(1.0, 2.0 - 0.1 * epoch) if epoch < 40 else max(0.5, 3.0 - 0.05 * epoch) for epoch in range(STEPS)]


# theirs: from (t.schedulers, optimizer); its learning rates at 100 steps. last: the step whose progress is 1
SCHEDULES = [
    Row(name=name, ours=ours, theirs=theirs, last=STEPS - 1 if name.startswith("onecycle") else STEPS)
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

TABLE = {
    "layers": [case for case in CASES if case.mode == "train" and not drops(case.make())],
    "frozen": [case for case in CASES if case.mode == "frozen"],
    "losses": LOSSES,
    "optimizers": [Row(name=name, make=make) for name, make in OPTIMIZERS.items()],
    "averages": [Row(name="0.999", decay=0.999), Row(name="0.9", decay=0.9)],
    "schedules": SCHEDULES,
}


# ----------------------------------------------------------------------------------------------------------- the files


def save(path, arrays, versions):
    """Write {name: array} as one vector of each dtype, in a hundred thousand bytes less than array by array."""
    index = json.dumps({name: (str(array.dtype), array.shape) for name, array in arrays.items()})
    vectors = {dtype: np.concatenate([array.ravel() for array in arrays.values() if array.dtype == dtype] or [[]])
               for dtype in DTYPES}
    np.savez_compressed(path, versions=versions, index=index, **vectors)


def load(path):
    """({name: array}, versions) of a file that `save` wrote."""
    with np.load(path, allow_pickle=False) as file:
        vectors, arrays, start = dict(file), {}, dict.fromkeys(DTYPES, 0)
    for name, (dtype, shape) in json.loads(str(vectors["index"])).items():
        end = start[dtype] + prod(shape)
        arrays[name], start[dtype] = vectors[dtype][start[dtype]:end].reshape(shape), end
    return arrays, str(vectors["versions"])
