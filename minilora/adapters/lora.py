"""LoRA: a frozen linear layer and, beside it, two thin matrices that learn (Hu et al. 2021, arXiv 2106.09685)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from minilora import checks
from minilora.nn import ops
from minilora.nn.layers import Linear, LinearFace
from minilora.nn.module import Parameter


@dataclass(frozen=True)
class LoraConfig:
    """What to adapt and how strongly, under PEFT's names.

    `r`: the rank. `lora_alpha`: the update acts with alpha / r, or alpha / sqrt(r) if `use_rslora` (Kalajdzievski
    2023, arXiv 2312.03732). `target_modules`: names that end a layer's path ("q_proj", "mlp.up_proj"), one string as a regular
    expression for whole paths, or "all-linear" (every linear layer but the head). `lora_dropout`: on the bypass's
    input. `init_lora_weights`: True draws A as PEFT does, uniform on +-1/sqrt(in); "gaussian" with std 1/r. B is zero.
    `rank_pattern`, `alpha_pattern`: other values for paths that end in a key.
    """

    r: int = 8
    lora_alpha: float = 8
    target_modules: str | tuple[str, ...] = ("q_proj", "v_proj")
    lora_dropout: float = 0.0
    use_rslora: bool = False
    init_lora_weights: bool | str = True
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self):
        keep = partial(object.__setattr__, self)
        keep("r", checks.integer("r", self.r, low=1, hint="try r=8"))
        keep("lora_alpha", checks.real("lora_alpha", self.lora_alpha, above=0))
        keep("lora_dropout", checks.real("lora_dropout", self.lora_dropout, low=0, below=1))
        keep("use_rslora", checks.boolean("use_rslora", self.use_rslora))
        keep("init_lora_weights", checks.one_of("init_lora_weights", self.init_lora_weights, (True, "gaussian")))
        targets = self.target_modules
        if isinstance(targets, str):
            keep("target_modules", checks.string("target_modules", targets))
        else:
            keep("target_modules", checks.strings("target_modules", targets, hint="try ('q_proj', 'v_proj')"))
        if not self.target_modules:
            raise ValueError(f"target_modules must name a layer, got {targets!r}; try ('q_proj', 'v_proj')")
        for name, check in (
            ("rank_pattern", partial(checks.integer, low=1)),
            ("alpha_pattern", partial(checks.real, above=0)),
        ):
            pattern = getattr(self, name)
            if not isinstance(pattern, Mapping) or not all(isinstance(key, str) for key in pattern):
                raise TypeError(f"{name} must be a dict from str to a number, got {checks.shown(pattern)}")
            keep(name, {str(key): check(f"{name}[{key!r}]", value) for key, value in pattern.items()})

    def scaling(self, r: int, alpha: float) -> float:
        """alpha / r, or alpha / sqrt(r) with `use_rslora`."""
        return alpha / math.sqrt(r) if self.use_rslora else alpha / r


class LoraWeights(NamedTuple):
    """One adapter of one layer: A (r, in), B (out, r), the factor before B A, and the dropout of its input."""

    lora_A: Parameter
    lora_B: Parameter
    scaling: float
    dropout: float


class LoRALinear(LinearFace):
    """y = base(x) + s dropout(x) Aᵀ Bᵀ.    x: (..., in)   A: (r, in)   B: (out, r)   y: (..., out)   Hu et al. eq. 3

    `base_layer` is anything linear: dense, or in four bits (then this is QLoRA). Several adapters may be held by name;
    `active` is the one at work, None when the base acts alone.
    """

    def __init__(self, base_layer: LinearFace):
        self.base_layer = base_layer
        self.adapters: dict[str, LoraWeights] = {}
        self.active: str | None = None

    def add_adapter(self, name: str, r: int, alpha: float, config: LoraConfig, *, rng, dtype) -> None:
        """Draw A, set B to zero, and make the adapter the active one. ValueError if r exceeds the matrix."""
        limit = min(self.in_features, self.out_features)
        if r > limit:
            raise ValueError(
                f"r must be at most min(in_features, out_features) = {limit} for a layer of shape "
                f"({self.out_features}, {self.in_features}), got {r}"
            )
        if config.init_lora_weights == "gaussian":
            a = rng.standard_normal((r, self.in_features)) / r
        else:
            a = rng.uniform(-1.0, 1.0, (r, self.in_features)) / math.sqrt(self.in_features)
        self.adapters[name] = LoraWeights(
            Parameter(a.astype(dtype)),
            Parameter(np.zeros((self.out_features, r), dtype)),
            config.scaling(r, alpha),
            config.lora_dropout,
        )
        self.set_adapter(name)

    def set_adapter(self, name: str | None) -> None:
        """Make one adapter active; None lets the base act alone."""
        if name is not None:
            if name not in self.adapters:
                raise ValueError(f"adapter must be one of {sorted(self.adapters)}, got {name!r}")
            self.lora_A, self.lora_B, self.scaling, self.dropout = self.adapters[name]
        self.active = name

    @property
    def in_features(self) -> int:
        return self.base_layer.in_features

    @property
    def out_features(self) -> int:
        return self.base_layer.out_features

    def __call__(self, x: np.ndarray, *, rng=None):
        y, base_backward = self.base_layer(x, rng=rng)
        if self.active is None:
            return y, base_backward
        lora_A, lora_B, s, p = self.adapters[self.active]
        dropped, dropout_backward = ops.dropout(x, p, rng) if p and rng is not None else (x, None)
        x2 = dropped.reshape(-1, self.in_features)  # (..., in) -> (N, in)
        h = x2 @ lora_A.value.T  # (N, r)
        y += (h @ lora_B.value.T * s).reshape(y.shape)

        def backward(dy):
            dy2 = dy.reshape(-1, self.out_features)
            # y += s h Bᵀ       =>  dh = s dy B,   dB = s dyᵀ h
            dh = dy2 @ lora_B.value
            dh *= s
            lora_B.accumulate(dy2.T @ h * s)
            # h = x Aᵀ          =>  dx = dh A,   dA = dhᵀ x
            lora_A.accumulate(dh.T @ x2)
            dx = (dh @ lora_A.value).reshape(x.shape)
            if dropout_backward is not None:
                dx = dropout_backward(dx)
            # y = base(x) + ... =>  the base's share is added
            dx += base_backward(dy)
            return dx

        return y, backward

    def delta_weight(self) -> np.ndarray:
        """The update s B A of the active adapter.    (out, in)"""
        lora_A, lora_B, s, _ = self.adapters[self.active]
        return lora_B.value @ lora_A.value * s

    def dense_weight(self) -> np.ndarray:
        """W + s B A, dense; W alone when no adapter is active.    (out, in)"""
        weight = self.base_layer.dense_weight()
        return weight if self.active is None else weight + self.delta_weight()

    def merged(self) -> Linear:
        """A new dense, frozen layer that acts as this one does. Over a 4-bit base it is dense, too: requantizing it
        is lossy, and the caller's explicit step."""
        return Linear.from_weight(self.dense_weight().copy(), trainable=False)
