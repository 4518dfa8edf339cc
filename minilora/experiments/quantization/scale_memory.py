"""What do the scales cost, before and after double quantization: by formula, counted, and in error."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora.analysis.error import rms_error
from minilora.experiments.quantization.codebooks import base_weights
from minilora.quant import QuantizedTensor, quantize

TOLERANCE = {"rtol": 1e-3, "atol": 1e-6}

# (hidden_size, intermediate_size, layers) of Touvron et al. 2023, table 2; full attention heads, so four D x D matrices.
LLAMA = {"7B": (4096, 11008, 32), "13B": (5120, 13824, 40), "33B": (6656, 17920, 60), "65B": (8192, 22016, 80)}


@dataclass(frozen=True)
class Config:
    block_sizes: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024)
    second_block_sizes: tuple[int, ...] = (16, 64, 256, 1024, 4096)
    shapes: tuple[tuple[int, int], ...] = ((64, 64), (128, 128), (256, 256), (1024, 1024), (2048, 2048))
    seed: int = 0


def run(config: Config = Config(), each: Callable = map) -> dict:
    """Bits of scale a parameter by formula and counted; gigabytes for Llama's sizes; what the second step costs in error."""
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
        "gigabytes": {name: gigabytes(*shape) for name, shape in LLAMA.items()},
        "error": {
            "none": rms_error(plain.dequantize(), largest),
            **{
                c: rms_error(quantize(largest, double_quant=True, scale_code=c).dequantize(), largest)
                for c in ("dynamic", "int8", "e4m3")
            },
        },
    }


def scale_bits(q: QuantizedTensor) -> float:
    """Bits beside the codes for each parameter, counted from the stored arrays."""
    return 8 * (q.nbytes - q.packed.nbytes) / q.size


def gigabytes(hidden: int, intermediate: int, layers: int) -> dict[str, float]:
    """Linear weights of a Llama (attention and MLP, without embedding and head) in GB of 10^9 bytes."""
    parameters = layers * (4 * hidden**2 + 3 * hidden * intermediate)
    return {
        "parameters": parameters,
        "codes": parameters * 4 / 8 / 1e9,
        "single": parameters * (32 / 64) / 8 / 1e9,
        "double": parameters * (8 / 64 + 32 / (64 * 256)) / 8 / 1e9,
        "float16": parameters * 2 / 1e9,
    }
