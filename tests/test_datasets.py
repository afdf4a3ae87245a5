"""Data sets: what is drawn, what is read, what is downloaded, and what is said when that cannot work."""

import gzip
import hashlib
import io
import subprocess
import sys
import tarfile
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from hostile.answers import sends
from hostile.server import serving

import minidl
from minidl import datasets
from minidl.datasets import Standardize, idx, load, scale_to_unit, shapes10
from minidl.errors import DataError, ShapeError


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("MINIDL_DATA", "MINIDL_OFFLINE", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def error_text(call, *arguments, **named):
    with pytest.raises(DataError) as caught:
        call(*arguments, **named)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------------- load, names


def test_unknown_name_lists_the_known_ones_and_the_nearest():
    text = error_text(load, "cifar-11")
    assert "'cifar-11'" in text and "Did you mean 'cifar10'?" in text
    assert all(name in text for name in datasets.names())


@pytest.mark.parametrize("name", ["nope", None, "", 10, "imagenet"])
def test_a_name_that_is_far_from_all_others_gets_no_suggestion(name):
    text = error_text(load, name)
    assert text == f"unknown data set {name!r}; known are {', '.join(datasets.names())}."


def test_a_new_data_set_is_one_entry(tmp_path, monkeypatch):
    """An object with `load` and `there`, such as a module, and its name in SETS."""
    images, labels = np.zeros((3, 5, 7, 1), np.uint8), np.zeros(3, np.int64)
    kept = tmp_path / "dots.bin"
    dots = SimpleNamespace(load=lambda folder: (images, labels, images[:2], labels[:2], ("dot", "no dot")),
                           there=lambda folder: kept.is_file())
    monkeypatch.setitem(datasets.SETS, "dots", dots)
    assert datasets.names()[-1] == "dots"
    loaded = load("dots", tmp_path)
    assert loaded.classes == ["dot", "no dot"] and loaded.x_train is images and loaded.x_test.shape == (2, 5, 7, 1)
    assert "dots" not in datasets.there(tmp_path)
    kept.touch()
    assert "dots" in datasets.there(tmp_path)
    assert "Did you mean 'dots'?" in error_text(load, "Dots")


def test_a_folder_that_somebody_names_must_exist(tmp_path, monkeypatch):
    missing = tmp_path / "nowhere"
    assert f"{missing}, named by data_dir, is no folder" in error_text(load, "mnist", missing)
    monkeypatch.setenv("MINIDL_DATA", str(missing))
    text = error_text(load, "shapes10")
    assert "MINIDL_DATA" in text and f"mkdir -p {missing}" in text


def test_where_data_lies(tmp_path, monkeypatch):
    package = tmp_path / "checkout" / "minidl" / "datasets"
    package.mkdir(parents=True)
    monkeypatch.setattr(datasets, "__file__", str(package / "__init__.py"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert datasets.data_folder() == tmp_path / ".cache" / "minidl"
    (tmp_path / "checkout" / "setup.cfg").write_text("[metadata]\nname = minidl\n")
    assert datasets.data_folder() == (tmp_path / "checkout" / "datasets").resolve()
    monkeypatch.setenv("MINIDL_DATA", str(tmp_path))
    assert datasets.data_folder() == tmp_path
    assert datasets.data_folder(package) == package  # the argument comes first


def test_importing_stays_cheap():
    code = "import sys, minidl.datasets; print(*{'requests', 'matplotlib', 'cupy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


# ---------------------------------------------------------------------------------------------------------- shapes10


def test_shapes10_arrays():
    images, labels = shapes10.generate(300, seed=5)
    assert images.shape == (300, 32, 32, 3) and images.dtype == np.uint8 and images.flags.c_contiguous
    assert labels.shape == (300,) and labels.dtype == np.int64 and set(labels) == set(range(10))
    assert images.min() < 20 and images.max() > 235


def test_shapes10_is_a_pure_function():
    np.random.seed(0)
    first, labels = shapes10.generate(150, seed=3)
    np.random.seed(1)
    again, same = shapes10.generate(150, seed=3)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(labels, same)
    other, _ = shapes10.generate(150, seed=4)
    assert (first != other).mean() > 0.9


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_shapes10_does_not_depend_on_the_chunks(monkeypatch, chunk):
    expected, _ = shapes10.generate(150, seed=3)
    monkeypatch.setattr(shapes10, "CHUNK", chunk)
    np.testing.assert_array_equal(shapes10.generate(150, seed=3)[0], expected)


def test_shapes10_draws_the_same_bits_on_every_machine():
    """When this fails because the pictures were changed on purpose: raise shapes10.VERSION, and write the new sums."""
    images, labels = shapes10.generate(256, seed=0)
    assert (shapes10.VERSION, zlib.crc32(labels.astype("<i8")), zlib.crc32(images)) == (1, 3376424970, 1915444578)


@pytest.mark.parametrize("label", range(10))
def test_every_figure_lies_in_its_circle_and_covers_part_of_it(label):
    """Drawn large: nothing of it beyond a little more than its radius, and between a tenth and all of its disc."""
    u = np.linspace(-2, 2, 401, dtype=np.float32) * np.ones((401, 1), np.float32)
    distance = shapes10.FIGURES[label](u, u.T.copy())
    assert distance.dtype == np.float32
    inside = distance < 0
    assert np.hypot(u, u.T)[inside].max() < 1.25
    assert 0.2 < inside.mean() * 16 / np.pi < 1
    steepness = abs(np.diff(distance, axis=1)).max() / 0.01  # a distance never grows faster than one goes
    assert steepness < 1.02


def test_coverage_turns_and_places_the_figure():
    arrow = np.array([shapes10.CLASSES.index("arrow")])
    right = shapes10.coverage(arrow, np.array([[16, 16, 12, 1, 0]], np.float32))[0]
    down = shapes10.coverage(arrow, np.array([[16, 16, 12, 0, 1]], np.float32))[0]
    np.testing.assert_array_equal(down, right.T)
    assert right[16, 24] == 1 and right[16, 5] == 1 and right[16, 29] == 0 and right[8, 8] == 0
    moved = shapes10.coverage(arrow, np.array([[19, 14, 12, 1, 0]], np.float32))[0]
    np.testing.assert_array_equal(moved[2:20, 8:28], right[4:22, 5:25])


def test_collapsed_networks_can_be_told_apart_by_their_score():
    """Guessing one class scores that class's frequency; no two classes of the test set have the same one."""
    labels = np.random.Generator(np.random.PCG64(2)).integers(10, size=2000)  # as generate(2000, seed=2) begins
    np.testing.assert_array_equal(labels[:50], shapes10.generate(2000, seed=2)[1][:50])
    assert len(set(np.bincount(labels))) == 10


@pytest.fixture
def few_shapes(monkeypatch):
    """Let `load` draw a hundredth of the images, and count how often it draws."""
    calls, generate = [], shapes10.generate
    monkeypatch.setattr(shapes10, "generate",
                        lambda count, seed: (calls.append(count), generate(count // 100, seed))[1])
    return calls


def test_shapes10_is_kept(tmp_path, few_shapes):
    first = load("shapes10", tmp_path)
    assert few_shapes == [10_000, 2_000] and first.classes == shapes10.CLASSES
    again = load("shapes10", tmp_path)
    assert few_shapes == [10_000, 2_000]
    for a, b in zip(first[:4], again[:4], strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype and b.flags.c_contiguous and b.flags.writeable
    assert [path.name for path in (tmp_path / "shapes10").iterdir()] == [f"version{shapes10.VERSION}.npz"]


@pytest.mark.parametrize("damage", [b"", b"no archive", "half", "flipped"])
def test_a_damaged_cache_is_drawn_again(tmp_path, few_shapes, damage):
    first = load("shapes10", tmp_path)
    cache = tmp_path / "shapes10" / f"version{shapes10.VERSION}.npz"
    whole = cache.read_bytes()
    middle = len(whole) // 2
    damaged = {"half": whole[:middle], "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1:]}
    cache.write_bytes(damaged.get(damage, damage))
    np.testing.assert_array_equal(load("shapes10", tmp_path).x_train, first.x_train)
    assert len(few_shapes) == 4 and cache.read_bytes() == whole


def test_shapes10_needs_no_place_to_write(tmp_path, few_shapes):
    (tmp_path / "shapes10").write_text("a file where the folder should be")
    assert load("shapes10", tmp_path).x_test.shape == (20, 32, 32, 3)


# ----------------------------------------------------------------------------------------------------------- scaling


def test_standardize_gives_mean_0_and_spread_1():
    x = np.random.default_rng(0).integers(0, 256, (2500, 3, 5, 2), dtype=np.uint8)
    x[..., 1] //= 3
    before = x.copy()
    scale = Standardize(x)
    np.testing.assert_allclose(scale.mean, x.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(scale.spread, x.std(axis=(0, 1, 2)), rtol=1e-12)
    with minidl.precision("float64"):
        z = scale(x)
        np.testing.assert_allclose(z, (x - scale.mean) / scale.spread, rtol=1e-12, atol=1e-12)
        assert z.dtype == np.float64
    assert scale(x).dtype == np.float32 and scale(x).shape == x.shape
    np.testing.assert_array_equal(scale(x.reshape(2500, -1)), scale(x).reshape(2500, -1))
    np.testing.assert_array_equal(scale(x[7]), scale(x)[7])
    np.testing.assert_array_equal(x, before)
    assert scale(x[:0]).shape == (0, 3, 5, 2)


def test_standardize_a_channel_without_spread():
    x = np.full((4, 2, 3, 2), 9, np.uint8)
    x[:2, ..., 0] = 200
    z = Standardize(x)(x)
    assert (z[..., 1] == 0).all() and np.isfinite(z).all()


def test_standardize_refuses_what_it_cannot_mean():
    with pytest.raises(ShapeError, match="expected uint8 images .* came float64"):
        Standardize(np.zeros((4, 2, 3, 2)))
    with pytest.raises(ShapeError, match=r"came \(4, 2, 3, 1\), expected \(..., 4\)"):
        Standardize(np.zeros((4, 2, 3, 4), np.uint8))(np.zeros((4, 2, 3, 1), np.uint8))


def test_scale_to_unit():
    x = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    with minidl.precision("float64"):
        np.testing.assert_array_equal(scale_to_unit(x), x / 255)
    assert scale_to_unit(x).dtype == np.float32 and x.max() == 255


# --------------------------------------------------------------------------------------------------------- idx files

IMAGES = np.random.default_rng(1).integers(0, 256, (20, 5, 7), dtype=np.uint8)  # not square
LABELS = np.arange(20, dtype=np.uint8) % 10


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def write_mnist(folder, train=True, test=True, pack=gzip.compress, ending=".gz", dotted=False):
    """Official-looking files; the training images are the negatives of the test images."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {idx.TRAIN_IMAGES: 255 - IMAGES, idx.TRAIN_LABELS: LABELS[::-1]} if train else {}
    content |= {idx.TEST_IMAGES: IMAGES, idx.TEST_LABELS: LABELS} if test else {}
    for name, array in content.items():
        name = name.replace("-idx", ".idx") if dotted else name
        (folder / f"{name}{ending}").write_bytes(pack(idx_bytes(array)))


@pytest.mark.parametrize("name, place", [
    ("mnist", "mnist"), ("mnist", "."), ("mnist", "MNIST/raw"),
    ("fashion_mnist", "fashion-mnist"), ("fashion_mnist", "fashion_mnist"), ("fashion_mnist", "FashionMNIST/raw")])
@pytest.mark.parametrize("spelling", [
    {}, {"dotted": True}, {"pack": bytes, "ending": ""}, {"pack": bytes, "ending": "", "dotted": True}])
def test_idx_files_are_used_as_they_are(tmp_path, name, place, spelling):
    write_mnist(tmp_path / place, **spelling)
    x_train, y_train, x_test, y_test, classes = load(name, tmp_path)
    np.testing.assert_array_equal(x_test, IMAGES[..., None])
    np.testing.assert_array_equal(x_train, 255 - IMAGES[..., None])
    np.testing.assert_array_equal(y_train, LABELS[::-1])
    np.testing.assert_array_equal(y_test, LABELS)
    assert x_train.dtype == np.uint8 and x_train.flags.c_contiguous and x_train.flags.writeable
    assert y_train.dtype == np.int64 and len(classes) == 10


def test_clothes_are_not_taken_for_digits(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDL_OFFLINE", "1")
    write_mnist(tmp_path / "fashion-mnist")
    assert len(load("fashion_mnist", tmp_path / "fashion-mnist").x_test) == 20  # the folder itself
    assert "OFFLINE" in error_text(load, "mnist", tmp_path)
    assert "OFFLINE" in error_text(load, "mnist", tmp_path / "fashion-mnist")
    write_mnist(tmp_path)
    (tmp_path / "fashion-mnist").rename(tmp_path / "elsewhere")
    assert "OFFLINE" in error_text(load, "fashion_mnist", tmp_path)


def test_only_the_test_files_of_mnist(tmp_path, capsys):
    write_mnist(tmp_path / "mnist", train=False)
    named = load("mnist10k", tmp_path)
    assert capsys.readouterr() == ("", "")
    x_train, y_train, x_test, y_test, _ = load("mnist", tmp_path)
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "only the 10,000 test images" in err
    assert idx.MNIST.files[idx.TRAIN_IMAGES].urls[0] in err and str(tmp_path / "mnist") in err
    assert len(x_train) == 16 and len(x_test) == 4
    np.testing.assert_array_equal(named.x_train, x_train)
    images = np.concatenate([x_train, x_test])[..., 0]
    labels = np.concatenate([y_train, y_test])
    order = [int(np.flatnonzero((image == IMAGES).all(axis=(1, 2)))[0]) for image in images]
    assert sorted(order) == list(range(20)) and order != list(range(20))  # every image once, shuffled
    np.testing.assert_array_equal(labels, LABELS[order])


def test_the_package_contains_mnist10k(tmp_path, monkeypatch, capsys):
    """The official bytes, without a network and without a file in the folder; split as ever."""
    monkeypatch.setenv("MINIDL_OFFLINE", "1")
    loaded = load("mnist10k", tmp_path)
    assert [a.shape for a in loaded[:4]] == [(8000, 28, 28, 1), (8000,), (2000, 28, 28, 1), (2000,)]
    assert [zlib.crc32(a.astype(a.dtype.newbyteorder("<"))) for a in loaded[:4]] == [3472170815, 3028470140, 100492914,
                                                                                    1702984962]
    assert loaded.x_train.dtype == np.uint8 and loaded.y_train.dtype == np.int64 and loaded.x_train.flags.writeable
    assert loaded.classes == [str(digit) for digit in range(10)]
    assert capsys.readouterr() == ("", "") and list(tmp_path.iterdir()) == []
    assert "mnist10k" in datasets.there(tmp_path) and "mnist" not in datasets.there(tmp_path)
    assert "OFFLINE" in error_text(load, "mnist", tmp_path)  # whose test images are not taken from the package
    for name, remote in idx.MNIST10K.files.items():
        content = (idx.PACKAGE / "mnist" / f"{name}.gz").read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (remote.size, remote.sha256), name


@pytest.mark.parametrize("missing", [idx.TEST_IMAGES, idx.TEST_LABELS])
def test_one_of_the_two_files_is_not_mixed_with_the_package(tmp_path, missing):
    write_mnist(tmp_path / "mnist", train=False)
    (tmp_path / "mnist" / f"{missing}.gz").unlink()
    assert len(load("mnist10k", tmp_path).x_train) == 8000


def test_the_digits_come_with_their_licence_and_authors():
    folder = idx.PACKAGE / "mnist"
    licence = (folder / "LICENSE-CC-BY-SA-3.0.txt").read_text(encoding="utf-8")
    assert "Attribution-ShareAlike 3.0 Unported" in licence and "Creative Commons may be contacted at" in licence
    attribution = (folder / "README.md").read_text(encoding="utf-8")
    for part in ("Yann LeCun and Corinna Cortes", "NIST", "https://creativecommons.org/licenses/by-sa/3.0/",
                 *(remote.sha256 for remote in idx.MNIST10K.files.values())):
        assert part in attribution, part


def test_all_of_mnist_says_nothing(tmp_path, capsys):
    write_mnist(tmp_path / "mnist")
    load("mnist", tmp_path)
    assert capsys.readouterr() == ("", "")


WRONG_IDX = {
    "another kind of file": (lambda b: b"<html>" + b, "begins with 3c 68 74 6d, expected 00 00 08 03"),
    "labels instead": (lambda b: idx_bytes(LABELS), "begins with 00 00 08 01, expected 00 00 08 03"),
    "empty": (lambda b: b"", "it begins with , expected"),
    "header only in part": (lambda b: b[:9], "holds 9 bytes"),
    "truncated": (lambda b: b[:-1], "holds 715 bytes; its header promises 716 (20 x 5 x 7)"),
    "too long": (lambda b: b + b"x", "holds 717 bytes; its header promises 716"),
    "other count": (lambda b: idx_bytes(IMAGES[:19]), "holds 19 images"),
}


@pytest.mark.parametrize("what", WRONG_IDX)
def test_wrong_idx_file(tmp_path, what):
    change, expected = WRONG_IDX[what]
    write_mnist(tmp_path / "mnist", pack=bytes, ending="")
    path = tmp_path / "mnist" / idx.TEST_IMAGES
    path.write_bytes(change(path.read_bytes()))
    text = error_text(load, "mnist", tmp_path)
    assert str(path) in text and expected in text and "run this again" in text


@pytest.mark.parametrize("change", [lambda b: b[:-9], lambda b: b[:60] + b"????" + b[64:], lambda b: b"no gzip" + b])
def test_damaged_gzip_file(tmp_path, change):
    write_mnist(tmp_path / "mnist")
    path = tmp_path / "mnist" / f"{idx.TEST_IMAGES}.gz"
    path.write_bytes(change(path.read_bytes()))
    text = error_text(load, "mnist", tmp_path)
    assert f"{path} cannot be unpacked" in text and "fetch a fresh copy" in text


def test_label_outside_the_classes_in_an_idx_file(tmp_path):
    write_mnist(tmp_path / "mnist", pack=bytes, ending="")
    labels = LABELS.copy()
    labels[13] = 77
    (tmp_path / "mnist" / idx.TEST_LABELS).write_bytes(idx_bytes(labels))
    text = error_text(load, "mnist", tmp_path)
    assert f"{idx.TEST_LABELS}: label 77 at place 13; expected 0 to 9" in text


# ------------------------------------------------------------------------------------------------------- CIFAR files


@pytest.fixture(params=["cifar10", "cifar100"])
def small_cifar(request, monkeypatch):
    """The release with 3 records in each training file and 2 in each test file; and the bytes of its files."""
    release = datasets.SETS[request.param]._replace(records=3, test_records=2)
    monkeypatch.setitem(datasets.SETS, request.param, release)
    monkeypatch.setenv("MINIDL_OFFLINE", "1")
    random = np.random.default_rng(2)
    files = {}
    for name, size in release.sizes().items():
        records = random.integers(0, 256, (size // (release.label_bytes + 3072), release.label_bytes + 3072))
        records[:, :release.label_bytes] = random.integers(0, 10, (len(records), release.label_bytes))
        files[name] = records.astype(np.uint8).tobytes()
    return request.param, release, files


def write_files(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def write_archive(path, release, files, extra=()):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in [*extra, *((f"{release.folder}/{name}", content) for name, content in files.items())]:
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
            else:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def assert_cifar(loaded, release, files):
    x_train, y_train, x_test, y_test, classes = loaded
    first, n = release.label_bytes, 3 * len(release.train)
    assert x_train.shape == (n, 32, 32, 3) and x_test.shape == (2, 32, 32, 3) and len(classes) == len(release.classes)
    assert x_train.dtype == np.uint8 and y_train.dtype == np.int64 and x_train.flags.c_contiguous
    content = b"".join(files[name] for name in release.train)
    for image in range(n):
        record = content[image * (first + 3072):(image + 1) * (first + 3072)]
        assert y_train[image] == record[first - 1]
        for row, column, colour in [(0, 0, 0), (0, 31, 1), (31, 0, 2), (5, 9, 1)]:
            assert x_train[image, row, column, colour] == record[first + 1024 * colour + 32 * row + column]
    assert y_test[1] == files[release.test[0]][first + 3072 + first - 1]


@pytest.mark.parametrize("place", ["folder", "itself", "archive"])
def test_cifar_from_official_files(tmp_path, small_cifar, place):
    name, release, files = small_cifar
    if place == "archive":
        write_archive(tmp_path / release.archive.name, release, files, extra=[("readme.html", b"<html>")])
    else:
        write_files(tmp_path / release.folder if place == "folder" else tmp_path, files)
    before = sorted(tmp_path.rglob("*"))
    assert_cifar(load(name, tmp_path), release, files)
    assert sorted(tmp_path.rglob("*")) == before


def test_cifar_file_missing(tmp_path, small_cifar):
    name, release, files = small_cifar
    last = release.test[0]
    write_files(tmp_path / release.folder, {key: value for key, value in files.items() if key != last})
    assert f"{tmp_path / release.folder} lacks {last}" in error_text(load, name, tmp_path)


def test_cifar_file_truncated_at_a_record(tmp_path, small_cifar):
    name, release, files = small_cifar
    record = release.label_bytes + 3072
    files[release.train[0]] = files[release.train[0]][:-record]
    write_files(tmp_path / release.folder, files)
    text = error_text(load, name, tmp_path)
    assert f"{tmp_path / release.folder / release.train[0]} has {2 * record:,} bytes, expected {3 * record:,}" in text


def test_cifar_file_truncated_in_the_archive(tmp_path, small_cifar):
    name, release, files = small_cifar
    record = release.label_bytes + 3072
    files[release.train[0]] = files[release.train[0]][:-record]
    archive = tmp_path / release.archive.name
    write_archive(archive, release, files)
    text = error_text(load, name, tmp_path)
    assert f"{release.train[0]} in {archive} has {2 * record:,} bytes, expected {3 * record:,}" in text


def test_cifar_label_outside_the_classes(tmp_path, small_cifar):
    name, release, files = small_cifar
    content = bytearray(files[release.test[0]])
    content[release.label_bytes + 3072 + release.label_bytes - 1] = 100
    files[release.test[0]] = bytes(content)
    write_files(tmp_path / release.folder, files)
    text = error_text(load, name, tmp_path)
    assert f"{release.test[0]} in {tmp_path / release.folder}: label 100 in record 1; expected 0 to" in text


def test_an_archive_with_tricks_writes_nothing(tmp_path, small_cifar):
    name, release, files = small_cifar
    data = tmp_path / "data"
    data.mkdir()
    link = tarfile.TarInfo(f"{release.folder}/{release.train[0]}")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    tricks = [("../escaped.bin", b"x"), (str(tmp_path / "absolute.bin"), b"x"), ("link", link)]
    write_archive(data / release.archive.name, release, files, extra=tricks)
    assert_cifar(load(name, data), release, files)
    assert [path.name for path in tmp_path.rglob("*")] == ["data", release.archive.name]
    del files[release.train[0]]  # only the link bears that name now
    write_archive(data / release.archive.name, release, files, extra=tricks)
    assert f"lacks {release.train[0]}. Expected is the binary version" in error_text(load, name, data)


@pytest.mark.parametrize("change", [
    lambda b: b[:len(b) // 2], lambda b: b[:-8] + b"????" + b[-4:], lambda b: b"<html>a login page", lambda b: b""])
def test_damaged_archive(tmp_path, small_cifar, change):
    name, release, files = small_cifar
    path = tmp_path / release.archive.name
    write_archive(path, release, files)
    path.write_bytes(change(path.read_bytes()))
    text = error_text(load, name, tmp_path)
    assert str(path) in text and "fetch a fresh copy" in text


# ---------------------------------------------------------------------------------------------------------- download
# How a file is fetched is in test_fetching.py.


@pytest.fixture
def server():
    with serving() as running:
        yield running


def test_load_downloads_only_what_is_missing(server, tmp_path, monkeypatch):
    source = tmp_path / "source"
    write_mnist(source)
    published = {}
    for name in idx.MNIST.files:
        content = (source / f"{name}.gz").read_bytes()
        published[name] = server.remote(sends(content), content=content, name=f"{name}.gz")
    monkeypatch.setitem(datasets.SETS, "mnist", idx.MNIST._replace(files=published))
    data = tmp_path / "data"
    write_mnist(data / "mnist", test=False)
    assert len(load("mnist", data).x_test) == 20
    assert [path for path, _ in server.asked] == [f"/0/{idx.TEST_IMAGES}.gz", f"/0/{idx.TEST_LABELS}.gz"]
    (data / "mnist" / f"{idx.TEST_IMAGES}.gz").unlink()
    (data / "mnist" / f"{idx.TRAIN_IMAGES}.gz").unlink()
    server.asked.clear()
    assert len(load("mnist", data).x_train) == 20
    assert [path for path, _ in server.asked] == [f"/0/{idx.TRAIN_IMAGES}.gz", f"/0/{idx.TEST_IMAGES}.gz"]
    monkeypatch.setenv("MINIDL_OFFLINE", "1")
    assert len(load("mnist", data).x_train) == 20


def test_cifar_is_downloaded_as_an_archive(server, tmp_path, small_cifar, monkeypatch):
    name, release, files = small_cifar
    monkeypatch.delenv("MINIDL_OFFLINE")
    write_archive(tmp_path / "source.tar.gz", release, files)
    content = (tmp_path / "source.tar.gz").read_bytes()
    release = release._replace(archive=server.remote(sends(content), content=content, name=release.archive.name))
    monkeypatch.setitem(datasets.SETS, name, release)
    (tmp_path / "data").mkdir()
    assert_cifar(load(name, tmp_path / "data"), release, files)
    assert [path.name for path in (tmp_path / "data").iterdir()] == [release.archive.name]
