"""The primitives under the layers: each equals its obvious twin, whatever the slices, on every backend."""

import math
import threading
import tracemalloc

import numpy as np
import pytest
from cases import assert_close, assert_same_bits, on_device

import minidl
from minidl import Sequential, parallel
from minidl.backend import draw_key, xp
from minidl.layers import BatchNorm, Conv2D, Dense, DepthwiseConv2D, Dropout, Flatten, LayerNorm, MaxPool2D, ReLU
from minidl.ops.dropout import dropped, lowest_kept, random_draws
from minidl.ops.features import detrended, feature_sums, gradient_sums, mean_and_variance, repeated, scaled
from minidl.ops.products import product
from minidl.optimizers import Adam

SHAPES = [(7, 5), (3, 4, 6, 2), (2, 5, 3), (1, 1, 1, 4)]


@pytest.fixture(params=[1, 500, 1 << 20])
def slice_bytes(request, monkeypatch):
    monkeypatch.setattr(parallel, "SLICE_BYTES", request.param)
    return request.param


def arrays(shape, count):
    draw = np.random.default_rng(0)
    return (on_device(100 + draw.standard_normal((count, *shape))), on_device(draw.standard_normal((4, shape[-1]))))


# ---------------------------------------------------------------------------------------------- one number per feature

@pytest.mark.parametrize("shape", SHAPES)
def test_arithmetic_by_feature(shape, slice_bytes, device):
    (dy, x), (mean, average, slope, scale) = arrays(shape, 2)
    others = tuple(range(len(shape) - 1))
    assert_close(feature_sums(x), x.sum(others), "sums")
    assert_same_bits(x * repeated(scale, x), x * scale, "repeated")
    assert_close(scaled(x, scale, mean), x * scale + mean, "scaled")
    total, product = gradient_sums(dy, x, mean)
    assert_close(total, dy.sum(others), "sum of dy")
    assert_close(product, (dy * (x - mean)).sum(others), "sum of dy (x - mean)")
    expected = scale * (dy - average - slope * (x - mean))
    assert_close(detrended(dy, x, mean, average, slope, scale), expected, "detrended")


@pytest.mark.parametrize("shape", SHAPES)
def test_mean_and_variance(shape, slice_bytes, device):
    (x,), _ = arrays(shape, 1)
    others = tuple(range(len(shape) - 1))
    mean, variance = mean_and_variance(x)
    assert_close(mean, x.mean(others), "mean")
    assert_close(variance, x.var(others), "variance", 1e-12, 1e-24)


def test_sums_by_feature_lose_nothing_in_a_large_batch():
    x = np.random.default_rng(0).random((300, 32, 32, 3)).astype(np.float32)
    exact = x.astype(np.float64).sum((0, 1, 2))
    assert_close(feature_sums(x), exact, "sums", 1e-6)
    mean, variance = mean_and_variance(x + 30)
    assert_close(mean, 30 + exact / (300 * 32 * 32), "mean", 1e-6)
    assert_close(variance, x.astype(np.float64).var((0, 1, 2)), "variance", 1e-5)


# ------------------------------------------------------------------------------------------------------------ products

@pytest.mark.parametrize(("M", "K", "N"), [(3, 5, 2), (2, 5, 7), (1, 1, 1), (400, 300, 700), (700, 300, 400),
                                           (0, 3, 2)])
def test_product(M, K, N, slice_bytes, device):
    draw = np.random.default_rng(0)
    a, b = on_device(draw.standard_normal((M, K))), on_device(draw.standard_normal((K, N)))
    assert_close(product(a, b), a @ b, "a b", 1e-12)
    assert_close(product(b.T, a.T), (a @ b).T, "transposed", 1e-12)
    out = xp.empty((M, N))
    assert product(a, b, out=out) is out
    assert_close(out, a @ b, "out", 1e-12)


def test_a_large_product_is_divided():
    threads = []
    a, b = np.ones((1000, 400), np.float32), np.ones((400, 300), np.float32)
    minidl.threads(2)
    original, parallel._map = parallel._map, lambda work, items: threads.append(len(items)) or original(work, items)
    try:
        product(a, b)
        product(a[:10], b)
    finally:
        parallel._map = original
    assert threads == [8, 1]


# ------------------------------------------------------------------------------------------------------------- dropout

def test_draws_are_those_of_the_published_hash(device):
    """lowbias32 written out in Python's own integers, two draws from each result."""
    def lowbias32(x, between):
        x ^= x >> 16
        x = (x * 0x7feb352d + between) % 2**32
        x ^= x >> 15
        x = x * 0x846ca68b % 2**32
        return x ^ x >> 16

    key = 0xfffffffe, 0x12345678
    words = [lowbias32((key[0] + counter) % 2**32, key[1]) for counter in range(6)]
    draws = [draw for word in words for draw in (word % 2**16, word >> 16)]
    assert random_draws(key, 0, 12).tolist() == draws
    for start, stop in ((0, 5), (1, 12), (3, 8), (7, 8), (4, 4)):
        assert random_draws(key, start, stop).tolist() == draws[start:stop], "a slice of the same"
    assert random_draws(key, 2**33, 2**33 + 12).tolist() == draws, "the counter starts anew after 2^32 words"


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.3, 0.5, 0.9])
def test_the_share_of_dropped_elements(rate):
    count = 2_000_000
    for key in ((0, 0), (1, 2), (2**32 - 5, 2**32 - 1)):
        dropped_share = (random_draws(key, 0, count) < lowest_kept(rate)).mean()
        assert abs(dropped_share - rate) < 4 * math.sqrt(rate * (1 - rate) / count) + 2**-17


def test_draws_are_spread_evenly_and_know_nothing_of_each_other():
    """Each of the 16 bits is set in half of all draws; those of neighbours at several distances, of one draw, and of
    equal places under two keys agree no more often than chance would have it: within 5 sigma."""
    count = 1_000_000
    draws = random_draws((17, 4), 0, count)
    limit = 5 * 0.5 / math.sqrt(count)
    bits = np.unpackbits(draws.view(np.uint8)).reshape(count, 16)
    assert abs(bits.mean(axis=0) - 0.5).max() < limit
    signs = bits.astype(np.int8) * 2 - 1
    for distance in (1, 2, 3, 4, 16, 32, 64, 1024, 3072):
        assert abs((signs[distance:] * signs[:-distance]).mean(axis=0)).max() < 2 * limit, distance
    assert abs(np.corrcoef(bits.T) - np.eye(16)).max() < 2 * limit
    for other in ((18, 4), (16, 4), (17 + 2**16, 4), *(divmod(int(draw_key()[0]), 2**32) for _ in range(12))):
        related = np.unpackbits(random_draws(other, 0, count).view(np.uint8)).reshape(count, 16)
        assert abs((signs * (related.astype(np.int8) * 2 - 1)).mean(axis=0)).max() < 2 * limit, other
    counts = np.bincount(draws >> 8, minlength=256)
    assert ((counts - count / 256)**2 / (count / 256)).sum() < 256 + 5 * math.sqrt(2 * 256)      # chi squared


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dropped(dtype, slice_bytes, device):
    x = on_device(np.random.default_rng(0).standard_normal((5, 3, 7)).astype(dtype))
    kept = (random_draws((3, 9), 0, x.size) >= lowest_kept(0.3)).reshape(x.shape)
    key = xp.full(1, 3 << 32 | 9, xp.uint64)
    assert_close(dropped(x, key, 0.3), xp.where(kept, x / 0.7, 0), "y", 1e-6)
    assert dropped(x, key, 0.3).dtype == dtype
    assert (dropped(x, key, 0.999999) == 0).mean() > 0.9, "still no division by zero"


def test_a_key_is_drawn_from_the_seed():
    minidl.seed(3)
    first, second = draw_key(), draw_key()
    minidl.seed(3)
    assert draw_key() == first != second
    assert (first.shape, first.dtype) == ((1,), np.uint64)
    assert first > 2**32, "both halves are drawn"


# -------------------------------------------------------------------------------------------------------------- memory

NETWORK = [Conv2D(16, 3, padding=1), BatchNorm(), ReLU(), Conv2D(16, 5, stride=2), ReLU(), MaxPool2D(2), Dropout(0.3),
           DepthwiseConv2D(3, padding=1), LayerNorm(), MaxPool2D(3, stride=1, padding=1), Flatten(), Dense(10)]


def test_workspaces_stay_small_however_large_the_batch(monkeypatch):
    """A network's workspaces hold a few slices for each thread, and none of them grows with the batch."""
    monkeypatch.setattr(parallel, "_local", threading.local())  # without those of earlier tests
    model = Sequential(NETWORK, input_shape=(32, 32, 3))
    minidl.threads(1)
    held = []
    for count in (600, 1200):  # both fill the slices of all layers; of 300 the last layers make smaller ones
        x = minidl.asarray(np.random.default_rng(0).standard_normal((count, 32, 32, 3)))
        model.backward(model.forward(x))
        held.append(sum(buffer.size for buffer in parallel._local.buffers.values()))
    assert held[1] < 1.3 * held[0], "slices differ by their rounding to whole images, not threefold"
    assert held[1] < 8 * parallel.SLICE_BYTES


def test_nothing_of_the_batch_s_size_is_made_but_results():
    """An elementwise layer needs its result and a slice or two; an optimizer's step a slice or two."""
    minidl.threads(1)
    x = minidl.asarray(np.ones((256, 32, 32, 16)))                                           # 16 MiB
    for layer in (ReLU(), Dropout(0.5), BatchNorm(), MaxPool2D(2)):
        layer.build(x.shape[1:])
        dy = layer.forward(x)
        layer.backward(dy)
        tracemalloc.start()
        layer.backward(dy)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < x.nbytes + 2 * parallel.SLICE_BYTES, layer
    dense = Dense(4000)
    dense.build((1000,))
    optimizer = Adam(dense.parameters())
    optimizer.step()
    tracemalloc.start()
    optimizer.step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * parallel.SLICE_BYTES < optimizer.flat.data.nbytes
