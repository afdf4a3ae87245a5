"""Your own pictures: a folder with one folder for each class, or an .npz file of arrays.

    load("folder:pets", size=(32, 32))      pets/cat/*.jpg, pets/dog/*.png ...: the folders' names are the classes
    load("folder:pets@64x48")               the size in the name, height x width: for `--data` of a lesson
    load("npz:pets.npz")                    x_train, y_train, x_test, y_test, or x and y; and classes, if you like

What is not split already is split by a seed: of each class, every picture has the same chance to be among those to
test with.
"""

import re
import shlex
import sys
import warnings
from pathlib import Path

import numpy as np

from minidl.arguments import in_range, pair
from minidl.datasets.npz import read_arrays
from minidl.errors import DataError, UserError
from minidl.text import words_of

ENDINGS = (".png", ".jpg", ".jpeg")
PAPER = (255, 255, 255)  # what one sees through a transparent picture
NAMED = 5  # so many unreadable files are named


def from_folder(path, size=None, test=0.2, seed=0):
    """x_train, y_train, x_test, y_test, classes from the PNG and JPEG files in the folders of `path`.

    size: (height, width), or one number for both; 32 unless given here or at the end of `path`. A picture is cut to
          these proportions around its middle and then scaled.
    test: the share of each class to test with    seed: of the split
    Every picture gets three colours: a grey one three equal ones, a transparent one on white paper. Files that cannot
    be read are left out, and named on stderr.
    """
    named = re.fullmatch(r"(.+)@([0-9]+)(?:x([0-9]+))?", path)
    if named and size is None:
        path, size = named[1], (int(named[2]), int(named[3] or named[2]))
    size, images, labels, unreadable = pair(32 if size is None else size, "size"), [], [], []
    places = class_folders(path)
    for label, place in enumerate(places):
        readable, problems = read_class(place, size)
        if not readable:
            raise DataError(f"folder:{path}: {place} has no picture that can be read, PNG or JPEG"
                            f"{': ' * bool(problems)}{first_few(problems)}.")
        images += readable
        labels += [label] * len(readable)
        unreadable += problems
    if unreadable:
        print(f"folder:{path}: {len(unreadable)} of {len(unreadable) + len(images)} pictures cannot be read and are "
              f"left out: {first_few(unreadable)}", file=sys.stderr)
    return (*split(np.stack(images), np.array(labels), test, seed), [place.name for place in places])


def class_folders(path):
    """The folders of the classes, by name. Hidden ones, and __MACOSX, are none."""
    top = Path(path).expanduser()
    if not top.is_dir():
        raise DataError(f"folder:{path}: {top} is no folder. Expected is one with a folder of pictures for each class.")
    places = sorted(place for place in top.iterdir() if place.is_dir() and not place.name.startswith((".", "__")))
    if len(places) < 2:
        raise DataError(f"folder:{path}: expected at least two folders of pictures in {top}, one for each class; "
                        f"found {len(places)}.")
    return places


def read_class(place, size):
    """The pictures in a folder, and in words those that cannot be read."""
    images, problems = [], []
    for file in sorted(place.iterdir()):
        if file.suffix.lower() in ENDINGS and not file.name.startswith("."):
            try:
                images.append(read_picture(file, size))
            except UnreadableError as problem:
                problems.append(f"{place.name}/{file.name} ({problem})")
    return images, problems


def first_few(problems):
    return "; ".join(problems[:NAMED]) + (f" and {len(problems) - NAMED} more" if len(problems) > NAMED else "")


class UnreadableError(Exception):
    """Why a picture cannot be read."""


def read_picture(path, size):
    """The pixels of a PNG or JPEG file, upright, cut and scaled to size = (height, width): (H, W, 3) uint8."""
    try:
        from PIL import Image, ImageOps
    except ImportError as reason:
        raise DataError(f"Pillow, which reads pictures, cannot be found. Run:  {shlex.quote(sys.executable)} -m pip "
                        f"install pillow") from reason
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                image.draft(None, (2 * max(size), 2 * max(size)))  # a large photograph need not be decoded in full
                image = with_three_colours(ImageOps.exif_transpose(image))
                return np.asarray(ImageOps.fit(image, (size[1], size[0]), Image.Resampling.BILINEAR))
    except Exception as problem:  # Pillow has a dozen kinds for what may be damaged
        raise UnreadableError(words_of(problem).replace(str(path), path.name)) from problem


def with_three_colours(image):
    """A Pillow picture of any mode as red, green and blue."""
    from PIL import Image
    if image.mode.startswith("I"):  # grey of 16 bits, which Pillow would cut off at 255
        image = Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) // 257).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, PAPER), image).convert("RGB")
    return image.convert("RGB")


def from_npz(path, test=0.2, seed=0):
    """x_train, y_train, x_test, y_test, classes from an .npz file: x (N, H, W, C) or (N, H, W) uint8, y (N,) integers
    from 0. It has either those four arrays, or x and y, which are split as those of `from_folder` are; `classes`, the
    names, may be there."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"npz:{path}: there is no file {file}.")
    arrays = read_arrays(file, ("x_train", "y_train", "x_test", "y_test", "x", "y", "classes"))
    known = ("x_train", "y_train"), ("x_test", "y_test"), ("x", "y")
    pairs = [names for names in known if arrays.keys() & set(names)]
    missing = {name for names in pairs for name in names} - arrays.keys()
    if missing or pairs not in (list(known[:2]), list(known[2:])):
        raise DataError(f"npz:{path}: expected the arrays x_train, y_train, x_test, y_test, or x and y; found "
                        f"{', '.join(sorted(arrays)) or 'none of them'}.")
    names = arrays.get("classes")
    if names is not None and (names.ndim != 1 or names.dtype.kind not in "USiu"):
        raise DataError(f"npz:{path}: classes: expected a row of names, came {names.dtype} {names.shape}.")
    checked = [part for x, y in pairs for part in images_and_labels(path, x, arrays[x], y, arrays[y])]
    largest = max(int(labels.max()) for labels in checked[1::2])
    classes = [str(number) for number in range(largest + 1)] if names is None else [
        name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names.tolist()]
    if largest >= len(classes):
        raise DataError(f"npz:{path}: label {largest}, but classes has {len(classes)} names; labels begin with 0.")
    if checked[0].shape[1:] != checked[-2].shape[1:]:
        raise DataError(f"npz:{path}: x_train {checked[0].shape} and x_test {checked[-2].shape} differ in more than "
                        f"the number of images.")
    return (*(checked if len(pairs) == 2 else split(*checked, test, seed)), classes)


def images_and_labels(path, name, x, of_labels, y):
    """Images (N, H, W, C) uint8 and labels (N,) int64 of one part of an .npz file, after their check."""
    if x.dtype != np.uint8 or x.ndim not in (3, 4) or 0 in x.shape:
        raise DataError(f"npz:{path}: {name}: expected images (N, H, W, C) of uint8, came {x.dtype} {x.shape}. Numbers "
                        f"from 0 to 1 become bytes by (255 * x).round().astype(np.uint8).")
    if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
        raise DataError(f"npz:{path}: {of_labels}: expected {len(x)} integers, as many as {name} has images; came "
                        f"{y.dtype} {y.shape}.")
    if y.min() < 0 or y.max() >= max(65536, len(y)):
        raise DataError(f"npz:{path}: {of_labels}: labels from {y.min()} to {y.max()}; expected 0, 1, 2, ...")
    return (x if x.ndim == 4 else x[..., None]), y.astype(np.int64)


def split(x, y, test, seed):
    """x_train, y_train, x_test, y_test: of each class the share `test`, and at least one picture, to test with."""
    if in_range(test, "test", 0, 1) == 0:
        raise UserError("test=0: expected the share of pictures to test with, such as 0.2")
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
        raise UserError(f"seed={seed!r}: expected an integer of at least 0")
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(y))
    tested = np.zeros(len(y), bool)
    for label in np.unique(y):
        places = order[y[order] == label]
        tested[places[:min(max(1, round(test * len(places))), len(places) - 1)]] = True
    if not tested.any():
        raise DataError("no class has two pictures, so none is left to test with.")
    train, test = order[~tested[order]], order[tested[order]]
    return x[train], y[train], x[test], y[test]


KINDS = {"folder": (from_folder, ("size", "test", "seed")), "npz": (from_npz, ("test", "seed"))}
