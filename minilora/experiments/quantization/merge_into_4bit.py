"""What is left of an adapter that is merged into a 4-bit base? Kept in float, quantized again, or merged onto the original."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minilora.adapters import linear_paths
from minilora.assets import load_base
from minilora.data import ByteTokenizer, encode_records, split
from minilora.experiments.finetuning import Run, prepared, settings
from minilora.nn import Llama
from minilora.quant import quantize
from minilora.training import answers, evaluate

# Training amplifies the last bits, in which processors differ; what is kept of an update depends on its size alone.
TOLERANCE = {
    "rtol": 0.25,
    "atol": 0.1,
    "overrides": {"/shares/": {"rtol": 0.02, "atol": 0.01}, "/said/": {"text": "any"}},
}
CODE = {"code": "nf4", "double_quant": True}
WAYS = ("beside", "requantized", "original", "original requantized")
SHOWN = 5  # held-out records whose answers are kept, for lesson 06


@dataclass(frozen=True)
class Config:
    """`rates`: adapters trained at lower rates are smaller; `best_rate` is that of figures/qlora.json."""

    task: str = "roman"
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    r: int = 8
    best_rate: float = 6e-3
    steps: int = 300
    rates: tuple[float, ...] = (1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3)
    short_steps: int = 100
    sizes: tuple[float, ...] = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
    codes: tuple[str, ...] = ("nf4", "int4", "nf2")
    share_seeds: tuple[int, ...] = (0, 1, 2, 3, 4)


def run(config: Config = Config(), each: Callable = map) -> dict:
    """ "shares": by code, the share of a random update of rank r that is kept at each of "sizes" (its norm over the weight's),
    a list over seeds. "adapters": for each trained one its task, rate, seed, "size" (of all layers together), "share" of its
    update that is kept, "before" (loss and exact of the base alone), loss and exact in each of WAYS, and what the best ones
    say to some held-out inputs ("said", by way and as it was "wanted").
    """
    trained = _runs(config)
    drawn = [(config, code, seed) for code in config.codes for seed in config.share_seeds]
    shares: dict[str, list] = {code: [] for code in config.codes}
    for (_, code, _), kept in zip(drawn, each(random_shares, drawn), strict=True):
        shares[code].append(kept)
    return {
        "sizes": list(config.sizes),
        "r": config.r,
        "shares": {code: [list(entry) for entry in zip(*kept, strict=True)] for code, kept in shares.items()},
        "adapters": list(each(merged_ways, trained)),
    }


def random_shares(item: tuple[Config, str, int]) -> list[float]:
    """The share kept of a random low-rank update of the base's own matrices, at each size."""
    config, code, seed = item
    rng = np.random.default_rng(seed)
    wanted, made = [[] for _ in config.sizes], [[] for _ in config.sizes]
    for layer in linear_paths(load_base()).values():
        base = requantized(layer.dense_weight(), code)
        out, width = base.shape
        update = rng.standard_normal((out, config.r)) @ rng.standard_normal((config.r, width))
        update *= np.linalg.norm(base) / np.linalg.norm(update)
        for i, size in enumerate(config.sizes):
            dW = (size * update).astype(np.float32)
            wanted[i].append(dW)
            made[i].append(requantized(base + dW, code) - base)
    return [share_kept(made_, wanted_) for made_, wanted_ in zip(made, wanted, strict=True)]


def requantized(weight: np.ndarray, code: str = CODE["code"]) -> np.ndarray:
    """The weight after four bits, doubly quantized, and back.    (out, in)"""
    return quantize(weight, code, double_quant=True).dequantize()


def share_kept(made: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    """The regression coefficient of the changes that were made on those that were wanted, over all layers together."""
    pairs = list(zip(made, wanted, strict=True))
    return float(sum(np.vdot(m, w) for m, w in pairs) / sum(np.vdot(w, w) for _, w in pairs))


def merged_ways(run: Run) -> dict[str, Any]:
    """Train one adapter over NF4 with double quantization, then merge it in each of WAYS."""
    model, trainer = prepared(run)
    trainer.train()
    layers = linear_paths(model)
    in_four_bits = {path: layer.base_layer.dense_weight() for path, layer in layers.items()}
    merged = {path: layer.dense_weight() for path, layer in layers.items()}
    update = {path: merged[path] - in_four_bits[path] for path in layers}
    original = {path: layer.dense_weight() for path, layer in linear_paths(load_base()).items()}
    onto = {path: original[path] + update[path] for path in layers}
    again = {path: requantized(weight) for path, weight in merged.items()}
    weights = {
        "beside": merged,
        "requantized": again,
        "original": onto,
        "original requantized": {path: requantized(weight) for path, weight in onto.items()},
    }
    held_out = split(run.task, run.n_train, run.n_eval, seed=run.seed)[1]
    rows = encode_records(held_out, ByteTokenizer())
    models = {"before": _with(in_four_bits)} | {way: _with(weights[way]) for way in WAYS}
    norms = [np.sqrt(sum(np.vdot(part, part) for part in parts.values())) for parts in (update, in_four_bits)]
    scores = {way: evaluate(model, *rows) for way, model in models.items()}
    return {
        "task": run.task,
        "rate": run.learning_rate,
        "seed": run.seed,
        "size": float(norms[0] / norms[1]),
        "share": share_kept([again[path] - in_four_bits[path] for path in layers], list(update.values())),
        "before": scores.pop("before"),
        "ways": scores,
        "said": said(models, held_out[:SHOWN]),
    }


def said(models: dict[str, Llama], records: list) -> dict[str, list[str]]:
    """What each model answers to the inputs of some records, greedily, beside "input" and "wanted"."""
    inputs = [record.input for record in records]
    found = {"input": inputs, "wanted": [record.target for record in records]}
    return found | {name: answers(model, inputs, ByteTokenizer(), max_new_tokens=24) for name, model in models.items()}


def _with(weights: dict[str, np.ndarray]) -> Llama:
    """The base with these weights in its linear layers."""
    model = load_base()
    for path, layer in linear_paths(model).items():
        layer.weight.value[...] = weights[path]
    return model


def _runs(config):
    """The best adapters, trained to the end, and smaller ones."""
    best = Run(
        config.task,
        config.best_rate,
        0,
        settings=settings(r=config.r, lora_alpha=config.r, target_modules="all-linear"),
        steps=config.steps,
        **CODE,
    )
    small = replace(best, steps=config.short_steps, batch_size=16)
    return [
        *(replace(best, seed=seed) for seed in config.seeds),
        *(replace(small, learning_rate=rate, seed=seed) for rate in config.rates for seed in config.seeds),
    ]
