"""How much rank do an easy and a hard task need? The pretrained base, LoRA of every rank, and full fine-tuning."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora.experiments.finetuning import Run, settings, train

# Training amplifies the last bits, in which processors differ: losses are compared to a tenth, accuracies to 0.1.
TOLERANCE = {"rtol": 0.15, "atol": 0.1, "overrides": {"/parameters": {"rtol": 0, "atol": 0}}}
STEPS = (300, 300)  # for each task


@dataclass(frozen=True)
class Config:
    """`lora_rates`, `full_rates`: for each task, the best of figures/lr_sweep.json, at `swept_ranks` and for all weights."""

    tasks: tuple[str, ...] = ("dates", "roman")
    ranks: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: tuple[int, ...] = STEPS
    swept_ranks: tuple[int, ...] = (1, 8, 64)
    lora_rates: tuple[tuple[float, ...], ...] = ((0.012, 0.006, 0.003), (0.012, 0.006, 0.003))
    full_rates: tuple[float, ...] = (0.001, 0.001)


def run(config: Config = Config(), each: Callable = map) -> dict:
    """Held-out loss and exact match of each task and method ("1" to "64": LoRA's rank; "full"), a list over seeds."""
    runs = [
        run
        for task, steps, rates, full_rate in zip(
            config.tasks, config.steps, config.lora_rates, config.full_rates, strict=True
        )
        for run in (
            *(
                lora_run(task, r, learning_rate(r, config.swept_ranks, rates), seed, steps)
                for r in config.ranks
                for seed in config.seeds
            ),
            *(full_run(task, full_rate, seed, steps) for seed in config.seeds),
        )
    ]
    numbers: dict = {"ranks": list(config.ranks), "steps": list(config.steps), "tasks": {}}
    for run, result in zip(runs, each(train, runs), strict=True):
        entry = {"before": result["before"], "loss": {}, "exact": {}, "parameters": {}}
        task = numbers["tasks"].setdefault(run.task, entry)
        for kind in ("loss", "exact"):
            task[kind].setdefault(label(run), []).append(result[kind])
        task["parameters"][label(run)] = result["parameters"]
    return numbers


def lora_run(task: str, r: int, rate: float, seed: int, steps: int) -> Run:
    """LoRA of rank r with alpha = r, on all linear layers but the head."""
    return Run(task, rate, seed, settings=settings(r=r, lora_alpha=r, target_modules="all-linear"), steps=steps)


def full_run(task: str, rate: float, seed: int, steps: int) -> Run:
    """Full fine-tuning."""
    return Run(task, rate, seed, method="full", settings=(), steps=steps)


def label(run: Run) -> str:
    """How a run is named among the numbers: LoRA's rank, or "full"."""
    return str(dict(run.settings)["r"]) if run.method == "lora" else run.method


def learning_rate(r: int, swept: tuple[int, ...], rates: tuple[float, ...]) -> float:
    """LoRA's best swept rate; between two swept ranks, on the straight line between theirs in log rank and log rate."""
    logs = np.interp(math.log(r), [math.log(rank) for rank in swept], [math.log(rate) for rate in rates])
    return float(f"{math.exp(logs):.3g}")
