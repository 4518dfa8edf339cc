"""QuantizedTensor: packed codes and scales, and every byte of them counted."""

from dataclasses import dataclass

import numpy as np

from minilora import checks
from minilora.quant.affine import dequantize_affine, quantize_affine
from minilora.quant.blockwise import dequantize_blocks, packed_size, quantize_blocks, unpack
from minilora.quant.codebooks import get_codebook
from minilora.quant.double import SCALE_BLOCK_SIZE, QuantizedScales, quantize_scales

AFFINE = "int4_affine"


@dataclass(frozen=True, eq=False)
class QuantizedTensor:
    """An array in few bits. What is stored: `packed` codes (uint8), and a float32 absmax a block or its eight bits.

    `code`: the codebook's name, or "int4_affine" (then `minima` holds a second statistic a block). `shape`, `dtype`: of
    the array that went in, and that `dequantize` gives back.
    """

    packed: np.ndarray
    absmax: np.ndarray | QuantizedScales
    shape: tuple[int, ...]
    dtype: np.dtype
    code: str
    block_size: int
    minima: np.ndarray | None = None

    @property
    def scales(self) -> np.ndarray:
        """A scale a block, decoded where doubly quantized: absmax, or max - min if affine.    (blocks,) float32"""
        return self.absmax.dequantize() if self.double_quant else self.absmax

    @property
    def double_quant(self) -> bool:
        return isinstance(self.absmax, QuantizedScales)

    @property
    def size(self) -> int:
        """How many values are stored."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """Bytes of what is stored: codes, scales, and what belongs to them."""
        extra = 0 if self.minima is None else self.minima.nbytes
        return self.packed.nbytes + self.absmax.nbytes + extra

    @property
    def bits_per_param(self) -> float:
        """8 * nbytes / size, scales included."""
        return 8 * self.nbytes / self.size

    def codes(self) -> np.ndarray:
        """The code of each value, unpacked.    (size,) uint8"""
        return unpack(self.packed, self.size, 4 if self.code == AFFINE else get_codebook(self.code).bits)

    def dequantize(self) -> np.ndarray:
        """The array again: the nearest values that the code had. Shape and dtype as they went in."""
        out = np.empty(self.size, self.dtype)
        if self.code == AFFINE:
            dequantize_affine(self.packed, self.absmax, self.minima, self.block_size, out)
        else:
            dequantize_blocks(self.packed, self.scales, get_codebook(self.code), self.block_size, out)
        return out.reshape(self.shape)


def quantize(
    w: np.ndarray,
    code: str = "nf4",
    *,
    block_size: int = 64,
    double_quant: bool = False,
    scale_code: str = "dynamic",
) -> QuantizedTensor:
    """Store `w` in blocks of `block_size` values: a code each, and one float32 scale a block.

    `w`: float32 or float64, any shape; blocks run over it flattened, row by row. `code`: a codebook's name, or
    "int4_affine" (min and max of each block instead of absmax). `double_quant`: the scales again in eight bits, by
    `scale_code`. Raises TypeError or ValueError for another dtype, an empty array, NaN or infinity (saying where), an
    unknown code or a block size below 1.
    """
    checks.float_array("w", w)
    checks.integer("block_size", block_size, low=1)
    checks.boolean("double_quant", double_quant)
    book = None if code == AFFINE else get_codebook(code)
    checks.finite("w", w)
    if w.dtype == np.float64 and max(w.max(), -w.min()) > np.finfo(np.float32).max:
        raise ValueError(f"w must fit float32 (scales are stored so), got {max(w.max(), -w.min()):g}; scale it down")
    flat = w.reshape(-1)
    if book is None:
        if double_quant:
            raise ValueError(f"double_quant must be False for {AFFINE!r}, got True; its two statistics stay float32")
        packed, spans, minima = quantize_affine(flat, block_size)
        return QuantizedTensor(packed, spans, w.shape, w.dtype, code, block_size, minima)
    packed, scales = quantize_blocks(flat, book, block_size)
    absmax = quantize_scales(scales, scale_code=scale_code) if double_quant else scales
    return QuantizedTensor(packed, absmax, w.shape, w.dtype, code, block_size)


def storage_bytes(
    size: int, *, bits: int = 4, block_size: int = 64, double_quant: bool = False, statistics: int = 1
) -> int:
    """What `nbytes` must be, by formula.

    ceil(size bits / 8) for codes, and for n = ceil(size / block_size) blocks 4 n per statistic (1; 2 for "int4_affine"),
    or n + 4 ceil(n / 256) + 4 (the offset) where the scales are quantized again.
    Raises ValueError or TypeError for arguments out of range.
    """
    size, block_size = checks.integer("size", size, low=1), checks.integer("block_size", block_size, low=1)
    bits, statistics = (
        checks.integer("bits", bits, low=1, high=8),
        checks.integer("statistics", statistics, low=1, high=2),
    )
    blocks = -(-size // block_size)
    if checks.boolean("double_quant", double_quant):
        if statistics != 1:
            raise ValueError(f"statistics must be 1 with double_quant, got {statistics}; minima stay float32")
        return packed_size(size, bits) + blocks + 4 * -(-blocks // SCALE_BLOCK_SIZE) + 4
    return packed_size(size, bits) + 4 * blocks * statistics
