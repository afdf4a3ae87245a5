"""Random search and grid search: which trials there are, and where they run."""

import contextlib
import functools
import itertools
import pickle
import sys
import threading
import traceback
import warnings
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import numpy as np

from minidl import backend
from minidl.arguments import positive_integer
from minidl.errors import DataError, SuspiciousWarning, UserError
from minidl.parallel import under_debugger
from minidl.search.ranges import RESERVED, as_ranges, points_of
from minidl.search.results import Results, Trial, read_trials, write_trials
from minidl.training.interruption import ctrl_c_ends_all


def search(train, settings, trials, seed=0, csv=None, jobs=None, report=print):
    """Random search: `trials` times, draw every setting from its range, train, and note what came of it.

        found = search(train, {"lr": LogUniform(1e-6, 1e-2), "units": [50, 100]}, trials=60, csv="runs/x.csv", jobs=2)
        found.best(10)

    train: a function train(settings, seed) -> dict of numbers; settings: {name: value}. It runs with minidl's random
        numbers started from the trial's seed; what else draws random numbers there should start from it, too
    settings: {name: Uniform, LogUniform, Choice, a list (a Choice) or any other value, which is then fixed}
    seed: of the search. Each trial draws its settings and its own seed from it and from its number alone: so results
        are the same in any number of processes and in any order, and 60 trials begin with the same 30 as 30 trials
    csv: a file that is written whole after each trial; trials that it has are not run again, failed ones included
        (delete their lines to run them again). Raises DataError where it belongs to another search
    jobs: the number of processes, by joblib; -1 for one for each core. None: as `joblib.parallel_config` around the
        call says, such as on other machines by Dask (docs/search.md), or else in this process. Other processes compute
        with one thread each, trials in this process with as many as minidl does
    report: is called with every Trial as it ends; None for silence

    A trial that raises an error is noted with it, and the others go on. Returns Results, by number.
    Bergstra & Bengio 2012, "Random search for hyper-parameter optimization", JMLR 13.
    """
    ranges, count = as_ranges(settings), positive_integer(trials, "trials")

    def planned(number):
        if number < 0:
            return None
        generator = _generator(seed, number)
        own_seed = int(generator.integers(1 << 32))
        return Trial(number, own_seed, {name: values.draw(generator) for name, values in ranges.items()})

    return _run_all(train, planned, count, list(ranges), csv, jobs, report)


def grid(train, settings, points=5, seed=0, csv=None, jobs=None, report=print):
    """Grid search: train at every combination of some points of each range; for the other arguments see `search`.

        grid(train, {"lr": LogUniform(1e-6, 1e-2), "decay": LogUniform(1e-8, 1e-4)}, points=8)       # 64 trials

    points: of every range, both ends among them, a number or {name: number}; of a Choice or a list, all values
    """
    values = points_of(as_ranges(settings), points)
    places = list(itertools.product(*values.values()))

    def planned(number):
        if number not in range(len(places)):
            return None
        own_seed = int(_generator(seed, number).integers(1 << 32))
        return Trial(number, own_seed, dict(zip(values, places[number], strict=True)))

    return _run_all(train, planned, len(places), list(values), csv, jobs, report)


def _generator(seed, number):
    """The random numbers of one trial."""
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
        raise UserError(f"seed={seed!r}: expected an integer of at least 0")
    return np.random.Generator(np.random.PCG64([int(seed), number]))


def _run_all(train, planned, count, names, csv, jobs, report):
    """Run the trials 0 to count - 1 that the file does not have, and note each as it ends."""
    if not callable(train):
        raise UserError(f"train={train!r:.60}: expected a function train(settings, seed) that returns a dict of "
                        f"numbers")
    plans = [planned(number) for number in range(count)]
    there = {}
    if csv is not None:
        _make_folder(csv)
        there = read_trials(csv, names, planned)
        write_trials(csv, names, there.values())    # what cannot be written is known before the first trial
    missing = [plan for plan in plans if plan.number not in there]
    with contextlib.closing(_as_they_end(train, missing, jobs)) as ended:    # Ctrl-C ends the processes' work as well
        for trial in ended:
            there[trial.number] = trial
            if csv is not None:
                write_trials(csv, names, there.values())
            if report:
                report(trial)
    return Results(there[number] for number in range(count))


def _make_folder(csv):
    try:
        Path(csv).parent.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise DataError(f"csv={str(csv)!r}: no folder can be made there ({reason.strerror}). Name another file") \
            from reason


def _as_they_end(train, plans, jobs):
    """Run the trials, here or in other processes, and yield each as it ends."""
    here = backend.backend_name(), np.dtype(backend.float_type()).name
    pool = _pool(jobs) if plans else None
    if pool is None:
        for plan in plans:
            yield attempt(train, plan, *here, backend.threads())
        return
    from joblib import delayed
    ended = pool(delayed(attempt)(train, plan, *here, 1) for plan in plans)
    try:
        for trial in ended:  # noqa: UP028 - `yield from` would close `ended` before the block below
            yield trial
    except BrokenProcessPool as reason:
        raise UserError(f"search: a process ended in the middle of a trial, as when there is no room in memory. What "
                        f"was finished is in the csv file, if one was named. Try fewer jobs ({reason})") from reason
    except pickle.PicklingError as reason:
        raise UserError(f"search: train cannot be sent to other processes ({reason.__cause__ or reason}). Let it use "
                        f"arrays, numbers and functions only, or take jobs=1") from reason
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)    # joblib's about the trials that Ctrl-C cancels
            ended.close()


def _pool(jobs):
    """joblib's pool of processes, or None where the trials run in this one."""
    if jobs is not None and (not isinstance(jobs, int) or isinstance(jobs, bool) or jobs == 0):
        raise UserError(f"jobs={jobs!r}: expected a number of processes, -1 for one for each core, or None")
    if jobs == 1 or under_debugger() or (jobs is None and sys.modules.get("joblib") is None):
        return None
    try:
        import joblib
    except ImportError:
        _say_once("joblib is missing, so the trials run one after another in this process. For several at a time:  "
                  "python -m pip install joblib")
        return None
    pool = joblib.Parallel(jobs, return_as="generator_unordered", batch_size=1)
    return None if pool.n_jobs == 1 else pool


_say_once = functools.cache(print)


# -------------------------------------------------------------------------------------------------------- in a process

_alone = threading.RLock()    # one trial at a time in a process, whose trials share its number of threads


def attempt(train, plan, library, number_type, thread_count):
    """Run one trial, in whatever process this is: the Trial with its results, or with its error."""
    with _alone, ctrl_c_ends_all(), _computing(library, number_type, thread_count, plan.seed):
        try:
            return replace(plan, results=_checked(train(dict(plan.settings), plan.seed), plan.settings))
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            words = " ".join(f"{type(error).__name__}: {error}".split())
            return replace(plan, error=f"{words} ({Path(place.filename).name}, line {place.lineno})")


@contextlib.contextmanager
def _computing(library, number_type, thread_count, seed):
    """Inside the block minidl computes as where the search began, from the trial's seed; then as before.

    Nothing warns there of overflow, NaN or a loss that stays: searches try such settings, and the results show it.
    """
    before = backend.backend_name(), backend.threads(), backend.random_state()
    if before[0] != library:
        backend.use_library(library)
    backend.threads(thread_count)
    backend.seed(seed)
    try:
        with backend.precision(number_type), np.errstate(over="ignore", invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", SuspiciousWarning)
            yield
    finally:
        if before[0] != library:
            backend.use_library(before[0])
        backend.threads(before[1])
        backend.restore_random_state(before[2])


def _checked(results, settings):
    """What train returned, as Python's numbers."""
    if not isinstance(results, dict) or not results:
        raise UserError(f"train returned {results!r:.60}: expected a dict of numbers, as in {{\"accuracy\": 0.9}}")
    numbers = {}
    for name, value in results.items():
        value = value.item() if getattr(value, "size", None) == 1 else value
        if not isinstance(value, (int, float)):
            raise UserError(f"train returned {name}={value!r:.60}: expected a number")
        if not isinstance(name, str) or name in (*settings, *RESERVED):
            raise UserError(f"train returned a result {name!r}, which is the name of something else: rename it")
        numbers[name] = value if isinstance(value, float) else int(value)
    return numbers
