"""How much does each 4-bit code lose, by block size, source and layer?"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora.analysis.codes import code_errors
from minilora.assets import base_weights

TOLERANCE = {"rtol": 2e-3, "atol": 1e-5}


@dataclass(frozen=True)
class Config:
    codes: tuple[str, ...] = ("int4", "int4_full", "int4_affine", "fp4", "af4", "nf4")
    block_sizes: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
    sources: tuple[str, ...] = ("normal", "student_t", "uniform")
    student_df: int = 4
    values: int = 2**18
    seeds: tuple[int, ...] = (0, 1, 2)


def run(config: Config = Config(), each: Callable = map) -> dict:
    """RMS and mean absolute error over the source's RMS: [source][code][rms|mae] -> per block size (mean, spread)."""
    items = [(config, source) for source in (*config.sources, "base")]
    results = each(_source, items)
    by_source = dict(zip([source for _, source in items], results, strict=True))
    return {
        "block_sizes": list(config.block_sizes),
        "error": by_source,
        "layers": {path: {c: code_errors(w, c, 64)["rms"] for c in config.codes} for path, w in base_weights().items()},
    }


def draw_source(source: str, config: Config, seed: int) -> np.ndarray:
    """Values of a source.    (values,) float32; "base": all linear weights of the base, one after the other"""
    rng = np.random.default_rng(seed)
    if source == "base":
        return np.concatenate([w.reshape(-1) for w in base_weights().values()])
    if source == "student_t":
        return rng.standard_t(config.student_df, config.values).astype(np.float32)
    if source == "uniform":
        return rng.uniform(-1, 1, config.values).astype(np.float32)
    return rng.standard_normal(config.values, dtype=np.float32)


def _source(item):
    config, source = item
    seeds = config.seeds[:1] if source == "base" else config.seeds  # the base is what it is, whatever the seed
    arrays = [draw_source(source, config, seed) for seed in seeds]
    result = {}
    for code in config.codes:
        errors = [[code_errors(w, code, b) for w in arrays] for b in config.block_sizes]
        result[code] = {
            kind: {
                "mean": [float(np.mean([e[kind] for e in row])) for row in errors],
                "spread": [float(np.ptp([e[kind] for e in row])) for row in errors],
            }
            for kind in ("rms", "mae")
        }
    return result
