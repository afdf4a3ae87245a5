"""Downloads from servers that answer badly: the right file, or one clear error, and nothing else in the folder.

The table of answers is tests/hostile/answers.py.
"""

import gc
import re

import pytest
from hostile.answers import ANSWERS, HALF, RIGHT, good
from hostile.server import CONTENT, SIZE, serving

from minidl.datasets import download, lock, transfer
from minidl.errors import DataError

SHORT = {transfer: {"STALL_SECONDS": 0.2, "CONNECT_SECONDS": 0.1, "LONGEST_WAIT": 5},
         download: {"TOTAL_SECONDS": 3, "WAITS": (0.001, 0.001, 0.001), "rest": lambda seconds, proceed: None},
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
