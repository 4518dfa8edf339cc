"""What do epochs, batch size, dropout, decoupled decay and L2 do on 256 records? One knob at a time, each at its own best rate."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from minilora.experiments.finetuning import TOLERANCE as TRAINED
from minilora.experiments.finetuning import Run, settings
from minilora.experiments.methods.sides import lora
from minilora.experiments.sweep import at_best, tune

# A few records are learned by heart in ways that differ from processor to processor, and a flat valley has another best rate.
TOLERANCE = TRAINED | {
    "rtol": 0.5,
    "overrides": {"/best|/rates|/sweep": {"rtol": 3.0, "atol": 0.5}, "/train/": {"rtol": 3.0, "atol": 0.2}},
}

Values = tuple[float, ...]


@dataclass(frozen=True)
class Config:
    """The default recipe, and of each knob the other values that it is set to. `points`: how often a run scores itself, on the
    `n_eval` first training records and on as many held-out ones. `rate`, `full_rate`: where the sweeps start, of LoRA and of
    full fine-tuning of the same layers.
    """

    task: str = "roman"
    n_train: int = 256
    n_eval: int = 128
    r: int = 32
    rate: float = 0.003
    full_rate: float = 0.001
    epochs: int = 16
    batch_size: int = 16
    points: int = 8
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    knobs: tuple[tuple[str, Values], ...] = (
        ("epochs", (4, 8, 32)),
        ("batch", (8, 64)),
        ("dropout", (0.1, 0.3)),
        ("decay", (0.5, 2.0)),
        ("L2", (0.001, 0.01)),
    )


def run(config: Config = Config(), each: Callable = map) -> dict:
    """ "default", "full" (the same recipe, but full fine-tuning of the same layers), and "knobs": {knob: a list over its values}.

    Of each side its "value", the sweep and the seeds at its best rate (see `at_best`), and at that rate the curve of "epoch",
    and of "train", "held_out" (losses) and "held_out_exact", [point][seed].
    """
    sweep: dict[str, Any] = {"seeds": config.seeds, "sweep_seed": config.seeds[0], "reach": 1, "further": 2}
    runs = {"default": recipe(config), "full": full(config)}
    tuned = tune(runs, each, **sweep)
    best = replace(config, rate=tuned["default"]["best"])  # where the sweeps of all others start
    others = {f"{knob} {value:g}": turned(best, knob, value) for knob, values in config.knobs for value in values}
    runs |= others
    tuned |= tune(others, each, **sweep)

    def of(name: str, value: float | None = None) -> dict[str, Any]:
        return {"value": value} | at_best(tuned[name]) | curves(tuned[name], runs[name])

    return {
        "task": config.task,
        "n_train": config.n_train,
        "r": config.r,
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "default": of("default"),
        "full": of("full"),
        "knobs": {knob: [of(f"{knob} {value:g}", value) for value in values] for knob, values in config.knobs},
    }


def recipe(config: Config, *, epochs: int | None = None, batch_size: int | None = None) -> Run:
    """The default: LoRA with alpha = r on all linear layers, no dropout, no decay; a cosine that ends with its epochs."""
    batch_size = config.batch_size if batch_size is None else batch_size
    steps = (config.epochs if epochs is None else epochs) * (config.n_train // batch_size)
    return Run(
        config.task,
        config.rate,
        config.seeds[0],
        settings=lora(r=config.r, lora_alpha=config.r),
        steps=steps,
        batch_size=batch_size,
        n_train=config.n_train,
        n_eval=config.n_eval,
        eval_steps=max(1, steps // config.points),
        score_training=True,
    )


def full(config: Config) -> Run:
    """Full fine-tuning of the layers that the default adapts."""
    values = settings(target_modules="all-linear")
    return replace(recipe(config), method="full", settings=values, learning_rate=config.full_rate)


def turned(config: Config, knob: str, value: float) -> Run:
    """The default with one knob at another value. ValueError for a knob that there is not."""
    default = recipe(config)
    if knob == "epochs":
        return recipe(config, epochs=int(value))
    if knob == "batch":
        return recipe(config, batch_size=int(value))
    if knob == "dropout":
        return replace(default, settings=lora(r=config.r, lora_alpha=config.r, lora_dropout=value))
    if knob == "decay":
        return replace(default, weight_decay=value)
    if knob == "L2":
        return replace(default, weight_decay=value, weight_decay_type="l2")
    raise ValueError(f"knob must be one of epochs, batch, dropout, decay, L2; got {knob!r}")


def curves(side: dict[str, Any], run: Run) -> dict[str, Any]:
    """The curves of a tuned side at its best rate; `run`: one of its runs, for the size of batch and set."""
    (point,) = [point for point in side["around"] if point["rate"] == side["best"]]
    points = list(zip(*(result["curve"] for result in point["results"]), strict=True))  # [point][seed]
    names = {"train": "train_loss", "held_out": "loss", "held_out_exact": "exact"}
    return {"epoch": [entries[0]["step"] * run.batch_size / run.n_train for entries in points]} | {
        name: [[entry[key] for entry in entries] for entries in points] for name, key in names.items()
    }
