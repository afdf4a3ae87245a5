"""What the command `minidl data` does: list the data sets, fetch, verify and delete their files, say where they are."""

import glob
import os
import sys
import time

from minidl import datasets
from minidl.datasets import lock
from minidl.errors import DataError, UserError
from minidl.text import table


def run(words, data_dir=None):
    """`minidl data WORDS`, an action and its names, or names alone, which are fetched; returns the exit status."""
    action = ACTIONS.get(words[0]) if words else show_names
    try:
        return action(words[1:], data_dir) if action else fetch_sets(words, data_dir)
    except BrokenPipeError:  # the reader of what is printed has left
        raise
    except OSError as problem:
        raise DataError(f"{problem.filename or 'a file'} cannot be read or deleted ({problem.strerror or problem}). Do "
                        f"you have the right to?") from problem


def downloads_of(name, folder):
    """{path: RemoteFile or None} of a set: what `load` downloads or makes."""
    known = datasets.set_named(name)
    return known.downloads(folder) if hasattr(known, "downloads") else {}


def show_names(_, data_dir):
    print(f"data sets: {', '.join(datasets.names())}\nfolder: {datasets.data_folder(data_dir)}")
    return 0


def list_sets(_, data_dir):
    """Every set: whether it is there, and how large its download is."""
    folder, there, rows = datasets.data_folder(data_dir), datasets.there(data_dir), []
    for name in datasets.names():
        sizes = [remote.size for remote in downloads_of(name, folder).values() if remote]
        state = ("there" if sizes else "always there") if name in there else "to download"
        rows.append([name, state, f"{sum(sizes) / 1e6:.0f} MB" if sizes else ""])
    print(table(["name", "in the folder", "download"], rows, right=(2,)))
    print(f"folder: {folder}")
    return 0


def fetch_sets(names, data_dir):
    """Load each, which downloads what is missing, and describe it."""
    if not names:
        raise UserError(f"fetch which data set? One of {', '.join(datasets.names())}")
    for name in names:
        x_train, _, x_test, _, classes = datasets.load(name, data_dir)
        print(f"{name}: {len(x_train):,} training and {len(x_test):,} test images of {x_train.shape[1:]}, "
              f"{len(classes)} classes: {', '.join(classes)}")
    return 0


def verify_sets(names, data_dir):
    """Every file that is there: right, wrong, or why nobody knows. Status 1 where one is wrong or a named set lacks."""
    folder, wrong, seen = datasets.data_folder(data_dir), 0, {}
    for name in names or datasets.names():
        known = datasets.set_named(name)
        found = getattr(known, "findings", lambda folder: [])(folder)
        if names and not found:
            print(f"{name}: no file of it is in {folder}. Run:  minidl data fetch {name}")
            wrong += 1
        seen |= {path: (right, words) for path, right, words in found}
    for path, (right, words) in seen.items():
        print(f"{'cannot be verified' if right is None else 'right' if right else 'WRONG'}: {path}: {words}")
        wrong += right is False
    return 1 if wrong else 0


def show_folder(_, data_dir):
    """The folder alone on stdout, for scripts; who named it on stderr."""
    print(datasets.data_folder(data_dir))
    source = ("named by --data-dir" if data_dir else "named by the environment variable MINIDL_DATA"
              if os.environ.get("MINIDL_DATA") else "nobody named another one: --data-dir or MINIDL_DATA would")
    print(f"({source})", file=sys.stderr)
    return 0


def delete_files(names, data_dir):
    """What interrupted downloads left, of all sets; and the downloaded files of those that are named."""
    folder, count, total = datasets.data_folder(data_dir), 0, 0
    named = {path for name in names for path in downloads_of(name, folder)}
    targets = {path for name in datasets.names() for path in downloads_of(name, folder)}
    for target in sorted(targets):
        if in_use(target):
            print(f"left alone, because it is being downloaded: {target}")
            continue
        name = glob.escape(target.name)
        left = [*target.parent.glob(f"{name}.*part"), *target.parent.glob(f"{name}.lock*")]
        for path in [*left, *[target] * (target in named)]:
            if path.is_file():
                size = path.stat().st_size
                path.unlink()
                print(f"deleted: {path} ({size:,} bytes)")
                count, total = count + 1, total + size
    print(f"{count} file{'s' * (count != 1)} deleted, {total:,} bytes")
    return 0


def in_use(target):
    """Whether a process holds the lock of that file. One that was killed has not touched it for a while."""
    try:
        return time.time() - os.stat(f"{target}.lock").st_mtime < lock.STALE_SECONDS
    except FileNotFoundError:
        return False


ACTIONS = {"list": list_sets, "fetch": fetch_sets, "verify": verify_sets, "where": show_folder, "clean": delete_files}
