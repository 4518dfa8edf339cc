"""Does it pay to learn alpha? Fixed, or learned at several rates of its own, from a small, a middling and a large start."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minilora.adapters import lora_layers
from minilora.experiments.finetuning import LORA, Run, measure, prepared
from minilora.experiments.finetuning import TOLERANCE as TRAINED
from minilora.experiments.methods.sides import lora
from minilora.experiments.sweep import at_best, tune

# Learned alphas at a high rate of their own jump about; in a flat valley another processor finds another best rate.
TOLERANCE = TRAINED | {
    "overrides": {"/best|/rates|/sweep": {"rtol": 3.0, "atol": 0.5}, "/learned": {"rtol": 3.0, "atol": 8.0}}
}


@dataclass(frozen=True)
class Config:
    """`alphas`: where alpha starts, with r = 8, and `rates`: where the sweep of each begins. `ratios`: alpha's rate as a multiple
    of that of A and B; 0 is a fixed alpha. `one_rate`: at which all are run as well, with `one_rate_seeds`.
    """

    alphas: tuple[int, ...] = (1, 8, 64)
    rates: tuple[float, ...] = (0.012, 0.006, 0.0015)
    ratios: tuple[float, ...] = (0.0, 0.1, 1.0, 10.0, 100.0)
    task: str = "roman"
    steps: int = 120
    batch_size: int = 16
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    one_rate: float = 0.006
    one_rate_seeds: tuple[int, ...] = (0, 1, 2, 3, 4)


def run(config: Config = Config(), each: Callable = map) -> dict:
    """ "starts": {alpha: {ratio: entry}}. An entry: the sweep and the seeds at the best rate (see `at_best`), "learned": there
    by kind of layer the alphas at the end, a list over blocks, medians over seeds, and "at_one_rate": losses, a list over
    seeds (None: diverged).
    """
    guesses = dict(zip(config.alphas, config.rates, strict=True))
    sides = {
        (alpha, ratio): alpha_run(config, alpha, ratio, guesses[alpha])
        for alpha in config.alphas
        for ratio in config.ratios
    }
    results: dict[Run, dict[str, Any]] = {}

    def once(function: Callable, items: list[Run]) -> list[dict[str, Any]]:
        missing = [item for item in items if item not in results]
        results.update(zip(missing, each(function, missing), strict=True))
        return [results[item] for item in items]

    tuned = tune(sides, once, seeds=config.seeds, sweep_seed=config.seeds[0], reach=1, function=train_alpha)
    at_one = [
        replace(side, learning_rate=config.one_rate, seed=seed)
        for side in sides.values()
        for seed in config.one_rate_seeds
    ]
    losses = iter([result["loss"] for result in once(train_alpha, at_one)])
    starts: dict[int, dict] = {alpha: {} for alpha in config.alphas}
    for (alpha, ratio), side in tuned.items():
        (at,) = side["around"]
        starts[alpha][f"{ratio:g}"] = at_best(side) | {
            "learned": over_seeds([result["alphas"] for result in at["results"]]),
            "at_one_rate": [next(losses) for _ in config.one_rate_seeds],
        }
    return {
        "task": config.task,
        "steps": config.steps,
        "r": dict(LORA)["r"],
        "ratios": list(config.ratios),
        "one_rate": config.one_rate,
        "starts": starts,
    }


def alpha_run(config: Config, alpha: int, ratio: float, rate: float) -> Run:
    """LoRA whose alpha starts at `alpha` and learns at `ratio` times the rate; at 0 it is the usual constant."""
    return Run(
        config.task,
        rate,
        config.seeds[0],
        settings=lora(lora_alpha=alpha, trainable_alpha=True) if ratio else lora(lora_alpha=alpha),
        steps=config.steps,
        batch_size=config.batch_size,
        alpha_lr_ratio=ratio,
    )


def train_alpha(run: Run) -> dict[str, Any]:
    """`train`, and "alphas": by kind of layer ("q_proj") the alpha of each block at the end."""
    model, trainer = prepared(run)
    numbers = measure(model, trainer)
    alphas: dict[str, list[float]] = {}
    for path, layer in lora_layers(model).items():
        part = layer.acting
        alpha = dict(run.settings)["lora_alpha"] if part.lora_alpha is None else float(part.lora_alpha.value[0])
        alphas.setdefault(path.rpartition(".")[2], []).append(alpha)
    return numbers | {"alphas": alphas}


def over_seeds(runs: list[dict[str, list[float]]]) -> dict[str, list[float]]:
    """[seed]{kind: [block]} -> {kind: [block]}, each the median over seeds."""
    return {kind: np.median([alphas[kind] for alphas in runs], axis=0).tolist() for kind in runs[0]}
