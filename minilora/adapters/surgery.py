"""Putting LoRA on a model from outside, merging it, switching it."""

import contextlib
from collections.abc import Iterator

import numpy as np

from minilora import checks
from minilora.adapters.lora import LoraConfig, LoRALinear
from minilora.adapters.targets import ends_in, match_targets
from minilora.nn.layers import Linear
from minilora.nn.llama import Llama


def freeze(model: Llama) -> None:
    """Make every parameter of `model` frozen: it ignores gradients, and no dW is computed for it."""
    for parameter in model.parameters():
        parameter.trainable = False


def apply_lora(
    model: Llama, config: LoraConfig, *, rng: np.random.Generator, adapter_name: str = "default"
) -> list[str]:
    """Freeze `model` and wrap the target layers in LoRALinear, in place; returns their paths.

    At first the model acts as before, bit for bit, for B is zero. A second call with another `adapter_name` adds a
    second adapter to the same base. Raises ValueError for targets that match nothing, a rank larger than a matrix or a
    name in use, before anything is changed.
    """
    if not isinstance(config, LoraConfig):
        raise TypeError(f"config must be a LoraConfig, got {checks.shown(config)}")
    checks.generator("rng", rng)
    layers = match_targets(model, config.target_modules)
    ranks = {path: pattern_value(config.rank_pattern, path, config.r) for path in layers}
    for path, layer in layers.items():
        if ranks[path] > min(layer.in_features, layer.out_features):
            raise ValueError(
                f"r must be at most {min(layer.in_features, layer.out_features)} for {path} of shape "
                f"({layer.out_features}, {layer.in_features}), got {ranks[path]}"
            )
    if any(adapter_name in layer.adapters for layer in lora_layers(model).values()):
        raise ValueError(f"adapter_name must be new, got {adapter_name!r}; the model has an adapter of that name")
    freeze(model)
    for path, layer in layers.items():
        if not isinstance(layer, LoRALinear):
            layer = LoRALinear(layer)
            model.set_submodule(path, layer)
        alpha = pattern_value(config.alpha_pattern, path, config.lora_alpha)
        layer.add_adapter(adapter_name, ranks[path], alpha, config, rng=rng, dtype=model.dtype)
    for layer in lora_layers(model).values():
        layer.set_adapter(adapter_name if adapter_name in layer.adapters else None)
    return list(layers)


def lora_layers(model: Llama) -> dict[str, LoRALinear]:
    """Every LoRALinear by its path."""
    return {path: module for path, module in model.named_modules() if isinstance(module, LoRALinear)}


class MergedLinear(Linear):
    """A dense layer that remembers the LoRALinear it was merged from, so that unmerging is exact."""

    @classmethod
    def of(cls, layer: LoRALinear) -> "MergedLinear":
        merged = cls.from_weight(layer.merged().weight.value, trainable=False)
        merged.origin = (layer,)  # in a tuple: not a child, so no path leads to it
        return merged


def merge_lora(model: Llama, *, keep_unmerged: bool = True) -> list[str]:
    """Replace each LoRALinear by one dense layer W + s B A, in place; returns the paths. No latency is left.

    `keep_unmerged`: remember the LoRALinear for `unmerge_lora` (its memory stays); False forgets it. A 4-bit base
    becomes dense and exact; quantizing the result again is lossy and up to the caller (`quantize_linears`).
    """
    checks.boolean("keep_unmerged", keep_unmerged)
    layers = some_lora(model)
    for path, layer in layers.items():
        model.set_submodule(path, MergedLinear.of(layer) if keep_unmerged else layer.merged())
    return list(layers)


def unmerge_lora(model: Llama) -> list[str]:
    """Put back what `merge_lora` replaced, bit for bit; returns the paths.

    (PEFT subtracts s B A from the merged weight instead, which does not restore W bit for bit.)
    """
    merged = {path: module for path, module in model.named_modules() if isinstance(module, MergedLinear)}
    if not merged:
        raise ValueError("model must hold merged layers, got none; merge_lora(model) makes them")
    for path, layer in merged.items():
        model.set_submodule(path, layer.origin[0])
    return list(merged)


def set_adapter(model: Llama, adapter_name: str) -> None:
    """Switch the whole model to one adapter: layers that do not have it act as their base."""
    layers = some_lora(model)
    names = sorted({name for layer in layers.values() for name in layer.adapters})
    checks.one_of("adapter_name", adapter_name, names)
    for layer in layers.values():
        layer.set_adapter(adapter_name if adapter_name in layer.adapters else None)


@contextlib.contextmanager
def disable_adapters(model: Llama) -> Iterator[Llama]:
    """`with disable_adapters(model): ...`: inside, the base acts alone, bit for bit."""
    layers = some_lora(model).values()
    before = [layer.active for layer in layers]
    for layer in layers:
        layer.set_adapter(None)
    try:
        yield model
    finally:
        for layer, name in zip(layers, before, strict=True):
            layer.set_adapter(name)


def count_parameters(model: Llama) -> tuple[int, int]:
    """(trainable, all) parameters; weights in four bits are no parameters and are not counted."""
    parameters = list(model.parameters())
    return sum(p.size for p in parameters if p.trainable), sum(p.size for p in parameters)


def some_lora(model: Llama) -> dict[str, LoRALinear]:
    """`lora_layers`, or ValueError if there are none."""
    layers = lora_layers(model)
    if not layers:
        raise ValueError("model must have LoRA layers, got none; apply_lora(model, ...) puts them on")
    return layers


def pattern_value(pattern, path, default):
    """What `rank_pattern` or `alpha_pattern` says for a path, or the default."""
    return next((value for key, value in pattern.items() if ends_in(path, key)), default)
