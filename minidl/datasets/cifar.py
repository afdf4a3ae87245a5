"""CIFAR-10 and CIFAR-100, binary version: colour photographs of 32x32.

A file is a row of records; each is one or two label bytes, then 1024 red, 1024 green and 1024 blue bytes, row by row.
Krizhevsky 2009, "Learning multiple layers of features from tiny images".
"""

import gzip
import tarfile
from typing import NamedTuple

import numpy as np

from minidl.datasets.download import RemoteFile, fetch, is_right
from minidl.errors import DataError
from minidl.text import words_of

PIXELS = 3 * 32 * 32
CURE = "It is damaged, incomplete or of another version: delete it and run this again, or fetch a fresh copy."
BESIDES = 1 << 24  # bytes: what the archives hold besides the wanted files is a thousand times smaller
MIRRORS = ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/")


class Release(NamedTuple):
    """How one of the two sets was published."""

    archive: RemoteFile
    folder: str  # inside the archive
    train: tuple  # file names
    test: tuple
    records: int  # in each training file
    test_records: int
    label_bytes: int  # the last of them is the class
    classes: list

    def sizes(self):
        """{file name: its size in bytes}."""
        record = self.label_bytes + PIXELS
        return dict.fromkeys(self.train, self.records * record) | dict.fromkeys(self.test, self.test_records * record)

    def there(self, folder):
        """Whether the folder has the archive or all unpacked files."""
        return (folder / self.archive.name).is_file() or any(
            all((place / name).is_file() for name in self.sizes()) for place in (folder / self.folder, folder))

    def load(self, folder):
        """From the unpacked files, else from the archive, else from the archive after a download."""
        source, files = unpacked(folder, self)
        if files is None:
            source = folder / self.archive.name
            if not source.is_file():
                source = fetch(self.archive, folder)
            files = unpack(source, self)
        for name in files:
            files[name] = files[name].reshape(-1, self.label_bytes + PIXELS)  # one record in each row
            labels, pixels = files[name][:, self.label_bytes - 1], files[name][:, self.label_bytes:]
            if are_equal(pixels):
                raise DataError(f"{name} in {source}: all pixels are {pixels[0, 0]}. {CURE}")
            if labels.max() >= len(self.classes):
                raise DataError(f"{name} in {source}: label {labels.max()} in record {labels.argmax():,}; expected 0 "
                                f"to {len(self.classes) - 1}. {CURE}")
        x_train, y_train = decode([files[name] for name in self.train], self)
        x_test, y_test = decode([files[name] for name in self.test], self)
        return x_train, y_train, x_test, y_test, self.classes

    def downloads(self, folder):
        """{path: RemoteFile} of what is downloaded into the folder."""
        return {folder / self.archive.name: self.archive}

    def findings(self, folder):
        """What `minidl data verify` finds: (path, right, words) of every file that is there. Unpacked files are
        compared with those in the archive, where that is there and right: no published checksums of them are known."""
        archive, found, official = folder / self.archive.name, [], {}
        if archive.is_file():
            right = is_right(archive, self.archive)
            found.append((archive, right, "SHA-256 as published" if right else f"wrong SHA-256. {CURE}"))
            official = unpack(archive, self) if right else {}
        try:
            place, files = unpacked(folder, self)
        except DataError as problem:
            return [*found, (folder, False, str(problem))]
        for name, content in (files or {}).items():
            if name in official:
                right = np.array_equal(content, official[name])
                words = f"{'equals' if right else 'differs from'} the one in {archive.name}"
            else:
                right, words = self.plausible(content)
            found.append((place / name, right, words))
        return found

    def plausible(self, content):
        """Whether the bytes of an unpacked file can be right: False where they cannot, None where nobody knows."""
        records = content.reshape(-1, self.label_bytes + PIXELS)
        labels, pixels = records[:, self.label_bytes - 1], records[:, self.label_bytes:]
        if labels.max() >= len(self.classes) or are_equal(pixels):
            return False, f"labels up to {labels.max()}, pixels from {pixels.min()} to {pixels.max()}. {CURE}"
        return None, f"its size fits and its labels are possible; only {self.archive.name} has a published SHA-256"


def remote(name, size, sha256):
    return RemoteFile(name, size, sha256, tuple(mirror + name for mirror in MIRRORS))


# 60,000 photographs of ten kinds of animals and vehicles
CIFAR10 = Release(
    archive=remote("cifar-10-binary.tar.gz", 170052171,
                   "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
    folder="cifar-10-batches-bin",
    train=tuple(f"data_batch_{k}.bin" for k in range(1, 6)), test=("test_batch.bin",),
    records=10000, test_records=10000, label_bytes=1,
    classes=["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"])

# 60,000 photographs of a hundred kinds of things, 600 of each
CIFAR100 = Release(
    archive=remote("cifar-100-binary.tar.gz", 168513733,
                   "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"),
    folder="cifar-100-binary",
    train=("train.bin",), test=("test.bin",),
    records=50000, test_records=10000, label_bytes=2,  # one of 20 coarse classes, then one of 100 fine ones
    classes=[
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
        "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee",
        "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant",
        "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower",
        "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom",
        "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate",
        "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark",
        "shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower",
        "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor", "train", "trout", "tulip",
        "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm"])


def unpacked(folder, release):
    """The folder of the unpacked files and {name: bytes}; files is None where there is none of them."""
    for place in (folder / release.folder, folder):
        paths = {name: place / name for name in release.sizes()}
        missing = [name for name, path in paths.items() if not path.is_file()]
        if len(missing) == len(paths):
            continue
        if missing:
            raise DataError(f"{place} lacks {', '.join(missing)}. Copy the missing files there from "
                            f"{release.archive.name}, or delete the others to have it downloaded.")
        for name, path in paths.items():
            expect_size(path, path.stat().st_size, release.sizes()[name])
        files = {name: np.fromfile(path, np.uint8) for name, path in paths.items()}
        for name, path in paths.items():  # again: somebody may have been copying
            expect_size(path, len(files[name]), release.sizes()[name])
        return place, files
    return folder, None


def unpack(archive, release):
    """{name: bytes} of the wanted files. They are read into memory: what else an archive may hold touches no disk."""
    sizes, files = release.sizes(), {}
    try:
        with gzip.open(archive) as packed:
            stream = Bounded(packed, sum(sizes.values()) + BESIDES, archive)
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for member in tar:
                    folder, _, name = member.name.removeprefix("./").rpartition("/")
                    if folder == release.folder and name in sizes and member.isfile():
                        if name in files:
                            raise DataError(f"{archive} holds {name} twice. {CURE}")
                        expect_size(f"{name} in {archive}", member.size, sizes[name])
                        files[name] = np.frombuffer(tar.extractfile(member).read(), np.uint8)
                        expect_size(f"{name} in {archive}", len(files[name]), sizes[name])
            while stream.read(1 << 20):  # to the very end, where gzip keeps its checksum
                pass
    except (DataError, PermissionError):
        raise
    except Exception as problem:  # gzip, zlib and tarfile have a dozen kinds for what may be damaged
        raise DataError(f"{archive} cannot be unpacked ({words_of(problem)}). {CURE}") from problem
    missing = [name for name in sizes if name not in files]
    if missing:
        raise DataError(f"{archive} lacks {', '.join(missing)}. Expected is the binary version, "
                        f"{release.archive.name}. {CURE}")
    return files


class Bounded:
    """A stream of at most `limit` bytes: a small archive may unpack to more than a computer has."""

    def __init__(self, stream, limit, name):
        self.stream, self.left, self.name = stream, limit, name

    def read(self, size):
        block = self.stream.read(size)
        self.left -= len(block)
        if self.left < 0:
            raise DataError(f"{self.name} unpacks to far more than the official archive does. {CURE}")
        return block


def are_equal(pixels):
    """Whether all have one value, as a download leaves them that reserved its room and was cut."""
    return np.ptp(pixels[0]) == 0 and np.ptp(pixels) == 0


def expect_size(path, found, expected):
    if found != expected:
        raise DataError(f"{path} has {found:,} bytes, expected {expected:,}. {CURE}")


def decode(files, release):
    """Records -> images (N, 32, 32, 3) uint8, labels (N,) int64."""
    y = np.concatenate([records[:, release.label_bytes - 1] for records in files]).astype(np.int64)
    x = np.empty((len(y), 32, 32, 3), np.uint8)
    start = 0
    for records in files:  # one file after the other: no second copy of the whole set
        planes = records[:, release.label_bytes:].reshape(-1, 3, 32, 32)
        x[start:start + len(planes)] = planes.transpose(0, 2, 3, 1)
        start += len(planes)
    return x, y
