"""Checkpoints: all that a run needs to resume, in one file, bound to all that the run depends on."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minilora import checks, schema, storage
from minilora.nn.module import Parameter
from minilora.training.conditions import differences
from minilora.training.history import PER_STEP, number
from minilora.training.optim import AdamW


def _evaluation(name: str, value: Any) -> dict[str, Any]:
    """One entry of the history's "eval", checked: the step, and finite numbers."""
    entry = schema.dict_of(number)(name, value)
    if "step" not in entry:
        raise ValueError(f"{name}.step is missing")
    return entry | {"step": checks.integer(f"{name}.step", entry["step"], low=1)}


METADATA = {
    "step": partial(checks.integer, low=1),
    "conditions": partial(checks.instance, kind=dict),
    "eval": schema.list_of(_evaluation),
    "batches": schema.dict_of(checks.string),
}
OPTIONAL = ("batches",)  # where the data say by themselves what they are


class CheckpointError(ValueError):
    """A checkpoint that is damaged, or that belongs to another run than the one that is to resume from it."""


class Checkpoint(NamedTuple):
    """Where a run stood: its step, its history, and its best parameters so far ({} where nobody asked for them)."""

    step: int
    history: dict[str, list]
    best: dict[str, np.ndarray]


def save_checkpoint(
    path: str | os.PathLike,
    parameters: dict[str, Parameter],
    optimizer: AdamW,
    conditions: dict[str, Any],
    checkpoint: Checkpoint,
    batches: dict[str, str],
) -> None:
    """Write the parameters, the optimizer's state and where the run stands, atomically.

    `conditions`: what the run depends on (see `conditions_of`), and `batches`: the data where it stands (see
    `batches_around`); a run with others will not resume from this file.
    """
    arrays = {f"parameters/{name}": p.value for name, p in parameters.items()}
    arrays |= {f"optimizer/{name}": array for name, array in optimizer.state().items()}
    arrays |= {f"best/{name}": array for name, array in checkpoint.best.items()}
    for key, dtype in PER_STEP.items():  # as arrays, for they grow with the run
        arrays[f"history/{key}"] = np.array(checkpoint.history[key], dtype)
    evaluations = checkpoint.history["eval"]
    metadata = {"step": checkpoint.step, "conditions": conditions, "eval": evaluations}
    storage.save_arrays(path, arrays, metadata | ({"batches": batches} if batches else {}))


def load_checkpoint(
    path: str | os.PathLike,
    parameters: dict[str, Parameter],
    optimizer: AdamW,
    conditions: dict[str, Any],
    batches_around: Callable[[int], dict[str, str]],
) -> Checkpoint:
    """Put parameters and optimizer back as they were, and return where the run stood. `batches_around(step)`: the data
    there, as `save_checkpoint` had them.

    CheckpointError, before anything is changed, if the file is damaged or belongs to a run with other conditions: it
    lists everything that differs.
    """
    try:
        arrays, metadata = storage.load_arrays(path)
        metadata = schema.check(path, metadata, METADATA, OPTIONAL)
    except ValueError as error:
        raise CheckpointError(f"{error}; or choose a new output_dir") from error
    if "history/step" not in arrays or arrays["history/step"].shape != (metadata["step"],):
        raise CheckpointError(
            f"{path} does not fit this run: step is {metadata['step']}, but history/step has not as many entries; "
            "choose a new output_dir"
        )
    differing = differences(metadata["conditions"], conditions)
    # Of a run with other settings there may be no batch at that step.
    if differing := differing or _other_batches(path, metadata, batches_around(metadata["step"])):
        raise CheckpointError(
            f"{path} belongs to another run: {'; '.join(differing)}. Give the run the settings, model and data that it "
            "started with, or choose a new output_dir"
        )
    expected = {f"parameters/{name}": p.value for name, p in parameters.items()}
    expected |= {f"optimizer/{name}": array for name, array in optimizer.state().items()}
    for key, dtype in PER_STEP.items():
        expected[f"history/{key}"] = np.empty(metadata["step"], dtype)
    if any(name.startswith("best/") for name in arrays):
        expected |= {f"best/{name}": p.value for name, p in parameters.items()}
    if faults := _faults(arrays, expected, metadata["step"]):
        raise CheckpointError(f"{path} does not fit this run: {'; '.join(faults)}; choose a new output_dir")
    parts: dict[str, dict[str, np.ndarray]] = {part: {} for part in ("parameters", "optimizer", "best", "history")}
    for name, array in arrays.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = array
    try:
        optimizer.load_state(parts["optimizer"])
    except ValueError as error:  # values that no step leaves behind
        raise CheckpointError(f"{path} does not fit this run: {error}; choose a new output_dir") from error
    for name, parameter in parameters.items():
        parameter.value[...] = parts["parameters"][name]
    history = {key: parts["history"][key].tolist() for key in PER_STEP}
    history["eval"] = metadata["eval"]
    return Checkpoint(metadata["step"], history, parts["best"])


def _other_batches(path: str | os.PathLike, metadata: dict[str, Any], now: dict[str, str]) -> list[str]:
    """One line per batch that is not the one that the checkpoint knows."""
    then = metadata.get("batches", {})
    if now and not then:
        raise CheckpointError(
            f"{path} was written by a version that kept no digest of the batches around its step, and batches has no "
            "fingerprint(): whether they are the same cannot be told; choose a new output_dir"
        )
    if then.keys() < now.keys():  # the one behind it could not be had then
        now = {place: now[place] for place in then}
    return differences({"batches": then}, {"batches": now})


def _faults(arrays: dict[str, np.ndarray], expected: dict[str, np.ndarray], step: int) -> list[str]:
    """Everything about the arrays that is not as expected."""
    faults = [f"{name} is missing" for name in expected if name not in arrays]
    faults += [f"{name} is unexpected" for name in arrays if name not in expected]
    for name, like in expected.items():
        array = arrays.get(name, like)
        if array.shape != like.shape or array.dtype != like.dtype:
            faults.append(f"{name} is {checks.shown(array)} instead of {checks.shown(like)}")
        elif array.dtype.kind == "i" and array.size and array.min() < 0:
            faults.append(f"{name} holds a number below 0")
    steps = arrays.get("history/step")
    if steps is not None and not np.array_equal(steps, np.arange(1, step + 1)):
        faults.append(f"history/step does not count from 1 to {step}")
    return faults
