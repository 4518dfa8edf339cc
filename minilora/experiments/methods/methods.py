"""Every method, each at its own best rate: what it learns in equal steps, what it trains, holds and takes."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minilora.adapters import LoRA, adapter_layers
from minilora.adapters.partial import OwnWeight
from minilora.analysis import memory
from minilora.experiments.finetuning import TOLERANCE as TRAINED
from minilora.experiments.finetuning import Run, prepared
from minilora.experiments.methods.sides import SIDES, Side
from minilora.experiments.sweep import at_best, tune
from minilora.nn import Llama
from minilora.training import AdamW

# Seconds are those of one machine; bytes and parameters are counted exactly.
TOLERANCE = TRAINED | {
    "overrides": {
        "/parameters|/memory": {"rtol": 0, "atol": 0},
        "/milliseconds": {"rtol": 9.0, "atol": 0},
        "/best|/rates|/sweep": {"rtol": 3.0, "atol": 0.5},  # in a flat valley another processor finds another best
    }
}


@dataclass(frozen=True)
class Records:
    """What is learned: a task, how many records there are to learn from, and whether the rates are swept there.

    The sweep starts at the best rates of the first records; without one, those are used as they are.
    """

    name: str
    task: str
    n_train: int
    swept: bool = True


@dataclass(frozen=True)
class Config:
    sides: tuple[Side, ...] = SIDES
    records: tuple[Records, ...] = (
        Records("roman", "roman", 3072),
        Records("dates", "dates", 3072),
        Records("roman 256", "roman", 256),
    )
    steps: int = 120
    batch_size: int = 16
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    rounds: int = 15


def run(config: Config = Config(), each: Callable = map) -> dict:
    """ "records": for each set of records and method the sweep and the seeds at its best rate (see `at_best`), and there, by
    seed, "train_loss" on up to 256 records that were trained on. "costs": for each method its "parameters", the bytes of
    its "memory" by part, and the processor's "milliseconds" for a step.
    """
    numbers: dict[str, Any] = {
        "steps": config.steps,
        "batch_size": config.batch_size,
        "n_train": {records.name: records.n_train for records in config.records},
        "records": {},
    }
    rates = {side.name: side.rate for side in config.sides}
    for records in config.records:
        runs = {
            side.name: side.run(
                records.task,
                learning_rate=rates[side.name],
                steps=config.steps,
                batch_size=config.batch_size,
                n_train=records.n_train,
                score_training=True,
            )
            for side in config.sides
        }
        sweep = {"reach": 1, "further": 4} if records.swept else {"reach": 0, "further": 0}
        tuned = tune(runs, each, seeds=config.seeds, sweep_seed=config.seeds[0], **sweep)
        numbers["records"][records.name] = {name: scored(side) for name, side in tuned.items()}
        if records is config.records[0]:
            rates = {name: side["best"] for name, side in tuned.items()}
    items = tuple(side.run("roman", steps=config.steps, batch_size=config.batch_size) for side in config.sides)
    (milliseconds,) = each(step_milliseconds, [(items, config.rounds)])
    numbers["costs"] = {
        side.name: cost | {"milliseconds": ms}
        for side, cost, ms in zip(config.sides, each(counted, items), milliseconds, strict=True)
    }
    return numbers


def scored(side: dict[str, Any]) -> dict[str, Any]:
    """What a figure keeps of a side, and its loss on what was trained on."""
    (at,) = side["around"]
    return at_best(side) | {"train_loss": [result["curve"][-1]["train_loss"] for result in at["results"]]}


def counted(run: Run) -> dict[str, Any]:
    """Trained "parameters", and the bytes of "memory" that training holds for one batch: weights, gradients, Adam's moments,
    activations, each counted from the arrays."""
    model, trainer = prepared(run)
    _, backward = model.loss(*trainer.batches(0), rng=np.random.default_rng(0))
    activations = memory.saved_bytes(backward, model)
    backward()
    trained = [p for p in model.parameters() if p.trainable]
    optimizer = AdamW(trained, lr=1e-3)
    optimizer.step()
    return {
        "parameters": sum(p.size for p in trained),
        "memory": {
            "weights": acting_bytes(model),
            "gradients": sum(p.grad.nbytes for p in trained),
            "optimizer": optimizer.nbytes,
            "activations": activations,
        },
    }


def acting_bytes(model: Llama) -> int:
    """Bytes of the weights that act: without those of the base that an adapter replaces by its own, or by quantized ones.

    The library keeps them, so that the adapter can be taken off; to train without a way back one would not.
    """
    replaced = 0
    for layer in adapter_layers(model).values():
        part = layer.acting
        quantized = isinstance(part, LoRA) and part.start is not None and part.start.quantization is not None
        if isinstance(part, OwnWeight) or quantized:
            replaced += layer.base_layer.weight.value.nbytes
        if quantized:
            replaced += part.start.lora_A.value.nbytes + part.start.lora_B.value.nbytes
    return memory.stored_bytes(model) - replaced


def step_milliseconds(item: tuple[tuple[Run, ...], int]) -> list[float]:
    """The processor's time for one step of each run, the median over rounds in which each takes one step in its turn."""
    runs, rounds = item
    trainers = [prepared(replace(run, steps=rounds + 1))[1] for run in runs]
    seconds: list[list[float]] = [[] for _ in runs]
    for turn in range(rounds + 1):
        for trainer, taken in zip(trainers, seconds, strict=True):
            trainer.evaluate = None
            started = time.process_time()
            stepped(trainer)
            if turn:  # the first allocates
                taken.append(time.process_time() - started)
    return [1000 * float(np.median(taken)) for taken in seconds]


def stepped(trainer: Any) -> None:
    """One step of training: loss, backward, and Adam."""
    trainer.optimizer.zero_grad()
    _, backward = trainer.model.loss(*trainer.batches(0), rng=np.random.default_rng(0))
    backward()
    trainer.optimizer.step()
