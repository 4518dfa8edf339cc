"""So many steps, so much rank: how far does each rank come on the hard task?

It measures speed; where longer training ends is asked by `rank_curves`, how much each rank can hold by `capacity`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minilora.experiments.finetuning import TOLERANCE as TOLERANCE
from minilora.experiments.finetuning import Run, settings, train

FULL = ("full_linears", "full")


@dataclass(frozen=True)
class Config:
    """`budgets`: numbers of steps; each is a run of its own, whose rate falls to zero at its end. `rates`: of each method ("1" to
    "64": LoRA's rank at alpha = r; see `one_run`) the best at each budget in figures/rate_by_steps.json."""

    task: str = "roman"
    budgets: tuple[int, ...] = (60, 180, 540)
    seeds: tuple[int, ...] = (0, 1, 2)
    batch_size: int = 16
    rates: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("1", (0.0307, 0.0137, 0.0137)),
        ("8", (0.00894, 0.00596, 0.00397)),
        ("64", (0.00329, 0.00219, 0.00219)),
        ("full_linears", (0.00088, 0.00132, 0.00132)),
        ("full", (0.00101, 0.00101, 0.000673)),
    )


def run(config: Config = Config(), each: Callable = map) -> dict:
    """ "before" training, and for each method its "parameters", held-out "loss" and
    "exact", [budget][seed].
    """
    plan = planned(config)
    results = iter(each(train, [run for group in plan.values() for run in group]))
    numbers: dict = {
        "ranks": [int(m) for m in plan if m not in FULL],
        "budgets": list(config.budgets),
        "batch_size": config.batch_size,
    }
    numbers |= {"before": None, "parameters": {}, "loss": {}, "exact": {}}
    n = len(config.seeds)
    for method, group in plan.items():
        found = [next(results) for _ in group]
        numbers["before"] = found[0]["before"]
        numbers["parameters"][method] = found[0]["parameters"]
        for kind in ("loss", "exact"):
            scores = [result[kind] for result in found]
            numbers[kind][method] = [scores[i : i + n] for i in range(0, len(scores), n)]
    return numbers


def planned(config: Config) -> dict[str, list[Run]]:
    """The runs of each method, budget by budget, seed by seed."""
    return {
        method: [
            one_run(config.task, method, rate, seed, steps=steps, batch_size=config.batch_size)
            for steps, rate in zip(config.budgets, rates, strict=True)
            for seed in config.seeds
        ]
        for method, rates in config.rates
    }


def one_run(task: str, method: str, rate: float, seed: int, **others: Any) -> Run:
    """A run by the name that its method has here: LoRA's rank (alpha = r, all linear layers but the head); full fine-tuning of
    these layers ("full_linears"), or of everything ("full")."""
    targets = {} if method == "full" else {"target_modules": "all-linear"}
    if method in FULL:
        return Run(task, rate, seed, method="full", settings=settings(**targets), **others)
    return Run(task, rate, seed, settings=settings(r=int(method), lora_alpha=int(method), **targets), **others)
