"""The transformer, every gradient by hand. Knows nothing of LoRA or of 4 bits."""

from minilora.nn.checkpointing import CheckpointedBlock, checkpoint_blocks
from minilora.nn.config import LlamaConfig
from minilora.nn.decode import Decoder
from minilora.nn.generate import decoder_for, generate, stream
from minilora.nn.layers import Embedding, Linear, RMSNorm
from minilora.nn.llama import MLP, Attention, Block, Llama
from minilora.nn.module import Constant, Module, Parameter, PendingParameter
from minilora.nn.past import KVCache, Past, Prefix

__all__ = [
    "MLP",
    "Attention",
    "Block",
    "CheckpointedBlock",
    "Constant",
    "Decoder",
    "Embedding",
    "KVCache",
    "Linear",
    "Llama",
    "LlamaConfig",
    "Module",
    "Parameter",
    "Past",
    "PendingParameter",
    "Prefix",
    "RMSNorm",
    "checkpoint_blocks",
    "decoder_for",
    "generate",
    "stream",
]
