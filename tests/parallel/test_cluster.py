"""Runs on a Dask cluster. (Needs the `cluster` extra; skipped without it.)"""

import os
import signal
import time

import pytest

from minilora.experiments.rank import rank_known
from minilora.parallel import RunFailed, SideBySide, in_processes
from minilora.parallel.cluster import on_dask

CONFIG = rank_known.Config(in_features=16, out_features=12, true_rank=2, ranks=(1, 2), steps=150, seeds=(0, 1, 2, 3, 4))


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as two:
        yield two


def slow(item):
    time.sleep(0.1)
    return os.getpid(), item * item


def fails_at_two(item):
    if item == 2:
        raise ValueError("diverged")
    return item


def test_the_numbers_are_the_process_pools(cluster):
    with on_dask(cluster.scheduler_address) as compute:
        on_cluster = rank_known.run(CONFIG, SideBySide(compute=compute))
    assert on_cluster == rank_known.run(CONFIG, SideBySide(compute=in_processes))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_run_whose_worker_was_killed_is_computed_by_another(cluster):
    results = {}

    def finished(index, seconds, result):
        if not results:
            os.kill(result[0], signal.SIGKILL)  # the worker that gave the first result, busy with another by now
        results[index] = result

    with on_dask(cluster.scheduler_address) as compute:
        compute(slow, {i: i for i in range(12)}, finished)
    assert {index: square for index, (_, square) in results.items()} == {i: i * i for i in range(12)}
    assert len({pid for pid, _ in results.values()}) >= 2


def test_an_error_names_the_run(cluster):
    with (
        on_dask(cluster.scheduler_address) as compute,
        pytest.raises(RunFailed, match="the run 2 failed: ValueError: diverged"),
    ):
        compute(fails_at_two, {0: 0, 1: 2}, lambda *_: None)


def test_a_worker_with_other_code_refuses(cluster, monkeypatch):
    monkeypatch.setattr("minilora.parallel.cluster.code_fingerprint", lambda function: "another")
    with on_dask(cluster.scheduler_address) as compute, pytest.raises(RunFailed, match="another version of the code"):
        compute(fails_at_two, {0: 0}, lambda *_: None)


@pytest.mark.parametrize("where", ["localhost", "local:", "local:0", "local:²", "tcp://", ""])
def test_an_address_that_is_none(where):
    pytest.importorskip("distributed")
    with pytest.raises(ValueError, match="Dask cluster must be .*, got"), on_dask(where):
        pass


def test_no_answer_is_one_line(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("minilora.parallel.cluster.PATIENCE", 0.2)
    with (
        pytest.raises(RuntimeError, match="no Dask scheduler with a worker answers at tcp://127.0.0.1:9"),
        on_dask("tcp://127.0.0.1:9"),
    ):
        pass


def test_without_the_extra_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[cluster\]'"), on_dask("local:2"):
        pass
