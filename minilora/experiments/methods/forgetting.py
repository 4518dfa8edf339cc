"""Does what learns less forget less? The base's loss on its own text, against what was learned, as each method trains.

Biderman et al. 2024 (arXiv 2405.09673) compare LoRA and full fine-tuning at equal training. What has learned less will have
forgotten less by any method, so they are also compared where they have learned the same, and where the weights have moved as far.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minilora.adapters import linear_paths
from minilora.assets import load_base
from minilora.experiments.finetuning import TOLERANCE as TRAINED
from minilora.experiments.finetuning import Run, measure, prepared, settings
from minilora.experiments.methods.sides import Side, lora
from minilora.experiments.quantization.quantized_loss import held_out
from minilora.nn import Llama
from minilora.training import evaluate

TOLERANCE = TRAINED
SIDES = (
    Side("LoRA, r = 1", 0.00512, settings=lora(r=1, lora_alpha=8, use_rslora=True)),
    Side("LoRA, r = 8", 0.0041, settings=lora(r=8, lora_alpha=8, use_rslora=True)),
    Side("LoRA, r = 64", 0.00219, settings=lora(r=64, lora_alpha=8, use_rslora=True)),
    Side("full, same linears", 0.00132, "full", settings(target_modules="all-linear")),
    Side("full", 0.00151, "full", settings()),
    Side("last block", 0.004, "partial", settings(last_blocks=1)),
    Side("bottleneck", 0.006, "bottleneck", settings(bottleneck_size=36)),
)


@dataclass(frozen=True)
class TextRun(Run):
    """A run that also scores so many held-out windows of the base's own text, 256 bytes each, at every evaluation."""

    windows: int = 48


@dataclass(frozen=True)
class Config:
    """`sides`: each at the rate that was best for it in figures/rate_by_rank.json or methods.json; those in `slowly` also at
    `factor` times that. `levels`: held-out losses of the task at which all are compared.
    """

    sides: tuple[Side, ...] = SIDES
    slowly: tuple[str, ...] = ("LoRA, r = 8", "full, same linears")
    factor: float = 0.5
    levels: tuple[float, ...] = (1.5, 1.0, 0.5, 0.2)
    task: str = "roman"
    steps: int = 480
    eval_steps: int = 40
    batch_size: int = 16
    seeds: tuple[int, ...] = (0, 1, 2)
    windows: int = 48


def run(config: Config = Config(), each: Callable = map) -> dict:
    """ "before": the task's "loss" and the "text"'s. Of each method its "parameters", its "rates", the "step" of each evaluation, and
    there "loss" (the task's, held out), "exact", "text" and "size", [rate][seed][step].

    "size": |dW| / |W| over the linear layers, 0 where the method leaves them alone. "equal": the text's loss when the task's
    first came down to each of the levels, [rate][level][seed], None where it never did.
    """
    plan = planned(config)
    results = iter(each(train_and_score, [one for group in plan.values() for one in group]))
    numbers: dict[str, Any] = {
        "task": config.task,
        "steps": config.steps,
        "windows": config.windows,
        "factor": config.factor,
        "levels": list(config.levels),
        "methods": {side.name: {"rates": []} for side in config.sides},
    }
    for (name, _), group in plan.items():
        entry, found = numbers["methods"][name], [next(results) for _ in group]
        before = {"loss": found[0]["before"], "text": found[0]["text_before"]}
        numbers["before"] = before
        entry["rates"].append(group[0].learning_rate)
        entry["parameters"] = found[0]["parameters"]
        entry["step"] = [point["step"] for point in found[0]["curve"]]
        for kind in ("loss", "exact", "text", "size"):
            curves = [[point.get(kind) for point in result["curve"]] for result in found]
            entry.setdefault(kind, []).append(curves)
        pairs = list(zip(entry["loss"][-1], entry["text"][-1], strict=True))
        equal = [[at_level(level, before, *pair) for pair in pairs] for level in config.levels]
        entry.setdefault("equal", []).append(equal)
    return numbers


def planned(config: Config) -> dict[tuple[str, float], list[TextRun]]:
    """The runs of each method at each rate, seed by seed."""
    return {
        (side.name, factor): [
            TextRun(
                config.task,
                float(f"{factor * side.rate:.3g}"),
                seed,
                method=side.method,
                settings=side.settings,
                steps=config.steps,
                eval_steps=config.eval_steps,
                batch_size=config.batch_size,
                windows=config.windows,
            )
            for seed in config.seeds
        ]
        for side in config.sides
        for factor in (1.0, config.factor)[: 1 + (side.name in config.slowly)]
    }


def train_and_score(run: TextRun) -> dict[str, Any]:
    """`train`, with "text" and "size" at each evaluation; "text_before": the base's own loss on the text, nats per byte."""
    ids, labels = held_out(run.windows)
    base = load_base()
    weights = {path: layer.dense_weight() for path, layer in linear_paths(base).items()}

    def also(model: Llama) -> dict[str, float]:
        return {"text": text_loss(model, ids, labels), "size": moved(model, weights)}

    numbers = measure(*prepared(run, also=also))
    return numbers | {"text_before": text_loss(base, ids, labels)}


def text_loss(model: Llama, ids: np.ndarray, labels: np.ndarray) -> float:
    """Mean loss of the windows, nats per byte.    ids, labels: (N, 256)"""
    return evaluate(model, ids, labels, batch_size=16)["loss"]


def moved(model: Llama, weights: Mapping[str, np.ndarray]) -> float:
    """|dW| / |W| over the linear layers that the base has, as they act now; 0 where a method wraps none of them."""
    layers = linear_paths(model)
    change = sum(float(np.sum((layers[p].dense_weight() - w) ** 2)) for p, w in weights.items() if p in layers)
    return float(np.sqrt(change / sum(float(np.sum(w**2)) for w in weights.values())))


def at_level(
    level: float, before: Mapping[str, float], loss: Sequence[float | None], text: Sequence[float | None]
) -> float | None:
    """The text's loss when the task's first came down to `level`, on the line between two evaluations in log loss; None if never."""
    x0, y0 = before["loss"], before["text"]
    for x, y in zip(loss, text, strict=True):
        if x is None or y is None:
            return None
        if x <= level:
            share = (np.log(x0) - np.log(level)) / (np.log(x0) - np.log(x))
            return float(y0 + share * (y - y0))
        x0, y0 = x, y
    return None
