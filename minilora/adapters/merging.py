"""Merging: an adapter becomes part of the weight, so that nothing is left of it but the sum."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minilora import checks
from minilora.adapters.adapter import AdapterLayer, adapter_layers
from minilora.nn.layers import PENDING, Linear, LinearFace
from minilora.nn.module import Module, Parameter


class MergedLinear(Linear):
    """A dense layer that remembers the layer it was merged from, `origin`, so that unmerging is exact."""

    def __init__(self, origin: AdapterLayer):
        merged = origin.merged()
        super().__init__(merged.in_features, merged.out_features, rng=PENDING, dtype=merged.dtype)
        self.weight = merged.weight
        self.origin = origin

    def named_children(self) -> Iterator[tuple[str, Parameter]]:
        yield "weight", self.weight  # the origin is kept, but it is not part of the model


class MergedLayer(Module):
    """The same for a norm or an embedding with a weight of the adapter's own."""

    def __init__(self, origin: AdapterLayer):
        self.layer = origin.merged()
        self.origin = origin

    def named_children(self) -> Iterator[tuple[str, Parameter]]:
        yield from self.layer.named_children()

    @property
    def weight(self) -> Parameter:
        return self.layer.weight

    def __call__(self, x: np.ndarray, **kwargs: Any) -> tuple[np.ndarray, Callable]:
        return self.layer(x, **kwargs)


def merge_lora(model: Module, *, keep_unmerged: bool = True) -> list[str]:
    """Replace each layer where an adapter acts by one dense layer (W + s B A for LoRA), in place; returns the paths.

    `keep_unmerged`: remember what was replaced, for `unmerge_lora` (its memory stays, and until then adapters can neither
    be added nor switched). False forgets it, and every other adapter of the model, too: a plain model is left.
    A 4-bit base becomes dense and exact; quantizing the result again is lossy and up to the caller (`quantize_linears`).
    Raises ValueError, before anything is changed, where no adapter is active or the model is merged already, and for
    methods that no weight can express (bottleneck, prefix and prompt).
    """
    keep_unmerged = checks.boolean("keep_unmerged", keep_unmerged)
    refuse_merged(model)
    layers = adapter_layers(model)
    if not layers:
        raise ValueError("model must have an adapter, got none; apply_lora(model, ...) puts one on")
    acting = [path for path, layer in layers.items() if layer.acting is not None]
    if not acting:
        raise ValueError("model must have an active adapter to merge, got none; set_adapter(model, name) first")
    merged = {path: _kept(layers[path]) if keep_unmerged else layers[path].merged() for path in acting}
    for path in sorted(layers, key=len, reverse=True):  # a layer within a wrapper before the wrapper
        if path in merged:
            model.set_submodule(path, merged[path])
        elif not keep_unmerged:
            layers[path].take_off(model, path)
    return acting


MERGED = (MergedLinear, MergedLayer)


def _kept(layer):
    return MergedLinear(layer) if isinstance(layer, LinearFace) else MergedLayer(layer)


def unmerge_lora(model: Module) -> list[str]:
    """Put back what `merge_lora` replaced, bit for bit; returns the paths.

    (PEFT subtracts s B A from the merged weight instead, which does not restore W bit for bit.) ValueError where
    nothing is merged.
    """
    layers = merged_layers(model)
    if not layers:
        raise ValueError("model must hold merged layers, got none; merge_lora(model) makes them")
    for path, layer in layers.items():
        model.set_submodule(path, layer.origin)
    return list(layers)


def merged_layers(model: Module) -> dict[str, MergedLinear | MergedLayer]:
    """Every merged layer by its path. TypeError unless `model` is a Module."""
    checks.instance("model", model, Module, hint="pass a Llama, or any Module with linear layers")
    return {path: module for path, module in model.named_modules() if isinstance(module, MERGED)}


def refuse_merged(model: Module) -> None:
    """ValueError if `model` is merged: an adapter put on now would be trained on top of another one, unseen."""
    layers = merged_layers(model)
    if layers:
        raise ValueError(
            f"model must not be merged, got {len(layers)} merged layers ({next(iter(layers))}, ...); call "
            "unmerge_lora(model) first, or make the merge final with merge_lora(model, keep_unmerged=False)"
        )
