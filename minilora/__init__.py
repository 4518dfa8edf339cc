"""minilora: LoRA and QLoRA from scratch in NumPy, every gradient by hand, every bit accounted for.

The public names, on one screen. Importing this loads numpy only.
"""

from minilora.analysis.gradcheck import gradcheck
from minilora.assets import load_base
from minilora.nn import Llama, LlamaConfig, generate
from minilora.training import AdamW, Trainer, TrainingConfig

__version__ = "0.1.0"
__all__ = ["AdamW", "Llama", "LlamaConfig", "Trainer", "TrainingConfig", "generate", "gradcheck", "load_base"]
