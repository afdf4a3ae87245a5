"""`minidl data`: list, fetch, verify, where, clean."""

import gzip
import os
import shutil
import time
from types import SimpleNamespace

import numpy as np
import pytest
from hostile.answers import sends
from hostile.server import serving
from test_datasets import few_shapes, small_cifar, write_archive, write_files

from minidl import cli, datasets
from minidl.datasets import idx, lock

__all__ = ["few_shapes", "small_cifar"]  # fixtures


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("MINIDL_OFFLINE", "1")
    monkeypatch.delenv("MINIDL_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def data(tmp_path, capsys):
    """data("verify", "mnist") -> (status, stdout, stderr) of `minidl data verify mnist` in an empty folder."""
    def run(*words, folder=tmp_path):
        status = cli.main(["data", *words, "--data-dir", str(folder)])
        return status, *capsys.readouterr()
    return run


def test_list(data, tmp_path):
    status, out, err = data("list")
    assert (status, err) == (0, "")
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines()}
    assert rows["cifar10"] == "to download 170 MB" and rows["mnist"] == "to download 12 MB"
    assert rows["mnist10k"] == rows["shapes10"] == "always there" and rows["folder:"] == str(tmp_path)
    (tmp_path / "cifar-10-binary.tar.gz").touch()
    assert "cifar10 there 170 MB" in " ".join(data("list")[1].split())


def test_without_words_and_with_a_name_alone(data, tmp_path, few_shapes):
    assert data() == (0, f"data sets: {', '.join(datasets.names())}\nfolder: {tmp_path}\n", "")
    status, out, _ = data("shapes10")
    assert status == 0
    assert out.startswith("shapes10: 100 training and 20 test images of (32, 32, 3), 10 classes: circle, square,")
    assert data("fetch", "shapes10", "mnist10k")[1].startswith(out)


def test_fetch(data, tmp_path, monkeypatch, small_cifar):
    name, release, files = small_cifar
    assert "fetch which data set? One of shapes10" in data("fetch")[2]
    status, _, err = data("fetch", name)
    assert status == 2 and "MINIDL_OFFLINE" in err and err.startswith("minidl data: ")
    monkeypatch.delenv("MINIDL_OFFLINE")
    write_archive(tmp_path / "source.tar.gz", release, files)
    content = (tmp_path / "source.tar.gz").read_bytes()
    (tmp_path / "data").mkdir()
    with serving() as server:
        release = release._replace(archive=server.remote(sends(content), content=content, name=release.archive.name))
        monkeypatch.setitem(datasets.SETS, name, release)
        status, out, _ = data("fetch", name, folder=tmp_path / "data")
        assert status == 0 and f"{name}: {3 * len(release.train)} training and 2 test images" in out
        assert [path.name for path in (tmp_path / "data").iterdir()] == [release.archive.name]
        assert data("verify", name, folder=tmp_path / "data") == (
            0, f"right: {tmp_path / 'data' / release.archive.name}: SHA-256 as published\n", "")


def test_where(data, tmp_path, monkeypatch, capsys):
    assert data("where") == (0, f"{tmp_path}\n", "(named by --data-dir)\n")
    monkeypatch.setenv("MINIDL_DATA", str(tmp_path))
    assert cli.main(["data", "where"]) == 0
    assert capsys.readouterr() == (f"{tmp_path}\n", "(named by the environment variable MINIDL_DATA)\n")
    assert data("where", folder=tmp_path / "none")[0] == 2


def test_a_set_that_knows_nothing_of_files(data, tmp_path, monkeypatch):
    images, labels = np.zeros((3, 5, 7, 1), np.uint8), np.zeros(3, np.int64)
    dots = SimpleNamespace(load=lambda folder: (images, labels, images, labels, ["dot"]), there=lambda folder: True)
    monkeypatch.setitem(datasets.SETS, "dots", dots)
    assert "dots always there" in " ".join(data("list")[1].split())
    assert data("verify", "dots") == (1, f"dots: no file of it is in {tmp_path}. Run:  minidl data fetch dots\n", "")
    assert data("clean", "dots")[0] == 0 and data("fetch", "dots")[1].startswith("dots: 3 training and 3 test")


@pytest.mark.parametrize("words", [("list",), ("verify",), ("clean",)])
def test_a_folder_that_one_may_not_read(data, tmp_path, monkeypatch, words):
    def refuses(*arguments):
        raise PermissionError(13, "Permission denied", str(tmp_path / "mnist"))

    monkeypatch.setattr(idx.Release, "find", refuses)
    monkeypatch.setattr(idx.Release, "downloads", refuses)
    status, _, err = data(*words)
    assert (status, err) == (2, f"minidl data: {tmp_path / 'mnist'} cannot be read or deleted (Permission denied). Do "
                                f"you have the right to?\n")


# -------------------------------------------------------------------------------------------------------------- verify

def test_verify_what_the_package_has(data, tmp_path):
    status, out, _ = data("verify", "mnist10k")
    assert status == 0 and out.count("right: ") == 2 and out.count("SHA-256 as published") == 2
    assert data("verify", "mnist") == (
        1, f"mnist: no file of it is in {tmp_path}. Run:  minidl data fetch mnist\n", "")
    assert "Did you mean 'cifar10'?" in data("verify", "cifar11")[2]


@pytest.mark.parametrize("form", ["as published", "unpacked", "packed anew", "dotted"])
def test_verify_real_digits(data, tmp_path, form):
    folder = tmp_path / "mnist"
    folder.mkdir()
    for name in idx.MNIST10K.files:
        content = (idx.PACKAGE / "mnist" / f"{name}.gz").read_bytes()
        if form == "as published":
            (folder / f"{name}.gz").write_bytes(content)
        elif form == "packed anew":
            (folder / f"{name}.gz").write_bytes(gzip.compress(gzip.decompress(content), 1))
        else:
            spelling = name.replace("-idx", ".idx") if form == "dotted" else name
            (folder / spelling).write_bytes(gzip.decompress(content))
    status, out, _ = data("verify", "mnist")
    assert status == 0 and out.count("right: ") == 2, out
    assert out.count("SHA-256 of the unpacked file as published") == (0 if form == "as published" else 2)
    changed = sorted(folder.iterdir())[0]
    content = bytearray(gzip.decompress(changed.read_bytes()) if changed.suffix == ".gz" else changed.read_bytes())
    content[5000] ^= 1
    changed.write_bytes(gzip.compress(bytes(content), 1) if changed.suffix == ".gz" else content)
    status, out, _ = data("verify")
    assert status == 1 and f"WRONG: {changed}: readable, but not the official file (wrong SHA-256)" in out
    changed.write_bytes(b"x")
    assert f"WRONG: {changed}: {changed} " in data("verify")[1]


def test_verify_says_what_it_cannot(data, tmp_path, small_cifar):
    name, release, files = small_cifar
    folder = tmp_path / release.folder
    write_files(folder, files)
    status, out, _ = data("verify", name)
    assert status == 0 and out.count("cannot be verified: ") == len(files) and release.archive.name in out
    content = bytearray(files[release.test[0]])
    content[release.label_bytes - 1] = 255
    (folder / release.test[0]).write_bytes(content)
    status, out, _ = data("verify")
    assert status == 1 and f"WRONG: {folder / release.test[0]}: labels up to 255" in out
    (folder / release.test[0]).unlink()
    assert data("verify", name)[1].startswith(f"WRONG: {tmp_path}: {folder} lacks {release.test[0]}")
    clothes = tmp_path / "fashion-mnist"
    shutil.copytree(idx.PACKAGE / "mnist", clothes)  # digits in the place of clothes
    for path in clothes.glob("*.gz"):
        (clothes / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    assert data("verify", "fashion_mnist")[1].count("minidl knows the SHA-256 of the packed file alone") == 2


def test_verify_compares_unpacked_files_with_the_archive(data, tmp_path, small_cifar, monkeypatch):
    name, release, files = small_cifar
    write_archive(tmp_path / release.archive.name, release, files)
    content = (tmp_path / release.archive.name).read_bytes()
    with serving() as server:
        archive = server.remote(content=content, name=release.archive.name)
    monkeypatch.setitem(datasets.SETS, name, release._replace(archive=archive))
    write_files(tmp_path / release.folder, files)
    status, out, _ = data("verify", name)
    assert status == 0 and out.count(f"equals the one in {release.archive.name}") == len(files)
    flipped = bytearray(files[release.test[0]])
    flipped[100] ^= 1
    (tmp_path / release.folder / release.test[0]).write_bytes(flipped)
    status, out, _ = data("verify", name)
    assert status == 1
    assert f"WRONG: {tmp_path / release.folder / release.test[0]}: differs from the one in" in out
    (tmp_path / release.archive.name).write_bytes(content[:-1])
    assert f"WRONG: {tmp_path / release.archive.name}: wrong SHA-256" in data("verify", name)[1]


def test_verify_shapes10(data, tmp_path, few_shapes):
    data("fetch", "shapes10")
    cache = tmp_path / "shapes10" / "version1.npz"
    assert data("verify", "shapes10") == (0, f"right: {cache}: equals what is drawn now\n", "")
    with np.load(cache) as kept:
        arrays = dict(kept)
    arrays["x_train"][5, 6, 7, 2] ^= 1
    np.savez(cache, **arrays)
    status, out, _ = data("verify")
    assert status == 1 and f"WRONG: {cache}: differs from what is drawn now" in out


# --------------------------------------------------------------------------------------------------------------- clean

def test_clean(data, tmp_path, few_shapes):
    (tmp_path / "mnist").mkdir()
    old = time.time() - 2 * lock.STALE_SECONDS
    kept = ["cifar-10-binary.tar.gz", "mnist/train-images-idx3-ubyte.gz", "notes.part", "other.lock"]
    left = ["cifar-10-binary.tar.gz.part", "cifar-10-binary.tar.gz.0123.part", "cifar-10-binary.tar.gz.lock",
            "mnist/train-images-idx3-ubyte.gz.lock.0123abcd"]
    for name in kept + left:
        (tmp_path / name).write_bytes(b"12345")
        os.utime(tmp_path / name, (old, old))
    status, out, _ = data("clean")
    assert status == 0 and out.endswith("4 files deleted, 20 bytes\n")
    assert all(f"deleted: {tmp_path / name} (5 bytes)\n" in out for name in left)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
    assert data("clean", "cifar10", "mnist")[1].endswith("2 files deleted, 10 bytes\n")
    assert data("clean", "mnist10k")[1] == "0 files deleted, 0 bytes\n"
    data("fetch", "shapes10")
    assert data("clean", "shapes10")[1].startswith(f"deleted: {tmp_path / 'shapes10' / 'version1.npz'} (")
    assert data("clean", "shapes11")[0] == 2


def test_clean_leaves_a_download_alone(data, tmp_path):
    for name in ("cifar-10-binary.tar.gz.lock", "cifar-10-binary.tar.gz.0123.part"):
        (tmp_path / name).write_bytes(b"x")
    status, out, _ = data("clean", "cifar10")
    assert out == (f"left alone, because it is being downloaded: {tmp_path / 'cifar-10-binary.tar.gz'}\n"
                   f"0 files deleted, 0 bytes\n")
    assert status == 0 and len(list(tmp_path.iterdir())) == 2
