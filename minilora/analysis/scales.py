"""What the scales of quantized weights cost: counted on a tensor, and by formula for models of Llama's sizes."""

from minilora.analysis.memory import linear_shapes
from minilora.nn.config import LlamaConfig
from minilora.quant import QuantizedTensor


def _llama(hidden_size: int, intermediate_size: int, layers: int, heads: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=32000,
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
    )


# Touvron et al. 2023 (arXiv 2302.13971), table 2; the intermediate sizes are those of the released weights.
LLAMA = {
    "7B": _llama(4096, 11008, 32, 32),
    "13B": _llama(5120, 13824, 40, 40),
    "33B": _llama(6656, 17920, 60, 52),
    "65B": _llama(8192, 22016, 80, 64),
}


def scale_bits(q: QuantizedTensor) -> float:
    """Bits beside the codes per parameter, counted from the stored arrays."""
    return 8 * (q.nbytes - q.packed.nbytes) / q.size


def linear_gigabytes(config: LlamaConfig) -> dict[str, float]:
    """A Llama's linear layers, without embedding and head, in GB of 10^9 bytes.

    "parameters" (a count), "float16", four-bit "codes", and scales for blocks of 64: "single" in float32, "double"
    quantized again to 8 bits in blocks of 256 (Dettmers et al. 2023, section 3).
    """
    shapes = linear_shapes(config)
    parameters = sum(out * n for path, (out, n) in shapes.items() if path != "lm_head")
    bits = {"float16": 16, "codes": 4, "single": 32 / 64, "double": 8 / 64 + 32 / (64 * 256)}
    return {"parameters": parameters} | {name: parameters * b / 8 / 1e9 for name, b in bits.items()}
