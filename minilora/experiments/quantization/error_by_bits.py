"""Which code for how many bits? The error of each code and block size against all bits that are stored."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora.analysis.error import mean_absolute_error, rms_error
from minilora.assets import base_weights
from minilora.quant import codebook, quantize, storage_bytes
from minilora.quant.lloyd import code_error, lloyd, scale_blocks

TOLERANCE = {"rtol": 5e-3, "atol": 1e-4}


@dataclass(frozen=True)
class Config:
    codes: tuple[str, ...] = (
        *("int4", "int4_full", "int4_affine", "fp4", "fp4_e2m1", "af4"),
        *(f"nf{bits}" for bits in range(2, 9)),
    )
    block_sizes: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
    sources: tuple[str, ...] = ("normal", "base")
    values: int = 2**20
    seeds: tuple[int, ...] = (0, 1, 2)


def run(config: Config = Config(), each: Callable = map) -> dict:
    """[source][code] -> {"bits": per block size, "rms": lists over seeds per block size, "mae": likewise}.

    Bits per parameter count codes and scales. Beside the codes: "nf4 double" with its scales quantized again, and the
    trained codes "lloyd" (with -1, 0, 1) and "lloyd signed" (signed absmax), which cost what NF4 costs (their 16 levels
    are stored once). The base's weights are one sample: one seed.
    """
    items = [
        (config, source, seed)
        for source in config.sources
        for seed in (config.seeds if source == "normal" else config.seeds[:1])
    ]
    results: dict = {}
    for (_, source, _), result in zip(items, each(_one, items), strict=True):
        for name, entry in result.items():
            kept = results.setdefault(source, {}).setdefault(name, {"bits": entry["bits"], "rms": [], "mae": []})
            kept["rms"].append(entry["rms"])
            kept["mae"].append(entry["mae"])
    for by_code in results.values():
        for entry in by_code.values():
            for measure in ("rms", "mae"):  # seeds last
                entry[measure] = [list(values) for values in zip(*entry[measure], strict=True)]
    return {"block_sizes": list(config.block_sizes), "sources": results}


def _one(item):
    config, source, seed = item
    if source == "base":
        w = np.concatenate([array.reshape(-1) for array in base_weights().values()])
    else:
        w = np.random.default_rng(seed).standard_normal(config.values, dtype=np.float32)
    result = {}
    for name, code, double in (*((c, c, False) for c in config.codes), ("nf4 double", "nf4", True)):
        tensors = [quantize(w, code, block_size=size, double_quant=double) for size in config.block_sizes]
        again = [q.dequantize() for q in tensors]
        result[name] = {
            "bits": [q.bits_per_param for q in tensors],
            "rms": [rms_error(x, w) for x in again],
            "mae": [mean_absolute_error(x, w) for x in again],
        }
    rms = float(np.sqrt(np.mean(np.square(w, dtype=np.float64))))
    for name, signed in (("lloyd", False), ("lloyd signed", True)):
        entry: dict = {"bits": [], "rms": [], "mae": []}
        for size in config.block_sizes:
            entry["bits"].append(8 * storage_bytes(w.size, block_size=size) / w.size)
            scaled = scale_blocks(w, size, signed=signed)
            for measure, power in (("rms", 2), ("mae", 1)):
                start = codebook("nf4").astype(np.float64)
                start[0] = -0.9 if signed else -1.0
                levels = lloyd(*scaled, start, (0.0, 1.0) if signed else (-1.0, 0.0, 1.0), power)
                entry[measure].append(code_error(*scaled, levels, power) / rms)
        result[name] = entry
    return result
