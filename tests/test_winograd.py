"""Winograd's convolution against the plain one: its matrices, its results, its rounding, and when it is chosen."""

import numpy as np
import pytest
from cases import assert_close, tie_free

import minidl
from minidl import parallel
from minidl.layers import Conv2D
from minidl.ops.convolution import Im2col
from minidl.ops.winograd import POINTS, Winograd, transforms

SIZES = [(m, n - m + 1) for n in POINTS for m in range(2, n)]


def both(filters, kernel, padding, shape, dtype=np.float64, method=None):
    """(y, dx, dW) of one layer by its own method and by Im2col; dy is random."""
    with minidl.precision("float64" if dtype == np.float64 else "float32"):
        layer = Conv2D(filters, kernel, padding=padding)
        layer.build(shape[1:])
    results, x = [], tie_free(shape).astype(dtype)
    for chosen in (method(layer.windows) if method else layer.method, Im2col(layer.windows)):
        layer.method = chosen
        y = layer.forward(x)
        dx = layer.backward(tie_free(y.shape, 2).astype(dtype))
        results.append((y, dx, layer.W.grad.copy()))
    return results


@pytest.mark.parametrize(("m", "r"), SIZES)
def test_one_dimension(m, r):
    """Aᵀ [(G g) * (Bᵀ d)] is d correlated with g."""
    AT, G, BT = transforms(m, r)
    d, g = tie_free((m + r - 1,)), tie_free((r,), 2)
    assert_close(AT @ ((G @ g) * (BT @ d)), np.correlate(d, g, "valid"), f"{m} results, kernel of {r}", 1e-14)


def test_the_transforms_of_the_paper():
    """Lavin & Gray 2015, equations 5 and 6 (F(2x2, 3x3)); they put a sign into Bᵀ and Aᵀ where we have it in G."""
    AT, G, BT = transforms(2, 3)
    signs = np.diag([-1, 1, 1, 1])
    assert_close(signs @ G, [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], "G", 1e-15)
    assert_close(signs @ BT, [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]], "BT", 1e-15)
    assert_close(AT, [[1, 1, 1, 0], [0, 1, -1, 1]], "AT", 1e-15)


@pytest.mark.parametrize(("m", "r"), [(m, r) for m, r in SIZES if r > 1])
@pytest.mark.parametrize("padding", [0, (1, 2), "same"])
@pytest.mark.parametrize("size", [(9, 7), (8, 13), (6, 6)])
@pytest.mark.parametrize("slice_bytes", [1, 1 << 22])
def test_winograd_equals_columns(m, r, padding, size, slice_bytes, monkeypatch):
    """Every size of tile; images whose tiles reach beyond them and images whose tiles do not; one slice and many."""
    monkeypatch.setattr(parallel, "SLICE_BYTES", slice_bytes)
    winograd, columns = both(3, r, padding, (3, *size, 2), method=lambda windows: Winograd(windows, m))
    for name, now, wanted in zip(("y", "dx", "dW"), winograd, columns, strict=True):
        assert_close(now, wanted, f"{name} of {m}x{m} results, {r}x{r} kernel, {size}, padding {padding}", 1e-12, 1e-12)


@pytest.mark.parametrize(("kernel", "padding", "size"), [(3, 1, 16), (3, 1, 8), (5, 0, 11), (3, 0, 7), (2, 0, 9)])
def test_winograd_rounds_no_worse_than_five_plain_sums(kernel, padding, size):
    """In float32, by the largest distance to the float64 result; PyTorch's own convolution is at about the same."""
    shape = (4, size, size, 48)
    (winograd, plain), (_, exact) = (both(40, kernel, padding, shape, dtype) for dtype in (np.float32, np.float64))
    for name, now, other, wanted in zip(("y", "dx", "dW"), winograd, plain, exact, strict=True):
        scale = abs(wanted).max()
        error, usual = abs(now - wanted).max() / scale, abs(other - wanted).max() / scale
        assert error < max(5 * usual, 2e-6), f"{name}: {error:.1e}, the plain sum {usual:.1e}"


@pytest.mark.parametrize(("layer", "shape", "tile"), [
    (lambda: Conv2D(64, 3, padding=1), (32, 32, 64), 4),
    (lambda: Conv2D(64, 3), (7, 7, 64), 2),                 # 5 x 5 results: no fewer products with 2 x 2 large tiles
    (lambda: Conv2D(64, 5), (30, 30, 64), 2),
    (lambda: Conv2D(64, 3, padding=1), (32, 32, 3), None),  # too few features
    (lambda: Conv2D(64, 3, stride=2), (32, 32, 64), None),
    (lambda: Conv2D(64, (3, 5)), (32, 32, 64), None),
    (lambda: Conv2D(64, 1), (32, 32, 64), None),
    (lambda: Conv2D(64, 5), (5, 5, 64), None),              # one result: nothing to save
    (lambda: Conv2D(64, 7), (32, 32, 64), None),
])
def test_which_method_is_chosen(layer, shape, tile):
    layer = layer()
    layer.build(shape)
    assert getattr(layer.method, "m", None) == tile


@pytest.mark.parametrize("shape", [(64, 16, 16, 64), (256, 16, 16, 64)])
def test_workspaces_do_not_grow_with_the_batch(shape):
    """A slice's arrays and no more."""
    parallel._local.__dict__.clear()
    layer = Conv2D(64, 3, padding=1)
    layer.build(shape[1:])
    layer.backward(layer.forward(np.zeros(shape, np.float32)))
    weights = layer.method.transformed(layer.W.data)
    largest = max(parallel.SLICE_BYTES, 2 * weights.nbytes, layer.item_bytes(np.zeros(shape, np.float32)))
    assert sum(buffer.size for buffer in parallel._local.buffers.values()) <= largest, "workspaces larger than a slice"
