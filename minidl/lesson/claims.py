"""What a lesson claims, in numbers: beside the published value, and whether today's run bears it out."""

import shutil
from dataclasses import asdict, dataclass
from statistics import mean, pstdev

from minidl.text import table

WIDTHS = 50, 34, 24, 5     # the columns of the table of claims in a wide terminal; two spaces between them


@dataclass
class Claim:
    """One sentence that a lesson shows, what others measured (and where), what this run measured, and the verdict."""

    claim: str
    published: str
    measured: str
    holds: bool
    miss: str = ""           # where it does not hold: why that may be
    values: tuple = ()       # one number for each seed, where `measured` is their mean


class Claims:
    """The claims of one lesson, in order; print it for the table.

    A claim that is added again takes the place of the first: in a notebook a cell may run twice.
    """

    def __init__(self):
        self.rows = []

    def add(self, claim, measured, holds, published="-", miss=""):
        """claim: one sentence    holds: the verdict    published: value and source
        measured: a text, a number, or a list of numbers, one for each seed, whose mean and spread are shown
        miss: what to know where the claim does not hold; shown then, and in docs/results.md"""
        values = tuple(map(float, measured)) if isinstance(measured, (list, tuple)) else ()
        row = Claim(claim, published, _measured_text(values or measured), bool(holds), miss, values)
        places = [k for k, other in enumerate(self.rows) if other.claim == claim] or [len(self.rows)]
        self.rows[places[0]:places[0] + 1] = [row]

    @property
    def hold(self):
        """Whether every claim holds."""
        return all(row.holds for row in self.rows)

    def as_dicts(self):
        """The rows, as JSON takes them."""
        return [asdict(row) for row in self.rows]

    def __str__(self):
        widths = _column_widths(shutil.get_terminal_size().columns)
        rows = [(row.claim + (f" ({row.miss})" if row.miss and not row.holds else ""), row.published, row.measured,
                 "yes" if row.holds else "NO") for row in self.rows]
        failed = sum(not row.holds for row in self.rows)
        verdict = f"{failed} of {len(self.rows)} claims do not hold in this run" if failed else \
            f"all {len(self.rows)} claims hold"
        return table(["claim", "published", "measured here", "holds"], rows, wrap=dict(enumerate(widths)), rules=True,
                     footer=[verdict])


def _measured_text(measured):
    if isinstance(measured, tuple) and len(measured) > 1:
        return f"{mean(measured):.4g} ± {pstdev(measured):.2g} ({len(measured)} seeds)"
    if isinstance(measured, tuple):
        (measured,) = measured
    return f"{measured:.4g}" if isinstance(measured, float) else str(measured)


def _column_widths(terminal):
    """WIDTHS, or in a narrower terminal as much less of each, but for 80 columns in all and the last one as it is."""
    room = min(max(terminal, 80), sum(WIDTHS) + 6) - 6 - WIDTHS[-1]
    published, measured = (width * room // sum(WIDTHS[:-1]) for width in WIDTHS[1:-1])
    return room - published - measured, published, measured, WIDTHS[-1]
