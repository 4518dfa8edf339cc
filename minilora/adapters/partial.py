"""Full and partial fine-tuning as adapters: chosen weights are trained, on copies, and the base keeps its own.

So they are switched, disabled, saved and loaded as every other adapter is. That costs the chosen weights a second time;
`unfreeze` trains the base itself, without a way back.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from minilora import checks
from minilora.adapters.adapter import AdapterLayer, AdapterPart, bare, plain
from minilora.adapters.surgery import check_new_adapter, put_on
from minilora.adapters.targets import match_targets
from minilora.nn.layers import Embedding, Linear, LinearFace, RMSNorm
from minilora.nn.llama import Llama
from minilora.nn.module import Module, Parameter, PendingParameter

WHOLE = (Linear, RMSNorm, Embedding)  # layers that are one weight


@dataclass(frozen=True)
class PartialConfig:
    """`last_blocks`: train the last so many blocks. `norms`: train every norm's gain. At least one of the two.

    Raises ValueError or TypeError for a setting out of range.
    """

    last_blocks: int = 1
    norms: bool = False

    def __post_init__(self):
        keep = partial(object.__setattr__, self)
        keep("last_blocks", checks.integer("last_blocks", self.last_blocks, low=0))
        keep("norms", checks.boolean("norms", self.norms))
        if not self.last_blocks and not self.norms:
            raise ValueError("last_blocks must be at least 1 without norms, got 0; nothing would be trained")


@dataclass(frozen=True)
class FullConfig:
    """`target_modules`: None trains every weight; else only those linear layers (see `match_targets`), as LoRA would.

    Raises TypeError for anything else.
    """

    target_modules: str | tuple[str, ...] | None = None

    def __post_init__(self):
        targets = self.target_modules
        if targets is not None and not isinstance(targets, str):
            targets = checks.strings("target_modules", targets, hint="try None or 'all-linear'")
        object.__setattr__(self, "target_modules", targets)


class OwnWeight(AdapterPart):
    """A weight of the adapter's own, which the layer uses instead of its base's. At first it is a copy."""

    def __init__(self, config: Any, weight: Parameter, layer: Module):
        super().__init__(config)
        self.weight = weight
        self.layer_class = OwnLinear if isinstance(layer, LinearFace) else OwnLayer

    def acting_for(self, base_layer: Module) -> Module:
        """The base layer, but with this weight."""
        layer = copy.copy(bare(base_layer))
        layer.weight = self.weight
        return layer

    def __call__(self, base_layer: Module, x: np.ndarray, **kwargs: Any) -> tuple[np.ndarray, Callable]:
        return self.acting_for(base_layer)(x, **kwargs)


class OwnLayer(AdapterLayer):
    """A norm or an embedding whose weight each adapter replaces by one of its own."""

    @property
    def weight(self) -> Parameter:
        """The weight that acts: a tied head uses the embedding's."""
        return self.base_layer.weight if self.acting is None else self.acting.weight

    def merged(self) -> Module:
        layer = copy.copy(bare(self.base_layer))
        layer.weight = Parameter(self.weight.value.copy(), trainable=False)
        return layer


class OwnLinear(OwnLayer, LinearFace):
    """A linear layer whose weight each adapter replaces by one of its own."""

    @property
    def weight_shape(self) -> tuple[int, int]:
        return self.base_layer.weight_shape

    @property
    def dtype(self) -> np.dtype:
        return self.base_layer.dtype

    def dense_weight(self) -> np.ndarray:
        """The weight that acts: not a copy where it is dense.    (out, in)"""
        return self.base_layer.dense_weight() if self.acting is None else self.acting.weight.value


def own_weights(model: Module, config: Any, paths: Iterable[str], *, copied: bool = True) -> dict[str, OwnWeight]:
    """A part for each path (in the bare model) of a norm, an embedding or a dense linear layer: with a copy of its weight, or
    still to be filled, which takes no memory. ValueError where the weight is quantized."""

    def weight(own: Parameter) -> Parameter:
        return Parameter(own.value.copy()) if copied else PendingParameter(own.shape, own.dtype)

    layers = dense_layers(model, paths)
    return {path: OwnWeight(config, weight(layer.weight), layer) for path, layer in layers.items()}


def dense_layers(model: Module, paths: Iterable[str]) -> dict[str, Module]:
    """The bare layers at these paths of the bare model, by their paths as wrapped. ValueError for a quantized one."""
    paths, layers = set(paths), {}
    for path, layer in whole_layers(model).items():
        if plain(path) in paths:
            layers[path] = bare(layer)
            if not isinstance(bare(layer), WHOLE):
                raise ValueError(
                    f"{plain(path)} must be dense to be trained whole, got a {type(bare(layer)).__name__}; put LoRA beside it, "
                    "or leave the model dense"
                )
    return layers


def whole_layers(model: Module) -> dict[str, Module]:
    """Every layer that is one weight, dense or quantized, by its path: the outermost wrapper around it."""
    layers: dict[str, Module] = {}
    for path, module in model.named_modules():
        within = any(path.startswith(outer + ".") for outer in layers)
        if not within and isinstance(bare(module), (*WHOLE, LinearFace)):
            layers[path] = module
    return layers


def chosen(model: Llama, *, last_blocks: int = 0, norms: bool = False) -> list[str]:
    """The paths, in the bare model, of the last so many blocks' layers and of all norms. ValueError for too many blocks."""
    L = len(checks.instance("model", model, Llama).layers)
    checks.integer("last_blocks", last_blocks, low=0, high=L, hint=f"the model has {L} blocks")
    blocks = tuple(f"layers.{i}." for i in range(L - last_blocks, L))
    return [
        plain(path)
        for path, layer in whole_layers(model).items()
        if path.startswith(blocks) or (norms and isinstance(bare(layer), RMSNorm))
    ]


def partial_parts(
    model: Llama, config: PartialConfig, rng: object = None, *, copied: bool = False
) -> dict[str, OwnWeight]:
    """A part for each chosen weight by path, a copy, or to be filled. Nothing is drawn. Changes nothing."""
    paths = chosen(model, last_blocks=config.last_blocks, norms=config.norms)
    return own_weights(model, config, paths, copied=copied)


def full_parts(model: Module, config: FullConfig, rng: object = None, *, copied: bool = False) -> dict[str, OwnWeight]:
    """A part for each weight, or for each target's, by path, a copy, or to be filled. Nothing is drawn. Changes nothing."""
    layers = whole_layers(model) if config.target_modules is None else match_targets(model, config.target_modules)
    return own_weights(model, config, map(plain, layers), copied=copied)


def apply_partial(
    model: Llama,
    config: PartialConfig,
    *,
    rng: np.random.Generator | None = None,
    adapter_name: str = "default",
) -> list[str]:
    """Freeze `model` and train copies of the last blocks' weights, of the norms, or of both; returns their paths.

    At first the model acts as before, bit for bit. `rng` is not needed. Raises ValueError for more blocks than there are,
    quantized weights, a name in use or a merged model, before anything is changed. With LoRA: `modules_to_save` in its
    config.
    """
    checks.instance("config", config, PartialConfig)
    checks.optional_generator("rng", rng)
    check_new_adapter(model, adapter_name)
    return put_on(model, adapter_name, partial_parts(model, config, copied=True), OwnLayer)


def apply_full(
    model: Module, config: FullConfig, *, rng: np.random.Generator | None = None, adapter_name: str = "default"
) -> list[str]:
    """Train copies of all weights of `model`, or of the target linear layers; returns their paths.

    At first the model acts as before, bit for bit. `rng` is not needed. Raises ValueError for unknown targets, quantized
    weights, a name in use or a merged model, before anything is changed.
    """
    checks.instance("config", config, FullConfig)
    checks.optional_generator("rng", rng)
    check_new_adapter(model, adapter_name)
    return put_on(model, adapter_name, full_parts(model, config, copied=True), OwnLayer)


def unfreeze(model: Llama, *, last_blocks: int = 0, norms: bool = False) -> list[str]:
    """Let the weights of the last so many blocks, or all norms, of the base itself be trained; returns their paths.

    For training beside an adapter that is on already, or alone (after `freeze(model)`). The base then changes: adapters
    trained on it before no longer fit, and `save_adapter` does not hold what is learned here. ValueError for a quantized
    weight.
    """
    norms = checks.boolean("norms", norms)
    layers = dense_layers(model, chosen(model, last_blocks=last_blocks, norms=norms))
    for layer in layers.values():
        layer.weight.trainable = True
    return [plain(path) for path in layers]


def named(model: Module, names: Sequence[str]) -> list[str]:
    """The paths, in the bare model, of whole layers that are one of `names`, end in one, or lie below one ("layers.3",
    "norm", "mlp"). ValueError for a name without any."""
    paths = [plain(path) for path in whole_layers(model)]

    def below(path, name):
        return f".{name}." in f".{path}."

    unknown = [name for name in names if not any(below(path, name) for path in paths)]
    if unknown:
        raise ValueError(f"modules_to_save must name layers of the model, got {unknown}; there are {', '.join(paths)}")
    return [path for path in paths if any(below(path, name) for name in names)]
