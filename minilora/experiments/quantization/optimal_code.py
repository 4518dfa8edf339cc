"""Is NF4 the best code for normal weights? Its bins' use by block size, and its distance from Lloyd's code."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora.quant import codebook, quantize
from minilora.quant.lloyd import code_error, lloyd, scale_blocks

TOLERANCE = {"rtol": 5e-3, "atol": 2e-4}
MEASURES = {"mean absolute": 1, "rms": 2}  # the power of the error that is averaged
PINNED = {"pinned": (-1.0, 0.0, 1.0), "signed": (0.0, 1.0)}  # a signed absmax always becomes +1, and needs no -1


@dataclass(frozen=True)
class Config:
    block_sizes: tuple[int, ...] = (16, 32, 64, 128, 256, 1024, 4096)
    codes: tuple[str, ...] = ("nf4", "af4", "int4")
    values: int = 2**20
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)


def run(config: Config = Config(), each: Callable = map) -> dict:
    """By block size and seed: use of NF4's bins; errors of each code and of Lloyd's, over the weights' RMS.

    "error": [measure][code] -> a list per block size of one number per seed. "pinned": Lloyd's code that keeps -1, 0 and
    1; "signed": with the signed absmax of BOF4, which pins 0 and 1. "levels": of both, first seed, at 64. Each seed's
    Lloyd code is trained on weights of another seed than those it is scored on.
    """
    items = [(config, block_size, seed) for block_size in config.block_sizes for seed in config.seeds]
    results = iter(each(_one, items))
    rows = [[next(results) for _ in config.seeds] for _ in config.block_sizes]
    names = [*config.codes, *PINNED]
    at_64 = rows[config.block_sizes.index(64)][0] if 64 in config.block_sizes else rows[0][0]
    return {
        "block_sizes": list(config.block_sizes),
        "use": [np.mean([result["use"] for result in row], axis=0).tolist() for row in rows],
        "error": {m: {name: [[r["error"][m][name] for r in row] for row in rows] for name in names} for m in MEASURES},
        "levels": at_64["levels"] | {"nf4": codebook("nf4").tolist()},
    }


def _one(item):
    config, block_size, seed = item
    w, other = (np.random.default_rng([seed, i]).standard_normal(config.values, dtype=np.float32) for i in (0, 1))
    codes = quantize(w, "nf4", block_size=block_size).codes()
    result = {"use": (np.bincount(codes, minlength=16) / codes.size).tolist(), "error": {}, "levels": {}}
    scaled = {name: scale_blocks(w, block_size, signed=name == "signed") for name in PINNED}
    for measure, power in MEASURES.items():
        errors = {code: code_error(*scaled["pinned"], codebook(code), power) for code in config.codes}
        for name, pinned in PINNED.items():
            start = codebook("nf4").astype(np.float64)
            start[0] = -1.0 if -1.0 in pinned else -0.9
            levels = lloyd(*scale_blocks(other, block_size, signed=name == "signed"), start, pinned, power)
            errors[name] = code_error(*scaled[name], levels, power)
            result["levels"][f"{name}, {measure}"] = levels.tolist()
        result["error"][measure] = errors
    return result
