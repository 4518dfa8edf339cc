import os
import subprocess
import sys
import threading
import time

import pytest

from minilora import team as module
from minilora.team import Team

pytestmark = pytest.mark.skipif(module._functions() is None, reason="this C library has no spin locks")


@pytest.fixture
def team():
    team = Team("tested")
    team.wake(2)
    yield team
    team.rest()


def here():
    return threading.current_thread()


def test_the_caller_and_two_threads_work_at_the_same_time(team):
    meeting, seen = threading.Barrier(3, timeout=10), []

    def work():
        meeting.wait()  # passed only if three threads are at work
        seen.append(here())

    for _ in range(3):
        assert team.compute([work, work], work)
    assert len(seen) == 9 and len(set(seen)) == 3 and here() in seen


def test_compute_returns_when_all_have_ended(team):
    done = []
    assert team.compute([lambda: (time.sleep(0.05), done.append(1))], lambda: done.append(0))
    assert done == [0, 1]


def test_it_calls_nothing_when_asleep_too_small_or_busy():
    team, seen = Team("tested"), []

    def call(*others):
        return team.compute(list(others), lambda: seen.append("own"))

    assert not call(lambda: seen.append("other"))  # not yet awake
    team.wake(1)
    assert not call(lambda: seen.append("one"), lambda: seen.append("two"))
    assert not team._busy.locked() and seen == []
    inner = []
    assert team.compute([lambda: None], lambda: inner.append(call(lambda: seen.append("nested"))))
    assert inner == [False] and seen == []
    team.rest()
    assert not call(lambda: seen.append("other")) and seen == []


def test_errors_of_either_side_come_back_after_the_other_has_ended(team):
    done = []

    def slow():
        time.sleep(0.05)
        done.append("slow")

    def bad():
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        team.compute([slow], bad)
    with pytest.raises(ValueError, match="bad"):
        team.compute([bad, slow], lambda: None)
    assert done == ["slow", "slow"]
    assert team.compute([lambda: done.append("again")], lambda: None) and done[-1] == "again"


def test_awake_threads_spin_and_resting_ones_sleep(team):
    def cpu_seconds():
        before = time.process_time()
        time.sleep(0.1)
        return time.process_time() - before

    assert cpu_seconds() > 0.05
    team.rest()
    assert cpu_seconds() < 0.05
    team.wake(2)
    assert cpu_seconds() > 0.05


def test_ctrl_c_between_handing_out_and_waiting_spoils_no_later_result(team):
    """The first thread is at work that nobody waits for; until that ends the team does nothing, then it works again."""
    going, release = threading.Event(), threading.Event()
    slow = team._members[0]
    slow.start(lambda: (going.set(), release.wait(10)))
    assert going.wait(10)
    assert not team.compute([lambda: None], lambda: None)
    release.set()
    while slow.work is not None:
        time.sleep(0.001)
    done = []
    assert team.compute([lambda: (time.sleep(0.02), done.append("other"))], lambda: done.append("own"))
    assert done == ["own", "other"]  # the end of the forgotten work was not taken for this one's


def test_a_thread_that_is_still_at_work_at_rest_ends_with_it():
    team, release = Team("tested"), threading.Event()
    team.wake(1)
    member = team._members[0]
    before = threading.active_count()
    member.start(lambda: release.wait(10))
    team.rest()
    assert team._members == [] and not team.awake
    release.set()
    deadline = time.monotonic() + 10
    while threading.active_count() == before and time.monotonic() < deadline:
        time.sleep(0.001)
    assert threading.active_count() == before - 1
    team.wake(1)  # another one
    assert team.compute([lambda: None], lambda: None)
    team.rest()


def test_a_program_ends_while_its_threads_are_awake():
    script = "from minilora.team import Team; team = Team('x'); team.wake(2); print('end')"
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=os.environ, check=False
    )
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "end", "")


def test_without_spin_locks_nobody_wakes(monkeypatch):
    monkeypatch.setattr(module, "_functions", lambda: None)
    team = Team("tested")
    team.wake(2)
    assert not team.awake and not team.compute([lambda: None], lambda: None)
