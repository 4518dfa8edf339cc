"""Loading the shipped base: half-precision weights and where they came from, in one file."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from minilora import storage
from minilora.nn.config import LlamaConfig
from minilora.nn.layers import check_dtype
from minilora.nn.llama import Llama

BASE_PATH = Path(__file__).with_name("base.npz")


def load_base(dtype=np.float32) -> Llama:
    """The shipped base, a byte-level Llama of about a million parameters, in float32 or float64.

    Stored in float16 and widened exactly. Everything is trainable; apply_lora freezes what has to be frozen.
    """
    arrays, metadata = storage.load_arrays(BASE_PATH)
    model = Llama(LlamaConfig(**metadata["config"]), rng=np.random.default_rng(0), dtype=check_dtype(dtype))
    for name, parameter in model.named_parameters():
        parameter.value = arrays[name].astype(dtype)
    return model


def save_base(model: Llama, metadata: dict[str, Any], path: Path = BASE_PATH) -> None:
    """Store every parameter in half precision, with `metadata` (its "config" rebuilds the model)."""
    arrays = {name: parameter.value.astype(np.float16) for name, parameter in model.named_parameters()}
    storage.save_arrays(path, arrays, metadata)


def base_provenance() -> dict[str, Any]:
    """How the base was made: config, training settings, the text's hash, versions, loss curve, samples."""
    return storage.load_arrays(BASE_PATH)[1]


def base_sha256() -> str:
    """The SHA-256 of the shipped weights' file, as figures record it."""
    return hashlib.sha256(BASE_PATH.read_bytes()).hexdigest()
