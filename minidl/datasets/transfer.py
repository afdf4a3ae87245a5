"""Bring the missing bytes of one file from one server, whatever that server answers.

HTTP is left to the package requests, all but three things. Redirects are followed here, because one from https to
http must not be. The network is waited for in a thread, because a timeout of a socket begins anew with every byte.
And bytes are taken as they come, because a file that ends in .gz must not be unpacked on its way.
"""

import contextlib
import email.utils
import http
import os
import queue
import re
import sys
import threading
import time
from urllib.parse import urljoin, urlsplit

CONNECT_SECONDS = 10  # to reach a server
STALL_SECONDS = 30  # without a new block of bytes
LONGEST_WAIT = 60  # a server that wants us to wait longer is given up
REDIRECTS = 8
BLOCK = 1 << 14  # bytes
BUSY = (408, 425, 429)  # and all from 500: the same request may succeed later


class TransferError(Exception):
    """Why one server did not give us the file, in a few words.

    wait: after how many seconds another attempt makes sense; None: never
    """

    def __init__(self, reason, wait=None):
        super().__init__(reason)
        self.wait = wait


def transfer(url, part, remote, proceed):
    """Append to the file `part` what it still lacks of the RemoteFile `remote`, as far as it comes.

    proceed(): called with every block of bytes; what it raises ends the transfer
    Raises TransferError, and OSError where `part` cannot be written.
    """
    items = promptly(answer_and_blocks(url, size_of(part)), CONNECT_SECONDS + STALL_SECONDS)
    progress = Progress(remote, url)
    with contextlib.closing(items):
        have = start_of(next(items), size_of(part), remote, part)
        try:
            with open(part, "ab" if have else "wb") as file:
                for block in items:
                    proceed()
                    have += len(block)
                    if have > remote.size:
                        raise TransferError(f"sent more than {remote.size:,} bytes")
                    file.write(block)
                    progress.show(have)
        finally:
            progress.end()


def promptly(items, seconds):
    """The items of a generator, which works in a thread; TransferError when one takes longer than `seconds`."""
    asked, given, name = queue.SimpleQueue(), queue.SimpleQueue(), "no answer within"

    def work():
        while asked.get():
            try:
                given.put((next(items), None))
            except BaseException as problem:
                given.put((None, problem))
        items.close()

    threading.Thread(target=work, daemon=True).start()
    try:
        while True:
            asked.put(True)
            try:
                item, problem = given.get(timeout=seconds)
            except queue.Empty:
                raise TransferError(f"{name} {seconds:g} seconds", wait=0) from None
            if isinstance(problem, StopIteration):
                return
            if problem is not None:
                raise problem
            name = "silent for"
            yield item
    finally:
        asked.put(False)


def answer_and_blocks(url, have):
    """The server's answer, then its bytes, block by block. Where the line breaks, they end."""
    import requests  # here, because `import minidl` must stay quick
    import urllib3

    headers = {"Accept-Encoding": "identity"}  # the file's own bytes, so that sizes can be compared
    if have:
        headers["Range"] = f"bytes={have}-"
    with requests.Session() as session:
        session.get_redirect_target = lambda answer: None  # requests would follow from https to http
        try:
            answer = follow(session, url, headers)
        except TransferError:
            raise
        except Exception as problem:  # requests lets through what a dozen modules below it raise
            raise why_no_answer(problem) from problem
        with answer:
            yield answer
            try:
                yield from answer.raw.stream(BLOCK, decode_content=False)
            except urllib3.exceptions.ReadTimeoutError as problem:
                raise TransferError(f"silent for {STALL_SECONDS} seconds", wait=0) from problem
            except Exception:  # the line broke: the size tells it
                return


def follow(session, url, headers):
    """The answer at the end of all redirects."""
    for _ in range(REDIRECTS + 1):
        answer = session.get(url, headers=headers, stream=True, allow_redirects=False,
                             timeout=(CONNECT_SECONDS, STALL_SECONDS))
        if answer.status_code not in (301, 302, 303, 307, 308):
            return answer
        answer.close()
        url = next_address(url, answer.headers.get("Location", ""))
    raise TransferError(f"more than {REDIRECTS} redirects")


def next_address(url, location):
    """Where a redirect from `url` leads."""
    try:
        address = urljoin(url, location.encode("latin-1").decode())  # requests reads headers as Latin-1
        parts = urlsplit(address)
        usable = bool(location and parts.hostname) and parts.port != 0  # a port that is no number raises here
    except ValueError:
        usable = False
    if not usable:
        raise TransferError("redirects to an address that is malformed")
    if parts.scheme not in {"https", urlsplit(url).scheme}:
        raise TransferError(f"redirects to {parts.scheme!r:.20}, where minidl does not follow")
    return address


def why_no_answer(problem):
    """The TransferError for what requests raised."""
    from requests import exceptions as known

    bundle = next((f"{name}={os.environ[name]}" for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
                   if os.environ.get(name)), None)
    if isinstance(problem, known.SSLError) and "CERTIFICATE" not in str(problem):  # no TLS at all, or it broke off
        return TransferError("no connection by TLS", wait=0)
    if isinstance(problem, known.SSLError) or (bundle and type(problem) is OSError):
        return TransferError("its identity could not be verified (TLS certificate). " + (
            f"The environment says {bundle}: is that the right file of certificates?" if bundle else
            "Is the clock of this computer right? In a network that reads along, ask for its certificate, and name the "
            "file in the environment variable REQUESTS_CA_BUNDLE"))
    if isinstance(problem, known.ConnectTimeout):
        return TransferError(f"no answer within {CONNECT_SECONDS} seconds", wait=0)
    if isinstance(problem, known.ReadTimeout):
        return TransferError(f"no answer within {STALL_SECONDS} seconds", wait=0)
    if isinstance(problem, known.ProxyError):
        return TransferError("no connection through the proxy", wait=0)
    if isinstance(problem, known.ConnectionError):
        return TransferError("no connection", wait=0)
    return TransferError(f"no usable answer ({type(problem).__name__})")


def start_of(answer, have, remote, part):
    """The byte of the file from which the server sends: `have`, as it was asked, or 0."""
    number, headers = answer.status_code, answer.headers
    if number not in (200, 206):
        raise refusal(number, headers.get("Retry-After"), part)
    if "html" in headers.get("Content-Type", "").lower():
        raise TransferError("offers a web page instead of the file (a login page of the network, perhaps?)")
    if number == 200:
        have = 0
    first, last = 0, remote.size - 1
    if number == 206:
        named = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", headers.get("Content-Range", ""))
        first, last = map(int, named.groups()[:2]) if named else (-1, -1)
        if first != have or not first <= last < remote.size or named[3] not in ("*", str(remote.size)):
            part.unlink(missing_ok=True)  # begin anew: it would answer the same to the next try
            raise TransferError("sent another range than the one asked for")
    announced, expected = headers.get("Content-Length"), last - first + 1
    if announced is not None and announced != str(expected):
        raise TransferError(f"offers {announced:.30} bytes instead of {expected} "
                            f"(a login page of the network, perhaps?)")
    return have


def refusal(number, retry_after, part):
    """The TransferError for a status that brings no file."""
    phrases = {status.value: status.phrase for status in http.HTTPStatus}  # the server's own words may be anything
    reason = f"status {number} {phrases.get(number, '')}".rstrip()
    if number == 416:  # the server does not know the range that we have reached: begin anew
        part.unlink(missing_ok=True)
        return TransferError(reason, wait=0)
    if number not in BUSY and not 500 <= number < 600:
        return TransferError(reason)
    wait = seconds_to_wait(retry_after)
    if wait > LONGEST_WAIT:
        return TransferError(f"{reason}, and wants to be left alone for more than {LONGEST_WAIT} seconds")
    return TransferError(reason, wait)


def seconds_to_wait(retry_after):
    """What the header Retry-After asks for: a number of seconds, or a date. 0 where it says nothing."""
    if retry_after is None:
        return 0
    try:
        if re.fullmatch("[0-9]+", retry_after):
            return float(retry_after)
        return max(0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0


def size_of(path):
    return path.stat().st_size if path.exists() else 0


class Progress:
    """One line that tells how far a download is: rewritten in place on a terminal, said once anywhere else."""

    def __init__(self, remote, url):
        self.total = remote.size
        self.text = f"downloading {remote.name} from {urlsplit(url).hostname}"
        self.terminal = sys.stdout is not None and sys.stdout.isatty()
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
