"""The packages of the extra `hf`, imported where they are needed, with a word on how to install them where they are not."""

import importlib
from types import ModuleType

COMMAND = "python -m pip install -e '.[hf]'"


class MissingPackage(ImportError):
    """A package of the extra `hf` is not installed; the message says what needs it, and how to get it."""


def need(package: str, purpose: str) -> ModuleType:
    """The imported package. MissingPackage that names the purpose and the command where it is not installed."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise MissingPackage(
            f"{purpose} needs the package {package.partition('.')[0]}, which is not installed; run: {COMMAND}"
        ) from error
