"""Downloads from servers that answer badly: the right file, or one clear error, and nothing else in the folder.

The table of answers is tests/hostile/answers.py.
"""

import errno
import gc
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from hostile.answers import ANSWERS, HALF, RIGHT, ends_after, good, redirect, sends, status
from hostile.server import CONTENT, SIZE, serving

from minidl.datasets import SETS, command, download, load, lock, transfer
from minidl.errors import DataError

SHORT = {transfer: {"STALL_SECONDS": 0.3, "CONNECT_SECONDS": 0.2, "LONGEST_WAIT": 5},
         download: {"TOTAL_SECONDS": 3, "WAITS": (0.001, 0.001), "rest": lambda seconds, proceed: None},
         lock: {"POLL_SECONDS": 0.01}}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Waits of milliseconds; and nothing from the environment."""
    for name in ("MINIDL_DATA", "MINIDL_OFFLINE", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy",
                 "ALL_PROXY", "all_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    for module, values in SHORT.items():
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)


# where headers contradict each other, urllib3 leaves a socket to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running
    gc.collect()


def outcome(remote, folder):
    """RIGHT, or the words of the one error; after the checks of what must hold in any case."""
    beside = {path.name for path in folder.parent.iterdir()} | {folder.name}
    try:
        path = download.fetch(remote, folder)
        assert path == folder / remote.name and path.read_bytes() == CONTENT
        said = RIGHT
        assert [path.name for path in folder.iterdir()] == [remote.name]
    except DataError as error:
        said = str(error)
        left = [path.name for path in folder.iterdir()]
        assert left in ([], [f"{remote.name}.part"]), left
        assert remote.sha256 in said and str(folder / remote.name) in said
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", said), "control characters"
        assert len(said) < 2000, f"{len(said)} characters"
    assert {path.name for path in folder.parent.iterdir()} == beside
    return said


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_of_the_table(name, server, tmp_path, monkeypatch):
    """Alone; then, after a bad answer, from a good server, which collects what was left; beside a good mirror; and
    where the first half is there from an earlier run."""
    answers, expected = ANSWERS[name]
    folder = tmp_path / "data"
    folder.mkdir()
    said = outcome(server.remote(answers), folder)
    if expected is RIGHT:
        assert said is RIGHT
        (folder / "file.bin").unlink()
    else:
        assert said is not RIGHT and expected in said
        assert outcome(server.remote(good), folder) is RIGHT
        (folder / "file.bin").unlink()
    assert outcome(server.remote(answers, good), folder) is RIGHT
    (folder / "file.bin").unlink()
    (folder / "file.bin.part").write_bytes(CONTENT[:HALF])
    said = outcome(server.remote(answers, good), folder)
    assert said is RIGHT


# ------------------------------------------------------------------------------------------------- one download, told

def error_text(remote, folder):
    with pytest.raises(DataError) as caught:
        download.fetch(remote, folder)
    return str(caught.value)


def assert_fetched(path, folder):
    assert path == folder / "file.bin" and path.read_bytes() == CONTENT
    assert list(folder.iterdir()) == [path]  # no .part, no lock


@pytest.fixture
def fresh(server):
    """The server, which has been asked for nothing yet."""
    server.asked.clear()
    return server


def test_download(fresh, tmp_path, capsys):
    folder = tmp_path / "made" / "on the way"
    assert_fetched(download.fetch(fresh.remote(good), folder), folder)
    assert capsys.readouterr() == ("downloading file.bin from 127.0.0.1 (0.1 MB)\n", "")


def test_progress_on_a_terminal_is_one_line(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    download.fetch(server.remote(good), tmp_path)
    out = capsys.readouterr().out
    assert out.endswith("\rdownloading file.bin from 127.0.0.1: 0.1 of 0.1 MB\n") and out.count("\n") == 1


def test_a_cut_transfer_goes_on(fresh, tmp_path):
    half = ends_after(0.5)
    assert_fetched(download.fetch(fresh.remote([half, half, good]), tmp_path), tmp_path)
    assert [start for _, start in fresh.asked] == [0, HALF, HALF + HALF // 2]


def test_a_later_run_goes_on(fresh, tmp_path):
    assert "status 404" in error_text(fresh.remote([ends_after(0.5), status("404 Not Found")]), tmp_path)
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:HALF] and not (tmp_path / "file.bin").exists()
    fresh.asked.clear()
    assert_fetched(download.fetch(fresh.remote(good), tmp_path), tmp_path)
    assert fresh.asked == [("/0/file.bin", HALF)]


@pytest.mark.parametrize("rest", [b"rubbish", b"r" * SIZE, b"r" * (SIZE + 1)])
def test_rubbish_from_an_earlier_run_is_healed(server, tmp_path, rest):
    (tmp_path / "file.bin.part").write_bytes(rest)
    assert_fetched(download.fetch(server.remote(good), tmp_path), tmp_path)


def test_what_killed_downloads_left_is_collected(fresh, tmp_path):
    """The longest is continued; another file's is not touched."""
    (tmp_path / "file.bin.0123abcd.part").write_bytes(CONTENT[:70_000])
    (tmp_path / "file.bin.89abcdef.part").write_bytes(CONTENT[:60_000])
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:100])
    (tmp_path / "other.bin.part").write_bytes(b"other")
    download.fetch(fresh.remote(good), tmp_path)
    assert fresh.asked == [("/0/file.bin", 70_000)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.bin", "other.bin.part"]


def test_every_mirror_is_named_with_its_reason(server, tmp_path):
    remote = server.remote(status("403 Forbidden"), sends(b"26 bytes, and not the file"))
    remote = remote._replace(urls=(*remote.urls, "http://127.0.0.1:9/file.bin"))
    text = error_text(remote, tmp_path)
    assert f"{server.url}/0/file.bin: status 403 Forbidden" in text
    assert f"{server.url}/1/file.bin: offers 26 bytes instead of {SIZE} (a login page" in text
    assert "http://127.0.0.1:9/file.bin: no connection" in text
    assert str(tmp_path / "file.bin") in text and remote.sha256 in text and "by hand" in text


def test_offline_refuses_at_once(fresh, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDL_OFFLINE", "1")
    text = error_text(fresh.remote(good), tmp_path)
    assert "MINIDL_OFFLINE" in text and str(tmp_path / "file.bin") in text and fresh.asked == []
    monkeypatch.setenv("MINIDL_OFFLINE", "0")
    assert_fetched(download.fetch(fresh.remote(good), tmp_path), tmp_path)


def test_a_file_put_there_by_hand_is_accepted_after_its_check(fresh, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDL_OFFLINE", "1")
    (tmp_path / "file.bin").write_bytes(CONTENT)
    assert_fetched(download.fetch(fresh.remote(good), tmp_path), tmp_path)
    (tmp_path / "file.bin").write_bytes(CONTENT[:-1])
    assert f"{tmp_path / 'file.bin'} is not the official file: it has {SIZE - 1:,} bytes" in error_text(
        fresh.remote(good), tmp_path)
    assert fresh.asked == [] and (tmp_path / "file.bin").stat().st_size == SIZE - 1  # nobody's file is replaced


def test_a_failed_download_leaves_nothing(server, tmp_path):
    """Neither a file nor a folder that was not there before."""
    (tmp_path / "data").mkdir()
    remote = server.remote(status("503 Service Unavailable"), sends(CONTENT[::-1]))
    assert "cannot download" in error_text(remote, tmp_path / "data" / "made" / "on the way")
    assert "cannot download" in error_text(remote, tmp_path / "data")
    assert list(tmp_path.rglob("*")) == [tmp_path / "data"]


def test_a_folder_stays_where_something_came(server, tmp_path):
    folder = tmp_path / "made" / "on the way"
    error_text(server.remote([ends_after(0.5), status("404 Not Found")]), folder)
    assert [path.name for path in folder.iterdir()] == ["file.bin.part"]


def test_the_folder_of_another_download_that_failed_is_made_again(server, tmp_path):
    folder = tmp_path / "new"

    def removes_the_folder(wire):
        shutil.rmtree(folder)
        wire.say("404 Not Found")

    assert_fetched(download.fetch(server.remote(removes_the_folder, good), folder), folder)


# ---------------------------------------------------------------------------------------------------- waits and limits

def test_waits_grow_and_obey_retry_after(fresh, tmp_path, monkeypatch, capsys):
    """Each mirror once, then a wait; as long as the one asks whose turn comes first."""
    waits = []
    monkeypatch.setattr(download, "WAITS", (1, 3, 9))
    monkeypatch.setattr(download, "rest", lambda seconds, proceed: waits.append(seconds))
    busy = status("503 Service Unavailable")
    error_text(fresh.remote(busy, busy), tmp_path)
    assert [path[1] for path, _ in fresh.asked] == ["0", "1"] * 4
    assert all(wait <= waited <= 1.5 * wait for wait, waited in zip((1, 3, 9), waits, strict=True)), waits
    assert len(set(waits)) == 3  # by chance a little longer: thirty computers do not come back at one moment
    assert "file.bin: status 503 Service Unavailable; trying again in 1 s" in capsys.readouterr().out
    waits.clear()
    monkeypatch.setattr(transfer, "LONGEST_WAIT", 60)
    asks = status("429 Too Many Requests", "Retry-After: 50")
    assert_fetched(download.fetch(fresh.remote([asks, good]), tmp_path), tmp_path)
    assert waits == [50]


def test_a_rest_ends_where_the_time_is_over(monkeypatch):
    monkeypatch.undo()

    def proceed():
        raise download.OutOfTimeError

    with pytest.raises(download.OutOfTimeError):
        download.rest(1000, proceed)
    began = time.monotonic()
    download.rest(0.05, lambda: None)
    assert time.monotonic() - began >= 0.05


def test_all_of_it_has_a_limit(server, tmp_path, monkeypatch):
    """A server that is never silent, and never done."""
    monkeypatch.setattr(download, "TOTAL_SECONDS", 0.2)

    def slow(wire):
        rest = wire.begin_file()
        for place in range(0, SIZE, 1000):
            wire.write(rest[place:place + 1000])
            time.sleep(0.02)

    monkeypatch.setattr(transfer, "BLOCK", 1000)
    began = time.monotonic()
    text = error_text(server.remote(slow, good), tmp_path)
    assert "not there after 0 minutes" in text and time.monotonic() - began < 1.5
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin.part"]


@pytest.mark.parametrize(("number", "words"), [
    (errno.ENOSPC, "Free some space"), (errno.EACCES, "you may not write into that folder (Permission denied). Ask its "
                                        "owner"), (errno.EROFS, "you may not write"), (errno.EIO, "Input/output")])
@pytest.mark.parametrize("place", [download, lock, transfer])
def test_what_the_disk_refuses(server, tmp_path, monkeypatch, number, words, place):
    """When the lock is made, when bytes are written, when the result is read: one sentence, and nothing left."""
    real = open

    def refuses(path, *arguments, **named):
        if str(path).startswith(str(tmp_path)) and (place is not download or str(path).endswith(".part")):
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *arguments, **named)

    monkeypatch.setattr(place, "open", refuses, raising=False)
    text = error_text(server.remote(good), tmp_path)
    if place is not download:  # there, what cannot be read back counts as wrong
        assert f"cannot write {tmp_path / 'file.bin'}" in text and words in text and "MINIDL_DATA" in text
    assert list(tmp_path.iterdir()) == []


def test_a_closed_pipe_is_no_fault_of_the_disk(server, tmp_path, monkeypatch):
    """`minidl data fetch cifar10 | head`: what came stays for the next run, and the lock goes."""
    def closed(*arguments, **named):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    remote = server.remote(good)
    known = SimpleNamespace(load=lambda folder: download.fetch(remote, folder))
    monkeypatch.setitem(SETS, "file", known)
    monkeypatch.setattr("builtins.print", closed)
    for call in (lambda: download.fetch(remote, tmp_path), lambda: load("file", tmp_path),
                 lambda: command.run(["file"], tmp_path), lambda: command.run(["where"], tmp_path)):
        with pytest.raises(BrokenPipeError):
            call()
        assert [path.name for path in tmp_path.iterdir()] in ([], ["file.bin.part"])


def test_a_full_disk_takes_nothing_of_what_was_there(server, tmp_path, monkeypatch):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:HALF])

    def fills_the_disk(old, new):
        new.write_bytes(old.read_bytes()[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", fills_the_disk)
    assert "Free some space" in error_text(server.remote(good), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin.part"]
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:HALF]


@pytest.mark.parametrize("place", ["file", "file/below", "link", "link/below"])
def test_a_place_that_is_no_folder(server, tmp_path, place):
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    text = error_text(server.remote(good), tmp_path / place)
    assert "cannot write" in text and "MINIDL_DATA" in text


# ------------------------------------------------------------------------------------------------------------ TLS

@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """An https server, and the certificate that vouches for it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed: apt install openssl, or brew install "
                    "openssl")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                    "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with serving(tls=(certificate, key)) as running:
        running.certificate = str(certificate)
        yield running


def test_a_certificate_that_nobody_vouches_for_is_refused(secure, tmp_path, monkeypatch):
    secure.asked.clear()
    text = error_text(secure.remote(good), tmp_path)
    assert "its identity could not be verified (TLS certificate)" in text and "REQUESTS_CA_BUNDLE" in text
    assert secure.asked == [] and list(tmp_path.iterdir()) == []
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", secure.certificate)
    assert_fetched(download.fetch(secure.remote(good), tmp_path), tmp_path)


@pytest.mark.parametrize("bundle", ["missing.pem", "rubbish.pem", "empty.pem"])
def test_a_wrong_file_of_certificates_is_named(secure, tmp_path, monkeypatch, bundle):
    (tmp_path / "rubbish.pem").write_text("rubbish")
    (tmp_path / "empty.pem").touch()
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / bundle))
    text = error_text(secure.remote(good), tmp_path / "data")
    assert f"REQUESTS_CA_BUNDLE={tmp_path / bundle}: is that the right file" in text and "space" not in text


def test_what_speaks_no_tls_is_no_question_of_certificates(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "CONNECT_SECONDS", 5)
    monkeypatch.setattr(download, "WAITS", ())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        def refuse():
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=refuse, daemon=True).start()
        remote = server.remote(good)._replace(urls=(f"https://127.0.0.1:{listening.getsockname()[1]}/file.bin",))
        text = error_text(remote, tmp_path)
    assert "no connection by TLS" in text and "identity" not in text


def test_no_redirect_leads_from_https_to_http(secure, server, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", secure.certificate)
    server.asked.clear()
    server.remote(good)
    remote = secure.remote(redirect(f"{server.url}/0/file.bin"))
    assert "redirects to 'http', where minidl does not follow" in error_text(remote, tmp_path)
    assert server.asked == []
    assert_fetched(download.fetch(server.remote(redirect(f"{secure.url}/1/file.bin"))._replace(
        urls=secure.remote(good, good).urls[1:]), tmp_path), tmp_path)


def test_all_published_addresses_are_https():
    for name in ("mnist", "fashion_mnist"):
        assert all(url.startswith("https://") for file in SETS[name].files.values() for url in file.urls)
        assert all(len(file.urls) >= 2 for file in SETS[name].files.values())
    for name in ("cifar10", "cifar100"):
        assert len(SETS[name].archive.urls) >= 2
        assert all(url.startswith("https://") for url in SETS[name].archive.urls)


# ------------------------------------------------------------------------------------------------------------ the lock

def slow(wire):
    rest = wire.begin_file()
    for place in range(0, len(rest), 10_000):
        wire.write(rest[place:place + 10_000])
        time.sleep(0.01)


def at_once(count, work):
    """What `work` returns in each of `count` threads that start together."""
    results = []
    threads = [threading.Thread(target=lambda: results.append(work())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == count, f"{count - len(results)} of {count} ended with an error"
    return results


def test_of_many_one_downloads_and_the_others_wait(fresh, tmp_path, capsys):
    remote = fresh.remote(slow)
    paths = at_once(8, lambda: download.fetch(remote, tmp_path))
    assert_fetched(paths[0], tmp_path)
    assert fresh.asked == [("/0/file.bin", 0)]
    assert f"waiting for file.bin, which process {os.getpid()} on " in capsys.readouterr().out


def test_who_waited_for_a_download_that_failed_asks_once(fresh, tmp_path, monkeypatch):
    """Eight processes without a network give up together, not one after the other."""
    waits = []
    monkeypatch.setattr(download, "rest", lambda seconds, proceed: waits.append(seconds) or time.sleep(0.05))
    remote = fresh.remote(status("503 Service Unavailable"))

    def fails():
        return error_text(remote, tmp_path)

    texts = at_once(8, fails)
    assert not [text for text in texts if "status 503" not in text]
    assert len(waits) <= 4 and list(tmp_path.iterdir()) == []  # two of the first, and room for one that came late


def test_a_killed_holder_is_succeeded(fresh, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(lock, "STALE_SECONDS", 0.5)
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.1)
    (tmp_path / "file.bin.lock").write_text("0123 process 77 on elsewhere")
    (tmp_path / "file.bin.0123.part").write_bytes(CONTENT[:HALF])
    remote = fresh.remote(slow)
    paths = at_once(5, lambda: download.fetch(remote, tmp_path))
    assert_fetched(paths[0], tmp_path)
    assert fresh.asked == [("/0/file.bin", HALF)]
    assert "waiting for file.bin, which process 77 on elsewhere downloads" in capsys.readouterr().out


def test_a_living_holder_is_not_succeeded(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(lock, "STALE_SECONDS", 0.8)
    first, second = lock.Lock(tmp_path / "x.lock"), lock.Lock(tmp_path / "x.lock")
    assert first.wait(lambda: False, until=time.monotonic() + 9) is False
    with pytest.raises(DataError, match=r"x is still being downloaded by process \d+ on .*, which has taken too long"):
        second.wait(lambda: False, until=time.monotonic() + 1.5)
    first.check()
    first.release()
    assert second.wait(lambda: False, until=time.monotonic() + 9) is False
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_a_holder_that_was_suspended_writes_into_no_file_of_its_successor(fresh, tmp_path, monkeypatch):
    """It downloads half, is suspended; another takes over, continues, finishes; then the first continues."""
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.02)
    go_on = threading.Event()

    def suspends(wire):
        wire.write(wire.begin_file()[:HALF])
        go_on.wait()
        wire.write(b"rubbish" * 20_000)

    monkeypatch.setattr(transfer, "STALL_SECONDS", 9)
    monkeypatch.setattr(transfer, "BLOCK", 1000)
    remote, results = fresh.remote([suspends, good]), []
    first = threading.Thread(target=lambda: results.append(download.fetch(remote, tmp_path)))
    first.start()
    while not any(path.stat().st_size > HALF - 10_000 for path in tmp_path.glob("*.part")):
        time.sleep(0.01)
    part, = tmp_path.glob("*.part")
    with open(part, "ab") as still_open:
        (tmp_path / "file.bin.lock").unlink()  # what a successor does after STALE_SECONDS
        assert download.fetch(remote, tmp_path).read_bytes() == CONTENT
        still_open.write(b"rubbish")
        go_on.set()
        first.join()
    assert results == [tmp_path / "file.bin"]
    assert_fetched(results[0], tmp_path)


def test_no_error_where_another_has_just_put_the_file_there(server, tmp_path, monkeypatch):
    def puts_it_there(wire):
        (tmp_path / "file.bin").write_bytes(CONTENT)
        wire.say("404 Not Found")

    assert_fetched(download.fetch(server.remote(puts_it_there), tmp_path), tmp_path)
    (tmp_path / "file.bin").unlink()
    replace = os.replace

    def refuses(old, new):  # as Windows does, where somebody reads the new file
        if new.name == "file.bin":
            replace(old, new)
            raise PermissionError(errno.EACCES, "in use")
        replace(old, new)

    monkeypatch.setattr(os, "replace", refuses)
    assert_fetched(download.fetch(server.remote(good), tmp_path), tmp_path)


ONE_PROCESS = """
import hashlib, sys
from minidl.datasets import lock
from minidl.datasets.download import RemoteFile, fetch
lock.BEAT_SECONDS, lock.STALE_SECONDS = 1, 10
path = fetch(RemoteFile("file.bin", int(sys.argv[2]), sys.argv[3], (sys.argv[1],)), sys.argv[4])
print(hashlib.sha256(path.read_bytes()).hexdigest())
"""


def process(remote, folder):
    """Fetches the file, and prints the SHA-256 of what it has then."""
    return subprocess.Popen([sys.executable, "-c", ONE_PROCESS, *remote.urls, str(remote.size), remote.sha256,
                             str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def assert_right(ended, remote, folder):
    assert [out.splitlines()[-1:] for out, _ in ended] == [[remote.sha256]] * len(ended), ended
    assert [path.name for path in folder.iterdir()] == ["file.bin"]


def slow_at_first(asked, pause):
    """The first answer takes 100 such pauses; the others are quick."""
    def answer(wire):
        rest, first = wire.begin_file(), len(asked) == 1
        for place in range(0, len(rest), 1000):
            wire.write(rest[place:place + 1000])
            time.sleep(pause if first else 0)
    return answer


@pytest.mark.slow
def test_thirty_processes_download_once(fresh, tmp_path):
    remote = fresh.remote([slow])
    processes = [process(remote, tmp_path) for _ in range(30)]
    assert_right([each.communicate(timeout=200) for each in processes], remote, tmp_path)
    assert len(fresh.asked) == 1


@pytest.mark.slow
def test_thirty_processes_whose_downloader_is_killed(fresh, tmp_path):
    """Another one continues after STALE_SECONDS, and all the others have the file."""
    remote = fresh.remote([slow_at_first(fresh.asked, 0.5)])
    processes = [process(remote, tmp_path) for _ in range(30)]
    while not any(path.stat().st_size for path in tmp_path.glob("*.part")):
        time.sleep(0.1)
    holder = int((tmp_path / "file.bin.lock").read_text().split()[2])
    os.kill(holder, signal.SIGKILL)
    ended = {each.pid: each.communicate(timeout=300) for each in processes}
    ended.pop(holder)
    assert_right(list(ended.values()), remote, tmp_path)
    assert len(ended) == 29 and len(fresh.asked) == 2 and fresh.asked[1][1] > 0


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows suspends no process by a signal")
def test_a_process_that_is_suspended_and_continues(fresh, tmp_path):
    """It continues after another has taken over and finished, and writes nothing into the finished file."""
    remote = fresh.remote([slow_at_first(fresh.asked, 0.5)])
    first = process(remote, tmp_path)
    while not any(path.stat().st_size for path in tmp_path.glob("*.part")):
        time.sleep(0.1)
    first.send_signal(signal.SIGSTOP)
    assert_right([process(remote, tmp_path).communicate(timeout=100)], remote, tmp_path)
    first.send_signal(signal.SIGCONT)
    assert_right([first.communicate(timeout=100)], remote, tmp_path)
    assert len(fresh.asked) == 2 and fresh.asked[1][1] > 0
