"""A dense Llama as one .npz file: its weights in their own dtype, and its config."""

import os
from dataclasses import asdict
from typing import Any

import numpy as np

from minilora import checks, schema, storage
from minilora.nn.config import LlamaConfig
from minilora.nn.layers import LinearFace
from minilora.nn.llama import Llama


def save_model(model: Llama, path: str | os.PathLike, notes: dict[str, Any] | None = None) -> None:
    """Write every weight of `model`, its config and `notes`, atomically. A layer in four bits is stored decoded.

    ValueError where the model has more than a plain Llama's weights (an adapter that is not merged).
    """
    checks.instance("model", model, Llama)
    arrays = model.state()
    for name, layer in model.named_modules():
        if isinstance(layer, LinearFace) and f"{name}.weight" not in arrays:
            arrays[f"{name}.weight"] = layer.dense_weight()
    expected = dict(Llama.skeleton(model.config, model.dtype).named_parameters())
    if arrays.keys() != expected.keys():
        others = sorted(arrays.keys() ^ expected.keys())
        raise ValueError(f"model must be a plain Llama, but {', '.join(others[:5])} differ; merge_lora(model) first")
    storage.save_arrays(path, arrays, {"config": asdict(model.config), "notes": notes or {}})


def load_model(path: str | os.PathLike, dtype: np.dtype | type | None = None) -> tuple[Llama, dict[str, Any]]:
    """(model, notes) as `save_model` wrote them, in the dtype of the file or a wider one. Everything is trainable.

    FileNotFoundError, or ValueError that names the file and lists all that does not fit.
    """
    arrays, metadata = storage.load_arrays(path)
    fields = {"config": schema.config(LlamaConfig), "notes": lambda name, value: checks.instance(name, value, dict)}
    metadata = schema.check(path, metadata, fields)
    try:
        dtypes = {array.dtype for array in arrays.values()}
        if not dtypes <= {np.dtype(np.float32), np.dtype(np.float64)} or len(dtypes) != 1:
            raise ValueError(f"its arrays must all be float32 or all float64, got {sorted(map(str, dtypes))}")
        config, values = metadata["config"], sum(array.size for array in arrays.values())
        if config.num_hidden_layers > len(arrays):  # before anything of that size is built
            raise ValueError(f"{len(arrays)} arrays are too few for {config.num_hidden_layers} layers")
        if (2 * config.num_hidden_layers + 1) * config.hidden_size > values:  # the norms' gains alone
            raise ValueError(f"{values} values are too few for hidden_size={config.hidden_size}")
        model = Llama.skeleton(config, dtypes.pop() if dtype is None else dtype)
        model.load_state(arrays)
    except ValueError as error:
        raise ValueError(f"{path} is not a model that save_model wrote: {error}; merge it again") from None
    return model, metadata["notes"]
