"""What this machine offers, asked in one place: cores, BLAS threads, and an allocator that keeps its memory.

A leaf like `checks`: everything may import it.
"""

import concurrent.futures
import contextlib
import contextvars
import ctypes
import functools
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from minilora.team import Team

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

# The parameters of glibc's mallopt (malloc.h), and what keep_memory sets them to.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
KEEP_BELOW = 2**30  # bytes: blocks smaller than this come from the heap and stay in it
TOP_PAD = 2**27  # bytes: how much the heap grows at a time


def cores() -> int:
    """How many cores this process may use (its affinity, where the system knows it)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """How many threads to compute with: what the environment tells BLAS and torch (THREAD_VARIABLES), or else `cores()`."""
    for name in THREAD_VARIABLES:
        said = os.environ.get(name, "")
        if said.isascii() and said.isdigit():
            return max(1, int(said))
    return cores()


def pieces(n: int, size: int) -> list[slice]:
    """0 .. n cut into slices of `size`, the last one perhaps shorter."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def in_threads(work: Callable, items: Sequence) -> None:
    """work(item) for every item, shared among `threads()` threads where there are several items; raises what it raises.

    No item may need another's result, nor write where another writes. numpy releases the GIL while it computes, so
    this pays where an item takes a tenth of a millisecond and more. The bits do not depend on which thread takes which item.
    """
    count = min(threads(), len(items)) if len(items) > 1 else 1  # asking the environment takes a microsecond
    if count <= 1 or threading.current_thread().name.startswith(POOL_NAME):  # a worker itself must not wait for others
        for item in items:
            work(item)
        return

    def share(first):
        for item in items[first::count]:
            work(item)

    context = contextvars.copy_context()  # numpy's errstate goes along
    shares = [functools.partial(context.copy().run, share, i) for i in range(1, count)]
    if not _team.compute(shares, lambda: share(0)):
        others = [_pool(count - 1).submit(one) for one in shares]
        try:
            share(0)
        finally:
            concurrent.futures.wait(others)  # even after an error: nothing may still be writing
        for other in others:
            other.result()


POOL_NAME = "minilora"
_team = Team(POOL_NAME)


@functools.cache
def _pool(workers):
    return concurrent.futures.ThreadPoolExecutor(workers, POOL_NAME)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
    os.register_at_fork(after_in_child=lambda: _team.__init__(POOL_NAME))


def blas_threads() -> int | None:
    """How many threads numpy's OpenBLAS uses, asked of the library itself; None if numpy came with another BLAS."""
    ask = _openblas("get")
    return None if ask is None else int(ask())


@functools.cache
def _openblas(what):
    """Its function that gets or sets the number of threads; None if numpy came with another BLAS."""
    import numpy as np

    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):  # Linux and Windows; macOS
        for path in sorted(folder.glob("*openblas*")):
            library = ctypes.CDLL(str(path))
            for prefix in ("scipy_", ""):
                for suffix in ("64_", ""):
                    function = getattr(library, f"{prefix}openblas_{what}_num_threads{suffix}", None)
                    if function is not None:
                        return function
    return None


class _OneBlasThread(contextlib.ContextDecorator):
    """See `one_blas_thread`. Counts who is inside, for several threads of a program may be at the same time."""

    def __init__(self):
        self._lock, self._inside, self._before = threading.Lock(), 0, 1

    def __enter__(self):
        with self._lock:
            self._inside += 1
            if self._inside == 1 and threads() > 1 and (set_threads := _openblas("set")) is not None:
                self._before = blas_threads()
                set_threads(1)
                if threads() <= cores():
                    _team.wake(threads() - 1)

    def __exit__(self, *error):
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                _team.rest()
                if self._before > 1:
                    _openblas("set")(self._before)
                    self._before = 1

    def _recreate_cm(self):
        return self  # as a decorator, too: one count for all


# with one_blas_thread: numpy's OpenBLAS computes on the thread that calls it, and `in_threads` shares out the work, among
# threads that stay awake inside the block (see `team`; only where each can have a core).
# OpenBLAS's own threads stay awake for a while after each product and take time from a core that in_threads needs: a
# training step on two cores was 10 to 15 % slower. Where numpy came with another BLAS, nothing changes.
one_blas_thread = _OneBlasThread()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=one_blas_thread.__init__)  # nobody is inside in a child


def peak_memory() -> int | None:
    """The most bytes of memory that this process has held at one time; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return _peak_working_set()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB elsewhere


def _peak_working_set():
    class Counters(ctypes.Structure):  # PROCESS_MEMORY_COUNTERS of psapi.h
        _fields_ = [("cb", ctypes.c_uint32), ("faults", ctypes.c_uint32)] + [
            (name, ctypes.c_size_t)
            for name in ("peak", "now", "peak_paged", "paged", "peak_nonpaged", "nonpaged", "pagefile", "peak_pagefile")
        ]

    try:
        counters = Counters(cb=ctypes.sizeof(Counters))
        process = ctypes.c_void_p(-1)  # this one
        done = ctypes.WinDLL("psapi").GetProcessMemoryInfo(process, ctypes.byref(counters), counters.cb)
    except (AttributeError, OSError):
        return None
    return counters.peak if done else None


@functools.cache
def keep_memory() -> bool:
    """Let glibc keep freed memory in this process instead of returning it to the system; True where that was done.

    Done once per process, at the first call; later calls return what that one did.

    A training step frees and asks for the same large arrays again and again. By default glibc maps each of them afresh,
    and the system clears every page at its first touch, which made a step 1.3 to 1.9 times slower. Called by Trainer,
    stream, generate and the worker processes of the experiments; MINILORA_KEEP_MEMORY=0 in the environment switches it
    off; where there is no glibc it does nothing.
    """
    if os.environ.get("MINILORA_KEEP_MEMORY") == "0" or not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    settings = ((M_MMAP_THRESHOLD, KEEP_BELOW), (M_TRIM_THRESHOLD, KEEP_BELOW), (M_TOP_PAD, TOP_PAD))
    done = [mallopt(parameter, value) == 1 for parameter, value in settings]  # all three, whichever fails
    return all(done)
