"""What a run leaves behind: its pictures, metrics.csv, run.json, claims.json."""

import csv
import io
import json
import platform
import subprocess
import sys
import time
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import minidl
from minidl import backend
from minidl.errors import DataError
from minidl.files import written_whole


class Record:
    """The files of one run of a lesson, in its folder."""

    def __init__(self, folder, arguments):
        self.folder, self.arguments = Path(folder), arguments
        self.started, self.rows = time.perf_counter(), []
        self.unwritten = {}      # {name of a file: why it could not be written}

    def note(self, **row):
        """One row of metrics.csv: what it is about and what was measured, as in note(init="He", seed=0, loss=0.3)."""
        self.rows.append(row)

    def write(self, name, content):
        """Write these bytes into a file of the folder. Where that fails, `unwritten` says why, and all goes on."""
        self.unwritten.pop(name, None)
        try:
            with written_whole(self.folder / name, "the file") as file:
                file.write(content)
        except (OSError, DataError) as error:
            reason = error if isinstance(error, OSError) else error.__cause__
            self.unwritten[name] = getattr(reason, "strerror", None) or str(error)

    def save(self, claims, complete):
        """Write all three files. complete: False after Ctrl-C."""
        if self.rows:
            self.write("metrics.csv", _as_csv(self.rows).encode())
        facts = {"arguments": self.arguments, "complete": complete, "seconds": round(self.seconds, 1),
                 "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"), **surroundings()}
        for name, content in (("run.json", facts), ("claims.json", claims)):
            self.write(name, json.dumps(content, indent=1, ensure_ascii=False).encode())

    @property
    def seconds(self):
        return time.perf_counter() - self.started


def _as_csv(rows):
    """A table with the columns of all rows, in the order in which they came up first."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def surroundings():
    """Versions, commit and machine: what somebody needs who gets other numbers."""
    return {"minidl": minidl.__version__, "commit": _commit(), "python": platform.python_version(),
            "packages": {name: _version(name) for name in ("numpy", "matplotlib", "cupy-cuda12x", "cupy-cuda13x")
                         if _version(name)},
            "machine": f"{platform.system()} {platform.machine()}, {_processor()}", "backend": backend.backend_name(),
            "threads": backend.threads()}


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit():
    """The commit of the checkout that minidl runs from, with a + where files differ from it; None outside of one."""
    clone = Path(minidl.__file__).resolve().parents[1]
    if not (clone / ".git").exists():  # installed, perhaps inside of another project's clone
        return None

    def git(*arguments):
        # without a lock, which git leaves behind on a full disk, and which then keeps people from their next commit
        return subprocess.run(["git", "--no-optional-locks", "-C", str(clone), *arguments], capture_output=True,
                              text=True, timeout=20, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "minidl", "lessons")
        return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _processor():
    """The processor's name, where the system tells it."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown processor"
