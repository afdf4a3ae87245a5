"""A line at the bottom of the terminal that says how far a lesson is and how long it will take."""

import shutil
import time

from minidl.text import StatusLine, in_words


class Bar(StatusLine):
    """`[######          ]  3 of 8, about 40 s left`"""

    def __init__(self, total):
        super().__init__(wanted=total > 1)
        self.total, self.done, self.started = total, 0, time.perf_counter()

    def __enter__(self):
        super().__enter__()
        self.draw()
        return self

    def advance(self):
        self.done += 1
        self.draw()

    def draw(self):
        if not self.active:
            return
        left = (time.perf_counter() - self.started) / self.done * (self.total - self.done) if self.done else None
        words = f"{self.done} of {self.total}" + (f", about {in_words(left)} left" if left else "")
        width = max(5, min(40, shutil.get_terminal_size().columns - len(words) - 6))
        filled = width * self.done // self.total
        self.show(f"[{'#' * filled}{' ' * (width - filled)}]  {words}")
