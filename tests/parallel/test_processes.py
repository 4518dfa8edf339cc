"""Workers: what they compute, how they die, and what is left when the main process goes."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from minilora.parallel import RunFailed, in_processes, one_by_one, processes
from minilora.parallel.processes import interrupts_held


def square(x):
    return x * x


def sleeps(seconds):
    time.sleep(seconds)


def what_a_worker_sees(_):
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
    return [os.environ[name] for name in names], signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def dies_at_two(x):
    if x == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def fails_at_two(x):
    if x == 2:
        raise ValueError("training diverged at step 7")
    return x


def squares_in_processes(n):
    return collect(in_processes, square, range(n))


def collect(compute, function, items, **kwargs):
    results = {}
    compute(function, dict(enumerate(items)), lambda i, seconds, result: results.__setitem__(i, result), **kwargs)
    return [results[i] for i in sorted(results)]


@pytest.mark.parametrize("compute", [in_processes, one_by_one])
def test_results_and_seconds_are_handed_over(compute):
    seen = []
    compute(square, {3: 5, 7: 6}, lambda *finished: seen.append(finished))
    assert sorted((index, result) for index, _, result in seen) == [(3, 25), (7, 36)]
    assert all(0 <= seconds < 60 for _, seconds, _ in seen)


@pytest.mark.parametrize("compute", [in_processes, one_by_one])
def test_seconds_are_those_of_a_processor(compute):
    """What waits, here for nothing, elsewhere for other work on the machine, does not count."""
    seen = []
    compute(sleeps, {0: 0.5, 1: 0.5}, lambda *finished: seen.append(finished))
    assert len(seen) == 2 and all(seconds < 0.25 for _, seconds, _ in seen)


def test_a_worker_has_one_blas_thread_and_ignores_the_interrupt(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert collect(in_processes, what_a_worker_sees, [0]) == [(["1", "1"], True)]
    assert os.environ["OPENBLAS_NUM_THREADS"] == "7" and "OMP_NUM_THREADS" not in os.environ


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_worker_is_an_error_that_names_its_run_and_keeps_the_others():
    results = []
    with pytest.raises(RunFailed, match=r"the run 2 failed: its process was ended by signal 9.*memory"):
        in_processes(dies_at_two, dict(enumerate(range(3))), lambda *one: results.append(one[2]), workers=3)
    assert sorted(results) == [0, 1]


@pytest.mark.parametrize("compute", [in_processes, one_by_one])
def test_an_error_in_a_run_names_the_run(compute):
    results = []
    with pytest.raises(RunFailed, match="the run 2 failed: ValueError: training diverged at step 7"):
        compute(fails_at_two, dict(enumerate(range(3))), lambda *one: results.append(one[2]))
    assert sorted(results) == [0, 1]


def test_a_run_inside_a_worker_computes_in_that_worker():
    assert collect(in_processes, squares_in_processes, [3]) == [[0, 1, 4]]


@pytest.mark.parametrize("error", [BlockingIOError("no more processes"), OSError("Cannot allocate memory")])
def test_without_processes_one_line_and_one_run_after_another(error, monkeypatch, capsys):
    def start(self):
        raise error

    monkeypatch.setattr(multiprocessing.get_context("spawn").Process, "start", start)
    assert collect(in_processes, square, range(3)) == [0, 1, 4]
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "one run after another" in said and str(error) in said


@pytest.mark.parametrize(("system", "most"), [("nt", 61), ("posix", 100)])
def test_windows_waits_for_61_workers_at_most(monkeypatch, system, most):
    counts = []
    monkeypatch.setattr(processes, "_start", lambda crew, count: counts.append(count) or "this is a test")
    monkeypatch.setattr(processes, "os", SimpleNamespace(name=system))
    assert collect(in_processes, square, range(100), workers=200) == [x * x for x in range(100)]
    assert counts == [most]


def test_a_script_without_a_main_guard_gets_one_line_about_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os\nfrom minilora.parallel import SideBySide\nprint(SideBySide()(abs, [-1, 2, -3]))\nprint('once')\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=os.environ | {"TQDM_DISABLE": "1"}
    )
    assert (done.returncode, done.stdout) == (0, "[1, 2, 3]\nonce\n")
    assert done.stderr.count("\n") == 1 and '__name__ == "__main__"' in done.stderr


def test_an_interrupt_is_held_and_not_lost():
    reached = False
    with pytest.raises(KeyboardInterrupt), interrupts_held():
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.05)
        reached = True
    assert reached and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_thread_may_start_workers_too():
    results = []
    thread = threading.Thread(target=lambda: results.append(collect(in_processes, square, [4])))
    thread.start()
    thread.join()
    assert results == [[16]]


# The very command, stopped in every way.

DRIVER = """
import sys
from minilora.cli import main
from minilora.experiments.rank import rank_known

if __name__ == "__main__":
    # The figure as it is, but with twelve runs of a third of a second.
    rank_known.Config.__init__.__defaults__ = (64, 48, 8, 0.8, 0.9, (4, 8), STEPS, 0.02, (0, 1, 2, 3))
    sys.exit(main(["figures", "rank_known", *sys.argv[1:]]))
"""


@pytest.fixture
def command(tmp_path):
    """Start `figures rank_known --out tmp_path/out` in a process group of its own."""
    started = []

    def start(steps):
        script = tmp_path / "driver.py"
        script.write_text(DRIVER.replace("STEPS", str(steps)), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, script, "--out", tmp_path / "out"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        for pid in group(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.stdout.close()
        process.stderr.close()
        process.wait()


def group(leader):
    """The processes of a process group that are alive."""
    alive = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8") as file:
                state, _, pgrp = file.read().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # it has just ended
        if int(pgrp) == leader and state != "Z":
            alive.append(int(name))
    return alive


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc for processes that are left")


@linux
def test_a_figure_that_is_interrupted_keeps_its_runs_and_resumes(command, tmp_path):
    runs = tmp_path / "out" / ".runs"
    (runs / "another").mkdir(parents=True)
    (runs / "another" / "run.json").write_text("{}", encoding="utf-8")
    first = command(steps=800)
    wait_for(lambda: len(list(runs.glob("rank_known/*.json"))) >= 2)
    os.killpg(first.pid, signal.SIGINT)  # as a terminal does: every process of the group gets it
    _, said = first.communicate(timeout=30)
    kept = len(list(runs.glob("rank_known/*.json")))
    assert first.returncode == 130
    assert "\nstopping\n" in said and "Traceback" not in said
    assert f"{kept} finished runs of rank_known are kept" in said and 2 <= kept < 12
    wait_for(lambda: group(first.pid) == [], seconds=2)  # the last one notices that the others have gone

    second = command(steps=800)
    _, said = second.communicate(timeout=60)
    assert second.returncode == 0
    assert f"{kept} of 12 runs are kept from before" in said
    assert (tmp_path / "out" / "rank_known.svg").is_file()
    assert [path.name for path in runs.iterdir()] == ["another"]  # one figure's end takes away its own runs alone


BARS = """
import time
from pathlib import Path
from tqdm import tqdm
from minilora.parallel import in_processes

def draws_a_bar(path):
    list(tqdm(range(2), disable=True))
    Path(path).touch()
    time.sleep(60)

if __name__ == "__main__":
    in_processes(draws_a_bar, {0: "first", 1: "second"}, print, workers=2)
"""


@linux
def test_a_stopped_run_that_draws_a_bar_leaves_no_warning(tmp_path):
    """As every training run does, if only a bar that is not shown."""
    (tmp_path / "script.py").write_text(BARS, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "script.py"], cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(lambda: (tmp_path / "first").exists() and (tmp_path / "second").exists())
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0 and "Warning" not in said


@linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_main_process_that_is_killed_leaves_none_behind(command, tmp_path, number):
    process = command(steps=3000)
    wait_for(lambda: any(tmp_path.glob("out/.runs/rank_known/*.json")))
    assert len(group(process.pid)) >= 2
    os.kill(process.pid, number)
    assert process.wait(timeout=10) == -number
    wait_for(lambda: group(process.pid) == [], seconds=10)
    assert not re.search("Traceback", process.stderr.read())
    assert any(tmp_path.glob("out/.runs/rank_known/*.json"))
