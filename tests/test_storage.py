"""Files: killed and crowded writes, and every way in which an archive can lie."""

import io
import json
import re
import sys
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest

from minilora import archive, storage
from minilora.storage import load_arrays, save_arrays


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.npz"


@pytest.fixture
def saved(path, rng):
    save_arrays(path, {"a": rng.standard_normal((3, 4)).astype(np.float32), "b": np.arange(5)}, {"step": 1})
    return path


def entry_bytes(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    return file.getvalue()


def forge(path, entries, compression=zipfile.ZIP_STORED, comment=b""):
    """An archive by `zipfile`, its checksums right, from (name, content) pairs; metadata comes first unless it is among them."""
    if sys.version_info < (3, 11, 4):
        pytest.skip("zipfile writes the sizes of ZIP64 entries another way before Python 3.11.4")
    if "metadata.json" not in dict(entries):
        entries = [("metadata.json", b"{}"), *entries]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive_file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        archive_file.comment = comment
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type, info.create_system = compression, 3
            with archive_file.open(info, "w", force_zip64=True) as entry:
                entry.write(content)
    path.write_bytes(file.getvalue())


def test_round_trip_and_equal_bytes(tmp_path, rng):
    arrays = {
        "a/b": rng.standard_normal((3, 4)),
        "c": np.arange(5, dtype=np.uint8),
        "d": np.array(3),
        "é": np.zeros((0, 2), np.float16),
        "transposed": rng.standard_normal((4, 3)).astype(np.float32).T,
        "other order": np.arange(3, dtype=">i2"),
    }
    save_arrays(tmp_path / "x.npz", arrays, {"note": [1, 2]})
    back, metadata = load_arrays(tmp_path / "x.npz")
    assert metadata == {"note": [1, 2]} and list(back) == list(arrays)
    for name in arrays:
        np.testing.assert_array_equal(back[name], arrays[name])
        assert back[name].dtype == arrays[name].dtype.newbyteorder("=") and back[name].shape == arrays[name].shape
        assert back[name].flags.writeable and back[name].flags.c_contiguous
    save_arrays(tmp_path / "y.npz", back, {"note": [1, 2]})
    assert (tmp_path / "x.npz").read_bytes() == (tmp_path / "y.npz").read_bytes()
    with np.load(tmp_path / "x.npz") as numpys:
        np.testing.assert_array_equal(numpys["a/b"], arrays["a/b"])


@pytest.mark.parametrize(
    "arrays, metadata, error",
    [
        ({"a": np.array([1.0, np.nan])}, {}, "finite"),
        ({"a": np.array([np.inf], np.float16)}, {}, "finite"),
        ({"a": np.array([True])}, {}, "plain numpy array of numbers"),
        ({"a": np.array(["x"])}, {}, "plain numpy array of numbers"),
        ({"a": np.array([None])}, {}, "plain numpy array of numbers"),
        ({"a": np.array([1j])}, {}, "plain numpy array of numbers"),
        ({"a": np.array(0, "M8[s]")}, {}, "plain numpy array of numbers"),
        ({"a": np.ma.masked_array([1.0], [True])}, {}, "plain numpy array of numbers"),
        ({"a": [1.0]}, {}, "plain numpy array of numbers"),
        ({"a": np.zeros(1, np.longdouble)}, {}, "at most 64 bits"),
        ({1: np.zeros(1)}, {}, "name must be a str"),
        ({"a" * 70000: np.zeros(1)}, {}, "at most 1,020 bytes"),
        ([np.zeros(1)], {}, "arrays must be a dict"),
        ({}, [1], "metadata must be a dict"),
        ({}, {"step": np.int64(1)}, "metadata must hold only what JSON knows"),
        ({}, {"text": "x" * 2**24}, "store long lists as arrays"),
        ({}, {"list": [[]] * 200_000}, "store long lists as arrays"),
    ],
    ids=str,
)
def test_what_could_not_be_read_again_is_not_written(saved, arrays, metadata, error):
    before = saved.read_bytes()
    with pytest.raises((TypeError, ValueError), match=error):
        save_arrays(saved, arrays, metadata)
    assert saved.read_bytes() == before and len(list(saved.parent.iterdir())) == 1


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.npz does not exist"):
        load_arrays(tmp_path / "nothing.npz")
    with pytest.raises(TypeError, match="path must be a str"):
        load_arrays(None)


def test_a_bit_flipped_in_any_byte_and_any_cut_is_noticed(saved):
    save_arrays(saved, {"a": np.arange(5)}, {"step": 1})
    content = saved.read_bytes()
    forged = saved.with_name("forged.npz")
    for i in range(len(content)):
        forged.write_bytes(content[:i] + bytes([content[i] ^ 1 << i % 8]) + content[i + 1 :])
        with pytest.raises(ValueError, match="forged.npz is damaged"):
            load_arrays(forged)
    for i in range(0, len(content), 11):
        forged.write_bytes(content[:i])
        with pytest.raises(ValueError, match="forged.npz is damaged"):
            load_arrays(forged)
    for more in (b"\0", content, content[-22:]):
        forged.write_bytes(content + more)
        with pytest.raises(ValueError, match="forged.npz is damaged"):
            load_arrays(forged)


def header(text):
    text = text.encode()
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n"
FORGED = {
    "metadata last": ([("a.npy", entry_bytes(np.zeros(2))), ("metadata.json", b"{}")], "first entry"),
    "twice": ([("a.npy", entry_bytes(np.zeros(2)))] * 2, "'a.npy' is there twice"),
    "two metadata": ([("metadata.json", b"{}")] * 2, "not an array"),
    "another file": ([("a.txt", b"")], "'a.txt' is not an array"),
    "not an object": ([("metadata.json", b"[1]")], "instead of an object"),
    "a field twice": ([("metadata.json", b'{"a": 1, "a": 2}')], "a field is there twice"),
    "no JSON": ([("metadata.json", b"{")], "metadata.json is not valid"),
    "not ASCII": ([("metadata.json", '{"a": "é"}'.encode())], "not ASCII"),
    "deep": ([("metadata.json", b"[" * 50_000)], "nested too deeply"),
    "large": ([("metadata.json", b" " * (2**24 + 1))], "more than the 16777216 that are read"),
    "lists": ([("metadata.json", b'{"a": [' + b"[]," * 100_000 + b"[]]}")], "bytes of memory"),
    "long number": ([("metadata.json", b'{"a": ' + b"9" * 5000 + b"}")], "not valid"),
    "not .npy": ([("a.npy", b"hello")], "not an array in .npy format"),
    "empty": ([("a.npy", b"")], "not an array in .npy format"),
    "version 2": ([("a.npy", header(GOOD).replace(b"\1\0", b"\2\0", 1) + bytes(8))], "not an array in .npy"),
    "header too long": ([("a.npy", header(GOOD)[:8] + b"\xff\xff" + GOOD.encode() + bytes(8))], "not an array"),
    "(": ([("a.npy", header("(") + bytes(8))], "header that minilora does not write"),
    "deep header": ([("a.npy", header("(" * 60_000) + bytes(8))], "header that minilora does not write"),
    "hundreds of GiB": ([("a.npy", header(GOOD.replace("2", str(2**37))) + bytes(8))], "does not take the 8 bytes"),
    "huge number": ([("a.npy", header(GOOD.replace("2", "9" * 5000)) + bytes(8))], "minilora does not write"),
    "shorter": ([("a.npy", header(GOOD.replace("2", "1")) + bytes(8))], "does not take the 8 bytes"),
    "negative": ([("a.npy", header(GOOD.replace("2", "-2")) + bytes(8))], "header that minilora does not write"),
    "not a tuple": ([("a.npy", header(GOOD.replace("2,", "2")) + bytes(8))], "which is impossible"),
    "big endian": ([("a.npy", entry_bytes(np.zeros(2, ">f4")))], "header that minilora does not write"),
    "Fortran": ([("a.npy", entry_bytes(np.zeros((2, 2), order="F")))], "header that minilora does not write"),
    "bool": ([("a.npy", entry_bytes(np.zeros(2, bool)))], "header that minilora does not write"),
    "text": ([("a.npy", entry_bytes(np.array(["a"])))], "header that minilora does not write"),
    "bytes": ([("a.npy", entry_bytes(np.array([b"a"])))], "header that minilora does not write"),
    "datetime": ([("a.npy", entry_bytes(np.zeros(2, "M8[s]")))], "header that minilora does not write"),
    "complex": ([("a.npy", entry_bytes(np.zeros(2, complex)))], "header that minilora does not write"),
    "structured": ([("a.npy", entry_bytes(np.zeros(2, "i4,f4")))], "header that minilora does not write"),
    "object": ([("a.npy", header(GOOD.replace("<f4", "|O")) + bytes(8))], "header that minilora does not write"),
    "f1": ([("a.npy", header(GOOD.replace("<f4", "<f1")) + bytes(2))], "which is impossible"),
    "NaN": ([("a.npy", entry_bytes(np.array([0, np.nan])))], "'a' must be finite, got nan at index"),
    "infinity": ([("a.npy", entry_bytes(np.array([np.inf], np.float16)))], "'a' must be finite, got inf"),
}


def refused(path, fault):
    """Loading ends in a ValueError that names file and fault, and takes no more memory than is promised."""
    size = path.stat().st_size
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="x.npz is damaged") as raised:
            load_arrays(path)
        assert tracemalloc.get_traced_memory()[1] <= 2 * size + storage.SPARE_BYTES
    finally:
        tracemalloc.stop()
    assert type(raised.value) is ValueError and re.search(fault, str(raised.value)) and len(str(raised.value)) < 600


@pytest.mark.parametrize("entries, fault", FORGED.values(), ids=FORGED.keys())
def test_forged_content_is_refused(path, entries, fault):
    forge(path, entries)
    refused(path, fault)


def test_odd_archives_are_refused(path, saved):
    content = saved.read_bytes()
    arrays = [("a.npy", entry_bytes(np.zeros(1000)))]
    forge(path, arrays)
    load_arrays(path)  # the forger's hand is good
    forge(path, arrays, compression=zipfile.ZIP_DEFLATED)
    refused(path, "compression method 8")
    forge(path, [("metadata.json", b" " * 10**7 + b"{}")], compression=zipfile.ZIP_DEFLATED)
    refused(path, "compression method 8")
    forge(path, arrays, comment=b"hello")
    refused(path, "not the directory")
    forge(path, [("\\.npy", b"")])
    path.write_bytes(path.read_bytes().replace(b"\\", b"\xff"))
    refused(path, "decode")
    path.write_bytes(content[:6] + b"\1" + content[7:])
    refused(path, "flags 0x1")  # encrypted
    path.write_bytes(b"PK\5\6" + bytes(18))
    refused(path, "does not begin")
    path.write_bytes(b"")
    refused(path, "does not begin")
    np.savez(path, a=np.zeros(3))
    refused(path, "first entry must be metadata.json")
    with zipfile.ZipFile(path, "w") as file:  # sizes in four bytes, and the clock
        file.writestr("metadata.json", "{}")
    refused(path, "not one that minilora writes")


def test_an_entry_that_declares_more_than_there_is(path, saved):
    content = bytearray(saved.read_bytes())
    at = content.index(b"a.npy") + 5 + 4
    content[at : at + 16] = (2**40).to_bytes(8, "little") * 2
    path.write_bytes(content)
    refused(path, "'a.npy' declares 1099511627776 bytes")


def test_a_name_or_header_of_64_kib_is_not_read(path, saved):
    """Either would take a multiple of a small file's size."""
    content = bytearray(saved.read_bytes())
    content[26:28] = b"\xff\xff"  # the length of the first entry's name
    path.write_bytes(content + bytes(60_000))
    check_memory(path, "has 65535 bytes, more than 1024")
    forge(path, [("metadata.json", b"{}"), ("a.npy", header("(" * 60_000) + bytes(8))])
    check_memory(path, "header that minilora does not write")


def check_memory(path, fault):
    for _ in range(2):  # the first one fills caches
        tracemalloc.start()
        refused(path, fault)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**16


def test_the_longest_name_and_the_most_axes_are_read_again(path):
    arrays = {"n" * 1020: np.zeros(2), "axes": np.zeros((10,) * 4 + (1,) * 60)}
    save_arrays(path, arrays, {})
    again, _ = load_arrays(path)
    assert {name: a.shape for name, a in again.items()} == {name: a.shape for name, a in arrays.items()}


def test_metadata_costs_no_more_memory_than_was_reckoned():
    for text in (
        "[]",
        "{}",
        '"ab"',
        "1.5",
        "12345678901234567890",
        '{"a": 1}',
        "[1.5]",
        '"\\ud83d\\ude00abcdefghijkl"',
    ):
        for make in (lambda i, text=text: text, lambda i, text=text: f'{{"{i}": {text}}}'):
            whole = "[" + ",".join(make(i) for i in range(5000)) + "]"
            tracemalloc.start()
            value = json.loads(whole, object_pairs_hook=storage._unique)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert len(value) == 5000 and len(whole) + peak <= storage._json_bytes(whole) + 20_000


def test_large_arrays_are_read_without_a_second_copy(path):
    save_arrays(path, {"a": np.ones(2**21, np.float32)}, {})
    size = path.stat().st_size
    tracemalloc.start()
    load_arrays(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * size


def test_what_is_checked_is_what_is_read(path, monkeypatch):
    save_arrays(path, {"a": np.zeros(3)}, {})
    read_entry = archive.read_entry

    def replaced_meanwhile(file, size):
        save_arrays(path, {"b": np.ones(1000)}, {"other": 1})
        return read_entry(file, size)

    monkeypatch.setattr(archive, "read_entry", replaced_meanwhile)
    arrays, metadata = load_arrays(path)
    assert list(arrays) == ["a"] and metadata == {}
