"""QuantizedTensor: packed codes and scales, and every byte of them counted."""

import math
from dataclasses import dataclass

import numpy as np

from minilora import checks
from minilora.quant.affine import AFFINE, AFFINE_BOOK, dequantize_affine, quantize_affine
from minilora.quant.blockwise import dequantize_blocks, packed_size, quantize_blocks, unpack
from minilora.quant.codebooks import Codebook, find_codebook
from minilora.quant.double import SCALE_BLOCK_SIZE, SCALE_MAPS, QuantizedScales, check_float32, quantize_scales

LARGEST_BLOCK = 2**31 - 1  # values: any larger block would be the whole of any array that fits in memory


@dataclass(frozen=True, eq=False)
class QuantizedTensor:
    """An array in few bits. What is stored: `packed` codes (uint8), and one float32 absmax per block or its eight bits.

    `code`: the codebook's name, or "int4_affine" (then `minima` holds a second statistic per block). `shape`, `dtype`: of
    the array that went in, and that `dequantize` gives back. `quantize` makes these; built by hand, ValueError or
    TypeError where the parts do not fit together.
    """

    packed: np.ndarray
    absmax: np.ndarray | QuantizedScales
    shape: tuple[int, ...]
    dtype: np.dtype
    code: str
    block_size: int
    minima: np.ndarray | None = None

    def __post_init__(self):
        block_size = checks.integer("block_size", self.block_size, low=1, high=LARGEST_BLOCK)
        if not isinstance(self.shape, (tuple, list)):
            raise TypeError(f"shape must be a tuple of int, got {checks.shown(self.shape)}")
        shape = tuple(checks.integer(f"shape[{i}]", n, low=1) for i, n in enumerate(self.shape))
        code = _book(self.code).name
        for name, value in (("block_size", block_size), ("shape", shape), ("code", code)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "dtype", checks.float_dtype("dtype", self.dtype))
        if checks.array("packed", self.packed, ndim=(1,)).dtype != np.uint8:
            raise TypeError(f"packed must be uint8, got {checks.shown(self.packed)}")
        if self.packed.size != packed_size(self.size, self.book.bits):
            raise ValueError(
                f"packed must hold {packed_size(self.size, self.book.bits)} bytes for {code!r} and shape {shape}, "
                f"got {checks.shown(self.packed)}"
            )
        blocks = -(-self.size // block_size)
        if not self.double_quant:
            check_float32("absmax", self.absmax, blocks)
        elif self.absmax.codes.size != blocks:
            raise ValueError(f"absmax must have {blocks} codes, one per block, got {self.absmax.codes.size}")
        if (self.minima is not None) != (code == AFFINE):
            raise ValueError(f"minima must be given for {AFFINE!r} and for no other code, got {code!r}")
        if self.minima is not None:
            check_float32("minima", self.minima, blocks)
            if self.double_quant:
                raise ValueError(f"absmax must be float32 for {AFFINE!r}, got QuantizedScales")

    @property
    def book(self) -> Codebook:
        """The levels, codes and bits of `code`."""
        return _book(self.code)

    @property
    def scales(self) -> np.ndarray:
        """One scale per block, decoded where doubly quantized: absmax, or max - min if affine.    (blocks,) float32"""
        return self.absmax.dequantize() if self.double_quant else self.absmax

    @property
    def double_quant(self) -> bool:
        """Are the scales themselves stored in eight bits?"""
        return isinstance(self.absmax, QuantizedScales)

    @property
    def size(self) -> int:
        """How many values are stored."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of what is stored: codes, scales, and what belongs to them."""
        return self.packed.nbytes + self.absmax.nbytes + (0 if self.minima is None else self.minima.nbytes)

    @property
    def bits_per_param(self) -> float:
        """8 * nbytes / size, scales included."""
        return 8 * self.nbytes / self.size

    def codes(self) -> np.ndarray:
        """The code of each value, unpacked.    (size,) uint8, a new array"""
        return unpack(self.packed, self.size, self.book.bits)

    def dequantize(self) -> np.ndarray:
        """What the codes stand for, as a new array: of each value the nearest that its code has.    shape and dtype"""
        out = np.empty(self.size, self.dtype)
        if self.minima is not None:
            dequantize_affine(self.packed, self.absmax, self.minima, self.block_size, out)
        else:
            dequantize_blocks(self.packed, self.scales, self.book, self.block_size, out)
        return out.reshape(self.shape)


def quantize(
    w: np.ndarray,
    code: str = "nf4",
    *,
    block_size: int = 64,
    double_quant: bool = False,
    scale_code: str = "dynamic",
) -> QuantizedTensor:
    """Store `w` in blocks of `block_size` values: a code for each, and one float32 scale per block.

    `w`: float32 or float64, any shape; blocks run over it flattened, row by row. `code`: a codebook's name, or
    "int4_affine" (min and max of each block instead of absmax). `double_quant`: the scales again in eight bits, by
    `scale_code`. Raises TypeError or ValueError for another dtype, an empty array, NaN or infinity (saying where), an
    unknown code or a block size below 1.
    """
    checks.float_array("w", w)
    block_size = checks.integer("block_size", block_size, low=1, high=LARGEST_BLOCK)
    double_quant = checks.boolean("double_quant", double_quant)
    scale_code = checks.one_of("scale_code", scale_code, SCALE_MAPS)
    book = _book(code)
    affine = book is AFFINE_BOOK
    if affine and double_quant:
        raise ValueError(f"double_quant must be False for {AFFINE!r}, got True; its two statistics stay float32")
    checks.finite("w", w)
    if w.dtype == np.float64 and max(w.max(), -w.min()) > np.finfo(np.float32).max:
        raise ValueError(f"w must fit float32 (scales are stored so), got {max(w.max(), -w.min()):g}; scale it down")
    flat = w.reshape(-1)
    if affine:
        packed, absmax, minima = quantize_affine(flat, block_size)
    else:
        packed, absmax = quantize_blocks(flat, book, block_size)
        minima = None
    if double_quant:
        absmax = quantize_scales(absmax, scale_code=scale_code)
    return QuantizedTensor(packed, absmax, w.shape, w.dtype, book.name, block_size, minima)


def _book(code: str) -> Codebook:
    """The codebook of a code, that of affine int4 among them. ValueError, with all the names, for another."""
    return AFFINE_BOOK if isinstance(code, str) and code == AFFINE else find_codebook(code, (AFFINE,))


def storage_bytes(
    size: int, *, bits: int = 4, block_size: int = 64, double_quant: bool = False, statistics: int = 1
) -> int:
    """What `nbytes` must be, by formula.

    ceil(size bits / 8) for codes, and for n = ceil(size / block_size) blocks 4 n per statistic (1; 2 for "int4_affine"),
    or n + 4 ceil(n / 256) + 4 (the offset) where the scales are quantized again.
    Raises ValueError or TypeError for arguments out of range.
    """
    size, block_size = (
        checks.integer("size", size, low=1),
        checks.integer("block_size", block_size, low=1, high=LARGEST_BLOCK),
    )
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
