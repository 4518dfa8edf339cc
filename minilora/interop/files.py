"""Any file of tensors, whatever its format."""

import os
from pathlib import Path

from minilora import checks
from minilora.interop.gguf import GGUFFile
from minilora.interop.huggingface import folder_tensors
from minilora.interop.npz import NpzFile
from minilora.interop.safetensors import SafetensorsFile
from minilora.interop.tensors import TensorSource, existing_file

FORMATS = {".safetensors": SafetensorsFile, ".gguf": GGUFFile, ".npz": NpzFile}


def open_tensors(path: str | os.PathLike) -> TensorSource:
    """The tensors of a .safetensors, .gguf or .npz file, or of a Hugging Face folder, none of them read yet.

    Raises FileNotFoundError, ImportError where a package is missing, or ValueError for another ending and for damage.
    """
    path = Path(checks.path("path", path))
    if path.is_dir():
        return folder_tensors(path)
    if path.suffix.lower() not in FORMATS:
        existing_file(path)
        raise ValueError(f"path must be a folder or end in {', '.join(FORMATS)}, got {str(path)!r}")
    return FORMATS[path.suffix.lower()](path)
