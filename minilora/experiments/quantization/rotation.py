"""Does a rotation help? A random-sign Hadamard before quantizing, with outlier columns and without."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora.analysis.error import rms_error
from minilora.assets import base_weights
from minilora.quant import quantize
from minilora.quant.rotation import random_hadamard

TOLERANCE = {"rtol": 1e-2, "atol": 1e-4}


@dataclass(frozen=True)
class Config:
    codes: tuple[str, ...] = ("int4", "int4_affine", "nf4")
    sizes: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)  # of the outlier column, in standard deviations
    shape: tuple[int, int] = (512, 256)
    block_size: int = 64
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)


def run(config: Config = Config(), each: Callable = map) -> dict:
    """RMS error over the matrix's RMS, [code]["plain" | "rotated"] -> lists per size of the outlier column over seeds; and
    "base": [code]["plain" | "rotated"] -> one number per matrix (the rotation's seed is the matrix's number).

    One column in 256 is `size` times as large as the others. The error is that of the weights turned back: an orthogonal
    matrix keeps it.
    """
    items = [(config, size, seed) for size in config.sizes for seed in config.seeds]
    results = iter(each(_one, items))
    rows = [[next(results) for _ in config.seeds] for _ in config.sizes]
    base = [_both(w, config, np.random.default_rng(i)) for i, w in enumerate(base_weights().values())]
    kinds = ("plain", "rotated")
    return {
        "sizes": list(config.sizes),
        "error": {c: {k: [[r[c][k] for r in row] for row in rows] for k in kinds} for c in config.codes},
        "base": {c: {k: [matrix[c][k] for matrix in base] for k in kinds} for c in config.codes},
    }


def _one(item):
    config, size, seed = item
    rng = np.random.default_rng([seed, 0])
    w = rng.standard_normal(config.shape, dtype=np.float32)
    w[:, rng.integers(config.shape[1])] *= np.float32(size)
    return _both(w, config, rng)


def _both(w, config, rng):
    rotation = random_hadamard(w.shape[1], rng=rng)
    versions = {"plain": w, "rotated": (w @ rotation).astype(np.float32)}
    return {
        code: {
            k: rms_error(quantize(v, code, block_size=config.block_size).dequantize(), v) for k, v in versions.items()
        }
        for code in config.codes
    }
