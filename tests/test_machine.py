"""The allocator that keeps its memory: asked once per process, switched off by one variable, harmless elsewhere."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from minilora import Llama, LlamaConfig, Trainer, TrainingConfig, machine, parallel, stream


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
