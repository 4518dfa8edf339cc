"""`each(function, items)`: order, kept runs, and how it reports."""

import time

import pytest

from minilora.parallel import RunFailed, SideBySide, one_by_one

CALLS = []


def square(x):
    CALLS.append(x)
    return {"square": x * x}


def works(x):
    """Until the processor's clock has moved, which takes a while on Windows."""
    CALLS.append(x)
    start = time.process_time()
    while time.process_time() == start:
        pass
    return x


def fails_once(x):
    CALLS.append(x)
    if x == 2 and CALLS.count(2) == 1:
        raise MemoryError("too much")
    return x


class Listener:
    """A progress that writes down what it hears."""

    def __init__(self):
        self.heard = []

    def begin(self, total, kept):
        self.heard.append((total, kept))

    def advance(self):
        self.heard.append("advance")

    def end(self):
        self.heard.append("end")


@pytest.fixture(autouse=True)
def forget():
    CALLS.clear()


def test_results_come_in_order_from_processes_too():
    each = SideBySide()
    assert each(square, range(7)) == [{"square": x * x} for x in range(7)]
    assert each(square, []) == [] and each.runs == 7


def test_a_failed_call_keeps_what_was_finished_and_the_next_computes_the_rest(tmp_path, capsys):
    def each(progress):
        return SideBySide(desc="tries", keep=tmp_path, compute=one_by_one, progress=progress)

    first, second = Listener(), Listener()
    with pytest.raises(RunFailed, match="the run 2 failed: MemoryError: too much"):
        each(first)(fails_once, [0, 1, 2, 3])
    assert first.heard == [(4, 0), "advance", "advance", "end"]
    assert each(second)(fails_once, [0, 1, 2, 3]) == [0, 1, 2, 3]
    assert CALLS == [0, 1, 2, 2, 3] and second.heard == [(4, 2), "advance", "advance", "end"]
    assert "tries: 2 of 4 runs are kept from before" in capsys.readouterr().err


def test_seconds_count_kept_runs_too(tmp_path):
    first = SideBySide(keep=tmp_path, compute=one_by_one)
    first(works, [1, 2])
    again = SideBySide(keep=tmp_path, compute=one_by_one)
    again(works, [1, 2])
    assert CALLS == [1, 2] and again.seconds == first.seconds > 0
