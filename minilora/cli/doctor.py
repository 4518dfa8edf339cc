"""`minilora doctor`: what is installed here, what is missing, and how to install it."""

import argparse
import importlib.metadata
import os
import platform
import re
import tempfile
from pathlib import Path

from minilora.machine import THREAD_VARIABLES, blas_threads, cores

HELP = "what is installed here, what is missing, how to install it"
EXAMPLE = "python -m minilora doctor"
PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[^]]*\])?(?:[>=]=([\d.]+))?.*?(?:extra == ['\"]([\w-]+)['\"])?$")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command takes no arguments."""


def run(args: argparse.Namespace) -> int:
    """Print the report; 1 if something is missing or too old."""
    lines, healthy = examine()
    print("\n".join(lines))
    return 0 if healthy else 1


def examine() -> tuple[list[str], bool]:
    """(report lines, healthy). Not healthy: a runtime package is missing or too old, or no folder can be written."""
    needed = requirements()
    packages = [_package_line(name, floor) for name, floor, extra in needed if extra is None]
    folders = [_folder_line(place) for place in dict.fromkeys((Path.cwd(), Path(tempfile.gettempdir())))]
    problems = [line for line in (*packages, *folders) if line and "<-" in line]
    lines = [f"Python {platform.python_version()} on {platform.system()} {platform.machine()}", *packages, blas_line()]
    lines += [load_line(), *_extra_lines(needed), *folders]
    lines.append(
        "do what the arrows say, then run this again" if problems else "everything that is needed is installed"
    )
    return [line for line in lines if line], not problems


def requirements() -> list[tuple[str, str, str | None]]:
    """(package, lowest version or "", extra or None) of all that minilora asks for, as its installation says."""
    try:
        texts = importlib.metadata.requires("minilora") or []
    except importlib.metadata.PackageNotFoundError:  # a checkout that was not installed
        texts = _written_down()
    matches = [REQUIREMENT.match(text) for text in texts]
    return [(match[1], match[2] or "", match[3]) for match in matches]


def installed(name: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def blas_line() -> str:
    """Which BLAS numpy was built with, how many threads it uses, and what the environment asks of it."""
    import numpy as np

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    asked = {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}
    line = f"BLAS {blas.get('name')} {blas.get('version', '')}, {cores()} cores, {blas_threads() or 'unknown'} threads"
    line += f" ({', '.join(f'{name}={value}' for name, value in asked.items())})" if asked else ""
    if any(value.isascii() and value.isdigit() and int(value) > cores() for value in asked.values()):
        line += f"  <- more threads than cores is slower: set {next(iter(asked))}={cores()}"
    return line


def load_line() -> str:
    """A warning where more is running than there are cores; nothing where all is quiet, or the system does not say."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load <= cores():
        return ""
    line = f"busy: {load:.1f} programs wait for {cores()} cores, so everything takes longer"
    if blas_threads() == 1:
        return line
    # Threads of one product wait for each other: measured five times slower with two threads than with one.
    return f"{line}  <- set OPENBLAS_NUM_THREADS=1 meanwhile: on a busy machine several threads are slower than one"


def _package_line(name, floor):
    version = installed(name)
    if version is not None and _numbers(version) >= _numbers(floor):
        return f"{name} {version}"
    wanted = f"{name}>={floor}" if floor else name
    return f"{name} {version or 'missing'}  <- python -m pip install '{wanted}'"


def _extra_lines(needed):
    extras: dict[str, list[str]] = {}
    for name, _, extra in needed:
        if extra is not None:
            extras.setdefault(extra, []).append(name)
    for extra, names in extras.items():
        if missing := [name for name in names if installed(name) is None]:
            yield f"optional: [{extra}] lacks {', '.join(missing)}; for it: python -m pip install -e '.[{extra}]'"


def _folder_line(place):
    if os.access(place, os.W_OK):
        return ""
    return f"{place} cannot be written  <- go to a folder of your own, or pass --out DIR"


def _written_down():
    import tomllib

    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].items()
    return project["dependencies"] + [f'{text}; extra == "{extra}"' for extra, texts in extras for text in texts]


def _numbers(version):
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
