"""Does LoRA tolerate large batches worse than full fine-tuning? At equal samples, and at equal steps, each at its own best rate."""

from collections.abc import Callable
from dataclasses import dataclass

from minilora.experiments.finetuning import TOLERANCE as TRAINED
from minilora.experiments.finetuning import Run
from minilora.experiments.methods.sides import sides
from minilora.experiments.sweep import at_best, tune

# In a flat valley another processor finds another best rate.
TOLERANCE = TRAINED | {"overrides": {"/best|/rates|/sweep": {"rtol": 3.0, "atol": 0.5}}}


@dataclass(frozen=True)
class Config:
    """`samples`: how many records each run sees, so that a larger batch takes fewer steps. `rates`: where the sweep of each
    method starts, for each size. `small`: the batch of the runs that take as few steps as a larger one.
    """

    task: str = "roman"
    samples: int = 4096
    sizes: tuple[int, ...] = (8, 64, 512)
    small: int = 64
    rates: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("LoRA", (0.004, 0.008, 0.024)),
        ("full, same linears", (0.001, 0.002, 0.004)),
    )
    seeds: tuple[int, ...] = (0, 1, 2)


def run(config: Config = Config(), each: Callable = map) -> dict:
    """ "equal_samples": for each method, in a list over sizes, the sweep and the seeds at its best rate (see `at_best`).
    "equal_steps": the same of batches of `small`, for as many steps as each of the "larger" sizes takes.
    """
    larger = [size for size in config.sizes if size > config.small]
    runs = planned(config)
    tuned = tune(runs, each, seeds=config.seeds, sweep_seed=config.seeds[0], reach=1, further=3)
    best = {name: at_best(side) for name, side in tuned.items()}
    methods = [method for method, _ in config.rates]
    return {
        "task": config.task,
        "samples": config.samples,
        "sizes": list(config.sizes),
        "larger": larger,
        "small": config.small,
        "steps": [config.samples // size for size in config.sizes],
        "equal_samples": {method: [best[f"{method}, {size}"] for size in config.sizes] for method in methods},
        "equal_steps": {method: [best[f"{method}, steps of {size}"] for size in larger] for method in methods},
    }


def planned(config: Config) -> dict[str, Run]:
    """The run around which each sweep starts, by name: of every method and size, and with as few steps but small batches."""
    runs = {}
    for method, rates in config.rates:
        (side,) = sides(method)
        for size, rate in zip(config.sizes, rates, strict=True):
            start = side.run(config.task, learning_rate=rate, steps=config.samples // size, batch_size=size)
            runs[f"{method}, {size}"] = start
            if size > config.small:
                runs[f"{method}, steps of {size}"] = side.run(
                    config.task, learning_rate=rate, steps=start.steps, batch_size=config.small
                )
    return runs
