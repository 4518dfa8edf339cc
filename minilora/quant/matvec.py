"""A few rows times a matrix in four bits, without decoding it as a whole.

A block's scale stands before all its values, so it can wait until their products with x are summed up: codes become floats,
are multiplied, and the sums are scaled, one for each block instead of one for each value. All goes through chunks that stay
in the cache. What is computed is x @ q.dequantize().T; tests/quant/test_matvec.py holds the two equal.

`shares(x, out)` gives what has to be called: first all of a list, in any order and in any thread, then the other function.
"""

from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np

from minilora.machine import pieces, threads
from minilora.quant.affine import AFFINE, AFFINE_BOOK
from minilora.quant.tensor import QuantizedTensor

Shares = tuple[list[Callable[[], None]], Callable[[], None]]


def matvec(q: QuantizedTensor) -> "BlockMatrix | None":
    """x Wᵀ straight from q, a float32 matrix (out, in) in four bits; None where it does not pay.

    It does not where blocks straddle rows, or half of one is not whole. The codes are stored a second time, in another order.
    """
    fits = len(q.shape) == 2 and q.dtype == np.float32 and q.book.bits == 4
    if not fits or q.block_size % 2 or q.shape[1] % q.block_size:
        return None
    return AffineMatrix(q) if q.code == AFFINE else CodedMatrix(q)


class BlockMatrix:
    """A matrix W (out, in) whose blocks of `b` values are multiplied first and scaled afterwards.

    `bytes`: the codes, block by block along `in`. `scales`: (blocks, out). `nbytes`: what it holds beside q. `chunk`: how many
    values are floats at one time in one thread and in several: a MB, about what an L2 cache holds.
    """

    chunk = 2**18, 2**18

    def __init__(self, q: QuantizedTensor):
        self.b, (self.out, columns) = q.block_size, q.shape
        self.bytes = self._ordered(q.codes().reshape(self.out, columns // self.b, self.b))
        self.scales = np.ascontiguousarray(q.scales.reshape(self.out, -1).T)
        self.nbytes = self.bytes.nbytes + self.scales.nbytes

    def shares(self, x: np.ndarray, out: np.ndarray) -> Shares:
        blocks = len(self.scales)
        x = np.ascontiguousarray(x.reshape(len(x), blocks, self.b).swapaxes(0, 1))  # (B, in) -> (blocks, B, b)
        sums, fitted = np.empty((blocks, len(out), self.out), np.float32), self._fitted(x)

        def of(some, rows):
            # w = level * scale     =>  x wᵀ = sum over blocks of scale * (sum of x * level)
            np.multiply(self._times(fitted[some], some, rows), self.scales[some, None, rows], out=sums[some, :, rows])

        def finish():
            np.sum(sums, axis=0, out=out)
            self._shift(x, out)

        chunk = self.chunk[threads() > 1]
        height = min(self.out, max(1, chunk // self.b))
        rows, some = pieces(self.out, height), pieces(blocks, _even(blocks, max(1, chunk // (self.b * height))))
        return [partial(of, *part) for part in product(some, rows)], finish

    def _ordered(self, codes: np.ndarray) -> np.ndarray:
        """(out, blocks, b) -> bytes"""
        raise NotImplementedError

    def _fitted(self, x: np.ndarray) -> np.ndarray:
        """What is multiplied with the codes.    (blocks, B, b) -> the same"""
        return x

    def _times(self, x: np.ndarray, some: slice, rows: slice) -> np.ndarray:
        """x times the unscaled codes of some blocks and rows.    (n, B, b) -> (n, B, rows)"""
        raise NotImplementedError

    def _shift(self, x: np.ndarray, out: np.ndarray) -> None:
        """Add to out what does not stand behind a scale."""


class CodedMatrix(BlockMatrix):
    """W in any code of four bits: two bytes are looked up as four floats, or one as two.    bytes: (blocks, out, b/2)

    One thread takes half a MB of floats at a time, for the table of two bytes, a MB itself, should stay in the cache beside them.
    For several, fewer calls count more: between any two of them a thread waits for Python's lock.
    """

    chunk = 2**17, 2**18

    def __init__(self, q: QuantizedTensor):
        super().__init__(q)
        self.book = q.book

    def _ordered(self, codes: np.ndarray) -> np.ndarray:
        codes = codes.swapaxes(0, 1)  # (blocks, out, b)
        packed = np.left_shift(codes[..., 0::2], 4, order="C")
        packed |= codes[..., 1::2]
        return packed

    def _times(self, x: np.ndarray, some: slice, rows: slice) -> np.ndarray:
        packed = self.bytes[some, rows]
        if self.b % 4 == 0:
            w = np.take(self.book.quads, packed.view(np.uint16), mode="wrap").view(np.float32)
        else:
            w = np.take(self.book.pairs, packed, mode="wrap").view(np.float32)
        return (w @ x.swapaxes(1, 2)).swapaxes(1, 2)  # (n, rows, b) (n, b, B)


class AffineMatrix(BlockMatrix):
    """W in "int4_affine": a code is its own number, so that converting bytes to floats decodes it.    bytes: (blocks, b/2, out)

    The two halves of a block share bytes, code j in the lower and code j + b/2 in the upper four bits. Then `byte & 15` is
    the first half, and the byte as it is, 16 * second + first, serves as the second, once x is changed to fit:
    x1 first + x2 second = (x1 - x2/16) first + x2/16 byte.
    """

    def __init__(self, q: QuantizedTensor):
        super().__init__(q)
        self.scales = self.scales * AFFINE_BOOK.levels[1]  # level = code / 15; not in place, they may be those of q
        self.minima = np.ascontiguousarray(q.minima.reshape(self.out, -1).T)  # (blocks, out)
        self.nbytes += self.minima.nbytes

    def _ordered(self, codes: np.ndarray) -> np.ndarray:
        codes = codes.transpose(1, 2, 0)  # (blocks, b, out)
        packed = np.left_shift(codes[:, self.b // 2 :], 4, order="C")
        packed |= codes[:, : self.b // 2]
        return packed

    def _fitted(self, x: np.ndarray) -> np.ndarray:
        fitted, half = np.empty_like(x), self.b // 2
        np.multiply(x[..., half:], np.float32(1 / 16), out=fitted[..., half:])
        np.subtract(x[..., :half], fitted[..., half:], out=fitted[..., :half])
        return fitted

    def _times(self, x: np.ndarray, some: slice, rows: slice) -> np.ndarray:
        packed = self.bytes[some, :, rows]
        n, half, width = packed.shape
        w = np.empty((n, 2 * half, width), np.float32)
        np.copyto(w[:, :half], packed & np.uint8(15))
        np.copyto(w[:, half:], packed)
        return x @ w

    def _shift(self, x: np.ndarray, out: np.ndarray) -> None:
        # w = ... + minimum     =>  each block's minimum counts with the sum of its x
        np.add(out, x.sum(axis=-1).T @ self.minima, out=out)


def _even(n, most):
    """The size of equal pieces of n, `most` at most, a multiple of the threads that share them."""
    count = -(-n // most)
    count += -count % threads()
    return max(1, -(-n // count))
