"""One training step of the same Llama, in minilora and in torch: transformers' model, PEFT's LoRA, torch's AdamW.

    python benchmarks/train.py [--widths 64,128,256] [--methods lora,full] [--threads 1,2] [--rounds 15] [--write]

A step is forward, loss, backward, clipping and AdamW, in float32, on 16 sequences of 128 tokens. Each side runs in a
process of its own, with nothing set but the number of threads: everything else is what a user gets by default. The two
start from the same weights, must arrive at the same losses, and take turns, round by round; a round's time is that of its
median step, a cell's time the median of its rounds. `--write` keeps the cells in benchmarks/train.json, beside those
measured before, and puts the table of all into benchmarks/README.md. Use a machine that does nothing else.

Needs the extra `parity` (torch, transformers, peft).
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from minilora import AdamW, Llama, LlamaConfig, LoraConfig, apply_lora
from minilora.machine import cores, keep_memory
from minilora.training import clip_grad_norm

HERE = Path(__file__).parent
BATCH, LENGTH, VOCAB, LAYERS, RANK = 16, 128, 256, 4, 8
RATE, MAX_NORM = 1e-3, 1.0
STEPS = 2  # per turn: short turns, so that a busy machine slows both sides alike
MARKS = "<!-- train: made by benchmarks/train.py --write -->", "<!-- end of train -->"


def shape(width):
    """The Llama of this width: 4 layers, heads of a quarter of it, an MLP 2.75 times as wide (as in LlamaConfig)."""
    return LlamaConfig(vocab_size=VOCAB, hidden_size=width, intermediate_size=width * 11 // 4, num_hidden_layers=LAYERS)


def batch():
    ids = np.random.default_rng(1).integers(0, VOCAB, (BATCH, LENGTH + 1))
    return ids[:, :-1], ids[:, 1:]


def ours(width, method):
    """A function that makes one step and returns the loss."""
    keep_memory()  # as Trainer does
    model = Llama(shape(width), rng=np.random.default_rng(0))
    if method == "lora":
        config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear")
        apply_lora(model, config, rng=np.random.default_rng(0))
    parameters = [p for p in model.parameters() if p.trainable]
    optimizer = AdamW(parameters, lr=RATE, weight_decay=0.01)
    ids, labels = batch()

    def step():
        optimizer.zero_grad()
        loss, backward = model.loss(ids, labels)
        backward()
        clip_grad_norm(parameters, MAX_NORM)
        optimizer.step()
        return float(loss)

    return step


def theirs(width, method):
    import peft
    import torch
    import transformers

    config = shape(width)
    names = [name for name in LlamaConfig.__dataclass_fields__ if name not in ("rope_theta", "rope_scaling")]
    settings = {name: getattr(config, name) for name in names}
    settings["rope_parameters"] = {"rope_type": "default", "rope_theta": config.rope_theta}
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**settings, use_cache=False))
    twin = Llama(config, rng=np.random.default_rng(0))  # the same weights ...
    if method == "lora":
        model = peft.get_peft_model(model, peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear"))
        apply_lora(
            twin,
            LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear"),
            rng=np.random.default_rng(0),
        )
    weights = {name: p.value for name, p in twin.named_parameters()}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.tensor(weights[_our_name(name, weights)]))  # ... and the same A and B
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.01)
    ids, labels = (torch.tensor(array) for array in batch())

    def step():
        optimizer.zero_grad()
        logits = model(ids).logits
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, VOCAB), labels.reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM)
        optimizer.step()
        return loss.item()

    return step


def _our_name(name, weights):
    """Their parameter's path as ours: PEFT wraps the model twice, and puts a name and ".weight" behind A and B."""
    name = (
        name.removeprefix("base_model.model.").removeprefix("model.").replace("embed_tokens.base_layer", "embed_tokens")
    )
    for ours_ends in (name, name.replace(".default.weight", ""), name.replace(".default.weight", ".default")):
        if ours_ends in weights:
            return ours_ends
    raise ValueError(f"no parameter of ours is called like {name}; there are {sorted(weights)[:5]} ...")


def serve(side, width, method):
    """The child: for each line read, STEPS steps; answers with their seconds and losses."""
    step = {"minilora": ours, "torch": theirs}[side](width, method)
    for _ in sys.stdin:
        seconds, losses = [], []
        for _ in range(STEPS):
            start = time.perf_counter()
            losses.append(step())
            seconds.append(time.perf_counter() - start)
        print(json.dumps([seconds, losses]), flush=True)


class Side:
    """One side's process."""

    def __init__(self, side, width, method, threads):
        names = ("MALLOC_", "MINILORA_", "OPENBLAS_", "OMP_", "MKL_", "GOMP_", "KMP_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(names)}
        environment |= {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed with the process)
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", side, str(width), method],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment,
        )

    def round(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            self.errors.seek(0)
            raise RuntimeError(f"a side ended early:\n{self.errors.read()[-2000:]}")
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def cell(width, method, threads, rounds):
    """Median seconds of a step: (ours, theirs)."""
    sides = [Side(name, width, method, threads) for name in ("minilora", "torch")]
    try:
        times, losses = ([], []), ([], [])
        for i in range(rounds + 1):
            for j, side in enumerate(sides):
                seconds, values = side.round()
                losses[j].extend(values)
                if i:  # the first round warms up
                    times[j].append(median(seconds))
        np.testing.assert_allclose(*losses, rtol=1e-3, err_msg="the two sides do not compute the same")
        return [median(t) for t in times]
    finally:
        for side in sides:
            side.close()


def table(kept):
    lines = [
        f"{kept['processor']}, numpy {kept['numpy']}, torch {kept['torch']}, transformers {kept['transformers']}, "
        f"PEFT {kept['peft']}, {kept['date']}. Milliseconds per step; the ratio is torch's time to minilora's.",
        "",
        "| threads, each | width | method | minilora | torch | ratio |",
        "|---:|---:|:---|---:|---:|---:|",
    ]
    for name, (a, b) in sorted(kept["cells"].items(), key=_order):
        threads, method, width = name.split()
        lines.append(f"| {threads} | {width} | {method} | {a:.1f} | {b:.1f} | {b / a:.2f} |")
    return "\n".join(lines)


def _order(item):
    threads, method, width = item[0].split()
    return int(threads), method != "lora", int(width)


def write(results):
    """Keep the cells, and put all that are kept into the README."""
    from importlib.metadata import version

    path, readme = HERE / "train.json", HERE / "README.md"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.is_file() else {}
    cells |= {name: [round(1e3 * seconds, 2) for seconds in pair] for name, pair in results.items()}
    kept = {"date": time.strftime("%Y-%m-%d"), "processor": processor()}
    kept |= {name: version(name) for name in ("numpy", "torch", "transformers", "peft")} | {"cells": cells}
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    page = readme.read_text(encoding="utf-8")
    before, after = page.split(MARKS[0])[0], page.split(MARKS[1])[1]
    readme.write_text(f"{before}{MARKS[0]}\n{table(kept)}\n{MARKS[1]}{after}", encoding="utf-8")


def processor():
    """Its name, where the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{cores()} cores of {line.partition(':')[2].strip()}"
    return f"{cores()} cores of {platform.processor() or platform.machine()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", default="64,128,256")
    parser.add_argument("--methods", default="lora,full")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        side, width, method = arguments.serve
        return serve(side, int(width), method)
    results = {}
    for threads in map(int, arguments.threads.split(",")):
        for method in arguments.methods.split(","):
            for width in map(int, arguments.widths.split(",")):
                a, b = cell(width, method, threads, arguments.rounds)
                results[f"{threads} {method} {width}"] = a, b
                print(
                    f"threads {threads}  width {width:3}  {method}: minilora {a * 1e3:6.1f} ms, torch {b * 1e3:6.1f} ms, "
                    f"{b / a:.2f} times torch's speed",
                    flush=True,
                )
    if arguments.write:
        write(results)


if __name__ == "__main__":
    main()
