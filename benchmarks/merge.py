"""Does merging cost latency? The base, wrapped with LoRA, merged, and quantized: one forward and greedy tokens, in one run.

    OPENBLAS_NUM_THREADS=1 .venv/bin/python benchmarks/merge.py

Medians over alternating rounds, one thread; ratios are to the base without adapters.
"""

import time
from statistics import median

import numpy as np

from minilora import LoraConfig, apply_lora, generate, load_base, merge_lora, quantize_linears

ROUNDS = 21


def wrapped():
    model = load_base()
    apply_lora(model, LoraConfig(r=8, target_modules="all-linear"), rng=np.random.default_rng(0))
    return model


def merged():
    model = wrapped()
    merge_lora(model)
    return model


def quantized():
    model = load_base()
    quantize_linears(model)
    return model


def timed(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main():
    models = {"base": load_base(), "LoRA, wrapped": wrapped(), "LoRA, merged": merged(), "NF4 base": quantized()}
    ids = np.random.default_rng(0).integers(32, 127, (8, 128))
    jobs = {
        "forward, 8 x 128 tokens": lambda model: model(ids, inference=True),
        "32 greedy tokens after 32": lambda model: generate(model, ids[:1, :32], 32),
    }
    for job, work in jobs.items():
        seconds = {name: [] for name in models}
        for _ in range(ROUNDS):
            for name, model in models.items():
                seconds[name].append(timed(lambda work=work, model=model: work(model)))
        base = median(seconds["base"])
        print(job)
        for name, found in seconds.items():
            print(f"  {name:14} {1e3 * median(found):8.2f} ms   {median(found) / base:.2f} of the base")


if __name__ == "__main__":
    main()
