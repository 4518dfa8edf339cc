"""Any .npz file, as numpy writes them: compressed or not, with arrays of any dtype, each read when it is asked for.

(`storage.load_arrays` is for minilora's own files; it is stricter and reads all at once.)
"""

import math
import os
import tokenize
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minilora.interop.tensors import TensorFile
from minilora.quant import QuantizedTensor

NAMES = {"f2": "F16", "f4": "F32", "f8": "F64", "b1": "BOOL"}
NAMES |= {f"{kind}{size}": f"{kind.upper()}{8 * size}" for kind in "iu" for size in (1, 2, 4, 8)}


@dataclass(frozen=True)
class NpzTensor:
    """One array of an .npz file."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int

    def read(self, dtype: np.dtype | type | None = None) -> np.ndarray:
        """The values, a new array. ValueError where the file is damaged."""
        with _opened(self.path) as archive, archive.open(f"{self.name}.npy") as entry:
            values = np.lib.format.read_array(entry, allow_pickle=False)
            if entry.read(1):  # to its end, so that its checksum is compared
                raise ValueError(f"{self.name} is longer than its header says")
        with np.errstate(all="ignore"):  # what does not fit becomes infinite, for the reader to judge
            return values if dtype is None else values.astype(dtype, copy=False)

    def as_quantized(self, dtype: np.dtype) -> QuantizedTensor | None:
        """None: what this file holds is in none of our codes."""
        return None


class NpzFile(TensorFile):
    """The arrays of one .npz file by name, none of them read yet. What is no array in it is passed over.

    Raises FileNotFoundError, or ValueError that names the file and what is wrong with it.
    """

    def __init__(self, path: str | os.PathLike):
        super().__init__(path)
        with _opened(self.path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name == info.filename:
                    continue
                if name in self._tensors:
                    raise ValueError(f"{name} is there twice")
                with archive.open(info) as entry:
                    shape, dtype = _header(name, entry)
                    place = entry.tell()
                nbytes = math.prod(shape) * dtype.itemsize
                if nbytes != info.file_size - place:
                    raise ValueError(f"{name} declares {nbytes} bytes and has {info.file_size - place}")
                self._tensors[name] = NpzTensor(self.path, name, shape, NAMES[dtype.str[1:]], nbytes)


def _header(name, entry):
    version = np.lib.format.read_magic(entry)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(entry)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(entry)
    else:
        raise ValueError(f"{name} has the .npy version {version}, which is not supported")
    if dtype.str[1:] not in NAMES:
        raise ValueError(f"{name} holds {dtype}, which is not a number of at most 64 bits")
    return shape, dtype


@contextmanager
def _opened(path):
    """The zip archive; whatever it and numpy have to say about damage becomes one ValueError that names the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (ValueError, LookupError, EOFError, SyntaxError, RecursionError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path} is not a sound .npz file ({error}); get it again") from error
    except (zipfile.BadZipFile, tokenize.TokenError, zlib.error, OSError, MemoryError, OverflowError) as error:
        raise ValueError(f"{path} is not a sound .npz file ({error}); get it again") from error
