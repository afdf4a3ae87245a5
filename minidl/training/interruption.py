"""Ctrl-C and SIGTERM while a network trains: the step under way is finished, so that no optimizer is left half-way."""

import contextlib
import signal
import threading
import time

INSIST_SECONDS = 10


class Interruption:
    """While this block runs in the main thread, Ctrl-C is a wish that `asked` tells; the second one stops at once.

    terminate: whether SIGTERM, by which a cluster ends a job, is a wish, too
    A handler that somebody else has put there, such as a debugger's, stays.
    """

    def __init__(self, terminate=False):
        self.signals = {signal.SIGINT: signal.default_int_handler}
        if terminate:
            self.signals[signal.SIGTERM] = signal.SIG_DFL
        self.asked, self.taken = None, []

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self.taken = [number for number, usual in self.signals.items() if signal.getsignal(number) == usual]
        for number in self.taken:
            signal.signal(number, self.receive)
        return self

    def __exit__(self, *error):
        for number in self.taken:
            signal.signal(number, self.signals[number])

    def receive(self, number, frame):
        if self.asked is not None:
            raise KeyboardInterrupt
        self.asked = number

    def words(self):
        return "by Ctrl-C" if self.asked == signal.SIGINT else "by SIGTERM"

    def pass_on(self):
        """After the training has ended in good order: end the program as well, where that is what was meant."""
        if self.asked == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        if self.asked == signal.SIGINT:
            _last.append(time.monotonic())
            if _all_at_once or (len(_last) > 1 and _last[-1] - _last[-2] < INSIST_SECONDS):
                raise KeyboardInterrupt


_last, _all_at_once = [], []


@contextlib.contextmanager
def ctrl_c_ends_all():
    """Inside the block, Ctrl-C ends not just the training under way: `fit` raises KeyboardInterrupt after its step.

    For programs that train many networks, one after the other.
    """
    _all_at_once.append(True)
    try:
        yield
    finally:
        _all_at_once.pop()
