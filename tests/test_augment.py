"""Augmentation: every class by hand, its draws, what it keeps, and what it says when it cannot work."""

from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

import minidl
from minidl import augment
from minidl.augment import FILLS, Affine, Chain, ChannelShift, Crop, Cutout, Flip, Rotate, Shift, Zoom, affine
from minidl.backend import draw_uniform, to_cpu, xp
from minidl.datasets import Standardize
from minidl.errors import ShapeError, UserError

EVERY = [Flip(0.5, 0.5), Shift(0.3), Shift(2, "edge"), Shift(0.3, "reflect"), Crop(1), Cutout(2), ChannelShift(40),
         Rotate(30), Rotate(30, "edge"), Rotate(30, "reflect"), Zoom(0.5, 2), Affine(),
         Affine(90, 3, (0.5, 2), "reflect"), Chain([Flip(), Shift(0.1), Rotate(10), ChannelShift(9)])]


pytestmark = pytest.mark.usefixtures("device")


@pytest.fixture(autouse=True)
def same_draws():
    minidl.seed(1)


def photos(N, H=5, W=7, C=2, dtype=np.uint8):
    """Noise: no two pixels of an image need to be alike, and none is the fill's 0."""
    return np.random.default_rng(0).integers(1, 256, (N, H, W, C)).astype(dtype)


def numbered(H=5, W=7):
    """One image (1, H, W, 2) whose pixels say where they are: 10 h + w, and 100 more in the second channel."""
    plane = 10 * np.arange(H)[:, None] + np.arange(W)
    return np.stack([plane, plane + 100], axis=-1)[None].astype(np.uint8)


def both(first_channel, value=None):
    """(1, H, W, 2) from the first channel written out; the second is 100 more, except where `value` was filled in."""
    first = np.array(first_channel)
    return np.stack([first, np.where(first == value, value, first + 100)], axis=-1)[None].astype(np.uint8)


@pytest.fixture
def draw(monkeypatch):
    """draw(integers=[...]) or draw(uniform=[...]): what the next draws will be."""
    def fix(integers=(), uniform=()):
        left = list(integers)

        def fixed_integers(high, shape):
            numbers = np.array(left.pop(0)).reshape(shape)
            assert (numbers < high).all()
            return xp.asarray(numbers)

        monkeypatch.setattr(augment, "draw_integers", fixed_integers)
        monkeypatch.setattr(augment, "draw_uniform", lambda shape: minidl.asarray(np.array(uniform).reshape(shape)))

    return fix


# --------------------------------------------------------------------------------------------- whole pixels, by hand


def test_flip_by_hand(draw):
    x = np.concatenate([numbered()] * 4)
    draw(uniform=[0.0, 0.49, 0.5, 0.9, 0.1, 0.3, 0.1, 0.3])  # left and right for four images, then top and bottom
    y = to_cpu(Flip(0.5, 0.2)(x))
    assert (y[0] == x[0, ::-1, ::-1]).all()
    assert (y[1] == x[1, :, ::-1]).all()
    assert (y[2] == x[2, ::-1]).all()
    assert (y[3] == x[3]).all()
    assert y[1, 0, :, 0].tolist() == [6, 5, 4, 3, 2, 1, 0] and y[2, :, 0, 1].tolist() == [140, 130, 120, 110, 100]


def test_flip_always_and_never():
    x = photos(20)
    assert (to_cpu(Flip(1)(x)) == x[:, :, ::-1]).all()
    assert (to_cpu(Flip(0, 1)(x)) == x[:, ::-1]).all()
    assert (to_cpu(Flip(0, 0)(x)) == x).all()
    assert (to_cpu(Flip(1, 1)(Flip(1, 1)(x))) == x).all()


SHIFTED = {  # by hand: down 2, left 1
    "constant": [[9, 9, 9, 9, 9, 9, 9], [9, 9, 9, 9, 9, 9, 9],
                 [1, 2, 3, 4, 5, 6, 9], [11, 12, 13, 14, 15, 16, 9], [21, 22, 23, 24, 25, 26, 9]],
    "edge": [[1, 2, 3, 4, 5, 6, 6], [1, 2, 3, 4, 5, 6, 6],
             [1, 2, 3, 4, 5, 6, 6], [11, 12, 13, 14, 15, 16, 16], [21, 22, 23, 24, 25, 26, 26]],
    "reflect": [[21, 22, 23, 24, 25, 26, 25], [11, 12, 13, 14, 15, 16, 15],
                [1, 2, 3, 4, 5, 6, 5], [11, 12, 13, 14, 15, 16, 15], [21, 22, 23, 24, 25, 26, 25]],
}


@pytest.mark.parametrize("fill", FILLS)
def test_shift_and_crop_by_hand(draw, fill):
    for change in (Shift(3, fill, 9), Crop(3, fill, 9)):
        draw(integers=[[3 + 2], [3 - 1]])  # down first, then right; 3 means no move
        assert (to_cpu(change(numbered())) == both(SHIFTED[fill], 9)).all()


def test_shift_by_a_fraction_goes_by_each_side(draw):
    draw(integers=[[4], [0]])  # 0.4 of 5x7: 2 rows, 2.8 -> 3 columns; so 4 is 2 down, 0 is 3 to the left
    y = to_cpu(Shift(0.4)(numbered()))
    assert y[0, :, :, 0].tolist() == [[0] * 7] * 2 + [[10 * h + 3, 10 * h + 4, 10 * h + 5, 10 * h + 6, 0, 0, 0]
                                                      for h in range(3)]


@pytest.mark.parametrize("fill", FILLS)
def test_crop_is_a_cut_out_of_the_padded_image(fill):
    x, padding = photos(200), 4
    y = to_cpu(Crop(padding, fill)(x))
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)), mode=fill)
    for image, around in zip(y, padded, strict=True):
        assert any((image == around[top:top + 5, left:left + 7]).all() for top in range(9) for left in range(9))


def test_shift_far_beyond_the_image_shows_only_the_fill(draw):
    draw(integers=[[200], [100]])
    assert (to_cpu(Shift(100, value=9)(numbered())) == 9).all()
    draw(integers=[[200], [100]])
    assert (to_cpu(Shift(100, "edge")(numbered())) == numbered()[:, :1]).all()


def test_cutout_by_hand(draw):
    x = numbered()
    for size, row, column, rows, columns in [(3, 2, 4, slice(1, 4), slice(3, 6)), (2, 2, 4, slice(1, 3), slice(3, 5)),
                                             (4, 0, 6, slice(0, 2), slice(4, 7)), (1, 4, 0, slice(4, 5), slice(0, 1)),
                                             (5, 4, 0, slice(2, 5), slice(0, 3))]:
        draw(integers=[[row], [column]])
        expected = x.copy()
        expected[:, rows, columns] = 77
        assert (to_cpu(Cutout(size, value=77)(x)) == expected).all(), size


def test_channel_shift_by_hand(draw):
    x = np.array([[10, 250], [3, 128]], np.uint8).reshape(1, 1, 2, 2)
    draw(uniform=[0.25, 1.0])  # of an amount of 20: -10 and +20
    y = to_cpu(ChannelShift(20)(x))
    assert y.reshape(2, 2).tolist() == [[0, 255], [0, 148]]  # bytes stop at their ends, they do not run over
    draw(uniform=[0.25, 1.0])
    assert to_cpu(ChannelShift(20)(x.astype(np.float32))).reshape(2, 2).tolist() == [[0, 270], [-7, 148]]
    draw(uniform=[0.5 + 0.49 / 40, 0.5 + 0.51 / 40])
    assert to_cpu(ChannelShift(20)(x)).reshape(2, 2).tolist() == [[10, 251], [3, 129]]  # rounded, not cut off


# ---------------------------------------------------------------------------------------------- between pixels, by hand


def moved(x, degrees=0.0, factor=1.0, down=0.0, right=0.0, fill="constant", value=0):
    """affine with the same numbers for every image, on the CPU."""
    numbers = (minidl.asarray(np.full(len(x), number, np.float64)) for number in (degrees, factor, down, right))
    return to_cpu(affine(xp.asarray(x), *numbers, fill, value))


ROW = np.array([10.0, 20, 40], np.float32).reshape(1, 1, 3, 1)


@pytest.mark.parametrize(("fill", "expected"),
                         [("constant", [8, 10, 20]), ("edge", [10, 10, 20]), ("reflect", [20, 10, 20])])
def test_one_pixel_to_the_right_by_hand(fill, expected):
    assert moved(ROW, right=1, fill=fill, value=8).ravel().tolist() == expected


@pytest.mark.parametrize(("fill", "expected"),
                         [("constant", [9, 15, 30]), ("edge", [10, 15, 30]), ("reflect", [15, 15, 30])])
def test_half_a_pixel_to_the_right_by_hand(fill, expected):
    assert moved(ROW, right=0.5, fill=fill, value=8).ravel().tolist() == expected


@pytest.mark.parametrize(("fill", "expected"),
                         [("constant", [8, 20, 8]), ("edge", [10, 20, 40]), ("reflect", [20, 20, 20])])
def test_zoom_by_hand(fill, expected):
    assert moved(ROW, factor=2, fill=fill, value=8).ravel().tolist() == [15, 20, 30]  # above 1 enlarges
    assert moved(ROW, factor=0.5, fill=fill, value=8).ravel().tolist() == expected


def test_quarter_turns_are_rot90():
    x = photos(6, 8, 8, 3, np.float32)
    for turns in (-1, 0, 1, 2, 3, 4):
        np.testing.assert_allclose(moved(x, degrees=90 * turns), np.rot90(x, turns, axes=(1, 2)), atol=0.01)
        exact = np.rot90(photos(6, 8, 8, 3), turns, axes=(1, 2))
        assert (moved(photos(6, 8, 8, 3), degrees=90 * turns) == exact).all()


def test_half_a_turn_of_an_image_that_is_not_square():
    x = photos(3)
    for fill in FILLS:
        assert (moved(x, degrees=180, fill=fill) == x[:, ::-1, ::-1]).all()


def test_an_eighth_turn_leaves_black_corners_and_the_middle():
    x = np.full((1, 9, 9, 1), 200, np.uint8)
    y = moved(x, degrees=45)[0, :, :, 0]
    assert y[0, 0] == y[0, 8] == y[8, 0] == y[8, 8] == 0 and (y[2:7, 2:7] == 200).all()
    for fill in ("edge", "reflect"):
        assert (moved(x, degrees=45, fill=fill) == 200).all()


def slow_affine(x, degrees, factor, down, right, fill, value):
    """The same map, pixel by pixel from its definition, in float64."""
    N, H, W, C = x.shape
    y = np.zeros(x.shape)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    for n in range(N):
        for h in range(H):
            for w in range(W):
                up, across = h - (H - 1) / 2 - down[n], w - (W - 1) / 2 - right[n]
                row = (H - 1) / 2 + (cos[n] * up + sin[n] * across) / factor[n]
                column = (W - 1) / 2 + (cos[n] * across - sin[n] * up) / factor[n]
                for r in (floor(row), floor(row) + 1):
                    for c in (floor(column), floor(column) + 1):
                        nearness = (1 - abs(row - r)) * (1 - abs(column - c))
                        y[n, h, w] += nearness * slow_pixel(x[n], r, c, fill, value)
    return y


def slow_pixel(image, row, column, fill, value):
    H, W, _ = image.shape
    if fill == "constant":
        return image[row, column] if 0 <= row < H and 0 <= column < W else value
    if fill == "edge":
        return image[min(max(row, 0), H - 1), min(max(column, 0), W - 1)]
    return image[slow_bounce(row, H), slow_bounce(column, W)]


def slow_bounce(place, length):
    while length > 1 and not 0 <= place < length:
        place = -place if place < 0 else 2 * (length - 1) - place
    return place if length > 1 else 0


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("shape", [(6, 5, 7, 2), (4, 8, 3, 1), (3, 1, 6, 3), (3, 6, 1, 1), (3, 1, 1, 2)])
def test_affine_equals_its_definition_pixel_by_pixel(fill, shape):
    chance = np.random.default_rng(2)
    x = chance.standard_normal(shape)
    numbers = (chance.uniform(-200, 200, shape[0]), chance.uniform(0.3, 2, shape[0]),
               chance.uniform(-4, 4, shape[0]), chance.uniform(-4, 4, shape[0]))
    with minidl.precision("float64"):
        y = to_cpu(affine(xp.asarray(x), *map(xp.asarray, numbers), fill, 0.5))
    np.testing.assert_allclose(y, slow_affine(x, *numbers, fill, 0.5), rtol=0, atol=1e-12)
    y = to_cpu(affine(xp.asarray(x, xp.float32), *map(minidl.asarray, numbers), fill, 0.5))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, slow_affine(x, *numbers, fill, 0.5), rtol=0, atol=1e-4)


def test_bytes_are_the_rounded_numbers():
    for change in (Affine(45, 0.3, (0.5, 2)), Rotate(90, "reflect"), Zoom(0.5, 2, "edge"), ChannelShift(99)):
        minidl.seed(3)
        bytes_ = to_cpu(change(photos(30)))
        minidl.seed(3)
        numbers = to_cpu(change(photos(30, dtype=np.float32)))
        assert bytes_.dtype == np.uint8
        assert abs(bytes_ - np.clip(numbers, 0, 255)).max() <= 0.5


# --------------------------------------------------------------------------------------------------- what holds for all


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("change", [Flip(0, 0), Shift(0), Shift(0.0, "reflect"), Shift(0.1, "edge"), Crop(0),
                                    ChannelShift(0), Chain([]), *(Rotate(0, fill) for fill in FILLS),
                                    *(Zoom(1, 1, fill) for fill in FILLS),
                                    *(Affine(0, 0, (1, 1), fill) for fill in FILLS)], ids=repr)
def test_nothing_to_do_gives_the_same_bits(change, dtype):
    x = photos(40, 4, 3, 2, dtype) / dtype(7) if dtype != np.uint8 else photos(40, 4, 3, 2)  # 0.1 of 4x3: no pixel
    assert to_cpu(change(x)).tobytes() == x.tobytes()


@settings(deadline=None, max_examples=150)
@given(change=some.sampled_from(EVERY), N=some.integers(0, 5), H=some.integers(4, 9), W=some.integers(4, 9),
       C=some.integers(1, 4), dtype=some.sampled_from([np.uint8, np.float16, np.float32, np.float64]))
def test_shape_dtype_and_input_are_kept(change, N, H, W, C, dtype):
    x = photos(N, H, W, C, dtype)
    before = x.copy()
    x.flags.writeable = False
    y = to_cpu(change(x))
    assert y.shape == x.shape and y.dtype == x.dtype and (x == before).all()
    assert np.isfinite(y).all()
    assert y.flags.writeable  # a new array, not a view of x


@settings(deadline=None, max_examples=150)
@given(some.sampled_from([Flip(0.5, 0.5), Shift(0.9, "edge"), Shift(3), Rotate(180, "reflect"),
                          Zoom(0.1, 10, "reflect"), *(Affine(180, 30, (0.01, 99), fill) for fill in FILLS)]),
       some.integers(1, 6), some.integers(1, 6), some.integers(1, 3))
def test_no_new_value_appears_that_is_larger_or_smaller(change, H, W, C):
    x = photos(7, H, W, C, np.float32)
    y = to_cpu(change(x))
    assert y.shape == x.shape
    for before, after in zip(x, y, strict=True):
        lowest = 0 if change.fill == "constant" else before.min()
        assert lowest - 1e-3 <= after.min() and after.max() <= before.max() + 1e-3


def test_images_keep_their_place_in_the_batch_so_labels_stay_true():
    labels = np.arange(1, 201)
    x = np.tile(labels[:, None, None, None], (1, 6, 6, 3)).astype(np.uint8)
    for change in (Chain([Flip(), Crop(2, "edge"), Cutout(1)]), Affine(45, 0.2, fill="reflect"), Shift(0.2, "reflect")):
        assert (np.median(to_cpu(change(x)), axis=(1, 2, 3)) == labels).all()


@pytest.mark.parametrize("change", EVERY, ids=repr)
def test_the_seed_decides_and_every_image_has_its_own_draw(change):
    x = np.concatenate([photos(1, 8, 9)] * 50)
    minidl.seed(5)
    first, second = to_cpu(change(x)), to_cpu(change(x))
    minidl.seed(5)
    assert (to_cpu(change(x)) == first).all()
    assert (first != second).any()                                    # the next batch differs
    different = len({image.tobytes() for image in first})
    assert different >= (4 if isinstance(change, Flip) else 8), f"50 images, only {different} pictures"


def test_threads_and_slices_change_nothing():
    x, before = photos(300, 32, 32, 3), minidl.threads()
    pictures = []
    for count in (1, 3):
        minidl.threads(count)
        minidl.seed(2)
        pictures.append(to_cpu(Chain([Affine(20), ChannelShift(20)])(x)))
    minidl.threads(before)
    assert (pictures[0] == pictures[1]).all()


def test_an_affine_draws_the_same_numbers_whatever_it_uses_them_for():
    following = []
    for change in (Affine(), Rotate(0), Rotate(20), Zoom(1, 1)):
        minidl.seed(4)
        change(photos(9))
        following.append(to_cpu(draw_uniform(3)).tolist())
    assert following[0] == following[1] == following[2] == following[3]
    minidl.seed(4)
    turned = to_cpu(Rotate(20)(photos(9)))
    minidl.seed(4)
    assert (to_cpu(Affine(20, 0, (1, 1))(photos(9))) == turned).all()


def test_chain_is_one_after_the_other():
    x = photos(10, 9, 9)
    minidl.seed(6)
    one_by_one = ChannelShift(20)(Shift(0.2)(Flip()(x)))
    minidl.seed(6)
    chained = Chain([Flip(), Chain([Shift(0.2), ChannelShift(20)])])(x)
    assert (to_cpu(one_by_one) == to_cpu(chained)).all()
    standardized = Chain([Crop(2), Standardize(x), Cutout(3)])(x)
    assert standardized.dtype == np.float32


# --------------------------------------------------------------------------------------------------------- the draws


def test_how_often_images_flip():
    x = np.zeros((4000, 2, 2, 1), np.uint8)
    x[:, 0, 0] = 1
    y = to_cpu(Flip(0.3, 0.8)(x))
    across, over = y[:, :, 1].sum(axis=(1, 2)), y[:, 1].sum(axis=(1, 2))
    assert abs(across.mean() - 0.3) < 0.03 and abs(over.mean() - 0.8) < 0.03       # four standard errors
    assert abs((across * over).mean() - 0.24) < 0.03                               # independent of each other


@pytest.mark.parametrize(("change", "down", "right"), [(Shift(2), 2, 2), (Crop(4), 4, 4), (Shift(0.2), 2, 3)], ids=repr)
def test_shifts_reach_both_ends_and_nothing_beyond(change, down, right):
    x = np.zeros((5000, 11, 13, 1), np.uint8)
    x[:, 5, 6] = 1
    _, rows, columns, _ = np.nonzero(to_cpu(change(x)))
    for places, middle, most in ((rows, 5, down), (columns, 6, right)):
        counts = np.bincount(places - middle + most, minlength=2 * most + 1)
        expected = 5000 / (2 * most + 1)
        assert len(counts) == 2 * most + 1 and abs(counts - expected).max() < 4.5 * expected ** 0.5
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.06


def test_affine_draws_from_the_ranges_that_it_names(monkeypatch):
    drawn = {}
    monkeypatch.setattr(augment, "affine", lambda x, *numbers: drawn.update(enumerate(map(to_cpu, numbers[:4]))))
    Affine(30, 0.1, (0.8, 1.4))(np.zeros((4000, 20, 50, 1), np.uint8))
    for number, (low, high) in enumerate([(-30, 30), (0.8, 1.4), (-2, 2), (-5, 5)]):
        values, width = drawn[number], high - low
        assert values.shape == (4000,) and values.dtype == np.float32
        assert low <= values.min() < low + 0.01 * width and high - 0.01 * width < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 0.03 * width
    Affine(0, 3, (1, 1))(np.zeros((4000, 20, 50, 1), np.uint8))  # whole pixels: the same on both sides
    assert 2.9 < abs(drawn[2]).max() <= 3 and 2.9 < abs(drawn[3]).max() <= 3


def test_affine_draws_angle_factor_down_right_in_this_order(draw, monkeypatch):
    drawn = []
    monkeypatch.setattr(augment, "affine", lambda x, *numbers: drawn.extend(to_cpu(n).tolist() for n in numbers[:4]))
    draw(uniform=[0.0, 0.75, 0.5, 0.0, 0.25, 0.5, 0.75, 0.0])  # two images: their angles, factors, down, right
    Affine(40, 0.25, (0.5, 1.5))(np.zeros((2, 8, 16, 1), np.uint8))
    assert drawn == [[-40, 20], [1.0, 0.5], [-1, 0], [2, -4]]


def test_cutout_centres_are_uniform_over_the_pixels():
    y = to_cpu(Cutout(1, value=1)(np.zeros((7000, 5, 7, 1), np.uint8)))
    assert (y.sum(axis=(1, 2, 3)) == 1).all()
    assert abs(y.sum(axis=(0, 3), dtype=int) - 200).max() < 4.5 * 200 ** 0.5


def test_channel_shifts_differ_between_channels():
    y = to_cpu(ChannelShift(2)(np.zeros((3000, 2, 3, 3), np.float32)))
    assert (y == y[:, :1, :1]).all()                                   # one number for all pixels of a channel
    shifts = y[:, 0, 0]
    assert -2 <= shifts.min() < -1.98 and 1.98 < shifts.max() <= 2 and abs(shifts.mean()) < 0.05
    assert abs(np.corrcoef(shifts.T) - np.eye(3)).max() < 0.08


# ------------------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(("make", "words"), [
    (lambda: Flip(1.5), ["horizontal=1.5", "probability", "from 0 (never) to 1 (always)"]),
    (lambda: Flip(0.5, -0.1), ["vertical=-0.1"]),
    (lambda: Flip(True), ["horizontal=True"]),
    (lambda: Flip(float("nan")), ["horizontal=nan"]),
    (lambda: Flip("left"), ["horizontal='left'"]),
    (lambda: Shift(-1), ["distance=-1", "integer number of pixels", "fraction"]),
    (lambda: Shift(1.0), ["distance=1.0", "one pixel is written 1"]),
    (lambda: Shift(2.5), ["distance=2.5"]),
    (lambda: Shift("far"), ["distance='far'"]),
    (lambda: Shift(0.1, "mirror"), ["fill='mirror'", "'constant', 'edge', 'reflect'"]),
    (lambda: Shift(0.1, value="black"), ["value='black'", "number"]),
    (lambda: Shift(0.1, value=float("inf")), ["value=inf", "finite"]),
    (lambda: Crop(-1), ["padding=-1", "at least 0"]),
    (lambda: Crop(0.1), ["padding=0.1", "integer number of pixels"]),
    (lambda: Crop(4, "wrap"), ["fill='wrap'"]),
    (lambda: Cutout(0), ["size=0", "at least 1"]),
    (lambda: Cutout(4, value=None), ["value=None"]),
    (lambda: Rotate(-10), ["degrees=-10", "at least 0"]),
    (lambda: Rotate(10, "nearest"), ["fill='nearest'"]),
    (lambda: Zoom(0, 1), ["low=0", "[0.01, 100)"]),
    (lambda: Zoom(0.9, -1), ["high=-1"]),
    (lambda: Zoom(1.1, 0.9), ["low <= high", "low=1.1", "high=0.9"]),
    (lambda: Affine(zoom=0.1), ["zoom=0.1", "pair (low, high)"]),
    (lambda: Affine(shift=-0.1), ["shift=-0.1"]),
    (lambda: ChannelShift(-3), ["amount=-3", "at least 0"]),
    (lambda: Chain([Flip]), ["Chain", "Flip", "brackets"]),
    (lambda: Chain([Flip(), 3]), ["got 3"]),
])
def test_wrong_arguments_fail_when_the_object_is_made(make, words):
    with pytest.raises(UserError) as caught:
        make()
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(("change", "x", "words"), [
    (Flip(), np.zeros((5, 7, 3), np.uint8), ["Flip(0.5, 0.0)", "(N, H, W, C)", "(5, 7, 3)", "image[None]"]),
    (Rotate(10, "edge"), np.zeros((5, 784), np.float32), ["Rotate(10.0, fill='edge')", "(5, 784)"]),
    (Shift(1), np.zeros((5, 0, 7, 3), np.uint8), ["(5, 0, 7, 3)"]),
    (Crop(5, "reflect"), np.zeros((2, 5, 7, 1), np.uint8),
     ["Crop(5, fill='reflect')", "4 rows and 6 columns", "5x7", "5 and 5"]),
    (Shift(7, "reflect"), np.zeros((2, 9, 7, 1), np.uint8), ["7 and 7", "9x7"]),
    (Cutout(6), np.zeros((2, 5, 7, 1), np.uint8), ["Cutout(6)", "6x6", "5x7"]),
])
def test_images_of_the_wrong_shape(change, x, words):
    with pytest.raises(ShapeError) as caught:
        change(x)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_reflect_reaches_to_the_last_pixel():
    assert Crop(4, "reflect")(photos(50)).shape == (50, 5, 7, 2)


def test_images_of_the_wrong_dtype():
    for dtype in (np.int64, np.int8, bool):
        with pytest.raises(UserError, match=f"uint8.*got {np.dtype(dtype)}"):
            Flip()(np.zeros((2, 5, 7, 3), dtype))


def test_a_fill_value_must_fit_into_bytes():
    for change in (Rotate(10, value=300), Crop(2, value=-1), Cutout(2, value=127.5)):
        with pytest.raises(UserError, match=r"value=.* is no byte"):
            change(photos(2))
        assert change(photos(2, dtype=np.float32)).dtype == np.float32
    assert Cutout(2, value=5.0)(photos(2)).dtype == np.uint8


def test_an_augmentation_of_your_own():
    class Negative(augment.Augmentation):
        def change(self, x):
            return 255 - x

    assert (to_cpu(Chain([Negative()])(photos(2))) == 255 - photos(2)).all()
    with pytest.raises(ShapeError, match=r"Negative\(\): expected a batch"):
        Negative()(photos(2)[0])
    with pytest.raises(TypeError, match="no change method"):
        augment.Augmentation()(photos(2))
