"""Which learning rate suits which number of steps? For each rank, and for full fine-tuning, a sweep at each budget.

`rank_fit` trains every method at the rate that is best here for its budget.
"""

from collections.abc import Callable
from dataclasses import dataclass

from minilora.experiments.finetuning import TOLERANCE as TRAINED
from minilora.experiments.rank.rank_fit import one_run
from minilora.experiments.sweep import tune

# In a flat valley another processor finds another best rate.
TOLERANCE = TRAINED | {"overrides": TRAINED["overrides"] | {"best|/rates|/loss": {"rtol": 3.0, "atol": 0.5}}}


@dataclass(frozen=True)
class Config:
    """`rates`: where the sweeps of each method (see `one_run`) start, in steps of `factor`: the best after 150 steps
    (figures/rate_by_rank.json). `budgets`: numbers of steps; the rate falls by a cosine to zero at the end of each.
    """

    task: str = "roman"
    budgets: tuple[int, ...] = (60, 180, 540)
    seed: int = 100
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
    """For each method, by budget: the swept "rates", their held-out "loss" (None where a run diverged), and the "best" rate."""
    sides = {
        f"{method}, {steps} steps": one_run(
            config.task, method, rate, config.seed, steps=steps, batch_size=config.batch_size
        )
        for method, rate in config.rates
        for steps in config.budgets
    }
    found = tune(sides, each, seeds=(), sweep_seed=config.seed, factor=config.factor, reach=1)
    return {
        "budgets": list(config.budgets),
        "batch_size": config.batch_size,
        "factor": config.factor,
        "methods": {
            method: {
                key: [found[f"{method}, {steps} steps"][key] for steps in config.budgets]
                for key in ("rates", "loss", "best")
            }
            for method, _ in config.rates
        },
    }
