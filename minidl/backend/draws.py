"""Random numbers: drawn on the CPU by one NumPy generator a thread, so one seed gives one run on every backend."""

import threading

import numpy as np

from minidl.backend.arrays import asarray
from minidl.backend.library import xp
from minidl.backend.state import generator_from, state
from minidl.errors import UserError


def seed(number):
    """Start the random numbers anew: the same seed gives the same run, on both backends.

    Without a call, every program starts from seed 0. Each thread draws its own random numbers, so threads do not
    disturb each other. A new thread draws what the main thread drew after its last call of `seed`: threads that shall
    draw different numbers call `seed` with different numbers, each for itself.
    """
    if not isinstance(number, (int, np.integer)) or number < 0:
        raise UserError(f"seed({number!r}): expected an integer of at least 0")
    state.generator = generator_from(int(number))
    if threading.current_thread() is threading.main_thread():
        state.seed = int(number)


def random_state():
    """The state of this thread's random numbers; `restore_random_state` goes back to it."""
    return state.generator.bit_generator.state


def restore_random_state(before):
    """Continue the random numbers from what `random_state` gave."""
    state.generator.bit_generator.state = before


def draw_normal(shape, std=1.0):
    """Draws from the normal distribution of mean 0; rounded from float64, so both precisions get the same ones."""
    return asarray(std * state.generator.standard_normal(shape))


def draw_uniform(shape):
    """Draws from the uniform distribution on [0, 1)."""
    return asarray(state.generator.random(shape, dtype=np.float32))


def draw_key():
    """A random integer of 64 bits, from which a whole mask follows (`minidl.ops.dropout`): an array of one, uint64."""
    high, low = map(int, state.generator.integers(1 << 32, size=2))
    return xp.full(1, high << 32 | low, xp.uint64)


def draw_integers(high, shape):
    """Integers from 0 to high - 1, with replacement: a batch of random rows, say."""
    return xp.asarray(state.generator.integers(high, size=shape))


def draw_permutation(count):
    """The numbers 0 to count - 1 in random order."""
    return xp.asarray(state.generator.permutation(count))
