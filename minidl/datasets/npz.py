"""Arrays from an .npz file that somebody else may have made, or damaged: no pickles, no bombs, one kind of error."""

import os
import zipfile

import numpy as np

from minidl.errors import DataError
from minidl.text import words_of


def read_arrays(path, names, largest=None):
    """{name: array} of those names that the file has.

    largest: the bytes that it may say its arrays have in memory; those of this computer's memory unless given
    Raises DataError, and OSError where the file cannot be opened.
    """
    largest = largest or memory()
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                there = [name for name in names if f"{name}.npy" in archive.namelist()]
                stated = sum(archive.getinfo(f"{name}.npy").file_size for name in there)
            if stated > largest:
                raise DataError(f"{path} says that its arrays have {stated:,} bytes; at most {largest:,} are possible.")
            file.seek(0)
            with np.load(file, allow_pickle=False) as kept:
                arrays = {name: kept[name] for name in there}
            for name, array in arrays.items():
                if not isinstance(array, np.ndarray):  # NumPy returns the bytes of a member that is no array
                    raise DataError(f"{path}: {name} is no array.")
            return arrays
        except DataError:
            raise
        except Exception as problem:  # zipfile, zlib and NumPy have a dozen kinds for what may be damaged
            raise DataError(f"{path} cannot be read as an .npz file ({words_of(problem)}). Is it whole, and from "
                            f"np.savez?") from problem


def memory():
    """The bytes of memory of this computer; where it does not say, more than any has."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 1 << 50
