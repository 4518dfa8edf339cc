"""How should eight bits hold a scale? bitsandbytes' dynamic map, linear int8 and FP8 E4M3 on real and drawn scales."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora.analysis.error import rms_error
from minilora.assets import base_weights
from minilora.quant import quantize

TOLERANCE = {"rtol": 5e-3, "atol": 1e-6}


@dataclass(frozen=True)
class Config:
    scale_codes: tuple[str, ...] = ("dynamic", "int8", "e4m3")
    block_sizes: tuple[int, ...] = (32, 64, 128, 256)
    code: str = "nf4"
    outlier: float = (
        30.0  # one weight of this many standard deviations in every 4096, in the drawn weights with outliers
    )
    values: int = 2**20
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    bins: int = 60


def run(config: Config = Config(), each: Callable = map) -> dict:
    """[source][scale code] -> lists per block size over samples: RMS error of the scales over their mean ("scale"), and of
    the weights over their RMS ("weights"; "float32": with unquantized scales).

    Sources: "base", whose samples are its matrices of at least 256 blocks; "normal" and "outliers", one sample per seed.
    "histogram": the scales less their mean, over the largest difference in their block of 256, at block size 64.
    """
    items = [(config, source) for source in ("base", "normal", "outliers")]
    results = list(each(_source, items))
    return {
        "block_sizes": list(config.block_sizes),
        "samples": {source: r["samples"] for (_, source), r in zip(items, results, strict=True)},
        "sources": {source: r["errors"] for (_, source), r in zip(items, results, strict=True)},
        "edges": np.linspace(-1, 1, config.bins + 1).tolist(),
        "histogram": {source: r["histogram"] for (_, source), r in zip(items, results, strict=True)},
    }


def draw_weights(source: str, config: Config) -> list[np.ndarray]:
    """The samples of a source, each an array of float32 weights."""
    if source == "base":
        return [w for w in base_weights().values() if w.size >= 256 * 64]
    samples = []
    for seed in config.seeds:
        w = np.random.default_rng(seed).standard_normal(config.values, dtype=np.float32)
        if source == "outliers":
            w[::4096] = config.outlier
        samples.append(w)
    return samples


def _source(item):
    config, source = item
    samples = draw_weights(source, config)
    errors: dict = {name: {"scale": [], "weights": []} for name in config.scale_codes} | {"float32": {"weights": []}}
    for size in config.block_sizes:
        plain = [quantize(w, config.code, block_size=size) for w in samples]
        errors["float32"]["weights"].append([rms_error(q.dequantize(), w) for q, w in zip(plain, samples, strict=True)])
        for name in config.scale_codes:
            double = [quantize(w, config.code, block_size=size, double_quant=True, scale_code=name) for w in samples]
            pairs = list(zip(double, plain, strict=True))
            errors[name]["scale"].append(
                [float(np.sqrt(np.mean((q.scales - p.scales) ** 2)) / p.scales.mean()) for q, p in pairs]
            )
            errors[name]["weights"].append([rms_error(q.dequantize(), w) for q, w in zip(double, samples, strict=True)])
    shapes = np.concatenate([_normalized(quantize(w, config.code, block_size=64).scales) for w in samples])
    histogram = np.histogram(shapes, bins=np.linspace(-1, 1, config.bins + 1), density=True)[0]
    return {"samples": len(samples), "errors": errors, "histogram": histogram.tolist()}


def _normalized(scales):
    """What the 8-bit map is asked to hold: (scale - mean) / largest of its 256, whole blocks of 256 alone."""
    centered = (scales - scales.mean())[: scales.size // 256 * 256].reshape(-1, 256)
    return (centered / np.abs(centered).max(axis=1, keepdims=True)).reshape(-1)
