"""LoftQ and PiSSA put into A and B what quantizing loses: nearer to the float weights at first, better at last?"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minilora.adapters import LoftQConfig, linear_paths
from minilora.analysis.error import rms_error
from minilora.assets import load_base
from minilora.experiments.finetuning import TOLERANCE as TRAINED
from minilora.experiments.finetuning import Run, prepared, settings
from minilora.experiments.quantization.quantized_loss import held_out, standard_error, window_losses
from minilora.experiments.sweep import tune

TOLERANCE = TRAINED | {
    "overrides": {
        "/best|/rates|/sweep": {"rtol": 3.0, "atol": 0.5},
        "/starts/": {"rtol": 0.05, "atol": 5e-4},
    }
}
PLAIN = "B = 0"
STARTS = {PLAIN: True, "LoftQ": "loftq", "PiSSA": "pissa"}


@dataclass(frozen=True)
class Config:
    """`codes`: of the base; None is float32, where there is nothing for LoftQ to make up for. `rates`: where the sweeps begin,
    by start. `rounds`: how often the low-rank part and the codes are fitted to each other, of which the last is trained (the
    papers take five).
    """

    codes: tuple[str | None, ...] = ("nf4", "nf2", None)
    rates: tuple[tuple[str, float], ...] = ((PLAIN, 0.006), ("LoftQ", 0.006), ("PiSSA", 0.003))
    rounds: tuple[int, ...] = (1, 5)
    task: str = "roman"
    r: int = 8
    steps: int = 200
    eval_steps: int = 20
    batch_size: int = 16
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    reach: int = 1
    windows: int = 96


def run(config: Config = Config(), each: Callable = map) -> dict:
    """ "starts": by code and start, lists over "rounds": "error" (RMS of what is off from the float weights, over their RMS), and
    "change" with its "standard_error", what is added to the base's loss on its own held-out text, paired over windows, all
    before the first step. "sides": by code and start the "best" rate, "rates" and "sweep", and lists over seeds: "before",
    "loss", "exact" and "curve" (losses at "steps_read").
    """
    sides = {(code, start): one_run(config, code, start) for code in config.codes for start in started(code)}
    fits = {start: (0,) if start == PLAIN else config.rounds for start in STARTS}
    items = [(code, start, rounds, config) for code, start in sides if code for rounds in fits[start]]
    reference, *found = each(at_start, [(None, PLAIN, 0, config), *items])
    tuned = tune(sides, each, seeds=config.seeds, sweep_seed=config.seeds[0], reach=config.reach)
    numbers: dict[str, Any] = {
        "task": config.task,
        "r": config.r,
        "steps": config.steps,
        "batch_size": config.batch_size,
        "rounds": list(config.rounds),
        "starts": {},
        "sides": {},
    }
    for (code, start, _, _), one in zip(items, found, strict=True):
        difference = np.array(one["losses"]) - np.array(reference["losses"])
        entry = (
            numbers["starts"].setdefault(code, {}).setdefault(start, {"error": [], "change": [], "standard_error": []})
        )
        entry["error"].append(one["error"])
        entry["change"].append(float(difference.mean()))
        entry["standard_error"].append(standard_error(difference))
    for (code, start), side in tuned.items():
        results = side["around"][0]["results"]
        numbers["steps_read"] = [point["step"] for point in results[0]["curve"]]
        numbers["sides"].setdefault(code or "float32", {})[start] = {
            "best": side["best"],
            "rates": side["rates"],
            "sweep": side["loss"],
            "curve": [[point["loss"] for point in result["curve"]] for result in results],
        } | {key: [result[key] for result in results] for key in ("before", "loss", "exact")}
    return numbers


def started(code: str | None) -> list[str]:
    """The starts over a code; LoftQ without one would be B = 0."""
    return [start for start in STARTS if code or start != "LoftQ"]


def one_run(config: Config, code: str | None, start: str, rounds: int | None = None) -> Run:
    """One side with the first seed, at the rate where its sweep begins. `rounds`: the last of the config's by default."""
    lora: dict[str, Any] = {"r": config.r, "lora_alpha": config.r, "target_modules": "all-linear"}
    within = start != PLAIN
    if within:
        lora["init_lora_weights"] = STARTS[start]
    if within and code:  # it quantizes what it leaves of the weight
        lora["loftq_config"] = LoftQConfig(loftq_iter=rounds or config.rounds[-1], code=code)
    return Run(
        config.task,
        dict(config.rates)[start],
        config.seeds[0],
        settings=settings(**lora),
        code=None if within else code,
        steps=config.steps,
        batch_size=config.batch_size,
        eval_steps=config.eval_steps,
    )


def at_start(item: tuple[str | None, str, int, Config]) -> dict[str, Any]:
    """Before the first step: "error" of the weights that act, and the "losses" of windows of the base's own text."""
    code, start, rounds, config = item
    model, _ = prepared(replace(one_run(config, code, start, rounds), n_train=config.batch_size, n_eval=1))
    acting, floats = (
        np.concatenate([layer.dense_weight().reshape(-1) for layer in linear_paths(some).values()])
        for some in (model, load_base())
    )
    return {
        "error": rms_error(acting, floats),
        "losses": window_losses(model, *held_out(config.windows)).tolist(),
    }
