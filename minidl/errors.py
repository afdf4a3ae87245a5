"""What minidl says when it is used in a way that cannot work.

Every such error is a `UserError`: one message that tells what was expected, what came, and the likely cure.
The lessons print that message alone, without a traceback. An error of any other kind is a bug of minidl.

What works, but is seldom meant, is a `SuspiciousWarning`.
"""

import sys
import warnings


class UserError(ValueError):
    """Something that the caller can put right; the message says how."""


class ShapeError(UserError):
    """An array or a layer whose shape does not fit where it was put."""


class DataError(UserError):
    """A data set that is unknown, unreachable, incomplete or damaged."""


class BackendError(UserError):
    """An array library or device that was asked for and cannot be used."""


class SuspiciousWarning(UserWarning):
    """Something that works and is seldom meant; the message says what to look at. To silence all of them:

        warnings.filterwarnings("ignore", category=SuspiciousWarning)
    """


def suspect(message):
    """Warn with a SuspiciousWarning that names the line of the caller's own code, outside of minidl."""
    frame, level, inside = sys._getframe(1), 2, ("minidl", "contextlib")     # a block of `with` goes through the second
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in inside:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, SuspiciousWarning, stacklevel=level)
