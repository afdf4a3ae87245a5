"""Pixels read at any place of an image, and of what continues it beyond its borders: how augmentation moves images.

`fill` says what continues the image, here for a row a b c d:

    "constant"    v v v | a b c d | v v v     the number `value`
    "edge"        a a a | a b c d | d d d     the nearest pixel
    "reflect"     d c b | a b c d | c b a     the image mirrored, its border pixel once
"""

from minidl.backend import float_type, xp
from minidl.backend.kernels import Kernel, on_gpu

FILLS = ("constant", "edge", "reflect")


# ------------------------------------------------------------------------------------------------------- whole pixels

# place: where on an axis of so many pixels; the same as Plane.folded
FOLDED = """
    template<class P> __device__ P folded(P place, ptrdiff_t length, int fill) {
        P last = length - 1;
        if (fill == 0) return place < -1 ? 0 : place > length ? length + 1 : place + 1;
        if (fill == 2 && length > 1) {
            P period = 2 * last, rest = REST;
            if (rest < 0) rest += period;
            place = rest < last ? rest : period - rest;
        }
        return place < 0 ? 1 : place > last ? last + 1 : place + 1;
    }
"""

PIXELS_AT = Kernel(
    "pixels_at", "raw X x, int64 row, int64 column, int64 H, int64 W, int64 C, int32 fill, X value", "X y", """
    const ptrdiff_t *place = _ind.get();
    const ptrdiff_t h = folded<ptrdiff_t>(row, H, fill) - 1, w = folded<ptrdiff_t>(column, W, fill) - 1;
    y = h < 0 || h >= H || w < 0 || w >= W ? value : x[((place[0] * H + h) * W + w) * C + place[3]];
""", FOLDED.replace("REST", "place % period"))


def pixels_at_on_gpu(x, rows, columns, fill="constant", value=0):
    _, H, W, C = x.shape
    if x.dtype == xp.float16:
        return pixels_at.plain(x, rows, columns, fill, value)
    return PIXELS_AT(x, rows[..., None], columns[..., None], H, W, C, FILLS.index(fill), x.dtype.type(value),
                     xp.empty(x.shape, x.dtype))


@on_gpu(pixels_at_on_gpu)
def pixels_at(x, rows, columns, fill="constant", value=0):
    """y[n, h, w] = x[n, rows[n, h, w], columns[n, h, w]], at whole places, within the image or beyond.

    x: (N, H, W, C)    rows, columns: integers (N, ...) that broadcast to (N, H, W)    y: as x
    """
    return Plane(x, fill, value).at(rows, columns)  # in one go: NumPy's take lets no other thread in


# ------------------------------------------------------------------------------------------------------ between pixels

PIXELS_BETWEEN = Kernel(
    "pixels_between", "raw X x, T row, T column, int64 H, int64 W, int64 C, int32 fill, T value", "X y", """
    const ptrdiff_t *place = _ind.get();
    const T framed_row = folded<T>(row, H, fill), framed_column = folded<T>(column, W, fill);
    const T top = floor(framed_row), left = floor(framed_column), low = framed_row - top, far = framed_column - left;
    T corners[4];
    for (int k = 0; k < 4; ++k) {                                // the four pixels around: two above, two below
        const ptrdiff_t h = (ptrdiff_t)top - 1 + k / 2, w = (ptrdiff_t)left - 1 + k % 2;
        corners[k] = h < 0 || h >= H || w < 0 || w >= W ? value : (T)x[((place[0] * H + h) * W + w) * C + place[3]];
    }
    const T upper = corners[0] + (corners[1] - corners[0]) * far, lower = corners[2] + (corners[3] - corners[2]) * far;
    const T mixed = upper + (lower - upper) * low;
    y = (X)(BYTES ? (mixed < 0 ? (T)0 : mixed > 255 ? (T)255 : rint(mixed)) : mixed);
""".replace("BYTES", "sizeof(X) == 1"), FOLDED.replace("REST", "fmod(place, period)"))


def pixels_between_on_gpu(x, rows, columns, fill="constant", value=0):
    _, H, W, C = x.shape
    if x.dtype == xp.float16:
        return pixels_between.plain(x, rows, columns, fill, value)
    kind = xp.result_type(x, rows) if x.dtype.kind == "f" else rows.dtype
    rows, columns = (places[..., None].astype(kind, copy=False) for places in (rows, columns))
    return PIXELS_BETWEEN(x, rows, columns, H, W, C, FILLS.index(fill), value, xp.empty(x.shape, x.dtype))


@on_gpu(pixels_between_on_gpu)
def pixels_between(x, rows, columns, fill="constant", value=0):
    """The same at places between the pixels, where the four around each count by their nearness (bilinear).

    rows, columns: numbers with fractions (N, H, W); where x are bytes, the result is rounded.
    """
    return in_type_of(x, Plane(in_floats(x), fill, value).between(rows, columns))


class Plane:
    """A batch of images continued beyond their borders, as `fill` says, to be read at any place.

    The images have a frame of `value`: one pixel above and to the left, two below and to the right. A place far
    outside is folded back onto a pixel that looks the same, and every pixel has a neighbour below and to the right.
    """

    def __init__(self, x, fill="constant", value=0):
        N, H, W, C = x.shape
        self.H, self.W, self.fill = H, W, fill
        self.framed = xp.full((N, H + 3, W + 3, C), value, x.dtype)
        self.framed[:, 1:H + 1, 1:W + 1] = x

    def at(self, rows, columns):
        """The pixels at whole places. rows, columns: integers that broadcast to (N, H, W) -> (N, H, W, C)"""
        return self.pixels(self.number(self.folded(rows, self.H), self.folded(columns, self.W)))

    def between(self, rows, columns):
        """The same at places between the pixels, where the four around each count by their nearness (bilinear)."""
        rows, columns = self.folded(rows, self.H), self.folded(columns, self.W)
        top, left = xp.floor(rows), xp.floor(columns)
        low, far = (rows - top)[..., None], (columns - left)[..., None]     # in [0, 1): how far below, how far right
        here = self.number(top.astype(xp.int64), left.astype(xp.int64))
        below = here + self.W + 3
        upper = mixed(self.pixels(here), self.pixels(here + 1), far)
        lower = mixed(self.pixels(below), self.pixels(below + 1), far)
        return mixed(upper, lower, low)

    def folded(self, places, length):
        """Where in the frame to read for each place along an axis of `length` pixels."""
        if self.fill == "constant":
            return xp.clip(places, -1, length) + 1
        if self.fill == "reflect" and length > 1:
            last = length - 1                                               # up to it and back: a period of 2 last
            places = last - abs(places % (2 * last) - last)
        return xp.clip(places, 0, length - 1) + 1

    def number(self, rows, columns):
        """The number of each pixel, counted through all framed images."""
        images = xp.arange(len(self.framed))[:, None, None]
        return (images * (self.H + 3) + rows) * (self.W + 3) + columns

    def pixels(self, numbers):
        """(N, H, W) numbers -> (N, H, W, C)"""
        return self.framed.reshape(-1, self.framed.shape[-1]).take(numbers, axis=0)


def mixed(a, b, share):
    """(1 - share) * a + share * b, in the form that gives a's very bits for share 0, and where a and b are equal."""
    return a + (b - a) * share


def in_floats(x):
    """Bytes as numbers of the precision in use, to calculate with; numbers with a fraction stay as they are."""
    return x.astype(float_type()) if x.dtype == xp.uint8 else x


def in_type_of(x, y):
    """y in the dtype of x; if those are bytes, rounded, and held at 0 and 255 instead of running over."""
    return (xp.clip(xp.rint(y), 0, 255) if x.dtype == xp.uint8 else y).astype(x.dtype)
