"""Wrong gradients, planted on purpose: a table of small edits to the source of minidl's own layers and losses.

No class is copied by hand. `planted(mutant)` reads the source of the class as it stands today, replaces one piece of
text, and executes the result beside the original, so a mutant follows its layer wherever that goes. An edit whose text
is not found exactly once fails loudly: then the table wants the layer's new words.
"""

import inspect
import sys
from dataclasses import dataclass

from mutants.table import TABLE

__all__ = ["MUTANTS", "Mutant", "planted"]


@dataclass(frozen=True)
class Mutant:
    kind: type          # the layer or loss that is checked
    make: object        # (class) -> layer
    shape: tuple        # of the input, with the batch axis
    edited: type        # the class whose source is edited: `kind`, or a helper such as Windows
    old: str
    new: str
    cause: str          # the name under which the mistake was planted
    tensor: str         # where it must be found

    def __str__(self):
        edit = " ".join(f"{self.old} -> {self.new}".split())
        return f"{self.kind.__name__}.{self.tensor}: {edit}"


MUTANTS = [Mutant(subject.kind, subject.make, subject.shape, edited or subject.kind, *edit)
           for subject, edited, edits in TABLE for edit in edits]


def planted(mutant):
    """The layer or loss of a mutant, with the mistake in it."""
    kind = rewritten(mutant.edited, mutant.old, mutant.new)
    if mutant.edited is not mutant.kind:
        kind = rewritten(mutant.kind, "", "", {kind.__name__: kind})
    return mutant.make(kind)


def rewritten(kind, old, new, others=()):
    """The class from its source with `old` replaced by `new`; `others` replaces names that it uses."""
    source = inspect.getsource(kind)
    if old:
        assert source.count(old) == 1, f"{kind.__name__}: {old!r} stands {source.count(old)} times in its source"
    names = {**vars(sys.modules[kind.__module__]), **dict(others)}
    exec(compile(source.replace(old, new) if old else source, f"<{kind.__name__}: {old} -> {new}>", "exec"), names)
    return names[kind.__name__]
