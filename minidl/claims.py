"""What a lesson claims, in numbers: beside the published value, and whether today's run bears it out."""

import json
import textwrap
from dataclasses import asdict, dataclass


@dataclass
class Claim:
    """One sentence that a lesson shows, what others measured (and where), what this run measured, and the verdict."""

    claim: str
    published: str
    measured: str
    holds: bool


class Claims:
    """The claims of one lesson, in order; print it for the table."""

    def __init__(self):
        self.rows = []

    def add(self, claim, measured, holds, published="-"):
        """claim: one sentence    measured: a number or text    holds: the verdict    published: value and source."""
        text = f"{measured:.4g}" if isinstance(measured, float) else str(measured)
        self.rows.append(Claim(claim, published, text, bool(holds)))

    @property
    def hold(self):
        """Whether every claim holds."""
        return all(row.holds for row in self.rows)

    def save(self, path):
        """Write the table as JSON."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump([asdict(row) for row in self.rows], file, indent=1, ensure_ascii=False)

    def __str__(self):
        widths = 50, 34, 24, 5
        lines = ["  ".join(title.ljust(width) for title, width in
                           zip(("claim", "published", "measured here", "holds"), widths, strict=True)).rstrip()]
        for row in self.rows:
            lines.append("-" * (sum(widths) + 6))
            cells = [textwrap.wrap(cell, width) or [""] for cell, width in
                     zip((row.claim, row.published, row.measured, "yes" if row.holds else "NO"), widths, strict=True)]
            for k in range(max(map(len, cells))):
                lines.append("  ".join((cell[k] if k < len(cell) else "").ljust(width)
                                       for cell, width in zip(cells, widths, strict=True)).rstrip())
        failed = sum(not row.holds for row in self.rows)
        lines.append("-" * (sum(widths) + 6))
        lines.append(f"all {len(self.rows)} claims hold" if not failed else
                     f"{failed} of {len(self.rows)} claims do not hold in this run")
        return "\n".join(lines)
