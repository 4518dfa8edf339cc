"""An adapter's state: out of a model, into a model, and as a file."""

import os
from dataclasses import asdict

import numpy as np

from minilora import storage
from minilora.adapters.lora import LoraConfig
from minilora.adapters.surgery import apply_lora, pattern_value, some_lora
from minilora.adapters.targets import match_targets
from minilora.nn.llama import Llama


def adapter_state(model: Llama, adapter_name: str = "default") -> dict[str, np.ndarray]:
    """{"layers.0.self_attn.q_proj.lora_A": (r, in), "....lora_B": (out, r), ...} of one adapter; no copies."""
    state = {}
    for path, layer in some_lora(model).items():
        if adapter_name in layer.adapters:
            weights = layer.adapters[adapter_name]
            state[f"{path}.lora_A"], state[f"{path}.lora_B"] = weights.lora_A.value, weights.lora_B.value
    if not state:
        raise ValueError(f"adapter_name must name an adapter of the model, got {adapter_name!r}")
    return state


def save_adapter(model: Llama, path: str | os.PathLike, config: LoraConfig, *, adapter_name: str = "default") -> None:
    """Write one adapter and its config as one .npz file, atomically: kilobytes, without the base."""
    storage.save_arrays(path, adapter_state(model, adapter_name), {"lora_config": asdict(config)})


def load_adapter(model: Llama, path: str | os.PathLike, *, adapter_name: str = "default") -> LoraConfig:
    """Put a saved adapter on `model` under `adapter_name` and make it active; returns its config.

    ValueError, before anything is changed, if the file is damaged or its layers do not fit the model.
    """
    arrays, metadata = storage.load_arrays(path)
    if "lora_config" not in metadata:
        raise ValueError(f"{path} holds no LoRA adapter (no lora_config in it); save_adapter writes them")
    config = LoraConfig(**metadata["lora_config"])
    expected = {}
    for target, layer in match_targets(model, config.target_modules).items():
        r = pattern_value(config.rank_pattern, target, config.r)
        expected[f"{target}.lora_A"] = (r, layer.in_features)
        expected[f"{target}.lora_B"] = (layer.out_features, r)
    found = {name: array.shape for name, array in arrays.items()}
    if found != expected:
        wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        raise ValueError(
            f"{path} does not fit this model: {wrong[0]} has shape {found.get(wrong[0])}, "
            f"the model needs {expected.get(wrong[0])}"
        )
    apply_lora(model, config, rng=np.random.default_rng(0), adapter_name=adapter_name)
    for name, array in adapter_state(model, adapter_name).items():
        array[...] = arrays[name]
    return config
