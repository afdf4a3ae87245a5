"""How a command or a lesson ends when its reader, its user or its memory goes away, and what it prints where.

    prepare()       once, at the start of a script
"""

import atexit
import os
import sys
import traceback

from minidl.errors import UserError

after_an_error = None    # a lesson's function: the exit status of a run that was stopped and ends here, or None
CLOSED_PIPE = 141        # 128 + SIGPIPE: what the shell reports of `yes`, too, in `yes | head`


def prepare():
    """Set up the output and the endings of this script.

    A character that the terminal's encoding lacks is printed as "?" and never stops a lesson. Every line goes out at
    once, to a file or a pipe as well. When the reader of a pipe leaves (`| head`), the script ends quietly with the
    status 141; 1 would mean that a claim or a check failed. Ctrl-C prints "stopped", and the shell sees 130, Python's
    own status for it. A UserError prints its message and the line of the script, other errors print a traceback.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace", line_buffering=True)
    sys.excepthook = _say_in_one_line
    atexit.register(_flush)


def _flush():
    """Write what is left while a closed pipe can still be answered: Python's own last flush prints a traceback."""
    try:
        if sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()
    except BrokenPipeError:
        os._exit(CLOSED_PIPE)


def _say_in_one_line(kind, error, trace):
    """The excepthook: where in the script, and the message; a traceback only for bugs."""
    if issubclass(kind, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python's last flush finds no closed pipe
        sys.exit(CLOSED_PIPE)
    if after_an_error is not None and (status := after_an_error()) is not None:
        sys.exit(status)  # and not os._exit, which would leave the processes of a search behind
    if issubclass(kind, KeyboardInterrupt):
        print("\nstopped", file=sys.stderr)
        return
    if issubclass(kind, MemoryError):  # outside of fit and evaluate, which name their batch size
        error = f"no room in memory ({error}). Take smaller batches, or --fast"
    elif not issubclass(kind, UserError):
        sys.__excepthook__(kind, error, trace)
        return
    frames = traceback.extract_tb(trace)
    place = next((frame for frame in frames if frame.filename == sys.argv[0]), frames[0])
    print(f"\n{os.path.relpath(place.filename)}, line {place.lineno}: {kind.__name__}\n{error}", file=sys.stderr)
