"""The shape of a Llama, and the glossary of shape letters.

Shape letters, the same in every file:

    B  batch                    sequences side by side
    T  time                     tokens in a sequence (S where keys outnumber queries: cached and new)
    D  hidden_size              width of the residual stream
    H  num_attention_heads      query heads
    K  num_key_value_heads      key/value heads; G = H // K query heads share one
    d  head_dim                 width of one head
    F  intermediate_size        width inside the MLP
    V  vocab_size               tokens there are
    r  rank of a LoRA           columns of B, rows of A
    N  rows of a 2-D product    B * T, all positions of a batch in one matrix
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from minilora import checks
from minilora.nn.rope import ROPE_SCALINGS

LARGEST = 2**31 - 1  # of a size: far above any model, and no product of two of them overflows 64 bits


@dataclass(frozen=True)
class LlamaConfig:
    """What decides the shape of a Llama, under the names of Hugging Face's `config.json`.

    `head_dim` is `hidden_size // num_attention_heads` unless given. `rope_scaling` stretches the positions of a
    model that was trained on shorter texts: {"rope_type": "linear", "factor": 4.0}, or "llama3" (see `nn.rope`).
    Raises ValueError or TypeError for sizes that do not fit together. Architecture: Touvron et al. 2023
    (arXiv 2302.13971); grouped heads: Ainslie et al. 2023 (arXiv 2305.13245).
    """

    vocab_size: int = 256
    hidden_size: int = 128
    intermediate_size: int = 352
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    max_position_embeddings: int = 256
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-5
    tie_word_embeddings: bool = True
    head_dim: int | None = None
    initializer_range: float = 0.02
    rope_scaling: Mapping[str, Any] | None = field(default=None, hash=False)  # a dict has no hash

    def __post_init__(self):
        # What the checks return is kept: plain Python numbers, so that a config read from numpy can be written as JSON.
        keep = partial(object.__setattr__, self)
        for name in (
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "max_position_embeddings",
        ):
            keep(name, checks.integer(name, getattr(self, name), low=1, high=LARGEST))
        keep("rope_theta", checks.real("rope_theta", self.rope_theta, above=0))
        keep("rope_scaling", _rope_scaling(self.rope_scaling))
        keep("rms_norm_eps", checks.real("rms_norm_eps", self.rms_norm_eps, above=0))
        keep("initializer_range", checks.real("initializer_range", self.initializer_range, low=0))
        keep("tie_word_embeddings", checks.boolean("tie_word_embeddings", self.tie_word_embeddings))
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads must be a multiple of num_key_value_heads, got {self.num_attention_heads} "
                f"and {self.num_key_value_heads}; each key/value head serves the same number of query heads"
            )
        if self.head_dim is None:
            if self.hidden_size % self.num_attention_heads:
                raise ValueError(
                    f"hidden_size must be a multiple of num_attention_heads, got {self.hidden_size} and "
                    f"{self.num_attention_heads}; or give head_dim"
                )
            keep("head_dim", self.hidden_size // self.num_attention_heads)
        keep("head_dim", checks.integer("head_dim", self.head_dim, low=2, high=LARGEST))
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even, got {self.head_dim}; RoPE rotates pairs of channels")


def _rope_scaling(given):
    """The settings of one of ROPE_SCALINGS under the name "rope_type", each checked; None where nothing is scaled."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise TypeError(f"rope_scaling must be a dict such as {{'rope_type': 'linear', 'factor': 4.0}}, got {given!r}")
    settings = dict(given)
    kind = settings.pop("rope_type", settings.pop("type", None))  # "type" is the older name of the key
    settings.pop("type", None)  # some files carry both
    if kind == "default" and not settings:
        return None
    if kind not in ROPE_SCALINGS:
        raise ValueError(f"rope_scaling must have the rope_type {' or '.join(ROPE_SCALINGS)}, got {kind!r}")
    needed = ROPE_SCALINGS[kind]
    if settings.keys() != set(needed):
        raise ValueError(
            f"rope_scaling of type {kind!r} must have {', '.join(needed)}; got {', '.join(settings) or 'none'}"
        )
    values = {name: checks.real(f"rope_scaling[{name!r}]", settings[name], above=0) for name in needed}
    if kind == "llama3" and values["high_freq_factor"] <= values["low_freq_factor"]:
        raise ValueError(
            f"rope_scaling['high_freq_factor'] must be greater than low_freq_factor {values['low_freq_factor']}, "
            f"got {values['high_freq_factor']}"
        )
    return {"rope_type": kind} | values
