"""Does the hard task need more rank, or more steps? Loss and exact answers by step for each rank, in a long training.

rsLoRA's scaling with alpha = 8 is one rule under which every rank is near its best (figures/rate_by_rank.json); at alpha = r
the small ranks are held back.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minilora.experiments.finetuning import TOLERANCE as TOLERANCE
from minilora.experiments.finetuning import Run, settings, train

FULL = "full_linears"


@dataclass(frozen=True)
class Config:
    """`rates`: of each LoRA rank, and of full fine-tuning of the same layers, the best of figures/rate_by_rank.json (r = 2:
    between its neighbours). Each falls by a cosine to zero at the last step. `longer`: these are trained once more, with
    twice the steps, to see whether they had ended.
    """

    task: str = "roman"
    rates: tuple[tuple[str, float], ...] = (
        ("1", 0.00512),
        ("2", 0.00475),
        ("8", 0.0041),
        ("64", 0.00219),
        (FULL, 0.00132),
    )
    rslora_alpha: int = 8
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 900
    eval_steps: int = 45
    batch_size: int = 16
    longer: tuple[str, ...] = ("1",)


def run(config: Config = Config(), each: Callable = map) -> dict:
    """ "before" training, and for each method its "parameters", "rate", and at each "step" held-out "loss" and "exact", lists
    [seed][step]. "longer": the same of those that were trained with twice the steps.
    """
    plan = planned(config)
    results = iter(each(train, [one for group in plan.values() for one in group]))
    numbers: dict[str, Any] = {
        "task": config.task,
        "steps": config.steps,
        "batch_size": config.batch_size,
        "before": None,
        "methods": {},
        "longer": {},
    }
    for (kind, method), group in plan.items():
        found = [next(results) for _ in group]
        numbers["before"] = found[0]["before"]
        numbers[kind][method] = {
            "rate": group[0].learning_rate,
            "parameters": found[0]["parameters"],
            "step": [point["step"] for point in found[0]["curve"]],
            "loss": [[point["loss"] for point in result["curve"]] for result in found],
            "exact": [[point["exact"] for point in result["curve"]] for result in found],
        }
    return numbers


def planned(config: Config) -> dict[tuple[str, str], list[Run]]:
    """The runs of each method, seed by seed; those with the usual steps first."""
    rates = dict(config.rates)
    lengths = {("methods", method): 1 for method in rates} | {("longer", method): 2 for method in config.longer}
    return {
        (kind, method): [
            Run(
                config.task,
                rates[method],
                seed,
                **what(method, config.rslora_alpha),
                steps=times * config.steps,
                eval_steps=times * config.eval_steps,
                batch_size=config.batch_size,
            )
            for seed in config.seeds
        ]
        for (kind, method), times in lengths.items()
    }


def what(method: str, alpha: int) -> dict[str, Any]:
    """What a run of this method trains: LoRA of the rank that is its name, or the same linear layers in full."""
    if method == FULL:
        return {"method": "full", "settings": settings(target_modules="all-linear")}
    values = settings(r=int(method), lora_alpha=alpha, use_rslora=True, target_modules="all-linear")
    return {"method": "lora", "settings": values}
