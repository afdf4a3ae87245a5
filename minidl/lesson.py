"""What every lesson script starts with: its flags, its folder for pictures, its table of claims.

    lesson = Lesson(__file__, __doc__)
    x_train, y_train, x_test, y_test, classes = lesson.load()
    ...
    lesson.save(figure, "accuracy")
    lesson.claims.add("...", measured=0.95, holds=0.95 > 0.9, published="0.9168 (source)")
    lesson.finish()

The same lines work cell by cell in a notebook or an editor, where there are no flags and the defaults hold.
"""

import argparse
import json
import os
import sys
import textwrap
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

from minidl import backend
from minidl.datasets import load
from minidl.errors import UserError


class Lesson:
    """The flags of a lesson, as attributes: data, data_dir, seeds, fast, out."""

    def __init__(self, file, description, data="shapes10", seeds=3):
        self.name = Path(file).stem
        self.started = time.perf_counter()
        parser = argparse.ArgumentParser(prog=f"lessons/{Path(file).name}", description=description,
                                         formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--backend", choices=backend.BACKENDS, help="the array library (default: numpy, or what "
                            "MINIDL_BACKEND says)")
        parser.add_argument("--data", default=data, metavar="NAME", help="shapes10 (made here, no download; the "
                            f"default is {data}), cifar10, mnist, ...")
        parser.add_argument("--data-dir", metavar="DIR", help="where data sets lie (default: what MINIDL_DATA says, "
                            "or the folder datasets/)")
        parser.add_argument("--seeds", type=int, metavar="N", help=f"repeat the experiment from N seeds (default "
                            f"{seeds}, with --fast 1)")
        parser.add_argument("--fast", action="store_true", help="a shorter run, for a first look")
        parser.add_argument("--out", metavar="DIR", help=f"where pictures and claims go (default runs/{self.name})")
        parser.add_argument("--strict", action="store_true", help="exit with status 1 when a claim does not hold")
        interactive = "ipykernel" in sys.modules or hasattr(sys, "ps1")
        flags = parser.parse_args([] if interactive else None)
        if not interactive:
            sys.excepthook = _say_user_errors_in_one_line
        if flags.seeds is not None and flags.seeds < 1:
            parser.error(f"--seeds {flags.seeds}: expected at least 1")
        if flags.backend:
            backend.use(flags.backend)
        self.backend = backend.backend_name()
        self.data, self.data_dir, self.fast, self.strict = flags.data, flags.data_dir, flags.fast, flags.strict
        self.seeds = range(flags.seeds or (1 if self.fast else seeds))
        self.out = Path(flags.out or os.path.join("runs", self.name))
        try:
            self.out.mkdir(parents=True, exist_ok=True)  # now, and not after a training whose pictures find no place
        except OSError as reason:
            parser.error(f"--out {self.out}: no folder can be made there ({reason.strerror}). Name another one")
        self.claims = Claims()
        self.interactive = interactive

    def load(self):
        """The data set that the flags name, as arrays of the backend; images stay bytes."""
        *arrays, classes = load(self.data, self.data_dir)
        return *map(backend.asarray, arrays), classes

    def save(self, figure, name):
        """Save a figure as a PNG and say where."""
        path = self.out / f"{name}.png"
        figure.savefig(path)
        print(f"picture: {path}")
        if not self.interactive:
            import matplotlib.pyplot as plt
            plt.close(figure)

    def finish(self):
        """Print and save the claims; with --strict, exit with status 1 when one does not hold."""
        self.claims.save(self.out / "claims.json")
        print(f"\n{self.claims}\n\n{self.name} on {self.data}, {self.backend} backend: "
              f"{time.perf_counter() - self.started:.0f} s; pictures and claims.json in {self.out}{os.sep}")
        if self.strict and not self.claims.hold:
            sys.exit(1)


def _say_user_errors_in_one_line(kind, error, trace):
    """The excepthook of a lesson: where in the lesson, and the message; a traceback only for bugs."""
    if issubclass(kind, KeyboardInterrupt):
        print("\nstopped", file=sys.stderr)
        return
    if issubclass(kind, MemoryError):  # outside of fit and evaluate, which name their batch size
        error = f"no room in memory ({error}). Take smaller batches, or --fast"
    elif not issubclass(kind, UserError):
        sys.__excepthook__(kind, error, trace)
        return
    place = traceback.extract_tb(trace)[0]
    print(f"\n{os.path.relpath(place.filename)}, line {place.lineno}: {kind.__name__}\n{error}", file=sys.stderr)


# ------------------------------------------------------------------------------------------------------------- claims

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
