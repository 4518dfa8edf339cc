"""One training step (forward, loss, backward) of the same Llama: minilora beside transformers on torch, in one run.

    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=1073741824 \\
        .venv-parity/bin/python benchmarks/train_step.py

float32, one thread each, medians over alternating rounds. The allocator settings are those that minilora's own workers get
(`minilora/experiments/parallel.py`): glibc then keeps large blocks instead of returning them to the kernel.
"""

import time
from statistics import median

import numpy as np
import torch
import transformers

from minilora import Llama, LlamaConfig, LoraConfig, apply_lora

ROUNDS = 15


def timed(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def ours(config, ids, lora=False):
    model = Llama(config, rng=np.random.default_rng(0))
    if lora:
        apply_lora(model, LoraConfig(r=8, target_modules="all-linear"), rng=np.random.default_rng(0))

    def step():
        model.zero_grad()
        _, backward = model.loss(ids, ids)
        backward()

    return step


def theirs(config, ids, attention):
    names = [name for name in LlamaConfig.__dataclass_fields__ if name != "rope_theta"]
    settings = {name: getattr(config, name) for name in names}
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**settings, attn_implementation=attention, use_cache=False)
    )
    tokens = torch.tensor(ids)

    def step():
        model.zero_grad()
        logits = model(tokens).logits
        torch.nn.functional.cross_entropy(logits.reshape(-1, config.vocab_size), tokens.reshape(-1)).backward()

    return step


def main():
    torch.set_num_threads(1)
    config = LlamaConfig()
    for shape in ((32, 32), (16, 128)):
        ids = np.random.default_rng(0).integers(0, config.vocab_size, shape)
        steps = {
            "minilora": ours(config, ids),
            "minilora, LoRA r=8": ours(config, ids, lora=True),
            "torch eager": theirs(config, ids, "eager"),
            "torch sdpa": theirs(config, ids, "sdpa"),
        }
        times = {name: [] for name in steps}
        for _ in range(ROUNDS):
            for name, step in steps.items():
                times[name].append(timed(step))
        base = median(times["minilora"])
        for name, seconds in times.items():
            print(
                f"(B, T) = {shape}: {name:20} {median(seconds) * 1e3:7.1f} ms a step, {median(seconds) / base:.2f} of minilora's time"
            )


if __name__ == "__main__":
    main()
