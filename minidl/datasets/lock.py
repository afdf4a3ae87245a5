"""One process at a time, among all that share a folder, on one computer or over a network: a lock file.

While its holder works, a thread sets the file's time every few seconds. A waiting process that sees the same time for
STALE_SECONDS, by its own clock, takes over: the holder was killed, or suspended. (The clocks of two computers are
never compared, and no lock of the operating system is used, because shared disks often lack them.)

The lock saves work, and protects nothing: a holder that was suspended continues after another has taken over. So who
holds it writes into files of its own, and gives them their final names in one step.
"""

import contextlib
import os
import platform
import threading
import time
import uuid
from pathlib import Path

from minidl.errors import DataError

BEAT_SECONDS = 5
STALE_SECONDS = 60
SETTLE_SECONDS = 1  # of several processes that take over at once, the last to write within this time wins
POLL_SECONDS = 0.5


class LockLostError(Exception):
    """Another process has taken over: this one was suspended, or the lock was deleted."""


class Lock:
    """A lock file; `wait` for it, `check` now and then that it is still ours, `release` it in the end.

        lock = Lock(folder / "file.bin.lock")
        try:
            lock.wait(arrived=(folder / "file.bin").is_file, until=time.monotonic() + 3600)
            ...
        finally:
            lock.release()
    """

    def __init__(self, path):
        self.path = Path(path)
        self.mark = f"{uuid.uuid4().hex} process {os.getpid()} on {platform.node()}"
        self.ended = threading.Event()
        self.lost = False

    def wait(self, arrived, until):
        """Return when the lock is ours, or when arrived() is true: then it is not. Returns whether we had to wait.

        until: the value of time.monotonic() at which a DataError ends the waiting
        """
        seen, since, waited = None, time.monotonic(), False
        while not self._take():
            if arrived():
                return True
            now, state = time.monotonic(), self._state()
            if state != seen:
                seen, since = state, now
            elif state and now - since > STALE_SECONDS and self._take_over():
                break
            holder = state[0].partition(" ")[2][:80] if state else ""
            if now > until:
                raise DataError(f"{self.path.stem} is still being downloaded by {holder or 'another process'}, which "
                                f"has taken too long. Stop it, or delete {self.path}, and run this again.")
            if not waited and state:
                print(f"waiting for {self.path.stem}, which {holder or 'another process'} downloads (if that was "
                      f"killed, this one goes on in {STALE_SECONDS} seconds)", flush=True)
                waited = True
            time.sleep(POLL_SECONDS)
        threading.Thread(target=self._beat, daemon=True).start()
        return waited

    def check(self):
        if self.lost:
            raise LockLostError

    def release(self):
        self.ended.set()
        with contextlib.suppress(OSError):
            if self._is_ours():
                self.path.unlink()

    def _take(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(self.path, "x", encoding="utf-8") as file:  # made by one process only, on shared disks as well
                file.write(self.mark)
        except (FileExistsError, FileNotFoundError):  # a download that failed may remove its folder in between
            return False
        return True

    def _take_over(self):
        """Replace an abandoned lock. Several processes may do so at once: the last one has it."""
        own = self.path.with_name(f"{self.path.name}.{self.mark[:8]}")
        own.write_text(self.mark, encoding="utf-8")
        os.replace(own, self.path)
        time.sleep(SETTLE_SECONDS)
        return self._is_ours()

    def _state(self):
        """(mark, time of the last beat), or None where there is no lock. Opening the file gets its time from a server
        anew; `stat` alone may answer from memory."""
        try:
            with open(self.path, encoding="utf-8", errors="replace") as file:
                return file.read(200), os.fstat(file.fileno()).st_mtime_ns
        except FileNotFoundError:
            return None

    def _is_ours(self):
        state = self._state()
        return state is not None and state[0] == self.mark

    def _beat(self):
        while not self.ended.wait(BEAT_SECONDS):
            try:
                if not self._is_ours():
                    self.lost = True
                    return
                os.utime(self.path)
            except OSError:  # a shared disk that does not answer for a moment
                continue
