"""Threads that stay awake between short pieces of work, as those of OpenMP do.

A sleeping thread takes 20 to 100 microseconds to wake, longest in a virtual machine, and a training step hands out work some
hundred times. Between `wake` and `rest` these threads wait in `pthread_spin_lock`: without Python's lock, and a
microsecond away. They take a core each while they wait. A leaf like `checks`; `machine.in_threads` uses it.
"""

import ctypes
import functools
import threading
from collections.abc import Callable, Sequence


class SpinLock:
    """A lock that whoever wants it waits for without sleeping, and that any thread may release. Locked at first."""

    def __init__(self):
        self._memory = ctypes.c_int()  # what a pthread_spinlock_t is
        self._place = ctypes.c_void_p(ctypes.addressof(self._memory))
        spin = _functions()
        self.acquire, self.try_acquire, self.release = (functools.partial(one, self._place) for one in spin[1:])
        spin[0](self._place, 0)
        self.acquire()


@functools.cache
def _functions():
    """pthread's own, or None where the C library has none (macOS, Windows)."""
    try:
        library = ctypes.CDLL(None)
        return [getattr(library, f"pthread_spin_{name}") for name in ("init", "lock", "trylock", "unlock")]
    except (OSError, AttributeError, TypeError):
        return None


class Member:
    """A thread of the team. `work` is None unless it has something to do, or was handed something and never began."""

    def __init__(self, name: str):
        self.work: Callable | None = None
        self.error: BaseException | None = None
        self.dismissed = False
        self.called, self.begin, self.end = threading.Semaphore(0), SpinLock(), SpinLock()
        threading.Thread(target=self._live, name=name, daemon=True).start()

    def _live(self):
        while not self.dismissed:
            self.called.acquire()  # asleep
            while not self.dismissed:
                self.begin.acquire()  # awake
                if self.work is None:
                    self.end.release()
                    break
                try:
                    self.work()
                except BaseException as error:  # raised again by whoever gave the work
                    self.error = error
                self.work = None
                self.end.release()

    def start(self, work: Callable) -> None:
        self.end.try_acquire()  # the end of work that nobody waited for, as Ctrl-C came
        self.work = work
        self.begin.release()

    def finish(self) -> BaseException | None:
        self.end.acquire()
        error, self.error = self.error, None
        return error

    def rest(self) -> bool:
        """Send it to sleep; False if it is still at work that nobody waits for. Then it ends with that."""
        self.end.try_acquire()
        self.dismissed = self.work is not None
        self.begin.release()
        if not self.dismissed:
            self.end.acquire()
        return not self.dismissed


class Team:
    """`compute` shares work among the caller and threads that are awake since `wake(count)`; `rest()` sends them to sleep."""

    def __init__(self, name: str):
        self.name, self.awake = name, False
        self._members: list[Member] = []
        self._busy = threading.Lock()

    def wake(self, count: int) -> None:
        """Let `count` threads wait for work. Does nothing where the C library has no spin locks."""
        if _functions() is None or self.awake:
            return
        with self._busy:
            self._members += [Member(self.name) for _ in range(count - len(self._members))]
            for member in self._members:
                member.called.release()
            self.awake = True

    def rest(self) -> None:
        """Let them sleep, once what they are at is done."""
        if self.awake:
            with self._busy:
                self.awake = False
                self._members = [member for member in self._members if member.rest()]

    def compute(self, others: Sequence[Callable], own: Callable) -> bool:
        """Call `own` here and each of `others` in a thread; raises what they raise, when all have ended.

        False, and nothing is called, where not enough threads are awake and free.
        """
        if not self.awake or not self._busy.acquire(blocking=False):
            return False
        try:
            members = self._members[: len(others)]
            if len(members) < len(others) or any(member.work is not None for member in members) or not self.awake:
                return False
            started, errors = [], []
            try:
                for member, work in zip(members, others, strict=True):
                    member.start(work)
                    started.append(member)
                own()
            finally:
                errors = [error for member in started if (error := member.finish()) is not None]
            if errors:
                raise errors[0]
            return True
        finally:
            self._busy.release()
