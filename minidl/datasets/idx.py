"""MNIST and Fashion-MNIST: grey images of 28x28 in idx files.

An idx file is a magic number, 00 00 08 k, where 08 means bytes and k is the number of axes; then the length of each
axis, as a big-endian 32-bit integer; then the bytes. LeCun, Cortes & Burges 1998, "The MNIST database".
"""

import gzip
import hashlib
import sys
import zlib
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minidl.datasets.download import RemoteFile, fetch, is_right
from minidl.errors import DataError
from minidl.text import words_of

CURE = "It is damaged, incomplete or another file: delete it and run this again, or fetch a fresh copy."
LARGEST = 1 << 28  # bytes: five times the largest of these files
PACKAGE = Path(__file__).parent  # its folder mnist/ has the two test files
TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


class Release(NamedTuple):
    """How one of the two sets was published, or a part of it."""

    subfolders: tuple  # the usual places of its files; a download goes into the first
    files: dict  # {name: RemoteFile}
    classes: list
    unpacked: dict = {}  # {name: SHA-256 of the unpacked file}

    def there(self, folder):
        """Whether the folder has all files."""
        return all(self.find(folder, name) for name in self.files)

    def load(self, folder):
        """Images and labels to train and to test, and the classes."""
        x_train, y_train = self.pair(folder, TRAIN_IMAGES, TRAIN_LABELS)
        x_test, y_test = self.pair(folder, TEST_IMAGES, TEST_LABELS)
        if x_train.shape[1:] != x_test.shape[1:]:
            raise DataError(f"{self.find(folder, TRAIN_IMAGES)} has images of {x_train.shape[1:3]}, "
                            f"{self.find(folder, TEST_IMAGES)} of {x_test.shape[1:3]}: they do not belong together. "
                            f"Delete both and run this again, or fetch fresh copies.")
        return x_train, y_train, x_test, y_test, self.classes

    def pair(self, folder, images, labels):
        """Images (N, H, W, 1) uint8 and labels (N,) int64 from two files, downloaded if they are not in the folder."""
        images, labels = (self.find(folder, name) or fetch(self.files[name], folder / self.subfolders[0])
                          for name in (images, labels))
        x, y = read_idx(images, axes=3), read_idx(labels, axes=1)
        if len(x) != len(y):
            raise DataError(f"{images} holds {len(x):,} images, {labels} {len(y):,} labels: they do not belong "
                            f"together. Delete both and run this again, or fetch fresh copies.")
        if len(y) and y.max() >= len(self.classes):
            raise DataError(f"{labels}: label {y.max()} at place {y.argmax():,}; expected 0 to "
                            f"{len(self.classes) - 1}. {CURE}")
        return x[..., None], y.astype(np.int64)

    def downloads(self, folder):
        """{path: RemoteFile} of what is downloaded into the folder."""
        return {folder / self.subfolders[0] / file.name: file for file in self.files.values()}

    def findings(self, folder):
        """What `minidl data verify` finds: (path, right, words) of every file that is there."""
        return [(path, *self.compare(path, name)) for name in self.files if (path := self.find(folder, name))]

    def compare(self, path, name):
        """Whether the official file of that name is right, None where nobody knows; and why."""
        published = self.files[name]
        if path.suffix == ".gz" and is_right(path, published):
            return True, "SHA-256 as published"
        try:
            array = read_idx(path, axes=3 if "images" in name else 1)
        except DataError as problem:
            return False, str(problem)
        if name not in self.unpacked:
            return None, "readable; minidl knows the SHA-256 of the packed file alone"
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        if hashlib.sha256(header + array.tobytes()).hexdigest() == self.unpacked[name]:
            return True, "SHA-256 of the unpacked file as published"
        return False, f"readable, but not the official file (wrong SHA-256). {CURE}"

    def find(self, folder, name):
        """The path of an official file, under any of its usual spellings and places, or None.

        Both sets call their files alike, so files in `folder` itself are MNIST's, unless its name says fashion.
        """
        places = [folder / place for place in self.subfolders]
        if folder.resolve().name.lower().startswith("fashion") == self.subfolders[0].startswith("fashion"):
            places.append(folder)
        for place in places:
            for spelling in (name, name.replace("-idx", ".idx")):
                for path in (place / spelling, place / f"{spelling}.gz"):
                    if path.is_file():
                        return path
        return None


class Digits(Release):
    """All 70,000 digits; or, where the folder has only the 10,000 test images, those, split as `mnist10k` does."""

    def load(self, folder):
        found = {name: self.find(folder, name) for name in self.files}
        if found[TEST_IMAGES] and found[TEST_LABELS] and not (found[TRAIN_IMAGES] or found[TRAIN_LABELS]):
            print(f"mnist: only the 10,000 test images are there, so 8,000 of them serve for training, 2,000 for "
                  f"testing. For all 70,000, save {self.files[TRAIN_IMAGES].urls[0]} and "
                  f"{self.files[TRAIN_LABELS].urls[0]} in {found[TEST_IMAGES].parent}.", file=sys.stderr)
            return MNIST10K.load(folder)
        return super().load(folder)


class Digits10k(Release):
    """The 10,000 test images of MNIST, 8,000 of them to train and 2,000 to test: a small set of real digits.

    The package contains the two files; those in the folder are preferred, where both are there. The split is shuffled,
    always in the same way: the second half of the file is harder than the first.
    """

    def there(self, folder):
        return True

    def downloads(self, folder):
        """Nothing: the package has both files, and those in the folder are MNIST's."""
        return {}

    def findings(self, folder):
        return super().findings(PACKAGE) + super().findings(folder)

    def load(self, folder):
        if super().there(PACKAGE) and not super().there(folder):
            folder = PACKAGE
        x, y = self.pair(folder, TEST_IMAGES, TEST_LABELS)
        order = np.random.Generator(np.random.PCG64(0)).permutation(len(x))
        train, test = np.split(order, [len(x) * 8 // 10])
        return x[train], y[train], x[test], y[test], self.classes


def published(mirrors, files):
    """{name: RemoteFile} of the compressed files that all mirrors offer."""
    return {name: RemoteFile(f"{name}.gz", size, sha256, tuple(f"{mirror}{name}.gz" for mirror in mirrors))
            for name, size, sha256 in files}


MNIST = Digits(("mnist", "MNIST/raw"), published(
    ["https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/"],
    [(TRAIN_IMAGES, 9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
     (TRAIN_LABELS, 28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
     (TEST_IMAGES, 1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
     (TEST_LABELS, 4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6")]),
    [str(digit) for digit in range(10)],
    # computed from the test files; several public lists agree on all four
    {TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
     TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
     TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
     TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"})

MNIST10K = Digits10k(MNIST.subfolders, {name: MNIST.files[name] for name in (TEST_IMAGES, TEST_LABELS)}, MNIST.classes,
                     MNIST.unpacked)

# 70,000 small pictures of clothes, in the format of MNIST and harder. Xiao, Rasul & Vollgraf 2017.
FASHION_MNIST = Release(("fashion-mnist", "fashion_mnist", "FashionMNIST/raw"), published(
    ["https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
     "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"],
    [(TRAIN_IMAGES, 26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
     (TRAIN_LABELS, 29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
     (TEST_IMAGES, 4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
     (TEST_LABELS, 5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5")]),
    ["T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"])


def read_idx(path, axes):
    """The array in an idx file of bytes with that many axes, packed by gzip or not."""
    path = Path(path)
    packed, start, magic = path.suffix == ".gz", 4 + 4 * axes, bytes([0, 0, 8, axes])
    try:
        with (gzip.open if packed else open)(path, "rb") as file:
            head = file.read(start)
            shape = tuple(np.frombuffer(head[4:].ljust(4 * axes, b"\0"), ">u4").tolist())
            promised = start + prod(shape)
            # one byte more than promised shows that there are more; a file that never ends is not read to its end
            content = head + file.read(promised - start + 1) if head[:4] == magic and promised < LARGEST else head
    except (EOFError, gzip.BadGzipFile, zlib.error) as problem:
        raise DataError(f"{path} cannot be unpacked ({words_of(problem)}). {CURE}") from problem
    if head[:4] != magic:
        raise DataError(f"{path} is no idx file of bytes with {axes} axes: it begins with {head[:4].hex(' ')}, "
                        f"expected {magic.hex(' ')}. {CURE}")
    if promised >= LARGEST:
        raise DataError(f"{path}: its header promises {promised:,} bytes, more than any such file has. {CURE}")
    if len(content) != promised:
        size = f"{len(content):,}{' or more' * (len(content) > promised)}" if packed else f"{path.stat().st_size:,}"
        raise DataError(f"{path} holds {size} bytes; its header promises {promised:,} "
                        f"({' x '.join(map(str, shape))}). {CURE}")
    if shape[0] == 0 or min(shape[1:], default=2) < 2:  # a picture of 784 x 1 is a row of numbers
        raise DataError(f"{path} holds {' x '.join(map(str, shape))} bytes: no pictures, no labels. {CURE}")
    array = np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()
    if array.size > 1 and np.ptp(array[0]) == 0 and np.ptp(array) == 0:
        raise DataError(f"{path}: all {array.size:,} bytes are {array.flat[0]}. {CURE}")
    return array
