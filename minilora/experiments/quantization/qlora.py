"""LoRA over a base in few bits: what does each code take, how much of it does training win back, and does the rank matter?"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minilora.adapters import linear_paths, quantize_linears
from minilora.analysis import stored_bytes
from minilora.assets import load_base
from minilora.experiments.finetuning import TOLERANCE as TRAINED
from minilora.experiments.finetuning import Run, settings, train
from minilora.experiments.own_text import TextRun, train_on_text
from minilora.experiments.quantization.quantized_loss import held_out, standard_error, window_losses
from minilora.experiments.sweep import tune
from minilora.nn import Llama

# In a flat valley another processor finds another best rate; bytes are counted exactly.
TOLERANCE = TRAINED | {
    "overrides": {
        "/parameters|/bytes|/bits": {"rtol": 0, "atol": 0},
        "/best|/rates|/sweep": {"rtol": 3.0, "atol": 0.5},
        "/text/": {"rtol": 0.05, "atol": 5e-4},
    }
}


@dataclass(frozen=True)
class Storage:
    """How the base's linear layers are stored: by a code in blocks of 64, or in float32 without one."""

    code: str | None = None
    double_quant: bool = False

    @property
    def name(self) -> str:
        """ "float32", or the code, and "double" where its scales are quantized, too."""
        return f"{self.code or 'float32'}{' double' * self.double_quant}"


STORAGES = (
    Storage(),
    Storage("nf4"),
    Storage("nf4", double_quant=True),
    Storage("fp4"),
    Storage("int4"),
    Storage("nf3"),
    Storage("nf2"),
)
THREE = (Storage(), Storage("nf4"), Storage("nf2"))


@dataclass(frozen=True)
class Study:
    """One task at one rank, with alpha = r. `rate`: where the sweeps begin. `eval_steps`: how often the curves are read."""

    task: str
    r: int
    rate: float
    steps: int
    storages: tuple[Storage, ...] = STORAGES
    eval_steps: int = 0

    @property
    def name(self) -> str:
        """Task and rank."""
        return f"{self.task}, r = {self.r}"


@dataclass(frozen=True)
class Config:
    """Every sweep has the first of the `seeds`. `close`: of a task, rates whose loss is within this factor of the sweep's least
    are tried with all seeds, and the least median decides. `own_text`: training on the base's own text, over `text_storages`.
    """

    studies: tuple[Study, ...] = (
        Study("roman", 8, 0.006, 500, eval_steps=50),
        Study("dates", 8, 0.006, 250, eval_steps=25),
        Study("roman", 1, 0.012, 500, storages=THREE),
        Study("roman", 32, 0.003, 500, storages=THREE),
    )
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    batch_size: int = 16
    reach: int = 1
    close: float = 1.2
    windows: int = 96
    own_text: TextRun = TextRun(0.003, 0)
    text_storages: tuple[Storage, ...] = THREE


def run(config: Config = Config(), each: Callable = map) -> dict:
    """ "bases": of each storage the "bytes" of the whole base and the "bits" per parameter of its linear layers, both counted,
    and "text", what it adds to the untrained base's loss on its own held-out text ("change", "standard_error", paired over
    windows). "studies": by name, with "task", "r", "steps", trained "parameters", "steps_read" and of each storage the "best"
    rate, "rates" and "sweep" (their losses), and lists over seeds: "before", "loss", "exact" and "curve", the losses at
    "steps_read". "own_text": the same of training on the base's own text, without a curve.
    """
    names = list(dict.fromkeys(storage for study in config.studies for storage in study.storages))
    alone = dict(zip(names, each(base_alone, [(storage, config.windows) for storage in names]), strict=True))
    reference = np.array(alone[Storage()]["losses"])
    bases = {}
    for storage, found in alone.items():
        difference = np.array(found.pop("losses")) - reference
        change = {"change": float(difference.mean()), "standard_error": standard_error(difference)}
        bases[storage.name] = found | {"text": change}
    return {
        "windows": config.windows,
        "batch_size": config.batch_size,
        "text": {"loss": float(reference.mean())},
        "bases": bases,
        "studies": trained(config, each),
        "own_text": on_text(config, each),
    }


def base_alone(item: tuple[Storage, int]) -> dict[str, Any]:
    """The base stored in a way, untrained: "bytes", "bits" and its "losses" by window."""
    storage, windows = item
    model = load_base()
    layers = list(linear_paths(quantized(model, storage)).values())
    parameters = sum(layer.out_features * layer.in_features for layer in layers)
    in_layers = sum(layer.nbytes if storage.code else layer.weight.value.nbytes for layer in layers)
    return {
        "bytes": stored_bytes(model),
        "bits": 8 * in_layers / parameters,
        "losses": window_losses(model, *held_out(windows)).tolist(),
    }


def quantized(model: Llama, storage: Storage) -> Llama:
    """The model with its linear layers stored so, in place."""
    if storage.code:
        quantize_linears(model, storage.code, double_quant=storage.double_quant)
    return model


def on_text(config: Config, each: Callable) -> dict[str, Any]:
    """LoRA on the base's own text over some storages, each at its best rate."""
    run = config.own_text
    sides = {storage.name: replace(run, code=storage.code) for storage in config.text_storages}
    storages = {}
    for name, side in tuned(sides, config, each, function=train_on_text).items():
        results = side["around"][0]["results"]
        storages[name] = {"best": side["best"], "rates": side["rates"], "sweep": side["loss"]} | {
            key: [result[key] for result in results] for key in ("before", "loss")
        }
    return {"r": run.r, "steps": run.steps, "batch_size": run.batch_size, "length": run.length, "storages": storages}


def trained(config: Config, each: Callable) -> dict[str, Any]:
    """All studies: every storage is swept, then trained with all seeds at its best rate."""
    sides = {
        (study, storage): one_run(study, storage, config) for study in config.studies for storage in study.storages
    }
    swept = tuned(sides, config, each)
    studies: dict[str, Any] = {}
    for (study, storage), (best, results) in settled(sides, swept, config, each).items():
        side = swept[study, storage]
        numbers = studies.setdefault(
            study.name,
            {
                "task": study.task,
                "r": study.r,
                "steps": study.steps,
                "parameters": results[0]["parameters"],
                "steps_read": [point["step"] for point in results[0]["curve"]],
                "storages": {},
            },
        )
        numbers["storages"][storage.name] = {
            "best": best,
            "rates": side["rates"],
            "sweep": side["loss"],
            "curve": [[point["loss"] for point in result["curve"]] for result in results],
        } | {key: [result[key] for result in results] for key in ("before", "loss", "exact")}
    return studies


def settled(sides: dict, swept: dict, config: Config, each: Callable) -> dict[Any, tuple[float, list[dict]]]:
    """Of each side the best rate and its results, a list over seeds: where rates are close in the sweep, all seeds decide."""
    found = {key: {side["best"]: side["around"][0]["results"]} for key, side in swept.items()}
    more = [(key, rate) for key, side in swept.items() for rate in contenders(side, config.close)]
    runs = [replace(sides[key], learning_rate=rate, seed=seed) for key, rate in more for seed in config.seeds]
    done = dict(zip(runs, each(train, runs) if runs else (), strict=True))
    for key, rate in more:
        results = [done[replace(sides[key], learning_rate=rate, seed=seed)] for seed in config.seeds]
        if all(result["loss"] is not None for result in results):
            found[key][rate] = results
    return {
        key: min(rates.items(), key=lambda item: np.median([result["loss"] for result in item[1]]))
        for key, rates in found.items()
    }


def contenders(side: dict, close: float) -> list[float]:
    """The rates of a sweep, beside the best, whose loss is within a factor of the least."""
    losses = {rate: loss for rate, loss in zip(side["rates"], side["loss"], strict=True) if loss is not None}
    return [rate for rate, loss in losses.items() if rate != side["best"] and loss <= close * losses[side["best"]]]


def tuned(sides: dict, config: Config, each: Callable, **options: Any) -> dict:
    """`tune` with the seeds of the config; the first one's sweep counts among them."""
    return tune(sides, each, seeds=config.seeds, sweep_seed=config.seeds[0], reach=config.reach, **options)


def one_run(study: Study, storage: Storage, config: Config) -> Run:
    """Where the sweep of one storage begins, with the first seed."""
    return Run(
        study.task,
        study.rate,
        config.seeds[0],
        settings=settings(r=study.r, lora_alpha=study.r, target_modules="all-linear"),
        code=storage.code,
        double_quant=storage.double_quant,
        steps=study.steps,
        batch_size=config.batch_size,
        eval_steps=study.eval_steps,
    )
