"""LoRA: a frozen linear layer and, beside it, two thin matrices that learn (Hu et al. 2021, arXiv 2106.09685)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from minilora import checks
from minilora.adapters.adapter import AdapterPart
from minilora.adapters.residual import LoftQConfig, Start
from minilora.nn import fast, ops
from minilora.nn.layers import LinearFace
from minilora.nn.module import Parameter

STARTS = (True, "gaussian", "pissa", "loftq")


@dataclass(frozen=True)
class LoraConfig:
    """What to adapt and how strongly, under PEFT's names.

    `r`: the rank. `lora_alpha`: the update acts with alpha / r, or alpha / sqrt(r) if `use_rslora` (Kalajdzievski
    2023, arXiv 2312.03732). `target_modules`: names that end a layer's path ("q_proj", "mlp.up_proj"), one string as a regular
    expression for whole paths, or "all-linear" (every linear layer but the head). `lora_dropout`: on the bypass's
    input. `rank_pattern`, `alpha_pattern`: other values for paths that end in a key.
    `init_lora_weights`: True draws A as PEFT does, uniform on +-1/sqrt(in); "gaussian" with std 1/r. B is zero. "pissa": A and
    B are the weight's principal part, and what is left of it stays frozen; "loftq": A and B make up for what quantizing
    the weight loses (`loftq_config` says how; with "pissa" it quantizes what is left). See `adapters/inits.py`.
    `use_dora`: a learned magnitude for each output (`adapters/variants.py`). `trainable_alpha`: alpha is learned, one for each
    layer; give it a small learning rate of its own (`training.groups`). `modules_to_save`: layers trained whole beside
    LoRA, by name or by what they lie below ("norm", "layers.3"); they get no LoRA. Raises ValueError or TypeError for a
    setting out of range, or settings that do not go together.
    """

    r: int = 8
    lora_alpha: float = 8
    target_modules: str | tuple[str, ...] = ("q_proj", "v_proj")
    lora_dropout: float = 0.0
    use_rslora: bool = False
    init_lora_weights: bool | str = True
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    use_dora: bool = False
    trainable_alpha: bool = False
    loftq_config: LoftQConfig | None = None
    modules_to_save: tuple[str, ...] = ()

    def __post_init__(self):
        keep = partial(object.__setattr__, self)
        keep("r", checks.integer("r", self.r, low=1, hint="try r=8"))
        keep("lora_alpha", checks.real("lora_alpha", self.lora_alpha, above=0))
        keep("lora_dropout", checks.real("lora_dropout", self.lora_dropout, low=0, below=1))
        keep("use_rslora", checks.boolean("use_rslora", self.use_rslora))
        keep("init_lora_weights", checks.one_of("init_lora_weights", self.init_lora_weights, STARTS))
        keep("use_dora", checks.boolean("use_dora", self.use_dora))
        keep("trainable_alpha", checks.boolean("trainable_alpha", self.trainable_alpha))
        keep("loftq_config", self._checked_loftq())
        keep("modules_to_save", checks.strings("modules_to_save", self.modules_to_save, hint="try ('norm',)"))
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

    def _checked_loftq(self):
        given = self.loftq_config
        if given is None:
            return LoftQConfig() if self.init_lora_weights == "loftq" else None
        if self.init_lora_weights not in ("pissa", "loftq"):
            raise ValueError(f"loftq_config must be None unless init_lora_weights is 'loftq' or 'pissa', got {given!r}")
        if isinstance(given, Mapping):  # as a file has it
            given = LoftQConfig(**given)
        return checks.instance("loftq_config", given, LoftQConfig)


class LoRA(AdapterPart):
    """One LoRA beside one linear layer: y = base(x) + s dropout(x) Aᵀ Bᵀ.    Hu et al. eq. 3

    x: (..., in)   A: (r, in)   B: (out, r)   y: (..., out)   s = `strength`: alpha / r (or alpha / sqrt(r)), times 1.0
    unless `scale_adapter` changed it. `lora_alpha` is a parameter where alpha is learned. `start`: what A and B began with
    where that was a part of the weight (PiSSA, LoftQ): the base then acts without it.
    """

    def __init__(
        self,
        config: LoraConfig,
        lora_A: Parameter,
        lora_B: Parameter,
        alpha: float,
        start: Start | None = None,
    ):
        super().__init__(config)
        self.lora_A, self.lora_B = lora_A, lora_B
        self.scaling, self.factor = config.scaling(self.r, alpha), 1.0
        self.lora_alpha = Parameter(np.array([alpha], lora_A.dtype)) if config.trainable_alpha else None
        self.start = start
        if start is not None and start.quantization is not None:
            self.factor = None  # the base is another one, so there is no update of which to take a share

    @property
    def r(self) -> int:
        """The rank."""
        return self.lora_A.shape[0]

    @property
    def strength(self) -> float:
        """s, the factor before B A."""
        scaling = self.scaling
        if self.lora_alpha is not None:
            scaling = self.config.scaling(self.r, float(self.lora_alpha.value[0]))
        return scaling if self.factor is None else scaling * self.factor

    def beneath(self, base_layer: LinearFace) -> LinearFace:
        """What it stands beside: the base, or what `start` leaves of it."""
        return base_layer if self.start is None else self.start.taken_from(base_layer, self.factor)

    def __call__(
        self, base_layer: LinearFace, x: np.ndarray, *, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, Callable]:
        y, base_backward = self.beneath(base_layer)(x, rng=rng)
        A, B, s, p = self.lora_A, self.lora_B, self.strength, self.config.lora_dropout
        dropped, dropout_backward = ops.dropout(x, p, rng) if p and rng is not None else (x, None)
        x2 = dropped.reshape(-1, dropped.shape[-1])  # (..., in) -> (N, in)
        h, shape = fast.matmul(x2, A.value.T), x.shape  # h: (N, r); x itself is not kept where dropout made another
        change = fast.matmul(h, B.value.T)
        change *= s
        y += change.reshape(y.shape)

        def backward(dy):
            dy2 = dy.reshape(-1, dy.shape[-1])
            # y += s h Bᵀ       =>  dh = s dy B,   dB = s dyᵀ h
            dh = fast.matmul(dy2, B.value)
            dh *= s
            dsB = fast.matmul(dy2.T, h)
            B.accumulate(dsB * s)
            self.accumulate_alpha(dsB)
            # h = x Aᵀ          =>  dx = dh A,   dA = dhᵀ x
            A.accumulate(fast.matmul(dh.T, x2), given_away=True)
            dx = fast.matmul(dh, A.value).reshape(shape)
            if dropout_backward is not None:
                dx = dropout_backward(dx)
            # y = base(x) + ... =>  the base's share is added
            dx += base_backward(dy)
            return dx

        return y, backward

    def accumulate_alpha(self, dsB: np.ndarray) -> None:
        """Where alpha is learned: only the product s B enters y, so ds = sum d(s B) * B, and s = alpha / r (or / sqrt(r))."""
        if self.lora_alpha is not None:
            ds = np.vdot(dsB, self.lora_B.value)
            per_alpha = self.config.scaling(self.r, 1.0) * (1.0 if self.factor is None else self.factor)
            self.lora_alpha.accumulate(np.full(1, ds * per_alpha, self.lora_alpha.dtype))

    def is_one_product(self, rng: np.random.Generator | None) -> bool:
        """Whether s B A can be added to the weight before x comes: not with dropout, which the bypass alone applies to x."""
        return type(self) is LoRA and self.start is None and not (self.config.lora_dropout and rng is not None)

    def learn(self, x: np.ndarray, dy: np.ndarray) -> None:
        """The gradients of A, B and alpha alone, as in backward above.    x: (N, in)   dy: (N, out)"""
        h = fast.matmul(x, self.lora_A.value.T)
        dh = fast.matmul(dy, self.lora_B.value)
        dh *= self.strength
        dsB = fast.matmul(dy.T, h)
        self.lora_B.accumulate(dsB * self.strength)
        self.accumulate_alpha(dsB)
        self.lora_A.accumulate(fast.matmul(dh.T, x), given_away=True)

    def update(self) -> np.ndarray:
        """s B A.    (out, in)"""
        return self.lora_B.value @ self.lora_A.value * self.strength

    def dense_weight(self, base_layer: LinearFace) -> np.ndarray:
        """W + s B A, dense.    (out, in)"""
        return self.beneath(base_layer).dense_weight() + self.update()

    def delta_weight(self, base_layer: LinearFace) -> np.ndarray:
        """By how much it changes the base's weight: s B A, less what A and B started with.    (out, in)"""
        return self.update() if self.start is None else self.dense_weight(base_layer) - base_layer.dense_weight()
