"""Files that are written whole or not at all."""

import contextlib
import glob
import os
import time
import uuid

from minidl.errors import DataError

LITTER_SECONDS = 3600       # a temporary file untouched for so long belongs to no program that still runs


@contextlib.contextmanager
def written_whole(path, what, previous=None):
    """A file to write bytes into, which gets its name `path` when the block ends well; otherwise nothing is changed.

        with written_whole("model.npz", "the model") as file:
            np.savez(file, **arrays)

    So a full disk, a power cut, Ctrl-C or two threads that write to one path leave a whole file, the old one or a new
    one. The temporary file of a program that was killed meanwhile is removed by a later call.
    what: names the thing in the error    previous: the name that the old file gets, which is removed otherwise
    """
    path = os.fspath(path)
    temporary = f"{path}.{uuid.uuid4().hex}.part"
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if previous is not None:
            with contextlib.suppress(FileNotFoundError):
                os.replace(path, previous)
        os.replace(temporary, path)
        _sync_folder(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as reason:
        raise DataError(f"{path}: {what} cannot be saved there ({reason.strerror}). Does the folder exist, and may you "
                        f"write into it?") from reason
    except OSError as reason:
        raise DataError(f"{path}: {what} cannot be saved ({reason.strerror or reason}). Free some space, or name "
                        f"another place; a file that was there before is as it was") from reason
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        _remove_litter(path)


def _sync_folder(path):
    """Have the new name itself on the disk, too; Windows knows no such call."""
    with contextlib.suppress(OSError):
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _remove_litter(path):
    for name in glob.glob(f"{glob.escape(path)}.{'[0-9a-f]' * 32}.part"):
        with contextlib.suppress(OSError):
            if time.time() - os.path.getmtime(name) > LITTER_SECONDS:
                os.unlink(name)
