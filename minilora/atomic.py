"""Files that survive: written to a temporary file beside the old one, synced, and renamed in one step.

A leaf; everything may import it. `storage` builds on it.
"""

import os
import re
import secrets
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from minilora import checks

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

WINDOWS = os.name == "nt"
STALE_SECONDS = 3600  # where there are no locks, only a temporary file older than this counts as left behind
ATTEMPTS = 50  # to rename, where another process holds the file open for a moment: one second in all


def write_atomically(path: str | os.PathLike, write: Callable[[BinaryIO], Any]) -> None:
    """Call `write(file)` on a temporary file beside `path`, then rename it to `path` in one step.

    Killed at any moment, or on a full disk, `path` holds either the old content or the new. Any number of processes and
    threads may write to one path: the last rename wins, and nobody touches a temporary file whose writer is alive. Those
    that killed writers left behind are deleted. A new file gets the permissions that the umask leaves, a replaced one
    keeps its own. ValueError if `path` is a directory, a device or a symbolic link: these are never replaced.
    """
    path = Path(checks.path("path", path))
    mode = _mode(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    file, temporary = _temporary(path)
    try:
        with file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            if mode is not None:
                os.chmod(temporary, mode)
            if fcntl is not None:
                _replace(temporary, path)  # while the lock is held
        if fcntl is None:
            _replace(temporary, path)  # Windows renames no open file
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)  # "No space left on device: 'adapter.npz'"
        raise
    _sync_folder(path.parent)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write `text` in UTF-8, atomically, its line ends as they are on every platform."""
    content = checks.string("text", text).encode()
    write_atomically(path, lambda file: file.write(content))


def _mode(path):
    """The permissions of the file at `path`, None if there is none; ValueError if it must not be replaced."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        hint = f"; write to {os.path.realpath(path)} itself" if stat.S_ISLNK(mode) else "; choose another path"
        raise ValueError(f"{path} must be a file or new, got {kind_of(mode)}, which is never replaced{hint}")
    return stat.S_IMODE(mode)


def kind_of(mode: int) -> str:
    """What a mode of `os.stat`, not a regular file's, is called."""
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe"}
    return kinds.get(stat.S_IFMT(mode), "a device or socket")


def _temporary(path):
    """A new file `.NAME.xxxxxxxx.tmp` beside `path`, locked for as long as its writer lives: (open file, its path)."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
        file = os.fdopen(os.open(temporary, flags, 0o666), "wb")
        if fcntl is None:
            return file, temporary
        with suppress(OSError):  # a file system without locks: then no sweep gets one either
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file, temporary
        file.close()  # a sweep came between creating and locking, and took it for a dead writer's


def _sweep(path):
    """Delete the temporary files for `path` whose writers are dead. The kernel releases the lock of whoever dies."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-z_]+\.tmp")
    for stray in [entry.path for entry in os.scandir(path.parent) if pattern.fullmatch(entry.name)]:
        with suppress(OSError):  # locked, hence alive; or gone already
            if fcntl is None:
                if time.time() - os.stat(stray).st_mtime > STALE_SECONDS:
                    os.unlink(stray)
                continue
            with open(stray, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(stray)


def _replace(temporary, path):
    """Rename; again for a moment where Windows refuses because another process is just reading or replacing `path`."""
    _mode(path)  # raises if meanwhile a directory or a link stands there
    for attempt in range(ATTEMPTS):
        try:
            os.replace(temporary, path)
            return
        except PermissionError:
            if not WINDOWS or attempt == ATTEMPTS - 1:
                raise
            time.sleep(0.02)


def _sync_folder(folder):
    """Let the rename itself reach the disk. Windows has nothing of the kind, some network file systems refuse."""
    if not WINDOWS:
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
