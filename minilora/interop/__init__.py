"""Other people's files: Hugging Face folders, PEFT adapters, bitsandbytes' state dicts, GGUF; in and out.

What reads them needs the extra `hf` (safetensors, tokenizers, gguf); each says so where it is missing.
"""

from minilora.interop.bitsandbytes import from_bitsandbytes, to_bitsandbytes
from minilora.interop.gguf import GGUFFile
from minilora.interop.gguf_llama import load_gguf
from minilora.interop.huggingface import load_llama, save_llama
from minilora.interop.model import ForeignModel, is_foreign, load_foreign
from minilora.interop.peft import load_peft_adapter, save_peft_adapter
from minilora.interop.safetensors import SafetensorsFile
from minilora.interop.tensors import FileTensor, LazyTensor, TensorFile, TensorSource
from minilora.interop.tokenizer import FileTokenizer, load_tokenizer

__all__ = [
    "FileTensor",
    "FileTokenizer",
    "GGUFFile",
    "LazyTensor",
    "SafetensorsFile",
    "TensorFile",
    "TensorSource",
    "ForeignModel",
    "from_bitsandbytes",
    "is_foreign",
    "load_foreign",
    "load_gguf",
    "load_llama",
    "load_peft_adapter",
    "load_tokenizer",
    "save_llama",
    "save_peft_adapter",
    "to_bitsandbytes",
]
