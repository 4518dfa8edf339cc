"""Runs on a Dask cluster (dask.distributed): many machines, or many processes of this one. Needs the `cluster` extra."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from minilora.machine import keep_memory
from minilora.parallel.code import code_fingerprint
from minilora.parallel.processes import ONE_THREAD, Finished, RunFailed, interrupts_held

PATIENCE = 30  # seconds that a scheduler has to answer, and a cluster to have a worker


@contextlib.contextmanager
def on_dask(where: str) -> Iterator[Callable[[Callable, dict[int, Any], Finished], None]]:
    """Connect to a cluster for the length of the block, and give a `compute` for `SideBySide`.

    `where`: a scheduler's address ("tcp://host:8786"), or "local:N" for N processes on this machine. A run whose worker
    died is given to another (Dask's `distributed.scheduler.allowed-failures` says how often); a run that raises ends the
    rest. Workers must have this code (a run refuses to compute with other code) and should be started with one thread
    each, so that the numbers are those of `in_processes`.
    ValueError for an invalid address, or without the extra; RuntimeError if no scheduler or worker answers.
    """
    try:
        import distributed
    except ModuleNotFoundError as error:
        raise ValueError(f"a Dask cluster needs {error.name}: python -m pip install -e '.[cluster]'") from None
    with contextlib.ExitStack() as stack:
        address, own = _address(where), None
        if address is None:
            own = stack.enter_context(_local_cluster(_count(where)))
        try:
            client = stack.enter_context(distributed.Client(address or own, timeout=PATIENCE, set_as_default=False))
            client.wait_for_workers(1, timeout=PATIENCE)
        except (OSError, TimeoutError) as error:
            raise RuntimeError(
                f"no Dask scheduler with a worker answers at {where} ({error}); start one first"
            ) from None
        yield lambda function, items, finished: _compute(client, function, items, finished)


def _compute(client, function, items, finished):
    from distributed import as_completed

    code = code_fingerprint(function)
    futures = {client.submit(timed, function, item, code, pure=False): i for i, item in items.items()}
    try:
        for future in as_completed(futures, loop=client.loop):
            index = futures[future]
            try:
                seconds, result = future.result()
            except Exception as error:
                raise RunFailed(f"the run {items[index]!r} failed: {type(error).__name__}: {error}") from error
            finished(index, seconds, result)
    except KeyboardInterrupt:
        print("\nstopping", file=sys.stderr)
        raise
    finally:
        client.cancel(list(futures))


def timed(function: Callable, item: Any, code: str) -> tuple[float, Any]:
    """(seconds of a processor, result) of a run, computed by a worker. RuntimeError if the worker has other code than `code`."""
    if code_fingerprint(function) != code:
        raise RuntimeError("the worker has another version of the code; install the same one on all machines")
    keep_memory()
    start = time.process_time()
    result = function(item)
    return time.process_time() - start, result


def _address(where):
    """The scheduler's address, or None for a cluster of our own."""
    if where.startswith("local:"):
        return None
    if "://" in where and not where.endswith("://"):
        return where
    raise ValueError(f"a Dask cluster must be an address such as tcp://host:8786, or local:4, got {where!r}")


def _count(where):
    number = where.removeprefix("local:")
    if not (number.isascii() and number.isdigit() and int(number)):
        raise ValueError(f"a local Dask cluster must be local:N with N at least 1, got {where!r}")
    return int(number)


@contextlib.contextmanager
def _local_cluster(workers):
    from distributed import LocalCluster

    with interrupts_held():  # Ctrl-C is for this process, which ends the workers
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs="CRITICAL",
            env=ONE_THREAD,
        )
    try:
        yield cluster
    finally:
        with interrupts_held():
            cluster.close()
