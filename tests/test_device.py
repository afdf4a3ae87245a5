"""What holds where the arrays lie on a GPU: nothing waits for it unasked, nothing mixes, one seed gives one run.

Without a GPU the stand-in for CuPy plays its part; it counts what would wait, and runs out of memory when told to.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import standin
from cases import CASES, assert_close, assert_same_bits, assert_says
from standin import counters, no_synchronisation
from standin.faults import FAULTS

import minidl
from minidl import Residual, Sequential, models
from minidl.augment import Affine, Chain, ChannelShift, Crop, Cutout, Flip
from minidl.backend import draw_permutation, to_cpu, xp
from minidl.datasets import Standardize, scale_to_unit
from minidl.errors import BackendError, UserError
from minidl.layers import GELU, BatchNorm, Conv2D, Dense, Dropout, Flatten, LayerNorm, MaxPool2D, ReLU
from minidl.losses import MeanSquaredError, SoftmaxCrossEntropy
from minidl.optimizers import SGD, AdaGrad, Adam, AdamW, Momentum, MovingAverage, RMSProp
from minidl.regularizers import L1, L2
from minidl.schedules import Cosine
from minidl.terminal import _say_in_one_line
from minidl.training import evaluate, fit

ROOT = Path(__file__).resolve().parents[1]
DRAW = np.random.default_rng(0)
IMAGES = DRAW.integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
LABELS = np.arange(40) % 4


@pytest.fixture
def gpu():
    with standin.installed() as cupy:
        minidl.use("cupy")
        yield cupy
        minidl.use("numpy")


# -------------------------------------------------------------------------------------------- nothing waits in a step


NETWORKS = {
    "naive": lambda: models.naive_cifar_net((16, 16, 3), 4, filters=(3, 4), units=(6, 5)),
    # no bias in front of BatchNorm: its gradient is 0 and some rounding, which Adam would magnify to any size
    "vgg": lambda: Sequential([Conv2D(3, 3, padding="same", bias=False), BatchNorm(), ReLU(), MaxPool2D(2),
                               Dropout(0.2), Flatten(), Dense(6), LayerNorm(), GELU(), Dropout(0.5), Dense(4)],
                              (8, 8, 3)),
    "residual": lambda: models.cifar_resnet(8, width=3, input_shape=(8, 8, 3), classes=4),
}
OPTIMIZERS = {
    "SGD": lambda p: SGD(p, lr=0.01), "clipped": lambda p: SGD(p, lr=0.01, clip=1.0),
    "L2": lambda p: Momentum(p, lr=0.01, penalty=L2(1e-3)), "L1": lambda p: Momentum(p, lr=0.01, penalty=L1(1e-3)),
    "Nesterov": lambda p: Momentum(p, lr=0.01, nesterov=True), "AdaGrad": AdaGrad, "RMSProp": RMSProp, "Adam": Adam,
    "AdamW": AdamW, "all at once": lambda p: AdamW(p, penalty=L2(1e-3), clip=0.5),
}
AUGMENT = Chain([Flip(), Crop(2, "reflect"), Affine(), Cutout(3), ChannelShift(20)])


def waits_of_fit(network, batches, make=AdaGrad, **options):
    """What an epoch of so many batches waited for, how often each."""
    model = NETWORKS[network]()
    shape = model.input_shape
    x, y = np.resize(IMAGES, (10 * batches, *shape)), np.resize(LABELS, 10 * batches)
    scale = Standardize(x)
    before = counters.waits.copy()
    fit(model, make(model.parameters()), x, y, epochs=1, batch_size=10, prepare=scale, report=None, **options)
    return counters.waits - before


@pytest.mark.parametrize("network", NETWORKS)
def test_a_step_of_fit_waits_for_nothing(gpu, network):
    """An epoch of five batches waits as often as one of two: for its numbers at the end, and never in between (but once
    in LOOK_EVERY steps, for the look for NaN)."""
    options = {"augment": AUGMENT, "schedule": Cosine(0.01), "make": OPTIMIZERS["all at once"]}
    two, five = (waits_of_fit(network, batches, **options) for batches in (2, 5))
    assert five == two, f"steps wait for {five - two}"
    assert five.total() <= 4, f"an epoch waits for {five}"


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(label_smoothing=0.1), MeanSquaredError()],
                         ids=["cross-entropy", "squares"])
def test_no_loss_waits(gpu, loss):
    scores, target = xp.ones((3, 4), xp.float32), xp.asarray(np.array([0, 3, 1]))
    with no_synchronisation():
        loss.forward(scores, target if loss.target == "labels" else scores * 2)
        loss.backward()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_optimizer_waits(gpu, name):
    parameters = NETWORKS["vgg"]().parameters()
    optimizer, average = OPTIMIZERS[name](parameters), MovingAverage(parameters)
    with no_synchronisation():
        for _ in range(2):
            optimizer.step()
            average.update()
        with average.swapped_in():
            pass


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_layer_waits(gpu, case):
    layer, x = case.layer(), case.x(np.float32)
    with no_synchronisation():
        y = layer.forward(x)
        layer.backward(y)
        layer.eval()
        layer.forward(x)


def test_a_step_that_waits_is_noticed(gpu, monkeypatch):
    """The test of the tests above: a loss that looks at its labels, as one did."""
    forward = SoftmaxCrossEntropy.forward
    monkeypatch.setattr(SoftmaxCrossEntropy, "forward",
                        lambda self, scores, labels: int(labels.max()) and forward(self, scores, labels))
    assert (waits_of_fit("vgg", 5) - waits_of_fit("vgg", 2)).total() == 3


# --------------------------------------------------------------------------------------- the data set lies on the GPU


def test_bytes_stay_bytes_on_the_gpu_until_their_batch_is_due(gpu):
    model, seen, uploads = NETWORKS["vgg"](), [], []

    def prepare(images):
        assert isinstance(images, gpu.ndarray)
        seen.append((len(images), images.dtype.name))
        uploads.append(counters.uploads)
        return scale_to_unit(images)

    start = counters.uploads
    fit(model, SGD(model.parameters(), lr=0.01), IMAGES, LABELS, epochs=2, batch_size=16, report=None, prepare=prepare,
        test=(IMAGES[:20], LABELS[:20]))
    assert seen == [(16, "uint8"), (16, "uint8"), (8, "uint8"), (20, "uint8")] * 2
    assert uploads[0] - start == 5, "images and labels to train and to test, and the order of the epoch"
    steps = [after - before for before, after in zip(uploads, uploads[1:], strict=False)]
    assert steps[:2] == [0, 0], "in a step, nothing at all"
    assert uploads[4] - uploads[3] == 1, "in the next epoch, the order alone: the data set is there"


def test_preparing_and_augmenting_give_the_same_bytes_as_on_the_cpu(gpu):
    minidl.seed(3)
    whole = Chain([Flip(), Crop(2), Cutout(3), ChannelShift(20)])
    there = to_cpu(Standardize(IMAGES)(whole(xp.asarray(IMAGES)))), to_cpu(scale_to_unit(IMAGES))
    minidl.use("numpy")
    minidl.seed(3)
    assert_same_bits(there[0], Standardize(IMAGES)(whole(IMAGES)), "augmented and standardised")
    assert_same_bits(there[1], scale_to_unit(IMAGES), "scaled to 1")


# -------------------------------------------------------------------------------------------- one seed, both backends


def run_of(backend):
    """All that a seed decides: first weights, orders, masks, and the numbers of a short training."""
    minidl.use(backend)
    minidl.seed(11)
    with minidl.precision("float64"):
        model = NETWORKS["vgg"]()
        weights = {name: array for name, array in model.state_dict().items() if name.endswith("W")}
        order = to_cpu(draw_permutation(20))
        mask = Dropout(0.3)
        mask.build((50,))
        dropped = to_cpu(mask.forward(xp.ones((4, 50))) != 0)
        history = fit(model, Adam(model.parameters()), IMAGES, LABELS, epochs=3, batch_size=7, report=None,
                      prepare=Standardize(IMAGES), augment=Chain([Flip(), Crop(1)]), test=(IMAGES, LABELS))
    return weights, order, dropped, history, model.state_dict()


def test_the_same_seed_gives_the_same_run_on_both_backends(gpu):
    there, here = run_of("cupy"), run_of("numpy")
    for name, array in there[0].items():
        assert_same_bits(array, here[0][name], f"first {name}")
    assert_same_bits(there[1], here[1], "order")
    assert_same_bits(there[2], here[2], "mask")
    assert_close(there[3].loss, here[3].loss, "loss", 1e-9)
    assert there[3].test_accuracy == here[3].test_accuracy
    for name, array in there[4].items():
        assert_close(array, here[4][name], name, 1e-9, 1e-12)


def test_a_model_saved_on_one_backend_is_loaded_on_the_other(gpu, tmp_path):
    model = NETWORKS["residual"]()
    fit(model, Adam(model.parameters()), IMAGES, LABELS, epochs=1, report=None, prepare=scale_to_unit)
    accuracy = evaluate(model, IMAGES, LABELS, prepare=scale_to_unit)
    model.save(tmp_path / "model.npz")
    state = model.state_dict()
    minidl.use("numpy")
    other = NETWORKS["residual"]()
    other.load(tmp_path / "model.npz")
    for name, array in other.state_dict().items():
        assert_same_bits(array, state[name], name)
    assert evaluate(other, IMAGES, LABELS, prepare=scale_to_unit) == accuracy


# ----------------------------------------------------------------------------------- arrays of the wrong kind, refused


def both_kinds(gpu):
    """For each backend: its name, an array of it, an array of the other, and what the other's is called."""
    host = np.ones((2, 3), np.float32)
    yield "cupy", gpu.asarray(host), host, "numpy.ndarray"
    yield "numpy", host, gpu.asarray(host), "cupy.ndarray"


def test_arrays_of_the_other_backend_are_refused_at_the_door(gpu):
    for name, mine, other, called in both_kinds(gpu):
        minidl.use(name)
        model, layer, residual = Sequential([Dense(3)], (3,)), Dense(3), Residual(Dense(3))
        layer.build((3,))
        residual.build((3,))
        for act, what, argument in ((model.forward, "Sequential", "x"), (layer.forward, "Dense(3)", "x"),
                                    (model.backward, "Sequential", "dy"), (residual.forward, "Residual", "x"),
                                    (lambda x: SoftmaxCrossEntropy().forward(x, [0, 1]), "scores", "scores"),
                                    (lambda x: MeanSquaredError().forward(x, x), "scores", "scores")):
            with pytest.raises(UserError) as caught:
                act(other)
            assert_says(caught, what, f"expected an array of the {name} backend, got {called}",
                        f"Pass minidl.asarray({argument})")
        model.backward(model.forward(minidl.asarray(other)))      # the cure that the message names
        residual.backward(residual.forward(mine))


def test_labels_and_targets_may_lie_on_the_cpu(gpu):
    """They come from there as a rule. Then they are looked at; on the GPU they are not, which would wait for it."""
    scores = xp.ones((2, 3), xp.float32)
    value = SoftmaxCrossEntropy().forward(scores, np.array([0, 2]))
    assert isinstance(value, gpu.ndarray)
    assert isinstance(MeanSquaredError().forward(scores, np.ones((2, 3))), gpu.ndarray)
    with pytest.raises(UserError, match="labels: 3 is not the number of a class"):
        SoftmaxCrossEntropy().forward(scores, [0, 3])


def test_labels_on_the_gpu_are_looked_at_once_by_fit_and_evaluate(gpu):
    model = NETWORKS["vgg"]()
    optimizer = SGD(model.parameters(), lr=0.01)
    before = model.state_dict()
    for labels in (LABELS + 1, gpu.asarray(LABELS + 1), gpu.asarray(LABELS - 1)):
        for act in (lambda y: fit(model, optimizer, IMAGES, y, epochs=1, prepare=scale_to_unit, report=None),
                    lambda y: evaluate(model, IMAGES, y, prepare=scale_to_unit)):
            with pytest.raises(UserError) as caught:
                act(labels)
            assert_says(caught, "is not the number of a class", "classes 0 to 3")
    for name, array in model.state_dict().items():
        if "running" not in name:
            assert_same_bits(array, before[name], name)


def test_a_model_built_on_the_other_backend_says_so(gpu):
    model = Sequential([Dense(3)], (3,))
    minidl.use("numpy")
    with pytest.raises(UserError) as caught:
        model.forward(np.ones((2, 3), np.float32))
    assert_says(caught, "Sequential(1 layers)", "its parameters are of the kind cupy.ndarray", "numpy",
                "Call minidl.use(...) first, then build the model")
    assert isinstance(model.state_dict()["dense_1.W"], np.ndarray), "it can still be saved"


# --------------------------------------------------------------------------------------------------- memory runs out


def test_a_batch_too_large_for_the_memory(gpu):
    model = NETWORKS["vgg"]()
    optimizer = SGD(model.parameters(), lr=0.01)
    x = minidl.asarray(IMAGES)
    with standin.memory_limit(40_000):
        with pytest.raises(BackendError) as caught:
            fit(model, optimizer, x, LABELS, epochs=1, batch_size=40, report=None, prepare=scale_to_unit)
        assert_says(caught, "fit: a batch of 40 does not fit into the GPU's memory (Out of memory allocating",
                    "Take a smaller batch_size, such as 20")
        assert model.input_gradient
        with pytest.raises(BackendError) as caught:
            evaluate(model, x, LABELS, batch_size=40, prepare=scale_to_unit)
        assert_says(caught, "evaluate: a batch of 40 does not fit into the GPU's memory", "such as 20")
        assert all(layer.training for layer in model.walk())
        fit(model, optimizer, x, LABELS, epochs=1, batch_size=5, report=None, prepare=scale_to_unit)
    with standin.memory_limit(5_000), pytest.raises(BackendError) as caught:
        fit(model, optimizer, IMAGES, LABELS, epochs=1, report=None, prepare=scale_to_unit)
    assert_says(caught, "fit: the data set does not fit into the GPU's memory", "fewer images", 'minidl.use("numpy")')
    assert "\n" not in str(caught.value)


def test_a_batch_too_large_for_the_memory_of_the_cpu(monkeypatch):
    model = NETWORKS["vgg"]()
    monkeypatch.setattr(model, "forward", lambda x: np.empty((1 << 62,), np.uint8))
    with pytest.raises(BackendError, match="fit: a batch of 1 does not fit into the CPU's memory.*a smaller model"):
        fit(model, SGD(model.parameters(), lr=0.1), IMAGES, LABELS, 1, batch_size=1, prepare=scale_to_unit)


def test_a_lesson_s_own_loop_that_runs_out_of_memory_says_so(gpu, capsys):
    try:
        with standin.memory_limit(10):
            xp.zeros(100)
    except MemoryError:
        _say_in_one_line(*sys.exc_info())
    place, message = capsys.readouterr().err.strip().splitlines()
    assert place.endswith("OutOfMemoryError") and "test_device.py, line" in place
    assert message.startswith("no room in memory (Out of memory allocating 800 bytes")
    assert "Take smaller batches" in message


# ---------------------------------------------------------------------------------------------------------- lessons

START = """
import contextlib, runpy, sys
sys.path[:0] = [{tests!r}, {root!r}]
import standin, standin.faults
stack = contextlib.ExitStack()
stack.enter_context({context})
sys.argv = {argv!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


LESSONS = sorted((ROOT / "lessons").glob("[0-9]*.py"))


def lesson_on_the_stand_in(lesson, context, *flags, **environment):
    argv = [str(lesson), *map(str, flags)]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MINIDL_")}
    code = START.format(tests=str(ROOT / "tests"), root=str(ROOT), context=context, argv=argv)
    return subprocess.run([sys.executable, "-c", code], env=clean | {"MPLBACKEND": "agg"} | environment, cwd=ROOT,
                          capture_output=True, text=True, timeout=1200, check=False)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lesson_says_what_is_missing_without_a_traceback(fault, tmp_path):
    for flags, environment in ((["--backend", "cupy"], {}), ([], {"MINIDL_BACKEND": "cupy"})):
        done = lesson_on_the_stand_in(LESSONS[0], f"standin.faults.broken({fault!r})", "--fast", "--out", tmp_path,
                                      *flags, **environment)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr, done.stderr
        place, message = done.stderr.strip().splitlines()
        assert "BackendError" in place
        assert re.search(r"run:  \S+ -m pip install|nvidia-smi", message), message


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs_on_the_stand_in(lesson, tmp_path):
    done = lesson_on_the_stand_in(lesson, "standin.installed()", "--fast", "--strict", "--backend", "cupy", "--out",
                                  tmp_path, MINIDL_THREADS="1")     # in this process: others have no stand-in
    assert done.returncode == 0, done.stderr[-3000:]
    assert "cupy backend" in done.stdout
