"""`each(function, items)`: results in order, whatever computes them, with progress and kept runs."""

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from minilora.parallel.kept import KeptRuns
from minilora.parallel.processes import in_processes


class Progress(Protocol):
    """What is informed of how far the runs are. Implemented by bars over one call (below) and over several figures (gallery)."""

    def begin(self, total: int, kept: int) -> None:
        """`total` runs are wanted, of which `kept` were finished before."""

    def advance(self) -> None:
        """One more is finished."""

    def end(self) -> None:
        """There will be no more of them, finished or not."""


class SideBySide:
    """Calling it gives `[function(item) for item in items]`, in order, computed side by side.

    `compute(function, {index: item}, finished)`: what runs them; it calls `finished(index, seconds, result)` here, in
    this process, as each one ends. By default a process for each core (`in_processes`).
    `keep`: a folder where each finished result is kept (see `KeptRuns`), so that a stopped call computes only what is
    missing when it is made again; results then come back as JSON holds them. The caller removes it when all is done.
    `seconds`, `runs`: what all runs took of a processor together, kept ones included, and how many there were.
    """

    def __init__(
        self,
        *,
        desc: str = "",
        keep: str | os.PathLike | None = None,
        compute: Callable = in_processes,
        progress: Progress | None = None,
    ):
        self.desc, self.keep, self.compute = desc, keep, compute
        self.progress = progress or _Bar(desc)
        self.seconds, self.runs = 0.0, 0

    def __call__(self, function: Callable, items: Iterable) -> list[Any]:
        items = list(items)
        runs = None if self.keep is None else KeptRuns(self.keep, function)
        before = {i: runs.load(item) for i, item in enumerate(items)} if runs else {}
        entries = {i: entry for i, entry in before.items() if entry is not None}
        if entries and len(entries) < len(items):
            print(f"{self.desc}: {len(entries)} of {len(items)} runs are kept from before", file=sys.stderr)

        def finished(index, seconds, result):
            entries[index] = runs.save(items[index], seconds, result) if runs else (seconds, result)
            self.progress.advance()

        self.progress.begin(len(items), len(entries))
        try:
            self.compute(function, {i: item for i, item in enumerate(items) if i not in entries}, finished)
        finally:
            self.progress.end()
        self.runs += len(items)
        self.seconds += sum(seconds for seconds, _ in entries.values())
        return [entries[i][1] for i in range(len(items))]


class _Bar:
    """A bar over the runs of one call."""

    def __init__(self, desc):
        self.desc = desc

    def begin(self, total, kept):
        from tqdm import tqdm  # here, so that importing minilora loads numpy only

        self.bar = tqdm(total=total, initial=kept, desc=self.desc)

    def advance(self):
        self.bar.update()

    def end(self):
        self.bar.close()
