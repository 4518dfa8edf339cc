"""The safetensors format: eight bytes with the header's length, the header as JSON, then the tensors' bytes.

Reading: whether a file is sound is the safetensors library's verdict; the header it has accepted is read once more here
for the places of the tensors, as the library gives numpy no bfloat16. Writing: one tensor at a time, so that a model need
not be in memory as a whole.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minilora import checks, storage
from minilora.interop.extras import need
from minilora.interop.tensors import FileTensor, TensorFile, bfloat16, plain, to_bfloat16

ALIGNMENT = 8  # bytes: where the data begins, so that every dtype is aligned (as the library writes it)

# Name in the file -> how numpy stores it, in the order in which the library writes them: large first.
DTYPES = {
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
    "F32": "<f4",
    "U32": "<u4",
    "I32": "<i4",
    "BF16": "<u2",  # its bits: numpy has no such number
    "F16": "<f2",
    "U16": "<u2",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
ENTRY = ("dtype", "shape", "data_offsets")  # what the header says about each tensor
NAMES = {np.dtype(stored).name: name for name, stored in DTYPES.items() if name != "BF16"}


class SafetensorsFile(TensorFile):
    """The tensors of one .safetensors file by name, none of them read yet. `metadata`: the file's own notes.

    Raises FileNotFoundError, or ValueError that names the file and what is wrong with it.
    """

    def __init__(self, path: str | os.PathLike):
        super().__init__(path)
        library = need("safetensors", f"reading {self.path.name}")
        try:
            with library.safe_open(self.path, framework="np"):
                pass
        except (library.SafetensorError, OSError) as error:
            raise ValueError(f"{self.path} is not a sound safetensors file ({error}); get it again") from error
        with open(self.path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        self.metadata = header.pop("__metadata__", None) or {}
        for name, entry in header.items():
            # The library takes a list of the three for the object as well.
            dtype, shape, (start, end) = entry if isinstance(entry, list) else (entry[key] for key in ENTRY)
            place, size, decode = 8 + length + start, end - start, self._decoder(name, dtype)
            self._tensors[name] = FileTensor(self.path, name, tuple(shape), dtype, place, size, decode)

    def _decoder(self, name, dtype):
        if dtype == "BF16":
            return bfloat16
        if dtype in DTYPES:
            return plain(DTYPES[dtype])

        def unknown(raw):
            raise ValueError(
                f"{self.path}: {name} is stored as {dtype}, which is not supported; only {', '.join(DTYPES)} are"
            )

        return unknown


def write_safetensors(
    path: str | os.PathLike,
    shapes: Mapping[str, tuple[tuple[int, ...], str]],
    arrays: Iterable[np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write one .safetensors file, atomically, a tensor at a time.

    `shapes`: (shape, dtype) by name, dtype being "BF16" or a name of numpy's such as "float32". `arrays`: the values in
    the same order; each is asked for when its turn comes, and forgotten. ValueError if one has another shape.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    place = 0
    for name, (shape, dtype) in shapes.items():
        size = math.prod(shape) * np.dtype(DTYPES[NAMES.get(dtype, dtype)]).itemsize
        header[name] = {"dtype": NAMES.get(dtype, dtype), "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)

    def write(file):
        file.write(len(text).to_bytes(8, "little") + text)
        for (name, (shape, dtype)), array in zip(shapes.items(), arrays, strict=True):
            if array.shape != tuple(shape):
                raise ValueError(f"{name} must have the shape {shape} that was declared, got {checks.shown(array)}")
            stored = to_bfloat16(array) if dtype == "BF16" else array.astype(np.dtype(dtype), copy=False)
            file.write(np.ascontiguousarray(stored).data)

    storage.write_atomically(path, write)


def save_safetensors(
    path: str | os.PathLike, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays that are in memory, each in its own dtype; the same bytes as the library writes."""
    order = {name: place for place, name in enumerate(DTYPES)}
    names = sorted(arrays, key=lambda name: (order[NAMES[arrays[name].dtype.name]], name))
    shapes = {name: (arrays[name].shape, arrays[name].dtype.name) for name in names}
    write_safetensors(path, shapes, (arrays[name] for name in names), metadata)
