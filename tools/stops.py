"""Press Ctrl-C at random moments of `figures`, in half of the cases twice, and see how it ends.

    python tools/stops.py [--stops 40] [--seed 0] [--out FILE]

The command is `minilora figures rank_known --workers 2`, with shorter runs; as a terminal does, Ctrl-C goes to the command
and to its workers. Each time the exit code must be 130 (or 0 where all was done already), nothing on stderr may be a
traceback, no process may be left behind, and as many finished runs must be kept as the command says. Every fourth time the same
command runs again, and its numbers must be those of a command that was never stopped. Exit code 1 where one is not so.
Needs /proc (Linux).
"""

import argparse
import collections
import json
import os
import platform
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from minilora import storage

QUICK = {"ranks": (4, 8), "steps": 300, "seeds": (0, 1, 2, 3)}
DRIVER = """
import dataclasses, runpy, signal, sys
from minilora.experiments.rank.rank_known import Config

if __name__ == "__main__":
    # The figure as it is, but with short runs.
    quick = QUICK
    defaults = (quick.get(field.name, field.default) for field in dataclasses.fields(Config))
    Config.__init__.__defaults__ = tuple(defaults)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
    sys.argv = ["minilora", "figures", "rank_known", "--workers", "2", "--out", sys.argv[1]]
    print("begins", flush=True)
    runpy.run_module("minilora", run_name="__main__")
"""


def main() -> int:
    """Press, print what became of it, and write it where --out says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=40, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="decides the moments")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        result = soak(Path(place), args.stops, random.Random(args.seed))
    result |= {
        "seed": args.seed,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    if args.out is not None:
        storage.write_text(args.out, json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return 1 if result["faults"] else 0


def soak(place: Path, stops: int, rng: random.Random) -> dict:
    """Stop the command `stops` times, each time from the beginning."""
    (place / "driver.py").write_text(DRIVER.replace("QUICK", repr(QUICK)), encoding="utf-8")
    seconds = finish(place, "whole")
    codes, faults, twice, resumed = collections.Counter(), [], 0, 0
    for i in range(stops):
        first, second = rng.uniform(0, seconds), rng.uniform(0, 0.5) if rng.random() < 0.5 else None
        code, said, left = stop(place, f"stopped{i}", first, second)
        codes[code] += 1
        twice += second is not None
        trouble = judge(place / f"stopped{i}", code, said, left)
        if i % 4 == 0 and code == 130:
            finish(place, f"stopped{i}")
            resumed += 1
            if results(place / "whole") != results(place / f"stopped{i}"):
                trouble.append("the numbers differ after it was resumed")
        pressed = f"{first:.3f} s" + ("" if second is None else f" and {second:.3f} s after that")
        faults += [f"stop {i}, pressed at {pressed}: {fault}" for fault in trouble]
    return {
        "stops": stops,
        "pressed_twice": twice,
        "seconds_of_a_whole_run": round(seconds, 2),
        "exit_codes": {str(code): count for code, count in sorted(codes.items())},
        "resumed_to_the_same_numbers": resumed,
        "faults": faults,
    }


def judge(out: Path, code: int, said: str, left: list[int]) -> list[str]:
    """What is wrong with how one stop ended."""
    faults = []
    if code not in (130, 0):
        faults.append(f"exit code {code}: {said[-300:]}")
    if any(word in said for word in ("Traceback", "Exception ignored", "Warning")):
        faults.append(f"a traceback or a warning: {said[-300:]}")
    if left:
        faults.append(f"processes left behind: {left}")
    kept = len(list((out / ".runs" / "rank_known").glob("*.json")))
    match = re.search(r"stopped; (\d+) finished run", said)
    if code == 130 and kept != (int(match[1]) if match else 0):
        faults.append(f"{kept} runs are kept, but it said: {said[-300:]}")
    return faults


def stop(place: Path, out: str, first: float, second: float | None) -> tuple[int, str, list[int]]:
    """(exit code, stderr, processes alive 3 seconds later) of the command when Ctrl-C is pressed `first` seconds after it
    began, and again `second` seconds later."""
    with start(place, out, subprocess.PIPE) as process:
        process.stdout.readline()  # "begins"
        for wait in (first, second):
            if wait is not None:
                time.sleep(wait)
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    end = time.monotonic() + 3
    while (left := group(process.pid)) and time.monotonic() < end:
        time.sleep(0.02)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return process.returncode, said, left


def finish(place: Path, out: str) -> float:
    """Run the command to its end; the seconds that it took."""
    with start(place, out, subprocess.PIPE) as process:
        process.stdout.readline()
        began = time.perf_counter()
        _, said = process.communicate(timeout=300)
    if process.returncode:
        raise SystemExit(f"the command failed:\n{said}")
    return time.perf_counter() - began


def start(place: Path, out: str, pipe: int) -> subprocess.Popen:
    """The command in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, place / "driver.py", place / out], stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )


def results(out: Path) -> dict:
    """The numbers of the figure, without where and how fast they were computed."""
    numbers = json.loads((out / "rank_known.json").read_text(encoding="utf-8"))
    return {key: value for key, value in numbers.items() if key != "provenance"}


def group(leader: int) -> list[int]:
    """The processes of a process group that are alive."""
    alive = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, _, pgrp = Path(f"/proc/{name}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[:3]
        except OSError:
            continue  # it has just ended
        if int(pgrp) == leader and state != "Z":
            alive.append(int(name))
    return alive


if __name__ == "__main__":
    sys.exit(main())
