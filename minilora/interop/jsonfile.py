"""JSON files that hold one object: config.json and similar files."""

import json
import os
from pathlib import Path
from typing import Any

from minilora import checks, storage
from minilora.interop.tensors import existing_file


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """The object in a JSON file. FileNotFoundError, or ValueError that names the file where there is no object in it."""
    path = existing_file(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # both of json's and of Unicode's errors are ValueErrors
        raise ValueError(f"{path} is not JSON ({error}); get it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, got {checks.shown(content)}")
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write an object as a JSON file, atomically."""
    storage.write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
