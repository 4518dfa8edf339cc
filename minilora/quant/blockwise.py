"""Blocks of weights to codes and back, and codes to bytes and back.

Blocks run over the flattened array and may straddle rows. All work goes through chunks that stay in the processor's cache,
so temporaries are small beside the result. Chunks of a large array are shared among threads (numpy releases the GIL
while it computes); the bits do not depend on which thread takes which chunk.
"""

from collections.abc import Callable, Iterator

import numpy as np

from minilora.machine import in_threads, threads
from minilora.quant.codebooks import Codebook

CHUNK = 2**16  # values: fits the L2 cache
LARGE_CHUNK = (
    2**17
)  # values: still in the cache, and threads wait less often for the GIL, as they do between any two steps
SERIAL_BELOW = 4 * CHUNK  # waking another thread costs a fifth of what it saves here
QUADS_PAY = 2**16  # values, from which on the table of a MB is faster than that of two KB
TINY = np.float32(1e-38)  # what an all-zero block is divided by, as in bitsandbytes


def encode(x: np.ndarray, book: Codebook) -> np.ndarray:
    """The code of the nearest level for each x in [-1, 1].    x: (n,) float32 -> (n,) uint8

    The level's index is the number of thresholds below x: fifteen vectorised comparisons, six times faster here than a
    binary search for each value.
    """
    index = np.zeros(x.shape, np.uint8)
    above = np.empty(x.shape, bool)
    for threshold in book.thresholds:
        np.greater(x, threshold, out=above)
        index += above.view(np.uint8)
    return index if book.codes_are_indices else book.codes[index]


def quantize_blocks(flat: np.ndarray, book: Codebook, block_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Packed codes and the absmax of each block.    flat: (n,) -> ((bytes,) uint8, (blocks,) float32)

    Bit-equal to bitsandbytes on a CPU: a full block is multiplied by the reciprocal of its absmax, the last partial
    one divided by it. `flat` must be finite and within float32, as `quantize` makes sure.
    """
    n = flat.size
    zero = encode(np.zeros(1, np.float32), book)[0]
    packed = np.empty(packed_size(n, book.bits), np.uint8)
    scales = np.empty(-(-n // block_size), np.float32)

    def work(start, end):
        x = flat[start:end].astype(np.float32)  # a copy that may be scaled in place
        block = start // block_size
        full = (end - start) // block_size * block_size
        if full:
            rows = x[:full].reshape(-1, block_size)
            absmax = largest(rows)
            scales[block : block + len(rows)] = absmax
            rows *= (np.float32(1.0) / np.maximum(absmax, TINY))[:, None]
        if full < x.size:
            rest = x[full:]
            scales[-1] = max(np.abs(rest).max(), TINY)
            rest /= scales[-1]
        place = start * book.bits // 8
        piece = pack(encode(x, book), book.bits, filler=zero)
        packed[place : place + piece.size] = piece

    for_each_chunk(work, n, block_size)
    return packed, scales


def largest(rows: np.ndarray) -> np.ndarray:
    """max |x| of each row.    rows: (n, block) float32, finite -> (n,) float32

    Of numbers that are not negative the larger one has the larger bits, so that they can be compared as integers: three times
    as fast here as `np.abs(rows).max(axis=1)`, which looks for NaN as well.
    """
    return np.abs(rows).view(np.int32).max(axis=1).view(np.float32)


def dequantize_blocks(packed: np.ndarray, scales: np.ndarray, book: Codebook, block_size: int, out: np.ndarray) -> None:
    """Write level * absmax for each packed code into `out`.    out: (n,) float32 or float64"""
    pairs = book.pairs if book.bits == 4 and out.dtype == np.float32 else None
    quads = book.quads if pairs is not None and out.size >= QUADS_PAY else None

    def work(start, end):
        x = out[start:end]
        piece = packed[start * book.bits // 8 : packed_size(end, book.bits)]
        if quads is not None and (end - start) % 4 == 0:  # two bytes are four values: all looked up at once
            np.take(quads, np.ascontiguousarray(piece).view(np.uint16), out=x.view(np.complex128), mode="wrap")
        elif pairs is not None and (end - start) % 2 == 0:
            np.take(pairs, piece, out=x.view(np.uint64), mode="clip")
        elif pairs is not None:
            x[:] = pairs[piece].view(np.float32)[: end - start]
        else:
            x[:] = np.take(book.decoding, unpack(piece, end - start, book.bits), mode="clip")
        block = start // block_size
        full = (end - start) // block_size * block_size
        rows = x[:full].reshape(-1, block_size)
        rows *= scales[block : block + len(rows), None]
        if full < x.size:
            x[full:] *= scales[-1]

    for_each_chunk(work, out.size, block_size)


def pack(codes: np.ndarray, bits: int, filler: int = 0) -> np.ndarray:
    """Codes side by side in bytes, the first in the highest bits.    (n,) uint8 -> (ceil(n * bits / 8),) uint8

    Four bits: byte i = code[2i] << 4 | code[2i + 1]; an odd length is filled up with `filler`, the code of zero.
    """
    if bits == 8:
        return codes.copy()
    if bits == 4:
        if codes.size % 2:
            codes = np.append(codes, np.uint8(filler))
        two = np.ascontiguousarray(codes).view("<u2")  # first + 256 second
        return (two << np.uint16(4) | two >> np.uint16(8)).astype(np.uint8)
    return np.packbits(np.unpackbits(codes[:, None], axis=1)[:, 8 - bits :])


def unpack(packed: np.ndarray, n: int, bits: int) -> np.ndarray:
    """The first `n` codes out of bytes: the inverse of `pack`.    -> (n,) uint8, a new array"""
    if bits == 8:
        return packed[:n].copy()
    if bits == 4:
        codes = np.empty(2 * packed.size, np.uint8)
        np.right_shift(packed, 4, out=codes[0::2])
        np.bitwise_and(packed, 15, out=codes[1::2])
        return codes[:n]
    # Eight codes fill `bits` bytes: such a group becomes one number, from which each code is shifted down.
    groups = np.zeros((-(-packed.size // bits), bits), np.uint8)
    groups.reshape(-1)[: packed.size] = packed
    words = np.zeros(len(groups), np.uint64)
    for i in range(bits):
        words = words << np.uint64(8) | groups[:, i]
    codes = np.empty((len(groups), 8), np.uint8)
    for i in range(8):
        codes[:, i] = words >> np.uint64(bits * (7 - i)) & np.uint64(2**bits - 1)
    return codes.reshape(-1)[:n]


def packed_size(n: int, bits: int) -> int:
    """Bytes for n codes: ceil(n * bits / 8)."""
    return -(-n * bits // 8)


def chunks(n: int, block_size: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, end) over n values: whole blocks, about `size` values at a time, each start on a whole byte."""
    # Eight blocks always end on a whole byte, whatever the bits of a code.
    size = max(1, size // (8 * block_size)) * 8 * block_size
    for start in range(0, n, size):
        yield start, min(start + size, n)


def for_each_chunk(work: Callable[[int, int], None], n: int, block_size: int) -> None:
    """work(start, end) for every chunk, in threads where that pays. No chunk may need another's result."""
    workers = 1 if n < SERIAL_BELOW else threads()
    # Six bytes of temporaries per value: what all workers hold together stays below the result, half a byte per value.
    pieces = chunks(n, block_size, min(LARGE_CHUNK, max(CHUNK, n // (16 * workers))))
    if workers == 1:
        for start, end in pieces:
            work(start, end)
        return
    in_threads(lambda piece: work(*piece), list(pieces))
