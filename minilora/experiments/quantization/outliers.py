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
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)


def run(config: Config = Config(), each: Callable = map) -> dict:
    """RMS and mean absolute error over the weights' RMS: ["rms" | "mae"][scaling][code][place] -> per size over seeds.

    scaling: "block", one scale for each block, or "tensor", one for all. place: "inside", the other weights of the outlier's
    block, or "outside", all the others. The weights of a seed are the same at every size.
    """
    weights = [np.random.default_rng(seed).standard_normal(config.values).astype(np.float32) for seed in config.seeds]
    scalings = {"block": config.block_size, "tensor": config.values}
    errors = {
        scaling: {code: _by_size(weights, code, block_size, config) for code in config.codes}
        for scaling, block_size in scalings.items()
    }
    return {
        "sizes": list(config.sizes),
        "block_size": config.block_size,
        "values": config.values,
        "error": {
            measure: {
                scaling: {
                    code: {place: _picked(rows, measure, place) for place in ("inside", "outside")}
                    for code, rows in by_code.items()
                }
                for scaling, by_code in errors.items()
            }
            for measure in ("rms", "mae")
        },
    }


def _by_size(weights, code, block_size, config):
    """What `outlier_errors` gives, [size][seed]."""
    return [
        [outlier_errors(plant_outlier(w, size), code, block_size, config.block_size) for w in weights]
        for size in config.sizes
    ]


def _picked(rows, measure, place):
    return [[errors[measure][place] for errors in row] for row in rows]
