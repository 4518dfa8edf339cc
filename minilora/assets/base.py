"""The shipped base: half-precision weights and where they came from, in one file."""

import hashlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from minilora import checks, schema, storage
from minilora.nn.config import LlamaConfig
from minilora.nn.llama import Llama

BASE_PATH = Path(__file__).with_name("base.npz")
NEW_FIELDS = ("rope_scaling",)  # of LlamaConfig, since the base was trained


def load_base(dtype: np.dtype | type = np.float32, *, path: str | os.PathLike = BASE_PATH) -> Llama:
    """The shipped base, a byte-level Llama of about a million parameters, in float32 or float64.

    Stored in float16 and widened exactly. Everything is trainable; apply_lora freezes what has to be frozen. `path`:
    another file that `save_base` wrote (`minilora base --out FILE`). FileNotFoundError, or ValueError that names the
    file and lists what is wrong: a config that is not one, arrays that it does not describe, another dtype than float16.
    """
    dtype = checks.float_dtype("dtype", dtype)
    arrays, metadata = storage.load_arrays(path)
    described = {key: value for key, value in metadata.items() if key == "config"}  # the rest is provenance
    config = schema.check(path, described, {"config": schema.config(LlamaConfig, optional=NEW_FIELDS)})["config"]
    try:
        _check_size(config, arrays)
        model = Llama.skeleton(config, dtype)
        model.load_state(arrays)
    except ValueError as error:
        raise ValueError(
            f"{path} is not a base that save_base wrote: {error}; fetch it again or run make base"
        ) from None
    return model


def base_weights() -> dict[str, np.ndarray]:
    """Every linear weight of the shipped base by its layer's path, (out, in) float32; the head is the embedding's."""
    weights = load_base().state()
    return {path.removesuffix(".weight"): w for path, w in weights.items() if path.endswith("_proj.weight")}


def save_base(model: Llama, metadata: dict[str, Any], path: str | os.PathLike = BASE_PATH) -> None:
    """Store every parameter in half precision, with the model's config and `metadata` (how it was made), atomically.

    ValueError for a weight beyond float16's 65,504, and for layers that are not the plain Llama's (merge adapters first).
    """
    checks.instance("model", model, Llama, hint="save_base stores a whole Llama")
    checks.instance("metadata", metadata, dict)
    arrays, expected = {}, Llama.skeleton(model.config, model.dtype)
    for name, value in model.state().items():
        if np.abs(checks.finite(name, value)).max() > np.finfo(np.float16).max:
            raise ValueError(f"{name} must fit float16, whose largest value is 65504, got {np.abs(value).max():g}")
        arrays[name] = value.astype(np.float16)
    try:
        expected.load_state(arrays)
    except ValueError as error:
        raise ValueError(
            f"model must be a plain Llama, as its config describes it: {error}; merge adapters first"
        ) from None
    storage.save_arrays(path, arrays, metadata | {"config": asdict(model.config)})


def base_provenance() -> dict[str, Any]:
    """How the base was made: config, training settings, the text's hash, versions, loss curve, samples."""
    return storage.load_arrays(BASE_PATH)[1]


def base_sha256() -> str:
    """The SHA-256 of the shipped weights' file, as figures record it."""
    return hashlib.sha256(BASE_PATH.read_bytes()).hexdigest()


def _check_size(config, arrays):
    """ValueError unless the arrays are as many and as wide as the config says: before anything of its size is built."""
    if others := [f"{name} is {array.dtype}" for name, array in arrays.items() if array.dtype != np.float16]:
        raise ValueError(f"arrays must be float16, but {', '.join(others[:10])}")
    per_layer = sum(name.startswith("layers.0.") for name in arrays)
    if per_layer == 0 or len(arrays) < config.num_hidden_layers * per_layer:
        raise ValueError(
            f"its config has num_hidden_layers {config.num_hidden_layers}, but its {len(arrays)} arrays do not"
        )
    shape = arrays["embed_tokens.weight"].shape if "embed_tokens.weight" in arrays else None
    if shape != (config.vocab_size, config.hidden_size):
        raise ValueError(
            f"embed_tokens.weight must have the shape {(config.vocab_size, config.hidden_size)} of its config, got {shape}"
        )
