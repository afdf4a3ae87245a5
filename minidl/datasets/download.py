"""Fetch a file over the network so that it is either there, whole and right, or not there at all.

A download goes into a file of its own, NAME.<random>.part, and gets its final name by one rename after its size and
its SHA-256 were found right. What an interrupted download leaves behind, the next one continues. Where nothing came,
the folders that were made for it are removed.
"""

import contextlib
import hashlib
import os
import sys
import time
import uuid
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from minidl.errors import DataError

CONNECT_SECONDS = 10  # to reach a server
STALL_SECONDS = 30  # without a single new byte
ORPHAN_SECONDS = 120  # a .part file untouched for so long belongs to no living download
ATTEMPTS = 20  # at one mirror, as long as each of them brings new bytes
BLOCK = 1 << 14


class RemoteFile(NamedTuple):
    """A published file: its name, its size in bytes, its SHA-256, and the addresses that offer it, best first."""

    name: str
    size: int
    sha256: str
    urls: tuple


class TransferError(Exception):
    """Why one mirror did not give us the file, in a few words."""


def fetch(remote, folder):
    """Download `remote` into `folder`, trying one mirror after the other; return the path of the whole, checked file.

    Raises DataError when no mirror delivers; it names every mirror with its reason, and the place for a copy by hand.
    """
    target = Path(folder) / remote.name
    by_hand = ("Or put the file there by hand: download it on another computer from one of these addresses\n    "
               + "\n    ".join(remote.urls) +
               f"\nand save it as\n    {target}\nIt has {remote.size:,} bytes, SHA-256 {remote.sha256}.")
    if os.environ.get("MINIDL_OFFLINE", "0") not in ("", "0"):
        raise DataError(f"{target} is missing, and MINIDL_OFFLINE forbids to download it. "
                        f"Unset MINIDL_OFFLINE and run this again.\n{by_hand}")
    reasons = []
    try:
        new_folders = [place for place in target.parents if not place.exists()]  # the innermost first
        part = claim_part(target)
        try:
            for url in remote.urls:
                reason = fetch_from(url, part, remote)
                if reason is None:
                    os.replace(part, target)
                    return target
                reasons.append(f"{url}: {reason}")
        finally:
            release_part(part, target)
            remove_empty(new_folders)
    except OSError as problem:
        raise DataError(f"cannot write {target}: {problem.strerror or problem}. Free some space, or choose another "
                        f"folder with the argument data_dir or the environment variable MINIDL_DATA.") from problem
    raise DataError(f"cannot download {remote.name}. Tried\n    " + "\n    ".join(reasons) +
                    f"\nCheck the network and run this again: it goes on where it stopped.\n{by_hand}")


def fetch_from(url, part, remote):
    """Bring `part` to a whole and right file from one mirror. Returns None, or the reason why it did not work."""
    reason = None
    for _ in range(ATTEMPTS):
        before = size_of(part)
        part.parent.mkdir(parents=True, exist_ok=True)  # each time: another download that failed may have removed it
        part.touch()  # a sign of life for other processes
        try:
            if before < remote.size:
                transfer(url, part, remote)
            check(part, remote)
            return None
        except TransferError as problem:
            reason = str(problem)
        if size_of(part) == before:  # nothing has changed: another attempt would end alike
            return reason
    return reason


def transfer(url, part, remote):
    """Append to `part` the bytes that it still lacks."""
    import requests  # here, because `import minidl` must stay quick

    have = size_of(part)
    headers = {"Accept-Encoding": "identity"}  # the file's own bytes, so that sizes can be compared
    if have:
        headers["Range"] = f"bytes={have}-"
    progress = Progress(remote, url)
    try:
        with requests.get(url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, STALL_SECONDS)) as answer:
            have = start_of(answer, have, remote, part)
            with open(part, "ab" if have else "wb") as file:
                for block in answer.iter_content(BLOCK):
                    have += len(block)
                    if have > remote.size:
                        raise TransferError(f"sent more than {remote.size:,} bytes")
                    file.write(block)
                    progress.show(have)
    except requests.exceptions.ConnectTimeout:
        raise TransferError(f"no answer within {CONNECT_SECONDS} seconds") from None
    except requests.exceptions.SSLError:
        raise TransferError("its identity could not be verified (TLS certificate)") from None
    except (requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError) as problem:
        stalled = "timed out" in str(problem)
        raise TransferError(f"silent for {STALL_SECONDS} seconds" if stalled else "no connection") from None
    except requests.exceptions.ChunkedEncodingError:
        pass  # the line broke: `check` sees that the file is too short
    except requests.exceptions.RequestException as problem:
        raise TransferError(type(problem).__name__) from None
    finally:
        progress.end()


def start_of(answer, have, remote, part):
    """The byte of the file from which the server sends: `have`, as it was asked, or 0."""
    if answer.status_code not in (200, 206):
        if answer.status_code == 416:  # the server does not know the range we have reached: begin anew
            part.unlink()
        raise TransferError(f"status {answer.status_code} {answer.reason or ''}".rstrip())
    if answer.status_code == 200:
        have = 0
    elif not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        raise TransferError("sent another range than the one asked for")
    announced = answer.headers.get("Content-Length")
    if announced is not None and announced != str(remote.size - have):
        raise TransferError(f"offers {announced} bytes instead of {remote.size - have} "
                            f"(a login page of the network, perhaps?)")
    return have


def check(part, remote):
    """Compare size and SHA-256. A short file may stay, to be continued; a wrong one goes."""
    size = size_of(part)
    if size < remote.size:
        raise TransferError(f"broke off after {size:,} of {remote.size:,} bytes")
    digest = hashlib.sha256()
    with open(part, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if size > remote.size or digest.hexdigest() != remote.sha256:
        part.unlink()
        raise TransferError("sent other bytes than the official file's (wrong SHA-256)")


def claim_part(target):
    """A file that only this process writes, holding what an interrupted download of the same file left behind.

    Renaming is what makes it safe: of two processes that want the same leftover, one finds it gone.
    """
    mine = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.part")
    for leftover in sorted(target.parent.glob(f"{target.name}*.part")):
        try:
            abandoned = leftover.name == f"{target.name}.part"
            if abandoned or time.time() - leftover.stat().st_mtime > ORPHAN_SECONDS:
                os.utime(leftover)  # from now on it is ours, and looks alive
                os.replace(leftover, mine)
                break
        except FileNotFoundError:  # another process was quicker
            continue
    return mine


def release_part(part, target):
    """Leave what came so far for the next download; after a success there is nothing left."""
    if size_of(part):
        os.replace(part, target.with_name(f"{target.name}.part"))
    else:
        part.unlink(missing_ok=True)


def remove_empty(folders):
    """Remove these folders; one that has something in it stays, and so do those around it."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def size_of(path):
    return path.stat().st_size if path.exists() else 0


class Progress:
    """One line that tells how far a download is: rewritten in place on a terminal, said once anywhere else."""

    def __init__(self, remote, url):
        self.total = remote.size
        self.text = f"downloading {remote.name} from {urlsplit(url).hostname}"
        self.terminal = sys.stdout.isatty()
        self.shown_at = 0.0
        self.begun = False

    def show(self, have):
        now = time.monotonic()
        if self.terminal and (now - self.shown_at > 0.2 or have == self.total):
            print(f"\r{self.text}: {have / 1e6:.1f} of {self.total / 1e6:.1f} MB", end="", flush=True)
            self.shown_at = now
        elif not self.terminal and not self.begun:
            print(f"{self.text} ({self.total / 1e6:.1f} MB)", flush=True)
        self.begun = True

    def end(self):
        if self.terminal and self.begun:
            print()
