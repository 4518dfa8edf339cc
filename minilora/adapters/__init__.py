"""What is trained instead of the weights. Each adapter wraps a layer; none edits one."""

from minilora.adapters.lora import LoraConfig, LoRALinear
from minilora.adapters.quantized import QuantizedLinear, quantize_linears
from minilora.adapters.state import adapter_state, load_adapter, save_adapter
from minilora.adapters.surgery import (
    apply_lora,
    count_parameters,
    disable_adapters,
    freeze,
    lora_layers,
    merge_lora,
    set_adapter,
    unmerge_lora,
)
from minilora.adapters.targets import linear_paths, match_targets

__all__ = [
    "LoRALinear",
    "LoraConfig",
    "QuantizedLinear",
    "adapter_state",
    "apply_lora",
    "count_parameters",
    "disable_adapters",
    "freeze",
    "linear_paths",
    "load_adapter",
    "lora_layers",
    "match_targets",
    "merge_lora",
    "quantize_linears",
    "save_adapter",
    "set_adapter",
    "unmerge_lora",
]
