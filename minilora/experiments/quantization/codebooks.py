"""Where do four bits put their sixteen values, and where are the weights? Grids under two densities."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora.assets import base_weights
from minilora.quant import codebook, quantize
from minilora.quant.lloyd import scale_blocks

TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}


@dataclass(frozen=True)
class Config:
    codes: tuple[str, ...] = ("int4", "fp4", "nf4")
    block_size: int = 64
    values: int = 2**20
    bins: int = 80
    seed: int = 0


def run(config: Config = Config(), each: Callable = map) -> dict:
    """Levels of each code; densities of N(0, 1) and the base's weights, scaled by block; how often each bin is used."""
    normal = np.random.default_rng(config.seed).standard_normal(config.values, dtype=np.float32)
    weights = base_weights()
    edges = np.linspace(-1, 1, config.bins + 1)
    sources = {"normal": [normal], "base": list(weights.values())}
    result = {
        "block_size": config.block_size,
        "levels": {code: codebook(code).tolist() for code in config.codes},
        "edges": edges.tolist(),
        "density": {},
        "nf4_use": {},
        "int4_use": {},
    }
    for name, arrays in sources.items():
        scaled = np.concatenate([scale_blocks(a, config.block_size)[0] for a in arrays])
        result["density"][name] = np.histogram(scaled, bins=edges, density=True)[0].tolist()
        for code in ("nf4", "int4"):
            codes = np.concatenate([quantize(a, code, block_size=config.block_size).codes() for a in arrays])
            use = np.bincount(codes, minlength=len(codebook(code))) / codes.size
            result[f"{code}_use"][name] = use.tolist()
    result["nf4_unevenness"] = {n: max(use) / min(use) for n, use in result["nf4_use"].items()}
    result["inner_half"] = {code: share_inside(levels, 0.5) for code, levels in result["levels"].items()}
    result["weights_inside"] = {
        name: float(np.mean(np.abs(np.concatenate([scale_blocks(a, config.block_size)[0] for a in arrays])) < 0.5))
        for name, arrays in sources.items()
    }
    return result


def share_inside(levels: list[float], limit: float) -> float:
    """The share of levels with absolute value below `limit`."""
    return float(np.mean(np.abs(levels) < limit))
