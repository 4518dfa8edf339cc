"""Prefix and prompt tuning as PEFT writes them: one tensor of virtual tokens.

What an MLP made of it is written as its result (PEFT calls it prefix_projection), so the MLP is not needed to read it.
"""

from typing import Any

import numpy as np

from minilora.adapters import PrefixConfig, PromptConfig
from minilora.adapters.adapter import InstalledAdapter, plain
from minilora.adapters.virtual import PATH
from minilora.interop.peft_options import WEIGHTS, Settings, Tensors, refuse_unknown
from minilora.nn import Llama

NAME = "prompt_embeddings"

# Beside the number of tokens: sizes that the model has anyway, and how the tokens started.
SIZES = {"num_virtual_tokens", "num_layers", "num_attention_heads", "token_dim"}
PREFIX_OPTIONS = SIZES | {"encoder_hidden_size", "init_weights", "prefix_projection"}
PROMPT_OPTIONS = SIZES | {"prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_kwargs", "tokenizer_name_or_path"}


def read_prefix(model: Llama, settings: Settings, tensors: Tensors) -> tuple[PrefixConfig, dict[str, np.ndarray]]:
    """(config, arrays by our names): (P, L * 2 * K * d) in the file, (L, 2, K, P, d) here."""
    refuse_unknown(settings, PREFIX_OPTIONS)
    config = PrefixConfig(num_virtual_tokens=settings.get("num_virtual_tokens"))
    L, K, d = model.config.num_hidden_layers, model.config.num_key_value_heads, model.config.head_dim
    flat = _tokens(model, config, tensors, L * 2 * K * d)
    return config, {f"{plain(PATH)}.prefix": flat.reshape(-1, L, 2, K, d).transpose(1, 2, 3, 0, 4)}


def write_prefix(model: Llama, adapter: InstalledAdapter) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(settings, arrays by PEFT's names) of a prefix; one with a projection is written as what the projection makes."""
    prefix, _ = adapter.parts[PATH].keys_and_values()
    L, _, K, P, d = prefix.shape
    settings = {
        "num_virtual_tokens": P,
        "num_layers": L,
        "num_attention_heads": K,
        "token_dim": K * d,
        "num_transformer_submodules": 1,
        "prefix_projection": False,
        "encoder_hidden_size": K * d,
    }
    return settings, {NAME: np.ascontiguousarray(prefix.transpose(3, 0, 1, 2, 4)).reshape(P, -1)}


def read_prompt(model: Llama, settings: Settings, tensors: Tensors) -> tuple[PromptConfig, dict[str, np.ndarray]]:
    """(config, arrays by our names).    prompt: (P, D)"""
    refuse_unknown(settings, PROMPT_OPTIONS)
    config = PromptConfig(num_virtual_tokens=settings.get("num_virtual_tokens"))
    return config, {f"{plain(PATH)}.prompt": _tokens(model, config, tensors, model.config.hidden_size)}


def write_prompt(model: Llama, adapter: InstalledAdapter) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(settings, arrays by PEFT's names) of a prompt."""
    prompt = adapter.parts[PATH].prompt.value
    settings = {
        "num_virtual_tokens": len(prompt),
        "num_layers": model.config.num_hidden_layers,
        "num_attention_heads": model.config.num_attention_heads,
        "token_dim": model.config.hidden_size,
        "num_transformer_submodules": 1,
        "prompt_tuning_init": "RANDOM",  # how PEFT initializes it before it reads the file
    }
    return settings, {NAME: prompt}


def _tokens(model, config, tensors, width):
    """The one tensor of the file, checked.    (P, width)"""
    shape = (config.num_virtual_tokens, width)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    if shapes != {NAME: shape}:
        raise ValueError(f"{WEIGHTS} must hold {NAME} of shape {shape} alone, got {shapes}")
    return tensors[NAME].read(model.dtype)
