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
import time

import numpy as np
from sides import Side, alternate, keep, medians, serve, write_block

from minilora import AdamW, Llama, LlamaConfig, LoraConfig, apply_lora
from minilora.machine import keep_memory
from minilora.training import clip_grad_norm

BATCH, LENGTH, VOCAB, LAYERS, RANK = 16, 128, 256, 4, 8
RATE, MAX_NORM = 1e-3, 1.0
STEPS = 2  # per turn: short turns, so that a busy machine slows both sides alike
PACKAGES = "numpy", "torch", "transformers", "peft"


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


def turns(side, width, method):
    """The child's turn: STEPS steps, their seconds and losses."""
    step = {"minilora": ours, "torch": theirs}[side](width, method)

    def turn():
        seconds, losses = [], []
        for _ in range(STEPS):
            start = time.perf_counter()
            losses.append(step())
            seconds.append(time.perf_counter() - start)
        return [seconds, losses]

    return turn


def cell(width, method, threads, rounds):
    """Median seconds of a step: (ours, theirs)."""
    answers = alternate(
        [Side(__file__, name, width, method, threads=threads) for name in ("minilora", "torch")], rounds
    )
    losses = [[loss for answer in side for loss in answer[1]] for side in answers]
    np.testing.assert_allclose(*losses, rtol=1e-3, err_msg="the two sides do not compute the same")
    return medians(answers)


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
        return serve(turns(side, int(width), method))
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
        cells = {name: [round(1e3 * seconds, 2) for seconds in pair] for name, pair in results.items()}
        write_block("train", table(keep("train", cells, PACKAGES)), "benchmarks/train.py --write")


if __name__ == "__main__":
    main()
