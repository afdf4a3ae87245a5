"""Do both backends compute the same? Run everything on each, from one seed, and look at the largest differences.

    minidl parity                     needs a GPU; exit status 1 where a difference is beyond its bound

Every layer, loss and optimizer of the table in `minidl.cases`, and a short training of the naive CNN. A difference is
relative to the largest value of its array. What a seed decides (first weights, the order of the batches, augmented
images, masks) has to be equal to the bit; all other numbers up to rounding: each library adds up in its own order.
"""

import json
from dataclasses import asdict, dataclass
from functools import partial
from math import ceil, inf

import numpy as np

from minidl import layers, losses, models, optimizers
from minidl.augment import Chain, ChannelShift, Crop, Cutout, Flip
from minidl.backend import (
    backend_name,
    device_facts,
    draw_integers,
    draw_normal,
    draw_permutation,
    precision,
    random_state,
    restore_random_state,
    seed,
    to_cpu,
    use_library,
    xp,
)
from minidl.cases import CASES, LOSSES, OPTIMIZERS
from minidl.datasets import Standardize, load
from minidl.files import written_whole
from minidl.network import Sequential
from minidl.regularizers import L2
from minidl.text import table
from minidl.training import fit

PRECISIONS = ("float32", "float64")
BOUNDS = {"layers": (1e-5, 1e-12), "losses": (1e-5, 1e-12), "optimizers": (1e-5, 1e-12), "training": (1e-4, 1e-9),
          "seed": (0.0, 0.0)}
COPIES = 16          # how often a batch of the table is taken: a GPU's work then takes many blocks of threads
BATCH = 100          # images in a step of the training
AUGMENT = Chain([Flip(), Crop(2, "reflect"), Cutout(4), ChannelShift(20)])


@dataclass
class Difference:
    """How far apart one thing is on the two backends."""

    group: str        # "layers", ...; its bound is in BOUNDS
    name: str
    precision: str
    tensor: str       # the array that is furthest apart
    largest: float    # |one - other|, over the largest |value| of that array
    bound: float

    @property
    def within(self):
        return self.largest <= self.bound


def compare(steps=50, images=2000):
    """[Difference ...] between NumPy and CuPy; backend and random numbers are put back.

    steps: of the training    images: that it trains on, at most
    """
    before, draws = backend_name(), random_state()
    data = load("shapes10")
    images = min(images, steps * BATCH)
    differences = []
    try:
        for group, name, compute in subjects(data.x_train[:images], data.y_train[:images], steps):
            for place, kind in enumerate(PRECISIONS):
                there, here = (computed(compute, backend, kind) for backend in ("cupy", "numpy"))
                assert there.keys() == here.keys()
                apart = {tensor: distance(there[tensor], here[tensor]) for tensor in here}
                worst = max(apart, key=apart.get)
                differences.append(Difference(group, name, kind, worst, apart[worst], BOUNDS[group][place]))
    finally:
        use_library(before)
        restore_random_state(draws)
    return differences


def computed(compute, backend, kind):
    """{tensor: NumPy array} of one subject on one backend."""
    use_library(backend)
    seed(0)
    with precision(kind):
        return {tensor: to_cpu(array).copy() for tensor, array in compute().items()}


def distance(one, other):
    """The largest difference over the largest value; infinite where shapes, dtypes or NaN differ."""
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return inf
    if np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
        return 0.0
    apart = abs(one.astype(np.float64) - other.astype(np.float64)).max()
    return float(apart / abs(other).max()) if np.isfinite(apart) and np.any(other) else inf


# --------------------------------------------------------------------------------------------------- what is compared

def subjects(x, y, steps):
    """(group, name, function) of everything; the function computes {tensor: array} on the backend in use.

    x, y: images and labels to augment and to train on
    """
    for case in CASES:
        yield "layers", case.name, partial(passed, case)
    for case in LOSSES:
        yield "losses", case.name, partial(lost, case)
    for name, make in OPTIMIZERS.items():
        yield "optimizers", name, partial(stepped, make)
    yield "optimizers", "movingaverage", averaged
    for name, compute in (("first weights", lambda: models.naive_cifar_net().state_dict()),
                          ("order of batches", lambda: {"order": draw_permutation(50_000)}),
                          ("augmented images", lambda: {"images": AUGMENT(xp.asarray(x[:200]))}),
                          ("masks of Dropout", masks)):
        yield "seed", name, compute
    yield "training", f"naive CNN, {steps} steps", lambda: trained(x, y, steps)


def passed(case):
    """A layer forward and backward in the mode of its case, then forward in evaluation."""
    layer = case.layer()
    N, *shape = case.shape
    y = layer.forward(draw_normal((COPIES * N, *shape)))
    results = {"y": y, "dx": layer.backward(draw_normal(y.shape))}
    for place, parameter in enumerate(layer.parameters()):
        results[f"{parameter.name}.grad {place}"] = parameter.grad
    return results | {"y in evaluation": layer.eval().forward(draw_normal(case.shape))}


def lost(case):
    loss, scores = case.make(), draw_normal(case.shape, 3)
    target = draw_integers(case.shape[-1], len(scores)) if loss.target == "labels" else draw_normal(case.shape)
    return {"loss": loss.forward(scores, target), "dscores": loss.backward()}


def weights():
    model = Sequential([layers.Dense(17), layers.BatchNorm(), layers.Dense(5)], input_shape=(23,))
    return model.parameters()


def stepped(make):
    optimizer = make(weights())
    for _ in range(10):
        optimizer.flat.grad[...] = draw_normal(optimizer.flat.grad.shape)
        optimizer.step()
    return {"weights": optimizer.flat.data}


def averaged():
    average = optimizers.MovingAverage(weights(), decay=0.9)
    for _ in range(10):
        average.flat.data[...] = draw_normal(average.flat.data.shape)
        average.update()
    return {"average": average.average}


def masks():
    results = {}
    for maps in (False, True):
        layer = layers.Dropout(0.5, maps)
        layer.build((4, 4, 100))
        results[f"maps={maps}"] = layer.forward(xp.ones((50, 4, 4, 100))) > 0
    return results


def trained(x, y, steps):
    """The loss of every step and the weights after the last, of a network trained by `fit`."""
    model, loss = models.naive_cifar_net(), Recorded()
    batch_size = min(BATCH, len(x))
    epochs = ceil(steps * batch_size / len(x))
    optimizer = Limited(optimizers.Momentum(model.parameters(), lr=0.01, penalty=L2(1e-4)), steps)
    fit(model, optimizer, x, y, epochs, batch_size, loss, prepare=Standardize(x), augment=AUGMENT, report=None)
    return {"losses": np.array([to_cpu(value) for value in loss.values[:steps]]), **model.state_dict()}


class Recorded(losses.SoftmaxCrossEntropy):
    """Keeps the loss of every batch."""

    def __init__(self):
        super().__init__()
        self.values = []

    def forward(self, scores, labels):
        value = super().forward(scores, labels)
        self.values.append(value)
        return value


class Limited:
    """An optimizer that stops after so many steps, wherever in an epoch that is."""

    def __init__(self, optimizer, steps):
        self.optimizer, self.left = optimizer, steps

    def step(self):
        if self.left:
            self.optimizer.step()
            self.left -= 1


# ---------------------------------------------------------------------------------------------------------- the table

def as_text(differences):
    """The differences as text: a line for each thing, float32 and float64 side by side."""
    by_place = {(each.group, each.name, each.precision): each for each in differences}
    rows = []
    for group, name in dict.fromkeys((each.group, each.name) for each in differences):
        pair = [by_place[group, name, kind] for kind in PRECISIONS]
        beyond = [each for each in pair if not each.within]
        numbers = [text for each in pair for text in (f"{each.largest:.1e}", f"{each.bound:.0e}")]
        verdict = f"   BEYOND in {' and '.join(each.precision for each in beyond)}" if beyond else ""
        rows.append([name, *numbers, (beyond or pair)[0].tensor + verdict])
    beyond = sum(not each.within for each in differences)
    footer = f"{beyond} of {len(differences)} differences are beyond their bounds" if beyond else \
        f"all {len(differences)} differences are within their bounds"
    return table(["largest difference", "float32", "bound", "float64", "bound", "furthest apart"], rows,
                 right=range(1, 5), footer=[footer])


def write_json(differences, path):
    """The differences and what they were measured on, as JSON."""
    before = backend_name()
    use_library("cupy")
    facts = device_facts()
    use_library(before)
    rows = [asdict(each) | {"within": each.within} for each in differences]
    with written_whole(path, "the numbers") as file:
        file.write(json.dumps({"device": facts, "numpy": np.__version__, "differences": rows}, indent=1).encode())
