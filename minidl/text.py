"""Tables of text: columns under each other, for the summary of a network, the claims of a lesson, the benchmarks."""

import textwrap


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


def words_of(problem):
    """What an exception of another library says, in one line that a sentence has room for."""
    words = " ".join(str(problem).split()) or type(problem).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in words[:200])
