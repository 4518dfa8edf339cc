"""Should B learn faster than A? LoRA+'s ratio against the rate, each pair trained once, and each ratio's best again."""

from collections.abc import Callable
from dataclasses import dataclass

from minilora.experiments.finetuning import LORA, Run, Settings, train
from minilora.experiments.finetuning import TOLERANCE as TRAINED
from minilora.experiments.sweep import least

TOLERANCE = TRAINED | {"overrides": {"/best|/sweep": {"rtol": 3.0, "atol": 0.5}}}


@dataclass(frozen=True)
class Config:
    """`rates`: those of A. B learns at ratio times that (Hayou et al. 2024, arXiv 2402.12354, recommend about 16)."""

    ratios: tuple[float, ...] = (1.0, 4.0, 16.0, 64.0, 256.0)
    rates: tuple[float, ...] = (0.0001, 0.0002, 0.0004, 0.0008, 0.0015, 0.003, 0.006, 0.012)
    task: str = "roman"
    settings: Settings = LORA
    steps: int = 120
    batch_size: int = 16
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)


def run(config: Config = Config(), each: Callable = map) -> dict:
    """ "sweep": the loss by ratio and rate with one seed (None: diverged). "best": for each ratio its best rate and there
    "loss" and "exact", lists over seeds.
    """
    pairs = [(ratio, rate) for ratio in config.ratios for rate in config.rates]
    sweep: dict[float, dict[float, float | None]] = {ratio: {} for ratio in config.ratios}
    runs = [pair_run(config, *pair, config.seeds[0]) for pair in pairs]
    for (ratio, rate), result in zip(pairs, each(train, runs), strict=True):
        sweep[ratio][rate] = result["loss"]
    best = {ratio: least(losses) for ratio, losses in sweep.items()}
    chosen = [(ratio, seed) for ratio in config.ratios for seed in config.seeds]
    again: dict[float, list] = {ratio: [] for ratio in config.ratios}
    runs = [pair_run(config, ratio, best[ratio], seed) for ratio, seed in chosen]
    for (ratio, _), result in zip(chosen, each(train, runs), strict=True):
        again[ratio].append(result)
    return {
        "task": config.task,
        "steps": config.steps,
        "batch_size": config.batch_size,
        "r": dict(config.settings)["r"],
        "ratios": list(config.ratios),
        "rates": list(config.rates),
        "sweep": [list(sweep[ratio].values()) for ratio in config.ratios],
        "best": [
            {"rate": best[ratio], "loss": [r["loss"] for r in results], "exact": [r["exact"] for r in results]}
            for ratio, results in again.items()
        ],
    }


def pair_run(config: Config, ratio: float, rate: float, seed: int) -> Run:
    """A learns at `rate`, B at `ratio` times it."""
    return Run(
        config.task,
        rate,
        seed,
        settings=config.settings,
        steps=config.steps,
        batch_size=config.batch_size,
        loraplus_lr_ratio=ratio,
    )
