"""Kill `finetune` again and again, and see that `--resume` loses nothing.

    python tools/soak.py [--kills 100] [--seed 0] [--out FILE]

Each time a run on a small model, which writes a checkpoint and evaluates after every step, is killed as hard as the system
can (SIGKILL), and resumed: one in ten at a random moment of its start, the others at a random moment within a random step,
so that they are spread over the run however fast the machine is. The run that comes out must hold the same
adapter, best adapter and checkpoint, byte for byte, and the same log, as one that was never killed, and nothing else may
lie in its folder. Exit code 1 if one of them does not.
"""

import argparse
import json
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from minilora import Llama, LlamaConfig, storage
from minilora.data import split
from minilora.nn.files import save_model
from minilora.training import read_log

FILES = {"adapter.npz", "best.npz", "checkpoint.npz", "log.jsonl", "run.json"}
BYTE_FOR_BYTE = ("adapter.npz", "best.npz", "checkpoint.npz")
STEPS = 40
SMALL = LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, max_position_embeddings=64)
OPTIONS = (
    "--model", "small.npz", "--max-steps", STEPS, "--batch-size", 8, "--save-steps", 1, "--eval-steps", 1, "--r", 4,
    "--lora-dropout", 0.1, "--quantize", "nf4", "--quiet",
)  # fmt: skip


def main() -> int:
    """Run the soak, print its result, and write it where --out says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="decides the moments")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        result = soak(Path(place), args.kills, random.Random(args.seed))
    result |= {
        "seed": args.seed,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    if args.out is not None:
        storage.write_text(args.out, json.dumps(result, indent=1) + "\n")
    print("\n".join(result["faults"]))
    print(
        f"{result['resumed_to_the_same_bytes']} of {result['kills']} killed runs ended as if they had never been killed; "
        f"{result['killed_while_writing']} were killed while they wrote a file"
    )
    return 1 if result["faults"] else 0


def soak(place: Path, kills: int, rng: random.Random) -> dict:
    """Kill and resume `kills` runs in `place`; what became of them."""
    save_model(Llama(SMALL, rng=np.random.default_rng(0)), place / "small.npz")
    records = split("dates", 60, 1, seed=0)[0]
    lines = [json.dumps({"input": given, "target": target}) for given, target in records]
    (place / "dates.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ("finetune", "--data", "dates.jsonl", *OPTIONS)
    finish(place, *command, "--out", "whole")
    start, step = pace(place, *command, "--out", "timed")
    faults, killed_at, writing, done = [], [], 0, 0
    while done < kills:
        shutil.rmtree(place / "run", ignore_errors=True)
        after = -1 if rng.random() < 0.1 else rng.randrange(STEPS)
        wait = rng.uniform(0, start if after < 0 else step)
        if not kill(place, after, wait, *command, "--out", "run"):
            continue  # it had ended by then
        done += 1
        left = {path.name for path in (place / "run").iterdir()} if (place / "run").is_dir() else set()
        writing += any(name.endswith(".tmp") for name in left)
        killed_at.append(len(read_log(place / "run" / "log.jsonl")["step"]) if "log.jsonl" in left else 0)
        finish(place, *command, "--out", "run", "--resume")
        faults += [f"kill {done}, {wait:.4f} s after step {after}: {fault}" for fault in differences(place)]
        print(f"\r{done} of {kills}, killed at step {killed_at[-1]}   ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    failed = len({fault.split(":")[0] for fault in faults})
    return {
        "kills": kills,
        "resumed_to_the_same_bytes": kills - failed,
        "killed_while_writing": writing,
        "steps": STEPS,
        "killed_at_steps": sorted(killed_at),
        "faults": faults,
    }


def differences(place: Path) -> list[str]:
    """What differs between the run that was killed and the one that was not."""
    whole, run = place / "whole", place / "run"
    faults = [f"{name} differs" for name in BYTE_FOR_BYTE if (whole / name).read_bytes() != (run / name).read_bytes()]
    if read_log(whole / "log.jsonl") != read_log(run / "log.jsonl"):
        faults.append("log.jsonl differs")
    if len((run / "log.jsonl").read_text(encoding="utf-8").splitlines()) != 2 * STEPS:
        faults.append("log.jsonl has a doubled or a broken line")
    if strays := {path.name for path in run.iterdir()} ^ FILES:
        faults.append(f"files left or missing: {sorted(strays)}")
    return faults


def finish(place: Path, *command: object) -> None:
    """Run a command to its end; CalledProcessError with what it said if it fails."""
    done = subprocess.run(words(command), cwd=place, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")


def pace(place: Path, *command: object) -> tuple[float, float]:
    """(seconds until the first step is logged, seconds per step) of a run in `place`/timed."""
    began = time.perf_counter()
    with subprocess.Popen(words(command), cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for_steps(process, place / "timed" / "log.jsonl", 1)
        first = time.perf_counter()
        process.wait()
    return first - began, (time.perf_counter() - first) / STEPS


def kill(place: Path, after: int, wait: float, *command: object) -> bool:
    """Start a run and kill it `wait` seconds after it logged step `after` (-1: after its start); False if it had ended."""
    with subprocess.Popen(words(command), cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for_steps(process, place / "run" / "log.jsonl", max(after, 0))
        time.sleep(wait)
        ended = process.poll() is not None
        process.kill()
    return not ended


def wait_for_steps(process: subprocess.Popen, log: Path, steps: int) -> None:
    """Return when the log has as many steps, or the process has ended."""
    while process.poll() is None and steps:
        if log.is_file() and log.read_bytes().count(b'"loss": ') >= 2 * steps - 1:  # a step and an evaluation each
            return
        time.sleep(0.002)


def words(command: tuple) -> list[str]:
    """The command line of a minilora command."""
    return [sys.executable, "-m", "minilora", *map(str, command)]


if __name__ == "__main__":
    sys.exit(main())
