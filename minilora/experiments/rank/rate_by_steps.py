"""Which learning rate suits which number of steps? For each rank, and for full fine-tuning, a sweep at each budget.

`rank_fit` trains every method at the rate that is best here for its budget.
"""

from collections.abc import Callable
from dataclasses import dataclass

from minilora.experiments.finetuning import TOLERANCE as TRAINED
from minilora.experiments.rank.rank_fit import one_run
from minilora.experiments.sweep import best_point, tune

# In a flat valley another processor finds another best rate.
TOLERANCE = TRAINED | {
    "overrides": TRAINED["overrides"] | {"best|/rates|/sweep|/around|/loss": {"rtol": 3.0, "atol": 0.5}}
}


@dataclass(frozen=True)
class Config:
    """`rates`: where the sweeps of each method (see `one_run`) start, in steps of `factor`: the best after 150 steps
    (figures/rate_by_rank.json). `budgets`: numbers of steps; the rate falls by a cosine to zero at the end of each. The first of
    `seeds` sweeps; its best rate and the next ones below and above it run with all of them, none of which rank_fit uses.
    """

    task: str = "roman"
    budgets: tuple[int, ...] = (60, 180, 540)
    seeds: tuple[int, ...] = (100, 101, 102)
    batch_size: int = 16
    factor: float = 1.5
    rates: tuple[tuple[str, float], ...] = (
        ("1", 0.0137),
        ("8", 0.00596),
        ("64", 0.00219),
        ("full_linears", 0.00132),
        ("full", 0.00151),
    )


def run(config: Config = Config(), each: Callable = map) -> dict:
    """For each method, by budget: the "rates" that the first seed swept with their held-out losses ("sweep", None where a run
    diverged), the three that ran "around" its best with their "loss", [rate][seed], and the "best" rate of these.
    """
    sides = {
        f"{method}, {steps} steps": one_run(
            config.task, method, rate, config.seeds[0], steps=steps, batch_size=config.batch_size
        )
        for method, rate in config.rates
        for steps in config.budgets
    }
    found = tune(sides, each, seeds=config.seeds, sweep_seed=config.seeds[0], factor=config.factor, reach=1, width=1)
    numbers: dict = {"budgets": list(config.budgets), "batch_size": config.batch_size, "factor": config.factor}
    numbers["methods"] = {}
    for method, _ in config.rates:
        group = [found[f"{method}, {steps} steps"] for steps in config.budgets]
        numbers["methods"][method] = {
            "rates": [side["rates"] for side in group],
            "sweep": [side["loss"] for side in group],
            "around": [[point["rate"] for point in side["around"]] for side in group],
            "loss": [[[r["loss"] for r in point["results"]] for point in side["around"]] for side in group],
            "best": [best_point(side)["rate"] for side in group],
        }
    return numbers
