"""Other people's files: Hugging Face folders, PEFT adapters, bitsandbytes' state dicts, GGUF; in and out.

What reads them needs the extra `hf` (safetensors, tokenizers, gguf); each says so where it is missing.
"""

from minilora.interop.huggingface import load_llama, save_llama
from minilora.interop.tensors import FileTensor, LazyTensor, TensorFile, TensorSource

__all__ = [
    "FileTensor",
    "LazyTensor",
    "TensorFile",
    "TensorSource",
    "load_llama",
    "save_llama",
]
