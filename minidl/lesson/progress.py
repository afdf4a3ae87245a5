"""A line at the bottom of the terminal that says how far a lesson is and how long it will take."""

import shutil
import sys
import time


class Bar:
    """Drawn on stderr where that is a terminal; what is printed meanwhile appears above it."""

    def __init__(self, total):
        self.total, self.done, self.started = total, 0, time.perf_counter()
        self.stdout, self.shown = sys.stdout, False
        if sys.stderr and sys.stderr.isatty() and total > 1:
            sys.stdout = self
            self.draw()

    def advance(self):
        self.done += 1
        if sys.stdout is self:
            self.draw()

    def draw(self):
        """`[######          ]  3 of 8, about 40 s left`"""
        left = (time.perf_counter() - self.started) / self.done * (self.total - self.done) if self.done else None
        words = f"{self.done} of {self.total}" + (f", about {in_words(left)} left" if left else "")
        width = max(5, min(40, shutil.get_terminal_size().columns - len(words) - 6))
        filled = width * self.done // self.total
        sys.stderr.write(f"\r\x1b[K[{'#' * filled}{' ' * (width - filled)}]  {words}")
        sys.stderr.flush()
        self.shown = True

    def clear(self):
        if self.shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self.shown = False

    def end(self):
        self.clear()
        if sys.stdout is self:
            sys.stdout = self.stdout

    # -- in place of sys.stdout

    def write(self, text):
        self.clear()
        count = self.stdout.write(text)
        if text.endswith("\n"):
            self.stdout.flush()
            self.draw()
        return count

    def __getattr__(self, name):
        return getattr(self.stdout, name)


def in_words(seconds):
    """A time as people say it: 40 s, 3 min, 2 h 5 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
