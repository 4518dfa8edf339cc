"""A few rows times a matrix in four bits, without decoding it as a whole.

A block's scale stands before all its values, so it can wait until their products with x are summed up: codes become floats,
are multiplied, and the sums are scaled, one for each block instead of one for each value. All goes through chunks that stay
in the cache. What is computed is x @ q.dequantize().T; tests/quant/test_matvec.py holds the two equal.

`shares(x, out)` gives what has to be called: first all of a list, in any order and in any thread, then the other function.
Between any two calls of numpy a thread may have to wait for Python's lock, so each thread gets one share, of few calls, and
matrices with the same input are joined to one.
"""

from collections.abc import Callable
from functools import partial

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
    return (AffineMatrix if q.code == AFFINE else CodedMatrix)(q)


class BlockMatrix:
    """Matrices W (out, in), one below the other, whose blocks of `b` values are multiplied first and scaled afterwards.

    For each thread some rows: `parts` holds these, their bytes, block by block along `in`, and how many blocks of them to make
    floats at one time. `scales`: (blocks, out). `nbytes`: what it holds beside the tensors. `chunk`: how many values are floats
    at one time in one thread and in several: a MB, about what an L2 cache holds. `alike`: matrices that have it in common can be
    `joined`, if their input is the same.
    """

    chunk = 2**18, 2**18

    def __init__(self, *tensors: QuantizedTensor):
        self.tensors, self.b = tensors, tensors[0].block_size
        self.width, blocks = sum(q.shape[0] for q in tensors), tensors[0].shape[1] // self.b
        self.alike = type(self), tensors[0].code, self.b
        self.scales = self._by_block([q.scales for q in tensors])
        codes = np.concatenate([q.codes().reshape(-1, blocks, self.b) for q in tensors])
        count = threads()
        most = max(1, self.chunk[count > 1] // self.b)
        self.parts = [
            (rows, self._ordered(codes[rows]), max(1, most // (rows.stop - rows.start)))
            for rows in pieces(self.width, min(most, -(-self.width // count)))
        ]
        self.nbytes = self.scales.nbytes + sum(part.nbytes for _, part, _ in self.parts)

    def joined(self, others: list["BlockMatrix"]) -> "BlockMatrix":
        """This matrix and the others below it as one."""
        return type(self)(*self.tensors, *(q for other in others for q in other.tensors))

    def shares(self, x: np.ndarray, out: np.ndarray) -> Shares:
        blocks = len(self.scales)
        x = np.ascontiguousarray(x.reshape(len(x), blocks, self.b).swapaxes(0, 1))  # (B, in) -> (blocks, B, b)
        fitted, sums = self._fitted(x), np.empty((blocks, len(out), self.width), np.float32)

        def of(rows, codes, count):
            w = self._room(min(count, blocks), rows.stop - rows.start)
            for some in pieces(blocks, count):
                self._times(fitted[some], codes[some], w, sums[some, :, rows])

        def finish():
            # w = level * scale     =>  x wᵀ = sum over blocks of scale * (sum of x * level)
            np.multiply(sums, self.scales[:, None], out=sums)
            np.add.reduce(sums, axis=0, out=out)
            self._shift(x, out)

        return [partial(of, *part) for part in self.parts], finish

    def _by_block(self, statistics: list[np.ndarray]) -> np.ndarray:
        """One number per block of each tensor -> (blocks, out)"""
        rows = [one.reshape(q.shape[0], -1) for one, q in zip(statistics, self.tensors, strict=True)]
        return np.ascontiguousarray(np.concatenate(rows).T)

    def _ordered(self, codes: np.ndarray) -> np.ndarray:
        """(rows, blocks, b) -> bytes, (blocks, ...)"""
        raise NotImplementedError

    def _fitted(self, x: np.ndarray) -> np.ndarray:
        """What is multiplied with the codes.    (blocks, B, b) -> the same"""
        return x

    def _room(self, blocks: int, rows: int) -> np.ndarray:
        """Where the codes of so many become floats."""
        raise NotImplementedError

    def _times(self, x: np.ndarray, codes: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
        """x times the unscaled codes of some blocks, made floats in w.    x: (n, B, b)   out: (n, B, rows)"""
        raise NotImplementedError

    def _shift(self, x: np.ndarray, out: np.ndarray) -> None:
        """Add to out what does not stand behind a scale."""


class CodedMatrix(BlockMatrix):
    """W in any code of four bits: two bytes are looked up as four floats, or one as two.    bytes: (blocks, rows, b/2)

    One thread takes half a MB of floats at a time, for the table of two bytes, a MB itself, should stay in the cache beside them.
    For several, fewer calls count more.
    """

    chunk = 2**17, 2**18

    def __init__(self, *tensors: QuantizedTensor):
        super().__init__(*tensors)
        self.book = tensors[0].book

    def _ordered(self, codes: np.ndarray) -> np.ndarray:
        codes = codes.swapaxes(0, 1)  # (blocks, rows, b)
        packed = np.left_shift(codes[..., 0::2], 4, order="C")
        packed |= codes[..., 1::2]
        return packed

    def _room(self, blocks: int, rows: int) -> np.ndarray:
        return np.empty((blocks, rows, self.b), np.float32)

    def _times(self, x: np.ndarray, codes: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
        w = w[: len(x)]
        if self.b % 4 == 0:
            np.take(self.book.quads, codes.view(np.uint16), mode="wrap", out=w.view(np.complex128))
        else:
            np.take(self.book.pairs, codes, mode="wrap", out=w.view(np.uint64))
        np.matmul(w, x.swapaxes(1, 2), out=out.swapaxes(1, 2))  # (n, rows, b) (n, b, B)


class AffineMatrix(BlockMatrix):
    """W in "int4_affine": a code is its own number, so that converting bytes to floats decodes it.    bytes: (blocks, b/2, rows)

    The two halves of a block share bytes, code j in the lower and code j + b/2 in the upper four bits. Then `byte & 15` is
    the first half, and the byte as it is, 16 * second + first, serves as the second, once x is changed to fit:
    x1 first + x2 second = (x1 - x2/16) first + x2/16 byte.
    """

    def __init__(self, *tensors: QuantizedTensor):
        super().__init__(*tensors)
        self.scales *= AFFINE_BOOK.levels[1]  # level = code / 15
        self.minima = self._by_block([q.minima for q in tensors])
        self.nbytes += self.minima.nbytes

    def _ordered(self, codes: np.ndarray) -> np.ndarray:
        codes = codes.transpose(1, 2, 0)  # (blocks, b, rows)
        packed = np.left_shift(codes[:, self.b // 2 :], 4, order="C")
        packed |= codes[:, : self.b // 2]
        return packed

    def _fitted(self, x: np.ndarray) -> np.ndarray:
        fitted, half = np.empty_like(x), self.b // 2
        np.multiply(x[..., half:], np.float32(1 / 16), out=fitted[..., half:])
        np.subtract(x[..., :half], fitted[..., half:], out=fitted[..., :half])
        return fitted

    def _room(self, blocks: int, rows: int) -> np.ndarray:
        return np.empty((blocks, self.b, rows), np.float32)

    def _times(self, x: np.ndarray, codes: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
        w, half = w[: len(x)], self.b // 2
        np.bitwise_and(codes, 15, out=w[:, :half], dtype=np.uint8, casting="unsafe")
        np.copyto(w[:, half:], codes)
        np.matmul(x, w, out=out)  # (n, B, b) (n, b, rows)

    def _shift(self, x: np.ndarray, out: np.ndarray) -> None:
        # w = ... + minimum     =>  each block's minimum counts with the sum of its x
        np.add(out, np.add.reduce(x, axis=-1).T @ self.minima, out=out)
