"""Which learning rate suits each method? A small sweep, with a seed of its own, that chooses those of rank_fit."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora.experiments.rank.rank_fit import FULL, STEPS, Run, train

TOLERANCE = {"rtol": 0.15, "atol": 0.1}


@dataclass(frozen=True)
class Config:
    tasks: tuple[str, ...] = ("dates", "roman")
    ranks: tuple[int, ...] = (1, 8, 64, FULL)
    lora_rates: tuple[float, ...] = (1e-3, 3e-3, 6e-3, 1.2e-2, 2.4e-2, 4.8e-2)
    full_rates: tuple[float, ...] = (5e-4, 1e-3, 2e-3, 4e-3)
    seed: int = 100
    steps: tuple[int, ...] = STEPS


def run(config: Config = Config(), each: Callable = map) -> dict:
    """Held-out loss by task, rank ("full" for all weights) and learning rate, and the best rate of each."""
    items = [
        Run(task, rank, rate, config.seed, steps=steps)
        for task, steps in zip(config.tasks, config.steps, strict=True)
        for rank in config.ranks
        for rate in (config.lora_rates if rank else config.full_rates)
    ]
    results = each(train, items)
    loss: dict = {}
    for item, result in zip(items, results, strict=True):
        key = str(item.rank) if item.rank else "full"
        loss.setdefault(item.task, {}).setdefault(key, []).append(result["loss"])
    return {
        "lora_rates": list(config.lora_rates),
        "full_rates": list(config.full_rates),
        "loss": loss,
        "best": {task: best(by_rank, config) for task, by_rank in loss.items()},
    }


def best(by_rank: dict[str, list[float]], config: Config) -> dict[str, float]:
    """The rate with the smallest held-out loss, for each rank and for full fine-tuning."""
    rates = {rank: config.full_rates if rank == "full" else config.lora_rates for rank in by_rank}
    return {rank: rates[rank][int(np.argmin(losses))] for rank, losses in by_rank.items()}
