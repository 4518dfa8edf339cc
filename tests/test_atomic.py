"""Files that are written by many, killed, or not there to be replaced."""

import errno
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from minilora import atomic
from minilora.atomic import write_atomically, write_text
from minilora.storage import load_arrays, save_arrays

POSIX = pytest.mark.skipif(os.name == "nt", reason="needs POSIX")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.npz"


@pytest.fixture
def saved(path):
    save_arrays(path, {"a": np.arange(5.0)}, {"step": 1})
    return path


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
    monkeypatch.setattr(atomic, "fcntl", None)  # as on Windows
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

    monkeypatch.setattr(atomic, "fcntl", Raced)
    write_text(tmp_path / "x", "new")
    assert swept and (tmp_path / "x").read_text(encoding="utf-8") == "new"


def test_processes_and_threads_may_save_to_one_path(path):
    code = (
        "import os, sys, threading, numpy as np; from minilora import storage\n"
        "os.fsync = lambda handle: None\n"  # the disk is not what is tested
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

    monkeypatch.setattr(os, "fsync", refuses)
    write_text(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text(encoding="utf-8") == "new"


def test_write_text_keeps_the_text(tmp_path):
    write_text(tmp_path / "deep" / "x", "é\r\n\n")
    assert (tmp_path / "deep" / "x").read_bytes() == "é\r\n\n".encode()
    with pytest.raises(ValueError, match="surrogate"):
        write_text(tmp_path / "y", "\ud800")
    with pytest.raises(TypeError, match="path must be a str"):
        write_text(3, "")


@pytest.mark.parametrize("attempts", [1, 3])
def test_where_windows_refuses_for_a_moment_it_is_tried_again(tmp_path, monkeypatch, attempts):
    """Windows does not rename onto a file that another process has open."""
    refused, replace = [], os.replace

    def refuses(source, target):
        if len(refused) < 2:
            refused.append(source)
            raise PermissionError(errno.EACCES, "in use")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuses)
    monkeypatch.setattr(atomic.time, "sleep", lambda seconds: None)
    with pytest.raises(PermissionError):
        write_text(tmp_path / "x", "once")  # not on Windows: the first refusal stands
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(atomic, "WINDOWS", True)
    monkeypatch.setattr(atomic, "fcntl", None)
    monkeypatch.setattr(atomic, "ATTEMPTS", attempts)
    if attempts == 1:
        with pytest.raises(PermissionError):
            write_text(tmp_path / "x", "new")
        assert list(tmp_path.iterdir()) == []
    else:
        write_text(tmp_path / "x", "new")
        assert (tmp_path / "x").read_text(encoding="utf-8") == "new"
