"""A Llama out of a GGUF file: its config from the metadata, its tensors under our paths, q and k un-permuted."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from minilora import checks
from minilora.interop.assemble import assemble
from minilora.interop.blocks import affine_from_q4_1
from minilora.interop.gguf import GGUFFile
from minilora.interop.tensors import FileTensor, TensorSource
from minilora.interop.tokenizer import FileTokenizer, gguf_tokenizer
from minilora.nn import Llama, LlamaConfig
from minilora.nn.rope import rope_frequencies
from minilora.quant import QuantizedTensor

# GGUF's name -> ours, outside the layers and within one.
NAMES = {
    "token_embd.weight": "embed_tokens.weight",
    "output_norm.weight": "norm.weight",
    "output.weight": "lm_head.weight",
}
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
ROPE_FACTORS = "rope_freqs.weight"  # by what each frequency is divided: how llama3's scaling is stored

# The keys under "llama." that are understood; any other might change what the model computes.
KEYS = {
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.factor",
    "rope.scaling.finetuned",  # a comment
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "vocab_size",
}
# The settings with which the Llamas 3.1 to 3.3 were published; the factor follows from the file.
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def load_gguf(
    path: str | os.PathLike,
    dtype: np.dtype | type = np.float32,
    quantize: str | Mapping[str, Any] | None = None,
) -> tuple[Llama, FileTokenizer]:
    """(model, tokenizer) of a GGUF file of a Llama.

    Tensors may be F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 or K-quants, and are decoded to `dtype`. `quantize`: as
    in `load_llama`; or "stored", which keeps each Q4_1 matrix as it is, as affine int4 in blocks of 32.
    Raises FileNotFoundError, ImportError where a package of the extra `hf` is missing, or ValueError that names the file
    and the fault: damage, another architecture, an option that is not built here, another type of tensor or tokenizer.
    """
    file = GGUFFile(path)
    tokenizer = gguf_tokenizer(file.metadata, str(file.path))
    config = gguf_config(file)
    if tokenizer.vocab_size > config.vocab_size:
        raise ValueError(f"{path} has {tokenizer.vocab_size} tokens for a model of {config.vocab_size}; get it again")
    return assemble(config, llama_tensors(file, config), str(file.path), dtype=dtype, quantize=quantize), tokenizer


def gguf_config(file: GGUFFile) -> LlamaConfig:
    """The LlamaConfig that a file's metadata describes. ValueError, naming it, for what is missing or not built here."""
    try:
        return _config(file)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file.path}: {error}") from error


def llama_tensors(file: GGUFFile, config: LlamaConfig) -> TensorSource:
    """The tensors of a file under the paths of `Llama`; names that are not known stay as they are."""
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    tensors = {}
    for name, tensor in file.items():
        match = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
        if match and match[2] in LAYER_NAMES:
            path = f"layers.{int(match[1])}.{LAYER_NAMES[match[2]]}.weight"
            tensors[path] = GGUFTensor(**vars(tensor), heads=heads.get(match[2], 0))
        elif name != ROPE_FACTORS:
            tensors[NAMES.get(name, name)] = tensor
    return tensors


@dataclass(frozen=True)
class GGUFTensor(FileTensor):
    """A tensor of a layer. Rows of q and k (`heads` above 0) come back in the order of Hugging Face.

    llama.cpp rotates pairs of neighboring channels in RoPE, as Meta's code does; Hugging Face, and this package, pair
    the two halves of a head. The rows are permuted accordingly in the file.
    """

    heads: int = 0

    def read(self, dtype: np.dtype | type | None = None) -> np.ndarray:
        values = super().read(dtype)
        return values[self._rows()] if self.heads else values

    def as_quantized(self, dtype: np.dtype) -> QuantizedTensor | None:
        """Q4_1 as affine int4 in blocks of 32; None for the other formats."""
        if self.dtype != "Q4_1":
            return None
        blocks = self.raw().reshape(self.shape[0], -1)
        return affine_from_q4_1(blocks[self._rows()] if self.heads else blocks, self.shape, dtype)

    def _rows(self):
        """Where each row is in the file: (heads, d/2, 2) there, (heads, 2, d/2) here."""
        return np.arange(self.shape[0]).reshape(self.heads, -1, 2).swapaxes(1, 2).reshape(-1)


def _config(file):
    architecture = file.metadata.get("general.architecture")
    if not isinstance(architecture, str) or architecture != "llama":
        raise ValueError(
            f"general.architecture must be 'llama', got {checks.shown(architecture)}; no other is built here"
        )
    settings = {key.removeprefix("llama."): file.metadata[key] for key in file.metadata if key.startswith("llama.")}
    if unknown := sorted(settings.keys() - KEYS):
        raise ValueError(
            f"llama.{unknown[0]} is an option that is not built here, got {checks.shown(settings[unknown[0]])}"
        )
    get = partial(_setting, settings)
    embedding = file.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise ValueError("it must hold the matrix token_embd.weight; get it again")
    heads, hidden = get("attention.head_count"), get("embedding_length")
    head_dim = get("attention.key_length", default=hidden // max(1, heads))
    for key in ("attention.value_length", "rope.dimension_count"):
        if get(key, default=head_dim) != head_dim:
            raise ValueError(f"llama.{key} must be the head's {head_dim}, got {settings[key]}")
    config = LlamaConfig(
        vocab_size=embedding.shape[0],
        hidden_size=hidden,
        intermediate_size=get("feed_forward_length"),
        num_hidden_layers=get("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=get("attention.head_count_kv", default=heads),
        max_position_embeddings=get("context_length"),
        rope_theta=get("rope.freq_base", float, 10000.0),
        rms_norm_eps=get("attention.layer_norm_rms_epsilon", float),
        tie_word_embeddings="output.weight" not in file,
        head_dim=head_dim,
    )
    return replace(config, rope_scaling=_rope_scaling(file, settings, config))


def _setting(settings, key, kind=int, default=None):
    """The value of "llama." + `key`, of type `kind`."""
    value = settings.get(key, default)
    if isinstance(value, bool) or not isinstance(value, kind):
        raise ValueError(f"llama.{key} must be one {kind.__name__}, got {checks.shown(value)}; get the file again")
    if kind is not float:
        return value
    with np.errstate(over="ignore"):  # of a float64; what is infinite is not a number that LlamaConfig takes
        return float(str(np.float32(value)))  # 1e-05, not 9.99999975e-06


def _rope_scaling(file, settings, config):
    """LlamaConfig's rope_scaling. As in llama.cpp, a factor without a type is linear's, and without either there is none."""
    factor = "rope.scaling.factor"
    kind = _setting(settings, "rope.scaling.type", str, "linear" if factor in settings else "none")
    if kind != "none" and ROPE_FACTORS in file:
        raise ValueError(
            f"{ROPE_FACTORS} must stand beside llama.rope.scaling.type 'none', got {kind!r}; "
            "two ways of scaling at once are not built here"
        )
    if kind == "linear":
        return {"rope_type": "linear", "factor": _setting(settings, factor, float)}
    if kind != "none":
        return {"rope_type": kind}  # which LlamaConfig refuses by its name
    if ROPE_FACTORS not in file:
        return None
    head_dim, theta = config.head_dim, config.rope_theta
    if (shape := file[ROPE_FACTORS].shape) != (head_dim // 2,):  # before anything of that size is made
        raise ValueError(f"{ROPE_FACTORS} must have the shape {(head_dim // 2,)}, got {shape}; get the file again")
    factors = file[ROPE_FACTORS].read(np.float64)
    scaling = {"rope_type": "llama3", "factor": float(factors.max(initial=1.0))} | LLAMA3
    expected = rope_frequencies(head_dim, theta) / rope_frequencies(head_dim, theta, tuple(scaling.items()))
    if not np.allclose(factors, expected, rtol=1e-4):
        raise ValueError(f"{ROPE_FACTORS} must be llama3's with {LLAMA3}, got other factors")
    return scaling
