"""Threads that share out work, and an allocator that keeps its memory."""

import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from minilora import Llama, LlamaConfig, Trainer, TrainingConfig, machine, parallel, stream, team


@pytest.fixture
def calls(monkeypatch):
    """What mallopt is asked for, in a C library of our own."""
    made = []

    def mallopt(parameter, value):
        made.append((parameter, value))
        return 1

    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=mallopt))
    monkeypatch.setattr(machine.sys, "platform", "linux")
    monkeypatch.delenv("MINILORA_KEEP_MEMORY", raising=False)
    machine.keep_memory.cache_clear()
    yield made
    machine.keep_memory.cache_clear()


def test_glibc_is_asked_once_for_all_three_settings(calls):
    assert machine.keep_memory() and machine.keep_memory()
    # M_MMAP_THRESHOLD -3, M_TRIM_THRESHOLD -1, M_TOP_PAD -2 in glibc's malloc.h
    assert calls == [(-3, 2**30), (-1, 2**30), (-2, 2**27)]


def test_the_environment_switches_it_off(calls, monkeypatch):
    monkeypatch.setenv("MINILORA_KEEP_MEMORY", "0")
    assert not machine.keep_memory()
    assert calls == []


def test_nothing_where_there_is_no_glibc(calls, monkeypatch):
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: SimpleNamespace())  # musl: no mallopt
    assert not machine.keep_memory()
    machine.keep_memory.cache_clear()
    monkeypatch.setattr(machine.sys, "platform", "darwin")
    assert not machine.keep_memory()
    assert calls == []


def test_a_refused_setting_is_reported(calls, monkeypatch):
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=lambda p, v: int(p != -2)))
    assert not machine.keep_memory()


CONFIG = LlamaConfig(vocab_size=11, hidden_size=8, intermediate_size=8, num_hidden_layers=1, max_position_embeddings=8)
IDS = np.array([[1, 2]])


@pytest.mark.parametrize("user", ["Trainer", "stream"])
def test_who_computes_long_keeps_memory(calls, user):
    model = Llama(CONFIG, rng=np.random.default_rng(0))
    assert calls == []
    if user == "Trainer":
        Trainer(model, TrainingConfig(max_steps=1), lambda step: (IDS, IDS))
    else:
        stream(model, IDS, 1)
    assert len(calls) == 3


def kept(_):
    return machine.keep_memory.cache_info().misses == 1  # called already, by the worker's start


def test_workers_keep_memory():
    assert parallel.SideBySide()(kept, [0]) == [True]


FAULTS = """
import resource, numpy
from minilora.machine import keep_memory
keep_memory()
numpy.ones(2**23)  # 64 MB, freed at once
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    numpy.ones(2**23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not machine.keep_memory(), reason="no glibc, or switched off")
def test_a_freed_array_is_not_faulted_in_again():
    def faults(**environment):
        done = subprocess.run(
            [sys.executable, "-c", FAULTS],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return int(done.stdout)

    assert faults(MINILORA_KEEP_MEMORY="1") < 100 < faults(MINILORA_KEEP_MEMORY="0")


def test_the_peak_grows_by_what_is_held():
    before = machine.peak_memory()
    held = np.ones(8_000_000)  # 64 MB, touched
    assert machine.peak_memory() >= max(before, held.nbytes)


@pytest.fixture
def two_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "1"}, 3),
        ({"OPENBLAS_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "\u00b2", "MKL_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "0"}, 1),
        ({}, machine.cores()),
    ],
    ids=str,
)
def test_threads_are_what_the_environment_says(monkeypatch, environment, threads):
    for name in machine.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert machine.threads() == threads


@pytest.mark.parametrize(("n", "size"), [(0, 3), (1, 3), (6, 3), (7, 3), (2, 9)])
def test_pieces_cover_all_once(n, size):
    cut = machine.pieces(n, size)
    assert [i for piece in cut for i in range(n)[piece]] == list(range(n))
    assert all(piece.stop - piece.start == size for piece in cut[:-1])


def test_every_item_is_done_once_by_both_threads(two_threads):
    meeting, done = threading.Barrier(2, timeout=10), []

    def work(item):
        if item < 2:
            meeting.wait()  # passed only if two threads are at work
        done.append((item, threading.current_thread()))

    machine.in_threads(work, range(7))
    assert sorted(item for item, _ in done) == list(range(7))
    assert len({thread for _, thread in done}) == 2


def test_one_thread_or_one_item_stays_here(monkeypatch, two_threads):
    here = []
    machine.in_threads(lambda item: here.append(threading.current_thread()), [1])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    machine.in_threads(lambda item: here.append(threading.current_thread()), range(5))
    assert set(here) == {threading.current_thread()} and len(here) == 6


def test_a_worker_does_its_own_items_itself(two_threads):
    done = []
    machine.in_threads(lambda i: machine.in_threads(lambda j: done.append((i, j)), range(3)), range(4))
    assert sorted(done) == [(i, j) for i in range(4) for j in range(3)]


@pytest.mark.parametrize("bad", [0, 1])  # in this thread, in the other one
def test_errors_come_back_when_nobody_is_writing_any_more(two_threads, bad):
    done = []

    def work(item):
        if item == bad:
            raise ValueError(f"item {item}")
        done.append(item)

    with pytest.raises(ValueError, match=f"item {bad}"):
        machine.in_threads(work, range(4))
    assert {1 - bad, 3 - bad} <= set(done)  # the other thread's share


def test_numpys_error_state_goes_along(two_threads):
    with np.errstate(over="ignore"):
        machine.in_threads(lambda item: np.exp(np.float32([1000.0])), range(4))
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        machine.in_threads(lambda item: item == 1 and np.exp(np.float32([1000.0])), range(2))


needs_openblas = pytest.mark.skipif(machine.blas_threads() is None, reason="numpy came with another BLAS")

COUNTS = """
import numpy
from minilora import Llama, LlamaConfig
from minilora.machine import blas_threads, one_blas_thread
from minilora.training import clip_grad_norm
counts = [blas_threads()]
with one_blas_thread:
    with one_blas_thread:
        counts.append(blas_threads())
    counts.append(blas_threads())
counts.append(blas_threads())
try:
    with one_blas_thread:
        raise KeyError
except KeyError:
    counts.append(blas_threads())
model = Llama(LlamaConfig(num_hidden_layers=1), rng=numpy.random.default_rng(0))
call = type(model.layers[0]).__call__
def seen(*args, **kwargs):
    counts.append(blas_threads())
    return call(*args, **kwargs)
type(model.layers[0]).__call__ = seen
loss, backward = model.loss(numpy.array([[1, 2]]), numpy.array([[2, 3]]))
backward()
clip_grad_norm(model.parameters(), 1.0)
print(*counts, blas_threads())
"""


@needs_openblas
@pytest.mark.parametrize(("threads", "expected"), [("2", "2 1 1 2 2 1 2"), ("1", "1 1 1 1 1 1 1")])
def test_blas_computes_on_one_thread_meanwhile_and_on_all_afterwards(threads, expected):
    environment = os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
    done = subprocess.run([sys.executable, "-c", COUNTS], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def test_another_blas_is_left_alone(two_threads, monkeypatch):
    monkeypatch.setattr(machine, "_openblas", lambda what: None)
    with machine.one_blas_thread:
        assert machine.blas_threads() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_nobody_is_inside_in_a_forked_child():
    code = """
import os
from minilora.machine import one_blas_thread
with one_blas_thread:
    child = os.fork()
    if child == 0:
        os._exit(one_blas_thread._inside)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), one_blas_thread._inside)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "1"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_has_threads_of_its_own(two_threads):
    code = """
import os, numpy as np
from minilora import machine
machine.in_threads(lambda item: None, range(2))
child = os.fork()
if child == 0:
    machine.in_threads(lambda item: None, range(2))
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "7"


@needs_openblas
@pytest.mark.skipif(team._functions() is None, reason="this C library has no spin locks")
def test_threads_are_awake_inside_the_block_where_each_has_a_core(two_threads, monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 2)
    monkeypatch.setattr(
        machine, "_pool", lambda workers: pytest.fail("the team is awake, and a sleeping thread was woken")
    )
    seen = []
    with machine.one_blas_thread:
        assert machine._team.awake
        machine.in_threads(lambda item: seen.append(threading.current_thread()), range(4))
    assert len(seen) == 4 and len(set(seen)) == 2 and not machine._team.awake
    monkeypatch.setattr(machine, "cores", lambda: 1)
    with machine.one_blas_thread:
        assert not machine._team.awake
