"""Wrong gradients, planted on purpose: a table of small edits to the source of minidl's own layers and losses.

No class is copied by hand. `planted(mutant)` reads the source of the module as it stands today, replaces one piece of
text in one class or function, and executes the result beside the original, so a mutant follows its layer wherever that
goes. An edit whose text is not found exactly once fails loudly: then the table wants the layer's new words.
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
    edited: object      # the class or function whose source is edited: `kind`, its base, or a helper such as Windows
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
    names = executed(mutant.edited, mutant.old, mutant.new)
    if mutant.edited.__module__ != mutant.kind.__module__:
        rights, wrongs, names = vars(sys.modules[mutant.edited.__module__]), names, executed(mutant.kind)
        # what the layer's module imported from there: its methods look it up when they run
        names.update({name: wrongs[name] for name, thing in names.items() if thing is rights.get(name, names)})
    return mutant.make(names[mutant.kind.__name__])


def executed(thing, old="", new=""):
    """The names of the module in which a class or function stands, after `old` in its source became `new`."""
    module = sys.modules[thing.__module__]
    source, part = inspect.getsource(module), inspect.getsource(thing)
    if old:
        assert part.count(old) == 1, f"{thing.__name__}: {old!r} stands {part.count(old)} times in its source"
        source = source.replace(part, part.replace(old, new), 1)
    names = {"__name__": module.__name__}
    exec(compile(source, module.__file__, "exec"), names)
    return names
