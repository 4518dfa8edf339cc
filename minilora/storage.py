"""Arrays and metadata in one .npz file, checked while it is read.

A leaf like `checks`: everything may import it. A file appears whole or not at all (see `atomic`), the same content gives the
same bytes, nothing is unpickled, and what cannot be trusted ends in one kind of error.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from minilora import archive, checks
from minilora.atomic import kind_of, write_atomically, write_text

__all__ = ["load_arrays", "save_arrays", "write_atomically", "write_text"]

METADATA = "metadata.json"
METADATA_BYTES = 2**24  # of JSON text; whatever grows with a run's length is better stored as an array
SPARE_BYTES = 2**23  # what reading may take beyond twice the file's size


def save_arrays(path: str | os.PathLike, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    """Write named arrays and JSON metadata as one .npz file, atomically; equal content gives equal bytes.

    Arrays are of floats (16 to 64 bits, finite) or integers; whatever `load_arrays` would refuse raises TypeError or
    ValueError here, before the old file is touched.
    """
    text = _to_json(metadata)
    little_endian = {name: _storable(name, array) for name, array in checks.instance("arrays", arrays, dict).items()}

    def write(file):
        entries = [archive.write_entry(file, METADATA, [text])]
        for name, array in little_endian.items():
            array = np.ascontiguousarray(array).reshape(array.shape)
            parts = (archive.array_header(array), archive.as_bytes(array))
            entries.append(archive.write_entry(file, f"{name}.npy", parts))
        start = file.tell()
        directory = b"".join(archive.directory_header(entry) for entry in entries)
        file.write(directory + archive.end_record(len(entries), start, len(directory)))

    write_atomically(path, write)


def load_arrays(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save_arrays` wrote: (arrays by name, metadata).

    FileNotFoundError if there is no such file; one ValueError, which names the file and the fault, for anything that
    `save_arrays` would not have written: every byte is checked, be it against a checksum or against what must stand there.
    Memory: at most twice the file's size and SPARE_BYTES, whatever the file claims. The file is opened once, so that
    what is checked is what is read.
    """
    path = Path(checks.path("path", path))
    with _open(path) as file:
        try:
            return _read_archive(file, os.fstat(file.fileno()).st_size)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{path} is damaged, forged or not a file of minilora: {error}; save it again or fetch it again"
            ) from None


def _read_archive(file: BinaryIO, file_size: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    arrays, directory, count = {}, bytearray(), 0
    metadata = None
    while (entry := archive.read_entry(file, file_size)) is not None:
        if count == 0:
            if entry.name != METADATA:
                raise ValueError(f"its first entry must be {METADATA}, not {entry.name[:80]!r}")
            metadata = _read_metadata(file, entry, file_size)
        else:
            name = entry.name.removesuffix(".npy")
            if name == entry.name or name in arrays:
                raise ValueError(
                    f"its entry {entry.name[:80]!r} is {'there twice' if name in arrays else 'not an array'}"
                )
            arrays[name] = archive.read_array(file, entry)
            if arrays[name].dtype.kind == "f":
                checks.finite(f"the array {name[:80]!r}", arrays[name])
        directory += archive.directory_header(entry)
        count += 1
    start = file.tell()
    directory += archive.end_record(count, start, len(directory))
    if metadata is None:
        raise ValueError(f"it does not begin with the entry {METADATA}")
    if file.read(len(directory) + 1) != directory:
        raise ValueError(f"what follows its {count} entries is not the directory of just these")
    return arrays, metadata


def _read_metadata(file, entry, file_size):
    if entry.size > METADATA_BYTES:
        raise ValueError(f"its {METADATA} has {entry.size} bytes, more than the {METADATA_BYTES} that are read")
    raw = file.read(entry.size)
    archive.check_crc(entry, [raw])
    if not raw.isascii():  # asked first, as a failed decoding takes memory of its own
        raise ValueError(f"its {METADATA} is not ASCII")
    text = raw.decode("ascii")
    del raw
    if (cost := _json_bytes(text)) > 2 * file_size + SPARE_BYTES:
        raise ValueError(f"its {METADATA} would take {cost} bytes of memory")
    try:
        metadata = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError(f"its {METADATA} is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"its {METADATA} is not valid: {error}") from None
    if not isinstance(metadata, dict):
        raise ValueError(f"its {METADATA} holds {checks.shown(metadata)} instead of an object")
    return metadata


def _to_json(metadata):
    checks.instance("metadata", metadata, dict)
    try:
        text = json.dumps(metadata, sort_keys=True, indent=1)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"metadata must hold only what JSON knows, got {checks.shown(metadata)}: {error}") from None
    if len(text) > METADATA_BYTES or _json_bytes(text) > 2 * len(text) + SPARE_BYTES:
        raise ValueError(
            f"metadata must stay below {METADATA_BYTES} bytes and {SPARE_BYTES} of memory, got {len(text)} bytes of JSON; "
            "store long lists as arrays"
        )
    return text.encode()


def _json_bytes(text):
    """At most how many bytes of memory it takes to parse `text`, itself included, by the sizes of CPython's objects."""
    costs = (",", 40), ('"', 28), ("[", 88), ("{", 240), (":", 200)  # number, string, list, dict, a new key in one
    characters = 4 if "\\u" in text else 1  # one wide character makes all of its string wide
    return len(text) * (1 + characters) + sum(text.count(sign) * cost for sign, cost in costs)


def _unique(pairs):
    if len(made := dict(pairs)) < len(pairs):
        raise ValueError("a field is there twice")
    return made


def _storable(name, array):
    if len(checks.string("an array's name", name).encode()) > archive.NAME_LIMIT - len(".npy"):
        raise ValueError(f"an array's name must have at most {archive.NAME_LIMIT - 4:,} bytes, got {name[:40]!r}...")
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray) or array.dtype.kind not in "iuf":
        raise TypeError(f"the array {name!r} must be a plain numpy array of numbers, got {checks.shown(array)}")
    little_endian = array.dtype.newbyteorder("<")
    if little_endian.str not in archive.DTYPES:
        raise TypeError(f"the array {name!r} must have numbers of at most 64 bits, got {checks.shown(array)}")
    if array.dtype.kind == "f":
        checks.finite(f"the array {name!r}", array)
    return array.astype(little_endian, copy=False)


def _open(path: Path) -> BinaryIO:
    """Open a regular file for reading; a pipe or device is neither waited for nor read."""
    try:
        if os.name == "nt" and path.is_dir():
            raise IsADirectoryError
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist; check the path, or save it first") from None
    except (IsADirectoryError, NotADirectoryError):
        raise ValueError(f"{path} must be a file, got a directory or something inside a file") from None
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise ValueError(f"{path} must be a file, got {kind_of(mode)}")
    return os.fdopen(handle, "rb")
