"""NF4 on a 4096x4096 float32 array: minilora beside bitsandbytes on the CPU, in the same run.

    .venv-parity/bin/python benchmarks/quantize.py

Medians over alternating rounds, both with one thread, then both with two; the ratio is bitsandbytes' time over ours.
"""

import os
import time
import tracemalloc
from statistics import median

import bitsandbytes.functional as functional
import numpy as np
import torch

from minilora.quant import quantize

SHAPE, BLOCK_SIZE, ROUNDS = (4096, 4096), 64, 9


def timed(function, *args):
    start = time.perf_counter()
    result = function(*args)
    return time.perf_counter() - start, result


def main():
    w = np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32)
    tensor = torch.tensor(w)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # minilora reads it at each call
        times = {name: [] for name in ("quantize", "quantize bnb", "dequantize", "dequantize bnb")}
        for _ in range(ROUNDS):
            seconds, q = timed(quantize, w)
            times["quantize"].append(seconds)
            seconds, (packed, state) = timed(
                lambda: functional.quantize_4bit(tensor, blocksize=BLOCK_SIZE, quant_type="nf4")
            )
            times["quantize bnb"].append(seconds)
            times["dequantize"].append(timed(q.dequantize)[0])
            times["dequantize bnb"].append(timed(functional.dequantize_4bit, packed, state)[0])
        for kind in ("quantize", "dequantize"):
            ours, theirs = median(times[kind]), median(times[f"{kind} bnb"])
            print(
                f"{kind:11} {threads} thread(s): minilora {ours / w.size * 1e9:6.2f} ns per value, bitsandbytes "
                f"{theirs / w.size * 1e9:6.2f}: ratio {theirs / ours:.2f}"
            )
    tracemalloc.start()
    q = quantize(w)
    print(
        f"peak memory while quantizing {tracemalloc.get_traced_memory()[1] / 1e6:.1f} MB, result {q.nbytes / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
