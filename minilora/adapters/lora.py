"""LoRA: a frozen linear layer and, beside it, two thin matrices that learn (Hu et al. 2021, arXiv 2106.09685)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from minilora import checks
from minilora.adapters.adapter import AdapterLayer, AdapterPart, plain
from minilora.adapters.surgery import check_new_adapter, put_on
from minilora.adapters.targets import match_targets, pattern_value
from minilora.nn import ops
from minilora.nn.layers import Linear, LinearFace
from minilora.nn.module import Module, Parameter


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


class LoRA(AdapterPart):
    """One LoRA beside one linear layer: y = base(x) + s dropout(x) Aᵀ Bᵀ.    Hu et al. eq. 3

    x: (..., in)   A: (r, in)   B: (out, r)   y: (..., out)   s = scaling * factor: alpha / r (or alpha / sqrt(r)), times
    1.0 unless `scale_adapter` changed it.
    """

    def __init__(self, config: LoraConfig, lora_A: np.ndarray, lora_B: np.ndarray, scaling: float):
        super().__init__(config)
        self.lora_A, self.lora_B = Parameter(lora_A), Parameter(lora_B)
        self.scaling, self.factor = scaling, 1.0

    @classmethod
    def beside(cls, layer: LinearFace, config: LoraConfig, rng: np.random.Generator | None, path: str = "") -> "LoRA":
        """The part for one layer: A drawn and B zero, or, without `rng`, both zero (a file will fill them).

        `path` decides what `rank_pattern` and `alpha_pattern` say.
        """
        r = pattern_value(config.rank_pattern, path, config.r)
        alpha = pattern_value(config.alpha_pattern, path, config.lora_alpha)
        a = np.zeros((r, layer.in_features)) if rng is None else draw_A(config, r, layer.in_features, rng)
        b = np.zeros((layer.out_features, r))
        return cls(config, a.astype(layer.dtype), b.astype(layer.dtype), config.scaling(r, alpha))

    @property
    def strength(self) -> float:
        """s, the factor before B A."""
        return self.scaling * self.factor

    def __call__(self, base_layer: LinearFace, x: np.ndarray, *, rng=None):
        y, base_backward = base_layer(x, rng=rng)
        A, B, s, p = self.lora_A, self.lora_B, self.strength, self.config.lora_dropout
        dropped, dropout_backward = ops.dropout(x, p, rng) if p and rng is not None else (x, None)
        x2 = dropped.reshape(-1, dropped.shape[-1])  # (..., in) -> (N, in)
        h = x2 @ A.value.T  # (N, r)
        y += (h @ B.value.T * s).reshape(y.shape)

        def backward(dy):
            dy2 = dy.reshape(-1, dy.shape[-1])
            # y += s h Bᵀ       =>  dh = s dy B,   dB = s dyᵀ h
            dh = dy2 @ B.value
            dh *= s
            B.accumulate(dy2.T @ h * s)
            # h = x Aᵀ          =>  dx = dh A,   dA = dhᵀ x
            A.accumulate(dh.T @ x2)
            dx = (dh @ A.value).reshape(x.shape)
            if dropout_backward is not None:
                dx = dropout_backward(dx)
            # y = base(x) + ... =>  the base's share is added
            dx += base_backward(dy)
            return dx

        return y, backward

    def delta_weight(self) -> np.ndarray:
        """The update s B A.    (out, in)"""
        return self.lora_B.value @ self.lora_A.value * self.strength

    def dense_weight(self, base_layer: LinearFace) -> np.ndarray:
        """W + s B A, dense.    (out, in)"""
        return base_layer.dense_weight() + self.delta_weight()


class LoRALinear(AdapterLayer, LinearFace):
    """A linear layer with LoRA beside it, one or several by name (see `AdapterLayer`); `LoRA.__call__` is the math.

    `base_layer` is anything linear: dense, or in four bits (then this is QLoRA).
    """

    def add_adapter(self, name: str, config: LoraConfig, *, rng: np.random.Generator) -> None:
        """Draw A, set B to zero, and make the adapter the active one. ValueError if r exceeds the matrix."""
        checks.instance("config", config, LoraConfig)
        check_rank(config, self)
        self.add(checks.string("name", name), LoRA.beside(self, config, checks.generator("rng", rng)))

    @property
    def weight_shape(self) -> tuple[int, int]:
        return self.base_layer.weight_shape

    @property
    def dtype(self) -> np.dtype:
        return self.base_layer.dtype

    @property
    def lora_A(self) -> Parameter:
        return self._active_part().lora_A

    @property
    def lora_B(self) -> Parameter:
        return self._active_part().lora_B

    @property
    def scaling(self) -> float:
        """alpha / r, or alpha / sqrt(r), of the active adapter."""
        return self._active_part().scaling

    def delta_weight(self) -> np.ndarray:
        """The update s B A of the active adapter.    (out, in)"""
        return self._active_part().delta_weight()

    def dense_weight(self) -> np.ndarray:
        """W + s B A, dense; W alone where no adapter acts.    (out, in)"""
        part = self.acting
        return self.base_layer.dense_weight() if part is None else part.dense_weight(self.base_layer)

    def merged(self) -> Linear:
        """A new dense, frozen layer that acts as this one does. Over a 4-bit base it is dense, too: requantizing it
        is lossy, and the caller's explicit step."""
        return Linear.from_weight(self.dense_weight().copy(), trainable=False)

    def _active_part(self):
        if self.active is None:
            raise ValueError(
                f"the layer must have an active adapter, got none; set_adapter one of {sorted(self.adapters)}"
            )
        return self.adapters[self.active]


def check_rank(config: LoraConfig, layer: LinearFace, path: str = "") -> None:
    """ValueError if `config` asks for a larger rank than the layer's matrix has: it could not learn more with it."""
    r, limit = pattern_value(config.rank_pattern, path, config.r), min(layer.weight_shape)
    if r > limit:
        raise ValueError(
            f"r must be at most {limit} for {plain(path) or 'a layer'} of shape {layer.weight_shape}, got {r}; lower r, "
            "or give this layer a smaller one in rank_pattern"
        )


def draw_A(config: LoraConfig, r: int, in_features: int, rng: np.random.Generator) -> np.ndarray:
    """A as `init_lora_weights` says: uniform on +-1/sqrt(in), or Gaussian with std 1/r.    (r, in) float64"""
    if config.init_lora_weights == "gaussian":
        return rng.standard_normal((r, in_features)) / r
    return rng.uniform(-1.0, 1.0, (r, in_features)) / math.sqrt(in_features)


def lora_parts(model: Module, config: LoraConfig, rng: np.random.Generator | None) -> dict[str, LoRA]:
    """The LoRA of each target layer by path, drawn, or zero without `rng`. Changes nothing."""
    layers = match_targets(model, config.target_modules)
    if rng is not None:  # a combined adapter's file may hold a rank beyond the limit, and is exact
        for path, layer in layers.items():
            check_rank(config, layer, path)
    return {path: LoRA.beside(layer, config, rng, path) for path, layer in layers.items()}


def apply_lora(
    model: Module, config: LoraConfig, *, rng: np.random.Generator, adapter_name: str = "default"
) -> list[str]:
    """Freeze `model` and put LoRA beside the target layers, in place; returns their paths.

    At first the model acts as before, bit for bit, for B is zero. Another `adapter_name` adds a second adapter to the
    same base: it becomes the active one, and the first waits, frozen, until `set_adapter(model, first)`.
    Raises ValueError for targets that match nothing, a rank larger than a matrix, a name in use or a merged model,
    before anything is changed.
    """
    checks.instance("config", config, LoraConfig)
    checks.generator("rng", rng)
    check_new_adapter(model, adapter_name)
    return put_on(model, adapter_name, lora_parts(model, config, rng), LoRALinear)


def lora_layers(model: Module) -> dict[str, LoRALinear]:
    """Every LoRALinear by its path."""
    return {path: module for path, module in model.named_modules() if isinstance(module, LoRALinear)}
