"""shapes10: ten kinds of figures, drawn by this file. The data set that is always there, without a download.

    generate(count, seed) -> images (count, 32, 32, 3) uint8, labels (count,) int64

Every image shows one figure on a textured background: any colour, place, size and angle, a little noise, and one
image in a few printed as a negative. A fully connected network has to learn each figure anew for each place and
angle; a convolutional network learns it once. So the set tells methods apart, although anybody can name each image.

A figure is a *signed distance*: a function of the plane that is negative inside, positive outside, and tells how far
the border is. Union is then `minimum`, intersection is `maximum`, a hole is a minus sign, and a smooth border comes
free: a pixel whose centre is 0.2 pixels inside is covered by about 0.7. (Hart 1996, "Sphere tracing".)

The pixels are a pure function of (count, seed): all chance comes from one PCG64 generator, and all arithmetic is
+ - * / sqrt, minimum and maximum, which IEEE 754 rounds alike on every machine. (It does not do so for sin and cos.)
"""

import contextlib
import sys
import time
from math import sqrt

import numpy as np

from minidl.datasets.npz import read_arrays
from minidl.errors import DataError
from minidl.files import written_whole

SIZE = 32
VERSION = 1  # of the pictures: raise it with every change that moves a pixel, and old caches are left alone

LARGEST = 1 << 27  # bytes that the copy of the pictures may have: three times what it has
ORPHAN_SECONDS = 600  # a file that nobody has written to for so long was left by a process that was killed
CHUNK = 128  # images drawn at once: what is at work fits into the cache. The pictures do not depend on it.
NEGATIVES = 0.12  # share of images printed as a negative: dark figure, light background
GRAIN = 0.1  # largest noise that a pixel gets, up or down, where 1 is white
PATCHES = 6  # the background's texture is blended from this many patches each way


# The figures. u, v: coordinates of the pixels in units of the figure's radius, u to the right and v downwards.


def circle(u, v):
    return np.sqrt(u * u + v * v) - 0.9


def square(u, v):
    return np.maximum(abs(u), abs(v)) - 0.78


def triangle(u, v):
    """Three half planes."""
    return np.maximum(v, sqrt(0.75) * abs(u) - 0.5 * v) - 0.52


def star(u, v):
    """Five lines; where at least four of them have us on their inner side, we are in the star.

    So the distance is the second largest of five.
    """
    largest = second = np.full_like(u, -np.inf)
    for a, b in ((0, -1), (0.95106, -0.30902), (-0.95106, -0.30902), (0.58779, 0.80902), (-0.58779, 0.80902)):
        side = a * u + b * v - 0.34
        second = np.maximum(second, np.minimum(largest, side))
        largest = np.maximum(largest, side)
    return second


def ring(u, v):
    return abs(np.sqrt(u * u + v * v) - 0.72) - 0.22


def cross(u, v):
    """Two bars, one across the other."""
    u, v = abs(u), abs(v)
    return np.minimum(np.maximum(u - 0.95, v - 0.27), np.maximum(v - 0.95, u - 0.27))


def stripes(u, v):
    """Three bars."""
    v = abs(v)
    bars = np.minimum(v, abs(v - 0.68)) - 0.17
    return np.maximum(bars, abs(u) - 0.85)


def checks(u, v):
    """A board of four by four fields: filled where both waves have the same sign."""
    a, b = wave(u), wave(v)
    fields = np.where(a * b > 0, -1, 1).astype(u.dtype) * np.minimum(abs(a), abs(b))
    return np.maximum(fields, np.maximum(abs(u), abs(v)) - 0.84)


def wave(u):
    """How far the nearest line between two fields is; the sign changes from field to field."""
    size = abs(u)
    return np.copysign(np.minimum(size, abs(size - 0.42)), u * (0.42 - size))


def crescent(u, v):
    """A disc without another disc."""
    bite = u - 0.42
    return np.maximum(np.sqrt(u * u + v * v) - 0.95, 0.75 - np.sqrt(bite * bite + v * v))


def arrow(u, v):
    """A bar and a triangle."""
    v = abs(v)
    shaft = np.maximum(abs(u + 0.4) - 0.55, v - 0.2)
    head = np.maximum(0.05 - u, sqrt(0.5) * (u + v - 0.95))
    return np.minimum(shaft, head)


FIGURES = [circle, square, triangle, star, ring, cross, stripes, checks, crescent, arrow]
CLASSES = [figure.__name__ for figure in FIGURES]


def generate(count, seed):
    """Draw `count` images: (count, 32, 32, 3) uint8, and their labels: (count,) int64, each class about as often."""
    rng = np.random.Generator(np.random.PCG64(seed))
    labels = rng.integers(len(CLASSES), size=count)
    pose = poses(rng, count)
    colours = palettes(rng, count)
    textures = rng.random((count, PATCHES, PATCHES), dtype=np.float32)

    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    for start in range(0, count, CHUNK):
        part = slice(start, start + CHUNK)
        ground = stretch(textures[part])[..., None]  # (n, 32, 32, 1), between 0 and 1
        figure = coverage(labels[part], pose[part])[..., None]
        dark, light, ink, negative = (c[part, None, None] for c in colours)
        image = dark + (light - dark) * ground
        image += (ink - image) * figure
        image = np.where(negative, 1 - image, image)
        image += GRAIN * (2 * rng.random(image.shape, dtype=np.float32) - 1)
        images[part] = 255 * np.clip(image, 0, 1) + 0.5
    return images, labels


def poses(rng, count):
    """The place of each figure: centre x, y and radius in pixels, and its axis, the unit vector (ux, uy). (count, 5)"""
    radius = 7.5 + 4.5 * rng.random(count, dtype=np.float32)
    room = SIZE / 2 - 0.85 * radius  # so far may the centre be from the middle of the image
    centre = SIZE / 2 + room * (2 * rng.random((2, count), dtype=np.float32) - 1)
    # Any angle, without sin and cos: the tangent t of half an angle up to 45 degrees, then quarter turns.
    t = (sqrt(2) - 1) * (2 * rng.random(count, dtype=np.float32) - 1)
    ux, uy = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    turns = rng.integers(4, size=count)
    ux, uy = np.choose(turns, [ux, -uy, -ux, uy]), np.choose(turns, [uy, ux, -uy, -ux])
    return np.stack([*centre, radius, ux, uy], axis=1)


def palettes(rng, count):
    """Two dark colours of the ground, one bright colour of the figure, (count, 3) each, and (count, 1): a negative?"""
    dark = 0.30 * rng.random((count, 3), dtype=np.float32)
    light = dark + 0.25 * rng.random((count, 3), dtype=np.float32)
    # a bright colour has one strong, one weak and one middling channel, in any order
    least, most = np.array([[0.9, 0.5, 0.2], [1.0, 0.9, 0.7]], np.float32)
    ink = rng.permuted(least + (most - least) * rng.random((count, 3), dtype=np.float32), axis=1)
    negative = rng.random((count, 1)) < NEGATIVES
    return dark, light, ink, negative


def stretch(patches):
    """Blend (n, P, P) patches into (n, 32, 32) smooth textures, linearly along each axis in turn."""
    place = np.arange(SIZE, dtype=np.float32) * np.float32((PATCHES - 1) / SIZE)
    left = place.astype(int)
    right = place - np.floor(place)  # weight of the patch on the right
    rows = patches[:, left] * (1 - right)[:, None] + patches[:, left + 1] * right[:, None]
    return rows[:, :, left] * (1 - right) + rows[:, :, left + 1] * right


def coverage(labels, pose):
    """How much of each pixel the figure covers, (n, 32, 32)."""
    x, y, radius, ux, uy = pose.T[:, :, None, None]
    pixel = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
    dx, dy = (pixel - x) / radius, (pixel[:, None] - y) / radius
    u, v = dx * ux + dy * uy, dy * ux - dx * uy  # turned into the figure's own axes
    distance = np.empty_like(u)
    for label, figure in enumerate(FIGURES):
        chosen = labels == label
        distance[chosen] = figure(u[chosen], v[chosen])
    return np.clip(0.5 - distance * radius, 0, 1)


def there(folder):
    """Always: what is not kept in the folder is drawn."""
    return True


def load(folder):
    """10,000 images to train, 2,000 to test; drawn at the first call, then kept in `folder`, if that can be written."""
    cache = folder / "shapes10" / f"version{VERSION}.npz"
    try:
        return *read_cache(cache), CLASSES
    except OSError:  # not there, or not for us to read
        pass
    except DataError as problem:
        print(f"shapes10: the pictures are drawn anew, because their copy is damaged. {problem}", file=sys.stderr)
    arrays = draw()
    with contextlib.suppress(OSError, DataError):  # a folder of the school that pupils may only read, or a full disk
        cache.parent.mkdir(parents=True, exist_ok=True)
        for left in cache.parent.glob(f"{cache.name}.*.part"):  # by a process that was killed
            if time.time() - left.stat().st_mtime > ORPHAN_SECONDS:
                left.unlink()
        with written_whole(cache, "shapes10") as file:
            np.savez(file, **arrays)
    return *arrays.values(), CLASSES


def draw():
    """{name: array} of the data set."""
    x_train, y_train = generate(10_000, seed=1)
    x_test, y_test = generate(2_000, seed=2)
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def read_cache(cache):
    """The four arrays. DataError where they cannot be those that were drawn."""
    arrays = read_arrays(cache, ("x_train", "y_train", "x_test", "y_test"), LARGEST)
    for part in ("train", "test"):
        x, y = arrays.get(f"x_{part}"), arrays.get(f"y_{part}")
        if (x is None or y is None or (x.dtype, y.dtype) != (np.uint8, np.int64) or y.ndim != 1
                or x.shape != (len(y), SIZE, SIZE, 3)):
            raise DataError(f"{cache} lacks x_{part} or y_{part}, or has them in another shape or type.")
        if not x.any() or y.min() < 0 or y.max() >= len(CLASSES):
            raise DataError(f"{cache}: x_{part} is black, or y_{part} is not from 0 to {len(CLASSES) - 1}.")
    return tuple(arrays.values())


def downloads(folder):
    """{path: None}: the copy of the pictures, which nobody publishes."""
    return {folder / "shapes10" / f"version{VERSION}.npz": None}


def findings(folder):
    """What `minidl data verify` finds: the copy equals what is drawn now, or not."""
    cache, = downloads(folder)
    if not cache.is_file():
        return []
    try:
        same = all(np.array_equal(kept, drawn) for kept, drawn in zip(read_cache(cache), draw().values(), strict=True))
        return [(cache, same, "equals what is drawn now" if same else "differs from what is drawn now")]
    except DataError as problem:
        return [(cache, False, str(problem))]
