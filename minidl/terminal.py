"""How a command or a lesson ends when its reader, its user, its disk or its memory goes away, and what it prints where.

    prepare()       once, at the start of a script
"""

import atexit
import codecs
import contextlib
import errno
import os
import re
import sys
import traceback
import unicodedata

from minidl.errors import UserError

after_an_error = None    # a lesson's function: the exit status of a run that was stopped and ends here, or None
CLOSED_PIPE = 141        # 128 + SIGPIPE: what the shell reports of `yes`, too, in `yes | head`
FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}    # the disk, the largest file, a quota

IN_ASCII = {"±": "+-", "×": "x", "·": "*", "√": "sqrt", "→": "->", "←": "<-", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~",
            "−": "-", "–": "-", "—": "-", "⁄": "/", "‘": "'", "’": "'", "“": '"', "”": '"', "∞": "inf"}
RAISED = re.compile("[¹²³\u2070-\u207f\u1d2c-\u1d6a]+")    # digits, signs and letters above the line


def prepare():
    """Set up the output and the endings of this script.

    A character that the terminal's encoding lacks is printed in ASCII, such as +- for ±, and never stops a lesson.
    Every line goes out at once, to a file or a pipe as well. When the reader of a pipe leaves (`| head`), the script
    ends quietly with the status 141; 1 would mean that a claim or a check failed. Ctrl-C prints "stopped", and the
    shell sees 130, Python's own status for it. A UserError prints its message and the line of the script, a full disk
    one sentence, and other errors print a traceback.
    """
    codecs.register_error("minidl.in_ascii", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="minidl.in_ascii", line_buffering=True)
    sys.excepthook = _say_in_one_line
    atexit.register(_flush)


def _in_ascii(error):
    """A codec's error handler: (what to print for the characters that the encoding lacks, where the text goes on)."""
    raised = RAISED.match(error.object, error.start)
    if raised:
        return "^" + _spelled(raised.group()), raised.end()
    return _spelled(error.object[error.start]), error.start + 1


def _spelled(text):
    """The text in ASCII: x for ×, sigma for σ, e for é, ? where there is nothing like it."""
    if text in IN_ASCII:
        return IN_ASCII[text]
    parts = unicodedata.normalize("NFKD", text)      # é as e and an accent, ² as 2
    if parts != text:
        return "".join(map(_spelled, parts))
    name = unicodedata.name(text, "").split()
    if name[:1] == ["GREEK"] and "LETTER" in name:
        return name[-1].capitalize() if "CAPITAL" in name else name[-1].lower()
    return text if text.isascii() else "" if unicodedata.combining(text) else "?"


def _flush():
    """Write what is left while a fault can still be answered: Python's own last flush prints a traceback."""
    try:
        if sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()
    except OSError as error:
        _drop_what_is_left()
        if not isinstance(error, BrokenPipeError):
            _say(_full(error))
        os._exit(CLOSED_PIPE if isinstance(error, BrokenPipeError) else 1)
    _drop_what_is_left()  # of stderr


def _drop_what_is_left():
    """Turn each output that takes no more into one that takes all, so that Python's last flush finds no fault."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say(text):
    """Print it on stderr, where that is possible."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr)


def _full(error):
    return f"{error.filename or 'the output'} cannot be written ({error.strerror}). Free some space, and run it again"


def _say_in_one_line(kind, error, trace):
    """The excepthook: where in the script, and the message; a traceback only for bugs."""
    if issubclass(kind, OSError):
        _drop_what_is_left()
    if issubclass(kind, BrokenPipeError):
        sys.exit(CLOSED_PIPE)
    if after_an_error is not None and (status := after_an_error()) is not None:
        sys.exit(status)  # and not os._exit, which would leave the processes of a search behind
    if issubclass(kind, KeyboardInterrupt):
        _say("\nstopped")
        return
    if issubclass(kind, OSError) and error.errno in FULL:
        _say(_full(error))
        return
    if issubclass(kind, MemoryError):  # outside of fit and evaluate, which name their batch size
        error = f"no room in memory ({error}). Take smaller batches, or --fast"
    elif not issubclass(kind, UserError):
        sys.__excepthook__(kind, error, trace)
        return
    frames = traceback.extract_tb(trace)
    place = next((frame for frame in frames if frame.filename == sys.argv[0]), frames[0])
    _say(f"\n{os.path.relpath(place.filename)}, line {place.lineno}: {kind.__name__}\n{error}")
