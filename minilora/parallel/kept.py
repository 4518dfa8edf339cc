"""Finished runs on disk, so that a stopped command computes only what is missing."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minilora import storage
from minilora.parallel.code import code_fingerprint


class KeptRuns:
    """A folder with a JSON file for each finished run of a function, {"seconds", "result"}.

    A file's name is a hash of the function, the item, numpy's version and the code that the function reaches (see
    `code_fingerprint`): a result of other code is never reused.
    """

    def __init__(self, folder: str | os.PathLike, function: Callable):
        self.folder = Path(folder)
        name = f"{function.__module__}.{function.__qualname__}"
        self._prefix = f"{name} numpy {np.__version__} {code_fingerprint(function)}"

    def load(self, item: Any) -> tuple[float, Any] | None:
        """(seconds, result) of the run, or None if there is none that can be read."""
        try:
            entry = json.loads(self._path(item).read_text(encoding="utf-8"))
            return entry["seconds"], entry["result"]
        except (OSError, ValueError, KeyError, TypeError):
            return None  # computed again

    def save(self, item: Any, seconds: float, result: Any) -> tuple[float, Any]:
        """Keep a result; returns (seconds, result) as `load` will give them. TypeError for what JSON cannot hold."""
        text = json.dumps({"seconds": seconds, "result": result}, default=_plain)
        storage.write_text(self._path(item), text)
        return seconds, json.loads(text)["result"]

    def _path(self, item):
        text = f"{self._prefix} {json.dumps(canonical(item))}"
        return self.folder / f"{hashlib.sha256(text.encode('utf-8')).hexdigest()[:24]}.json"


def canonical(item: Any) -> Any:
    """An item as a tree that JSON writes, equal for equal items alone.

    TypeError for anything but frozen dataclasses, tuples, lists, text, numbers, bool and None: an array's text leaves
    values out, and a set's changes from run to run.
    """
    if is_dataclass(item) and not isinstance(item, type):
        return [type(item).__qualname__, {f.name: canonical(getattr(item, f.name)) for f in fields(item)}]
    if isinstance(item, (tuple, list)):
        return [type(item).__name__, [canonical(part) for part in item]]
    if item is None or isinstance(item, (str, bool, int, float)):
        return item
    raise TypeError(
        f"an item must be made of dataclasses, tuples, text and numbers, got {type(item).__name__}; "
        "give a seed or a name instead, and make the rest in the run"
    )


def _plain(value):
    if hasattr(value, "tolist"):
        return value.tolist()  # numpy scalars and arrays
    raise TypeError(f"a run's result must be what JSON can hold, got {type(value).__name__}; return numbers and text")
