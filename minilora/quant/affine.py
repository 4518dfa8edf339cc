"""Affine int4: sixteen even steps from the smallest to the largest value of each block, for two floats per block.

The other codes divide a block by its largest absolute value and keep zero exact. This one shifts and divides, so it
wastes no code on a side where a block has nothing; zero is not exact, and the shift costs a second float per block.
"""

import numpy as np

from minilora.quant.blockwise import dequantize_blocks, encode, for_each_chunk, pack, packed_size
from minilora.quant.codebooks import Codebook

AFFINE = "int4_affine"
# (x - min) / (max - min) lies in [0, 1]: a codebook of its own, which `codebook(name)` does not list.
AFFINE_BOOK = Codebook(AFFINE, np.arange(16, dtype=np.float32) / np.float32(15), np.arange(16, dtype=np.uint8), 4)


def quantize_affine(flat: np.ndarray, block_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Code of (x - min) / (max - min).    flat: (n,) -> ((bytes,) uint8, spans (blocks,), minima (blocks,))

    The spans, max - min, and the minima are float32. ValueError if a span is beyond float32.
    """
    n = flat.size
    blocks = -(-n // block_size)
    packed = np.empty(packed_size(n, AFFINE_BOOK.bits), np.uint8)
    minima, spans = np.empty(blocks, np.float32), np.empty(blocks, np.float32)

    def work(start, end):
        x = flat[start:end].astype(np.float32)
        full = x.size // block_size * block_size
        block = start // block_size
        for rows in (x[:full].reshape(-1, block_size), x[full:].reshape(1, -1)):  # whole blocks, and what is left
            if not rows.size:
                continue
            low = rows.min(axis=1)
            with np.errstate(over="ignore"):
                span = rows.max(axis=1) - low
            if not np.isfinite(span).all():
                raise ValueError(
                    f"w must have max - min below 3.4e38 in every block for {AFFINE!r} (spans are float32), "
                    f"got {np.float64(rows.max()) - np.float64(rows.min()):g}; scale it down"
                )
            minima[block : block + len(rows)], spans[block : block + len(rows)] = low, span
            rows -= low[:, None]
            rows /= np.where(span > 0, span, np.float32(1.0))[:, None]  # not its reciprocal: that of 1e-40 is infinite
            block += len(rows)
        packed[start // 2 : packed_size(end, AFFINE_BOOK.bits)] = pack(encode(x, AFFINE_BOOK), AFFINE_BOOK.bits)

    for_each_chunk(work, n, block_size)
    return packed, spans, minima


def dequantize_affine(
    packed: np.ndarray, spans: np.ndarray, minima: np.ndarray, block_size: int, out: np.ndarray
) -> None:
    """Write level * span + min for each packed code into `out`.    out: (n,) float32 or float64"""
    dequantize_blocks(packed, spans, AFFINE_BOOK, block_size, out)
    full = out.size // block_size * block_size
    rows = out[:full].reshape(-1, block_size)
    rows += minima[: len(rows), None]
    out[full:] += minima[-1]
