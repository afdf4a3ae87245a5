"""Fetch a file over the network so that it is either there, whole and right, or not there at all.

A download goes into a file of its own, NAME.<random>.part, which no other process ever writes, and gets its final name
by one rename after its size and its SHA-256 were found right. What an interrupted download leaves behind, NAME.part,
the next one continues. Of all processes that want a file at once, one downloads, and the others wait (`lock`). Where
nothing came, the folders that were made for it are removed.
"""

import contextlib
import errno
import glob
import hashlib
import os
import random
import shutil
import time
import uuid
from pathlib import Path
from typing import NamedTuple

from minidl.datasets.lock import Lock, LockLostError
from minidl.datasets.transfer import TransferError, size_of, transfer
from minidl.errors import DataError

TOTAL_SECONDS = 3600  # for waiting, all mirrors and all attempts; what came until then stays for the next run
WAITS = (1, 3, 9)  # seconds before the mirrors are asked once more, and up to half as much on top, by chance
ATTEMPTS = 20  # at one mirror, as long as each of them brings new bytes


class RemoteFile(NamedTuple):
    """A published file: its name, its size in bytes, its SHA-256, and the addresses that offer it, best first."""

    name: str
    size: int
    sha256: str
    urls: tuple


class OutOfTimeError(Exception):
    """TOTAL_SECONDS are over."""


def fetch(remote, folder):
    """The path of the whole, checked file `remote` in `folder`, downloaded from one mirror after the other if need be.

    Raises DataError when no mirror delivers; it names every mirror with its reason, and the place for a copy by hand.
    """
    target = Path(folder) / remote.name
    try:
        if target.is_file():
            return accepted(target, remote)
        if os.environ.get("MINIDL_OFFLINE", "0") not in ("", "0"):
            raise DataError(f"{target} is missing, and MINIDL_OFFLINE forbids to download it. Unset MINIDL_OFFLINE and "
                            f"run this again.\n{by_hand(remote, target)}")
        new_folders = [place for place in target.parents if not place.exists()]  # the innermost first
        try:
            while True:
                with contextlib.suppress(LockLostError):
                    return fetch_or_wait(remote, target)
        finally:
            remove_empty(new_folders)
    except BrokenPipeError:  # the reader of what is printed has left
        raise
    except (DataError, OSError) as problem:
        if is_right(target, remote):  # another process, or somebody's hand, has put it there meanwhile
            return target
        if isinstance(problem, DataError):
            raise
        raise DataError(f"{cannot_write(target, problem)}\n{by_hand(remote, target)}") from problem


def fetch_or_wait(remote, target):
    """Download the file, or wait for another process that does."""
    until = time.monotonic() + TOTAL_SECONDS
    lock = Lock(target.with_name(f"{target.name}.lock"))

    def proceed():
        lock.check()
        if time.monotonic() > until:
            raise OutOfTimeError

    try:
        waited = lock.wait(arrived=lambda: size_of(target) == remote.size, until=until)
        if target.is_file():
            return accepted(target, remote)
        # who waited for a download that failed asks every mirror once: thirty waits after each other help nobody
        return download(remote, target, () if waited else WAITS, proceed)
    finally:
        lock.release()


def download(remote, target, waits, proceed):
    """Download the file while nobody else does. proceed(): raises when this must end."""
    part = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.part")
    reasons = {}
    try:
        collect(target, part)
        if ask_mirrors(remote, part, waits, proceed, reasons):
            os.replace(part, target)
            return target
    except OutOfTimeError:
        reasons[""] = f"it was not there after {TOTAL_SECONDS / 60:.0f} minutes"
    finally:
        release_part(part, target)
    tried = "\n    ".join(f"{url}: {reason}" if url else reason for url, reason in reasons.items())
    raise DataError(f"cannot download {remote.name}. Tried\n    {tried}\nCheck the network and run this again: it goes "
                    f"on where it stopped.\n{by_hand(remote, target)}")


def ask_mirrors(remote, part, waits, proceed, reasons):
    """Bring `part` to a whole and right file; returns whether that worked. reasons: gets {address: why it did not}."""
    left = dict.fromkeys(remote.urls, 0)  # {address: how many seconds it wants to be left alone}
    pauses = iter(waits)
    while left:
        for url in [url for url, seconds in left.items() if seconds <= 0]:
            try:
                fetch_from(url, part, remote, proceed)
                return True
            except TransferError as problem:
                reasons[url], left[url] = str(problem), problem.wait
        left = {url: seconds for url, seconds in left.items() if seconds is not None}
        wait = next(pauses, None)
        if wait is None or not left:
            break
        seconds = max(wait * random.SystemRandom().uniform(1, 1.5), min(left.values()))
        print(f"{remote.name}: {reasons[min(left, key=left.get)]}; trying again in {seconds:.0f} s", flush=True)
        rest(seconds, proceed)
        left = {url: wanted - seconds for url, wanted in left.items()}
    return False


def rest(seconds, proceed):
    """Sleep, and wake up each second to see whether to go on."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        proceed()
        time.sleep(min(1, left))


def fetch_from(url, part, remote, proceed):
    """Bring `part` to a whole and right file from one mirror, or raise TransferError. As long as new bytes come, it
    tries again; after it had to throw away what there was, once."""
    anew = False
    for attempt in range(ATTEMPTS):
        before = size_of(part)
        try:
            part.parent.mkdir(parents=True, exist_ok=True)  # a download that failed elsewhere may have removed it
            if before < remote.size:
                transfer(url, part, remote, proceed)
            check(part, remote)
            return
        except TransferError:
            after = size_of(part)
            if after == before or (after < before and anew) or attempt == ATTEMPTS - 1:
                raise
            anew = anew or after < before


def check(part, remote):
    """Compare size and SHA-256. A short file may stay, to be continued; a wrong one goes."""
    size = size_of(part)
    if size < remote.size:
        raise TransferError(f"broke off after {size:,} of {remote.size:,} bytes", wait=0)
    if not is_right(part, remote):
        part.unlink()
        raise TransferError("sent other bytes than the official file's (wrong SHA-256)")


def is_right(path, remote):
    """Whether the file has the size and the SHA-256 of the official one."""
    try:
        return path.stat().st_size == remote.size and sha256_of(path) == remote.sha256
    except OSError:
        return False


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def accepted(target, remote):
    """The path of a file that somebody put there, after its check."""
    if is_right(target, remote):
        return target
    raise DataError(f"{target} is not the official file: it has {size_of(target):,} bytes, and other content. If it "
                    f"is still being copied, wait; else delete it. Then run this again.\n{by_hand(remote, target)}")


def by_hand(remote, target):
    """How to get the file without minidl."""
    return ("Or put the file there by hand: download it on another computer from one of these addresses\n    "
            + "\n    ".join(remote.urls) +
            f"\nand save it as\n    {target}\nIt has {remote.size:,} bytes, SHA-256 {remote.sha256}.")


def cannot_write(target, problem):
    """What an OSError means for who wants to download, and the cure."""
    cure = "choose another folder with the argument data_dir or the environment variable MINIDL_DATA."
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"cannot write {target}: {problem.strerror}. Free some space, or {cure}"
    if problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (f"cannot write {target}: you may not write into that folder ({problem.strerror}). Ask its owner to "
                f"fetch the file, or {cure}")
    return f"cannot write {target}: {problem.strerror or problem}. Make room for the folder, or {cure}"


def collect(target, part):
    """Begin with the longest of what earlier downloads left behind, and remove all of it.

    It is copied, not renamed: a process that was suspended may still write into the old file.
    """
    left = sorted(target.parent.glob(f"{glob.escape(target.name)}*.part"), key=size_of)
    if left:
        shutil.copyfile(left[-1], part)
    for old in left:
        old.unlink(missing_ok=True)


def release_part(part, target):
    """Leave what came so far for the next download; after a success there is nothing left."""
    left = target.with_name(f"{target.name}.part")
    if size_of(part) > size_of(left) and not target.exists():
        os.replace(part, left)
    else:
        part.unlink(missing_ok=True)


def remove_empty(folders):
    """Remove these folders; one that has something in it stays, and so do those around it."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()
