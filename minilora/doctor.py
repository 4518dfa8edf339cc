"""`minilora doctor`: what is here, what is missing, and how to mend it."""

import ctypes
import importlib.metadata
import os
import platform
import tempfile
from pathlib import Path

FLOORS = {"numpy": (2, 0), "scipy": (1, 14), "matplotlib": (3, 8), "tqdm": (4, 60)}
EXTRAS = {"test": "pytest", "notebooks": "jupyter", "dev": "ruff", "hf": "safetensors", "parity": "torch"}
THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


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
    lines.append("all is well" if healthy else "mend the lines with an arrow, then run this again")
    return lines, healthy


def installed(name: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def blas_threads() -> int | None:
    """How many threads numpy's OpenBLAS uses, asked of the library itself; None if numpy came with another BLAS."""
    import numpy as np

    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):  # Linux and Windows; macOS
        for path in sorted(folder.glob("*openblas*")):
            library = ctypes.CDLL(str(path))
            for prefix in ("scipy_", ""):
                for suffix in ("64_", ""):
                    ask = getattr(library, f"{prefix}openblas_get_num_threads{suffix}", None)
                    if ask is not None:
                        return int(ask())
    return None


def blas_line() -> str:
    """Which BLAS numpy was built with, how many threads it uses, and what the environment tells it."""
    import numpy as np

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    told = {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}
    cores = os.cpu_count() or 1
    used = blas_threads() or "unknown"
    line = f"BLAS {blas.get('name')} {blas.get('version', '')}, {cores} cores, threads: {used}"
    line += f" (told {', '.join(f'{name}={value}' for name, value in told.items())})" if told else " (its own choice)"
    if any(value.isdigit() and int(value) > cores for value in told.values()):
        line += f"  <- more threads than cores is slower: export {next(iter(told))}={cores}"
    return line


def _numbers(version):
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
