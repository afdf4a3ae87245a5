"""Files that are written whole or not at all."""

import contextlib
import os
import uuid

from minidl.errors import DataError


@contextlib.contextmanager
def written_whole(path, what):
    """A file to write bytes into, which gets its name `path` when the block ends well; otherwise nothing is changed.

        with written_whole("model.npz", "the model") as file:
            np.savez(file, **arrays)

    So a full disk, Ctrl-C or two threads that write to one path leave a whole file, the old one or a new one.
    what: names the thing in the error
    """
    path = os.fspath(path)
    temporary = f"{path}.{uuid.uuid4().hex}.part"
    try:
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as reason:
        raise DataError(f"{path}: {what} cannot be saved there ({reason.strerror}). Does the folder exist, and may you "
                        f"write into it?") from reason
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
