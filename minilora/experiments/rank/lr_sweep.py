"""Which learning rate suits each method? A small sweep, with a seed of its own, that chooses those of rank_fit."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora.experiments.finetuning import train
from minilora.experiments.rank.rank_fit import STEPS, full_run, label, lora_run

TOLERANCE = {"rtol": 0.15, "atol": 0.1}


@dataclass(frozen=True)
class Config:
    tasks: tuple[str, ...] = ("dates", "roman")
    ranks: tuple[int, ...] = (1, 8, 64)
    lora_rates: tuple[float, ...] = (1e-3, 3e-3, 6e-3, 1.2e-2, 2.4e-2, 4.8e-2)
    full_rates: tuple[float, ...] = (5e-4, 1e-3, 2e-3, 4e-3)
    seed: int = 100
    steps: tuple[int, ...] = STEPS


def run(config: Config = Config(), each: Callable = map) -> dict:
    """Held-out loss by task, method (LoRA's rank, or "full") and learning rate, and the best rate of each."""
    runs = [
        run
        for task, steps in zip(config.tasks, config.steps, strict=True)
        for run in (
            *(lora_run(task, r, rate, config.seed, steps) for r in config.ranks for rate in config.lora_rates),
            *(full_run(task, rate, config.seed, steps) for rate in config.full_rates),
        )
    ]
    loss: dict = {}
    for run, result in zip(runs, each(train, runs), strict=True):
        loss.setdefault(run.task, {}).setdefault(label(run), []).append(result["loss"])
    return {
        "lora_rates": list(config.lora_rates),
        "full_rates": list(config.full_rates),
        "loss": loss,
        "best": {task: best(by_method, config) for task, by_method in loss.items()},
    }


def best(by_method: dict[str, list[float | None]], config: Config) -> dict[str, float]:
    """The rate with the smallest held-out loss, for each rank and for full fine-tuning; None is a run that diverged."""
    rates = {method: config.full_rates if method == "full" else config.lora_rates for method in by_method}
    return {m: rates[m][int(np.nanargmin(np.array(losses, float)))] for m, losses in by_method.items()}
