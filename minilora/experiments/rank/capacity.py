"""How many bits does an adapter hold? Random values for random keys, more and more of them, until it is full.

A key is two bytes, its value one byte, both drawn: no rule leads from one to the other, so what is known was stored. A
frozen, random network of two layers, of which LoRA may change the linear layers. "LoRA Without Regret" (Schulman et al. 2025)
and Allen-Zhu & Li 2024 (arXiv 2404.05405) find about 2 bits per parameter.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from minilora.adapters import LoraConfig, apply_lora, count_parameters
from minilora.data.records import IGNORED
from minilora.experiments.sweep import tune
from minilora.nn import Llama, LlamaConfig
from minilora.training import DivergenceError, Trainer, TrainingConfig, evaluate

TOLERANCE = {
    "rtol": 0.2,
    "atol": 0.1,
    "overrides": {
        "/parameters": {"rtol": 0, "atol": 0},
        "/rate/|/rates|/sweep|/around|/loss": {"rtol": 3.0, "atol": 0.5},  # another processor, another best rate
    },
}
VALUES = 256


@dataclass(frozen=True)
class Config:
    """`offered`: pairs, as bits of their values per trainable parameter. `rate`: where the sweep of each rank at each offer
    starts, in steps of `factor`, with `sweep_seed`.
    """

    ranks: tuple[int, ...] = (1, 4)
    offered: tuple[float, ...] = (1.0, 2.0, 4.0, 6.0)
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 1000  # each on all pairs
    hidden_size: int = 32
    layers: int = 2
    rate: float = 0.068
    factor: float = 1.5
    sweep_seed: int = 100


@dataclass(frozen=True)
class Run:
    """One adapter of rank r with so many pairs."""

    r: int
    pairs: int
    learning_rate: float
    seed: int
    steps: int
    hidden_size: int
    layers: int


def run(config: Config = Config(), each: Callable = map) -> dict:
    """For each rank its "parameters" and, by offer, "pairs", the swept "rates" and their losses ("sweep"), the rates that ran "around"
    the best one with their "loss", [rate][seed], and at the best "rate" of these the "bits" stored per parameter and the share
    "known", both over seeds.
    """
    sides = {_name(r, offer): one(config, r, offer) for r in config.ranks for offer in config.offered}
    swept = tune(sides, each, seeds=(), sweep_seed=config.sweep_seed, factor=config.factor, reach=1, function=store)
    # The best rate stands beside a cliff, over which another seed may fall: the next lower one runs with all seeds,
    # too, and their mean decides, so that no rate is taken at which one of them fails while none does at the other.
    around = {name: [rate for rate in side["rates"] if rate <= side["best"]][-2:] for name, side in swept.items()}
    runs = {
        name: [[replace(sides[name], learning_rate=rate, seed=seed) for seed in config.seeds] for rate in rates]
        for name, rates in around.items()
    }
    results = iter(each(store, [run for rates in runs.values() for seeds in rates for run in seeds]))
    found = {name: [[next(results) for _ in seeds] for seeds in rates] for name, rates in runs.items()}
    numbers: dict = {"offered": list(config.offered), "steps": config.steps, "ranks": {}}
    for r in config.ranks:
        names, size = [_name(r, offer) for offer in config.offered], parameters(config, r)
        losses = [[[_finite(result["loss"]) for result in seeds] for seeds in found[name]] for name in names]
        best = [int(np.argmin(np.mean(by_rate, axis=1))) for by_rate in losses]
        at_best = [found[name][i] for name, i in zip(names, best, strict=True)]
        numbers["ranks"][str(r)] = {
            "parameters": size,
            "pairs": [pairs(config, r, offer) for offer in config.offered],
            "rates": [swept[name]["rates"] for name in names],
            "sweep": [swept[name]["loss"] for name in names],
            "around": [around[name] for name in names],
            "loss": [[[result["loss"] for result in seeds] for seeds in found[name]] for name in names],
            "rate": [around[name][i] for name, i in zip(names, best, strict=True)],
            "bits": [[result["bits"] / size for result in seeds] for seeds in at_best],
            "known": [[result["known"] for result in seeds] for seeds in at_best],
        }
    return numbers


def _finite(loss):
    return math.inf if loss is None else loss


def _name(r, offer):
    return f"r = {r}, {offer:g} offered"


def one(config: Config, r: int, offer: float) -> Run:
    """The run of a rank at an offer, at the rate where its sweep starts."""
    return Run(
        r, pairs(config, r, offer), config.rate, config.sweep_seed, config.steps, config.hidden_size, config.layers
    )


def pairs(config: Config, r: int, offer: float) -> int:
    """So many pairs that their values hold `offer` bits per parameter."""
    return round(offer * parameters(config, r) / math.log2(VALUES))


def parameters(config: Config, r: int) -> int:
    """Trainable parameters."""
    return count_parameters(adapted(shape(config.hidden_size, config.layers), r, 0))[0]


def shape(hidden_size: int, layers: int) -> LlamaConfig:
    """Two tokens in, one of 256 out."""
    return LlamaConfig(
        vocab_size=VALUES,
        hidden_size=hidden_size,
        intermediate_size=hidden_size * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=8,
        tie_word_embeddings=False,
        initializer_range=1 / math.sqrt(hidden_size),  # outputs of the size of inputs
    )


def adapted(network: LlamaConfig, r: int, seed: int) -> Llama:
    """The frozen random network with an adapter on its linear layers; its head is so large that it can be sure of a value."""
    model = Llama(network, rng=np.random.default_rng([seed, 1]))
    model.lm_head.weight.value *= 4.0  # logits of a normalized state then spread by 4
    config = LoraConfig(r=r, lora_alpha=r, target_modules="all-linear")
    apply_lora(model, config, rng=np.random.default_rng([seed, 2]))
    return model


def drawn_pairs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """n different keys of two bytes, and a value for each, to be given after the second.    token_ids, labels: (n, 2)"""
    rng = np.random.default_rng([seed, 0])
    keys = rng.choice(VALUES**2, size=n, replace=False)
    labels = np.full((n, 2), IGNORED, np.int64)
    labels[:, 1] = rng.integers(VALUES, size=n)
    return np.stack(np.divmod(keys, VALUES), axis=1).astype(np.int64), labels


def store(item: Run) -> dict[str, float | None]:
    """Train until the steps are over. "loss": cross-entropy in nats per value (None if the training diverged), "bits": pairs times
    (8 - cross-entropy in bits), "known": the share of values that would be given. Nothing is held out: what was not seen cannot be known.
    """
    model = adapted(shape(item.hidden_size, item.layers), item.r, item.seed)
    token_ids, labels = drawn_pairs(item.pairs, item.seed)
    training = TrainingConfig(
        max_steps=item.steps, learning_rate=item.learning_rate, warmup_steps=item.steps // 20, seed=item.seed
    )
    try:
        Trainer(model, training, lambda step: (token_ids, labels)).train()
    except DivergenceError:
        return {"loss": None, "bits": 0.0, "known": 0.0}
    scores = evaluate(model, token_ids, labels, batch_size=1024)
    return {
        "loss": scores["loss"],
        "bits": max(0.0, item.pairs * (math.log2(VALUES) - scores["loss"] / math.log(2))),
        "known": scores["exact"],
    }
