"""Where numbers came from: enough to compute them again."""

import platform
from typing import Any

from minilora.gallery.registry import Figure
from minilora.machine import blas_threads


def provenance(figure: Figure, *, runs: int, seconds: float) -> dict[str, Any]:
    """Versions, processor kernel, threads, the base's hash, the command, and what it took.

    `runs`: how many went through `each`; `seconds`: what they took of a processor together, so other work on the machine hardly counts.
    """
    import matplotlib
    import numpy as np
    import scipy

    import minilora
    from minilora.assets import base_sha256

    simd = np.show_config(mode="dicts").get("SIMD Extensions", {})
    return {
        "command": f"python -m minilora figures {figure.name}",
        "minilora": minilora.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "matplotlib": matplotlib.__version__,
        "machine": platform.machine(),
        "blas": np.show_config(mode="dicts")["Build Dependencies"]["blas"].get("name"),
        "cpu_kernel": (simd.get("found") or simd.get("baseline") or ["unknown"])[-1],
        "blas_threads": f"{blas_threads() or 'unknown'}; 1 in workers",
        "base_sha256": base_sha256(),
        "runs": runs,
        "seconds": round(seconds, 1),
    }
