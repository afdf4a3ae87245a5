"""load("folder:PATH") and load("npz:PATH"): pictures of one's own."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from minidl.datasets import load
from minidl.errors import UserError

Image = pytest.importorskip("PIL.Image", reason="Pillow, the extra `pictures`, is not installed")
ROOT = Path(__file__).resolve().parents[1]


def error_text(*arguments, **named):
    with pytest.raises(UserError) as caught:
        load(*arguments, **named)
    return str(caught.value)


def save(path, picture, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(np.asarray(picture, np.uint8))
    picture.save(path, **options)


def plain(colour, size=(8, 8)):
    return Image.new("RGB", size, colour)


@pytest.fixture
def pets(tmp_path):
    """Ten pictures of each of two classes: picture k is of the colour (k, 0, 0) for cats, (0, k, 0) for dogs."""
    for number in range(10):
        save(tmp_path / "pets" / "cat" / f"{number}.png", plain((10 * number, 0, 0)))
        save(tmp_path / "pets" / "dog" / f"{number}.PNG", plain((0, 10 * number, 0), (5, 9)))
    return tmp_path / "pets"


def test_a_folder_for_each_class(pets, capsys):
    x_train, y_train, x_test, y_test, classes = load(f"folder:{pets}")
    assert classes == ["cat", "dog"] and capsys.readouterr() == ("", "")
    assert x_train.shape == (16, 32, 32, 3) and x_test.shape == (4, 32, 32, 3) and x_train.dtype == np.uint8
    assert y_train.dtype == np.int64
    assert np.bincount(y_test).tolist() == [2, 2] and np.bincount(y_train).tolist() == [8, 8]
    for images, labels in ((x_train, y_train), (x_test, y_test)):
        assert all(image[..., 1 - label].max() == 0 for image, label in zip(images, labels, strict=True))
    seen = sorted((int(image.max()), int(label)) for image, label in
                  zip(np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test]), strict=True))
    assert seen == sorted((10 * number, label) for number in range(10) for label in (0, 1))  # each once


def test_the_split_is_that_of_the_seed(pets):
    first, again, other = (load(f"folder:{pets}", seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.x_test, again.x_test)
    np.testing.assert_array_equal(first.y_train, again.y_train)
    assert (first.x_train != other.x_train).any()
    assert len(load(f"folder:{pets}", test=0.5).x_test) == 10
    assert len(load(f"folder:{pets}", test=0.001).x_test) == 2 and len(load(f"folder:{pets}", test=0.999).x_train) == 2


def test_a_path_without_its_kind(pets, monkeypatch):
    monkeypatch.chdir(pets.parent)
    np.savez("pets.npz", x=np.zeros(3))
    assert error_text("pets").endswith(". Your own pictures: load('folder:pets').")
    assert error_text("pets.npz").endswith(". Your own pictures: load('npz:pets.npz').")


@pytest.mark.parametrize(("name", "named", "shape"), [
    ("@6", {}, (6, 6)), ("@6x8", {}, (6, 8)), ("", {"size": (6, 8)}, (6, 8)), ("", {"size": 7}, (7, 7))])
def test_the_size(pets, name, named, shape):
    assert load(f"folder:{pets}{name}", **named).x_train.shape == (16, *shape, 3)


def test_an_at_in_the_path(pets):
    moved = pets.rename(pets.with_name("pets@home"))
    assert load(f"folder:{moved}").x_train.shape == (16, 32, 32, 3)
    assert load(f"folder:{moved}@6x4").x_train.shape == (16, 6, 4, 3)
    moved = moved.rename(moved.with_name("pets@16"))
    assert load(f"folder:{moved}", size=5).x_train.shape == (16, 5, 5, 3)


def first_of(tmp_path, picture, ending="png", size=8, **options):
    """The one picture of class 0, as load gives it."""
    save(tmp_path / "set" / "a" / f"a.{ending}", picture, **options)
    for number in range(2):
        save(tmp_path / "set" / "b" / f"{number}.png", plain("blue"))
    x_train, y_train, *_ = load(f"folder:{tmp_path / 'set'}", size=size)
    return x_train[y_train == 0][0]


def with_transparency(mode):
    picture = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    picture.paste((0, 255, 0, 0), (0, 0, 8, 4))  # the upper half: a green that nobody sees
    return picture.convert(mode)


DEEP = Image.fromarray(np.full((8, 8), 40_000, np.uint16))
SEEN = {
    "grey": (Image.new("L", (8, 8), 77), "png", (77, 77, 77)),
    "grey JPEG": (Image.new("L", (8, 8), 77), "jpg", (77, 77, 77)),
    "black and white": (Image.new("1", (8, 8), 1), "png", (255, 255, 255)),
    "grey of 16 bits": (DEEP, "png", (155, 155, 155)),
    "a palette": (plain((200, 30, 60)).convert("P", palette=Image.Palette.ADAPTIVE), "png", (200, 30, 60)),
    "CMYK": (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "jpeg", (255, 0, 0)),
    "transparent": (Image.new("RGBA", (8, 8), (0, 0, 0, 0)), "png", (255, 255, 255)),
    "half transparent": (Image.new("RGBA", (8, 8), (0, 0, 0, 128)), "png", (127, 127, 127)),
    "grey and transparent": (Image.new("LA", (8, 8), (9, 0)), "png", (255, 255, 255)),
}


@pytest.mark.parametrize("what", SEEN)
def test_kinds_of_pictures(tmp_path, what):
    picture, ending, colour = SEEN[what]
    pixels = first_of(tmp_path, picture, ending)
    assert pixels.shape == (8, 8, 3) and abs(pixels.astype(int) - colour).max() <= 3, pixels[0, 0]


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_what_is_transparent_becomes_white(tmp_path, mode):
    options = {"transparency": with_transparency("P").getpixel((0, 0))} if mode == "P" else {}
    pixels = first_of(tmp_path, with_transparency(mode), **options)
    assert (pixels[:3] == 255).all() and (pixels[5:] == (255, 0, 0)).all()


def test_a_photograph_is_upright_and_cut_around_its_middle(tmp_path):
    """Stored lying on its side, with the note that says so, as telephones do; 40 x 20, of which 20 x 20 stay."""
    picture = np.zeros((40, 20, 3), np.uint8)
    picture[10:20], picture[20:30] = (255, 0, 0), (0, 255, 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right to see it
    pixels = first_of(tmp_path, Image.fromarray(picture).rotate(90, expand=True), exif=exif, size=20)
    assert (pixels[:9] == (255, 0, 0)).all() and (pixels[11:] == (0, 255, 0)).all()


def test_a_large_photograph_is_averaged(tmp_path):
    """Fine stripes become grey; a method that picks single pixels would keep them."""
    stripes = np.zeros((512, 512), np.uint8)
    stripes[:, ::2] = 255
    for ending in ("png", "jpg"):
        assert abs(first_of(tmp_path / ending, Image.fromarray(stripes), ending).astype(int) - 127).max() < 4


def huge_png():
    """A PNG of 60,000 x 60,000 pixels, in 200 bytes."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))


def test_unreadable_files_are_listed_and_left_out(pets, capsys):
    cat = pets / "cat"
    (cat / "empty.png").touch()
    (cat / "text.jpg").write_text("no picture")
    (cat / "cut.png").write_bytes((cat / "1.png").read_bytes()[:45])
    (cat / "huge.png").write_bytes(huge_png())
    plain("red").save(cat / "gif.png", "gif")
    (cat / "broken-link.jpg").symlink_to(cat / "nowhere")
    (pets / "dog" / "folder.png").mkdir()
    for harmless in ("notes.txt", ".hidden.png", "Thumbs.db"):
        (cat / harmless).write_text("no picture")
    assert len(load(f"folder:{pets}").x_train) == 16
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert f"folder:{pets}: 7 of 27 pictures cannot be read and are left out: cat/broken-link.jpg (" in err
    assert "cat/cut.png (" in err and "cat/empty.png (cannot identify image file 'empty.png')" in err
    assert err.endswith("and 2 more\n")


@pytest.mark.parametrize(("change", "words"), [
    (lambda pets: [file.unlink() for file in (pets / "cat").iterdir()],
     "cat has no picture that can be read, PNG or JPEG."),
    (lambda pets: [file.write_bytes(b"x") for file in (pets / "cat").iterdir()],
     "cat has no picture that can be read, PNG or JPEG: cat/0.png (cannot identify"),
    (lambda pets: (pets / "dog").rename(pets / ".dog"), "expected at least two folders of pictures"),
    (lambda pets: pets.rename(pets.with_name("gone")), "is no folder"),
])
def test_folders_that_are_no_set(pets, change, words):
    change(pets)
    text = error_text(f"folder:{pets}")
    assert words in text and str(pets) in text


def test_a_set_of_single_pictures(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / name / "1.png", plain("red"))
    assert "no class has two pictures" in error_text(f"folder:{tmp_path}")


@pytest.mark.parametrize(("name", "named", "words"), [
    ("folder:{}", {"size": 0}, "size=0: expected an integer of at least 1"),
    ("folder:{}", {"size": (3, 4, 5)}, "expected an integer of at least 1, or a pair"),
    ("folder:{}", {"test": 1}, "test=1: expected a number in [0, 1)"), ("folder:{}", {"test": 0}, "test=0: expected"),
    ("folder:{}", {"seed": -1}, "seed=-1"), ("folder:{}", {"seed": 0.5}, "seed=0.5: expected an integer"),
    ("folder:{}@0", {}, "expected an integer of at least 1"),
    ("npz:{}", {"size": 8}, "takes no size"), ("shapes10", {"size": 8}, "load('shapes10') takes no size: that is for"),
    ("mnist", {"seed": 1, "test": .5}, "takes no seed, test"),
    ("folders:{}", {}, "unknown data set"), ("folder:", {}, "expected at least two folders")])
def test_wrong_arguments(pets, monkeypatch, name, named, words):
    monkeypatch.chdir(pets / "cat")
    assert words in error_text(name.format(pets), **named)


def test_without_pillow(pets, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    text = error_text(f"folder:{pets}")
    assert text == f"Pillow, which reads pictures, cannot be found. Run:  {sys.executable} -m pip install pillow"


def test_pillow_is_not_imported_by_minidl():
    code = "import sys, minidl.datasets, minidl.cli; print('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# ----------------------------------------------------------------------------------------------------------------- npz

X = np.random.default_rng(0).integers(0, 256, (20, 6, 5, 3), dtype=np.uint8)
Y = np.arange(20) % 4


def npz(folder, **arrays):
    np.savez(folder / "own.npz", **arrays)
    return f"npz:{folder / 'own.npz'}"


def test_npz_that_is_split(tmp_path):
    loaded = load(npz(tmp_path, x_train=X[:15], y_train=Y[:15].astype(np.uint8), x_test=X[15:], y_test=Y[15:],
                      classes=["a", "b", "c", "d"]))
    np.testing.assert_array_equal(loaded.x_train, X[:15])
    np.testing.assert_array_equal(loaded.y_test, Y[15:])
    assert loaded.y_train.dtype == np.int64 and loaded.classes == ["a", "b", "c", "d"]
    grey = load(npz(tmp_path, x_train=X[:15, ..., 0], y_train=Y[:15], x_test=X[15:, ..., 0], y_test=Y[15:]))
    assert grey.x_train.shape == (15, 6, 5, 1) and grey.classes == ["0", "1", "2", "3"]


def test_npz_that_is_split_by_a_seed(tmp_path):
    name = npz(tmp_path, x=X, y=Y)
    x_train, y_train, x_test, y_test, _ = load(name)
    assert np.bincount(y_test).tolist() == [1] * 4 and np.bincount(y_train).tolist() == [4] * 4
    for image, label in zip(np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test]), strict=True):
        place, = np.flatnonzero((image == X).all(axis=(1, 2, 3)))
        assert Y[place] == label
    assert (load(name, seed=1).x_test != x_test).any() and len(load(name, test=0.5).x_test) == 8


@pytest.mark.parametrize(("arrays", "words"), [
    ({"x": X}, "found x."), ({"a": X}, "found none of them."),
    ({"x_train": X, "y_train": Y}, "found x_train, y_train."),
    ({"x": X, "y": Y, "x_test": X, "y_test": Y}, "expected the arrays"),
    ({"x": X / 255, "y": Y}, "x: expected images (N, H, W, C) of uint8, came float64 (20, 6, 5, 3)"),
    ({"x": X.reshape(20, -1), "y": Y}, "came uint8 (20, 90)"), ({"x": X[:0], "y": Y[:0]}, "came uint8 (0, 6, 5, 3)"),
    ({"x": X, "y": Y[:9]}, "y: expected 20 integers, as many as x has images; came int64 (9,)"),
    ({"x": X, "y": Y[:, None]}, "came int64 (20, 1)"), ({"x": X, "y": Y / 1}, "came float64 (20,)"),
    ({"x": X, "y": Y - 1}, "labels from -1 to 2"), ({"x": X, "y": Y * 1_000_000}, "labels from 0 to 3000000"),
    ({"x": X, "y": Y, "classes": ["a", "b"]}, "label 3, but classes has 2 names"),
    ({"x": X, "y": Y, "classes": "abcd"}, "classes: expected a row of names"),
    ({"x_train": X, "y_train": Y, "x_test": X[:, :3], "y_test": Y}, "x_train (20, 6, 5, 3) and x_test (20, 3, 5, 3)"),
])
def test_npz_files_that_are_no_set(tmp_path, arrays, words):
    text = error_text(npz(tmp_path, **arrays))
    assert words in text and "npz:" in text


def test_no_npz_file(tmp_path):
    assert "there is no file" in error_text(f"npz:{tmp_path / 'none.npz'}")
    (tmp_path / "text.npz").write_text("text")
    assert "cannot be read as an .npz file (File is not a zip file)" in error_text(f"npz:{tmp_path / 'text.npz'}")


# ------------------------------------------------------------------------------------------------------------- lessons

@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_a_lesson_takes_them(tmp_path, kind):
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (240, 16, 16, 3), dtype=np.uint8), np.arange(240) % 3
    np.savez(tmp_path / "own.npz", x=x, y=y)
    for number, (image, label) in enumerate(zip(x, y, strict=True)):
        save(tmp_path / "own" / "abc"[label] / f"{number}.png", image)
    name = f"folder:{tmp_path / 'own'}@16" if kind == "folder" else f"npz:{tmp_path / 'own.npz'}"
    done = subprocess.run([sys.executable, ROOT / "lessons" / "02_vanishing_gradient.py", "--fast", "--data", name,
                           "--out", tmp_path / "out"], capture_output=True, text=True, check=False,
                          env=os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"})
    assert done.returncode == 0, done.stderr
    assert f"on {name}" in done.stdout
