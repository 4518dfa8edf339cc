"""Virtual tokens: what is learned stands before the text, and the model itself stays as it is."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minilora.adapters.adapter import AdapterLayer, AdapterPart
from minilora.nn.llama import Llama
from minilora.nn.module import Module
from minilora.nn.past import KVCache

PATH = "forward_from"  # of Llama: where the embedded tokens enter the first block


class ForwardFrom(Module):
    """`Llama.forward_from` as a layer, so that it can be wrapped as any layer is. It owns no parameters."""

    def __init__(self, model: Llama):
        self.model = (model,)  # in a tuple: not a child

    def __call__(self, x: np.ndarray, **kwargs: Any) -> tuple[np.ndarray, Callable]:
        return type(self.model[0]).forward_from(self.model[0], x, **kwargs)


class VirtualPart(AdapterPart):
    """An adapter that takes `num_virtual_tokens` positions before the first token, as in PEFT."""

    @property
    def num_virtual_tokens(self) -> int:
        return self.config.num_virtual_tokens


class VirtualTokens(AdapterLayer):
    """A model's `forward_from`, wrapped: it sees the embedded tokens (B, T, D) before the first block does.

    The logits stay those of the tokens given, (B, T, V). The virtual tokens enter a KV cache once, with the first tokens;
    from then on they are found in it.
    """

    why_not_merged = "virtual tokens are found by attention, and no weight holds them"

    @classmethod
    def put_around(cls, model: Llama, path: str) -> "VirtualTokens":
        layer = cls(ForwardFrom(model))
        model.forward_from = layer  # hides the method of the same name
        return layer

    def take_off(self, model: Llama, path: str) -> None:
        del model.forward_from  # the method is found again

    def set_adapter(self, name: str | None) -> None:
        super().set_adapter(name)
        (model,) = self.base_layer.model
        model.virtual_tokens = 0 if name is None else self.adapters[name].num_virtual_tokens


def in_cache_already(cache: Sequence[KVCache] | None) -> bool:
    """Has an earlier forward put the virtual tokens into this cache?"""
    return cache is not None and cache[0].length > 0


def check_room(model: Llama, num_virtual_tokens: int) -> None:
    """ValueError unless the virtual tokens leave room for a token."""
    limit = model.config.max_position_embeddings
    if num_virtual_tokens >= limit:
        raise ValueError(
            f"num_virtual_tokens must be less than max_position_embeddings = {limit}, got {num_virtual_tokens}; each takes "
            "the position of a token"
        )
