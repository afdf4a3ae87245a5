"""What readers do with damaged and hostile files: the right arrays or one DataError, and nothing written."""

import contextlib
import gzip
import io
import random
import tarfile
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from test_datasets import IMAGES, LABELS, error_text, few_shapes, idx_bytes, small_cifar, write_archive, write_files

from minidl import datasets
from minidl.datasets import cifar, idx, load, shapes10
from minidl.datasets.npz import read_arrays
from minidl.errors import DataError, UserError

__all__ = ["few_shapes", "small_cifar"]  # fixtures


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("MINIDL_OFFLINE", "1")


# ------------------------------------------------------------------------------------------ certain to be damaged: idx

def mnist_files(folder, **changed):
    """The four files, unpacked; changed: {"x_train": bytes, ...}"""
    folder = folder / "mnist"
    folder.mkdir(exist_ok=True)
    content = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS}
    for (key, array), name in zip(content.items(), (idx.TRAIN_IMAGES, idx.TRAIN_LABELS, idx.TEST_IMAGES,
                                                    idx.TEST_LABELS), strict=True):
        (folder / name).write_bytes(changed.get(key, idx_bytes(array)))


@pytest.mark.parametrize(("changed", "words"), [
    ({"x_test": idx_bytes(IMAGES[:0]), "y_test": idx_bytes(LABELS[:0])}, "holds 0 x 5 x 7 bytes: no pictures"),
    ({"y_train": idx_bytes(LABELS[:0])}, "holds 0 bytes: no pictures, no labels"),
    ({"x_train": idx_bytes(np.ones((20, 784, 1), np.uint8))}, "holds 20 x 784 x 1 bytes: no pictures"),
    ({"x_train": idx_bytes(np.ones((20, 1, 784), np.uint8))}, "holds 20 x 1 x 784 bytes: no pictures"),
    ({"x_train": idx_bytes(np.ones((20, 0, 7), np.uint8))}, "holds 20 x 0 x 7 bytes: no pictures"),
    ({"x_train": idx_bytes(np.zeros((20, 5, 7), np.uint8))}, "all 700 bytes are 0"),
    ({"y_test": idx_bytes(np.full(20, 3, np.uint8))}, "all 20 bytes are 3"),
    ({"x_test": idx_bytes(IMAGES.transpose(0, 2, 1))}, "of (7, 5): they do not belong together"),
    ({"x_train": b"\0\0\x08\3" + b"\xff" * 12}, "promises 79,228,162,458,924,105,385,300,197,391 bytes, more"),
])
def test_idx_files_that_are_certain_to_be_damaged(tmp_path, changed, words):
    mnist_files(tmp_path, **changed)
    text = error_text(load, "mnist", tmp_path)
    assert words in text and str(tmp_path) in text


def test_a_bomb_in_an_idx_file_takes_no_memory(tmp_path):
    """50 MB of zeros in 50 kB; the header promises 20 images."""
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(idx_bytes(IMAGES) + bytes(50_000_000), 1))
    tracemalloc.start()
    assert "holds 717 or more bytes; its header promises 716" in error_text(idx.read_idx, path, axes=3)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


# ---------------------------------------------------------------------------------------- certain to be damaged: CIFAR

@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("place", ["folder", "archive"])
def test_cifar_files_of_one_value(tmp_path, small_cifar, value, place):
    """As a download leaves that reserved its room and was cut."""
    name, release, files = small_cifar
    last = release.test[0]
    records = np.frombuffer(files[last], np.uint8).reshape(-1, release.label_bytes + cifar.PIXELS).copy()
    records[:, release.label_bytes:] = value
    files[last] = records.tobytes()
    if place == "folder":
        write_files(tmp_path / release.folder, files)
    else:
        write_archive(tmp_path / release.archive.name, release, files)
    assert f"all pixels are {value}" in error_text(load, name, tmp_path)


def member(name, size=0, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info


def packed(*members):
    """A .tar.gz of (TarInfo, bytes) as they are, sizes that do not fit included."""
    content = b"".join(info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512) for info, data in members)
    return gzip.compress(content + bytes(1024), 1)


def hostile_archives(release, files):
    """{what: (bytes of the archive, words of the error, or None where the right arrays come)}"""
    whole = [(member(f"{release.folder}/{name}", len(content)), content) for name, content in files.items()]
    first, rest = whole[0], whole[1:]
    name = first[0].name
    inside = f"/{release.folder}/{release.train[0]}"
    return {
        "as published": (packed(*whole), None),
        "names with ./": (packed(*((member(f"./{info.name}", info.size), data) for info, data in whole)), None),
        "a file above the folder": (packed((member("../escaped", 1), b"x"), *whole), None),
        "a file of an absolute path": (packed((member("/tmp/minidl-escaped", 1), b"x"), *whole), None),
        "the wanted name above the folder": (packed((member(f"../..{inside}", 1), b"x"), *whole), None),
        "the wanted name in another folder": (packed((member(f"other{inside}", 1), b"x"), *whole), None),
        "a symlink of the wanted name": (packed((member(name, 0, tarfile.SYMTYPE, "/etc/passwd"), b""), *rest),
                                         "lacks"),
        "a hard link of the wanted name": (packed((member(name, 0, tarfile.LNKTYPE, "/etc/passwd"), b""), *rest),
                                           "lacks"),
        "a device of the wanted name": (packed((member(name, 0, tarfile.CHRTYPE), b""), *rest), "lacks"),
        "a pipe of the wanted name": (packed((member(name, 0, tarfile.FIFOTYPE), b""), *rest), "lacks"),
        "a folder of the wanted name": (packed((member(name, 0, tarfile.DIRTYPE), b""), *rest), "lacks"),
        "twice the same name": (packed(*whole, first), "twice"),
        "a link, then the file": (packed((member(name, 0, tarfile.SYMTYPE, "/etc/passwd"), b""), *whole), None),
        "a size too small": (packed((member(name, 7), first[1]), *rest), "has 7 bytes, expected"),
        "a size too large": (packed((member(name, 10 ** 9), first[1]), *rest), "has 1,000,000,000 bytes, expected"),
        "a gigantic size": (packed((member(name, 8 ** 20), first[1]), *rest), "bytes, expected"),
        "an empty file": (packed((member(name, 0), b""), *rest), "has 0 bytes, expected"),
        "one file missing": (packed(*rest), "lacks"),
        "nothing": (packed(), "lacks"),
        "cut in the middle": (packed(*whole)[:2000], "cannot be unpacked"),
        "cut behind the files": (packed(*whole)[:-4], "cannot be unpacked"),
        "no gzip": (b"<html>" * 999, "cannot be unpacked"),
        "gzip of no tar": (gzip.compress(b"x" * 99_999), "cannot be unpacked"),
        "gzip of nothing": (gzip.compress(b""), "cannot be unpacked"),
        "rubbish behind": (packed(*whole) + b"rubbish", "cannot be unpacked"),
        "a wrong checksum of gzip": (packed(*whole)[:-8] + bytes(8), "cannot be unpacked"),
        "a bomb in front": (packed((member("zeros", 25_000_000), bytes(25_000_000)), *whole), "unpacks to far more"),
        "a bomb behind": (packed(*whole) + gzip.compress(bytes(25_000_000), 1), "unpacks to far more"),
        "a bomb of a name": (packed((member("././@LongLink", 25_000_000, b"L"), b"a" * 25_000_000), *whole),
                             "unpacks to far more"),
        "a bomb of a header": (packed((member("pax", 25_000_000, tarfile.XHDTYPE), b"9 a=bcde\n" * 2_777_777)),
                               "unpacks to far more"),
    }


def test_hostile_archives(tmp_path, monkeypatch):
    """Thirty of them, on CIFAR-10 of few records: the right arrays or one clear error; nothing is written, ever."""
    release = datasets.SETS["cifar10"]._replace(records=3, test_records=2)
    monkeypatch.setitem(datasets.SETS, "cifar10", release)
    files = {name: random.Random(name).randbytes(size) for name, size in release.sizes().items()}
    for name, content in files.items():
        files[name] = b"".join(bytes([place % 10]) + content[place * 3073 + 1:(place + 1) * 3073]
                               for place in range(len(content) // 3073))
    folder = tmp_path / "data"
    folder.mkdir()
    table = hostile_archives(release, files)
    assert len(table) == 30
    for what, (content, words) in table.items():
        (folder / release.archive.name).write_bytes(content)
        try:
            loaded = load("cifar10", folder)
            assert words is None, f"{what}: taken"
            assert loaded.x_test[1, 5, 9, 2] == files["test_batch.bin"][3074 + 2048 + 5 * 32 + 9], what
        except DataError as error:
            assert words is not None and words in str(error), f"{what}: {error}"
            assert str(folder / release.archive.name) in str(error), what
        assert [path.name for path in tmp_path.rglob("*")] == ["data", release.archive.name], what


# ------------------------------------------------------------------------------------------------------------ shapes10

def rewritten(cache, **changed):
    with np.load(cache) as kept:
        arrays = dict(kept) | changed
    np.savez(cache, **{name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize("changed", [
    {"x_train": np.zeros((100, 32, 32), np.uint8)}, {"x_train": np.zeros((100, 32, 32, 3))},
    {"y_train": np.zeros(7, int)},
    {"x_test": None}, {"y_test": np.zeros((20, 1), int)}, {"y_test": np.full(20, 10)}, {"y_test": np.full(20, -1)},
    {"x_train": np.zeros((100, 32, 32, 3), np.uint8)}, {"x_test": np.zeros((0, 32, 32, 3), np.uint8),
                                                        "y_test": np.zeros(0, int)},
    {"x_train": np.array(5)}, {"y_train": np.array(["a"] * 100)}, {"y_train": np.zeros(100, np.float32)}])
def test_a_damaged_copy_of_shapes10_is_drawn_anew_and_that_is_said(tmp_path, few_shapes, capsys, changed):
    first = load("shapes10", tmp_path)
    cache = tmp_path / "shapes10" / f"version{shapes10.VERSION}.npz"
    whole = cache.read_bytes()
    rewritten(cache, **changed)
    again = load("shapes10", tmp_path)
    np.testing.assert_array_equal(again.x_train, first.x_train)
    np.testing.assert_array_equal(again.y_test, first.y_test)
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and str(cache) in err
    assert "drawn anew, because their copy is damaged" in err
    assert cache.read_bytes() == whole


def test_shapes10_collects_what_a_killed_process_left(tmp_path, few_shapes, monkeypatch):
    folder = tmp_path / "shapes10"
    folder.mkdir()
    (folder / "version1.npz.0123.part").write_bytes(b"half")
    load("shapes10", tmp_path)
    assert len(list(folder.iterdir())) == 2  # it may belong to a living process
    (folder / "version1.npz").unlink()
    monkeypatch.setattr(shapes10, "ORPHAN_SECONDS", -1)
    load("shapes10", tmp_path)
    assert [path.name for path in folder.iterdir()] == ["version1.npz"]


def test_a_bomb_in_an_npz_file(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(30_000_000))
    assert "says that its arrays have 30,000,000 bytes; at most 1,000 are" in error_text(read_arrays, path, ["x"], 1000)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 45,)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header.getvalue() + b"few")
    assert f"{path} cannot be read as an .npz file" in error_text(read_arrays, path, ["x"])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"no array")
    assert error_text(read_arrays, path, ["x"]) == f"{path}: x is no array."
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    assert "cannot be read as an .npz file (Object arrays cannot be loaded" in error_text(read_arrays, path, "x")


# ------------------------------------------------------------------------------------------------- places and rights

def test_a_user_without_a_home(tmp_path, monkeypatch):
    def no_home(*arguments):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MINIDL_DATA", raising=False)
    monkeypatch.setattr(datasets, "is_checkout", lambda folder: False)
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(datasets.os.path, "expanduser", lambda path: path)
        assert len(load("mnist10k").x_train) == 8000
        assert datasets.data_folder() == tmp_path / ".cache" / "minidl"
    monkeypatch.setattr(datasets.Path, "expanduser", no_home)
    assert "HOME is not set" in error_text(load, "mnist", "~/data")


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_files_that_one_may_not_read(tmp_path, monkeypatch, name):
    if name == "mnist":
        mnist_files(tmp_path)
    else:
        (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"x")

    def refuses(path, *arguments, **named):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(idx, "open", refuses, raising=False)
    monkeypatch.setattr(gzip, "open", refuses)
    text = error_text(load, name, tmp_path)
    assert "cannot be read" in text and "Permission denied" in text and str(tmp_path) in text and "\n" not in text


# ------------------------------------------------------------------------------------------------------------ fuzzing

def damaged(content, draw):
    """The bytes after one to four of: a bit flipped, bytes replaced, removed, repeated, inserted, cut off."""
    content = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        place, length = draw.randrange(len(content) + 1), draw.choice((1, 1, 4, 16, 512))
        if draw.random() < 0.5:
            place = min(place, draw.choice((16, 64, 600)))  # headers are in front
        kind = draw.randrange(6)
        if kind == 0 and place < len(content):
            content[place] ^= 1 << draw.randrange(8)
        elif kind == 1:
            content[place:place + length] = draw.choice((bytes(length), b"\xff" * length, draw.randbytes(length)))
        elif kind == 2:
            del content[place:place + length]
        elif kind == 3:
            content[place:place] = content[place:place + length]
        elif kind == 4:
            content[place:place] = draw.randbytes(length)
        else:
            del content[place:]
    return bytes(content)


def png_and_jpeg():
    from PIL import Image
    picture, files = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)), {}
    for kind in ("png", "jpeg"):
        file = io.BytesIO()
        picture.save(file, kind)
        files[kind] = file.getvalue()
    return files


def fuzzed_idx(folder, monkeypatch):
    content = {"images": idx_bytes(IMAGES), "images.gz": gzip.compress(idx_bytes(IMAGES))}

    def read(draw):
        name = draw.choice(sorted(content))
        (folder / name).write_bytes(damaged(content[name], draw))
        array = idx.read_idx(folder / name, axes=3)
        assert array.dtype == np.uint8 and array.ndim == 3 and array.size
    return read


def fuzzed_cifar(folder, monkeypatch):
    release = datasets.SETS["cifar10"]._replace(records=1, test_records=1)
    files = {name: random.Random(name).randbytes(size) for name, size in release.sizes().items()}
    files = {name: bytes([1]) + content[1:] for name, content in files.items()}
    write_archive(folder / "good.tar.gz", release, files)
    good = (folder / "good.tar.gz").read_bytes()
    unzipped = gzip.decompress(good)
    monkeypatch.setitem(datasets.SETS, "cifar10", release)

    def read(draw):  # in the packed file a checksum finds most of it, in the tar nothing does
        content = damaged(good, draw) if draw.random() < 0.3 else gzip.compress(damaged(unzipped, draw), 1)
        (folder / release.archive.name).write_bytes(content)
        loaded = load("cifar10", folder)
        assert loaded.x_train.shape == (5, 32, 32, 3) and loaded.y_train.max() < 10
    return read


def fuzzed_npz(folder, monkeypatch):
    np.savez(folder / "good.npz", x=IMAGES, y=LABELS.astype(np.int64))
    good = (folder / "good.npz").read_bytes()

    def read(draw):
        (folder / "x.npz").write_bytes(damaged(good, draw))
        loaded = load(f"npz:{folder / 'x.npz'}")
        assert loaded.x_train.ndim == 4 and loaded.x_train.dtype == np.uint8 and loaded.y_train.dtype == np.int64
    return read


def fuzzed_shapes10(folder, monkeypatch):
    generate = shapes10.generate
    monkeypatch.setattr(shapes10, "generate", lambda count, seed: generate(count // 500, seed))
    expected = load("shapes10", folder)
    cache = folder / "shapes10" / "version1.npz"
    good = cache.read_bytes()

    def read(draw):
        cache.write_bytes(damaged(good, draw))
        with contextlib.redirect_stderr(io.StringIO()):
            loaded = load("shapes10", folder)
        np.testing.assert_array_equal(loaded.y_train, expected.y_train)
        np.testing.assert_array_equal(loaded.x_test, expected.x_test)
    return read


def fuzzed_pictures(folder, monkeypatch):
    for place in ("cat", "dog"):
        (folder / "pets" / place).mkdir(parents=True)
        for name, content in png_and_jpeg().items():
            (folder / "pets" / place / f"good.{name}").write_bytes(content)
    good = png_and_jpeg()

    def read(draw):
        name = draw.choice(sorted(good))
        (folder / "pets" / "cat" / f"fuzzed.{name}").write_bytes(damaged(good[name], draw))
        with contextlib.redirect_stderr(io.StringIO()):
            loaded = load(f"folder:{folder / 'pets'}@8")
        assert loaded.x_train.shape[1:] == (8, 8, 3) and 4 <= len(loaded.x_train) + len(loaded.x_test) <= 6
    return read


READERS = {"idx": fuzzed_idx, "cifar": fuzzed_cifar, "npz": fuzzed_npz, "shapes10": fuzzed_shapes10,
           "pictures": fuzzed_pictures}


def fuzz(name, folder, monkeypatch, seconds, least):
    """Damaged files until the time is over, `least` of them at least: how many, and how many of them were taken."""
    folder = folder / "data"
    folder.mkdir()
    read, count, taken, end = READERS[name](folder, monkeypatch), 0, 0, time.monotonic() + seconds
    before = None
    while count < least or time.monotonic() < end:
        draw = random.Random(f"{name} {count}")
        try:
            read(draw)
            taken += 1
        except UserError as error:
            assert isinstance(error, DataError) and len(str(error)) < 3000, error
        except Exception as error:
            raise AssertionError(f"file {count} of {name}") from error
        count += 1
        paths = {str(path) for path in folder.parent.rglob("*") if "fuzzed" not in path.name}
        assert before is None or paths <= before | {str(folder / "images"), str(folder / "images.gz")}, count
        before = before or paths
    return count, taken


@pytest.mark.parametrize("name", READERS)
def test_damaged_files(name, tmp_path, monkeypatch):
    fuzz(name, tmp_path, monkeypatch, seconds=0.2, least=10)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_minute_of_damaged_files(name, tmp_path, monkeypatch):
    count, taken = fuzz(name, tmp_path, monkeypatch, seconds=60, least=500)
    print(f"{name}: {count:,} damaged files, {taken:,} of them taken")
