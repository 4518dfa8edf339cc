"""Tensors in files: a name, a shape, and bytes that stay on the disk until they are asked for.

A `TensorSource` is a mapping of names to such tensors, whatever the file's format, so that a matrix can be read,
quantized and forgotten before the next one is read.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from minilora import checks
from minilora.quant import QuantizedTensor


class LazyTensor(Protocol):
    """A tensor that is not in memory yet. `dtype` is the format's own name of it, "BF16" or "Q4_1"; `nbytes` as stored."""

    shape: tuple[int, ...]
    dtype: str
    nbytes: int

    def read(self, dtype: np.dtype | type | None = None) -> np.ndarray:
        """The values, a new array of `shape`; in `dtype` where given, else as close as numpy comes to what is stored."""

    def as_quantized(self, dtype: np.dtype) -> QuantizedTensor | None:
        """What is stored, without decoding it, where one of our codes can say the same; else None."""


TensorSource = Mapping[str, LazyTensor]


@dataclass(frozen=True)
class FileTensor:
    """`nbytes` bytes at `offset` of the file at `path`; `decode` makes a flat array of them.

    ValueError where the file has become too short since it was opened.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int
    nbytes: int
    decode: Callable[[np.ndarray], np.ndarray]

    def raw(self) -> np.ndarray:
        """The bytes as they are stored.    (nbytes,) uint8"""
        raw = np.fromfile(self.path, np.uint8, self.nbytes, offset=self.offset)
        if raw.size != self.nbytes:
            raise ValueError(
                f"{self.path} ends inside {self.name}: {raw.size} of {self.nbytes} bytes are there; get the file again"
            )
        return raw

    def read(self, dtype: np.dtype | type | None = None) -> np.ndarray:
        raw = self.raw()
        try:
            with np.errstate(all="ignore"):  # NaN and infinity are for the reader to judge, and no reason for a warning
                values = self.decode(raw).reshape(self.shape)
                return values if dtype is None else values.astype(dtype, copy=False)
        except ValueError as error:  # a shape of zero values may still be larger than numpy's largest
            raise ValueError(f"{self.path}: {self.name} of shape {self.shape} cannot be read: {error}") from error

    def as_quantized(self, dtype: np.dtype) -> QuantizedTensor | None:
        """None: what this file holds is not one of our codes."""
        return None


class TensorFile(Mapping[str, FileTensor]):
    """The tensors of one file by name, none of them read yet. A format fills `_tensors` and `metadata`."""

    def __init__(self, path: str | os.PathLike):
        self.path = existing_file(path)
        self.metadata: dict = {}
        self._tensors: dict[str, FileTensor] = {}

    def __getitem__(self, name: str) -> FileTensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def existing_file(path: str | os.PathLike) -> Path:
    """`path` as a Path. FileNotFoundError where there is no such file."""
    path = Path(checks.path("path", path))
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; check the path")
    return path


def plain(dtype: str) -> Callable[[np.ndarray], np.ndarray]:
    """A decoder of bytes that numpy knows as they are: "<f4", "<i8"."""
    return lambda raw: raw.view(dtype)


def bfloat16(raw: np.ndarray) -> np.ndarray:
    """bfloat16 is the upper half of a float32: shifted back into place, exactly.    (2 n,) uint8 -> (n,) float32"""
    bits = raw.view("<u2").astype(np.uint32)
    bits <<= 16
    return bits.view(np.float32)


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """float32 rounded to the nearest bfloat16, ties to even, as its 16 bits.    (...) float32 -> (...) uint16

    ValueError where a value is beyond bfloat16 or not finite.
    """
    bits = values.astype(np.float32).view(np.uint32)
    rounded = ((bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16).astype(np.uint16)
    if np.any((rounded & 0x7F80) == 0x7F80):
        raise ValueError("values must be finite and below 3.39e38 to be stored as bfloat16; use float32")
    return rounded
