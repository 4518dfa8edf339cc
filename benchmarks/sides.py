"""What the benchmarks of two sides share: each side a process of its own, turn by turn, and cells that are kept.

A side is a script that answers each line of its standard input with one line of JSON: one turn. Each process gets nothing but
the number of threads; everything else is what a user gets by default.
"""

import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median

from minilora.machine import cores, peak_memory

REST = 0.2  # seconds before each turn: threads of BLAS and OpenMP stay awake for a while after their last work, and take a core
HERE = Path(__file__).parent
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Side:
    """One side's process: `script --serve ARGUMENTS`."""

    def __init__(self, script: str, *arguments: object, threads: int):
        names = ("MALLOC_", "MINILORA_", "OPENBLAS_", "OMP_", "MKL_", "GOMP_", "KMP_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(names)}
        environment |= {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed with the process)
        self.process = subprocess.Popen(
            [sys.executable, script, "--serve", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment,
        )

    def turn(self) -> list:
        """What the process answers to one line."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            self.errors.seek(0)
            raise RuntimeError(f"a side ended early:\n{self.errors.read()[-2000:]}")
        return json.loads(answer)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()


def serve(turn: Callable[[], list]) -> None:
    """The child's loop: one turn for each line that is read."""
    for _ in sys.stdin:
        print(json.dumps(turn()), flush=True)


def alternate(sides: list[Side], rounds: int) -> list[list]:
    """`rounds` turns of each side in turn, after one to warm up, and the end of both: their answers."""
    answers = [[] for _ in sides]
    try:
        for i in range(rounds + 1):
            for side, kept in zip(sides, answers, strict=True):
                time.sleep(REST)
                answer = side.turn()
                if i:
                    kept.append(answer)
        return answers
    finally:
        for side in sides:
            side.close()


def medians(answers: list[list]) -> list[float]:
    """Of each side, the median over its turns of a turn's median seconds; an answer begins with the list of them."""
    return [median(median(answer[0]) for answer in turns) for turns in answers]


def forget_peak() -> None:
    """Let `peak` count from here on, where the system can do that (Linux)."""
    with contextlib.suppress(OSError):
        RESET.write_text("5", encoding="ascii")


def peak() -> float:
    """MB: the most that this process has held since `forget_peak`, or since its start."""
    with contextlib.suppress(OSError):
        for line in STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return (peak_memory() or 0) / 2**20


def kept_cells(name: str) -> dict:
    """The cells in benchmarks/NAME.json so far, by name."""
    path = HERE / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["cells"] if path.is_file() else {}


def keep(name: str, cells: dict, packages: tuple[str, ...]) -> dict:
    """Put cells into benchmarks/NAME.json beside those measured before, with date, processor and versions."""
    kept = {"date": time.strftime("%Y-%m-%d"), "processor": processor()}
    kept |= {package: version(package) for package in packages} | {"cells": kept_cells(name) | cells}
    (HERE / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return kept


def write_block(name: str, text: str, how: str) -> None:
    """Put `text` between the marks of that name in benchmarks/README.md; `how`: the command that makes it."""
    first, last = f"<!-- {name}: made by {how} -->", f"<!-- end of {name} -->"
    readme = HERE / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(first)
    after = rest.partition(last)[2]
    readme.write_text(f"{before}{first}\n{text}\n{last}{after}", encoding="utf-8")


def processor() -> str:
    """Its name, where the system says it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{cores()} cores of {line.partition(':')[2].strip()}"
    return f"{cores()} cores of {platform.processor() or platform.machine()}"
