"""Does the built wheel work by itself? finetune, evaluate, generate and merge from an empty environment, far from the checkout.

    python tools/wheel_smoke.py

Builds the wheel, installs it with nothing but its own dependencies into a fresh environment, and runs the commands of the
README in an empty folder. Exit code 1 at the first that does not do what it should.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What cannot be done here, and what has to be said then.
REFUSED = (
    (("minilora", "finetune", "--data", "no.jsonl", "--out", "x"), "no.jsonl does not exist"),
    (("minilora", "figures", "--redraw"), "run: python -m minilora figures"),
    (("minilora.course", "compare"), "run this in a checkout"),
)


def main() -> int:
    """Build, install, run."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        source = copied(place / "source")
        run(
            [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", place / "wheel", source],
            place,
        )
        (wheel,) = (place / "wheel").glob("minilora-*.whl")
        venv.create(place / "env", with_pip=True)
        python = place / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        run([python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel], place)
        away = place / "away"
        away.mkdir()
        smoke(python, away)
    print("the wheel works by itself")
    return 0


def copied(source: Path) -> Path:
    """What the wheel is made of, without what an earlier build may have left in the checkout."""
    shutil.copytree(ROOT / "minilora", source / "minilora", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    return source


def smoke(python: Path, away: Path) -> None:
    """The commands, each checked by what it leaves and says."""

    def minilora(*words):
        return run([python, "-m", "minilora", *words], away)

    where = run([python, "-c", "import minilora; print(minilora.__file__)"], away).strip()
    if Path(where).is_relative_to(ROOT):
        raise SystemExit(f"the checkout was imported, not the wheel: {where}")
    minilora("doctor")
    minilora("example", "my.jsonl")
    few = ("--max-steps", "4", "--batch-size", "8", "--quantize", "nf4", "--json")
    tuned = json.loads(minilora("finetune", "--data", "my.jsonl", "--out", "my_run", *few))
    scores = json.loads(minilora("evaluate", "--data", "my.jsonl", "--adapter", "my_run", "--json"))
    told = json.loads(
        minilora("generate", "--prompt", "Ahoy!", "--adapter", "my_run", "--max-new-tokens", "5", "--json")
    )
    minilora("merge", "--adapter", "my_run", "--out", "my_model.npz")
    merged = json.loads(minilora("evaluate", "--data", "my.jsonl", "--model", "my_model.npz", "--json"))
    minilora("plot", "my_run")
    described = json.loads(minilora("adapters", "my_run", "--json"))
    for holds, what in (
        (tuned["steps"] == 4 and tuned["n"] == 24, f"finetune said {tuned}"),
        (scores["n"] == 240 and scores["loss"] > 0, f"evaluate said {scores}"),
        (told["tokens"] > 0, f"generate said {told}"),
        (abs(merged["loss"] - scores["loss"]) < 1e-3, f"merged {merged} acts otherwise than apart {scores}"),
        (described[0]["method"] == "lora", f"adapters said {described}"),
        ((away / "my_run" / "curves.png").is_file(), "plot left no curves.png"),
    ):
        if not holds:
            raise SystemExit(what)
    for words, said in REFUSED:
        done = started([python, "-m", *words], away)
        if done.returncode not in (1, 2) or said not in done.stderr or "Traceback" in done.stderr:
            raise SystemExit(f"{' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}")


def run(words: list, where: Path) -> str:
    """Run a program in `where`; what it printed. SystemExit with all it said if it fails."""
    done = started(words, where)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def started(words: list, where: Path) -> subprocess.CompletedProcess:
    """A program that has run in `where`, without the checkout on its path."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return subprocess.run([*map(str, words)], cwd=where, env=environment, capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main())
