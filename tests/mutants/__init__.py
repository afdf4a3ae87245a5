"""Wrong gradients, planted on purpose: a table of small edits to the text of minidl's own layers and losses.

The text is the blackboard, `minidl/textbook.py`, which stays while the fast classes change. `planted(mutant)` replaces
one piece of it, executes the result beside the original, and gives a layer or loss the forward and backward that come
out. An edit whose text is not found exactly once fails loudly: then the table wants the twin's new words.
"""

import inspect
import sys

from minidl import textbook
from mutants.table import MUTANTS, Mutant

__all__ = ["MUTANTS", "SUBJECTS", "Mutant", "planted"]

SUBJECTS = list({mutant.case.name: mutant.case for mutant in MUTANTS}.values())   # the right layers and losses


def planted(mutant):
    """The layer or loss of a mutant, with the mistake in it."""
    thing = mutant.case.make()
    kind = type(thing)
    wrong = edited(mutant, kind)[kind.__name__]
    thing.__class__ = type(kind.__name__, (kind,), {"forward": wrong.forward, "backward": wrong.backward})
    return thing


def edited(mutant, kind):
    """The names of the module that has the text, executed with the mutant's edit."""
    module = textbook if hasattr(textbook, mutant.place) else sys.modules[kind.__module__]
    source, part = inspect.getsource(module), inspect.getsource(getattr(module, mutant.place))
    assert part.count(mutant.old) == 1, f"{mutant.place}: {mutant.old!r} occurs {part.count(mutant.old)} times in it"
    names = {"__name__": module.__name__}
    exec(compile(source.replace(part, part.replace(mutant.old, mutant.new)), module.__file__, "exec"), names)
    return names
