"""`minilora adapters`: what adapter files hold, and how they were trained."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minilora.adapters import read_adapter
from minilora.cli import models, output

HELP = "what adapter files hold: method, rank, targets, size, base, how they were trained"
EXAMPLE = "python -m minilora adapters my_run other_run/best.npz"
NOT_SAID = (None, False, {}, (), [])  # settings that are off or empty


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="an adapter's file, or the folder of a run")
    output.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Describe every file; nothing is put on a model."""
    described = [describe(models.adapter_path(path)) for path in args.paths]
    out = output.Output(args)
    out.result(described, *(line for one in described for line in (_lines(one) if out.talks else [_short(one)])))
    return 0


def describe(path: Path) -> dict[str, Any]:
    """What an adapter's file holds, as JSON can hold it."""
    file = read_adapter(path)
    notes = models.checked_notes(path, file)
    return {
        "path": str(path),
        "method": file.method,
        "config": asdict(file.config),
        "factor": file.factor,
        "parameters": sum(array.size for array in file.arrays.values()),
        "bytes": path.stat().st_size,
        "base": file.base_fingerprint,
        "notes": notes,
    }


def _short(one: dict[str, Any]) -> str:
    return f"{one['path']}: {one['method']}, {one['parameters']:,} parameters"


def _lines(one: dict[str, Any]) -> list[str]:
    notes = one["notes"]
    config = ", ".join(f"{key} {_plain(value)}" for key, value in one["config"].items() if value not in NOT_SAID)
    lines = [
        one["path"],
        f"  method    {one['method']}: {config}",
        f"  holds     {one['parameters']:,} parameters, {output.size(one['bytes'])}",
        f"  base      {one['base'][:12]}, {notes.get('model', 'unknown')}{_quantization(notes.get('quantization'))}",
    ]
    if one["factor"] not in (None, 1.0):
        lines.append(f"  scaled    acts {one['factor']:g} times as strongly as it was trained")
    training, data, scores = (notes.get(key) for key in ("training", "data", "scores"))
    if all(isinstance(part, dict) for part in (training, data, scores)):
        lines.append(
            f"  trained   on {data.get('rows')} rows of {data.get('file')}, {scores.get('step')} steps of "
            f"{notes.get('batch_size')}, rate {training.get('learning_rate')}, seed {training.get('seed')}"
        )
        lines.append("  held out  " + ", ".join(f"{key} {_plain(value)}" for key, value in scores.items()))
    elif notes:
        lines.append(f"  notes     {notes}")
    return lines


def _quantization(settings: dict[str, Any] | None) -> str:
    if settings is None:
        return ""
    return f" in {settings.get('code')}, blocks of {settings.get('block_size')}" + (
        ", scales quantized too" if settings.get("double_quant") else ""
    )


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
