"""A real model's shape, in minilora and in torch: generating, reading a prompt, a step of LoRA and of QLoRA, quantizing.

    python benchmarks/real.py [--work NAME,...] [--threads 1,2] [--rounds 5] [--again] [--write]
    python benchmarks/real.py --growth [--write]

The model has the shape of SmolLM2-135M (576 wide, 30 layers, 9 heads over 3, 49,152 tokens, tied) and random weights, the same
on both sides: nothing is downloaded, and speed does not depend on them. The other side is transformers' Llama, PEFT's LoRA
and bitsandbytes' Linear4bit, in float32 on the CPU. Each side runs in a process of its own with nothing set but the
number of threads, they take turns, and they must arrive at the same logits and losses. Memory is the peak while it works,
weights included.

A cell is kept in benchmarks/real.json as soon as it is measured, and skipped the next time unless `--again` is given, so
a stopped run resumes. `--write` puts the table into benchmarks/README.md. `--growth` fits how time and memory of a
LoRA step grow with width, length and rank. Use a machine that does nothing else.

Needs the extra `parity` (torch, transformers, peft, bitsandbytes).
"""

import argparse
import gc
import tempfile
import time
from pathlib import Path

import numpy as np
from sides import (
    Side,
    alternate,
    forget_peak,
    keep,
    kept_cells,
    medians,
    peak,
    serve,
    write_block,
)

from minilora import AdamW, Llama, LlamaConfig, LoraConfig, apply_lora, quantize, quantize_linears
from minilora.machine import in_threads, keep_memory
from minilora.nn import Decoder, KVCache, checkpoint_blocks
from minilora.training import clip_grad_norm

CONFIG = LlamaConfig(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    max_position_embeddings=2048,
    rope_theta=100000.0,
)
PROMPT, NEW = 32, 16  # tokens read before decoding, and tokens timed per turn
PRODUCTS = 16  # times that a layer's products are computed per turn
RANK, RATE, MAX_NORM = 8, 1e-4, 1.0
BLOCK_SIZE = 64
MATRIX = (4096, 4096)  # what is quantized and decoded
GROWTH_STEPS = 3  # per setting: the fastest counts
PACKAGES = "numpy", "torch", "transformers", "peft", "bitsandbytes"
WITHOUT = {"lora-512-checkpointed": "lora-512"}  # measured by turns with it, on both sides: what does it cost?
CODES = {"": None, "int4": "int4_affine", "nf4": "nf4"}  # theirs is NF4 for each

# Each work: what the table calls it, the other side, and whether both must arrive at the same numbers.
WORKS = {
    "decode": ("a token, float32", "transformers", True),
    "read": ("read all weights once", "torch", True),
    "decode-int4": ("a token, affine int4 (theirs NF4)", "bitsandbytes", False),
    "decode-nf4": ("a token, NF4", "bitsandbytes", True),
    "decode-nf4-kept": ("a token, NF4, kept decoded", "bitsandbytes", True),
    "prefill-128": ("read 128 tokens", "transformers", True),
    "prefill-512": ("read 512 tokens", "transformers", True),
    "lora-128": ("LoRA step, 128 tokens", "PEFT", True),
    "lora-512": ("LoRA step, 512 tokens", "PEFT", True),
    "lora-512-checkpointed": ("the same, gradient checkpointing", "PEFT", True),
    "qlora-128": ("QLoRA step, 128 tokens", "PEFT and bitsandbytes", True),
    "qlora-512": ("QLoRA step, 512 tokens", "PEFT and bitsandbytes", True),
    "products-128": ("a layer's seven products, 128 tokens", "torch", True),
    "products-512": ("a layer's seven products, 512 tokens", "torch", True),
    "quantize": ("quantize 4096 x 4096 to NF4", "bitsandbytes", True),
    "dequantize": ("decode 4096 x 4096 from NF4", "bitsandbytes", True),
}


def ids_of(length):
    return np.random.default_rng(1).integers(0, CONFIG.vocab_size, (1, length))


def matrix():
    return np.random.default_rng(2).standard_normal(MATRIX, dtype=np.float32)


def layer_products(length):
    """(x, weight) of each linear layer of one block: what BLAS alone takes, to see the rest beside it."""
    rng, (D, F, d) = np.random.default_rng(3), (CONFIG.hidden_size, CONFIG.intermediate_size, CONFIG.head_dim)
    q, k = CONFIG.num_attention_heads * d, CONFIG.num_key_value_heads * d
    shapes = (q, D), (k, D), (k, D), (D, q), (F, D), (F, D), (D, F)
    return [[rng.standard_normal(s, dtype=np.float32) for s in ((length, shape[1]), shape)] for shape in shapes]


# minilora: each function gives one that does the work once and returns (seconds per unit, a number to compare).


def our_model(weights, code=None, lora=False):
    model = Llama.skeleton(CONFIG)
    for path, parameter in model.named_parameters():
        parameter.fill(np.load(weights / f"{path}.npy", mmap_mode="r"))
    if code:
        quantize_linears(model, code, block_size=BLOCK_SIZE)
    if lora:
        apply_lora(
            model, LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear"), rng=np.random.default_rng(0)
        )
    return model


def our_decoding(weights, detail):
    code, _, kept = detail.partition("-")
    model = our_model(weights, CODES[code])
    decoder, ids = Decoder(model, keep_decoded=10**9 if kept else 0), ids_of(PROMPT)

    def turn():
        cache = [KVCache(PROMPT + NEW) for _ in model.layers]
        logits, _ = model(ids, cache=cache, inference=True, logits_to_keep=1)
        new, seconds = np.argmax(logits[:, -1], axis=-1), []
        for _ in range(NEW):
            start = time.perf_counter()
            logits = decoder(new, cache)
            new = np.argmax(logits, axis=-1)
            seconds.append(time.perf_counter() - start)
        return seconds, float(logits.max())

    return turn


def our_reading(weights):
    flat = [parameter.value.reshape(-1) for parameter in our_model(weights).parameters()]
    pieces = [array[start : start + 2**20] for array in flat for start in range(0, array.size, 2**20)]

    def turn():
        largest, start = [], time.perf_counter()
        in_threads(lambda piece: largest.append(piece.max()), pieces)
        return [time.perf_counter() - start], float(max(largest))

    return turn


def our_prefill(weights, length):
    model, ids = our_model(weights), ids_of(length)

    def turn():
        cache = [KVCache(length) for _ in model.layers]
        start = time.perf_counter()
        logits, _ = model(ids, cache=cache, inference=True, logits_to_keep=1)
        return [time.perf_counter() - start], float(logits.max())

    return turn


def our_step(weights, length, code, checkpointed):
    model = our_model(weights, code, lora=True)
    if checkpointed:
        checkpoint_blocks(model)
    parameters = [p for p in model.parameters() if p.trainable]
    optimizer, ids = AdamW(parameters, lr=RATE, weight_decay=0.0), ids_of(length + 1)

    def turn():
        start = time.perf_counter()
        optimizer.zero_grad()
        loss, backward = model.loss(ids[:, :-1], ids[:, 1:])
        backward()
        clip_grad_norm(parameters, MAX_NORM)
        optimizer.step()
        return [time.perf_counter() - start], float(loss)

    return turn


def our_products(length):
    arrays = layer_products(length)

    def turn():
        seconds = []
        for _ in range(PRODUCTS):
            start = time.perf_counter()
            results = [x @ w.T for x, w in arrays]
            seconds.append(time.perf_counter() - start)
        return seconds, float(results[-1].max())

    return turn


def our_codec(kind):
    w = matrix()
    q = quantize(w, "nf4", block_size=BLOCK_SIZE)

    def turn():
        start = time.perf_counter()
        result = quantize(w, "nf4", block_size=BLOCK_SIZE).scales if kind == "quantize" else q.dequantize()
        return [time.perf_counter() - start], float(result.reshape(-1)[:1000].astype(np.float64).sum())

    return turn


# torch: the same, of transformers, PEFT and bitsandbytes.


def their_model(weights, code=None, lora=False):
    import torch
    import transformers

    names = [name for name in LlamaConfig.__dataclass_fields__ if name not in ("rope_theta", "rope_scaling")]
    settings = {name: getattr(CONFIG, name) for name in names}
    settings["rope_parameters"] = {"rope_type": "default", "rope_theta": CONFIG.rope_theta}
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**settings))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(np.load(weights / f"{name.removeprefix('model.')}.npy")))
    model.requires_grad_(False)
    if code:
        for name, layer in list(model.named_modules()):
            if isinstance(layer, torch.nn.Linear) and name != "lm_head":
                model.set_submodule(name, _their_linear(layer))
    if lora:
        model = _their_lora(model)
    return model


def _their_linear(layer):
    import bitsandbytes
    import torch

    sizes, how = (layer.in_features, layer.out_features), {"quant_type": "nf4", "compute_dtype": torch.float32}
    four_bit = bitsandbytes.nn.Linear4bit(*sizes, bias=False, **how)
    four_bit.weight = bitsandbytes.nn.Params4bit(
        layer.weight.data, requires_grad=False, quant_type="nf4", blocksize=BLOCK_SIZE, compress_statistics=False
    )
    return four_bit.to("cpu")  # this is when it quantizes


def _their_lora(model):
    import peft
    import torch

    model = peft.get_peft_model(model, peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear"))
    rng, drawn = np.random.default_rng(0), LlamaConfig(**vars(CONFIG) | {"vocab_size": 2})
    twin = Llama(drawn, rng=np.random.default_rng(0))  # for A as our side draws it
    apply_lora(twin, LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear"), rng=rng)
    starts = {path: p.value for path, p in twin.named_parameters() if path.endswith("lora_A")}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            path = name.removeprefix("base_model.model.model.").replace(".default.weight", "")
            if path in starts:
                parameter.copy_(torch.from_numpy(starts[path]))
    return model


def their_decoding(weights, detail):
    import torch

    model, ids = their_model(weights, CODES[detail.partition("-")[0]]), torch.from_numpy(ids_of(PROMPT))

    def turn():
        with torch.inference_mode():
            out = model(ids, use_cache=True, logits_to_keep=1)
            new, seconds = out.logits[:, -1:].argmax(-1), []
            for _ in range(NEW):
                start = time.perf_counter()
                out = model(new, past_key_values=out.past_key_values, use_cache=True, logits_to_keep=1)
                new = out.logits[:, -1:].argmax(-1)
                seconds.append(time.perf_counter() - start)
            return seconds, out.logits.max().item()

    return turn


def their_reading(weights):
    import torch

    tensors = [torch.from_numpy(np.load(path)) for path in sorted(weights.glob("*.npy"))]

    def turn():
        start = time.perf_counter()
        largest = [tensor.max() for tensor in tensors]
        return [time.perf_counter() - start], max(largest).item()

    return turn


def their_prefill(weights, length):
    import torch

    model, ids = their_model(weights), torch.from_numpy(ids_of(length))

    def turn():
        with torch.inference_mode():
            start = time.perf_counter()
            logits = model(ids, use_cache=True, logits_to_keep=1).logits
            return [time.perf_counter() - start], logits.max().item()

    return turn


def their_step(weights, length, code, checkpointed):
    import torch

    model = their_model(weights, code, lora=True)
    if checkpointed:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable()
        model.train()  # transformers checkpoints in training alone
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer, ids = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0), torch.from_numpy(ids_of(length + 1))

    def turn():
        start = time.perf_counter()
        optimizer.zero_grad()
        logits = model(ids[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[0], ids[0, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM)
        optimizer.step()
        return [time.perf_counter() - start], loss.item()

    return turn


def their_products(length):
    import torch

    tensors = [(torch.from_numpy(x), torch.from_numpy(w)) for x, w in layer_products(length)]

    def turn():
        seconds = []
        for _ in range(PRODUCTS):
            start = time.perf_counter()
            results = [x @ w.T for x, w in tensors]
            seconds.append(time.perf_counter() - start)
        return seconds, results[-1].max().item()

    return turn


def their_codec(kind):
    import torch
    from bitsandbytes import functional

    encoding = kind == "quantize"
    w, how = torch.from_numpy(matrix()), {"blocksize": BLOCK_SIZE, "quant_type": "nf4"}
    packed, state = functional.quantize_4bit(w, **how)

    def turn():
        start = time.perf_counter()
        result = functional.quantize_4bit(w, **how)[1].absmax if encoding else functional.dequantize_4bit(packed, state)
        return [time.perf_counter() - start], result.reshape(-1)[:1000].double().sum().item()

    return turn


def turns(side, work, weights):
    """The child's turn, to the memory that it took."""
    keep_memory()  # as Trainer and stream do
    kind, _, detail = work.partition("-")
    decoding, reading, prefill, step, products, codec = (
        (our_decoding, our_reading, our_prefill, our_step, our_products, our_codec)
        if side == "minilora"
        else (their_decoding, their_reading, their_prefill, their_step, their_products, their_codec)
    )
    if kind == "decode":
        turn = decoding(weights, detail)
    elif kind == "read":
        turn = reading(weights)
    elif kind == "prefill":
        turn = prefill(weights, int(detail))
    elif kind in ("lora", "qlora"):
        length, _, how = detail.partition("-")
        turn = step(weights, int(length), "nf4" if kind == "qlora" else None, bool(how))
    elif kind == "products":
        turn = products(int(detail))
    else:
        turn = codec(kind)
    gc.collect()
    forget_peak()
    return lambda: [*turn(), peak()]


def with_what(work):
    """The work, and what is measured by turns with it."""
    return [work, WITHOUT[work]] if work in WITHOUT else [work]


def cell(work, threads, rounds, weights):
    """(ours, theirs) in seconds, then in MB at the peak; of a work in WITHOUT both again without what it adds."""
    sides = [
        Side(__file__, side, one, weights, threads=threads) for one in with_what(work) for side in ("minilora", "torch")
    ]
    answers = alternate(sides, rounds)
    if WORKS[work][2]:
        ours, theirs = ([answer[1] for answer in side] for side in answers[:2])
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, err_msg="the two sides do not compute the same")
    seconds, peaks = medians(answers), [max(answer[2] for answer in side) for side in answers]
    pairs = [[*seconds[i : i + 2], *peaks[i : i + 2]] for i in range(0, len(sides), 2)]
    return [[1e3 * ours, 1e3 * theirs, *peaks] for ours, theirs, *peaks in pairs]


def table(kept):
    versions = ", ".join(f"{name} {kept[name]}" for name in PACKAGES)
    lines = [
        f"{kept['processor']}, {versions}, {kept['date']}. Milliseconds and the peak of memory in MB, weights included; the "
        "ratio is the other side's time to minilora's.",
        "",
        "| threads, each | work | beside | minilora | other | ratio | MB | other's |",
        "|---:|:---|:---|---:|---:|---:|---:|---:|",
    ]
    order = list(WORKS)
    for name in sorted(kept["cells"], key=lambda name: (name.split()[0], order.index(name.split()[1]))):
        threads, work = name.split()
        ours, theirs, our_peak, their_peak, *without = kept["cells"][name]
        what, beside, _ = WORKS[work]
        if without:
            cost, their_cost = 100 * (ours / without[0] - 1), 100 * (theirs / without[1] - 1)
            what += f": {cost:.0f} % more time than without it by turns, PEFT {their_cost:.0f} %"
        lines.append(
            f"| {threads} | {what} | {beside} | {ours:.1f} | {theirs:.1f} | {theirs / ours:.2f} | {our_peak:.0f} | "
            f"{their_peak:.0f} |"
        )
    return "\n".join(lines)


# How a step grows: one quantity is varied, the others stay.

BASE = {"width": 256, "length": 256, "rank": 8}
GROWING = {"width": "parameters, by width", "length": "length", "rank": "rank"}
VARIED = {"width": (128, 256, 512), "length": (256, 512, 1024), "rank": (8, 32, 128)}
# What the products alone would give, by parameters, length and rank: a matrix grows with its width squared, what is held for a
# token with the width; a LoRA's products are small beside the base's.
EXPECTED = {
    ("width", "seconds"): "1, less where norms and attention weigh",
    ("width", "activations"): "0.5",
    ("length", "seconds"): "1, attention adds a part that grows with 2",
    ("length", "activations"): "1",
    ("rank", "seconds"): "0 to 1: 2 r / width beside 1",
    ("rank", "activations"): "0",
}


def growth():
    """{"width 128": (milliseconds, MB of activations, parameters), ...} of a LoRA step on 4 layers, for each setting."""
    import tracemalloc

    cells = {}
    for name, values in VARIED.items():
        for value in values:
            setting = BASE | {name: value}
            width = setting["width"]
            config = LlamaConfig(
                vocab_size=256, hidden_size=width, intermediate_size=width * 11 // 4, max_position_embeddings=2048
            )
            model = Llama(config, rng=np.random.default_rng(0))
            lora = LoraConfig(r=setting["rank"], lora_alpha=8, target_modules="all-linear")
            apply_lora(model, lora, rng=np.random.default_rng(0))
            ids = np.random.default_rng(1).integers(0, 256, (2, setting["length"] + 1))
            times = []
            for _ in range(GROWTH_STEPS + 1):
                start = time.perf_counter()
                model.zero_grad()
                model.loss(ids[:, :-1], ids[:, 1:])[1]()
                times.append(time.perf_counter() - start)
            model.zero_grad()
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            _, backward = model.loss(ids[:, :-1], ids[:, 1:])
            held = tracemalloc.get_traced_memory()[0] - before
            tracemalloc.stop()
            del backward
            size = sum(p.size for p in model.parameters()) if name == "width" else value
            cells[f"{name} {value}"] = [round(1e3 * min(times[1:]), 2), round(held / 2**20, 2), size]
            print(f"{name} {value}: {cells[f'{name} {value}'][0]:.1f} ms, {held / 2**20:.1f} MB held", flush=True)
    return cells


def growth_table(kept):
    lines = [
        f"A LoRA step (forward, loss, backward) on 4 layers, 2 sequences; otherwise width {BASE['width']}, length "
        f"{BASE['length']}, r = {BASE['rank']}. {kept['processor']}, numpy {kept['numpy']}, {kept['date']}. The exponent is "
        "the slope of a straight line through the logarithms.",
        "",
        "| grows | sizes | ms | exponent | expected | MB held | exponent | expected |",
        "|:---|:---|:---|---:|:---|:---|---:|:---|",
    ]
    for name, values in VARIED.items():
        milliseconds, held, sizes = zip(*(kept["cells"][f"{name} {value}"] for value in values), strict=True)
        slopes = [np.polyfit(np.log(sizes), np.log(numbers), 1)[0] for numbers in (milliseconds, held)]
        shown = [", ".join(f"{number:.1f}" for number in numbers) for numbers in (milliseconds, held)]
        grown = ", ".join(f"{size:,}" for size in sizes)
        lines.append(
            f"| {GROWING[name]} | {grown} | {shown[0]} | {slopes[0]:.2f} | {EXPECTED[name, 'seconds']} | "
            f"{shown[1]} | {slopes[1]:.2f} | {EXPECTED[name, 'activations']} |"
        )
    return "\n".join(lines)


def write_weights(folder):
    model = Llama(CONFIG, rng=np.random.default_rng(0))
    for path, parameter in model.named_parameters():
        np.save(folder / f"{path}.npy", parameter.value)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", default=",".join(WORKS))
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        side, work, weights = arguments.serve
        return serve(turns(side, work, Path(weights)))
    if arguments.growth:
        kept = keep("growth", growth(), PACKAGES[:1])
        return (
            write_block("growth", growth_table(kept), "benchmarks/real.py --growth --write")
            if arguments.write
            else None
        )
    wanted = [f"{threads} {work}" for threads in arguments.threads.split(",") for work in arguments.work.split(",")]
    done = {} if arguments.again else kept_cells("real")
    with tempfile.TemporaryDirectory() as folder:
        left = [name for name in wanted if name not in done]
        if left:
            write_weights(Path(folder))
        for name in left:
            threads, work = name.split()
            found = cell(work, int(threads), arguments.rounds, folder)
            keep("real", {name: [round(number, 2) for numbers in found for number in numbers]}, PACKAGES)
            for one, (ours, theirs, *peaks) in zip(with_what(work), found, strict=True):
                print(
                    f"threads {threads}  {one}: minilora {ours:.1f} ms, {WORKS[work][1]} {theirs:.1f} ms, "
                    f"{theirs / ours:.2f} times its speed; {peaks[0]:.0f} and {peaks[1]:.0f} MB",
                    flush=True,
                )
    if arguments.write:
        write_block("real", table(keep("real", {}, PACKAGES)), "benchmarks/real.py --write")


if __name__ == "__main__":
    main()
