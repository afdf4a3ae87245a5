"""`minidl.use`: which array library computes, and in which form, the fast one or the blackboard's."""

import gc
import os

from minidl.backend import use_library
from minidl.errors import UserError

FAST = {}    # {fast class: its own forward and backward}, while the blackboard's are in their place


def use(name=None, tf32=False, textbook=None):
    """Choose what computes from now on; what is not given stays as it is.

    name: the array library, "numpy" (CPU) or "cupy" (an NVIDIA GPU)
    tf32: let the GPU multiply float32 matrices with factors rounded to 11 binary digits instead of 24: several times
        faster, and exact to three decimal digits instead of seven. It adds up in float32 all the same. For training
        on an A100 or newer; not for comparing numbers. The next `use("cupy")` without it takes it back.
    textbook: True puts the blackboard forms of `minidl.textbook` under all layers and losses, so that a step into
        `layer.backward` shows the formula; False puts the fast forms back. MINIDL_TEXTBOOK=1 asks for it from outside.

    Models and arrays made earlier stay where they are: choose the library first, then build. Raises BackendError, which
    says what is missing and the command that cures it; it never falls back to another library by itself.
    """
    if name is None and textbook is None:
        raise UserError("use(): expected the name of an array library, as in use(\"cupy\"), or textbook=True or False")
    if tf32 and name is None:
        raise UserError("use(tf32=True): expected the library, too, as in use(\"cupy\", tf32=True)")
    if name is not None:
        use_library(name, tf32)
    if textbook is not None and textbook != blackboard_in_use():
        exchange_forms()


def blackboard_in_use():
    """Whether all layers and losses compute by the formulas of `minidl.textbook`."""
    return bool(FAST)


def exchange_forms():
    """Put the blackboard's forward and backward onto the fast classes themselves, or theirs back."""
    from minidl.textbook import TWINS
    for fast, twin in TWINS.items():
        if fast in FAST:
            fast.forward, fast.backward = FAST.pop(fast)
        else:
            FAST[fast] = fast.forward, fast.backward
            fast.forward, fast.backward = twin.forward, twin.backward
    for thing in gc.get_objects():  # neither form reads what the other saved
        if issubclass(type(thing), tuple(TWINS)):
            thing._saved = None


def start_as_environment_says():
    """MINIDL_TEXTBOOK=1: the blackboard forms from the start."""
    wish = os.environ.get("MINIDL_TEXTBOOK", "")
    if wish not in ("", "0", "1"):
        raise UserError(f"MINIDL_TEXTBOOK={wish!r}: expected 1 (the blackboard forms of all layers) or 0")
    if wish == "1":
        use(textbook=True)
