"""The threads that compute beside the caller's, and a fork that finds them at rest.

A fork copies the memory of the process and the thread that calls it, no other. The child would wait for ever for a
thread that computes in the parent, or find half a result. So a fork waits until no helper is in the middle of an item,
and keeps them from the next one; the child starts helpers of its own.
"""

import contextlib
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

PATIENCE = 10                       # seconds that a fork waits: whoever forks may have what a helper waits for


class _Pool:
    """The helpers, and what they do."""

    def __init__(self):
        self.changing = threading.Condition()   # hold it to change what is below, or the helpers' part of a Job
        self.size = 0
        self.executor = None                    # made when it is first needed
        self.busy = set()                       # the helpers that are in the middle of an item
        self.forks = 0                          # that wait for them, or are under way

    def resize(self, size):
        """Have so many helpers from now on. Those there were end, as soon as they have done what they were given."""
        with self.changing:
            if size != self.size:
                self.end()
                self.size = size

    def end(self):
        if self.executor is not None:
            self.executor.shutdown(wait=False)
            self.executor = None

    def send(self, job, count):
        """Have `count` helpers work on the job, each in a copy of the caller's context: its precision, its errstate."""
        # at the end of the program there are no new threads: the caller does it all
        with self.changing, contextlib.suppress(RuntimeError):
            for _ in range(min(count, self.size)):
                self.executor = self.executor or ThreadPoolExecutor(self.size, thread_name_prefix="minidl")
                self.executor.submit(copy_context().run, job.help)

    def before_fork(self):
        self.changing.acquire()
        self.forks += 1
        self.changing.wait_for(lambda: self.busy <= {threading.get_ident()}, PATIENCE)

    def after_fork_in_parent(self):
        self.forks -= 1
        self.changing.notify_all()
        self.changing.release()

    def after_fork_in_child(self):
        self.forks, self.executor = 0, None
        self.busy &= {threading.get_ident()}
        self.changing.release()


pool = _Pool()
if hasattr(os, "register_at_fork"):     # Windows has no fork
    os.register_at_fork(before=pool.before_fork, after_in_parent=pool.after_fork_in_parent,
                        after_in_child=pool.after_fork_in_child)


class Job:
    """work(item) for each item: the caller and its helpers take one after the other."""

    def __init__(self, work, items):
        self.work, self.waiting = work, deque(enumerate(items))
        self.results, self.error = [None] * len(items), None
        self.helping = 0            # helpers that are in the middle of an item of this job

    def run(self, helpers):
        """[work(item) for each item]; the error of one, if there was any, after which nothing new was started."""
        try:
            pool.send(self, helpers)
            while self.take():
                pass
        finally:
            self.waiting.clear()    # after an error nobody starts anything new
            with pool.changing:
                pool.changing.wait_for(lambda: not self.helping)
            # a helper that has not begun yet holds the job, but nothing of the caller's
            error, results, self.error, self.results, self.work = self.error, self.results, None, None, None
        try:
            if error is not None:
                raise error
        finally:
            del error               # its traceback holds this frame
        return results

    def take(self):
        """Work on the next item; False where none was waiting."""
        try:
            k, item = self.waiting.popleft()
        except IndexError:
            return False
        self.results[k] = self.work(item)
        return True

    def help(self):
        """What a helper does: take items until none is waiting; between two of them a fork may come."""
        more = True
        while more:
            with pool.changing:
                pool.changing.wait_for(lambda: not pool.forks)
                if not self.waiting:
                    return
                self.helping += 1
                pool.busy.add(threading.get_ident())
            try:
                more = self.take()
            except BaseException as error:
                self.waiting.clear()
                self.error, more = error, False
            with pool.changing:
                self.helping -= 1
                pool.busy.discard(threading.get_ident())
                pool.changing.notify_all()
