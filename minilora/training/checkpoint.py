"""Checkpoints: the trainable parameters, the optimizer's state and where the run stands, in one file."""

import os
from typing import Any

from minilora import storage
from minilora.nn.module import Parameter
from minilora.training.optim import AdamW


def save_checkpoint(
    path: str | os.PathLike, parameters: dict[str, Parameter], optimizer: AdamW, note: dict[str, Any]
) -> None:
    """Write everything that a run needs to go on, atomically. `note`: JSON-able (step, config, history)."""
    arrays = {f"parameters/{name}": p.value for name, p in parameters.items()}
    arrays |= {f"optimizer/{name}": array for name, array in optimizer.state().items()}
    storage.save_arrays(path, arrays, note)


def load_checkpoint(path: str | os.PathLike, parameters: dict[str, Parameter], optimizer: AdamW) -> dict[str, Any]:
    """Put parameters and optimizer back in place as they were; returns the note.

    ValueError, before anything is changed, if the file is damaged or belongs to other parameters.
    """
    arrays, note = storage.load_arrays(path)
    values = {name.removeprefix("parameters/"): a for name, a in arrays.items() if name.startswith("parameters/")}
    if set(values) != set(parameters) or any(values[n].shape != p.shape for n, p in parameters.items()):
        raise ValueError(
            f"{path} holds a checkpoint of other parameters (names or shapes differ); choose a new output_dir"
        )
    optimizer.load_state({n.removeprefix("optimizer/"): a for n, a in arrays.items() if n.startswith("optimizer/")})
    for name, parameter in parameters.items():
        parameter.value[...] = values[name]
    return note
