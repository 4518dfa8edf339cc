"""GGUF's number formats: blocks of 32 or 256 values that share a scale, and how each becomes float32 again.

The commonest are decoded here, in pieces that stay in the cache and bit for bit as the gguf library does; the K-quants
by the library itself. Formats: ggml-common.h of llama.cpp.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minilora.interop.extras import need
from minilora.interop.tensors import bfloat16, plain
from minilora.quant import QuantizedTensor
from minilora.quant.affine import AFFINE
from minilora.quant.blockwise import pack

BLOCK = 32  # values per block of Q4_0, Q4_1 and Q8_0
PIECE = 2**11  # blocks decoded at a time: 64 k values, which fit the L2 cache


class Format(NamedTuple):
    """A number format: `block` values take `nbytes` bytes."""

    name: str
    block: int
    nbytes: int


# By GGUF's number of the type; numbers that are missing were given up.
FORMATS = {
    0: Format("F32", 1, 4),
    1: Format("F16", 1, 2),
    2: Format("Q4_0", 32, 18),
    3: Format("Q4_1", 32, 20),
    6: Format("Q5_0", 32, 22),
    7: Format("Q5_1", 32, 24),
    8: Format("Q8_0", 32, 34),
    9: Format("Q8_1", 32, 36),
    10: Format("Q2_K", 256, 84),
    11: Format("Q3_K", 256, 110),
    12: Format("Q4_K", 256, 144),
    13: Format("Q5_K", 256, 176),
    14: Format("Q6_K", 256, 210),
    15: Format("Q8_K", 256, 292),
    16: Format("IQ2_XXS", 256, 66),
    17: Format("IQ2_XS", 256, 74),
    18: Format("IQ3_XXS", 256, 98),
    19: Format("IQ1_S", 256, 50),
    20: Format("IQ4_NL", 32, 18),
    21: Format("IQ3_S", 256, 110),
    22: Format("IQ2_S", 256, 82),
    23: Format("IQ4_XS", 256, 136),
    24: Format("I8", 1, 1),
    25: Format("I16", 1, 2),
    26: Format("I32", 1, 4),
    27: Format("I64", 1, 8),
    28: Format("F64", 1, 8),
    29: Format("IQ1_M", 256, 56),
    30: Format("BF16", 1, 2),
    34: Format("TQ1_0", 256, 54),
    35: Format("TQ2_0", 256, 66),
    39: Format("MXFP4", 32, 17),
    40: Format("NVFP4", 64, 36),
    41: Format("Q1_0", 128, 18),
}


def q4_0(raw: np.ndarray) -> np.ndarray:
    """value = d (code - 8).    a block: d (float16), 16 bytes: byte j holds codes j (low half) and j + 16 (high)"""

    def decode(blocks, out):
        d = _half(blocks[:, 0:2])
        codes = _nibbles(blocks[:, 2:], out)
        codes -= 8
        codes *= d

    return _by_blocks(raw, 18, decode)


def q4_1(raw: np.ndarray) -> np.ndarray:
    """value = d code + m.    a block: d, m (float16), 16 bytes as in Q4_0"""

    def decode(blocks, out):
        d, m = _half(blocks[:, 0:2]), _half(blocks[:, 2:4])
        codes = _nibbles(blocks[:, 4:], out)
        codes *= d
        codes += m

    return _by_blocks(raw, 20, decode)


def q8_0(raw: np.ndarray) -> np.ndarray:
    """value = d code.    a block: d (float16), 32 codes (int8)"""

    def decode(blocks, out):
        np.multiply(blocks[:, 2:].view(np.int8), _half(blocks[:, 0:2]), out=out, casting="unsafe")

    return _by_blocks(raw, 34, decode)


def through_library(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """A decoder of the gguf library: the K-quants and related formats."""

    def decode(raw):
        gguf = need("gguf", f"decoding {name}")
        kind = gguf.GGMLQuantizationType[name]
        nbytes = gguf.GGML_QUANT_SIZES[kind][1]
        return gguf.quants.dequantize(raw.reshape(-1, nbytes), kind).reshape(-1)

    return decode


DECODERS = {
    "F32": plain("<f4"),
    "F16": plain("<f2"),
    "F64": plain("<f8"),
    "BF16": bfloat16,
    "I8": plain("i1"),
    "I16": plain("<i2"),
    "I32": plain("<i4"),
    "I64": plain("<i8"),
    "Q4_0": q4_0,
    "Q4_1": q4_1,
    "Q8_0": q8_0,
} | {name: through_library(name) for name in ("Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")}


def affine_from_q4_1(raw: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> QuantizedTensor:
    """Q4_1 is affine int4 in blocks of 32: the same codes in another order, span = 15 d (exact in float32), minimum = m.

    Its values are those of `q4_1` but for the last bits, as code / 15 is rounded before it meets the span.
    raw: (20 n / 32,) uint8
    """
    blocks = raw.reshape(-1, 20)
    codes = np.empty((len(blocks), BLOCK), np.uint8)
    np.bitwise_and(blocks[:, 4:], 15, out=codes[:, :16])
    np.right_shift(blocks[:, 4:], 4, out=codes[:, 16:])
    with np.errstate(all="ignore"):  # as in FileTensor.read
        spans = _half(blocks[:, 0:2])[:, 0] * np.float32(15)
    minima = _half(blocks[:, 2:4])[:, 0]
    return QuantizedTensor(pack(codes.reshape(-1), 4), spans, shape, np.dtype(dtype), AFFINE, BLOCK, minima)


def _by_blocks(raw, nbytes, decode):
    """decode(blocks, out) over pieces of all blocks.    raw: (n * nbytes,) uint8 -> (n * 32,) float32"""
    blocks = raw.reshape(-1, nbytes)
    out = np.empty((len(blocks), BLOCK), np.float32)
    for start in range(0, len(blocks), PIECE):
        decode(blocks[start : start + PIECE], out[start : start + PIECE])
    return out.reshape(-1)


def _half(two_bytes):
    """(n, 2) uint8 -> (n, 1) float32, from float16."""
    return np.ascontiguousarray(two_bytes).view("<f2").astype(np.float32)


def _nibbles(packed, out):
    """Codes as floats into `out`: the low halves of the bytes, then the high ones.    (n, 16) uint8 -> (n, 32) float32"""
    np.bitwise_and(packed, 15, out=out[:, :16], casting="unsafe")
    np.right_shift(packed, 4, out=out[:, 16:], casting="unsafe")
    return out
