"""Which layers should a budget of parameters be spent on? And do many targets overfit few records? LoRA's table 5, on the base.

Every side acts by rsLoRA's scaling, alpha / sqrt(r), with one alpha: under it small and large ranks are both near their best
(figures/rate_by_rank.json), and each side has its own rate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minilora.adapters import match_targets
from minilora.assets import load_base
from minilora.experiments.finetuning import TOLERANCE as TRAINED
from minilora.experiments.finetuning import Run, settings
from minilora.experiments.sweep import at_best, tune

TOLERANCE = TRAINED | {
    "overrides": {
        "/parameters|/r$": {"rtol": 0, "atol": 0},
        "/best|/rates|/sweep": {"rtol": 3.0, "atol": 0.5},  # in a flat valley another processor finds another best
    }
}

ATTENTION, MLP = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")
TARGETS: dict[str, tuple[str, ...]] = {
    "q": ("q_proj",),
    "k": ("k_proj",),
    "v": ("v_proj",),
    "o": ("o_proj",),
    "qv": ("q_proj", "v_proj"),
    "qkvo": ATTENTION,
    "mlp": MLP,
    "all": (*ATTENTION, *MLP),
}


@dataclass(frozen=True)
class Few:
    """The other question: one rank on more and more targets, trained on few records for many epochs."""

    targets: tuple[str, ...] = ("q", "qv", "qkvo", "all")
    r: int = 8
    n_train: int = 256
    steps: int = 300
    eval_steps: int = 30
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Config:
    """`budget`: trainable parameters; the default is that of r = 3 on all linear layers. `rate`: where each sweep starts."""

    targets: tuple[str, ...] = tuple(TARGETS)
    budget: int = 35_040
    rslora_alpha: int = 8
    rate: float = 0.004
    task: str = "roman"
    steps: int = 150
    batch_size: int = 16
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    few: Few = Few()


def run(config: Config = Config(), each: Callable = map) -> dict:
    """ "targets": of each set of layers its "r", "parameters", and the sweep and the seeds at its best rate (see `at_best`).

    "few": the same of one rank on few records; there with "train_loss" at the end and the "lowest" held-out loss on the way,
    lists over seeds.
    """
    few = config.few
    sides = {name: side(config, name, rank_within(config.budget, TARGETS[name])) for name in config.targets}
    few_sides = {
        name: side(
            config,
            name,
            few.r,
            steps=few.steps,
            n_train=few.n_train,
            eval_steps=few.eval_steps,
            score_training=True,
        )
        for name in few.targets
    }
    sweep: dict[str, Any] = {"reach": 1, "further": 2}
    tuned = tune(sides, each, seeds=config.seeds, sweep_seed=config.seeds[0], **sweep)
    few_tuned = tune(few_sides, each, seeds=few.seeds, sweep_seed=few.seeds[0], **sweep)
    return {
        "task": config.task,
        "steps": config.steps,
        "batch_size": config.batch_size,
        "rslora_alpha": config.rslora_alpha,
        "targets": {name: _numbers(sides[name], tuned[name]) for name in sides},
        "few": {
            "r": few.r,
            "n_train": few.n_train,
            "steps": few.steps,
            "targets": {
                name: _numbers(few_sides[name], few_tuned[name]) | _fits(few_tuned[name]) for name in few_sides
            },
        },
    }


def side(config: Config, name: str, r: int, **others: Any) -> Run:
    """LoRA of rank r on these targets, at the rate where the sweep starts."""
    values = settings(r=r, lora_alpha=config.rslora_alpha, use_rslora=True, target_modules=TARGETS[name])
    shared = {"steps": config.steps, "batch_size": config.batch_size}
    return Run(config.task, config.rate, config.seeds[0], settings=values, **shared | others)


def per_rank(names: Sequence[str]) -> int:
    """Parameters that each rank of LoRA on these layers of the base costs: the sum of in + out."""
    return sum(layer.in_features + layer.out_features for layer in match_targets(load_base(), names).values())


def rank_within(budget: int, names: Sequence[str]) -> int:
    """The rank that comes nearest to a budget, at least 1."""
    return max(1, round(budget / per_rank(names)))


def results_at_best(tuned: dict[str, Any]) -> list[dict[str, Any]]:
    """What the runs at the best rate gave, a list over seeds."""
    best = at_best(tuned)["best"]
    return next(point["results"] for point in tuned["around"] if point["rate"] == best)


def _numbers(run, tuned):
    r = dict(run.settings)["r"]
    return {"r": r, "parameters": results_at_best(tuned)[0]["parameters"]} | at_best(tuned)


def _fits(tuned):
    curves = [result["curve"] for result in results_at_best(tuned)]
    return {
        "train_loss": [curve[-1]["train_loss"] for curve in curves],
        "lowest": [min(point["loss"] for point in curve) for curve in curves],
    }
