"""`minilora doctor`: what is installed here, what is missing, and how to install it."""

import argparse
import importlib.metadata
import os
import platform
import tempfile
from pathlib import Path

from minilora.machine import THREAD_VARIABLES, blas_threads, cores

HELP = "what is installed here, what is missing, how to install it"
EXAMPLE = "python -m minilora doctor"
FLOORS = {"numpy": (2, 0), "scipy": (1, 14), "matplotlib": (3, 8), "tqdm": (4, 60)}
EXTRAS = {"test": "pytest", "notebooks": "jupyter", "dev": "ruff", "hf": "safetensors", "parity": "torch"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command takes no arguments."""


def run(args: argparse.Namespace) -> int:
    """Print the report; 1 if something is missing or too old."""
    lines, healthy = examine()
    print("\n".join(lines))
    return 0 if healthy else 1


def examine() -> tuple[list[str], bool]:
    """(report lines, healthy). Not healthy: a runtime package is missing or too old, or no folder can be written."""
    lines, healthy = [f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"], True
    for name, floor in FLOORS.items():
        version = installed(name)
        if version is None or _numbers(version) < floor:
            wanted = ".".join(map(str, floor))
            lines.append(f"{name} {version or 'missing'}  <- needs {wanted}: python -m pip install '{name}>={wanted}'")
            healthy = False
        else:
            lines.append(f"{name} {version}")
    lines.append(blas_line())
    for extra, package in EXTRAS.items():
        if installed(package) is None:
            lines.append(f"optional {package} missing  <- python -m pip install -e '.[{extra}]'")
    for place in (Path.cwd(), Path(tempfile.gettempdir())):
        if not os.access(place, os.W_OK):
            lines.append(f"{place} cannot be written  <- go to a folder of your own, or pass --out DIR")
            healthy = False
    lines.append("everything needed is here" if healthy else "follow the lines with an arrow, then run this again")
    return lines, healthy


def installed(name: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def blas_line() -> str:
    """Which BLAS numpy was built with, how many threads it uses, and what the environment tells it."""
    import numpy as np

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    told = {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}
    used = blas_threads() or "unknown"
    line = f"BLAS {blas.get('name')} {blas.get('version', '')}, {cores()} cores, threads: {used}"
    line += f" (told {', '.join(f'{name}={value}' for name, value in told.items())})" if told else " (its own choice)"
    if any(value.isdigit() and int(value) > cores() for value in told.values()):
        line += f"  <- more threads than cores is slower: export {next(iter(told))}={cores()}"
    return line


def _numbers(version):
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
