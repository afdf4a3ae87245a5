"""What every lesson script starts with: its flags, its folder, its claims."""

import argparse
import contextlib
import io
import itertools
import os
import sys
import tempfile
from pathlib import Path

import minidl
from minidl import backend, terminal
from minidl.datasets import Standardize, load, scale_to_unit
from minidl.lesson.claims import Claims
from minidl.lesson.progress import Bar
from minidl.lesson.record import Record
from minidl.text import in_words
from minidl.training.interruption import ctrl_c_ends_all


class Lesson:
    """One lesson: its flags as attributes (data, data_dir, seeds, fast, out, strict), its pictures and its claims.

    name: the script's name without .py    description: what --help prints, the script's docstring
    data, seeds: the data set and the number of seeds that it takes without flags
    takes: how long it takes on two cores, in full and with --fast, for people to read
    """

    def __init__(self, name, description, data="mnist10k", seeds=3, takes=""):
        self.name = Path(name).stem
        self.interrupted = False
        if not _interactive():
            terminal.prepare()
        parser = self._parser(f"{description}\n\nTime on two cores: {takes}" if takes else description, data, seeds)
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
            tempfile.TemporaryFile(dir=self.out).close()
        except OSError as reason:
            parser.error(f"--out {self.out}: no folder can be made there, or no file in it ({reason.strerror}). Name "
                         f"another one")
        self.claims = Claims()
        self.record = Record(self.out, vars(flags) | {"lesson": self.name, "seeds": list(self.seeds)})
        terminal.after_an_error = self._end_of_what_was_stopped

    def _parser(self, description, data, seeds):
        script = f"lessons/{self.name}.py"
        parser = argparse.ArgumentParser(script, f"{script} [FLAGS]; --help lists them", description,
                                         formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
        parser.add_argument("--backend", choices=backend.BACKENDS, help="the array library (default: numpy, or what "
                            "MINIDL_BACKEND says)")
        parser.add_argument("--data", default=data, metavar="NAME", help=f"the data set (default {data}): mnist10k, "
                            "shapes10 (both need no download), cifar10, mnist, folder:PATH, npz:PATH, ...")
        parser.add_argument("--data-dir", metavar="DIR", help="the folder of the data sets (default: what MINIDL_DATA "
                            "says, or the folder datasets/)")
        parser.add_argument("--seeds", type=int, metavar="N", help=f"repeat the experiment from N seeds (default "
                            f"{seeds}, with --fast 1)")
        parser.add_argument("--seed", type=int, default=0, metavar="K", help="the first of these seeds: K, K+1, ... "
                            "(default 0)")
        parser.add_argument("--fast", action="store_true", help="one seed, and fewer steps where a lesson says so")
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

    def scaling(self, x_train):
        """What turns a batch of bytes into the network's input: divided by 255 for digits, as the sources do it, else
        to mean 0 and spread 1 for every colour."""
        return scale_to_unit if "mnist" in self.data else Standardize(x_train)

    def note(self, **row):
        """One row of metrics.csv: what it is about and what was measured, as in note(init="He", seed=0, loss=0.3)."""
        self.record.note(**row)

    @contextlib.contextmanager
    def running(self):
        """The block where the time goes. Ctrl-C ends it; the rest of the lesson then shows what there is so far."""
        try:
            with ctrl_c_ends_all():
                yield
        except KeyboardInterrupt:
            self.interrupted = True
            print("\nstopped: pictures and claims of what there is so far")

    def each(self, *axes):
        """Every item of a list, or of several lists every combination, with a bar on a terminal.

            for init, seed in lesson.each(INITS, lesson.seeds):

        None after Ctrl-C: a lesson that was stopped in one block begins no work in the next.
        """
        items = list(axes[0]) if len(axes) == 1 else list(itertools.product(*axes))
        if self.interrupted:
            items = []
        with Bar(len(items)) as bar:
            for item in items:
                yield item
                bar.advance()

    def save(self, figure, name):
        """Save a figure as a PNG and say where; a notebook shows that PNG below the cell."""
        import matplotlib.pyplot as plt
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png")
        plt.close(figure)  # a notebook shows each open figure at the end of a cell: this one would appear twice
        self.record.write(f"{name}.png", drawn.getvalue())
        if f"{name}.png" not in self.record.unwritten:
            print(f"picture: {self.out / name}.png")
        if _interactive() == "notebook":
            from IPython.display import Image, display
            display(Image(data=drawn.getvalue()))

    def finish(self):
        """Print and save the claims. Exit with status 130 after Ctrl-C, 1 where a file could not be written, and with
        --strict 1 when a claim does not hold."""
        self.record.save(self.claims.as_dicts(), complete=not self.interrupted)
        print(f"\n{self.claims}\n\n{self.name} on {self.data}, {self.backend} backend: "
              f"{in_words(self.record.seconds)}\npictures, metrics and claims: {self.out}{os.sep}")
        unwritten = self.record.unwritten
        if unwritten:
            reasons = ", ".join(dict.fromkeys(unwritten.values()))
            print(f"not written: {', '.join(unwritten)} ({reasons}). Mend that, or name another folder by --out, and "
                  f"run it again", file=sys.stderr)
        if self.interrupted:
            sys.exit(130)
        if unwritten or self.strict and not self.claims.hold:
            sys.exit(1)

    def _end_of_what_was_stopped(self):
        """After Ctrl-C a picture or a claim may lack its numbers: the lesson ends there, with the table so far."""
        if not self.interrupted:
            return None
        with contextlib.suppress(SystemExit, OSError):  # a full disk, where stdout goes there
            self.finish()
        return 130


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
