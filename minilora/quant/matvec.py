"""A few rows times a matrix in four bits, without decoding it as a whole.

A block's scale stands before all its values, so it can wait until their products with x are summed up: codes become floats,
are multiplied, and the sums are scaled, one for each block instead of one for each value. All goes through chunks that stay
in the cache. What is computed is x @ q.dequantize().T; tests/quant/test_matvec.py holds the two equal.

`shares(x, out)` gives what has to be called: first all of a list, in any order and in any thread, then the other function.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from minilora.machine import pieces, threads
from minilora.quant.affine import AFFINE, AFFINE_BOOK
from minilora.quant.tensor import QuantizedTensor

CHUNK = 2**17  # values that are floats at one time: half a MB, fits the L2 cache


Shares = tuple[list[Callable[[], None]], Callable[[], None]]


def matvec(q: QuantizedTensor) -> "CodedMatrix | AffineMatrix | None":
    """x Wᵀ straight from q, a float32 matrix (out, in) in four bits; None where it does not pay.

    It does not where blocks straddle rows, or half of one is not whole. `int4_affine` is stored a second time, in another
    order; of other codes the scales alone are.
    """
    fits = len(q.shape) == 2 and q.dtype == np.float32 and q.book.bits == 4
    if not fits or q.block_size % 2 or q.shape[1] % q.block_size:
        return None
    return AffineMatrix(q) if q.code == AFFINE else CodedMatrix(q)


class CodedMatrix:
    """x Wᵀ, W in any code of four bits: a byte is looked up as two floats."""

    def __init__(self, q: QuantizedTensor):
        self.block_size, self.book, (rows, columns) = q.block_size, q.book, q.shape
        self.packed = q.packed.reshape(rows, columns // 2)
        self.scales = np.ascontiguousarray(q.scales.reshape(rows, -1).T)  # (blocks, out)
        self.nbytes = self.scales.nbytes

    def shares(self, x: np.ndarray, out: np.ndarray) -> Shares:
        (blocks, rows), b, pairs = self.scales.shape, self.block_size, self.book.pairs
        x = np.ascontiguousarray(x.reshape(len(x), blocks, b).transpose(1, 2, 0))  # (B, in) -> (blocks, b, B)

        def of(part):
            w = np.take(pairs, self.packed[part], mode="clip").view(np.float32)  # (n, in)
            sums = w.reshape(len(w), blocks, b).swapaxes(0, 1) @ x  # (blocks, n, B)
            # w = level * scale     =>  x wᵀ = sum over blocks of scale * (sum of x * level)
            sums *= self.scales[:, part, None]
            out[:, part] = sums.sum(axis=0).T

        cut = pieces(rows, _even(rows, max(1, CHUNK // (blocks * b))))
        return [partial(of, part) for part in cut], lambda: None


class AffineMatrix:
    """x Wᵀ, W in "int4_affine": a code is its own number, so that converting bytes to floats decodes it.

    The two halves of a block share bytes, code j in the lower and code j + b/2 in the upper four bits, for all rows of W
    side by side: (blocks, b/2, out). Then `byte & 15` is the first half, and the byte as it is, 16 * second + first, serves
    as the second, once x is changed to fit:   x1 first + x2 second = (x1 - x2/16) first + x2/16 byte.
    """

    def __init__(self, q: QuantizedTensor):
        b, (rows, columns) = q.block_size, q.shape
        codes = q.codes().reshape(rows, columns // b, b).transpose(1, 2, 0)  # (out, in) -> (blocks, b, out)
        self.bytes = np.left_shift(codes[:, b // 2 :], 4, order="C")  # (blocks, b/2, out)
        self.bytes |= codes[:, : b // 2]
        step = AFFINE_BOOK.levels[1]  # level = code / 15
        self.scales = np.ascontiguousarray(q.scales.reshape(rows, -1).T) * step  # (blocks, out)
        self.minima = np.ascontiguousarray(q.minima.reshape(rows, -1).T)
        self.nbytes = self.bytes.nbytes + self.scales.nbytes + self.minima.nbytes

    def shares(self, x: np.ndarray, out: np.ndarray) -> Shares:
        blocks, half, rows = self.bytes.shape
        x = x.reshape(len(x), blocks, 2 * half).swapaxes(0, 1)  # (B, in) -> (blocks, B, b)
        fitted = np.empty_like(x, order="C")
        np.multiply(x[..., half:], np.float32(1 / 16), out=fitted[..., half:])
        np.subtract(x[..., :half], fitted[..., half:], out=fitted[..., :half])
        sums = np.empty((blocks, len(out), rows), np.float32)

        def of(part):
            piece = self.bytes[part]
            w = np.empty((len(piece), 2 * half, rows), np.float32)
            np.copyto(w[:, :half], piece & np.uint8(15))
            np.copyto(w[:, half:], piece)
            np.matmul(fitted[part], w, out=sums[part])
            # w = code * scale + minimum    =>  x wᵀ = sum over blocks of scale * (sum of x * code) + minimum * (sum of x)
            sums[part] *= self.scales[part, None]

        def finish():
            np.sum(sums, axis=0, out=out)
            np.add(out, x.sum(axis=-1).T @ self.minima, out=out)

        cut = pieces(blocks, _even(blocks, max(1, CHUNK // (2 * half * rows))))
        return [partial(of, part) for part in cut], finish


def _even(n, most):
    """The size of equal pieces of n, `most` at most, a multiple of the threads that share them."""
    count = -(-n // most)
    count += -count % threads()
    return max(1, -(-n // count))
