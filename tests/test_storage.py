"""Files: killed and crowded writes, and every way in which an archive can lie."""

import errno
import io
import json
import os
import re
import subprocess
import sys
import time
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest

from minilora import archive, storage
from minilora.storage import load_arrays, save_arrays, write_atomically, write_text

POSIX = pytest.mark.skipif(os.name == "nt", reason="needs POSIX")


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


# writing


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
        ({"a" * 70000: np.zeros(1)}, {}, "shorter than"),
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


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    (tmp_path / ".x.stray.tmp").write_bytes(b"left by a killed write")

    def fails(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fails)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@POSIX
def test_a_full_disk_leaves_the_old_file_and_is_named(saved):
    before = saved.read_bytes()
    code = (
        "import numpy as np, resource, signal, sys; from minilora.storage import save_arrays\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "save_arrays(sys.argv[1], {'a': np.zeros(100_000)}, {})"
    )
    done = subprocess.run([sys.executable, "-c", code, str(saved)], capture_output=True, text=True)
    assert re.search(r"OSError: .*x\.npz", done.stderr)
    assert saved.read_bytes() == before and len(list(saved.parent.iterdir())) == 1


@pytest.mark.parametrize("name", ["x", "a[1].npz", "*"])
def test_only_the_strays_of_this_very_path_are_swept(tmp_path, name):
    mine, others = (
        tmp_path / f".{name}.0123abcd.tmp",
        [".x.npz.0123abcd.tmp", ".a1.npz.0123abcd.tmp", ".y.0123abcd.tmp"],
    )
    for stray in [mine.name, *others]:
        (tmp_path / stray).touch()
    write_text(tmp_path / name, "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, *others])


def test_a_live_writer_is_not_swept(tmp_path):
    path = tmp_path / "x"

    def slowly(file):
        file.write(b"outer")
        file.flush()
        write_text(path, "inner")  # another save to the same path, while this one is half done

    write_atomically(path, slowly)
    assert path.read_bytes() == b"outer" and len(list(tmp_path.iterdir())) == 1


def test_without_locks_only_old_strays_are_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "fcntl", None)  # as on Windows
    young, old = tmp_path / ".x.0123abcd.tmp", tmp_path / ".x.4567abcd.tmp"
    for stray in (young, old):
        stray.touch()
    os.utime(old, (time.time() - 4000,) * 2)
    write_text(tmp_path / "x", "new")
    assert young.exists() and not old.exists() and (tmp_path / "x").read_text(encoding="utf-8") == "new"


def test_a_sweep_between_creating_and_locking_is_noticed(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    swept = []

    class Raced:
        LOCK_EX, LOCK_NB = fcntl.LOCK_EX, fcntl.LOCK_NB

        @staticmethod
        def flock(file, kind):
            if not swept:
                swept.extend(tmp_path.glob(".x.*.tmp"))
                swept[0].unlink()
            fcntl.flock(file, kind)

    monkeypatch.setattr(storage, "fcntl", Raced)
    write_text(tmp_path / "x", "new")
    assert swept and (tmp_path / "x").read_text(encoding="utf-8") == "new"


def test_processes_and_threads_may_save_to_one_path(path):
    code = (
        "import sys, threading, numpy as np; from minilora import storage\n"
        "storage.os.fsync = lambda handle: None\n"  # the disk is not what is tested
        "def save(n):\n"
        "    for i in range(100): storage.save_arrays(sys.argv[1], {'a': np.full(300, n)}, {'n': n})\n"
        "threads = [threading.Thread(target=save, args=(int(sys.argv[2]) + k,)) for k in (0, 1)]\n"
        "for t in threads: t.start()\n"
        "for t in threads: t.join()"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(path)]
    writers = [subprocess.Popen([*command, str(n)], stderr=subprocess.PIPE, text=True) for n in (10, 20)]
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            arrays, metadata = load_arrays(path)
            assert np.all(arrays["a"] == metadata["n"])
    assert [writer.communicate()[1] for writer in writers] == ["", ""]
    assert [p.name for p in path.parent.iterdir()] == ["x.npz"]


@POSIX
def test_permissions(tmp_path):
    new, kept = tmp_path / "new", tmp_path / "kept"
    kept.touch()
    kept.chmod(0o640)
    before = os.umask(0o027)
    try:
        write_text(new, "")
        write_text(kept, "")
    finally:
        os.umask(before)
    assert (new.stat().st_mode & 0o777, kept.stat().st_mode & 0o777) == (0o640, 0o640)
    kept.chmod(0o606)
    write_text(kept, "")
    assert kept.stat().st_mode & 0o777 == 0o606


@POSIX
def test_links_folders_and_pipes_are_never_replaced(tmp_path):
    (tmp_path / "target").write_text("old", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    for name, kind in (("link", "link"), ("dangling", "link"), ("folder", "a directory"), ("pipe", "a pipe")):
        with pytest.raises(ValueError, match=f"{name} must be a file or new, got .*{kind}.* never replaced"):
            write_text(tmp_path / name, "new")
        if name in ("folder", "pipe"):
            with pytest.raises(ValueError, match=f"{name} must be a file, got a"):
                load_arrays(tmp_path / name)
    with pytest.raises(ValueError, match="device"):
        write_text("/dev/null", "new")
    assert sorted(tmp_path.iterdir()) == before and (tmp_path / "target").read_text(encoding="utf-8") == "old"


@POSIX
def test_a_link_that_appears_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "x"
    with pytest.raises(ValueError, match="symbolic link"):
        write_atomically(path, lambda file: path.symlink_to(tmp_path / "y"))
    assert path.is_symlink() and len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path, monkeypatch):
    def refuses(handle):
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(errno.EINVAL, "no")

    monkeypatch.setattr(storage.os, "fsync", refuses)
    write_text(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text(encoding="utf-8") == "new"


def test_write_text_keeps_the_text(tmp_path):
    write_text(tmp_path / "deep" / "x", "é\r\n\n")
    assert (tmp_path / "deep" / "x").read_bytes() == "é\r\n\n".encode()
    with pytest.raises(ValueError, match="surrogate"):
        write_text(tmp_path / "y", "\ud800")
    with pytest.raises(TypeError, match="path must be a str"):
        write_text(3, "")


# reading


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
    "not ASCII": ([("metadata.json", '{"a": "é"}'.encode())], "ascii"),
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
    "huge number": ([("a.npy", header(GOOD.replace("2", "9" * 5000)) + bytes(8))], "digits"),
    "shorter": ([("a.npy", header(GOOD.replace("2", "1")) + bytes(8))], "does not take the 8 bytes"),
    "negative": ([("a.npy", header(GOOD.replace("2", "-2")) + bytes(8))], "header that minilora does not write"),
    "not a tuple": ([("a.npy", header(GOOD.replace("2,", "2")) + bytes(8))], "cannot be"),
    "big endian": ([("a.npy", entry_bytes(np.zeros(2, ">f4")))], "header that minilora does not write"),
    "Fortran": ([("a.npy", entry_bytes(np.zeros((2, 2), order="F")))], "header that minilora does not write"),
    "bool": ([("a.npy", entry_bytes(np.zeros(2, bool)))], "header that minilora does not write"),
    "text": ([("a.npy", entry_bytes(np.array(["a"])))], "header that minilora does not write"),
    "bytes": ([("a.npy", entry_bytes(np.array([b"a"])))], "header that minilora does not write"),
    "datetime": ([("a.npy", entry_bytes(np.zeros(2, "M8[s]")))], "header that minilora does not write"),
    "complex": ([("a.npy", entry_bytes(np.zeros(2, complex)))], "header that minilora does not write"),
    "structured": ([("a.npy", entry_bytes(np.zeros(2, "i4,f4")))], "header that minilora does not write"),
    "object": ([("a.npy", header(GOOD.replace("<f4", "|O")) + bytes(8))], "header that minilora does not write"),
    "f1": ([("a.npy", header(GOOD.replace("<f4", "<f1")) + bytes(2))], "cannot be"),
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
