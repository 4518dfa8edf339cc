"""Runs in processes of their own, one for each core, that end when this process does.

A worker is a fresh interpreter ("spawn") with one BLAS thread, so that results depend neither on what this process has
done nor on how many workers there are. It is given one item at a time through a pipe, so it is known which run a dead
worker was at. Ctrl-C is for this process alone: workers ignore it, and are ended by it.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing import connection
from typing import Any

from minilora.machine import cores, keep_memory

# Two workers with two BLAS threads each would compete for the cores. Read when numpy is loaded.
ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}
WINDOWS_MOST = 61  # Windows waits for 63 handles at most, and multiprocessing needs two
NO_MAIN_GUARD = 97  # the exit code of a worker that was about to run the caller's script
PATIENCE = 5.0  # seconds a worker has to end before it is killed

Finished = Callable[[int, float, Any], None]


class RunFailed(RuntimeError):
    """A run raised an error, or its process died; the message names the run. Other finished runs were handed over."""


def in_processes(function: Callable, items: dict[int, Any], finished: Finished, workers: int | None = None) -> None:
    """Compute `function(item)` for each item, calling `finished(index, seconds, result)` here as each one ends, seconds of a processor.

    `workers`: how many at a time; by default one for each core. `function` must be a module-level function and items and
    results must pickle. Where no process can be started (no memory, no threads, a script without a main guard) the runs
    are computed here, one by one, and one line says so. Raises RunFailed once the runs that were under way have ended.
    """
    if not items:
        return
    limit = min(len(items), workers or cores(), WINDOWS_MOST if os.name == "nt" else len(items))
    crew: list = []  # of (process, pipe)
    try:
        trouble = _start(crew, limit)
        if crew:
            _share_out(function, items, crew, finished)
            return
    except KeyboardInterrupt:
        print("\nstopping", file=sys.stderr)
        raise
    finally:
        _end(crew)
    print(f"minilora: one run after another, because {trouble}", file=sys.stderr)
    one_by_one(function, items, finished)


def one_by_one(function: Callable, items: dict[int, Any], finished: Finished) -> None:
    """Compute the items here, in order; the same interface as `in_processes`.

    Raises RunFailed, which names the run, at the first that fails.
    """
    for index, item in items.items():
        start = time.process_time()
        try:
            result = function(item)
        except Exception as error:
            raise _failed(item, f"{type(error).__name__}: {error}") from error
        finished(index, time.process_time() - start, result)


def _share_out(function, items, crew, finished):
    waiting, idle, busy, failure = deque(items.items()), list(crew), {}, None
    while busy or (waiting and idle and not failure):
        while waiting and idle and not failure:
            index, item = waiting.popleft()
            process, pipe = idle.pop()
            busy[pipe] = (process, index, item)
            with contextlib.suppress(BrokenPipeError):  # it has died idle: the pipe's end says so below
                pipe.send_bytes(pickle.dumps((function, item)))
        for pipe in connection.wait(list(busy)):
            process, index, item = busy.pop(pipe)
            try:
                seconds, result, error = pipe.recv()
            except (EOFError, ConnectionResetError):
                failure = failure or _failed(item, _how_it_died(process))
                continue
            idle.append((process, pipe))
            if error is None:
                finished(index, seconds, result)
            elif not failure:
                failure = _failed(item, error[0])
                failure.add_note(f"In the worker:\n{error[1]}")
    if failure:
        raise failure


def _failed(item, what):
    return RunFailed(f"the run {item!r} failed: {what}")


def _how_it_died(process):
    process.join(PATIENCE)
    if process.exitcode is not None and process.exitcode < 0:
        return (
            f"its process was ended by signal {-process.exitcode} (9: usually the system, when memory runs out); "
            "close other programs, or use fewer workers"
        )
    return f"its process ended with exit code {process.exitcode}"


# Starting and ending.


def _start(crew, count):
    """Put up to `count` workers that are ready into `crew`; returns why there are fewer."""
    trouble = ""
    context = multiprocessing.get_context("spawn")
    try:
        with interrupts_held(), _environment(ONE_THREAD):
            for _ in range(count):
                here, there = context.Pipe()
                process = context.Process(target=_work, args=(there,), daemon=True)
                process.start()
                there.close()  # the worker holds the only other end: when it dies, `here` says so
                crew.append((process, here))
    except RuntimeError as error:
        if "bootstrapping" not in str(error):
            raise
        os._exit(NO_MAIN_GUARD)  # this is a worker, and it was about to run the caller's script all over
    except (OSError, AssertionError) as error:  # AssertionError: this is a worker itself, which may start no others
        trouble = f"no process could be started ({error})"
    for worker in list(crew):
        process, pipe = worker
        try:
            pipe.recv()  # "ready"
        except (EOFError, ConnectionResetError):
            crew.remove(worker)
            process.join(PATIENCE)
            trouble = f"processes end when they start (exit code {process.exitcode})"
            if process.exitcode == NO_MAIN_GUARD:
                trouble = (
                    'this script has no `if __name__ == "__main__":` above what it does; with one, runs go side by side'
                )
    return trouble


def _end(crew):
    with interrupts_held():
        for _, pipe in crew:
            pipe.close()  # an idle worker returns
        for patience, end in ((0.2, "terminate"), (PATIENCE, "kill")):  # a busy one does not return
            deadline = time.monotonic() + patience
            for process, _ in crew:
                process.join(max(0.0, deadline - time.monotonic()))
                if process.is_alive():
                    getattr(process, end)()


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Ctrl-C inside the block takes effect at its end; processes that are started in it never see one."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python raises KeyboardInterrupt in the main thread only
        return
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(True)) or signal.SIG_DFL
    masks = hasattr(signal, "pthread_sigmask")  # not on Windows, where a worker can see Ctrl-C while it starts
    try:
        if masks:
            from multiprocessing import resource_tracker

            resource_tracker.ensure_running()  # or the first start() would do it, and unblock the signal
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            if masks:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed and callable(before):
        before(signal.SIGINT, None)


@contextlib.contextmanager
def _environment(settings):
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# In the worker.


def _work(pipe):
    from tqdm import tqdm  # here, so that importing minilora loads numpy only

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_memory()
    tqdm.set_lock(threading.RLock())  # its own lock, between processes, is called leaked when the worker is ended
    with contextlib.suppress(EOFError, OSError):  # the other end is closed: nothing more to do
        pipe.send("ready")
        while True:
            pipe.send_bytes(_reply(pipe.recv_bytes()))


def _reply(message):
    """(seconds, result, None), or (0, None, (what was raised, where)) pickled."""
    try:
        function, item = pickle.loads(message)
        start = time.process_time()
        result = function(item)
        return pickle.dumps((time.process_time() - start, result, None))
    except BaseException as error:
        return pickle.dumps((0.0, None, (f"{type(error).__name__}: {error}", traceback.format_exc())))


def _end_with_parent():
    multiprocessing.parent_process().join()  # returns when the parent is gone, however it went
    os._exit(1)
