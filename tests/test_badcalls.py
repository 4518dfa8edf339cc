"""Every argument of every public function, replaced in turn by everything that it should not be.

A call either works or raises a ValueError or TypeError that minilora itself raised (not numpy, three layers down), whose
message names the argument; and a call that fails has changed nothing it was given. What does not fit the argument's type hint
must be refused. The quick suite runs a slice; BADCALLS=all (or `make badcalls`) runs every call.
"""

import ast
import collections.abc
import contextlib
import functools
import inspect
import os
import pickle
import re
import types
import typing
import zlib
from pathlib import Path

import numpy as np
import pytest

import minilora
from minilora import (  # noqa: F401
    AdamW,
    BottleneckConfig,
    Llama,
    LlamaConfig,
    LoraConfig,
    PrefixConfig,
    PromptConfig,
    Trainer,
    TrainingConfig,
    adapters,
    analysis,
    apply_lora,
    data,
    gradcheck,
    interop,
    merge_lora,
    nn,
    quant,
    quantize,
    save_adapter,
    training,
)
from minilora.adapters import LoRALinear, QuantizedLinear
from minilora.analysis import error, memory, spectrum
from minilora.assets.base import BASE_PATH
from minilora.data import ByteTokenizer, EpochBatches, RandomCrops, Record, Template
from minilora.nn import Embedding, KVCache, Linear, Parameter, RMSNorm

SLICE = 1 if os.environ.get("BADCALLS") == "all" else 8  # the quick suite runs one call in so many
PACKAGE = Path(minilora.__file__).parent

CONFIG = LlamaConfig(
    vocab_size=256, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2,
    num_key_value_heads=1, max_position_embeddings=16,
)  # fmt: skip
RECORDS = [Record("ab", "cd"), Record("e", "f")]
W = np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 6)


def rng():
    return np.random.default_rng(0)


def ids():
    return np.array([[1, 2, 3]])


def model():
    return Llama(CONFIG, rng=rng())


def decoding():
    it, cache = model(), [KVCache(4)]
    it(ids(), cache=cache, inference=True)
    return {"self": nn.Decoder(it), "token_ids": np.array([4]), "cache": cache}


def with_lora(*names):
    it = model()
    for name in names or ("default",):
        apply_lora(it, LoraConfig(r=2), rng=rng(), adapter_name=name)
    return it


def merged():
    it = with_lora()
    merge_lora(it)
    return it


def saved():
    save_adapter(with_lora(), "adapter.npz")
    return "adapter.npz"


def optimizer():
    return AdamW([Parameter(W.copy())])


def batches():
    return EpochBatches(np.zeros((4, 3), int), np.ones((4, 3), int), 2, seed=0)


def records_file():
    Path("records.csv").write_text("input,target\na,b\nc,d\n", encoding="utf-8")
    return "records.csv"


def llama_folder():
    if not Path("llama").exists():
        interop.save_llama(model(), "llama")
    return "llama"


def peft_folder():
    if not Path("peft").exists():
        interop.save_peft_adapter(with_lora(), "peft")
    return "peft"


def log_file():
    Path("log.jsonl").write_text('{"step": 1, "loss": 0.5}\n', encoding="utf-8")
    return "log.jsonl"


def q():
    return quantize(W)


def setup():
    return memory.Setup(CONFIG)


# name: (the function, a call that works). Arguments in a lambda, so that each call gets fresh ones.
CALLS = {
    # nn
    "LlamaConfig": (LlamaConfig, lambda: {f: getattr(CONFIG, f) for f in CONFIG.__dataclass_fields__}),
    "Llama": (Llama, lambda: {"config": CONFIG, "rng": rng(), "dtype": np.float32}),
    "Llama.skeleton": (Llama.skeleton, lambda: {"config": CONFIG, "dtype": np.float32}),
    "Llama.__call__": (
        Llama.__call__,
        lambda: {"self": model(), "token_ids": ids(), "rng": None, "cache": None, "inference": True, "logits_to_keep": 0},
    ),
    "Llama.forward_from": (
        Llama.forward_from,
        lambda: {"self": model(), "x": np.ones((1, 3, 8), np.float32), "rng": None, "cache": None, "inference": True,
                 "logits_to_keep": 0},
    ),
    "Llama.loss": (
        Llama.loss, lambda: {"self": model(), "token_ids": ids(), "labels": ids(), "rng": rng(), "inference": False},
    ),
    "Module.get_submodule": (Llama.get_submodule, lambda: {"self": model(), "path": "layers.0.mlp"}),
    "Module.set_submodule": (
        Llama.set_submodule,
        lambda: {"self": model(), "path": "layers.0.mlp.up_proj", "module": Linear(8, 12, rng=rng())},
    ),
    "Module.load_state": (Llama.load_state, lambda: {"self": model(), "arrays": dict(model().state()), "strict": True}),
    "Linear": (Linear, lambda: {"in_features": 3, "out_features": 2, "rng": rng(), "dtype": np.float32, "std": 0.1}),
    "Linear.from_weight": (Linear.from_weight, lambda: {"weight": W.copy(), "trainable": True}),
    "Linear.__call__": (Linear.__call__, lambda: {"self": Linear(6, 2, rng=rng()), "x": W, "rng": None}),
    "Embedding": (
        Embedding, lambda: {"num_embeddings": 3, "embedding_dim": 2, "rng": rng(), "dtype": np.float32, "std": 0.1},
    ),
    "Embedding.__call__": (Embedding.__call__, lambda: {"self": Embedding(9, 2, rng=rng()), "token_ids": ids()}),
    "RMSNorm": (RMSNorm, lambda: {"size": 4, "eps": 1e-5, "dtype": np.float32}),
    "RMSNorm.__call__": (RMSNorm.__call__, lambda: {"self": RMSNorm(6), "x": W}),
    "Parameter": (Parameter, lambda: {"value": W.copy(), "trainable": True}),
    "Parameter.accumulate": (Parameter.accumulate, lambda: {"self": Parameter(W.copy()), "grad": W, "given_away": False}),
    "KVCache": (KVCache, lambda: {"capacity": 4}),
    "KVCache.extend": (
        KVCache.extend, lambda: {"self": KVCache(4), "k": np.ones((1, 1, 2, 4)), "v": np.ones((1, 1, 2, 4))},
    ),
    "checkpoint_blocks": (nn.checkpoint_blocks, lambda: {"model": model()}),
    "generate": (
        nn.generate,
        lambda: {"model": model(), "token_ids": ids(), "max_new_tokens": 2, "temperature": 1.0, "top_k": 3, "top_p": 0.9,
                 "rng": rng(), "eos_token_id": 4, "use_cache": True, "decoder": True},
    ),
    "stream": (
        nn.stream,
        lambda: {"model": model(), "token_ids": ids(), "max_new_tokens": 2, "temperature": 1.0, "top_k": 3, "top_p": 0.9,
                 "rng": rng(), "eos_token_id": 4, "use_cache": True, "decoder": True},
    ),
    "Decoder": (nn.Decoder, lambda: {"model": model(), "keep_decoded": 0}),
    "Decoder.__call__": (nn.Decoder.__call__, decoding),
    "decoder_for": (nn.decoder_for, lambda: {"model": model(), "new_tokens": 40}),
    # quant
    "Codebook": (
        quant.Codebook,
        lambda: {"name": "x", "levels": np.array([-1, 1], np.float32), "codes": np.arange(2), "bits": 1},
    ),
    "codebook": (quant.codebook, lambda: {"code": "nf4"}),
    "get_codebook": (quant.get_codebook, lambda: {"code": "nf4"}),
    "normal_float": (quant.normal_float, lambda: {"bits": 3}),
    "quantize": (
        quant.quantize,
        lambda: {"w": W.copy(), "code": "nf4", "block_size": 8, "double_quant": True, "scale_code": "int8"},
    ),
    "QuantizedTensor": (
        quant.QuantizedTensor,
        lambda: {"packed": q().packed, "absmax": q().absmax, "shape": (4, 6), "dtype": np.dtype("float32"), "code": "nf4",
                 "block_size": 64, "minima": None},
    ),
    "QuantizedScales": (
        quant.QuantizedScales,
        lambda: {"codes": np.zeros(3, np.uint8), "absmax": np.ones(1, np.float32), "offset": np.float32(0),
                 "scale_code": "int8"},
    ),
    "quantize_scales": (
        quant.quantize_scales,
        lambda: {"scales": np.ones(3, np.float32), "scale_code": "dynamic", "offset": 0.5, "lookup": "table"},
    ),
    "scale_map": (quant.scale_map, lambda: {"scale_code": "dynamic"}),
    "storage_bytes": (
        quant.storage_bytes,
        lambda: {"size": 8, "bits": 4, "block_size": 4, "double_quant": False, "statistics": 1},
    ),
    "abnormal_float": (quant.abnormal.abnormal_float, lambda: {"block_size": 8, "zero": "value"}),
    # adapters
    "LoraConfig": (
        LoraConfig,
        lambda: {"r": 2, "lora_alpha": 4.0, "target_modules": ("q_proj",), "lora_dropout": 0.1, "use_rslora": True,
                 "init_lora_weights": "gaussian", "rank_pattern": {"q_proj": 1}, "alpha_pattern": {"q_proj": 2.0},
                 "use_dora": False, "trainable_alpha": False, "loftq_config": None, "modules_to_save": ("norm",)},
    ),
    "apply_lora": (
        adapters.apply_lora,
        lambda: {"model": model(), "config": LoraConfig(r=2), "rng": rng(), "adapter_name": "one"},
    ),
    "active_adapter": (adapters.active_adapter, lambda: {"model": with_lora()}),
    "adapter_layers": (adapters.adapter_layers, lambda: {"model": with_lora()}),
    "adapter_names": (adapters.adapter_names, lambda: {"model": with_lora()}),
    "adapter_state": (adapters.adapter_state, lambda: {"model": with_lora(), "adapter_name": "default"}),
    "base_fingerprint": (adapters.base_fingerprint, lambda: {"model": with_lora()}),
    "combine_adapters": (
        adapters.combine_adapters,
        lambda: {"model": with_lora("one", "two"), "weights": {"one": 1.0, "two": 0.5}, "adapter_name": "both"},
    ),
    "count_parameters": (adapters.count_parameters, lambda: {"model": with_lora()}),
    "delete_adapter": (adapters.delete_adapter, lambda: {"model": with_lora(), "adapter_name": "default"}),
    "disable_adapters": (adapters.disable_adapters, lambda: {"model": with_lora()}),
    "freeze": (adapters.freeze, lambda: {"model": model()}),
    "get_adapter": (adapters.get_adapter, lambda: {"model": with_lora(), "adapter_name": "default"}),
    "linear_paths": (adapters.linear_paths, lambda: {"model": model()}),
    "load_adapter": (
        adapters.load_adapter,
        lambda: {"model": model(), "path": saved(), "adapter_name": "one", "force": False},
    ),
    "lora_layers": (adapters.lora_layers, lambda: {"model": with_lora()}),
    "match_targets": (adapters.match_targets, lambda: {"model": model(), "target_modules": ("q_proj",)}),
    "merge_lora": (adapters.merge_lora, lambda: {"model": with_lora(), "keep_unmerged": False}),
    "unmerge_lora": (adapters.unmerge_lora, lambda: {"model": merged()}),
    "quantize_linears": (
        adapters.quantize_linears,
        lambda: {"model": model(), "code": "nf4", "block_size": 16, "double_quant": True, "target_modules": "all-linear"},
    ),
    "read_adapter": (adapters.read_adapter, lambda: {"path": saved()}),
    "save_adapter": (
        adapters.save_adapter,
        lambda: {"model": with_lora(), "path": "new.npz", "adapter_name": "default", "notes": {"a": 1}},
    ),
    "scale_adapter": (adapters.scale_adapter, lambda: {"model": with_lora(), "adapter_name": "default", "factor": 0.5}),
    "set_adapter": (adapters.set_adapter, lambda: {"model": with_lora(), "adapter_name": "default"}),
    "QuantizedLinear": (QuantizedLinear, lambda: {"q": q()}),
    "QuantizedLinear.__call__": (QuantizedLinear.__call__, lambda: {"self": QuantizedLinear(q()), "x": W, "rng": None}),
    "LoRALinear": (LoRALinear, lambda: {"base_layer": Linear(6, 2, rng=rng())}),
    "LoftQConfig": (
        adapters.LoftQConfig, lambda: {"loftq_iter": 1, "code": "nf4", "block_size": 8, "double_quant": False},
    ),
    "BottleneckConfig": (BottleneckConfig, lambda: {"bottleneck_size": 2, "target_modules": ("mlp",)}),
    "PrefixConfig": (
        PrefixConfig,
        lambda: {"num_virtual_tokens": 2, "prefix_projection": True, "encoder_hidden_size": 4, "init_weights": None},
    ),
    "PromptConfig": (
        PromptConfig, lambda: {"num_virtual_tokens": 2, "prompt_tuning_init": "RANDOM", "init_token_ids": (1, 2)},
    ),
    "FullConfig": (adapters.FullConfig, lambda: {"target_modules": ("norm",)}),
    "PartialConfig": (adapters.PartialConfig, lambda: {"last_blocks": 1, "norms": True}),
    "apply_full": (
        adapters.apply_full,
        lambda: {"model": model(), "config": adapters.FullConfig(), "rng": None, "adapter_name": "one"},
    ),
    "apply_partial": (
        adapters.apply_partial,
        lambda: {"model": model(), "config": adapters.PartialConfig(), "rng": None, "adapter_name": "one"},
    ),
    "unfreeze": (adapters.unfreeze, lambda: {"model": model(), "last_blocks": 1, "norms": True}),
    "rate_groups": (
        training.rate_groups,
        lambda: {"parameters": {"a.lora_B": Parameter(W.copy())}, "learning_rate": 0.1, "weight_decay": 0.1,
                 "loraplus_lr_ratio": 16.0, "alpha_lr_ratio": 0.1},
    ),
    "ChatTemplate": (data.ChatTemplate, lambda: {"system": "Be brief."}),
    "load_llama": (interop.load_llama, lambda: {"folder": llama_folder(), "dtype": np.float32, "quantize": "nf4"}),
    "save_llama": (
        interop.save_llama,
        lambda: {"model": model(), "folder": "new", "dtype": "float32", "tokenizer": None, "max_shard_size": 10**6},
    ),
    "save_peft_adapter": (
        interop.save_peft_adapter,
        lambda: {"model": with_lora(), "folder": "peft", "adapter_name": "default", "base_model": "a/b"},
    ),
    "load_peft_adapter": (
        interop.load_peft_adapter, lambda: {"model": model(), "folder": peft_folder(), "adapter_name": "one"},
    ),
    "is_foreign": (interop.is_foreign, lambda: {"path": "somewhere"}),
    "to_bitsandbytes": (interop.to_bitsandbytes, lambda: {"q": q(), "name": "weight", "dtype": "float32"}),
    "from_bitsandbytes": (
        interop.from_bitsandbytes,
        lambda: {"arrays": interop.to_bitsandbytes(q()), "name": "weight", "dtype": np.float32},
    ),
    "apply_bottleneck": (
        adapters.apply_bottleneck,
        lambda: {"model": model(), "config": BottleneckConfig(2), "rng": rng(), "adapter_name": "one"},
    ),
    "apply_prefix": (
        adapters.apply_prefix, lambda: {"model": model(), "config": PrefixConfig(2), "rng": rng(), "adapter_name": "one"},
    ),
    "apply_prompt": (
        adapters.apply_prompt, lambda: {"model": model(), "config": PromptConfig(2), "rng": rng(), "adapter_name": "one"},
    ),
    # training
    "HeldOut": (training.HeldOut, lambda: {"model": model(), "token_ids": ids(), "labels": ids(), "batch_size": 2}),
    "as_arrays": (training.as_arrays, lambda: {"history": training.history.empty_history()}),
    "read_log": (training.read_log, lambda: {"path": log_file()}),
    "AdamW": (
        AdamW,
        lambda: {"params": [Parameter(W.copy())], "lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1},
    ),
    "AdamW.load_state": (AdamW.load_state, lambda: {"self": optimizer(), "arrays": optimizer().state()}),
    "TrainingConfig": (
        TrainingConfig,
        lambda: {f: getattr(TrainingConfig(), f) for f in TrainingConfig.__dataclass_fields__},
    ),
    "Trainer": (
        Trainer,
        lambda: {"model": with_lora(), "config": TrainingConfig(save_steps=1), "batches": batches(), "evaluate": None,
                 "output_dir": "run", "progress": False, "optimizer": None, "save_model": None},
    ),
    "answers": (
        training.answers,
        lambda: {"model": model(), "inputs": ["a"], "tokenizer": ByteTokenizer(), "template": Template(),
                 "max_new_tokens": 2},
    ),
    "clip_grad_norm": (training.clip_grad_norm, lambda: {"parameters": [Parameter(W.copy())], "max_norm": 1.0}),
    "evaluate": (
        training.evaluate, lambda: {"model": model(), "token_ids": ids(), "labels": ids(), "batch_size": 2},
    ),
    "exact_match": (training.exact_match, lambda: {"logits": np.ones((1, 2, 3)), "labels": np.array([[0, 1]])}),
    "lr_factor": (
        training.lr_factor, lambda: {"step": 1, "max_steps": 4, "warmup_steps": 2, "kind": "linear", "floor": 0.1},
    ),
    # data
    "ByteTokenizer.encode": (ByteTokenizer.encode, lambda: {"self": ByteTokenizer(), "text": "ab"}),
    "ByteTokenizer.decode": (ByteTokenizer.decode, lambda: {"self": ByteTokenizer(), "token_ids": [1, 2]}),
    "EpochBatches": (
        EpochBatches, lambda: {"token_ids": np.zeros((4, 3), int), "labels": np.ones((4, 3), int), "batch_size": 2, "seed": 0},
    ),
    "EpochBatches.__call__": (EpochBatches.__call__, lambda: {"self": batches(), "step": 1}),
    "RandomCrops": (RandomCrops, lambda: {"tokens": np.arange(9), "batch_size": 2, "length": 3, "seed": 0}),
    "RandomCrops.__call__": (
        RandomCrops.__call__, lambda: {"self": RandomCrops(np.arange(9), 2, 3, seed=0), "step": 1},
    ),
    "Template": (Template, lambda: {"pattern": "{bos}{input}{sep}{target}{eos}"}),
    "Template.encode": (
        Template.encode, lambda: {"self": Template(), "record": RECORDS[0], "tokenizer": ByteTokenizer(), "cut": 0},
    ),
    "encode": (
        data.encode,
        lambda: {"records": RECORDS, "tokenizer": ByteTokenizer(), "template": Template(), "max_length": 16,
                 "truncation": "drop", "completion_only_loss": True},
    ),
    "encode_records": (
        data.encode_records,
        lambda: {"records": RECORDS, "tokenizer": ByteTokenizer(), "template": Template(), "max_length": 16,
                 "truncation": True, "completion_only_loss": True},
    ),
    "encode_text": (data.encode_text, lambda: {"paragraphs": ["abc"], "tokenizer": ByteTokenizer(), "max_length": 9}),
    "hold_out": (data.hold_out, lambda: {"records": RECORDS, "fraction": 0.5, "seed": 0}),
    "load_records": (
        data.load_records, lambda: {"path": records_file(), "input_field": "input", "target_field": "target"},
    ),
    "read_file": (
        data.read_file,
        lambda: {"path": records_file(), "input_field": "input", "target_field": "target", "suffixes": (".csv",)},
    ),
    "split": (data.split, lambda: {"task": "roman", "n_train": 2, "n_eval": 1, "seed": 0}),
    # analysis, assets
    "gradcheck": (
        gradcheck,
        lambda: {"function": lambda x: (x, lambda dy: dy), "inputs": (np.ones(3),), "rng": rng(), "module": None,
                 "step": 1e-6, "tolerance": 1e-6, "directions": 1},
    ),
    "rms_error": (error.rms_error, lambda: {"approximation": W, "w": W}),
    "mean_absolute_error": (error.mean_absolute_error, lambda: {"approximation": W, "w": W}),
    "Setup": (
        memory.Setup,
        lambda: {"config": CONFIG, "lora": LoraConfig(), "code": "nf4", "block_size": 64, "double_quant": False,
                 "dtype": "float32", "checkpointing": False, "num_virtual_tokens": 0},
    ),
    "linear_shapes": (memory.linear_shapes, lambda: {"config": CONFIG}),
    "weight_bytes": (memory.weight_bytes, lambda: {"setup": setup()}),
    "trainable_parameters": (memory.trainable_parameters, lambda: {"setup": setup()}),
    "gradient_bytes": (memory.gradient_bytes, lambda: {"setup": setup()}),
    "optimizer_bytes": (memory.optimizer_bytes, lambda: {"setup": setup()}),
    "activation_bytes": (memory.activation_bytes, lambda: {"setup": setup(), "batch_size": 1, "length": 2}),
    "stored_bytes": (memory.stored_bytes, lambda: {"model": model()}),
    "saved_bytes": (memory.saved_bytes, lambda: {"backward": model, "model": model()}),
    "svd": (spectrum.svd, lambda: {"weight": W}),
    "subspace_similarity": (spectrum.subspace_similarity, lambda: {"first": W, "second": W}),
    "amplification": (spectrum.amplification, lambda: {"update": W, "weight": W, "r": 1}),
    "intruder_dimensions": (spectrum.intruder_dimensions, lambda: {"before": W, "after": W, "k": 2, "epsilon": 0.5}),
    "norm_matched": (spectrum.norm_matched, lambda: {"before": W, "after": 2 * W, "r": 1, "rng": rng()}),
    "load_base": (minilora.load_base, lambda: {"dtype": np.float32, "path": BASE_PATH}),
}  # fmt: skip

# What each argument is replaced by: (id, value). Values that are made fresh are made by calling the entry.
BAD = {
    "None": None, "True": True, "zero": 0, "one": 1, "minus one": -1, "huge": 2**70, "1.5": 1.5, "nan": float("nan"),
    "inf": float("inf"), "-inf": float("-inf"), "1e300": 1e300, "complex": 1j, "empty str": "", "str": "nonsense",
    "surrogate": "\ud800", "bytes": b"bytes", "empty list": [], "list": [1, "two", None], "empty dict": {},
    "dict": {1: 2}, "dict of str": {"nonsense": "x"}, "empty tuple": (), "set": {"q_proj", "v_proj"}, "object": object(),
    "class": dict, "function": len, "iterator": iter("ab"), "module": np, "np.int8": np.int8(1), "np.nan": np.float64("nan"),
    "path": Path("no such folder") / "file", "0-d array": np.array(3), "empty array": np.zeros((0, 3), np.float32),
    "nan array": np.array([[np.nan, 1.0]], np.float32), "inf array": np.full((4, 6), np.inf),
    "float16 array": np.ones((1, 3), np.float16), "complex array": np.ones((1, 3), complex),
    "object array": np.array([[None, 1, "a"]], object), "text array": np.array([["a", "b"]]),
    "bool array": np.ones((1, 3), bool), "masked array": np.ma.array(W, mask=W > 0),
    "masked ids": np.ma.array([[1, 2, 3]], mask=[[0, 1, 0]]), "big-endian array": W.astype(">f4"),
    "wrong shape": np.ones((2, 3, 5, 7), np.float32), "negative ids": np.array([[-1, -2, -3]]),
    "large ids": np.array([[10**6, 1, 2]]), "dates": np.array(["2024-01-01"], "datetime64[D]"),
    "rng": np.random.default_rng(3), "legacy rng": np.random.RandomState(3), "a list of arrays": [np.ones(3), np.ones(4)],
}  # fmt: skip

# Arguments whose hint allows more than what makes sense; what then decides is the type of error alone.
FREE = {
    ("gradcheck", "inputs"),
    ("saved_bytes", "backward"),
    ("Linear.__call__", "rng"),
    ("QuantizedLinear.__call__", "rng"),
}

# Where two arguments do not fit together, the message may name the other one.
NAMED_AS = {
    ("lr_factor", "max_steps"): "warmup_steps",
    ("QuantizedTensor", "block_size"): "absmax",
    ("combine_adapters", "weights"): "adapter_name",
    ("load_llama", "quantize"): "code",
    ("from_bitsandbytes", "name"): "arrays",
}

# What a function of the caller's raises is the caller's.
OWN = {("Trainer", "batches")}


def arguments():
    for name, (function, make) in CALLS.items():
        for argument in inspect.signature(function).parameters:
            if argument != "self" and argument in make():
                yield name, argument, function, make


def fits(value, hint):
    """Does a value fit a type hint? In doubt, yes."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint in (typing.Any, inspect.Parameter.empty) or isinstance(hint, (str, typing.TypeVar)):
        return True
    if hint is None or hint is type(None):
        return value is None
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, part) for part in inner)
    if origin is typing.Literal:
        return value in inner
    if hint is float:
        return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if hint in (bool, str, dict, list, tuple, np.ndarray):
        return isinstance(value, hint) and not isinstance(value, np.ma.MaskedArray)
    if origin is collections.abc.Callable or hint is collections.abc.Callable:
        return callable(value)
    if hint is os.PathLike:
        return isinstance(value, os.PathLike)
    if hint is type or origin is type:
        return isinstance(value, type)
    if hint is np.dtype:
        return isinstance(value, np.dtype)
    if origin in (dict, collections.abc.Mapping):
        return isinstance(value, collections.abc.Mapping) and all(
            fits(k, inner[0]) and fits(v, inner[1]) for k, v in value.items()
        )
    if origin is tuple:
        return isinstance(value, (tuple, list))
    if origin in (list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Iterator):
        if isinstance(value, collections.abc.Iterator):
            return origin not in (list, collections.abc.Sequence)
        if (
            isinstance(value, (str, bytes))
            or not isinstance(value, collections.abc.Iterable)
            or hasattr(value, "shape")
        ):
            return False
        return all(fits(item, inner[0]) for item in value)
    if inspect.isclass(hint) and not getattr(hint, "_is_protocol", False):
        return isinstance(value, hint)
    return True


def drive(function, kwargs):
    kwargs = dict(kwargs)
    positional = [kwargs.pop("self")] if "self" in kwargs else []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            star = kwargs.pop(parameter.name)
            positional += [kwargs.pop(k) for k in list(kwargs) if k == "function"]
            positional += star if isinstance(star, tuple) else (star,)
    result = function(*positional, **kwargs)
    if isinstance(result, collections.abc.Iterator):
        list(result)
    elif isinstance(result, contextlib.AbstractContextManager):
        with result:
            pass


def snapshot(kwargs):
    """Bytes that tell whether an argument has changed."""
    kept = {}
    for name, value in kwargs.items():
        if isinstance(value, np.random.Generator):
            value = value.bit_generator.state
        with contextlib.suppress(Exception):
            kept[name] = pickle.dumps(value)
    return kept


@functools.cache
def raises_in(path):
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    return [(node.lineno, node.end_lineno) for node in ast.walk(tree) if isinstance(node, ast.Raise)]


def verdict(name, argument, bad, function, make):
    """None, or what is wrong with how one bad call ended."""
    kwargs = make()
    bad = iter("ab") if isinstance(bad, type(iter(""))) else bad  # one that is not exhausted
    fitting = fits(bad, typing.get_type_hints(hinted(function)).get(argument, typing.Any))
    if (name, argument) == ("gradcheck", "inputs"):
        kwargs[argument] = (bad,)
    else:
        kwargs[argument] = bad
    before = snapshot({k: v for k, v in kwargs.items() if k != argument})
    try:
        with np.errstate(all="ignore"):
            drive(function, kwargs)
    except OSError as problem:
        if isinstance(bad, (str, Path)) and str(bad) in str(problem):
            return None  # what is wrong with a file or folder, said by the system or by minilora
        return f"raises {type(problem).__name__}: {problem}"
    except (ValueError, TypeError, AssertionError) as problem:
        if isinstance(problem, AssertionError) and name != "gradcheck":
            return f"raises {type(problem).__name__}: {problem}"
        frames = problem.__traceback__
        while frames.tb_next is not None:
            frames = frames.tb_next
        path, line = frames.tb_frame.f_code.co_filename, frames.tb_lineno
        if (name, argument) in OWN and callable(bad):
            return None
        if not Path(path).is_relative_to(PACKAGE) or not any(a <= line <= b for a, b in raises_in(path)):
            return f"is raised by {path}:{line}, not by minilora: {type(problem).__name__}: {problem}"
        names = [argument.rstrip("s"), NAMED_AS.get((name, argument), argument)]
        if argument in ("path", "folder", "output_dir"):
            names.append(re.escape(str(bad)))  # an error about a file names the file
        if not any(re.search(rf"\b{word}", str(problem)) for word in names):
            return f"does not name {argument}: {problem}"
        after = snapshot({k: v for k, v in kwargs.items() if k != argument})
        if isinstance(problem, AssertionError):
            after["rng"] = before["rng"]  # gradcheck had begun to draw
        if changed := [k for k in before if before[k] != after.get(k)]:
            return f"fails and has changed {changed}: {problem}"
    except Exception as problem:
        return f"raises {type(problem).__name__}: {problem}"
    else:
        if not fitting and (name, argument) not in FREE:
            return "is accepted, against its type hint"
    return None


def hinted(function):
    return function.__init__ if inspect.isclass(function) else inspect.unwrap(function)


FOREIGN = {"load_llama", "save_llama", "load_peft_adapter", "save_peft_adapter"}  # files of the hf extra


@pytest.fixture(autouse=True)
def needed_packages(request):
    if request.node.callspec.params["name"] in FOREIGN if hasattr(request.node, "callspec") else False:
        pytest.importorskip("safetensors")


@pytest.mark.parametrize("name", CALLS)
def test_the_call_without_a_bad_argument_works(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function, make = CALLS[name]
    kwargs = make()
    if SLICE == 1:
        assert set(kwargs) == set(inspect.signature(function).parameters), "a new argument: add it to CALLS"
    drive(function, kwargs)


@pytest.mark.parametrize("name", CALLS)
def test_bad_calls(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    problems = []
    for call, argument, function, make in arguments():
        if call == name:
            for word, bad in BAD.items():
                if zlib.crc32(f"{name} {argument} {word}".encode()) % SLICE == 0:
                    problem = verdict(name, argument, bad, function, make)
                    if problem:
                        problems.append(f"{name}({argument}={word}) {problem}")
    assert not problems, "\n".join(problems)


EXEMPT = {
    *(
        "Adapter",
        "Layout",
        "LazyTensor",
        "Module",
        "Past",
        "TensorSource",
        "Tokenizer",
    ),  # protocols and faces: nothing to call
    *("ByteTokenizer", "CheckpointError", "DivergenceError"),  # no arguments of their own
    *(
        "AdapterFile",
        "DataFile",
        "Encoded",
        "FileTokenizer",
        "ForeignModel",
        "Message",
        "Record",
    ),  # returned, not built by users
    *("Attention", "Block", "CheckpointedBlock", "MLP", "PendingParameter", "Prefix"),  # parts that a Llama builds
    *(
        "Bottleneck",
        "Constant",
        "DoRA",
        "LoRA",
        "MergedLinear",
        "Method",
        "PrefixPart",
        "Prompt",
    ),  # parts that apply_... and merge_lora build
    *(
        "FileTensor",
        "GGUFFile",
        "SafetensorsFile",
        "TensorFile",
        "load_foreign",
        "load_gguf",
        "load_tokenizer",
    ),  # tools/fuzz.py
}


@pytest.mark.skipif(SLICE > 1, reason="part of make badcalls")
def test_every_public_function_is_called():
    faces = (minilora, nn, quant, adapters, training, data, interop)
    public = {n for face in faces for n in face.__all__ if callable(getattr(face, n))}
    assert public <= set(CALLS) | EXEMPT, sorted(public - set(CALLS) - EXEMPT)
