"""Checkpoints: files from which a training continues as if it had never stopped.

A folder holds `last.checkpoint`, `previous.checkpoint`, the one before, and `best.npz`, the model alone, as
`model.load` reads it, of the epoch with the best validation (else test, else training) loss. A checkpoint is one line
of text with the SHA-256 of all that follows, then an .npz archive: the arrays of a `Snapshot`, and its facts as JSON.
A file gets its name after it is complete and on the disk, so a crash or a power cut leaves the one before.
"""

import hashlib
import io
import json
import os
import time
from pathlib import Path

import numpy as np

try:
    import fcntl
except ImportError:     # on Windows
    fcntl = None

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
        self.kept, self.saved_at, self.folder, self.claimed = False, time.monotonic(), None, None
        if folder is None:
            if resume:
                raise UserError("fit: resume=True continues from a checkpoint; name its folder, as in "
                                "checkpoint=\"runs/first\"")
            return
        self.named = checked_path(folder, "fit, checkpoint", "a folder", "runs/first")
        self.folder = Path(self.named).absolute()       # the same one if the program changes its folder
        self.last, self.previous = self.folder / "last.checkpoint", self.folder / "previous.checkpoint"
        self.identity = identity(run)
        self.claim()
        try:
            there = [path for path in (self.last, self.previous) if path.exists()]
            if there and not resume:
                raise UserError(f"fit: there is a checkpoint already, {there[0]}. Pass resume=True to continue from "
                                f"it, name another folder, or delete this one")
            if there:
                self.resume(run, there)
            else:
                self.begin(run)
        except BaseException:
            self.release()
            raise

    def claim(self):
        """Make the folder, and lock it: the system ends that lock with the program, however that ends."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as reason:
            raise DataError(f"fit, checkpoint={self.named!r}: no folder can be made there ({reason.strerror}). Name "
                            f"another one") from reason
        if fcntl is None:
            return
        self.claimed = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(self.claimed, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise UserError(f"fit: another training is writing its checkpoints into {self.folder} now. Name a folder "
                            f"for each") from None
        except OSError:     # a shared disk that has no locks
            pass

    def release(self):
        """At the end of the training: another may have the folder."""
        if self.claimed is not None:
            os.close(self.claimed)
            self.claimed = None

    # ------------------------------------------------------------------------------------------------------- saving

    def begin(self, run):
        """The first checkpoint, before the first step: what cannot be saved is an error now, and not after hours."""
        self._save(run)
        if not hasattr(run.optimizer, "load_state_dict"):
            suspect(f"fit, checkpoint: {type(run.optimizer).__name__} has no state_dict and load_state_dict; what it "
                    f"remembers from step to step is not in the checkpoint")

    def due(self):
        """Whether the last checkpoint is old."""
        return self.folder is not None and time.monotonic() - self.saved_at > SAVE_SECONDS

    def save_epoch(self, run):
        """After an epoch: a checkpoint, and the model where it is the best so far."""
        if self.folder is None:
            return
        history = run.history
        loss = (history.validation_loss or history.test_loss or history.loss)[-1]
        if loss < run.best and hasattr(run.model, "save") and \
                self._without_stopping(lambda: run.model.save(self.folder / "best.npz"), "the best model"):
            run.best = loss
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
        """Save, and return whether that worked: a disk that is full must not end a training of five hours."""
        try:
            save()
        except (DataError, OSError) as reason:
            words = getattr(reason.__cause__ or reason, "strerror", None) or reason
            suspect(f"fit: {what} could not be saved in {self.folder} ({words}). The training goes on, and the files "
                    f"from before are kept")
            return False
        return True

    def cure(self):
        """The end of a sentence that says how to go on."""
        return "" if self.folder is None else f"; fit(..., checkpoint={self.named!r}, resume=True) continues"

    # ------------------------------------------------------------------------------------------------------ resuming

    def resume(self, run, there):
        """Continue from the first of these files that is whole."""
        for path in there:
            try:
                arrays, facts, saved, saved_by = read_checkpoint(path)
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
            run.say(f"{path}: {self.continuation(run, saved_by)}")
            if path == self.previous and self.last in there:
                os.replace(self.last, self.last.with_suffix(".damaged"))    # or it would become the previous one
            return
        raise DataError(f"fit, resume: no checkpoint in {self.folder} is whole: {damage}. Delete the folder to begin "
                        f"from the start")

    def continuation(self, run, saved_by):
        """What becomes of a training that was resumed, in words."""
        if run.stopped or run.epoch == run.epochs:
            return f"this training has ended after epoch {run.epoch}" + (f", {run.stopped}" if run.stopped else "")
        others = [f"{name} {saved_by.get(name)} there, {here} here" for name, here in versions().items()
                  if saved_by.get(name) != here]
        return f"continues after step {run.step} of {run.steps}" + \
            (f" (equal to a tolerance, not to the bit: {', '.join(others)})" if others else "")


# ------------------------------------------------------------------------------------------------------------- files

def checkpoint_bytes(snapshot, identity):
    """The bytes of a checkpoint, without its first line."""
    texts = {"facts": snapshot.facts, "identity": identity, "versions": versions()}
    arrays = {name: to_cpu(array) for name, array in snapshot.arrays.items()}
    try:
        text = json.dumps(texts, default=as_python_number)
    except TypeError as reason:
        raise UserError(f"fit, checkpoint: what the optimizer, the schedule or a callback remembers cannot be saved "
                        f"({reason}). Let its state_dict return arrays, numbers, texts and lists of these") from reason
    content = io.BytesIO()
    np.savez(content, json=np.frombuffer(text.encode(), np.uint8), **arrays)
    return content.getvalue()


def as_python_number(value):
    """A number of NumPy as one of Python's, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} {value!r:.60}")


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
