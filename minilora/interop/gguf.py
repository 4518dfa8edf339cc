"""The GGUF format: a header of key-value pairs and tensor descriptions, then the tensors' bytes, aligned.

What is sound is what llama.cpp's own reader takes (ggml/src/gguf.cpp): the same rules in the same order. Every length is
compared with what is left of the file before anything is made of it. Values of the header are kept as their bytes until
they are asked for, since the vocabulary of a tokenizer is most of it.
"""

import mmap
import os
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minilora.interop.blocks import DECODERS, FORMATS, Format
from minilora.interop.tensors import FileTensor, TensorFile

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT_KEY = "general.alignment"
ALIGNMENT = 32  # bytes, where the file does not say
MAX_DIMS = 4
MAX_NAME = 63  # bytes of a tensor's name
LARGEST = 2**30  # characters of a string, elements of an array
INT64 = 2**63

# The types of values: number -> numpy's name. 8 is a string, 9 an array.
SCALARS = {0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?", 10: "<u8", 11: "<i8", 12: "<f8"}
STRING, ARRAY, UINT32 = 8, 9, 4


class GGUFFile(TensorFile):
    """The tensors of one GGUF file by name, none of them read yet; `metadata`: its key-value pairs.

    Shapes are numpy's: the last axis is the one whose values lie side by side. Raises FileNotFoundError, or ValueError
    that names the file and what is wrong with it. `data=False` reads the header alone, so that the tensors' bytes may be
    missing.
    """

    def __init__(self, path: str | os.PathLike, *, data: bool = True):
        super().__init__(path)
        with open(self.path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            try:
                if not size:
                    raise ValueError("it is empty")
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
                    self._parse(_Reader(memory, size), size, data)
            except ValueError as error:
                raise ValueError(f"{self.path} is not a sound GGUF file: {error}; get it again") from None

    def _parse(self, reader, size, data):
        if reader.take(4) != MAGIC:
            raise ValueError("it does not begin with GGUF")
        version = reader.integer("<I")
        if version not in VERSIONS:
            raise ValueError(f"its version must be 2 or 3, got {version}")
        tensors, pairs = reader.integer("<q"), reader.integer("<q")
        if tensors < 0 or pairs < 0:
            raise ValueError(f"it claims {tensors} tensors and {pairs} key-value pairs")
        values: dict[str, _Value] = {}
        for _ in range(pairs):
            key = _text(reader.string())
            if not key or key in values:
                raise ValueError(f"a key is {'there twice' if key else 'empty'}: {_start(key)}")
            values[key] = _skip_value(reader, key)
        alignment = _alignment(values.get(ALIGNMENT_KEY), reader)
        descriptions: dict[str, tuple[tuple[int, ...], Format, int]] = {}
        for _ in range(tensors):
            name, description = _describe(reader)
            if name in descriptions:
                raise ValueError(f"tensor {name!r} is there twice")
            descriptions[name] = description
        header = reader.place
        self.metadata = Metadata(values, reader.bytes(0, header))
        start, place = _padded(header, alignment), 0
        if descriptions and start > size:
            raise ValueError(f"its tensors begin at byte {start}, it has {size}")
        for name, (shape, form, offset) in descriptions.items():
            if offset != place:
                raise ValueError(
                    f"tensor {name!r} lies at offset {offset} instead of {place}, behind the one before it"
                )
            nbytes = _size(shape) // form.block * form.nbytes
            decode = DECODERS.get(form.name) or _unknown(self.path, name, form.name)
            self._tensors[name] = FileTensor(self.path, name, shape, form.name, start + place, nbytes, decode)
            place += _padded(nbytes, alignment)
        if data and descriptions and start + place > size:
            raise ValueError(f"its tensors end at byte {start + place}, it has {size}")


class _Value(NamedTuple):
    """Where a value lies: `kind` of it or of an array's elements; `count` of an array's, None for a single one."""

    kind: int
    count: int | None
    place: int


class Metadata(Mapping[str, Any]):
    """The key-value pairs of a header, decoded when asked for: numbers, bool, str; arrays as numpy's, or lists of str.

    What is not UTF-8 is kept as lone surrogates.
    """

    def __init__(self, values: dict[str, _Value], header: bytes):
        self._values, self._header = values, header

    def __getitem__(self, key: str) -> Any:
        kind, count, place = self._values[key]
        if kind == STRING:
            strings = _strings(self._header, place, 1 if count is None else count)
            return strings[0] if count is None else strings
        array = np.frombuffer(self._header, SCALARS[kind], 1 if count is None else count, place)
        array = array != 0 if SCALARS[kind] == "?" else array  # any byte but 0 is true
        return array[0].item() if count is None else array

    def __iter__(self):
        return iter(self._values)

    def __len__(self):
        return len(self._values)


class _Reader:
    """A place in a file that moves on; what would reach past the end is a ValueError."""

    def __init__(self, memory, size):
        self._memory, self._size, self.place = memory, size, 0

    def skip(self, nbytes):
        if nbytes > self._size - self.place:
            raise ValueError(f"it ends at byte {self._size}, inside its header")
        self.place += nbytes

    def take(self, nbytes):
        start = self.place
        self.skip(nbytes)
        return self._memory[start : self.place]

    def bytes(self, start, end):
        return self._memory[start:end]

    def integer(self, form):
        start = self.place
        self.skip(struct.calcsize(form))
        return struct.unpack_from(form, self._memory, start)[0]

    def string(self):
        length = self.integer("<Q")
        if length > LARGEST:
            raise ValueError(f"a string claims {length} bytes")
        return self.take(length)

    def skip_strings(self, count):
        """Past `count` strings: the one loop that runs a hundred thousand times for a real tokenizer."""
        memory, place, end = self._memory, self.place, self._size
        from_bytes = int.from_bytes
        for _ in range(count):
            if end - place < 8:
                self.skip(end)  # raises
            place += 8 + from_bytes(memory[place : place + 8], "little")
            if place > end:
                raise ValueError("a string reaches past the end")
        self.place = place


def _skip_value(reader, key):
    kind, count = reader.integer("<i"), None
    if kind == ARRAY:
        kind, count = reader.integer("<i"), reader.integer("<Q")
        if count > LARGEST:
            raise ValueError(f"{_start(key)} claims {count} elements")
    if kind != STRING and kind not in SCALARS:
        raise ValueError(f"{_start(key)} has the unknown type {kind}")
    value = _Value(kind, count, reader.place)
    if kind == STRING:
        reader.skip_strings(1 if count is None else count)
    else:
        reader.skip(np.dtype(SCALARS[kind]).itemsize * (1 if count is None else count))
    return value


def _alignment(value, reader):
    if value is None:
        return ALIGNMENT
    if value.kind != UINT32 or value.count is not None:
        raise ValueError(f"{ALIGNMENT_KEY} must be a 32-bit unsigned integer")
    alignment = int.from_bytes(reader.bytes(value.place, value.place + 4), "little")
    if not alignment or alignment & (alignment - 1):
        raise ValueError(f"{ALIGNMENT_KEY} must be a power of two, got {alignment}")
    return alignment


def _describe(reader):
    """(name, (shape, format, offset)) of the next tensor."""
    name = reader.string()
    if len(name) > MAX_NAME:
        raise ValueError(f"a tensor's name must be at most {MAX_NAME} bytes, got {len(name)}")
    name = _text(name.split(b"\0")[0])
    dims = reader.integer("<I")
    if dims > MAX_DIMS:
        raise ValueError(f"tensor {name!r} must have at most {MAX_DIMS} dimensions, got {dims}")
    shape = tuple(reader.integer("<q") for _ in range(dims))[::-1]
    kind = reader.integer("<i")
    if min(shape, default=0) < 0 or _size(shape) >= INT64:
        raise ValueError(f"tensor {name!r} has the impossible shape {shape}")
    if kind not in FORMATS:
        raise ValueError(f"tensor {name!r} has the unknown type {kind}")
    form = FORMATS[kind]
    row = shape[-1] if shape else 1
    if row % form.block:
        raise ValueError(f"tensor {name!r} must have rows of whole blocks of {form.block}, got {row} values")
    if _size(shape) // form.block > (2 * INT64 - 1) // form.nbytes:
        raise ValueError(f"tensor {name!r} of shape {shape} is too large for any file")
    return name, (shape, form, reader.integer("<Q"))


def _size(shape):
    size = 1
    for n in shape:
        size *= n
    return size


def _padded(size, alignment):
    return -(-size // alignment) * alignment


def _strings(header, place, count):
    strings = []
    for _ in range(count):
        start = place + 8
        place = start + int.from_bytes(header[place:start], "little")
        strings.append(_text(header[start:place]))
    return strings


def _text(raw):
    return raw.decode("utf-8", "surrogateescape")


def _start(key):
    """A key for a message: a damaged length may have made it as long as the file."""
    return repr(key[:MAX_NAME]) + "..." * (len(key) > MAX_NAME)


def _unknown(path, name, kind):
    def decode(raw):
        raise ValueError(f"{path}: {name} is stored as {kind}, which is not supported; only {', '.join(DECODERS)} are")

    return decode
