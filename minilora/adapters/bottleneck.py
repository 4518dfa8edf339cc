"""Bottleneck adapters: a small MLP behind each attention and each MLP, around which nothing changes at first.

Houlsby et al. 2019 (arXiv 1902.00751), figure 2; after the MLP alone it is Pfeiffer et al. 2021 (arXiv 2005.00247).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from minilora import checks
from minilora.adapters.adapter import AdapterLayer, AdapterPart
from minilora.adapters.surgery import check_new_adapter, put_on
from minilora.adapters.targets import ends_in
from minilora.nn import ops
from minilora.nn.llama import Llama
from minilora.nn.module import Module, Parameter, PendingParameter


@dataclass(frozen=True)
class BottleneckConfig:
    """`bottleneck_size`: m, the width between the two matrices. `target_modules`: behind which layers, by the ends of their
    paths: attention and MLP (Houlsby), or ("mlp",) alone (Pfeiffer). Raises ValueError or TypeError for a setting out
    of range."""

    bottleneck_size: int = 16
    target_modules: tuple[str, ...] = ("self_attn", "mlp")

    def __post_init__(self):
        keep = partial(object.__setattr__, self)
        keep("bottleneck_size", checks.integer("bottleneck_size", self.bottleneck_size, low=1, hint="try 16"))
        names = checks.strings("target_modules", self.target_modules, hint="try ('self_attn', 'mlp')")
        if not names:
            raise ValueError("target_modules must name a layer, got (); try ('self_attn', 'mlp')")
        keep("target_modules", names)


class Bottleneck(AdapterPart):
    """y = a + s (silu(a Dᵀ + b) Uᵀ + c), where a is what the layer gives.    a, y: (..., D)   down: (m, D)   up: (D, m)

    `up` and its bias start at zero, so that at first y = a, bit for bit. s is 1 unless `scale_adapter` changed it.
    """

    def __init__(
        self, config: BottleneckConfig, down: Parameter, down_bias: Parameter, up: Parameter, up_bias: Parameter
    ):
        super().__init__(config)
        self.down, self.down_bias = down, down_bias
        self.up, self.up_bias = up, up_bias
        self.factor = 1.0

    def __call__(self, base_layer: Module, x: np.ndarray, **kwargs: Any) -> tuple[np.ndarray, Callable]:
        a, base_backward = base_layer(x, **kwargs)
        s = self.factor
        h, down_backward = ops.linear(a, self.down.value)  # (..., D) -> (..., m)
        h += self.down_bias.value
        z, silu_backward = ops.silu(h)
        u, up_backward = ops.linear(z, self.up.value)  # (..., m) -> (..., D)
        y = a + s * (u + self.up_bias.value)

        def backward(dy):
            # y = a + s (u + c)     =>  du = s dy,   dc = sum du
            du = s * dy
            self.up_bias.accumulate(_over_rows(du))
            # u = z Uᵀ
            dz, dup = up_backward(du)
            self.up.accumulate(dup)
            # z = silu(h), h = a Dᵀ + b
            dh = silu_backward(dz)
            self.down_bias.accumulate(_over_rows(dh))
            da, ddown = down_backward(dh)
            self.down.accumulate(ddown)
            # a goes into the bottleneck and around it   =>  da is the sum of both
            da += dy
            return base_backward(da)

        return y, backward


class BottleneckLayer(AdapterLayer):
    """An attention or an MLP with a bottleneck behind it; `Bottleneck.__call__` is the math."""

    why_not_merged = "between its two matrices stands a nonlinearity, so no weight acts as they do"


def bottleneck_parts(model: Llama, config: BottleneckConfig, rng: np.random.Generator | None) -> dict[str, Bottleneck]:
    """The bottleneck behind each target by path, drawn, or a skeleton without `rng`. Changes nothing."""
    checks.instance("model", model, Llama)
    D, m = model.config.hidden_size, config.bottleneck_size
    blocks = [f"layers.{i}.{name}" for i in range(len(model.layers)) for name in ("self_attn", "mlp")]
    unknown = [name for name in config.target_modules if not any(ends_in(path, name) for path in blocks)]
    if unknown:
        raise ValueError(
            f"target_modules must name attention or MLP layers, got {unknown}; there are {', '.join(blocks)}"
        )
    shapes = (m, D), (m,), (D, m), (D,)
    parts = {}
    for path in blocks:
        if any(ends_in(path, name) for name in config.target_modules):
            if rng is None:
                parameters = [PendingParameter(shape, model.dtype) for shape in shapes]
            else:
                parameters = [Parameter(np.zeros(shape, model.dtype)) for shape in shapes]
                parameters[0].fill((rng.uniform(-1, 1, (m, D)) / math.sqrt(D)).astype(model.dtype))
            parts[path] = Bottleneck(config, *parameters)
    return parts


def apply_bottleneck(
    model: Llama, config: BottleneckConfig, *, rng: np.random.Generator, adapter_name: str = "default"
) -> list[str]:
    """Freeze `model` and put a bottleneck behind the target layers, in place: 2 m D + m + D parameters each; returns paths.

    At first the model acts as before, bit for bit. Raises ValueError for unknown targets, a name in use or a merged
    model, before anything is changed.
    """
    checks.instance("config", config, BottleneckConfig)
    checks.generator("rng", rng)
    check_new_adapter(model, adapter_name)
    return put_on(model, adapter_name, bottleneck_parts(model, config, rng), BottleneckLayer)


def _over_rows(gradient):
    """(..., n) -> (n,): the gradient of a bias, which every row shares."""
    return gradient.reshape(-1, gradient.shape[-1]).sum(axis=0)
