"""minilora: LoRA and QLoRA from scratch in NumPy, every gradient by hand, every bit accounted for.

The public names, on one screen. Importing this loads numpy only.
"""

from minilora.adapters import (
    BottleneckConfig,
    LoraConfig,
    PrefixConfig,
    PromptConfig,
    apply_bottleneck,
    apply_lora,
    apply_prefix,
    apply_prompt,
    combine_adapters,
    delete_adapter,
    disable_adapters,
    load_adapter,
    merge_lora,
    quantize_linears,
    save_adapter,
    scale_adapter,
    set_adapter,
    unmerge_lora,
)
from minilora.analysis.gradcheck import gradcheck
from minilora.assets import load_base
from minilora.nn import Llama, LlamaConfig, generate, stream
from minilora.quant import QuantizedTensor, codebook, quantize
from minilora.training import AdamW, Trainer, TrainingConfig

__version__ = "0.1.0"
__all__ = [
    "AdamW",
    "BottleneckConfig",
    "Llama",
    "LlamaConfig",
    "LoraConfig",
    "PrefixConfig",
    "PromptConfig",
    "QuantizedTensor",
    "Trainer",
    "TrainingConfig",
    "apply_bottleneck",
    "apply_lora",
    "apply_prefix",
    "apply_prompt",
    "codebook",
    "combine_adapters",
    "delete_adapter",
    "disable_adapters",
    "generate",
    "gradcheck",
    "load_adapter",
    "load_base",
    "merge_lora",
    "quantize",
    "quantize_linears",
    "save_adapter",
    "scale_adapter",
    "set_adapter",
    "stream",
    "unmerge_lora",
]
