"""Checkpoints: files from which a training continues as if it had never stopped.

A folder holds `last.checkpoint`, `previous.checkpoint`, the one before, and `best.npz`, the model alone, as
`model.load` reads it, of the epoch with the best validation (else test, else training) loss. A checkpoint is one line
of text with the SHA-256 of all that follows, then an .npz archive: the arrays of a `Snapshot`, and its facts as JSON.
A file gets its name after it is complete and on the disk, so a crash or a power cut leaves the one before.
"""

import hashlib
import io
import json
import time
from pathlib import Path

import numpy as np

from minidl.backend import to_cpu
from minidl.errors import DataError, UserError, suspect
from minidl.files import written_whole
from minidl.state import checked_path
from minidl.training.identity import difference, identity, versions
from minidl.training.snapshot import Snapshot, put_back

HEAD = b"minidl checkpoint 1, SHA-256 "
SAVE_SECONDS = 600          # between two checkpoints within an epoch


class Checkpoints:
    """The checkpoints of one run, in a folder; without a folder, all of this does nothing."""

    def __init__(self, run, folder, resume):
        self.kept, self.saved_at = False, time.monotonic()
        self.folder = None if folder is None else Path(checked_path(folder, "fit, checkpoint"))
        if self.folder is None:
            if resume:
                raise UserError("fit: resume=True continues from a checkpoint; name its folder, as in "
                                "checkpoint=\"runs/first\"")
            return
        self.last, self.previous = self.folder / "last.checkpoint", self.folder / "previous.checkpoint"
        self.identity = identity(run)
        if resume:
            self.resume(run)
        elif there := [path for path in (self.last, self.previous) if path.exists()]:
            raise UserError(f"fit: there is a checkpoint already, {there[0]}. Pass resume=True to continue from it, "
                            f"name another folder, or delete this one")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as reason:
            raise DataError(f"fit, checkpoint={str(folder)!r}: no folder can be made there ({reason.strerror}). Name "
                            f"another one") from reason

    # ------------------------------------------------------------------------------------------------------- saving

    def save_in_time(self, run):
        """After a step: a checkpoint where the last one is old."""
        if time.monotonic() - self.saved_at > SAVE_SECONDS:
            self.save(run)

    def save_epoch(self, run):
        """After an epoch: a checkpoint, and the model where it is the best so far."""
        if self.folder is None:
            return
        history = run.history
        losses = history.validation_loss or history.test_loss or history.loss
        if run.best is None or losses[-1] < run.best:
            run.best = losses[-1]
            if hasattr(run.model, "save"):
                self._without_stopping(lambda: run.model.save(self.folder / "best.npz"), "the best model")
        self.save(run)

    def keep(self):
        """Write nothing any more: the checkpoint that is there is the last good one."""
        self.kept = True

    def save(self, run):
        if self.folder is not None and not self.kept:
            self._without_stopping(lambda: self._save(run), "a checkpoint")
            self.saved_at = time.monotonic()

    def _save(self, run):
        content = checkpoint_bytes(Snapshot(run, whole=True), self.identity)
        with written_whole(self.last, "the checkpoint", previous=self.previous) as file:
            file.write(HEAD + hashlib.sha256(content).hexdigest().encode() + b"\n")
            file.write(content)

    def _without_stopping(self, save, what):
        """A disk that is full must not end a training of five hours."""
        try:
            save()
        except (DataError, OSError) as reason:
            words = getattr(reason.__cause__ or reason, "strerror", None) or reason
            suspect(f"fit: {what} could not be saved in {self.folder} ({words}). The training goes on, and the files "
                    f"from before are kept")

    def cure(self):
        """The end of a sentence that says how to go on."""
        return "" if self.folder is None else f"; fit(..., checkpoint={str(self.folder)!r}, resume=True) continues"

    # ------------------------------------------------------------------------------------------------------ resuming

    def resume(self, run):
        """Continue from the last checkpoint that is whole; from the beginning where there is none."""
        there = [path for path in (self.last, self.previous) if path.exists()]
        for path in there:
            try:
                arrays, facts, saved, with_versions = read_checkpoint(path)
            except DataError as reason:
                damage = str(reason)
                before = ". The checkpoint before it is taken" if path != there[-1] else ""
                suspect(f"fit, resume: {damage}{before}")
                continue
            if words := difference(saved, self.identity):
                raise UserError(f"fit, resume: {path} is of another training: {words}. Make them equal, or name "
                                f"another folder for this training")
            put_back(run, arrays, facts, whole=True)
            run.stopped = run.history.stopped     # by a callback: then it has ended
            others = [f"{name} {with_versions.get(name)} there, {now} here" for name, now in versions().items()
                      if with_versions.get(name) != now]
            run.say(f"continues from {path}: epoch {run.epoch}, step {run.step} of {run.steps}" +
                         (f" (equal to a tolerance, not to the bit: {', '.join(others)})" if others else ""))
            return
        if there:
            raise DataError(f"fit, resume: no checkpoint in {self.folder} is whole: {damage}. Delete the folder to "
                            f"begin from the start")


# ------------------------------------------------------------------------------------------------------------- files

def checkpoint_bytes(snapshot, identity):
    """The bytes of a checkpoint, without its first line."""
    texts = {"facts": snapshot.facts, "identity": identity, "versions": versions()}
    arrays = {name: to_cpu(array) for name, array in snapshot.arrays.items()}
    content = io.BytesIO()
    np.savez(content, json=np.frombuffer(json.dumps(texts).encode(), np.uint8), **arrays)
    return content.getvalue()


def read_checkpoint(path):
    """(arrays, facts, identity, versions) of the checkpoint at `path`. DataError where it is damaged."""
    try:
        head, _, content = Path(path).read_bytes().partition(b"\n")
    except OSError as reason:
        raise DataError(f"{path} cannot be read ({reason.strerror})") from reason
    if head != HEAD + hashlib.sha256(content).hexdigest().encode():
        raise DataError(f"{path} is damaged or cut off: its SHA-256 differs")
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    texts = json.loads(arrays.pop("json").tobytes())
    return arrays, texts["facts"], texts["identity"], texts["versions"]
