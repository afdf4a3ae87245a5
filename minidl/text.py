"""Text for terminals: tables, for the summary of a network, the claims of a lesson, the benchmarks; a line that is
drawn over again while something runs; times in words."""

import shutil
import sys
import textwrap
import threading


def table(header, rows, right=(), wrap=None, rules=False, footer=()):
    """The text of a table.

    header: the titles of the columns    rows: of cells, each as many as titles, printed by str
    right: the columns whose cells end under each other, such as numbers
    wrap: {column: width} of those whose cells are broken into lines of at most that many characters
    rules: whether a line separates all rows, as long cells want it, or the header alone
    footer: lines below the last rule
    """
    cells = [[_lines(cell, (wrap or {}).get(column)) for column, cell in enumerate(row)] for row in [header, *rows]]
    widths = [max(len(line) for lines in column for line in lines) for column in zip(*cells, strict=True)]
    blocks = [_block(row, widths, right) for row in cells]
    rule = "-" * max(len(line) for block in blocks for line in block)
    text = [*blocks[0], rule]
    for place, block in enumerate(blocks[1:]):
        text += [rule, *block] if rules and place else block
    return "\n".join([*text, rule, *footer] if footer else text)


def _lines(cell, width):
    """A cell as lines of at most `width` characters."""
    return (textwrap.wrap(str(cell), width) if width else str(cell).split("\n")) or [""]


def _block(row, widths, right):
    """The lines of a row, whose cells may have several each."""
    lines = []
    for k in range(max(map(len, row))):
        parts = (cell[k] if k < len(cell) else "" for cell in row)
        lines.append("  ".join(f"{part:{'>' if column in right else '<'}{width}}"
                               for column, (part, width) in enumerate(zip(parts, widths, strict=True))).rstrip())
    return lines


# ------------------------------------------------------------------------------------------------------- status line

class StatusLine:
    """One line at the bottom of the terminal, which `show` draws over again; what is printed appears above it.

        with StatusLine() as line:
            line.show("3 of 8")

    It is drawn on stderr where that is a terminal, and nowhere else. wanted: False for none at all
    """

    def __init__(self, wanted=True):
        self.active, self.shown, self.stdout = False, "", None
        on_a_terminal = sys.stderr is not None and sys.stderr.isatty()      # it is None where somebody has closed it
        self.wanted = wanted and on_a_terminal and threading.current_thread() is threading.main_thread()

    def __enter__(self):
        if self.wanted and not isinstance(sys.stdout, StatusLine):
            self.stdout, sys.stdout, self.active = sys.stdout, self, True
        return self

    def __exit__(self, *error):
        self.clear()
        if sys.stdout is self:
            sys.stdout = self.stdout
        self.active = False

    def show(self, text):
        if self.active:
            self.shown = text[:shutil.get_terminal_size().columns - 1]
            sys.stderr.write(f"\r\x1b[K{self.shown}")
            sys.stderr.flush()

    def clear(self):
        if self.shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self.shown = ""

    # -- in place of sys.stdout

    def write(self, text):
        text_below, _ = self.shown, self.clear()
        count = self.stdout.write(text)
        if text.endswith("\n"):
            self.stdout.flush()
            if text_below:
                self.show(text_below)
        return count

    def __getattr__(self, name):
        return getattr(self.stdout, name)


def in_words(seconds):
    """A time as people say it: 40 s, 3 min, 2 h 5 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def words_of(problem):
    """What an exception of another library says, in one line that a sentence has room for."""
    words = " ".join(str(problem).split()) or type(problem).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in words[:200])
