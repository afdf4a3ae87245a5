"""What minidl says when it is used in a way that cannot work.

Every such error is a `UserError`: one message that tells what was expected, what came, and the likely cure.
The lessons print that message alone, without a traceback. An error of any other kind is a bug of minidl.
"""


class UserError(ValueError):
    """Something that the caller can put right; the message says how."""


class ShapeError(UserError):
    """An array or a layer whose shape does not fit where it was put."""


class DataError(UserError):
    """A data set that is unknown, unreachable, incomplete or damaged."""


class BackendError(UserError):
    """An array library or device that was asked for and cannot be used."""
