"""Does the hard task need more rank, or more steps? Loss and exact answers by step for each rank, in a long training.

rsLoRA's scaling with alpha = 8 is one rule under which every rank is near its best (figures/rate_by_rank.json); at alpha = r
the small ranks are held back.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from minilora.experiments.finetuning import TOLERANCE as TRAINED
from minilora.experiments.finetuning import Run, settings, train
from minilora.experiments.sweep import at_best, tune

FULL = "full_linears"

# In a flat valley another processor finds another best rate.
TOLERANCE = TRAINED | {"overrides": TRAINED["overrides"] | {"rate$|/rates|/sweep": {"rtol": 3.0, "atol": 0.5}}}


@dataclass(frozen=True)
class Config:
    """`rates`: where the sweep of each LoRA rank, and of full fine-tuning of the same layers, starts: at the best of
    figures/rate_by_rank.json, which are those of 150 steps (r = 2: between its neighbours). Each falls by a cosine to zero at
    the last step. `longer`: these are trained once more, at the best rate, with twice the steps, to see whether they had ended.
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
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    steps: int = 900
    eval_steps: int = 45
    batch_size: int = 16
    longer: tuple[str, ...] = ("1", "64")


def run(config: Config = Config(), each: Callable = map) -> dict:
    """ "before" training, and for each method its "parameters", the "rates" of its sweep with their losses ("sweep"), its best
    "rate", and there at each "step" held-out "loss" and "exact", lists [seed][step]. "longer": the same, without a sweep, of
    those that were trained with twice the steps.
    """
    sides = {method: side(config, method, rate) for method, rate in config.rates}
    tuned = tune(sides, each, seeds=config.seeds, sweep_seed=config.seeds[0], reach=1, further=2)
    twice = {
        method: replace(
            sides[method],
            learning_rate=tuned[method]["best"],
            steps=2 * config.steps,
            eval_steps=2 * config.eval_steps,
        )
        for method in config.longer
    }
    results = iter(each(train, [replace(one, seed=seed) for one in twice.values() for seed in config.seeds]))
    numbers: dict[str, Any] = {
        "task": config.task,
        "steps": config.steps,
        "batch_size": config.batch_size,
        "before": None,
        "methods": {},
        "longer": {},
    }
    for method, found in tuned.items():
        (point,) = found["around"]
        numbers["before"] = point["results"][0]["before"]
        swept = {key: at_best(found)[key] for key in ("rates", "sweep")}
        numbers["methods"][method] = swept | curves(point["results"], point["rate"])
    for method, one in twice.items():
        numbers["longer"][method] = curves([next(results) for _ in config.seeds], one.learning_rate)
    return numbers


def curves(results: list[dict[str, Any]], rate: float) -> dict[str, Any]:
    """What a figure keeps of one method's runs, a list over seeds."""
    return {
        "rate": rate,
        "parameters": results[0]["parameters"],
        "step": [point["step"] for point in results[0]["curve"]],
        "loss": [[point["loss"] for point in result["curve"]] for result in results],
        "exact": [[point["exact"] for point in result["curve"]] for result in results],
    }


def side(config: Config, method: str, rate: float) -> Run:
    """The first seed's run of a method, at the rate where its sweep starts."""
    return Run(
        config.task,
        rate,
        config.seeds[0],
        **what(method, config.rslora_alpha),
        steps=config.steps,
        eval_steps=config.eval_steps,
        batch_size=config.batch_size,
    )


def what(method: str, alpha: int) -> dict[str, Any]:
    """What a run of this method trains: LoRA of the rank that is its name, or the same linear layers in full."""
    if method == FULL:
        return {"method": "full", "settings": settings(target_modules="all-linear")}
    values = settings(r=int(method), lora_alpha=alpha, use_rslora=True, target_modules="all-linear")
    return {"method": "lora", "settings": values}
