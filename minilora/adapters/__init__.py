"""What is trained instead of the weights. Each adapter wraps a layer; none edits one."""

from minilora.adapters.adapter import Adapter, active_adapter, adapter_layers, adapter_names, get_adapter
from minilora.adapters.bottleneck import Bottleneck, BottleneckConfig, apply_bottleneck
from minilora.adapters.combine import combine_adapters
from minilora.adapters.lora import LoRA, LoraConfig
from minilora.adapters.lora_linear import LoRALinear, apply_lora, lora_layers
from minilora.adapters.merging import MergedLinear, merge_lora, unmerge_lora
from minilora.adapters.methods import METHODS, Method
from minilora.adapters.partial import FullConfig, PartialConfig, apply_full, apply_partial, unfreeze
from minilora.adapters.prefix import PrefixConfig, PrefixPart, apply_prefix
from minilora.adapters.prompt import Prompt, PromptConfig, apply_prompt
from minilora.adapters.quantized import QuantizedLinear, quantize_linears
from minilora.adapters.residual import LoftQConfig
from minilora.adapters.state import (
    AdapterFile,
    adapter_state,
    base_fingerprint,
    load_adapter,
    read_adapter,
    save_adapter,
)
from minilora.adapters.surgery import (
    count_parameters,
    delete_adapter,
    disable_adapters,
    freeze,
    scale_adapter,
    set_adapter,
)
from minilora.adapters.targets import linear_paths, match_targets
from minilora.adapters.variants import DoRA

__all__ = [
    "METHODS",
    "Adapter",
    "AdapterFile",
    "Bottleneck",
    "BottleneckConfig",
    "DoRA",
    "FullConfig",
    "LoRA",
    "LoRALinear",
    "LoftQConfig",
    "LoraConfig",
    "MergedLinear",
    "Method",
    "PartialConfig",
    "PrefixConfig",
    "PrefixPart",
    "Prompt",
    "PromptConfig",
    "QuantizedLinear",
    "active_adapter",
    "adapter_layers",
    "adapter_names",
    "adapter_state",
    "apply_bottleneck",
    "apply_full",
    "apply_lora",
    "apply_partial",
    "apply_prefix",
    "apply_prompt",
    "base_fingerprint",
    "combine_adapters",
    "count_parameters",
    "delete_adapter",
    "disable_adapters",
    "freeze",
    "get_adapter",
    "linear_paths",
    "load_adapter",
    "lora_layers",
    "match_targets",
    "merge_lora",
    "quantize_linears",
    "read_adapter",
    "save_adapter",
    "scale_adapter",
    "set_adapter",
    "unfreeze",
    "unmerge_lora",
]
