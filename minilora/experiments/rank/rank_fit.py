"""How much rank do an easy and a hard task need? The pretrained base, LoRA of every rank, and full fine-tuning."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora.adapters import LoraConfig, apply_lora, count_parameters
from minilora.assets import load_base
from minilora.data import ByteTokenizer, EpochBatches, encode_records, split
from minilora.training import Trainer, TrainingConfig, evaluate

# Training amplifies the last bits, in which processors differ: losses are compared to a tenth, accuracies to 0.1.
TOLERANCE = {"rtol": 0.15, "atol": 0.1, "overrides": {"/parameters": {"rtol": 0, "atol": 0}}}
FULL = 0  # the "rank" of full fine-tuning
STEPS = (300, 300)  # for each task
# The best of figures/lr_sweep.json for each task, at the ranks swept there (1, 8, 64 and full fine-tuning).
LEARNING_RATES = ((0.012, 0.006, 0.003, 0.001), (0.012, 0.006, 0.003, 0.001))


@dataclass(frozen=True)
class Run:
    """One training run: `rank` 0 is full fine-tuning; LoRA acts with alpha = r on all linear layers but the head."""

    task: str
    rank: int
    learning_rate: float
    seed: int
    steps: int = 300
    batch_size: int = 32
    n_train: int = 3072  # there are 3999 Roman numerals
    n_eval: int = 256


@dataclass(frozen=True)
class Config:
    tasks: tuple[str, ...] = ("dates", "roman")
    ranks: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: tuple[int, ...] = STEPS
    swept_ranks: tuple[int, ...] = (1, 8, 64, FULL)
    learning_rates: tuple[tuple[float, ...], ...] = LEARNING_RATES


def run(config: Config = Config(), each: Callable = map) -> dict:
    """Held-out loss and exact match of each task and rank, a list over seeds, with the trainable parameters."""
    items = [
        Run(task, rank, learning_rate(rank, config.swept_ranks, rates), seed, steps=steps)
        for task, steps, rates in zip(config.tasks, config.steps, config.learning_rates, strict=True)
        for rank in (*config.ranks, FULL)
        for seed in config.seeds
    ]
    results = each(train, items)
    found: dict = {"ranks": [*config.ranks, FULL], "steps": list(config.steps), "tasks": {}}
    for item, result in zip(items, results, strict=True):
        task = found["tasks"].setdefault(
            item.task, {"before": result["before"], "loss": {}, "exact": {}, "parameters": {}}
        )
        key = str(item.rank) if item.rank else "full"
        task["loss"].setdefault(key, []).append(result["loss"])
        task["exact"].setdefault(key, []).append(result["exact"])
        task["parameters"][key] = result["parameters"]
    return found


def learning_rate(rank: int, swept: tuple[int, ...], rates: tuple[float, ...]) -> float:
    """The best swept rate; between two swept ranks, on the straight line between theirs in log rank and log rate."""
    if rank == FULL:
        return rates[swept.index(FULL)]
    known = [(math.log(s), math.log(rate)) for s, rate in zip(swept, rates, strict=True) if s != FULL]
    return float(f"{math.exp(np.interp(math.log(rank), *zip(*known, strict=True))):.3g}")


def train(run: Run) -> dict[str, float]:
    """Fine-tune the base on a task; returns held-out loss (nats a byte) and exact match, and before training."""
    tokenizer = ByteTokenizer()
    training, held_out = split(run.task, run.n_train, run.n_eval, seed=run.seed)
    eval_ids, eval_labels = encode_records(held_out, tokenizer)
    model = load_base()
    if run.rank:
        config = LoraConfig(r=run.rank, lora_alpha=run.rank, target_modules="all-linear")
        apply_lora(model, config, rng=np.random.default_rng(run.seed))

    def held_out_scores():
        return evaluate(model, eval_ids, eval_labels)

    before = held_out_scores()["loss"]
    batches = EpochBatches(*encode_records(training, tokenizer), run.batch_size, seed=run.seed)
    settings = TrainingConfig(
        max_steps=run.steps, learning_rate=run.learning_rate, warmup_steps=max(1, run.steps // 20), seed=run.seed
    )
    history = Trainer(model, settings, batches, evaluate=held_out_scores).train()
    final = history["eval"][-1]
    return {
        "loss": final["loss"],
        "exact": final["exact"],
        "before": before,
        "parameters": count_parameters(model)[0],
    }
