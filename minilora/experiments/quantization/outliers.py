"""What helps against an outlier, the code or the blocks? One planted in a block; the error in its block and elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora.analysis.codes import outlier_errors, plant_outlier

TOLERANCE = {"rtol": 2e-3, "atol": 1e-5}


@dataclass(frozen=True)
class Config:
    codes: tuple[str, ...] = ("int4", "nf4")
    sizes: tuple[float, ...] = (1.0, 5.0, 10.0, 30.0, 100.0)  # of the outlier, in standard deviations of the rest
    block_size: int = 64
    values: int = 2**16
    seed: int = 0


def run(config: Config = Config(), each: Callable = map) -> dict:
    """Mean absolute error over the weights' RMS, [scaling][code] -> {"inside": by size, "outside": by size}.

    scaling: "block", one scale for each block, or "tensor", one for all. inside: the other weights of the outlier's block.
    """
    w = np.random.default_rng(config.seed).standard_normal(config.values).astype(np.float32)
    numbers: dict = {"sizes": list(config.sizes), "block_size": config.block_size, "error": {}}
    for scaling, block_size in (("block", config.block_size), ("tensor", config.values)):
        for code in config.codes:
            pairs = [
                outlier_errors(plant_outlier(w, size), code, block_size, config.block_size) for size in config.sizes
            ]
            inside, outside = zip(*pairs, strict=True)
            numbers["error"].setdefault(scaling, {})[code] = {"inside": list(inside), "outside": list(outside)}
    return numbers
