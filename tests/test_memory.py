"""Memory that comes back at once, without Python's collector of cycles, and that stays flat."""

import gc
import subprocess
import sys
import textwrap
import threading
import weakref

import numpy as np
import pytest

import minidl
from minidl import Concat, Residual, Sequential, models, parallel
from minidl.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, MaxPool2D, ReLU
from minidl.losses import SoftmaxCrossEntropy
from minidl.optimizers import SGD, Adam, MovingAverage
from minidl.regularizers import L2
from minidl.training import evaluate, fit, predict

X = np.random.default_rng(0).standard_normal((12, 8, 8, 3)).astype(np.float32)
Y = np.arange(12) % 3

NETWORKS = {
    "Sequential": lambda: Sequential([Conv2D(4, 3, padding=1), BatchNorm(), ReLU(), MaxPool2D(2), Flatten(), Dense(3)],
                                     (8, 8, 3)),
    "Residual": lambda: Sequential([Residual([Conv2D(4, 3, padding=1), ReLU()], Conv2D(4, 1)), Dropout(0.2), Flatten(),
                                    Dense(3)], (8, 8, 3)),
    "Concat": lambda: Sequential([Concat([Conv2D(4, 3, padding=1), [Residual([Conv2D(3, 1)])], []]), Flatten(),
                                  Dense(3)], (8, 8, 3)),
}


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def steps(model, optimizer, count=2):
    loss = SoftmaxCrossEntropy()
    for _ in range(count):
        loss.forward(model.forward(X), Y)
        model.backward(loss.backward())
        optimizer.step()


def nothing(model, optimizer):
    pass


def backward_alone(model, optimizer):
    model.backward(model.forward(X))


def fitted(model, optimizer):
    fit(model, optimizer, X, Y, epochs=2, batch_size=5, report=None, test=(X, Y))


def used(model, optimizer):
    fitted(model, optimizer)
    predict(model, X)
    evaluate(model, X, Y)
    model.summary(batch_size=4)
    model.load_state_dict(model.state_dict())
    optimizer.load_state_dict(optimizer.state_dict())


def averaged(model, optimizer):
    average = MovingAverage(model.parameters())
    steps(model, optimizer)
    average.update()
    with average.swapped_in():
        predict(model, X)


def second_optimizer(model, optimizer):
    SGD(model.parameters(), lr=0.1)
    SGD(model.layers[-1].parameters(), lr=0.1)


def built_again(model, optimizer):
    model.build((8, 8, 3))


def refused(model, optimizer):
    for mistake in (lambda: model.forward(X[:, :4]), lambda: fit(model, optimizer, X, Y[:3], epochs=1)):
        with pytest.raises(minidl.errors.UserError):
            mistake()


def interrupted(model, optimizer):
    """An error in a slice of the caller and one in a helper's."""
    for place in ("main", "minidl"):
        both = threading.Barrier(2)

        def fails(rows, place=place, both=both):
            both.wait(timeout=30)
            model.forward(X)
            if threading.current_thread().name.lower().startswith(place):
                raise KeyError("a fault in a slice")

        with pytest.raises(KeyError):
            parallel.in_slices(fails, 2, parallel.SLICE_BYTES)
        del fails


@pytest.mark.parametrize("life", [nothing, steps, backward_alone, fitted, used, averaged, second_optimizer, built_again,
                                  refused, interrupted], ids=lambda life: life.__name__)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_model_and_its_optimizer_are_freed_at_once(network, life, no_collector, monkeypatch):
    monkeypatch.setattr(parallel, "SLICE_BYTES", 4000)      # several slices, for helpers too
    minidl.threads(2)
    model = NETWORKS[network]()
    optimizer = Adam(model.parameters(), penalty=L2(1e-3), clip=1.0)
    life(model, optimizer)
    things = {"model": model, "optimizer": optimizer, "vector": optimizer.flat.data, "gradients": optimizer.flat.grad}
    things |= {f"layer {layer!r}": layer for layer in model.walk()}
    things |= {f"{kind} of {parameter!r}": getattr(parameter, kind) for parameter in model.parameters()
               for kind in ("data", "grad")}
    watched = {name: weakref.ref(thing) for name, thing in things.items()}
    things.clear()
    layer = parameter = None    # noqa: F841 - so that the loops above hold nothing
    del model, optimizer
    assert [name for name, thing in watched.items() if thing() is not None] == [], "still held"


@pytest.mark.parametrize("name", ["naive_cifar_net", "resnet20", "googlenet"])
def test_networks_of_the_zoo_are_freed_at_once(name, no_collector):
    model = models.build(name)
    optimizer = Adam(model.parameters())
    watched = weakref.ref(model), weakref.ref(optimizer), weakref.ref(optimizer.flat.data)
    del model, optimizer
    assert [thing() for thing in watched] == [None] * 3


# ------------------------------------------------------------------------------------------------------- memory is flat

LONG = """
    import gc, resource, sys
    import numpy as np
    import minidl
    from minidl import Sequential, models, parallel
    from minidl.augment import Flip
    from minidl.layers import BatchNorm, Dense, Dropout, Flatten, ReLU
    from minidl.optimizers import Adam, MovingAverage
    from minidl.schedules import Cosine
    from minidl.training import fit

    minidl.threads(2)
    gc.disable()        # nothing may wait for it
    highest, unit = [], 1024 if sys.platform != "darwin" else 1

    def note():
        highest.append((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, len(gc.get_objects())))

    def build(size):
        model = models.build("naive_cifar_net")
        optimizer, average = Adam(model.parameters()), MovingAverage(model.parameters())
        model.backward(model.forward(np.ones((size, 32, 32, 3), np.float32)))
        optimizer.step()
        average.update()

    def train(epochs):
        model = Sequential([Flatten(), Dense(8), BatchNorm(), ReLU(), Dropout(0.2), Dense(3)], (4, 4, 1))
        x, y = np.random.default_rng(0).standard_normal((1000, 4, 4, 1)).astype(np.float32), np.arange(1000) % 3
        fit(model, Adam(model.parameters()), x, y, epochs, batch_size=10, report=None, schedule=Cosine(0.01),
            augment=Flip(), test=(x, y))
"""


needs_peak_memory = pytest.mark.skipif(
    sys.platform == "win32", reason="the peak of a process's memory is in the module resource, which Windows lacks")


def grown(code):
    """How much more the process needs at its last note than at its first: MiB, objects that the collector knows."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(LONG) + textwrap.dedent(code)
                           + "\nprint(*(last - first for first, last in zip(highest[0], highest[-1])))"],
                          capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return [float(number) for number in done.stdout.split()]


@pytest.mark.slow
@needs_peak_memory
def test_500_builds_leave_memory_flat():
    mib, objects = grown("""
        for number in range(500):
            build(4 + number % 4)
            if number == 40:
                note()
        note()
    """)
    assert mib < 8 and objects < 100, f"{mib:.1f} MiB, {objects:.0f} objects more after 460 builds"


@pytest.mark.slow
@needs_peak_memory
def test_20000_steps_leave_memory_flat():
    mib, objects = grown("""
        train(10)
        note()
        train(200)
        note()
    """)
    assert mib < 4 and objects < 100, f"{mib:.1f} MiB, {objects:.0f} objects more after 20,000 steps"


@pytest.mark.slow
@needs_peak_memory
def test_changing_threads_leaves_memory_flat():
    """Helpers that end take their workspaces with them. (An executor itself leaves a small cycle to the collector.)"""
    mib, objects = grown("""
        for number in range(300):
            minidl.threads(1 + number % 4)
            build(16)
            if number in (60, 299):
                gc.collect()
                note()
    """)
    assert mib < 8 and objects < 100, f"{mib:.1f} MiB, {objects:.0f} objects more after 240 changes"
