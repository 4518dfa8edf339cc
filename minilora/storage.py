"""Files that survive: atomic writes, and .npz archives that are checked before they are loaded.

A leaf like `checks`: everything may import it. A file appears whole or not at all (temporary file, fsync, rename),
the same content gives the same bytes, and nothing is unpickled.
"""

import json
import math
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from minilora import checks

_METADATA = "metadata.json"


def write_atomically(path: str | os.PathLike, write: Callable[[BinaryIO], None]) -> None:
    """Call `write(file)` on a temporary file beside `path`, then put it in the place of `path` in one step.

    Killed at any moment, `path` holds either the old content or the new. Temporary files that an earlier, killed
    write left behind are swept.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for stray in path.parent.glob(f".{path.name}.*.tmp"):
        stray.unlink(missing_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes it private to the user
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def save_arrays(path: str | os.PathLike, arrays: dict[str, np.ndarray], metadata: dict[str, Any] | None = None) -> None:
    """Write named arrays and JSON metadata as one .npz file, atomically; equal content gives equal bytes."""

    def write(file):
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            with _entry(archive, _METADATA) as entry:
                entry.write(json.dumps(metadata or {}, sort_keys=True, indent=1).encode())
            for name, array in arrays.items():
                with _entry(archive, f"{name}.npy") as entry:
                    np.lib.format.write_array(entry, np.asarray(array, order="C"), allow_pickle=False)

    write_atomically(path, write)


def load_arrays(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save_arrays` wrote: (arrays by name, metadata).

    Each array's declared size is compared with the file's before any memory is asked for, so a forged header cannot
    request hundreds of GiB. Raises FileNotFoundError, or ValueError that names the file and what is wrong with it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; check the path, or save it first")
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {}
            for info in archive.infolist():
                if info.filename.endswith(".npy"):
                    arrays[info.filename.removesuffix(".npy")] = _read_array(archive, info, path.stat().st_size)
            metadata = json.loads(archive.read(_METADATA)) if _METADATA in archive.namelist() else {}
    except (zipfile.BadZipFile, EOFError, KeyError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged or no archive of arrays ({error}); make it anew") from error
    return arrays, metadata


def _entry(archive, name):
    # A fixed date: the clock must not get into the bytes.
    return archive.open(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), "w", force_zip64=True)


def _read_array(archive, info, file_size):
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > file_size:
        raise ValueError(f"{info.filename} declares {info.file_size} bytes in a file of {file_size}; make it anew")
    with archive.open(info) as entry:
        version = np.lib.format.read_magic(entry)
        if version == (1, 0):
            header = np.lib.format.read_array_header_1_0(entry)
        elif version == (2, 0):
            header = np.lib.format.read_array_header_2_0(entry)
        else:
            raise ValueError(f"{info.filename} has the unknown .npy version {version}")
        shape, _, dtype = header
        declared = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or declared > info.file_size:
            raise ValueError(
                f"{info.filename} declares {checks.shown(shape)} of {dtype}, {declared} bytes, but holds "
                f"{info.file_size}; the file is damaged or forged"
            )
    with archive.open(info) as entry:
        return np.lib.format.read_array(entry, allow_pickle=False)
