"""The bytes of an .npz file: a zip archive of uncompressed entries, each an array in the .npy format.

Zip: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16 and 4.5.3. Arrays: numpy's NEP 1, version 1.0.
`numpy.load` reads what is written here, and `zipfile` would write the same bytes (the tests hold both to it). It is spelled
out because the bytes must not depend on the platform, and because reading is strict: an archive has many ways to lie
(two sizes for one entry, two entries of one name, content that no entry owns, compression that expands a thousandfold),
and here every byte that is not content must be the very byte that writing the same content would have put there.
"""

import math
import re
import struct
import zlib
from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple

import numpy as np

LOCAL, DIRECTORY, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
VERSION = 45  # the zip version that knows sizes of eight bytes
UNIX = 3
UTF8 = 0x800  # the flag of a name that is not ASCII
DATE = 33  # 1980-01-01: the clock must not get into the bytes
READABLE = 0o600 << 16
WIDE = 0xFFFFFFFF  # "the size stands in the extra field"
LIMIT = 2**31 - 1  # from here on the directory uses eight bytes, too
COUNT_LIMIT = 2**16 - 1
HEADER_LIMIT = 2**10  # bytes of an array's header: a shape of 64 axes, the most that numpy has, takes fewer
NAME_LIMIT = 2**10  # bytes of an entry's name: longer than any path in a model, and no memory to speak of
DTYPES = frozenset(f"{'|' if size == 1 else '<'}{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)) | {
    *("<f2", "<f4", "<f8")
}
_ARRAY_HEADER = re.compile(rb"\{'descr': '([<|][fiu]\d)', 'fortran_order': False, 'shape': (\([0-9, ]*\)), \} *\n")


class Entry(NamedTuple):
    """One file in the archive: its name, how many bytes it has, their CRC-32, and where its header starts."""

    name: str
    size: int
    crc: int
    offset: int


def write_entry(file: BinaryIO, name: str, parts: Iterable[Any]) -> Entry:
    """Append one entry, whose content is `parts` (bytes or uint8 arrays) one after the other."""
    size, crc = 0, 0
    for part in parts:
        size, crc = size + len(part), zlib.crc32(part, crc)
    entry = Entry(name, size, crc, file.tell())
    file.write(local_header(entry))
    for part in parts:
        file.write(part)
    return entry


def read_entry(file: BinaryIO, file_size: int) -> Entry | None:
    """Read the header of the entry that starts here; None if none starts here. ValueError if it is not as written."""
    offset = file.tell()
    head = file.read(30)
    if len(head) < 30 or not head.startswith(LOCAL):
        file.seek(offset)
        return None
    crc, name_length = struct.unpack("<14xL8xH2x", head)
    if name_length > NAME_LIMIT:
        raise ValueError(f"the name of its entry at byte {offset} has {name_length} bytes, more than {NAME_LIMIT}")
    head += file.read(name_length + 20)
    name = head[30 : 30 + name_length].decode()
    size = int.from_bytes(head[-8:], "little")
    entry = Entry(name, size, crc, offset)
    if head != local_header(entry):
        version, flags, method = struct.unpack("<4x3H20x", head[:30])
        raise ValueError(
            f"the header of its entry {_short(name)} is not one that minilora writes "
            f"(zip version {version}, flags {flags:#x}, compression method {method})"
        )
    if size > file_size - file.tell():
        raise ValueError(f"its entry {_short(name)} declares {size} bytes, but only {file_size - file.tell()} are left")
    return entry


def local_header(entry: Entry) -> bytes:
    """What stands before an entry's content."""
    name = entry.name.encode()
    sizes = struct.pack("<2H2Q", 1, 16, entry.size, entry.size)
    numbers = (VERSION, _flags(entry), 0, 0, DATE, entry.crc, WIDE, WIDE, len(name), len(sizes))
    return struct.pack("<4s5H3L2H", LOCAL, *numbers) + name + sizes


def directory_header(entry: Entry) -> bytes:
    """The entry's line in the directory at the end of the archive."""
    name = entry.name.encode()
    wide = ([entry.size] * 2 if entry.size > LIMIT else []) + ([entry.offset] if entry.offset > LIMIT else [])
    extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
    size = WIDE if entry.size > LIMIT else entry.size
    offset = WIDE if entry.offset > LIMIT else entry.offset
    numbers = (
        VERSION,
        _flags(entry),
        0,
        0,
        DATE,
        entry.crc,
        size,
        size,
        len(name),
        len(extra),
        0,
        0,
        0,
        READABLE,
        offset,
    )
    return struct.pack("<4s2B5H3L5H2L", DIRECTORY, VERSION, UNIX, *numbers) + name + extra


def end_record(count: int, start: int, size: int) -> bytes:
    """What closes the archive: how many entries, and where the directory of `size` bytes starts."""
    record = b""
    if count > COUNT_LIMIT or start > LIMIT or size > LIMIT:
        record += struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, VERSION, VERSION, 0, 0, count, count, size, start)
        record += struct.pack("<4sLQL", b"PK\6\7", 0, start + size, 1)
    count = min(count, COUNT_LIMIT)
    return record + struct.pack("<4s4H2LH", END, 0, 0, count, count, min(size, WIDE), min(start, WIDE), 0)


def array_header(array: np.ndarray) -> bytes:
    """The .npy header of a C-contiguous little-endian array, padded to a multiple of 64 bytes.

    The further blanks leave room for the first axis to grow, as numpy has it.
    """
    text = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {array.shape!r}, }}"
    text += " " * (21 - len(repr(array.shape[0])) if array.shape else 0)
    text += " " * (-(10 + len(text) + 1) % 64) + "\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode()


def read_array(file: BinaryIO, entry: Entry) -> np.ndarray:
    """Read the array that is the content of `entry`.

    No memory is asked for before the shape and dtype that it declares are found to be exactly as large as the entry.
    """
    name = _short(entry.name)
    magic = file.read(min(10, entry.size))
    length = int.from_bytes(magic[8:], "little")
    if len(magic) < 10 or magic[:8] != b"\x93NUMPY\1\0" or length > entry.size - 10:
        raise ValueError(f"its entry {name} is not an array in .npy format 1.0")
    header = magic + file.read(min(length, HEADER_LIMIT))
    match = _ARRAY_HEADER.fullmatch(header[10:])
    if match is None or length > HEADER_LIMIT:
        raise ValueError(f"the array {name} has a header that minilora does not write: {_short(header[10:])}")
    descr, shape_text = (part.decode() for part in match.groups())
    shape = tuple(int(number) for number in re.findall(r"\d+", shape_text))
    if descr not in DTYPES or repr(shape) != shape_text:
        raise ValueError(
            f"the array {name} has the dtype {descr!r} and the shape {_short(shape_text)}, which is impossible"
        )
    dtype = np.dtype(descr)
    if math.prod(shape) * dtype.itemsize != entry.size - len(header):
        raise ValueError(
            f"the array {name} declares the shape {_short(shape_text)} of {dtype}, "
            f"which does not take the {entry.size - len(header)} bytes that are there"
        )
    array = np.empty(shape, dtype)
    content = as_bytes(array)
    if file.readinto(content) != len(content):
        raise ValueError(f"it ends in the middle of the array {name}")
    check_crc(entry, (header, content))
    return array.astype(dtype.newbyteorder("="), copy=False)


def check_crc(entry: Entry, parts: Iterable[Any]) -> None:
    """ValueError unless the content that was read has the checksum that was written."""
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    if crc != entry.crc:
        raise ValueError(f"the content of its entry {_short(entry.name)} does not have the checksum that was written")


def as_bytes(array: np.ndarray) -> np.ndarray:
    """The memory of a C-contiguous array as uint8, without a copy."""
    return array.reshape(-1).view(np.uint8)


def _flags(entry):
    return 0 if entry.name.isascii() else UTF8


def _short(text):
    text = repr(text)
    return text if len(text) <= 80 else f"{text[:77]}..."
