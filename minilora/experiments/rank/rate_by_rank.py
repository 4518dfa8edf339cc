"""Which learning rate suits which rank, and what does the scaling do to the answer? Also: alpha against the rate.

The bypass acts as s B A. LoRA's s is alpha / r (Hu et al. 2021), rsLoRA's alpha / sqrt(r) (Kalajdzievski 2023, arXiv
2312.03732). A run depends on r, s and the rate alone, so where two rules give one s they share their runs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora.adapters import LoraConfig, LoRALinear, apply_lora, linear_paths
from minilora.assets import load_base
from minilora.data import ByteTokenizer, encode_records, split
from minilora.experiments.finetuning import Run, settings, train
from minilora.experiments.sweep import valley
from minilora.training import AdamW

TOLERANCE = {"rtol": 0.25, "atol": 0.1}
FULL = ("full_linears", "full")
RULES = {"alpha = r": "alpha_r", "alpha = 32": "alpha_32", "rsLoRA": "rslora"}


@dataclass(frozen=True)
class Config:
    """Rates are steps of sqrt(2) from 0.003 (see `grid`): the middle of each sweep, for each rank (`alpha_r`, `alpha_32`,
    `rslora`) and for full fine-tuning, and how many steps it goes to either side (`reach`, `full_reach`).
    With `rslora_alpha` = 8 rsLoRA acts at r = 64 as alpha = r does.
    """

    task: str = "roman"
    steps: int = 150
    batch_size: int = 16
    ranks: tuple[int, ...] = (1, 8, 64)
    seeds: tuple[int, ...] = (0, 1, 2)
    fixed_alpha: int = 32
    rslora_alpha: int = 8
    reach: int = 2
    alpha_r: tuple[int, ...] = (4, 2, -1)  # for each rank
    alpha_32: tuple[int, ...] = (-1, -1, 0)
    rslora: tuple[int, ...] = (1, 0, -1)
    full_reach: int = 1
    full: int = -2
    full_linears: int = -2
    surface_rank: int = 8
    surface_alphas: tuple[int, ...] = (8, 16, 32, 64)
    surface_rates: tuple[int, ...] = (-2, 0, 2, 4)  # steps of sqrt(2), as above
    product: float = 0.192
    first_step_ranks: tuple[int, ...] = (1, 2, 4, 8, 16, 32)


def run(config: Config = Config(), each: Callable = map) -> dict:
    """Held-out loss of each rule and rank at each rate; the valley of each; alpha against the rate; first steps.

    "rules": {rule: {rank: {"alpha", "scaling", "rates", "loss" [rate][seed], "best"}}}; "full_linears" and "full" alike. "best":
    {"rate", "seeds"}, the bottom of a parabola (`sweep.valley`) through the medians, and through the losses of each seed.
    "surface": loss by alpha and rate at one rank, "product": where alpha x rate is `product`, both over seeds. "first_step":
    |dW| / |W| after one step.
    """
    plan = planned(config)
    runs = list(dict.fromkeys(run for group in plan.values() for run in group))
    results = dict(zip(runs, each(train, runs), strict=True))
    loss = {key: [results[run]["loss"] for run in group] for key, group in plan.items()}
    numbers: dict = {"ranks": list(config.ranks), "seeds": len(config.seeds), "steps": config.steps, "rules": {}}
    for rule in RULES:
        numbers["rules"][rule] = {
            str(r): {"alpha": alpha(rule, r, config), "scaling": scaling(rule, r, config)}
            | _valley_of(at, [loss[rule, r, rate] for rate in at])
            for r, at in zip(config.ranks, swept(config, rule), strict=True)
        }
    for method in FULL:
        at = rates(getattr(config, method), config.full_reach)
        numbers[method] = _valley_of(at, [loss[method, rate] for rate in at])
    numbers["surface"] = {
        "r": config.surface_rank,
        "alphas": list(config.surface_alphas),
        "rates": [grid(k) for k in config.surface_rates],
        "loss": [[loss["surface", a, grid(k)] for k in config.surface_rates] for a in config.surface_alphas],
    }
    numbers["product"] = {
        "value": config.product,
        "loss": {str(a): loss["product", a] for a in config.surface_alphas},
    }
    steps = [(seed, config) for seed in config.seeds]
    numbers["first_step"] = _over_seeds(list(each(first_steps, steps)))
    return numbers


def grid(k: int) -> float:
    """0.003 times sqrt(2) to the k, to three digits."""
    return float(f"{0.003 * 2 ** (k / 2):.3g}")


def rates(middle: int, reach: int) -> list[float]:
    """The grid around its middle."""
    return [grid(k) for k in range(middle - reach, middle + reach + 1)]


def swept(config: Config, rule: str) -> list[list[float]]:
    """The rates of each rank under a rule."""
    return [rates(middle, config.reach) for middle in getattr(config, RULES[rule])]


def scaling(rule: str, r: int, config: Config) -> float:
    """s, with which B A acts."""
    return {
        "alpha = r": 1.0,
        "alpha = 32": config.fixed_alpha / r,
        "rsLoRA": config.rslora_alpha / math.sqrt(r),
    }[rule]


def alpha(rule: str, r: int, config: Config) -> float:
    """lora_alpha, as the rule itself writes it."""
    return {"alpha = r": r, "alpha = 32": config.fixed_alpha, "rsLoRA": config.rslora_alpha}[rule]


def lora_run(task: str, r: int, s: float, rate: float, seed: int, config: Config) -> Run:
    """LoRA of rank r that acts with s, whichever rule gives it: written as alpha = s r."""
    values = settings(r=r, lora_alpha=s * r, target_modules="all-linear")
    return Run(task, rate, seed, settings=values, steps=config.steps, batch_size=config.batch_size)


def full_run(task: str, method: str, rate: float, seed: int, config: Config) -> Run:
    """Full fine-tuning, of everything or of the linear layers that LoRA adapts."""
    values = settings(target_modules="all-linear") if method == "full_linears" else ()
    return Run(task, rate, seed, method="full", settings=values, steps=config.steps, batch_size=config.batch_size)


def planned(config: Config) -> dict[tuple, list[Run]]:
    """Every run by what it is for, a list over seeds."""
    task, seeds = config.task, config.seeds
    plan: dict[tuple, list[Run]] = {}
    for rule in RULES:
        for r, at in zip(config.ranks, swept(config, rule), strict=True):
            s = scaling(rule, r, config)
            plan |= {(rule, r, rate): [lora_run(task, r, s, rate, seed, config) for seed in seeds] for rate in at}
    for method in FULL:
        for rate in rates(getattr(config, method), config.full_reach):
            plan[method, rate] = [full_run(task, method, rate, seed, config) for seed in seeds]
    r = config.surface_rank
    for a in config.surface_alphas:
        plan["product", a] = [lora_run(task, r, a / r, config.product / a, seed, config) for seed in seeds]
        for k in config.surface_rates:
            plan["surface", a, grid(k)] = [lora_run(task, r, a / r, grid(k), seed, config) for seed in seeds]
    return plan


def first_steps(item: tuple[int, Config]) -> dict[str, dict[str, list[float]]]:
    """|dW| / |W| over all linear layers after one step, by optimizer and rule, a list over `first_step_ranks`.

    AdamW at the rate 0.001 and plain gradient descent at the rate 1, on the task's first batch.
    """
    seed, config = item
    training = encode_records(split(config.task, config.batch_size, 1, seed=seed)[0], ByteTokenizer())
    sizes: dict = {"adam": {}, "gradient descent": {}}
    for rule in RULES:
        for r in config.first_step_ranks:
            model = load_base()
            weight = math.sqrt(sum(float(np.sum(p.weight.value**2)) for p in linear_paths(model).values()))
            values = LoraConfig(r=r, lora_alpha=scaling(rule, r, config) * r, target_modules="all-linear")
            apply_lora(model, values, rng=np.random.default_rng(seed))
            layers = [layer for _, layer in model.named_modules() if isinstance(layer, LoRALinear)]
            model.loss(*training)[1]()
            gradients = [layer.lora_B.grad.copy() for layer in layers]
            AdamW([p for p in model.parameters() if p.trainable], lr=1e-3, weight_decay=0.0).step()
            sizes["adam"].setdefault(rule, []).append(_size(layers) / weight)
            for layer, gradient in zip(layers, gradients, strict=True):
                layer.lora_B.value[...] = -gradient
            sizes["gradient descent"].setdefault(rule, []).append(_size(layers) / weight)
    return sizes | {"ranks": list(config.first_step_ranks)}


def _size(layers):
    return math.sqrt(sum(float(np.sum(layer.delta_weight() ** 2)) for layer in layers))


def _over_seeds(found):
    """[seed]{optimizer: {rule: [rank]}} -> the same with a list over seeds at the end."""
    return {"ranks": found[0]["ranks"]} | {
        optimizer: {
            rule: [list(sizes) for sizes in zip(*(one[optimizer][rule] for one in found), strict=True)]
            for rule in found[0][optimizer]
        }
        for optimizer in ("adam", "gradient descent")
    }


def _valley_of(at, losses):
    """The rates, the losses there [rate][seed], and where the valley is: of the medians over seeds, and of each seed."""
    seeds = len(losses[0])
    middle = [None if None in group else float(np.median(group)) for group in losses]
    curves = [middle, *([group[i] for group in losses] for i in range(seeds))]
    bottoms = [float(f"{valley(at, curve)[0]:.3g}") for curve in curves]
    return {"rates": at, "loss": losses, "best": {"rate": bottoms[0], "seeds": bottoms[1:]}}
