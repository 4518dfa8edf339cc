"""Independent runs side by side, through any `concurrent.futures.Executor`."""

import concurrent.futures
import contextlib
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from minilora import storage
from minilora.machine import cores, keep_memory

# One BLAS thread per worker: two workers with two threads each would stand in each other's way.
WORKER_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}


def run_all(
    function: Callable,
    items: Iterable,
    *,
    executor: concurrent.futures.Executor | None = None,
    desc: str = "",
    cache: Path | None = None,
) -> list:
    """[function(item) for item in items], in order, run side by side with a progress bar.

    `executor`: any Executor (Dask's and MPI's drop in); by default a pool with one process a core, started fresh with
    one BLAS thread each, so that results do not depend on how many there are, and keeping its memory (see
    `minilora.machine.keep_memory`). `function` and items must pickle.
    `cache`: a folder where each finished result is kept as JSON under a hash of function, item and the package's code; a killed
    run that is started again computes only what is missing. The caller removes the folder when all is done.
    """
    from tqdm import tqdm  # here, so that importing minilora loads numpy only

    items = list(items)
    files = [None if cache is None else Path(cache) / f"{_key(function, item)}.json" for item in items]
    results = {i: json.loads(f.read_text()) for i, f in enumerate(files) if f is not None and f.is_file()}
    missing = [i for i in range(len(items)) if i not in results]
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=len(items), initial=len(results), desc=desc))
        if executor is None and missing:
            executor = stack.enter_context(_process_pool(min(len(missing), cores())))
        futures = {executor.submit(function, items[i]): i for i in missing}
        stack.callback(lambda: [future.cancel() for future in futures])  # on an error, start nothing more
        for future in concurrent.futures.as_completed(futures):
            i = futures[future]
            results[i] = future.result()
            if files[i] is not None:
                storage.write_text(files[i], json.dumps(results[i]))
            bar.update()
    return [results[i] for i in range(len(items))]


@contextlib.contextmanager
def _process_pool(workers):
    # A spawned child reads these when it loads numpy, so they must be set while children start.
    before = {name: os.environ.get(name) for name in WORKER_ENVIRONMENT}
    os.environ.update(WORKER_ENVIRONMENT)
    try:
        with concurrent.futures.ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), keep_memory) as pool:
            yield pool
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _key(function, item):
    digest = hashlib.sha256(f"{function.__module__}.{function.__qualname__}({item!r})".encode())
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:24]
