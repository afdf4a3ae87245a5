"""What every lesson script starts with: its flags, its folder for pictures, its table of claims.

    lesson = Lesson("02_vanishing_gradient", __doc__)        # the script's name, with which its folder is called, too
    x_train, y_train, x_test, y_test, classes = lesson.load()
    ...
    lesson.save(figure, "accuracy")
    lesson.claims.add("...", measured=0.95, holds=0.95 > 0.9, published="0.9168 (source)")
    lesson.finish()

The same lines work cell by cell in Jupyter, VS Code and Spyder. There a lesson shows each picture once, when it saves
it, and takes the flags of `%run lessons/NAME.py --flags`; cell by cell there are none, and the defaults hold.
"""

import argparse
import json
import os
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import minidl
from minidl import backend, terminal
from minidl.datasets import load
from minidl.files import written_whole
from minidl.text import table

WIDTHS = 50, 34, 24, 5     # the columns of the table of claims in a wide terminal; two spaces between them


class Lesson:
    """One lesson: its flags as attributes (data, data_dir, seeds, fast, out, strict), its pictures and its claims.

    name: the script's name without .py    description: what --help prints, the script's docstring
    data, seeds: the data set and the number of seeds that it takes without flags
    """

    def __init__(self, name, description, data="mnist10k", seeds=3):
        self.name = Path(name).stem
        self.started = time.perf_counter()
        if not _interactive():
            terminal.prepare()
        parser = self._parser(description, data, seeds)
        flags = parser.parse_args(_flags_for(self.name))
        if flags.seeds is not None and flags.seeds < 1:
            parser.error(f"--seeds {flags.seeds}: expected at least 1")
        if flags.seed < 0:
            parser.error(f"--seed {flags.seed}: expected at least 0")
        _choose_arithmetic(flags)
        self.backend = backend.backend_name()
        self.data, self.data_dir, self.fast, self.strict = flags.data, flags.data_dir, flags.fast, flags.strict
        self.seeds = range(flags.seed, flags.seed + (flags.seeds or (1 if self.fast else seeds)))
        self.out = Path(flags.out or os.path.join("runs", self.name))
        try:
            self.out.mkdir(parents=True, exist_ok=True)  # now, and not after a training whose pictures find no place
        except OSError as reason:
            parser.error(f"--out {self.out}: no folder can be made there ({reason.strerror}). Name another one")
        self.claims = Claims()

    def _parser(self, description, data, seeds):
        script = f"lessons/{self.name}.py"
        parser = argparse.ArgumentParser(script, f"{script} [FLAGS]; --help lists them", description,
                                         formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
        parser.add_argument("--backend", choices=backend.BACKENDS, help="the array library (default: numpy, or what "
                            "MINIDL_BACKEND says)")
        parser.add_argument("--data", default=data, metavar="NAME", help=f"the data set (default {data}): mnist10k, "
                            "shapes10 (both need no download), cifar10, mnist, ...")
        parser.add_argument("--data-dir", metavar="DIR", help="the folder of the data sets (default: what MINIDL_DATA "
                            "says, or the folder datasets/)")
        parser.add_argument("--seeds", type=int, metavar="N", help=f"repeat the experiment from N seeds (default "
                            f"{seeds}, with --fast 1)")
        parser.add_argument("--seed", type=int, default=0, metavar="K", help="the first of these seeds: K, K+1, ... "
                            "(default 0)")
        parser.add_argument("--fast", action="store_true", help="a shorter run, for a first look")
        parser.add_argument("--textbook", action="store_true", help="compute every layer by the plain formulas of "
                            "minidl/textbook.py: slower, and easy to step through")
        parser.add_argument("--debug", action="store_true", help="for a debugger: --textbook, in one thread")
        parser.add_argument("--out", metavar="DIR", help=f"where pictures and claims go (default runs/{self.name})")
        parser.add_argument("--strict", action="store_true", help="exit with status 1 when a claim does not hold")
        return parser

    def load(self):
        """The data set that the flags name, as arrays of the backend; images stay bytes."""
        *arrays, classes = load(self.data, self.data_dir)
        return *map(backend.asarray, arrays), classes

    def save(self, figure, name):
        """Save a figure as a PNG and say where; a notebook shows that PNG below the cell."""
        import matplotlib.pyplot as plt
        path = self.out / f"{name}.png"
        figure.savefig(path)
        plt.close(figure)  # a notebook shows each open figure at the end of a cell: this one would appear twice
        print(f"picture: {path}")
        if _interactive() == "notebook":
            from IPython.display import Image, display
            display(Image(filename=path))

    def finish(self):
        """Print and save the claims; with --strict, exit with status 1 when one does not hold."""
        self.claims.save(self.out / "claims.json")
        print(f"\n{self.claims}\n\n{self.name} on {self.data}, {self.backend} backend: "
              f"{time.perf_counter() - self.started:.0f} s\npictures and claims.json: {self.out}{os.sep}")
        if self.strict and not self.claims.hold:
            sys.exit(1)


# -------------------------------------------------------------------------------------------------- flags and sessions

def _interactive():
    """ "notebook" in a Jupyter kernel, which shows pictures (VS Code and Spyder use one, too); "terminal" at a Python
    or IPython prompt; None in a plain script."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        return "notebook" if hasattr(shell, "kernel") else "terminal"
    return "terminal" if hasattr(sys, "ps1") else None


def _flags_for(name):
    """The flags that are meant for the lesson of that name.

    In an interactive session sys.argv holds the flags of the session itself, until %run, Spyder's runfile or a cell
    of the reader puts a script's name and flags there.
    """
    script = getattr(sys.modules["__main__"], "__file__", None) or ""
    is_script = os.path.abspath(script) == os.path.abspath(sys.argv[0]) or Path(sys.argv[0]).stem == name
    return sys.argv[1:] if is_script or not _interactive() else []


def _choose_arithmetic(flags):
    """What --backend, --textbook and --debug say about how to compute."""
    if flags.backend:
        minidl.use(flags.backend)
    if flags.textbook or flags.debug:
        minidl.use(textbook=True)
    if flags.debug:
        minidl.threads(1)
        print("--debug: the layers compute by the formulas in minidl/textbook.py, all in this thread: "
              "step into any of them")


# ------------------------------------------------------------------------------------------------------------- claims

@dataclass
class Claim:
    """One sentence that a lesson shows, what others measured (and where), what this run measured, and the verdict."""

    claim: str
    published: str
    measured: str
    holds: bool


class Claims:
    """The claims of one lesson, in order; print it for the table.

    A claim that is added again takes the place of the first: in a notebook a cell may run twice.
    """

    def __init__(self):
        self.rows = []

    def add(self, claim, measured, holds, published="-"):
        """claim: one sentence    measured: a number or text    holds: the verdict    published: value and source."""
        text = f"{measured:.4g}" if isinstance(measured, float) else str(measured)
        row = Claim(claim, published, text, bool(holds))
        places = [k for k, other in enumerate(self.rows) if other.claim == claim] or [len(self.rows)]
        self.rows[places[0]:places[0] + 1] = [row]

    @property
    def hold(self):
        """Whether every claim holds."""
        return all(row.holds for row in self.rows)

    def save(self, path):
        """Write the table as JSON."""
        with written_whole(path, "the claims") as file:
            file.write(json.dumps([asdict(row) for row in self.rows], indent=1, ensure_ascii=False).encode())

    def __str__(self):
        widths = _column_widths(shutil.get_terminal_size().columns)
        rows = [(row.claim, row.published, row.measured, "yes" if row.holds else "NO") for row in self.rows]
        failed = sum(not row.holds for row in self.rows)
        verdict = f"{failed} of {len(self.rows)} claims do not hold in this run" if failed else \
            f"all {len(self.rows)} claims hold"
        return table(["claim", "published", "measured here", "holds"], rows, wrap=dict(enumerate(widths)), rules=True,
                     footer=[verdict])


def _column_widths(terminal):
    """WIDTHS, or in a narrower terminal as much less of each, but for 80 columns in all and the last one as it is."""
    room = min(max(terminal, 80), sum(WIDTHS) + 6) - 6 - WIDTHS[-1]
    published, measured = (width * room // sum(WIDTHS[:-1]) for width in WIDTHS[1:-1])
    return room - published - measured, published, measured, WIDTHS[-1]
