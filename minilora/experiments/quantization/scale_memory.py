"""What do the scales cost, before and after double quantization: by formula, counted, and in error."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora.analysis.error import rms_error
from minilora.analysis.scales import LLAMA, linear_gigabytes, scale_bits
from minilora.assets import base_weights
from minilora.quant import quantize

TOLERANCE = {"rtol": 1e-3, "atol": 1e-6}


@dataclass(frozen=True)
class Config:
    block_sizes: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024)
    second_block_sizes: tuple[int, ...] = (16, 64, 256, 1024, 4096)
    shapes: tuple[tuple[int, int], ...] = ((64, 64), (128, 128), (256, 256), (1024, 1024), (2048, 2048))
    seed: int = 0


def run(config: Config = Config(), each: Callable = map) -> dict:
    """Bits of scale per parameter by formula and counted; gigabytes for Llama's sizes; what the second step costs in error."""
    rng = np.random.default_rng(config.seed)
    tensors = {f"{a}x{b}": rng.standard_normal((a, b), dtype=np.float32) for a, b in config.shapes}
    largest = tensors[f"{config.shapes[-1][0]}x{config.shapes[-1][1]}"]
    plain = quantize(largest)
    weights = base_weights()
    tensors |= {f"base {path.removeprefix('layers.0.')}": weights[path] for path in list(weights)[:7]}
    return {
        "block_sizes": list(config.block_sizes),
        "single_bits": [32 / b for b in config.block_sizes],
        "double_bits": {str(s): [8 / b + 32 / (b * s) for b in config.block_sizes] for s in config.second_block_sizes},
        "headline": {"single": 32 / 64, "double": 8 / 64 + 32 / (64 * 256)},
        "counted": {
            name: {
                "parameters": w.size,
                "single": scale_bits(quantize(w)),
                "double": scale_bits(quantize(w, double_quant=True)),
            }
            for name, w in tensors.items()
        },
        "gigabytes": {name: linear_gigabytes(config) for name, config in LLAMA.items()},
        "error": {
            "none": rms_error(plain.dequantize(), largest),
            **{
                c: rms_error(quantize(largest, double_quant=True, scale_code=c).dequantize(), largest)
                for c in ("dynamic", "int8", "e4m3")
            },
        },
    }
