"""Everything that a training needs to continue as if it had never stopped."""

import copy
import time

import numpy as np

from minidl.backend import random_state, restore_random_state, xp
from minidl.state import named_arrays


class Snapshot:
    """A copy of all that changes while a network trains, and the way back to it.

        snapshot = Snapshot(run)        ...        snapshot.restore(run)

    arrays: {name: array}, on the device that computes: the model's parameters and statistics, the vectors that the
        optimizer remembers, the order of the epoch under way, the sums of its losses and its hits
    facts: {name: value} of what a JSON file can hold: step, epoch, the state of the random numbers, the history
    whole: whether to include what changes at the end of an epoch only, the memories of the schedule and of callbacks
    """

    def __init__(self, run, whole=False):
        self.whole, self.arrays = whole, {}
        self.take(run)

    def take(self, run):
        """Copy the present state, into the arrays of the last copy where they fit: fresh memory costs more."""
        arrays, self.facts = changing(run, self.whole)
        self.arrays = {name: self._copied(name, array) for name, array in arrays.items()}

    def _copied(self, name, array):
        kept = self.arrays.get(name)
        if kept is None or kept.shape != array.shape or kept.dtype != array.dtype:
            return array.copy()
        kept[...] = array
        return kept

    def restore(self, run):
        """Put everything back."""
        put_back(run, self.arrays, self.facts, self.whole)


def changing(run, whole):
    """(arrays, facts) as a Snapshot has them: the arrays themselves, copies of the facts."""
    arrays = {f"model.{name}": array for name, array in arrays_of(run.model).items()}
    facts = {name: getattr(run, name) for name in run.COUNTED}
    facts["seconds"] = time.perf_counter() - run.epoch_began
    facts["random"], facts["history"] = random_state(), copy.deepcopy(vars(run.history))
    for name in run.SUMMED:
        value = getattr(run, name)      # None or 0 between two epochs
        where = arrays if hasattr(value, "dtype") else facts
        where[f"run.{name}"] = xp.asarray(value) if where is arrays else value
    for name, part in memories(run, whole):
        for key, value in memory_of(part).items():
            if isinstance(value, (np.ndarray, xp.ndarray)):
                arrays[f"{name}.{key}"] = value
            else:
                facts[f"{name}.{key}"] = copy.deepcopy(value)
    return arrays, facts


def put_back(run, arrays, facts, whole):
    """Undo `changing`: give the run and its parts what was copied from them."""
    for name, array in arrays_of(run.model).items():
        array[...] = xp.asarray(arrays[f"model.{name}"])
    for name in run.COUNTED:
        setattr(run, name, facts[name])
    run.epoch_began = time.perf_counter() - facts["seconds"]
    for name in run.SUMMED:
        key = f"run.{name}"
        setattr(run, name, xp.asarray(arrays[key]).copy()[()] if key in arrays else facts[key])
    for name, part in memories(run, whole):
        state = {key.removeprefix(f"{name}."): value for key, value in [*arrays.items(), *facts.items()]
                 if key.startswith(f"{name}.")}
        part.load_state_dict(state)
    vars(run.history).update(copy.deepcopy(facts["history"]))
    restore_random_state(facts["random"])


def arrays_of(model):
    """{name: array} of the parameters and statistics; of a model of one's own, the parameters in their order."""
    if hasattr(model, "sublayers"):
        return dict(named_arrays(model))
    return {f"{place}.{parameter.name}": parameter.data for place, parameter in enumerate(model.parameters())}


def memories(run, whole):
    """(name, part) of the optimizer, and of the schedule and the callbacks, as far as they remember something."""
    parts = {"optimizer": run.optimizer}
    if whole:
        parts["schedule"] = run.schedule
    parts |= {f"callback_{place}": callback for place, callback in enumerate(run.callbacks, 1)
              if whole or getattr(callback, "each_step", False)}
    return [(name, part) for name, part in parts.items() if hasattr(part, "load_state_dict")]


def memory_of(part):
    """What a part remembers, by name. Optimizers and averages are not asked for a copy on the CPU."""
    if hasattr(part, "remembered"):
        return {name: getattr(part, name) for name in part.remembered}
    return part.state_dict()
