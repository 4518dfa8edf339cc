"""One fine-tuning as `minilora finetune` does it, on few records: what can be set, and what comes out on new records.

The draw of the records is what a seed decides here; split, initialization and order are those of `finetune --seed 0`, so
that a run gives the command's adapter bit for bit (a test holds both to it).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minilora.adapters import LoraConfig, apply_lora
from minilora.assets import load_base
from minilora.data import ByteTokenizer, EpochBatches, encode_records, hold_out, split
from minilora.nn import Llama
from minilora.training import DivergenceError, HeldOut, Trainer, TrainingConfig

LAST = 20  # steps: a few epochs of 180 records, so that the mean over them stands still


@dataclass(frozen=True)
class Recipe:
    """Settings of `finetune`, under its names; alpha is r, and warm-up a twentieth of the steps."""

    r: int = 8
    target_modules: str | tuple[str, ...] = "all-linear"
    learning_rate: float = 6e-3
    lora_dropout: float = 0.0
    weight_decay: float = 0.0
    adam_beta2: float = 0.999
    loraplus_lr_ratio: float = 1.0
    max_steps: int = 300
    batch_size: int = 32


@dataclass(frozen=True)
class Run:
    """One fine-tuning on `n_records` of a task, of which a tenth is held out; scored on `n_new` that it has not seen."""

    task: str
    recipe: Recipe
    seed: int
    n_records: int = 200
    n_new: int = 300


def train(run: Run) -> dict[str, Any]:
    """Fine-tune. "held_out": exact match on the tenth; "exact", "loss": on the new records; "train_loss": of the last LAST steps.

    A run that diverges has exact match 0, and None for both losses.
    """
    model, trainer, held_out, new = prepared(run)
    try:
        losses = trainer.train()["loss"]
    except DivergenceError:
        return {"held_out": 0.0, "exact": 0.0, "loss": None, "train_loss": None}
    return {"held_out": held_out()["exact"], **new(), "train_loss": float(np.mean(losses[-LAST:]))}


def prepared(run: Run) -> tuple[Llama, Trainer, HeldOut, HeldOut]:
    """(model with LoRA on, trainer, what scores the held-out tenth, what scores the new records)."""
    tokenizer, recipe = ByteTokenizer(), run.recipe
    records, new = split(run.task, run.n_records, run.n_new, seed=run.seed)
    training, held_out = ([records[i] for i in places] for places in hold_out(records, 0.1, seed=0))
    model = load_base()
    config = LoraConfig(
        r=recipe.r,
        lora_alpha=recipe.r,
        target_modules=recipe.target_modules,
        lora_dropout=recipe.lora_dropout,
    )
    apply_lora(model, config, rng=np.random.default_rng(0))
    settings = TrainingConfig(
        max_steps=recipe.max_steps,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.max_steps // 20,
        weight_decay=recipe.weight_decay,
        adam_beta2=recipe.adam_beta2,
        loraplus_lr_ratio=recipe.loraplus_lr_ratio,
    )
    batches = EpochBatches(*encode_records(training, tokenizer), recipe.batch_size, seed=0)
    scores = [HeldOut(model, *encode_records(some, tokenizer)) for some in (held_out, new)]
    return model, Trainer(model, settings, batches), *scores
