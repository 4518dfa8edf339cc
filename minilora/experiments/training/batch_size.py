"""Does LoRA tolerate large batches worse than full fine-tuning? At equal samples, and at equal steps, each at its own best rate."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minilora.experiments.finetuning import TOLERANCE as TRAINED
from minilora.experiments.finetuning import Run
from minilora.experiments.methods.sides import sides
from minilora.experiments.sweep import at_best, tune, valley

# In a flat valley another processor finds another best rate.
TOLERANCE = TRAINED | {"overrides": {"/best|/rates|/sweep|/valley": {"rtol": 3.0, "atol": 0.5}}}


@dataclass(frozen=True)
class Config:
    """`samples`: how many records each run sees, so that a larger batch takes fewer steps. `rates`: where the sweep of each
    method starts, for each size. `larger`: the sizes beside which runs of as few steps stand, with batches of `small`.
    """

    task: str = "roman"
    samples: int = 6144
    sizes: tuple[int, ...] = (8, 16, 32, 64, 128, 256, 512)
    small: int = 16
    larger: tuple[int, ...] = (64, 128, 256, 512)
    rates: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("LoRA", (0.0036, 0.0048, 0.0064, 0.0085, 0.011, 0.014, 0.018)),
        ("full, same linears", (0.001, 0.0011, 0.0013, 0.0016, 0.0016, 0.0016, 0.0016)),
    )
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)


def run(config: Config = Config(), each: Callable = map) -> dict:
    """ "equal_samples": for each method, in a list over sizes, the sweep, "valley" (the rate at the bottom of a parabola through
    it, see `sweep.valley`), and the seeds at its best rate (see `at_best`). "equal_steps": the same of batches of `small`, for
    as many steps as each of the "larger" sizes takes.
    """
    runs = planned(config)
    tuned = tune(runs, each, seeds=config.seeds, sweep_seed=config.seeds[0], reach=1, further=3)
    best = {name: with_valley(at_best(side)) for name, side in tuned.items()}
    methods = [method for method, _ in config.rates]
    return {
        "task": config.task,
        "samples": config.samples,
        "sizes": list(config.sizes),
        "larger": list(config.larger),
        "small": config.small,
        "steps": [config.samples // size for size in config.sizes],
        "equal_samples": {method: [best[f"{method}, {size}"] for size in config.sizes] for method in methods},
        "equal_steps": {method: [best[f"{method}, steps of {size}"] for size in config.larger] for method in methods},
    }


def with_valley(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of `at_best`, and "valley": between the rates of its sweep, where the loss of that seed would be least."""
    return entry | {"valley": float(f"{valley(entry['rates'], entry['sweep'])[0]:.3g}")}


def planned(config: Config) -> dict[str, Run]:
    """The run around which each sweep starts, by name: of every method and size, and with as few steps but small batches."""
    runs = {}
    for method, rates in config.rates:
        (side,) = sides(method)
        for size, rate in zip(config.sizes, rates, strict=True):
            start = side.run(config.task, learning_rate=rate, steps=config.samples // size, batch_size=size)
            runs[f"{method}, {size}"] = start
            if size in config.larger:
                runs[f"{method}, steps of {size}"] = side.run(
                    config.task, learning_rate=rate, steps=start.steps, batch_size=config.small
                )
    return runs
