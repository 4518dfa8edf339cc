"""Affine int4: sixteen even steps from the smallest to the largest value of each block, for two floats per block."""

import numpy as np

from minilora.quant.blockwise import chunks, pack, packed_size, unpack

BITS = 4
STEPS = np.float32(2**BITS - 1)


def quantize_affine(flat: np.ndarray, block_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """code = round((x - min) / (max - min) * 15).    flat: (n,) -> ((bytes,) uint8, spans (blocks,), minima (blocks,))

    The spans, max - min, and the minima are float32. ValueError if a span is beyond float32.
    """
    n = flat.size
    blocks = -(-n // block_size)
    packed = np.empty(packed_size(n, BITS), np.uint8)
    minima, spans = np.empty(blocks, np.float32), np.empty(blocks, np.float32)
    for start, end in chunks(n, block_size):
        x = flat[start:end].astype(np.float32)
        full = x.size // block_size * block_size
        block = start // block_size
        for rows in (x[:full].reshape(-1, block_size), x[full:].reshape(-1, max(1, x.size - full))):
            if not rows.size:
                continue
            low = rows.min(axis=1)
            with np.errstate(over="ignore"):
                span = rows.max(axis=1) - low
            if not np.isfinite(span).all():
                raise ValueError("w must have max - min below 3.4e38 in every block (spans are float32); scale it down")
            minima[block : block + len(rows)], spans[block : block + len(rows)] = low, span
            rows -= low[:, None]
            rows *= (STEPS / np.where(span > 0, span, np.float32(1.0)))[:, None]
            np.rint(rows, out=rows)
            block += len(rows)
        packed[start // 2 : packed_size(end, BITS)] = pack(np.clip(x, 0, STEPS).astype(np.uint8), BITS)
    return packed, spans, minima


def dequantize_affine(
    packed: np.ndarray, spans: np.ndarray, minima: np.ndarray, block_size: int, out: np.ndarray
) -> None:
    """Write code * span / 15 + min for each packed code into `out`.    out: (n,) float32 or float64"""
    steps = spans / STEPS
    for start, end in chunks(out.size, block_size):
        codes = unpack(packed[start // 2 : packed_size(end, BITS)], end - start, BITS)
        block = np.arange(start, end) // block_size
        out[start:end] = codes * steps[block] + minima[block]
