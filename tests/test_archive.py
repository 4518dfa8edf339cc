"""The bytes of an archive are those that zipfile and numpy would write."""

import io
import sys
import zipfile

import numpy as np
import pytest

from minilora import archive
from minilora.storage import load_arrays, save_arrays


def entry_bytes(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    return file.getvalue()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.npz"


@pytest.mark.skipif(sys.version_info < (3, 11, 4), reason="zipfile wrote ZIP64 entries another way")
@pytest.mark.parametrize("limit", [None, 100])
def test_zipfile_would_write_the_same_bytes(path, monkeypatch, limit, rng):
    if limit:  # as if the file were larger than 2 GiB
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
        monkeypatch.setattr(archive, "LIMIT", limit)
    arrays = {"é": rng.standard_normal((2, 3)), "b": np.array(7, np.int8)}
    save_arrays(path, arrays, {"a": None})
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as theirs:
        contents = {"metadata.json": b'{\n "a": null\n}'} | {
            f"{name}.npy": entry_bytes(a) for name, a in arrays.items()
        }
        for name, content in contents.items():
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            with theirs.open(info, "w", force_zip64=True) as entry:
                entry.write(content)
    assert path.read_bytes() == file.getvalue()
    np.testing.assert_array_equal(load_arrays(path)[0]["é"], arrays["é"])


def test_headers_are_numpys():
    for array in (
        np.zeros(()),
        np.zeros(3, "f2"),
        np.zeros((12345, 1), "u1"),
        np.zeros((0, 3), "i8"),
        np.zeros((9,) * 5),
    ):
        header = archive.array_header(array)
        assert len(header) % 64 == 0 and entry_bytes(array) == header + array.tobytes()


def test_thousands_of_entries(path, monkeypatch):
    """From 65,536 on, the end of the directory counts in eight bytes; here from 4 on."""
    monkeypatch.setattr(archive, "COUNT_LIMIT", 3)
    save_arrays(path, {str(i): np.arange(i) for i in range(5)}, {})
    assert list(load_arrays(path)[0]) == list("01234")
    assert b"PK\6\6" in path.read_bytes() and b"PK\6\7" in path.read_bytes()
    monkeypatch.setattr(archive, "COUNT_LIMIT", 2**16 - 1)
    with pytest.raises(ValueError, match="not the directory"):
        load_arrays(path)
