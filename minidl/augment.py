"""Augmentation: show the network each image a little differently every time, so that it cannot learn it by heart.

    augment = Chain([Flip(), Rotate(20), Shift(0.2), ChannelShift(30)])
    augment(x)                                    x: (N, H, W, C) -> a new array of the same shape and dtype

Every class changes a whole batch at once, but each image of it by a draw of its own. It takes the bytes of a data set
as well as scaled numbers; bytes are rounded, and end at 0 and 255 instead of running over. Labels stay as they are:
choose changes that leave them true (a mirrored cat is a cat, a mirrored 3 is not a 3).

The draws come from `minidl.seed`'s generator, in the order that each class states: the same seed gives the same
pictures, on both backends (a turned or zoomed one up to the rounding of its sines and cosines).

Whatever moves pixels has to show something where the image ended. `fill` says what, here for a row a b c d:

    "constant"    v v v | a b c d | v v v     the number `value`, 0 unless given
    "edge"        a a a | a b c d | d d d     the nearest pixel
    "reflect"     d c b | a b c d | c b a     the image mirrored, its border pixel once
"""

from math import inf, isfinite, radians
from numbers import Integral, Real

from minidl.arguments import in_range, positive_integer
from minidl.backend import draw_integers, draw_uniform, float_type, xp
from minidl.errors import ShapeError, UserError
from minidl.ops.gather import FILLS, in_floats, in_type_of, pixels_at, pixels_between
from minidl.parallel import in_slices


class Augmentation:
    """A random change of a batch of images. One of your own needs the method `change`, and `__init__` for arguments."""

    fill, value = "constant", 0

    def change(self, x):
        """Images (N, H, W, C), already checked -> new ones of the same shape and dtype; x itself must stay as it is."""
        raise TypeError(f"{type(self).__name__} has no change method yet")

    def __call__(self, x):
        x = xp.asarray(x)
        if x.ndim != 4 or min(x.shape[1:]) < 1:
            raise ShapeError(f"{self!r}: expected a batch of images (N, H, W, C), got {tuple(x.shape)}. A single image "
                             f"becomes a batch of one by image[None], a grey one gets its channel by x[..., None]")
        if x.dtype != xp.uint8 and x.dtype.kind != "f":
            raise UserError(f"{self!r}: expected images of bytes (uint8) or of floating-point numbers, got {x.dtype}. "
                            f"Convert them with x.astype")
        if x.dtype == xp.uint8 and self.value not in range(256):
            raise UserError(f"{self!r}: value={self.value!r} is no byte. For uint8 images expected an integer from "
                            f"0 to 255")
        return self.change(x)

    def show(self, *arguments):
        """The call that makes this object, for error messages: Shift(0.1, fill='edge')."""
        words = [*map(repr, arguments)]
        words += [f"fill={self.fill!r}"] if self.fill != "constant" else []
        words += [f"value={self.value!r}"] if self.value != 0 else []
        return f"{type(self).__name__}({', '.join(words)})"

    def __repr__(self):
        return self.show()


class Chain:
    """One change after the other, in the order given.

    steps: anything that takes a batch and returns one, so a `Standardize` may be among them.
    Draws: those of the first step for the whole batch, then those of the second, and so on.
    """

    def __init__(self, steps):
        self.steps = list(steps) if isinstance(steps, (list, tuple)) else [steps]
        for step in self.steps:
            if not callable(step) or isinstance(step, type):
                raise UserError(f"Chain: expected a list of augmentations such as [Flip(), Shift(0.1)], got {step!r} "
                                f"in it. Are its brackets () missing?")

    def __call__(self, x):
        for step in self.steps:
            x = step(x)
        return x

    def __repr__(self):
        return f"Chain({self.steps!r})"


# --------------------------------------------------------------------------------------------- whole pixels, exactly

class Flip(Augmentation):
    """Mirror images: swap left and right with probability `horizontal`, top and bottom with `vertical`.

    Draws: uniform (2, N), first all of left and right, then all of top and bottom.
    """

    def __init__(self, horizontal=0.5, vertical=0.0):
        self.horizontal = probability(horizontal, "horizontal")
        self.vertical = probability(vertical, "vertical")

    def change(self, x):
        N, H, W, _ = x.shape
        sideways, upside_down = draw_uniform((2, N, 1, 1))                  # in [0, 1): 1 flips all, 0 flips none
        rows, columns = xp.arange(H)[:, None], xp.arange(W)
        rows = xp.where(upside_down < self.vertical, H - 1 - rows, rows)    # (N, H, 1): the row that each row shows
        columns = xp.where(sideways < self.horizontal, W - 1 - columns, columns)                # (N, 1, W)
        return pixels_at(x, rows, columns)

    def __repr__(self):
        return self.show(self.horizontal, self.vertical)


class Shift(Augmentation):
    """Move each image by whole pixels, at most `distance` up or down and at most `distance` left or right.

        y[n, h, w] = x[n, h - down[n], w - right[n]]        down, right: uniform on -distance ... distance

    distance: whole pixels if it is an integer (2), a fraction of the image's height and width, rounded to pixels,
    if it is written with a point (0.1); the ends of the range are included.
    Draws: N integers `down`, then N integers `right`.
    """

    def __init__(self, distance=0.1, fill="constant", value=0):
        self.distance = checked_distance(distance, "distance")
        self.fill, self.value = checked_fill(fill), checked_value(value)

    def change(self, x):
        N, H, W, _ = x.shape
        most_down, most_right = round(reach(self.distance, H)), round(reach(self.distance, W))
        if self.fill == "reflect" and (most_down >= H or most_right >= W):
            raise ShapeError(f"{self!r}: \"reflect\" can fill at most {H - 1} rows and {W - 1} columns of images of "
                             f"{H}x{W}, the pixels beyond the border; it was asked for {most_down} and {most_right}. "
                             f"Move less, or fill with \"edge\"")
        down = draw_integers(2 * most_down + 1, (N, 1, 1)) - most_down
        right = draw_integers(2 * most_right + 1, (N, 1, 1)) - most_right
        rows = xp.arange(H)[:, None] - down                                 # (N, H, 1): the row that each row shows
        columns = xp.arange(W) - right                                      # (N, 1, W)
        return pixels_at(x, rows, columns, self.fill, self.value)

    def __repr__(self):
        return self.show(self.distance)


class Crop(Shift):
    """Put `padding` pixels around each image, then cut a piece of the original size out at a random place.

    That is a Shift by at most `padding` whole pixels, drawn the same way; it bears the name that papers use.
    He et al. 2015, arXiv:1512.03385, section 4.2: padding 4 and a horizontal flip for CIFAR-10.
    """

    def __init__(self, padding=4, fill="constant", value=0):
        if not isinstance(padding, Integral) or isinstance(padding, bool) or padding < 0:
            raise UserError(f"padding={padding!r}: expected an integer number of pixels, at least 0")
        super().__init__(int(padding), fill, value)


class Cutout(Augmentation):
    """Hide a square of `size` x `size` pixels of each image behind `value`.

    The square's centre is uniform over the pixels, so part of it may be outside the image; the authors found that
    to matter. For an even size the pixel drawn is the lower right one of the four in the middle.
    The paper cuts out of standardised images, where 0 is the mean colour: do it after Standardize, or give `value`.
    DeVries & Taylor 2017, arXiv:1708.04552: size 16 for CIFAR-10, 8 for CIFAR-100, 20 for SVHN.
    Draws: N integers, the centres' rows, then N integers, their columns.
    """

    def __init__(self, size=16, value=0):
        self.size = positive_integer(size, "size")
        self.value = checked_value(value)

    def change(self, x):
        N, H, W, _ = x.shape
        if self.size > min(H, W):
            raise ShapeError(f"{self!r}: a square of {self.size}x{self.size} is larger than the images of {H}x{W}. "
                             f"Take a smaller one; the paper's hides a quarter of the image")
        top = draw_integers(H, (N, 1, 1, 1)) - self.size // 2
        left = draw_integers(W, (N, 1, 1, 1)) - self.size // 2
        rows = xp.arange(H)[:, None, None] - top                            # (N, H, 1, 1): counted from the square
        columns = xp.arange(W)[:, None] - left                              # (N, 1, W, 1)
        y = xp.empty_like(x)

        def cut_slice(images):
            down, right = rows[images], columns[images]
            hidden = (down >= 0) & (down < self.size) & (right >= 0) & (right < self.size)
            y[images] = xp.where(hidden, x.dtype.type(self.value), x[images])

        in_slices(cut_slice, N, 3 * x[:1].nbytes)
        return y

    def __repr__(self):
        return self.show(self.size)


# ---------------------------------------------------------------------------------------- between pixels, bilinearly

class Affine(Augmentation):
    """Turn, zoom and shift each image about its centre, in one map and therefore with one resampling.

    degrees: the angle is uniform on [-degrees, degrees); positive turns counterclockwise, as xp.rot90 does
    shift: as Shift's distance, but the draw is uniform on [-shift, shift) and need not be whole pixels
    zoom: (low, high), the factor is uniform on [low, high); above 1 enlarges, and height and width grow alike
    Draws: uniform (4, N): all angles, all factors, all moves down, all moves right; all four even if unused.

    `affine` holds the formula. Every resampling blurs a little and costs time, so prefer one Affine to a Rotate and a
    Zoom after each other.
    """

    def __init__(self, degrees=10, shift=0.1, zoom=(0.9, 1.1), fill="constant", value=0):
        self.degrees = in_range(degrees, "degrees", 0, inf)
        self.shift = checked_distance(shift, "shift")
        if not isinstance(zoom, (tuple, list)) or len(zoom) != 2:
            raise UserError(f"zoom={zoom!r}: expected a pair (low, high) of factors, such as (0.9, 1.1)")
        self.low, self.high = in_range(zoom[0], "low", 0.01, 100), in_range(zoom[1], "high", 0.01, 100)
        if self.low > self.high:
            raise UserError(f"zoom: expected low <= high, got low={self.low:g} and high={self.high:g}. Exchange them")
        self.fill, self.value = checked_fill(fill), checked_value(value)

    def change(self, x):
        N, H, W, _ = x.shape
        angle, factor, down, right = draw_uniform((4, N))                   # each in [0, 1)
        return affine(x, (2 * angle - 1) * self.degrees, self.low + factor * (self.high - self.low),
                      (2 * down - 1) * reach(self.shift, H), (2 * right - 1) * reach(self.shift, W),
                      self.fill, self.value)

    def __repr__(self):
        return self.show(self.degrees, self.shift, (self.low, self.high))


class Rotate(Affine):
    """Turn each image about its centre by an angle uniform on [-degrees, degrees): an Affine that only turns.

    The corners that come into view are black unless `fill` says otherwise, and the test images have no such corners:
    where rotation makes the accuracy worse, try "edge" or "reflect".
    """

    def __init__(self, degrees=10, fill="constant", value=0):
        super().__init__(degrees, 0, (1, 1), fill, value)

    def __repr__(self):
        return self.show(self.degrees)


class Zoom(Affine):
    """Enlarge each image about its centre by a factor uniform on [low, high): an Affine that only zooms.

    Above 1 enlarges and cuts the border off, below 1 shrinks and shows `fill` around the image.
    """

    def __init__(self, low=0.9, high=1.1, fill="constant", value=0):
        super().__init__(0, 0, (low, high), fill, value)

    def __repr__(self):
        return self.show(self.low, self.high)


def affine(x, degrees, factor, down, right, fill="constant", value=0):
    """Turn each image counterclockwise by `degrees`, enlarge it by `factor`, then move it down and to the right.

    For every pixel of the result we ask which place of the original comes there, so that none stays empty.
    Seen from the centre, a place p goes to  factor * R p + (down, right), R the rotation; solved for p:

        row     = (cos * u + sin * v) / factor          u = h - centre - down
        column  = (cos * v - sin * u) / factor          v = w - centre - right

    x: (N, H, W, C) -> the same shape and dtype        degrees, factor, down, right: (N,), down and right in pixels
    """
    N, H, W, _ = x.shape
    middle_row, middle_column = (H - 1) / 2, (W - 1) / 2
    angle = degrees * radians(1)
    cos, sin, down, right = (each.reshape(N, 1, 1) for each in
                             (xp.cos(angle) / factor, xp.sin(angle) / factor, down, right))
    h, w = xp.arange(H, dtype=float_type())[:, None], xp.arange(W, dtype=float_type())
    y = xp.empty_like(x)

    def affine_slice(images):
        u = h - middle_row - down[images]                                   # (n, H, 1)
        v = w - middle_column - right[images]                               # (n, 1, W)
        rows = middle_row + cos[images] * u + sin[images] * v               # (n, H, W)
        columns = middle_column + cos[images] * v - sin[images] * u
        y[images] = pixels_between(x[images], rows, columns, fill, value)

    in_slices(affine_slice, N, 16 * x[:1].size)  # four neighbours of every pixel, four bytes each
    return y


# ----------------------------------------------------------------------------------------------------------- colour

class ChannelShift(Augmentation):
    """Add to each channel of each image a number uniform on [-amount, amount): a change of colour and brightness.

    amount: in the units of x: grey levels for bytes, spreads after Standardize. Bytes end at 0 and 255; other numbers
    are not cut off. (Keras's channel_shift_range cuts at the smallest and largest value of the image, and in its later
    versions adds the same number to all channels.)
    Draws: uniform (N, C).
    """

    def __init__(self, amount):
        self.amount = in_range(amount, "amount", 0, inf)

    def change(self, x):
        N, _, _, C = x.shape
        added = (2 * draw_uniform((N, 1, 1, C)) - 1) * self.amount
        y = xp.empty_like(x)

        def shift_slice(images):
            y[images] = in_type_of(x, in_floats(x[images]) + added[images])

        in_slices(shift_slice, N, 8 * x[:1].size)  # two numbers of four bytes for every one of x
        return y

    def __repr__(self):
        return self.show(self.amount)


# ------------------------------------------------------------------------------------------------- checked arguments

def probability(value, what):
    """`value` if it is a number from 0 to 1."""
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= value <= 1:
        raise UserError(f"{what}={value!r}: expected a probability, a number from 0 (never) to 1 (always)")
    return float(value)


def checked_distance(value, what):
    """`value` as an integer number of pixels or as a fraction of the image."""
    whole = isinstance(value, Integral)
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= value < (inf if whole else 1):
        raise UserError(f"{what}={value!r}: expected an integer number of pixels, at least 0, or a fraction of the "
                        f"image in [0, 1); one pixel is written 1, a tenth of the image 0.1")
    return int(value) if whole else float(value)


def reach(distance, length):
    """A distance as checked_distance returns it, in pixels of an axis of that length."""
    return distance if isinstance(distance, int) else distance * length


def checked_fill(fill):
    """`fill` if it is one of FILLS."""
    if fill not in FILLS:
        raise UserError(f"fill={fill!r}: expected one of {', '.join(map(repr, FILLS))}")
    return fill


def checked_value(value):
    """`value` if it is a number that a pixel can have."""
    if not isinstance(value, Real) or isinstance(value, bool) or not isfinite(value):
        raise UserError(f"value={value!r}: expected a finite number, the one that the new pixels get")
    return value
