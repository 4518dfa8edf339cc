"""Checkpoints: the trainable parameters, the optimizer's state and where the run stands, in one file."""

import os
from typing import Any

import numpy as np

from minilora import storage
from minilora.nn.module import Parameter
from minilora.training.optim import AdamW


class CheckpointError(ValueError):
    """A checkpoint that is damaged, or that belongs to another run than the one that wants to resume from it."""


def save_checkpoint(
    path: str | os.PathLike,
    parameters: dict[str, Parameter],
    optimizer: AdamW,
    note: dict[str, Any],
    *,
    best: dict[str, np.ndarray] | None = None,
) -> None:
    """Write everything that a run needs to resume, atomically. `note`: JSON-able (step, config, history)."""
    arrays = {f"parameters/{name}": p.value for name, p in parameters.items()}
    arrays |= {f"optimizer/{name}": array for name, array in optimizer.state().items()}
    arrays |= {f"best/{name}": array for name, array in (best or {}).items()}
    storage.save_arrays(path, arrays, note)


def load_checkpoint(
    path: str | os.PathLike, parameters: dict[str, Parameter], optimizer: AdamW
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Put parameters and optimizer back as they were; returns (note, best parameters or {}).

    CheckpointError, before anything is changed, if the file is damaged or belongs to other parameters.
    """
    arrays, note = storage.load_arrays(path)
    parts = {part: {} for part in ("parameters", "optimizer", "best")}
    for name, array in arrays.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = array
    values = parts["parameters"]
    if set(values) != set(parameters) or any(values[n].shape != p.shape for n, p in parameters.items()):
        raise CheckpointError(
            f"{path} holds a checkpoint of other parameters (names or shapes differ); choose a new output_dir"
        )
    optimizer.load_state(parts["optimizer"])
    for name, parameter in parameters.items():
        parameter.value[...] = values[name]
    return note, parts["best"]
