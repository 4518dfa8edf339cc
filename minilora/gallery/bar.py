"""One bar over several figures, with the time that is left."""

import sys
from pathlib import Path

FORMAT = "{desc} {percentage:3.0f}%|{bar}| {elapsed} so far, {remaining} left"


class FiguresBar:
    """A bar whose unit is a second of one processor: a figure is as long as its runs took when it was last computed.

    It is a `minilora.parallel.Progress` for the runs of the current figure. The time left follows from how
    fast the expected seconds go by here, so it fits this machine after the first runs. `expected`: of each figure these
    seconds and how many runs it had, which says at the first round of a sweep what is still to come (0: not known).
    """

    def __init__(self, expected: dict[str, tuple[float, int]]):
        self.expected = expected
        self._total = self._done = 0
        self._name, self._until, self._step = "", 0.0, 0.0

    def __enter__(self):
        from tqdm import tqdm  # here, so that importing minilora loads numpy only

        self._bar = tqdm(total=sum(seconds for seconds, _ in self.expected.values()), bar_format=FORMAT, smoothing=0)
        return self

    def __exit__(self, *_):
        self._bar.close()

    def start(self, name: str) -> None:
        """This figure is next."""
        self._name, self._total, self._done = name, 0, 0
        self._until = min(self._until + self.expected[name][0], self._bar.total)
        self._show()

    def begin(self, total: int, kept: int) -> None:
        """So many runs, of which some were kept: they count as done, and not for the speed."""
        to_come = max(1, total, self.expected[self._name][1] - self._total)
        self._total, self._done = self._total + total, self._done + kept
        self._step = (self._until - self._bar.n) / to_come
        self._bar.initial += kept * self._step
        self._bar.n = min(self._bar.n + kept * self._step, self._until)
        self._show()

    def advance(self) -> None:
        """One run is done."""
        self._done += 1
        # shares may add up to a last bit more than the whole
        self._bar.update(max(0.0, min(self._step, self._until - self._bar.n)))
        self._show()

    def end(self) -> None:
        """The runs are over; what the experiment does with their results is quick."""

    def finish(self) -> None:
        """The figure is done."""
        self._bar.update(max(0.0, self._until - self._bar.n))

    def say(self, what: str | Path) -> None:
        """Print a line without disturbing the bar."""
        self._bar.write(str(what), file=sys.stdout)

    def _show(self):
        runs = f" {self._done}/{self._total}" if self._total else ""
        self._bar.set_description_str(f"{self._name}{runs}")
