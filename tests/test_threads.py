"""Threads that do not disturb each other, helpers that come and go, processes that fork or spawn."""

import asyncio
import contextvars
import os
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from cases import assert_same_bits

import minidl
from minidl import backend, parallel
from minidl.backend import draw_normal, float_type


def in_thread(work):
    """What work() returns or raises, in a new thread."""
    came = []

    def run():
        try:
            came.append((work(), None))
        except BaseException as error:
            came.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=60)
    (value, error), = came
    if error is not None:
        raise error
    return value


def helper_idents():
    return {thread.ident for thread in threading.enumerate() if thread.name.startswith("minidl")}


def eventually(holds):
    end = time.monotonic() + 10
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()


# ------------------------------------------------------------------------------------------------ precision and draws


def test_a_precision_concerns_its_own_thread():
    with minidl.precision("float64"):
        assert in_thread(float_type) is np.float32
        assert in_thread(lambda: minidl.asarray([0.5]).dtype) == np.float32
    begun, go_on = threading.Event(), threading.Event()

    def hold():
        with minidl.precision("float64"):
            begun.set()
            go_on.wait(timeout=30)
            return float_type()

    kinds = []
    thread = threading.Thread(target=lambda: kinds.append(hold()))
    thread.start()
    begun.wait(timeout=30)
    assert float_type() is np.float32, "another thread's block"
    with minidl.precision("float32"):
        go_on.set()
        thread.join(timeout=30)
    assert kinds == [np.float64], "the block of the main thread ended inside that of another"


def test_a_precision_concerns_its_own_task():
    """Such as the tasks of a notebook's event loop, in one thread."""
    async def tasks():
        begun = asyncio.Event()

        async def other():
            await begun.wait()
            return float_type()

        waiting = asyncio.ensure_future(other())
        with minidl.precision("float64"):
            begun.set()
            return await waiting, float_type()

    assert asyncio.run(tasks()) == (np.float32, np.float64)


def test_helpers_have_the_caller_s_precision_and_errstate():
    minidl.threads(2)
    both = threading.Barrier(2)

    def look(rows):
        both.wait(timeout=30)
        return threading.get_ident(), float_type(), np.geterr()["over"]

    for precision, over in (("float64", "raise"), ("float32", "ignore")):   # the same helper both times
        with minidl.precision(precision), np.errstate(over=over):
            seen = parallel.in_slices(look, 2, parallel.SLICE_BYTES)
        assert len({ident for ident, _, _ in seen}) == 2
        assert {(kind, mode) for _, kind, mode in seen} == {(np.dtype(precision).type, over)}


def test_threads_draw_their_own_numbers():
    minidl.seed(3)
    alone = [draw_normal(5) for _ in range(4)]
    minidl.seed(3)
    together = [draw_normal(5)]

    def disturb():
        minidl.seed(99)
        return draw_normal(5), backend.random_state()

    first, state = in_thread(disturb)
    together.append(draw_normal(5))
    minidl.seed(99)
    assert_same_bits(first, draw_normal(5), "a seed in another thread")
    assert backend.random_state() == state
    minidl.seed(3)
    draw_normal(10)
    in_thread(lambda: backend.restore_random_state(state))
    together += [draw_normal(5), draw_normal(5)]
    for k, (now, before) in enumerate(zip(together, alone, strict=True)):
        assert_same_bits(now, before, f"draw {k} of the main thread")


def test_a_new_thread_draws_from_the_main_thread_s_seed():
    """So `seed` before a training in a thread decides it, and what other threads call their seed does not."""
    for number in (0, 7):
        minidl.seed(number)
        first = draw_normal(5)
        in_thread(lambda: minidl.seed(1234))
        for _ in range(2):
            assert_same_bits(in_thread(lambda: draw_normal(5)), first, f"from seed {number}")


def test_a_seed_holds_in_the_next_cell():
    """A notebook may run each of its cells in a context of its own."""
    minidl.seed(3)
    expected = draw_normal(4)
    contextvars.Context().run(minidl.seed, 3)
    assert_same_bits(contextvars.Context().run(draw_normal, 2), expected[:2], "the next cell")
    assert_same_bits(contextvars.Context().run(draw_normal, 2), expected[2:], "the cell after")


def test_two_trainings_at_once_are_two_trainings():
    from minidl.layers import Dense, Dropout, ReLU
    from minidl.optimizers import Adam
    from minidl.training import fit
    x, y = np.random.default_rng(0).standard_normal((60, 20)), np.arange(60) % 3

    def train(seed, precision):
        minidl.seed(seed)
        with minidl.precision(precision):
            model = minidl.Sequential([Dense(30), ReLU(), Dropout(0.3), Dense(3)], (20,))
            fit(model, Adam(model.parameters()), x, y, epochs=3, batch_size=10, report=None)
        return model.layers[0].W.data

    plans = [(1, "float32"), (2, "float64"), (3, "float32"), (4, "float64")]
    alone, together = [train(*plan) for plan in plans], {}
    threads = [threading.Thread(target=lambda plan=plan: together.update({plan: train(*plan)})) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for plan, weights in zip(plans, alone, strict=True):
        assert_same_bits(together[plan], weights, f"seed and precision {plan}")


# ------------------------------------------------------------------------------------------------------------- helpers


def test_helpers_end_when_there_are_fewer_threads():
    before = helper_idents()
    for count in (2, 3, 4, 3):
        minidl.threads(count)
        together = threading.Barrier(count)
        parallel.in_slices(lambda rows, together=together: together.wait(timeout=30), count, parallel.SLICE_BYTES)
        assert eventually(lambda count=count: len(helper_idents() - before) == count - 1), f"{count} threads"
    minidl.threads(1)
    assert eventually(lambda: not helper_idents() - before), "one thread computes alone"


def test_the_number_of_threads_may_change_while_others_compute():
    """A job whose helpers are ended goes on and finishes."""
    minidl.threads(2)
    begun = threading.Event()

    def work(rows):
        begun.set()
        time.sleep(0.001)
        return rows.start

    results = []
    thread = threading.Thread(target=lambda: results.append(parallel.in_slices(work, 200, parallel.SLICE_BYTES)))
    thread.start()
    begun.wait(timeout=30)
    for count in (3, 1, 2, 4, 1):
        minidl.threads(count)
        assert parallel.in_slices(lambda rows: rows.start, 5, parallel.SLICE_BYTES) == list(range(5))
    thread.join(timeout=60)
    assert results == [list(range(200))]


def test_a_thread_that_outlives_the_main_one_computes_on():
    """Python starts no new threads by then."""
    done = python("""
        import threading, time
        import minidl
        from minidl import parallel
        minidl.threads(2)

        def late():
            threading.main_thread().join()
            print(parallel.in_slices(lambda rows: rows.start, 4, parallel.SLICE_BYTES))

        threading.Thread(target=late).start()
        """)
    assert done == "[0, 1, 2, 3]\n"


# ------------------------------------------------------------------------------------------------------ fork and spawn

PRELUDE = """
    import os, signal, sys, threading, time
    import numpy as np
    import minidl
    from minidl import Sequential, parallel
    from minidl.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, ReLU
    from minidl.losses import SoftmaxCrossEntropy
    from minidl.optimizers import Adam

    x, y = np.random.default_rng(0).standard_normal((48, 32, 32, 3)).astype(np.float32), np.arange(48) % 10
    parallel.SLICE_BYTES = 1 << 19      # several slices of few images

    def train():
        minidl.seed(5)
        layers = [Conv2D(8, 3, padding=1), BatchNorm(), ReLU(), Dropout(0.2), Flatten(), Dense(10)]
        model = Sequential(layers, (32, 32, 3))
        optimizer, loss = Adam(model.parameters()), SoftmaxCrossEntropy()
        for _ in range(2):
            loss.forward(model.forward(x), y)
            model.backward(loss.backward())
            optimizer.step()
        return float(abs(optimizer.flat.data.astype(np.float64)).sum())

    def threads_at_work():
        both = threading.Barrier(2)

        def meet(rows):
            both.wait(timeout=20)       # raises where no other thread comes
            return threading.get_ident()

        return len(set(parallel.in_slices(meet, 2, parallel.SLICE_BYTES)))

    def blas_threads():
        import threadpoolctl
        return max([library["num_threads"] for library in threadpoolctl.threadpool_info()
                    if library["user_api"] == "blas"], default=1)

    def verdict(right):
        return train() == right and threads_at_work() == 2 and blas_threads() == 1
"""
FORKS = PRELUDE + """
    def ends_well(pid):
        end = time.monotonic() + 40
        while time.monotonic() < end:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return True
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def fork():
        there, back = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(back, b"right" if verdict(right) else b"wrong")
            os._exit(0)
        os.close(back)
        said = os.read(there, 5).decode() if ends_well(pid) else "blocked"
        os.close(there)
        return said

    minidl.threads(2)
    right, parent = train(), os.getpid()
"""
SITUATIONS = {
    "the pool rests": """
    print(*(fork() for _ in range(count)))
    """,
    "another thread trains": """
    def load():
        while True:
            train()

    threading.Thread(target=load, daemon=True).start()
    time.sleep(0.1)
    print(*(fork() for _ in range(count)))
    """,
    "a helper is in the middle of a slice": """
    # In its signal handler, the main thread forks while it works on a slice. The child goes on with that slice: what
    # its helper had begun must be there in the end, and be there once.
    a, children = np.random.default_rng(0).standard_normal((40, 200, 200)).astype(np.float32), []

    def products():
        totals = np.zeros(40)

        def add(rows):
            for _ in range(5):
                totals[rows] += np.trace((a[rows] @ a[rows])[0])

        parallel.in_slices(add, 40, parallel.SLICE_BYTES)
        return totals

    def handler(*_):
        if os.getpid() == parent:
            children.append(os.fork())

    expected = products()
    signal.signal(signal.SIGALRM, handler)
    for number in range(count):
        signal.setitimer(signal.ITIMER_REAL, 0.005 + 0.0007 * number)
        while not children:
            same = (products() == expected).all()
            if os.getpid() != parent:
                os._exit(0 if same and verdict(right) else 1)
        pid, end, status = children.pop(), time.monotonic() + 40, None
        while status is None and time.monotonic() < end:
            done, code = os.waitpid(pid, os.WNOHANG)
            status = code if done else None
            time.sleep(0.01)
        if status is None:
            os.kill(pid, signal.SIGKILL)
        print("blocked" if status is None else "right" if status == 0 else "wrong", end=" ")
    """}


def python(code):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)], capture_output=True, text=True,
                          timeout=500, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("count", [2, pytest.param(25, marks=pytest.mark.slow)])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_forked_child_computes_right_on_all_threads(situation, count):
    assert python(f"{FORKS}\n    count = {count}\n{SITUATIONS[situation]}").split() == ["right"] * count


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_of_multiprocessing_train_alike(method, tmp_path):
    """Started while the pool of the parent is there."""
    script = tmp_path / "many.py"
    script.write_text(textwrap.dedent(PRELUDE + """
    def child(queue, right):
        minidl.threads(2)
        queue.put(verdict(right))

    if __name__ == "__main__":
        import multiprocessing
        minidl.threads(2)
        right, context = train(), multiprocessing.get_context(sys.argv[1])
        queue = context.SimpleQueue()
        children = [context.Process(target=child, args=(queue, right)) for _ in range(2)]
        for each in children:
            each.start()
        print([queue.get() for each in children])
        for each in children:
            each.join()
    """), encoding="utf-8")
    done = subprocess.run([sys.executable, "-W", "ignore", script, method], capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.stdout == "[True, True]\n", done.stdout + done.stderr
