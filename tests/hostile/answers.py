"""The table: what a server may answer, and what has to come of it.

A row is (answers, outcome): the answers are those of one mirror, one for each request in turn (the last one serves for
all that follow); the outcome is RIGHT, or words of the one error that has to come where this mirror is the only one.
"""

import gzip
import itertools
import time

from hostile.server import CONTENT, SIZE

RIGHT = None
HALF = SIZE // 2
PAGE = b"<!doctype html><html><title>Welcome to the school's network</title>Please log in</html>"
FLIPPED = CONTENT[:HALF] + bytes([CONTENT[HALF] ^ 1]) + CONTENT[HALF + 1:]


def good(wire):
    wire.send_file()


def status(line, *lines):
    return lambda wire: wire.say(line, b"sorry", *lines)


def sends(content, *lines):
    """Another file, as a good server sends it."""
    return lambda wire: wire.send_file(content, *lines)


def body(*lines, content=CONTENT):
    """200 with these header lines alone, then the bytes, then the end of the connection."""
    def answer(wire):
        wire.head("200 OK", *lines)
        wire.write(content)
    return answer


def raw(content):
    return lambda wire: wire.write(content)


def for_ever(content, head=b""):
    def answer(wire):
        wire.write(head)
        while True:
            wire.write(content)
    return answer


def redirect(location, line="302 Found", *lines):
    return lambda wire: wire.say(line, b"moved", f"Location: {location}", *lines)


def redirects_to_good(line, absolute="{path}/good"):
    """A redirect; what it leads to is the file."""
    def answer(wire):
        if wire.path.endswith("/good"):
            return wire.send_file()
        return wire.say(line, b"", f"Location: {absolute.format(path=wire.path, port=wire.port)}")
    return answer


def chunks(pieces, end=b"0\r\n\r\n", extension=b""):
    def answer(wire):
        wire.head("200 OK", "Transfer-Encoding: chunked")
        for piece in pieces:
            wire.write(f"{len(piece):x}".encode() + extension + b"\r\n" + piece + b"\r\n")
        wire.write(end)
    return answer


def range_says(content_range, content=CONTENT):
    """Right bytes, wrong words about them; the whole file where no range is asked for."""
    def answer(wire):
        if not wire.start:
            content_of_head = wire.begin_file()
            return wire.write(content_of_head[:HALF])  # breaks off, so that a range is asked for
        line = [f"Content-Range: {content_range.format(start=wire.start, last=SIZE - 1, size=SIZE)}"]
        return wire.say("206 Partial Content", content[wire.start:], *(line if content_range else []))
    return answer


def at_most(count):
    """Never more than `count` bytes in one answer, which is what a range permits."""
    def answer(wire):
        end = min(wire.start + count, SIZE)
        wire.say("206 Partial Content", CONTENT[wire.start:end], f"Content-Range: bytes {wire.start}-{end - 1}/{SIZE}")
    return answer


def ends_after(share, reset=False):
    """Announces all that is missing, and breaks off."""
    def answer(wire):
        rest = wire.begin_file()
        wire.write(rest[:int(len(rest) * share)])
        if reset:
            time.sleep(0.02)  # what was sent arrives before the end does
            wire.reset()
    return answer


def stops_after(count):
    """Silence after the first `count` bytes of the file; the connection stays open."""
    def answer(wire):
        wire.write(wire.begin_file()[:max(0, count - wire.start)])
        time.sleep(2)
    return answer


def silent(wire):
    time.sleep(2)


def drips(content, seconds=0.05):
    """A byte now and then: never silent long enough to be called silent."""
    def answer(wire):
        for value in content if isinstance(content, bytes) else content(wire):
            wire.write(bytes([value]))
            time.sleep(seconds)
    return answer


def in_small_pieces(wire):
    rest = wire.begin_file()
    for place in range(0, len(rest), 1000):
        wire.write(rest[place:place + 1000])


def interim(*lines):
    def answer(wire):
        wire.write("".join(f"HTTP/1.1 {line}\r\n\r\n" for line in lines).encode())
        wire.send_file()
    return answer


def only_with_range(answer):
    """Breaks off at first, so that the rest is asked for, and answers that."""
    return lambda wire: answer(wire) if wire.start else ends_after(0.5)(wire)


ANSWERS = {
    # ------------------------------------------------------------------------------------- odd, and still the file
    "good": (good, RIGHT),
    "no length": (body(), RIGHT),
    "HTTP/1.0": (raw(b"HTTP/1.0 200 OK\r\n\r\n" + CONTENT), RIGHT),
    "chunked": (chunks([CONTENT[:7], CONTENT[7:HALF], CONTENT[HALF:]]), RIGHT),
    "chunked with extensions and trailers": (chunks([CONTENT], b"0\r\nX-Sum: 1\r\n\r\n", b";name=value"), RIGHT),
    "knows no ranges": ([ends_after(0.5), body(f"Content-Length: {SIZE}")], RIGHT),
    "a few bytes in each answer": (at_most(30_000), RIGHT),
    "size of the whole not told": (range_says("bytes {start}-{last}/*"), RIGHT),
    "small pieces": (in_small_pieces, RIGHT),
    "more behind the announced end": (body(f"Content-Length: {SIZE}", content=CONTENT + b"more"), RIGHT),
    "says gzip, sends the file": (body("Content-Encoding: gzip", f"Content-Length: {SIZE}"), RIGHT),
    "100 Continue first": (interim("100 Continue"), RIGHT),
    "header names in capitals": (body(f"CONTENT-LENGTH:    {SIZE}", "content-type:application/octet-stream"), RIGHT),
    # ------------------------------------------------------------------------------------------ breaks, then the file
    "breaks off once": ([ends_after(0.5), good], RIGHT),
    "breaks off ten times": ([*[ends_after(0.3)] * 10, good], RIGHT),
    "reset in the middle": ([ends_after(0.5, reset=True), good], RIGHT),
    "reset at once": ([lambda wire: wire.reset(), good], RIGHT),
    "closes without a word, once": ([raw(b""), good], RIGHT),
    "chunked, breaks off, then good": ([chunks([CONTENT[:HALF]], b"5\r\nab"), good], RIGHT),
    "silent, then good": ([stops_after(HALF), good], RIGHT),
    "416, then good": ([status("416 Range Not Satisfiable"), good], RIGHT),
    "500, then good": ([status("500 Internal Server Error"), good], RIGHT),
    "502, then good": ([status("502 Bad Gateway"), status("502 Bad Gateway"), good], RIGHT),
    "503, then good": ([status("503 Service Unavailable"), good], RIGHT),
    "504, then good": ([status("504 Gateway Timeout"), good], RIGHT),
    "408, then good": ([status("408 Request Timeout"), good], RIGHT),
    "429, then good": ([status("429 Too Many Requests"), good], RIGHT),
    "429 with Retry-After, then good": ([status("429 Too Many Requests", "Retry-After: 2"), good], RIGHT),
    "429 with a date, then good": ([status("429 Too Many Requests", "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT"),
                                   good], RIGHT),
    "503 with a silly Retry-After, then good": ([status("503 Service Unavailable", "Retry-After: soon, I hope"), good],
                                               RIGHT),
    "429 with a negative Retry-After, then good": ([status("429 Too Many Requests", "Retry-After: -5"), good], RIGHT),
    # ----------------------------------------------------------------------------------------------- redirects
    "301 to a path": (redirects_to_good("301 Moved Permanently"), RIGHT),
    "302 to another host": (redirects_to_good("302 Found", "http://localhost:{port}{path}/good"), RIGHT),
    "303": (redirects_to_good("303 See Other"), RIGHT),
    "307 beside": (redirects_to_good("307 Temporary Redirect", "file.bin/good"), RIGHT),
    "308": (redirects_to_good("308 Permanent Redirect", "//127.0.0.1:{port}{path}/good"), RIGHT),
    "to itself": (redirect("/0/file.bin"), "redirect"),
    "from one to the next": (lambda wire: redirect(f"{wire.path}?x")(wire), "redirect"),
    "to nowhere": (status("302 Found"), "redirect"),
    "to an empty address": (redirect(""), "redirect"),
    "to half an IPv6 address": (redirect("http://[::1"), "redirect"),
    "to a bad IPv6 address": (redirect("http://[zz]/file.bin"), ""),
    "to two ports": (redirect("http://127.0.0.1:80:80/file.bin"), "redirect"),
    "to a port of letters": (redirect("http://127.0.0.1:port/file.bin"), "redirect"),
    "to a port that is too large": (redirect("http://127.0.0.1:99999/file.bin"), "redirect"),
    "to no host": (redirect("http:///file.bin"), ""),
    "to a host of dots": (redirect("http://..../file.bin"), ""),
    "to a host of 300 letters": (redirect(f"http://{'a' * 300}/file.bin"), ""),
    "to bytes that are no text": (redirect("http://127.0.0.1/\xff\xfe\x80"), ""),
    "to a host with a blank": (redirect("http://exa mple/file.bin"), ""),
    "to a control character": (redirect("http://127.0.0.1\x0b:1/\x1b[31m"), ""),
    "to a file of this computer": (redirect("file:///etc/passwd"), "redirect"),
    "to ftp": (redirect("ftp://127.0.0.1/file.bin"), "redirect"),
    "to a script": (redirect("javascript:alert(1)"), "redirect"),
    "to a very long address": (redirect("/" + "x" * 60_000), ""),
    "with an endless body": (for_ever(b"x" * 65536, b"HTTP/1.1 302 Found\r\nLocation: /0/file.bin\r\n\r\n"),
                             "redirect"),
    # ----------------------------------------------------------------------------------------------- refusals
    "404": (status("404 Not Found"), "status 404 Not Found"),
    "403": (status("403 Forbidden"), "status 403"),
    "401": (status("401 Unauthorized", 'WWW-Authenticate: Basic realm="x"'), "status 401"),
    "407": (status("407 Proxy Authentication Required"), "status 407"),
    "410": (status("410 Gone"), "status 410"),
    "451": (status("451 Unavailable For Legal Reasons"), "status 451"),
    "204": (raw(b"HTTP/1.1 204 No Content\r\n\r\n"), "status 204"),
    "304": (raw(b"HTTP/1.1 304 Not Modified\r\n\r\n"), "status 304"),
    "299": (status("299 Whatever"), "status 299"),
    "500 for ever": (status("500 Internal Server Error"), "status 500"),
    "503 for ever": (status("503 Service Unavailable"), "status 503"),
    "429 for ever": (status("429 Too Many Requests"), "status 429"),
    "429, come back tomorrow": (status("429 Too Many Requests", "Retry-After: 86400"), "status 429"),
    "429, come back never": (status("429 Too Many Requests", f"Retry-After: 1{'0' * 400}"), "status 429"),
    "416 for ever": (status("416 Range Not Satisfiable"), "status 416"),
    "a reason with escape codes": (status("503 \x1b[31mred\x1b[0m\x07"), "status 503"),
    "a status of letters": (raw(b"HTTP/1.1 abc OK\r\n\r\n"), ""),
    "a status of five digits": (raw(b"HTTP/1.1 20000 OK\r\n\r\n"), ""),
    "HTTP/9.9": (raw(b"HTTP/9.9 200 OK\r\n\r\n"), ""),
    # --------------------------------------------------------------------------------------------- other bytes
    "other bytes of the same size": (sends(CONTENT[::-1]), "wrong SHA-256"),
    "one bit flipped": (sends(FLIPPED), "wrong SHA-256"),
    "all zeros": (sends(bytes(SIZE)), "wrong SHA-256"),
    "another range than asked for": ([ends_after(0.5), body(f"Content-Range: bytes 7-{SIZE - 1}/{SIZE}")], RIGHT),
    "a byte too few": (sends(CONTENT[:-1]), f"offers {SIZE - 1} bytes instead of {SIZE}"),
    "a byte too many": (sends(CONTENT + b"x"), f"offers {SIZE + 1} bytes instead of {SIZE}"),
    "too short, no length": (body(content=CONTENT[:HALF]), f"broke off after {HALF:,}"),
    "too long, no length": (body(content=CONTENT + b"x"), f"more than {SIZE:,} bytes"),
    "endless": (for_ever(b"x" * 65536, b"HTTP/1.1 200 OK\r\n\r\n"), f"more than {SIZE:,} bytes"),
    "chunked endless": (for_ever(b"10000\r\n" + b"x" * 65536 + b"\r\n",
                                 b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), "more than 100,000 bytes"),
    "chunked, too short": (chunks([CONTENT[:HALF]]), f"broke off after {HALF:,}"),
    "chunks of no number": (chunks([], b"xyz\r\nabc\r\n"), "broke off after 0"),
    "a chunk without end": (chunks([], b"ffffffffffffffff\r\n" + CONTENT[:99]), "broke off after"),
    "a negative chunk": (chunks([], b"-5\r\nabc\r\n"), "broke off after 0"),
    "an endless line of chunk": (for_ever(b"1" * 65536, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), ""),
    "gzip": (body("Content-Encoding: gzip", content=gzip.compress(CONTENT, mtime=0)), ""),
    "a bomb of gzip": (body("Content-Encoding: gzip", content=gzip.compress(bytes(30_000_000), mtime=0)), ""),
    "a login page": (body("Content-Type: text/html", f"Content-Length: {len(PAGE)}", content=PAGE), "login page"),
    "a login page without length": (body("Content-Type: text/html; charset=utf-8", content=PAGE), "login page"),
    "a login page in disguise": (body("Content-Type: application/gzip", f"Content-Length: {len(PAGE)}", content=PAGE),
                                 "login page"),
    "a login page of the right size": (sends(PAGE.ljust(SIZE)), "wrong SHA-256"),
    "nothing": (body("Content-Length: 0", content=b""), f"offers 0 bytes instead of {SIZE}"),
    "nothing, no length": (body(content=b""), "broke off after 0"),
    # ------------------------------------------------------------------------------------------- words that do not fit
    "a length of letters": (body("Content-Length: abc"), "bytes instead of"),
    "a negative length": (body("Content-Length: -1"), "bytes instead of"),
    "two lengths": (body(f"Content-Length: {SIZE}", "Content-Length: 7"), ""),
    "a gigantic length": (body(f"Content-Length: 1{'0' * 30}"), "bytes instead of"),
    "206 from another place": (range_says("bytes 7-{last}/{size}"), "another range"),
    "206 of a file of another size": (range_says("bytes {start}-{last}/999999"), "another range"),
    "206 of nonsense": (range_says("elephants {start}"), "another range"),
    "206 without a range": (range_says(""), "another range"),
    "206 beyond the end": (range_says("bytes {start}-999999/{size}"), "another range"),
    "206 in parts": (only_with_range(lambda wire: wire.say("206 Partial Content", b"--x\r\n" + CONTENT, "Content-Type: "
                                                           "multipart/byteranges; boundary=x")), "another range"),
    "206 with bytes that are wrong": (only_with_range(sends(CONTENT[::-1])), "wrong SHA-256"),
    # ------------------------------------------------------------------------------------------------- no HTTP at all
    "closes without a word": (raw(b""), ""),
    "another protocol": (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), ""),
    "HTTP/0.9": (raw(CONTENT), ""),
    "half a head": (raw(b"HTTP/1.1 200 OK\r\nContent-Le"), ""),
    "a header without a colon": (raw(b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n" + PAGE), ""),
    "headers without end": (for_ever(b"X-Header: value\r\n" * 100, b"HTTP/1.1 200 OK\r\n"), ""),
    "one header without end": (for_ever(b"x" * 65536, b"HTTP/1.1 200 OK\r\nX-Header: "), ""),
    "100 Continue without end": (lambda wire: [(wire.write(b"HTTP/1.1 100 Continue\r\n\r\n"), time.sleep(0.01))
                                               for _ in itertools.count()], "no answer"),
    "reset for ever": (lambda wire: wire.reset(), ""),
    # ------------------------------------------------------------------------------------------------------ too slow
    "silent": (silent, "no answer"),
    "silent after the head": (stops_after(0), "silent"),
    "silent in the middle": (stops_after(HALF), "silent"),
    "drips the head": (drips(b"HTTP/1.1 200 OK\r\nX-Header: " + b"x" * 1000), "no answer"),
    "drips the file": (drips(lambda wire: wire.begin_file()), ""),
}
