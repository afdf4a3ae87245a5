"""Data sets as arrays, and the two usual ways to scale them.

    x_train, y_train, x_test, y_test, classes = load("shapes10")        x: (N, H, W, C) uint8, y: (N,) int64

`shapes10` is drawn on the spot, and `mnist10k` is part of the package; the others are read from their official files,
which are downloaded when they are not there. Where they are: the argument `data_dir`, else the environment variable
MINIDL_DATA, else the folder `datasets` of the checkout that minidl runs from, else ~/.cache/minidl.
"""

import os
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minidl.arguments import did_you_mean
from minidl.backend import backend_name, float_type, to_cpu, xp
from minidl.datasets import cifar, idx, own, shapes10
from minidl.errors import DataError, ShapeError

# To add a data set: a module here with two functions, and its line below (any object with them will do).
#     load(folder)   x_train, y_train, x_test, y_test, classes: images (N, H, W, C) uint8, labels (N,) int64, names of
#                    the classes; downloaded into the folder if need be
#     there(folder)  whether `load` needs no download
# And, for `minidl data`, if it has files of its own:
#     downloads(folder)  {path: RemoteFile} of the files that `load` makes or downloads; None where nobody publishes it
#     findings(folder)   [(path, right, words)] of the files that are there; right is None where nobody can know
SETS = {
    "shapes10": shapes10,
    "mnist": idx.MNIST,
    "mnist10k": idx.MNIST10K,
    "fashion_mnist": idx.FASHION_MNIST,
    "cifar10": cifar.CIFAR10,
    "cifar100": cifar.CIFAR100,
}


class Dataset(NamedTuple):
    """Images (N, H, W, C) uint8 and labels (N,) int64, to train and to test, on the CPU; the names of the classes."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: list


def names():
    """The names that `load` knows."""
    return list(SETS)


def load(name, data_dir=None, size=None, test=None, seed=None):
    """The data set of that name. DataError says what is missing or damaged, and the cure.

    Your own pictures have the names "folder:PATH", a folder with a folder of PNG and JPEG files for each class, and
    "npz:PATH", a file of arrays. For these alone are
    size: (height, width) that pictures in folders are cut and scaled to; 32 unless given
    test: the share of them to test with, 0.2 unless given    seed: of the split, 0 unless given
    """
    kind, colon, path = str(name).partition(":")
    reader, takes = own.KINDS.get(kind if colon else "", (None, ()))
    known = None if reader else set_named(name)
    given = {key: value for key, value in (("size", size), ("test", test), ("seed", seed)) if value is not None}
    if not given.keys() <= set(takes):
        raise DataError(f"load({name!r}) takes no {', '.join(sorted(given.keys() - set(takes)))}: that is for "
                        f"load(\"folder:PATH\"), or in part for load(\"npz:PATH\").")
    try:
        arrays = reader(path, **given) if reader else known.load(data_folder(data_dir))
    except BrokenPipeError:  # the reader of what is printed has left
        raise
    except OSError as problem:
        raise DataError(f"{problem.filename or name} cannot be read ({problem.strerror or problem}). Do you have the "
                        f"right to read it?") from problem
    x_train, y_train, x_test, y_test, classes = arrays
    return Dataset(x_train, y_train, x_test, y_test, list(classes))


def set_named(name):
    """What reads the published data set of that name."""
    if name not in SETS:
        own_name = isinstance(name, str) and (
            f"folder:{name}" if os.path.isdir(name) else f"npz:{name}" if os.path.isfile(name) else None)
        hint = f" Your own pictures: load({own_name!r})." if own_name else did_you_mean(name, SETS)
        raise DataError(f"unknown data set {name!r}; known are {', '.join(SETS)}.{hint}")
    return SETS[name]


def there(data_dir=None):
    """The names of the data sets that can be loaded without a download."""
    folder = data_folder(data_dir)
    return [name for name in SETS if SETS[name].there(folder)]


def data_folder(data_dir=None):
    """The folder of the data sets. One that somebody named must exist; the default ones are made when needed."""
    named = data_dir or os.environ.get("MINIDL_DATA")
    if named:
        folder = named_folder(named)
        if not os.path.isdir(folder):  # Path.is_dir raises where one may not look
            source = "data_dir" if data_dir else "the environment variable MINIDL_DATA"
            raise DataError(f"{folder}, named by {source}, is no folder. Correct the name, or make the folder:  "
                            f"mkdir -p {folder}")
        return folder
    checkout = Path(__file__).resolve().parents[2]
    return checkout / "datasets" if is_checkout(checkout) else _home() / ".cache" / "minidl"


def named_folder(name):
    """The folder of that name, which may begin with ~, the user's home."""
    try:
        return Path(name).expanduser()
    except RuntimeError as problem:  # no HOME, and no user of that number, as in some containers
        raise DataError(f"{name}: this user has no home folder (HOME is not set). Name a folder without ~") from problem


def _home():
    """The user's home, or the current folder where the system knows of none."""
    home = os.path.expanduser("~")
    return Path.cwd() if home == "~" else Path(home)


def is_checkout(folder):
    """Whether the folder is the top of a clone of minidl."""
    setup = folder / "setup.cfg"
    return setup.is_file() and "name = minidl\n" in setup.read_text(encoding="utf-8", errors="replace")


class Standardize:
    """Scale images to mean 0 and spread 1 over the training set, for each colour channel by itself.

        scale = Standardize(x_train)            scale(x) = (x - mean) / spread

    x: (..., C) uint8 -> the same shape, in the backend's precision.            mean, spread: (C,) float64
    The spread is the standard deviation over all N H W pixels; a channel that is the same everywhere becomes 0.
    """

    def __init__(self, x_train):
        pixels = to_cpu(x_train)
        if pixels.dtype != np.uint8 or pixels.ndim < 2 or pixels.size == 0:
            raise ShapeError(f"Standardize: expected uint8 images (N, H, W, C), came {pixels.dtype} {pixels.shape}. "
                             f"Give it x_train as load() returns it.")
        # A byte has 256 values: how often each occurs, per channel, is all there is to know, and it is exact.
        counts = sum(count_values(pixels[start:start + 1000]) for start in range(0, len(pixels), 1000))
        number = prod(pixels.shape[:-1])
        values = np.arange(256)
        self.mean = (counts * values).sum(axis=1) / number
        self.spread = np.sqrt((counts * (values - self.mean[:, None]) ** 2).sum(axis=1) / number)

    def __call__(self, x):
        channels, features = len(self.mean), prod(x.shape[1:])
        if x.ndim < 2 or features % channels:
            raise ShapeError(f"Standardize: came {x.shape}, expected (..., {channels}) as the training set had.")
        mean, factor = self._rows(features // channels, float_type(), backend_name())
        rows = xp.asarray(x).astype(float_type()).reshape(len(x), features)
        rows -= mean
        rows *= factor
        return rows.reshape(x.shape)

    @lru_cache(maxsize=4)  # noqa: B019 - there are a few of these objects, and they live as long as the program
    def _rows(self, times, dtype, backend):
        """mean and 1 / spread, repeated for every pixel of an image: NumPy is quick along long rows. (2, features)"""
        spread = np.where(self.spread == 0, 1, self.spread)
        return xp.asarray(np.tile([self.mean, 1 / spread], times), dtype=dtype)


def count_values(pixels):
    """How often each of the 256 values occurs in each channel of (..., C) bytes: (C, 256)."""
    return np.stack([np.bincount(pixels[..., channel].ravel(), minlength=256) for channel in range(pixels.shape[-1])])


def scale_to_unit(x):
    """Bytes 0 to 255 -> numbers 0 to 1, in the backend's precision."""
    scaled = xp.asarray(x).astype(float_type())
    scaled /= 255
    return scaled
