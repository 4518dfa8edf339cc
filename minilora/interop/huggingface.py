"""Folders of Hugging Face: `load_llama` reads one of any Llama, `save_llama` writes one that transformers loads."""

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minilora import checks
from minilora.adapters import adapter_names, linear_paths
from minilora.interop.assemble import assemble
from minilora.interop.jsonfile import read_json, write_json
from minilora.interop.safetensors import SafetensorsFile, write_safetensors
from minilora.interop.tensors import LazyTensor, TensorSource
from minilora.interop.tokenizer import FileTokenizer
from minilora.nn import Embedding, Llama, LlamaConfig, RMSNorm

PREFIX = "model."  # of every path but the head's
HEAD = "lm_head.weight"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD_SIZE = 5 * 10**9  # bytes, as transformers does

# What a config.json means where it is silent: the defaults of transformers' LlamaConfig, which are not ours.
DEFAULTS = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "initializer_range": 0.02,
    "head_dim": None,
}
# Options that change what the model computes, and the one value of each that is built here.
FIXED = {
    "model_type": "llama",
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
}


def load_llama(
    folder: str | os.PathLike,
    dtype: np.dtype | type = np.float32,
    quantize: str | Mapping[str, Any] | None = None,
) -> Llama:
    """The Llama in a Hugging Face folder: config.json beside one model.safetensors, or several and their index.

    Weights may be stored as float32, float16, bfloat16 or float64; the model has `dtype`. `quantize`: None, a code
    such as "nf4", or a dict of `quantize_linears`' arguments, {"code": "nf4", "double_quant": True}; each matrix is
    then quantized as it comes, so that the model is never in memory as a whole in float32.
    Raises FileNotFoundError, ImportError where safetensors is not installed, or ValueError: for an option of
    config.json that is not built here (it is named), and for files that are damaged or do not fit (all is listed).
    """
    folder = Path(checks.path("folder", folder))
    config = read_config(folder / "config.json")
    return assemble(config, llama_tensors(folder, config), str(folder), dtype=dtype, quantize=quantize)


def read_config(path: str | os.PathLike) -> LlamaConfig:
    """The LlamaConfig of a config.json, in the older style (rope_theta, rope_scaling) or the newer (rope_parameters).

    ValueError for an option that would change what the model computes and is not built here.
    """
    settings = read_json(path)
    architectures = settings.get("architectures") or ["LlamaForCausalLM"]
    if architectures != ["LlamaForCausalLM"]:
        raise ValueError(
            f"{path}: architectures must be ['LlamaForCausalLM'], got {checks.shown(architectures)}; no other is built here"
        )
    rope = _rope_settings(path, settings)
    theta = rope.pop("rope_theta", settings.get("rope_theta", 10000.0))
    settings |= {"partial_rotary_factor": rope.pop("partial_rotary_factor", settings.get("partial_rotary_factor", 1.0))}
    for name, value in FIXED.items():
        if settings.get(name, value) != value:
            raise ValueError(
                f"{path}: {name} must be {json.dumps(value)}, got {json.dumps(settings[name])}; no other is built here"
            )
    kept = DEFAULTS | {field.name: settings[field.name] for field in fields(LlamaConfig) if field.name in settings}
    kv_heads = settings.get("num_key_value_heads")
    kept["num_key_value_heads"] = kept["num_attention_heads"] if kv_heads is None else kv_heads
    try:
        return LlamaConfig(**(kept | {"rope_theta": theta, "rope_scaling": rope or None}))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def folder_tensors(folder: Path) -> TensorSource:
    """All tensors of a folder under the names they have there, from one file or from the shards of an index."""
    if not (folder / INDEX).is_file():
        if not (folder / WEIGHTS).is_file() and (others := sorted(folder.glob("*.bin"))):
            raise ValueError(
                f"{folder} holds {others[0].name}, which is unpickled to be read; write it as safetensors in transformers: "
                "model.save_pretrained(folder, safe_serialization=True)"
            )
        return SafetensorsFile(folder / WEIGHTS)
    place = read_json(folder / INDEX).get("weight_map")
    if not isinstance(place, dict) or not place or not all(isinstance(name, str) for name in place.values()):
        raise ValueError(
            f"{folder / INDEX} must map names to files under weight_map, got {checks.shown(place)}; get it again"
        )
    if outside := [name for name in place.values() if Path(name).name != name or not name.isprintable()]:
        raise ValueError(f"{folder / INDEX} must name files in its own folder, got {outside[0]!r}")
    shards = {name: SafetensorsFile(folder / name) for name in sorted(set(place.values()))}
    in_shards = {tensor: name for name, shard in shards.items() for tensor in shard}
    if in_shards != place or sum(map(len, shards.values())) != len(place):
        wrong = sorted(t for t in in_shards.keys() | place.keys() if in_shards.get(t) != place.get(t))
        raise ValueError(
            f"{folder / INDEX} does not agree with its shards about {', '.join(wrong) or 'doubled tensors'}"
        )
    return {tensor: shards[name][tensor] for tensor, name in place.items()}


def llama_tensors(folder: Path, config: LlamaConfig) -> TensorSource:
    """The tensors of a folder under the paths of `Llama`: without "model.", old buffers, and the copy of a tied head."""
    stored: dict[str, LazyTensor] = {}
    for name, tensor in folder_tensors(folder).items():
        if not name.endswith(".rotary_emb.inv_freq"):  # a buffer that old versions wrote; it follows from the config
            stored[name.removeprefix(PREFIX)] = tensor
    embedding = stored.get("embed_tokens.weight")
    if not config.tie_word_embeddings or HEAD not in stored or embedding is None:
        return stored
    if not np.array_equal(stored.pop(HEAD).read(), embedding.read()):
        raise ValueError(f"{folder}: tie_word_embeddings is true, yet {HEAD} is not the embedding matrix")
    return stored


def save_llama(
    model: Llama,
    folder: str | os.PathLike,
    *,
    dtype: str | None = None,
    tokenizer: FileTokenizer | None = None,
    max_shard_size: int = SHARD_SIZE,
) -> None:
    """Write a folder that `load_llama` and transformers load: config.json and model.safetensors, in shards if large.

    `dtype`: "float32", "float16", "bfloat16", "float64", or None for the model's own. Four-bit layers are written
    decoded, one at a time. `tokenizer`: written beside the model. ValueError for a model with an adapter on: merge it
    first, or write the adapter alone.
    """
    folder = Path(checks.path("folder", folder))
    checks.integer("max_shard_size", max_shard_size, low=1)
    if tokenizer is not None:
        checks.instance("tokenizer", tokenizer, FileTokenizer)
    dtype = checks.one_of(
        "dtype", model.dtype.name if dtype is None else dtype, ("float32", "float16", "bfloat16", "float64")
    )
    if names := adapter_names(model):
        raise ValueError(
            f"model must have no adapter on, got {', '.join(map(repr, names))}; merge_lora(model) first, or "
            "save_peft_adapter writes the adapter alone"
        )
    itemsize = 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
    sizes = {name: itemsize * math.prod(weight.shape) for name, weight in held_weights(model).items()}
    shards = _shards(sizes, max_shard_size)
    place = {}
    for number, names in enumerate(shards, 1):
        file = WEIGHTS if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        place |= dict.fromkeys(names, file)
        weights = held_weights(model)
        shapes = {name: (weights[name].shape, "BF16" if dtype == "bfloat16" else dtype) for name in names}
        write_safetensors(folder / file, shapes, (weights[name].read() for name in names), {"format": "pt"})
    # What an earlier save left under the other name would be read instead of, or beside, what is written now.
    if len(shards) > 1:
        write_json(folder / INDEX, {"metadata": {"total_size": sum(sizes.values())}, "weight_map": place})
        (folder / WEIGHTS).unlink(missing_ok=True)
    else:
        (folder / INDEX).unlink(missing_ok=True)
    if tokenizer is not None:
        tokenizer.save(folder)
    write_json(folder / "config.json", config_json(model.config, dtype))


class HeldWeight(NamedTuple):
    """A weight of a model: its shape, and a function that gives its values, decoded only then."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


def held_weights(model: Llama) -> dict[str, HeldWeight]:
    """Every weight of `model` under Hugging Face's name, four-bit layers among them, in the order of the model."""
    weights = {}
    layers = linear_paths(model)
    for path, module in model.named_modules():
        name = path if path == "lm_head" else PREFIX + path
        if path in layers:
            shape = (module.out_features, module.in_features)
            weights[f"{name}.weight"] = HeldWeight(shape, module.dense_weight)
        elif isinstance(module, (Embedding, RMSNorm)):
            weights[f"{name}.weight"] = HeldWeight(module.weight.shape, partial(getattr, module.weight, "value"))
    return weights


def config_json(config: LlamaConfig, dtype: str) -> dict[str, Any]:
    """The content of config.json: rope in both styles, so that old and new versions of transformers read the same."""
    settings = asdict(config)
    scaling = settings.pop("rope_scaling")
    rope = {"rope_type": "default"} | (scaling or {}) | {"rope_theta": settings["rope_theta"]}
    fixed = {
        name: value
        for name, value in FIXED.items()
        if name in ("model_type", "hidden_act", "attention_bias", "mlp_bias")
    }
    styles = {"rope_scaling": scaling, "rope_parameters": rope}
    return {"architectures": ["LlamaForCausalLM"], "dtype": dtype, "torch_dtype": dtype} | fixed | settings | styles


def _rope_settings(path, settings):
    """What config.json says of RoPE, as a new dict: under rope_scaling, or else under rope_parameters."""
    given = {name: settings[name] for name in ("rope_scaling", "rope_parameters") if settings.get(name) is not None}
    try:
        styles = [checks.mapping(name, value) for name, value in given.items()]
        for name, style in zip(given, styles, strict=True):
            for key in ("rope_type", "type"):
                if style.get(key) is not None:
                    checks.string(f"{name}[{key!r}]", style[key])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}; try {{'rope_type': 'linear', 'factor': 4.0}}, or null for none") from error
    return next(filter(None, styles), {})


def _shards(sizes, limit):
    """Names, in order, in lists of at most `limit` bytes; a weight that is larger than that has a list of its own."""
    shards, filled = [[]], 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > limit:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards
