"""Where does the memory of training go? Counted from the arrays that are held, beside the formula, and at 7B."""

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minilora.adapters import LoraConfig, PrefixConfig, apply_lora, apply_prefix, quantize_linears
from minilora.analysis import memory
from minilora.assets import load_base
from minilora.nn import Llama, LlamaConfig
from minilora.nn.checkpointing import checkpoint_blocks
from minilora.training import AdamW

# Bytes are counted exactly; the peak also holds what the interpreter and numpy allocate on the way.
TOLERANCE = {"rtol": 0.0, "atol": 0.0, "overrides": {"/peak": {"rtol": 0.1, "atol": 100_000}}}
PARTS = ("weights", "gradients", "optimizer", "activations")
NF4: dict[str, Any] = {"code": "nf4", "double_quant": True}


@dataclass(frozen=True)
class Config:
    r: int = 8
    num_virtual_tokens: int = 8
    batches: tuple[int, ...] = (1, 8)
    lengths: tuple[int, ...] = (64, 128, 248)
    large_batch: int = 1
    large_lengths: tuple[int, ...] = (512, 2048)


def run(config: Config = Config(), each: Callable = map) -> dict:
    """ "cells": for every method, batch and length the bytes "counted" of each of PARTS, those by "formula", and the "peak" of
    two training steps, traced, without the weights. "large": GB by method and length for Llama 7B in 16 bits, with Adam's
    moments in 32, by formula.
    """
    items = [(config, name, B, T) for name in setups(config) for B in config.batches for T in config.lengths]
    return {
        "r": config.r,
        "num_virtual_tokens": config.num_virtual_tokens,
        "cells": list(each(counted, items)),
        "large_batch": config.large_batch,
        "large": {
            name: {str(T): large(setup, config.large_batch, T) for T in config.large_lengths}
            for name, setup in setups(config, seven_billion(), np.float16).items()
        },
    }


def setups(config: Config, llama: LlamaConfig | None = None, dtype: type = np.float32) -> dict[str, memory.Setup]:
    """The methods that are compared, by name; `llama`: of which model (by default the base)."""
    base = memory.Setup(load_base().config if llama is None else llama, dtype=dtype)
    lora = replace(base, lora=LoraConfig(r=config.r, target_modules="all-linear"))
    return {
        "full": base,
        "LoRA": lora,
        "LoRA, checkpointing": replace(lora, checkpointing=True),
        "NF4 LoRA": replace(lora, **NF4),
        "NF4 LoRA, checkpointing": replace(lora, checkpointing=True, **NF4),
        "prefix": replace(base, num_virtual_tokens=config.num_virtual_tokens),
    }


def seven_billion() -> LlamaConfig:
    """The shape of Llama 2 7B (Touvron et al. 2023, and the config.json that came with it)."""
    return LlamaConfig(
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
    )


def formula(setup: memory.Setup, batch_size: int, length: int) -> dict[str, int]:
    """Bytes of each of PARTS."""
    return {
        "weights": memory.weight_bytes(setup),
        "gradients": memory.gradient_bytes(setup),
        "optimizer": memory.optimizer_bytes(setup),
        "activations": memory.activation_bytes(setup, batch_size, length),
    }


def large(setup: memory.Setup, batch_size: int, length: int) -> dict[str, float]:
    """GB of each of PARTS; Adam's moments in 32 bits beside weights of 16."""
    sizes = formula(setup, batch_size, length)
    sizes["optimizer"] = memory.optimizer_bytes(replace(setup, dtype=np.float32))
    return {part: size / 1e9 for part, size in sizes.items()}


def counted(item: tuple[Config, str, int, int]) -> dict[str, Any]:
    """One method at one size: a model that is really trained for two steps, and its arrays."""
    config, name, B, T = item
    setup = setups(config)[name]
    model, rng = built(setup), np.random.default_rng(0)
    ids = rng.integers(0, setup.config.vocab_size, (B, T))
    trainable = [p for p in model.parameters() if p.trainable]
    tracemalloc.start()
    try:
        optimizer = AdamW(trainable, lr=1e-3)
        for _ in range(2):  # in the second the moments are there
            _, backward = model.loss(ids, ids)
            activations = memory.saved_bytes(backward, model)
            backward()
            del backward
            optimizer.step()
            gradients = sum(p.grad.nbytes for p in trainable)
            optimizer.zero_grad()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    sizes = (memory.stored_bytes(model), gradients, optimizer.nbytes, activations)
    return {
        "method": name,
        "batch": B,
        "length": T,
        "counted": dict(zip(PARTS, sizes, strict=True)),
        "formula": formula(setup, B, T),
        "peak": peak,
    }


def built(setup: memory.Setup) -> Llama:
    """The base as `setup` says it is trained."""
    model, rng = load_base(), np.random.default_rng(0)
    if setup.code is not None:
        quantize_linears(model, setup.code, block_size=setup.block_size, double_quant=setup.double_quant)
    if setup.lora is not None:
        apply_lora(model, setup.lora, rng=rng)
    if setup.num_virtual_tokens:
        apply_prefix(model, PrefixConfig(setup.num_virtual_tokens), rng=rng)
    if setup.checkpointing:
        checkpoint_blocks(model)
    return model
