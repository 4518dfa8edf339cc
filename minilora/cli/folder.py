"""The folder of one fine-tuning run: what it holds, and that only one process writes into it."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minilora import storage

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class RunFolder:
    """`adapter.npz` (the result), `checkpoint.npz` (to resume from), `best.npz` (the adapter at its best evaluation),
    `log.jsonl` (a line per step), `run.json` (settings and results). Paths are its attributes."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.adapter, self.checkpoint, self.best = (self.path / f"{n}.npz" for n in ("adapter", "checkpoint", "best"))
        self.log, self.run = self.path / "log.jsonl", self.path / "run.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Inside, no other process can lock the folder. ValueError that names the one that has.

        The operating system holds the lock and releases it when its owner dies, however it dies; the file `.lock` that a
        killed run leaves behind is taken over. A folder that was made here and is still empty at the end is removed.
        """
        is_new = not self.path.exists()
        path = self.path / ".lock"
        while True:
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                file = open(path, "a+", encoding="utf-8")  # noqa: SIM115, for it stays open while the lock is held
            except FileNotFoundError:
                continue  # another run that wrote nothing removed the folder just now
            try:
                _lock(file)
            except OSError:
                file.seek(0)
                owner = file.read(20).strip() or "unknown"
                file.close()
                raise ValueError(
                    f"{self.path} is in use by another run (process {owner}); wait for it, or choose another --out"
                ) from None
            if _same_file(file, path):
                break
            file.close()  # its owner ended, and deleted it, just before it was locked here
        try:
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield
        finally:
            if fcntl is not None:
                path.unlink(missing_ok=True)  # while it is locked
            file.close()
            with contextlib.suppress(OSError):  # Windows deletes no open file, and another run may have it by now
                if fcntl is None:
                    path.unlink(missing_ok=True)
                if is_new:
                    self.path.rmdir()  # which nobody can with a file in it

    def read(self) -> dict[str, Any] | None:
        """What run.json holds; None if there is none. ValueError if it is damaged."""
        if not self.run.is_file():
            return None
        try:
            run = json.loads(self.run.read_text(encoding="utf-8"))
            if not isinstance(run, dict) or not isinstance(run.get("settings"), dict):
                raise ValueError("no settings in it")
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{self.run} is damaged ({error}); choose another --out") from error
        return run

    def write(self, run: dict[str, Any]) -> None:
        """Write run.json, atomically."""
        storage.write_text(self.run, json.dumps(run, indent=1, ensure_ascii=False) + "\n")

    def kept_step(self) -> int:
        """The step that the checkpoint holds; 0 if there is none, or none that can be read."""
        try:
            return int(storage.load_arrays(self.checkpoint)[1]["step"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0


LOCKED_BYTE = 2**20  # far behind the text, for Windows lets nobody read what is locked


def _lock(file):
    """OSError if another process has it."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    import msvcrt

    file.seek(LOCKED_BYTE)
    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    file.seek(0)


def _same_file(file, path):
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
