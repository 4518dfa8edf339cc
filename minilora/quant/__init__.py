"""Numbers in four bits. Knows nothing of transformers: arrays in, arrays out."""

from minilora.quant.abnormal import abnormal_float
from minilora.quant.codebooks import Codebook, codebook, get_codebook, normal_float
from minilora.quant.double import QuantizedScales, quantize_scales, scale_map
from minilora.quant.tensor import QuantizedTensor, quantize, storage_bytes

__all__ = [
    "Codebook",
    "QuantizedScales",
    "QuantizedTensor",
    "abnormal_float",
    "codebook",
    "get_codebook",
    "normal_float",
    "quantize",
    "quantize_scales",
    "scale_map",
    "storage_bytes",
]
