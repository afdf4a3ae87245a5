"""What a search found: its trials, the best of them, and the file that a search continues from."""

import csv
import io
from dataclasses import dataclass, field
from math import isclose, isfinite, nan
from pathlib import Path

import numpy as np

from minidl.errors import DataError, UserError
from minidl.files import written_whole
from minidl.text import table


@dataclass(frozen=True)
class Trial:
    """One trial of a search: what was tried and what came of it. trial["lr"], trial["accuracy"] give either."""

    number: int              # from 0, in the order in which a search plans them
    seed: int                # of the random numbers of this trial
    settings: dict
    results: dict = field(default_factory=dict)     # what train returned; empty where it failed
    error: str = ""          # why it failed: "ValueError: ... (script.py, line 12)"

    def __getitem__(self, name):
        if name in self.settings:
            return self.settings[name]
        if name in self.results or not self.error:
            return self.results[name]
        return nan

    def __str__(self):
        results = f"failed: {self.error}" if self.error else _listed(self.results)
        return f"trial {self.number:3d}   {_listed(self.settings)}   {results}"


def _listed(values):
    return "  ".join(f"{name}={_short(value)}" for name, value in values.items())


def _short(value):
    return f"{value:.4g}" if isinstance(value, float) else _as_text(value)


def _as_text(value):
    """A number with all its digits; a class or a function by its name."""
    return getattr(value, "__qualname__", None) or str(value)


class Results(list):
    """The trials of a search, in the order of their numbers: a list, with a table as its text."""

    @property
    def failed(self):
        """Those that ended with an error."""
        return Results(trial for trial in self if trial.error)

    def names(self):
        """The names of the results, in the order in which train returned them."""
        return list(dict.fromkeys(name for trial in self for name in trial.results))

    def best(self, count=10, by=None, lowest=False):
        """The best trials, the best one first; equally good ones by their number.

        by: the name of a result, the first one unless given    lowest: whether less is better, as for a loss
        Trials that failed, or whose result is NaN or infinite, are left out.
        """
        if self and not self.names():
            raise UserError(f"best: all {len(self)} trials failed; number {self[0].number} with {self[0].error}")
        name = self.names()[0] if by is None and self else by
        if self and name not in self.names():
            raise UserError(f"best(by={name!r}): expected the name of a result: {', '.join(self.names())}")
        good = [trial for trial in self if isfinite(trial.results.get(name, nan))]
        return Results(sorted(good, key=lambda trial: trial[name] if lowest else -trial[name])[:count])

    def column(self, name):
        """One setting or result of all trials, as an array; NaN for a result of a trial that failed."""
        return np.array([trial[name] for trial in self])

    def __str__(self):
        if not self:
            return "no trials"
        settings, results = list(self[0].settings), self.names()
        rows = [[trial.number, *(_short(trial.settings[name]) for name in settings),
                 *(_short(trial.results.get(name, "")) for name in results), trial.error[:60]] for trial in self]
        header = ["trial", *settings, *results, "error"]
        if not self.failed:
            header, rows = header[:-1], [row[:-1] for row in rows]
        return table(header, rows, right=range(1 + len(settings) + len(results)))

    __repr__ = __str__


# ------------------------------------------------------------------------------------------------------------ the file
#
# trial, seed, the settings, error, the results: a row for each trial, in the order of their numbers. Numbers are
# written with all their digits, so the file of a search is the same to the byte however many processes ran it.


def write_trials(path, names, trials):
    """Write the file of a search, whole or not at all. names: of the settings"""
    trials = sorted(trials, key=lambda trial: trial.number)
    results = Results(trials).names()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "seed", *names, "error", *results])
    for trial in trials:
        writer.writerow([trial.number, trial.seed, *(_as_text(trial.settings[name]) for name in names), trial.error,
                         *(trial.results.get(name, "") for name in results)])
    with written_whole(path, "the trials") as file:
        file.write(text.getvalue().encode())


def read_trials(path, names, planned):
    """{number: Trial} from the file of a search; empty where there is no file.

    names: of the settings    planned: gives the Trial of a number as this search plans it, None where it has none
    Raises DataError where the file is of another search: other settings, other ranges, another seed.
    """
    if not Path(path).exists():
        return {}
    rows = _rows(path)
    header = rows[0]
    if header[:2] != ["trial", "seed"] or "error" not in header:
        raise DataError(f"{path}: expected the trials of a search, a table that begins with trial,seed; its first line "
                        f"is {','.join(header)[:60]!r}. {CURE}")
    end = header.index("error")
    if header[2:end] != names:
        raise DataError(f"{path}: has trials with the settings {', '.join(header[2:end])}; this search has "
                        f"{', '.join(names)}. {CURE}")
    trials = {}
    for place, row in enumerate(rows[1:], 2):
        try:
            number = int(row[0])
            results = dict(zip(header[end + 1:], map(_number, row[end + 1:]), strict=True))
            cells = dict(zip(["seed", *names], row[1:end], strict=True))
        except (ValueError, IndexError):
            raise DataError(f"{path}, line {place}: expected {len(header)} cells of a trial, got "
                            f"{','.join(row)[:60]!r}. Delete the line, and the trial is run again") from None
        plan = planned(number)
        _compare(path, number, plan, cells)
        results = {name: value for name, value in results.items() if value is not None}
        trials[number] = Trial(number, plan.seed, plan.settings, results, row[end])
    return trials


CURE = "Name another file, or delete this one to begin anew"


def _rows(path):
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.reader(file)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as reason:
        raise DataError(f"{path}: the trials cannot be read ({reason}). {CURE}") from reason


def _compare(path, number, plan, cells):
    """Refuse a row that this search would not have written."""
    if plan is None:
        raise DataError(f"{path}: has a trial {number}, which this search does not have. {CURE}")
    for name, value in {"seed": plan.seed, **plan.settings}.items():
        if not _same(value, cells[name]):
            raise DataError(f"{path}: trial {number} has {name}={cells[name]}, in this search it has "
                            f"{name}={_as_text(value)}: the ranges or the seed are others. {CURE}")


def _same(value, cell):
    """Whether a cell of the file is this value. The last digits of a power of 10 depend on the machine's library."""
    if isinstance(value, float):
        try:
            return isclose(value, float(cell), rel_tol=1e-12)
        except ValueError:
            return False
    return _as_text(value) == cell


def _number(cell):
    """The number in a cell; None for an empty one."""
    if not cell:
        return None
    try:
        return int(cell)
    except ValueError:
        return float(cell)
