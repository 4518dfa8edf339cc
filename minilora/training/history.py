"""What a run has measured: lists in memory, lines in `log.jsonl`, arrays to compute with."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from minilora import checks, storage

PER_STEP = {"step": np.int64, "loss": np.float64, "learning_rate": np.float64, "grad_norm": np.float64}


def empty_history() -> dict[str, list]:
    """{"step", "loss", "learning_rate", "grad_norm": one entry per step, "eval": one dict per evaluation}, all empty."""
    return {key: [] for key in (*PER_STEP, "eval")}


def number(name: str, value: Any) -> int | float:
    """A finite number of an evaluation, as a plain int or float. TypeError or ValueError for anything else."""
    return checks.integer(name, value) if isinstance(value, (int, np.integer)) else checks.real(name, value)


def as_arrays(history: dict[str, list]) -> dict[str, np.ndarray]:
    """The history as arrays: "step", "loss", ..., and "eval_step", "eval_loss", ... for what `evaluate` returned.

    ValueError or TypeError for a history that lacks a list.
    """
    checks.mapping("history", history)
    if missing := {*PER_STEP, "eval"} - set(history):
        raise ValueError(f"history must be what Trainer.history holds, got one without {sorted(missing)}")
    arrays = {key: np.array(history[key], dtype) for key, dtype in PER_STEP.items()}
    for key in dict.fromkeys(key for entry in history["eval"] for key in entry):
        values = [entry.get(key, np.nan) for entry in history["eval"]]
        arrays[f"eval_{key}"] = np.array(values, np.int64 if key == "step" else np.float64)
    return arrays


class Log:
    """A JSONL file that grows while a run trains: {"step", "loss", ...} per step, {"step", "eval": {...}} per evaluation.

    Each line is written at once and can be read at once; a killed run may leave half a line, which readers pass over.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)

    def append(self, entry: dict[str, Any]) -> None:
        """Add one line."""
        with open(self.path, "a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(entry) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """The entries, in order; an incomplete line is skipped. Empty if there is no file."""
        if not self.path.is_file():
            return []
        entries = []
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(entry, dict) and isinstance(entry.get("step"), int):
                entries.append(entry)
        return entries

    def restart_from(self, history: dict[str, list]) -> None:
        """Write exactly what `history` holds, atomically: a resumed run leaves no doubled line and no gap.

        What the log alone knows of these steps, such as their seconds, is kept.
        """
        known = {("eval" in entry, entry["step"]): entry for entry in self.read()}
        evaluations = {entry["step"]: entry for entry in history["eval"]}
        lines = []
        for i, step in enumerate(history["step"]):
            entry = {key: history[key][i] for key in PER_STEP}
            lines.append(known.get((False, step), {}) | entry)
            if step in evaluations:
                scores = {key: value for key, value in sorted(evaluations[step].items()) if key != "step"}
                lines.append(known.get((True, step), {}) | {"step": step, "eval": scores})
        text = "".join(json.dumps(line) + "\n" for line in lines)
        storage.write_text(self.path, text)


def read_log(path: str | os.PathLike) -> dict[str, list]:
    """The history that a `log.jsonl` holds, while its run trains or afterwards. FileNotFoundError if there is none."""
    path = Path(checks.path("path", path))
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; name the folder of a run (finetune --out DIR)")
    history = empty_history()
    for entry in Log(path).read():
        if isinstance(entry.get("eval"), dict):
            history["eval"].append({"step": entry["step"], **entry["eval"]})
        elif all(key in entry for key in PER_STEP):
            for key in PER_STEP:
                history[key].append(entry[key])
    return history
