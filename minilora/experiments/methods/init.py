"""Which of A and B should start random? One, the other, both, or neither: their gradients at first, and what is learned."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minilora.adapters import LoRA, lora_layers
from minilora.experiments.finetuning import TOLERANCE as TRAINED
from minilora.experiments.finetuning import Run, measure, prepared
from minilora.experiments.methods.sides import lora
from minilora.experiments.sweep import at_best, tune
from minilora.nn import Llama
from minilora.training import Trainer

TOLERANCE = TRAINED | {"overrides": {"/best|/rates|/sweep": {"rtol": 3.0, "atol": 0.5}}}
STARTS = {"A random": ("lora_A",), "B random": ("lora_B",), "both random": ("lora_A", "lora_B"), "both zero": ()}


@dataclass(frozen=True)
class InitRun(Run):
    """A run whose A and B start as `start` says: a key of STARTS, which names those that are random.

    Random is uniform on +-1/sqrt(fan-in), PEFT's way of drawing A (fan-in is `in` for A and r for B); the other is zero.
    With both random the model starts beside its base, with neither no gradient ever arrives.
    """

    start: str = "A random"


@dataclass(frozen=True)
class Config:
    """`rates`: where each start's sweep begins. `first`: of how many steps the gradients are kept."""

    starts: tuple[str, ...] = tuple(STARTS)
    rates: tuple[float, ...] = (0.006, 0.006, 0.006, 0.006)
    task: str = "roman"
    steps: int = 120
    batch_size: int = 16
    r: int = 8
    first: int = 16
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    reach: int = 1


def run(config: Config = Config(), each: Callable = map) -> dict:
    """Of each start the sweep and the seeds at its best rate (see `at_best`), the loss "before" the first step, and, a list
    over steps, the norm of the "gradient" of all A and of all B, the median over seeds.
    """
    sides = {
        start: InitRun(
            config.task,
            rate,
            config.seeds[0],
            settings=lora(r=config.r, lora_alpha=config.r),
            steps=config.steps,
            batch_size=config.batch_size,
            start=start,
        )
        for start, rate in zip(config.starts, config.rates, strict=True)
    }
    tuned: dict[str, Any] = {}
    for moving, reach, further in ((True, config.reach, 4), (False, 0, 0)):  # what cannot move needs no sweep
        some = {start: run for start, run in sides.items() if bool(STARTS[start]) is moving}
        options = {"seeds": config.seeds, "sweep_seed": config.seeds[0], "reach": reach, "further": further}
        tuned |= tune(some, each, **options, function=train_from)
    numbers: dict[str, Any] = {"task": config.task, "steps": config.steps, "r": config.r, "starts": {}}
    for start, side in tuned.items():
        best = at_best(side)
        results = next(point["results"] for point in side["around"] if point["rate"] == best["best"])
        norms = {
            which: np.median([r["gradient"][which][: config.first] for r in results], axis=0).tolist()
            for which in ("lora_A", "lora_B")
        }
        before = [result["before"] for result in results]
        numbers["starts"][start] = best | {"before": before, "gradient": norms}
    return numbers


def train_from(run: InitRun) -> dict[str, Any]:
    """`train` from this start; "gradient": {"lora_A", "lora_B"}, the norm over all layers before each step's clipping."""
    model, trainer = prepared(run)
    draw(model, run.start, np.random.default_rng([run.seed, 1]))
    norms = watched(model, trainer)
    numbers = measure(model, trainer)
    # The optimizer sees clipped gradients; the history knows what they were clipped from.
    clipped = [max(1.0, norm / run.max_grad_norm) for norm in trainer.history["grad_norm"]]
    return numbers | {
        "gradient": {which: [n * c for n, c in zip(norms[which], clipped, strict=True)] for which in norms}
    }


def draw(model: Llama, start: str, rng: np.random.Generator) -> None:
    """Fill every A and B of the model."""
    for part in parts(model):
        for name in ("lora_A", "lora_B"):
            matrix = getattr(part, name).value
            bound = matrix.shape[1] ** -0.5  # fan-in: the length of a row
            matrix[...] = rng.uniform(-bound, bound, matrix.shape) if name in STARTS[start] else 0.0


def watched(model: Llama, trainer: Trainer) -> dict[str, list[float]]:
    """Lists that grow by the norm of all A's and of all B's gradients with each step of the trainer's optimizer."""
    norms: dict[str, list[float]] = {"lora_A": [], "lora_B": []}
    step = trainer.optimizer.step

    def watch() -> None:
        for which, entries in norms.items():
            gradients = [getattr(part, which).grad for part in parts(model)]
            entries.append(float(np.sqrt(sum(np.vdot(g, g) for g in gradients))))
        step()

    trainer.optimizer.step = watch
    return norms


def parts(model: Llama) -> list[LoRA]:
    """Every LoRA that acts in the model."""
    return [layer.acting for layer in lora_layers(model).values()]
