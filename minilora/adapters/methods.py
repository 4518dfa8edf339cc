"""Every method by name: its config, how it is put on, and what a file of it needs. Files and commands look here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minilora.adapters.adapter import AdapterLayer, AdapterPart
from minilora.adapters.bottleneck import BottleneckConfig, BottleneckLayer, apply_bottleneck, bottleneck_parts
from minilora.adapters.lora import LoraConfig
from minilora.adapters.lora_linear import LoRALinear, apply_lora, lora_parts
from minilora.adapters.partial import (
    FullConfig,
    OwnLayer,
    PartialConfig,
    apply_full,
    apply_partial,
    full_parts,
    partial_parts,
)
from minilora.adapters.prefix import PrefixConfig, apply_prefix, prefix_parts
from minilora.adapters.prompt import PromptConfig, apply_prompt, prompt_parts
from minilora.adapters.virtual import VirtualTokens


@dataclass(frozen=True)
class Method:
    """`config`: the class of its configs. `apply(model, config, rng=..., adapter_name=...)` puts it on.

    `parts(model, config, rng)` makes its parts by path without touching the model: drawn, or, where rng is None, still to be
    filled by `InstalledAdapter(name, parts).load_state(arrays)`. `layer` is the class that wraps what stands at those paths.
    """

    name: str
    config: type
    apply: Callable[..., list[str]]
    parts: Callable[..., dict[str, AdapterPart]]
    layer: type[AdapterLayer]


METHODS = {
    method.name: method
    for method in (
        Method("lora", LoraConfig, apply_lora, lora_parts, LoRALinear),
        Method("bottleneck", BottleneckConfig, apply_bottleneck, bottleneck_parts, BottleneckLayer),
        Method("prefix", PrefixConfig, apply_prefix, prefix_parts, VirtualTokens),
        Method("prompt", PromptConfig, apply_prompt, prompt_parts, VirtualTokens),
        Method("partial", PartialConfig, apply_partial, partial_parts, OwnLayer),
        Method("full", FullConfig, apply_full, full_parts, OwnLayer),
    )
}


def method_of(config: Any) -> Method:
    """The method whose config this is. TypeError if it is none."""
    for method in METHODS.values():
        if type(config) is method.config:
            return method
    known = ", ".join(method.config.__name__ for method in METHODS.values())
    raise TypeError(f"config must be one of {known}; got {type(config).__name__}")
