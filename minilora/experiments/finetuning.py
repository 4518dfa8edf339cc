"""One fine-tuning run of the shipped base: what the training studies vary, and what each run measures.

A study is a list of `Run`s that differ in what it asks about; `train(run)` gives numbers. Names of a method's settings
are those of its config (`LoraConfig` and the like).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minilora.adapters import LoraConfig, apply_lora, count_parameters, freeze, linear_paths, quantize_linears
from minilora.assets import load_base
from minilora.data import ByteTokenizer, EpochBatches, encode_records, split
from minilora.nn import Llama
from minilora.training import Trainer, TrainingConfig, evaluate

Settings = tuple[tuple[str, Any], ...]
LORA: Settings = (("lora_alpha", 8), ("r", 8), ("target_modules", "all-linear"))

# Training amplifies the last bits, in which processors differ: losses are compared to a fifth, accuracies to 0.1.
TOLERANCE = {"rtol": 0.2, "atol": 0.1, "overrides": {"/parameters": {"rtol": 0, "atol": 0}}}


def settings(**values: Any) -> Settings:
    """Settings of a method as a Run holds them: sorted pairs, so that equal settings are equal and hash alike."""
    return tuple(sorted(values.items()))


@dataclass(frozen=True)
class Run:
    """One run. `method`: a key of METHODS, with its `settings`. `code`: how the base's linear layers are quantized first.

    `eval_steps`: how often the held-out set is scored (0: at the end alone); `score_training`: the training set, too (its
    first `n_eval` records). `warmup_steps` is a twentieth of the steps.
    """

    task: str
    learning_rate: float
    seed: int
    method: str = "lora"
    settings: Settings = LORA
    code: str | None = None
    double_quant: bool = False
    steps: int = 300
    batch_size: int = 32
    n_train: int = 3072  # there are 3999 Roman numerals
    n_eval: int = 256
    eval_steps: int = 0
    score_training: bool = False
    lr_scheduler_type: str = "cosine"
    weight_decay: float = 0.0
    weight_decay_type: str = "decoupled"


def train(run: Run) -> dict[str, Any]:
    """Fine-tune the base as `run` says.

    "loss" (nats per counted byte) and "exact" on held-out records at the end, "before" training, the trainable
    "parameters", and "curve": a dict per evaluation with "step", "loss", "exact", and "train_loss", "train_exact" where
    `score_training`. A run that diverges has loss and exact None, and says where in "diverged".
    """
    model, trainer = prepared(run)
    before = trainer.evaluate()["loss"]
    try:
        curve = trainer.train()["eval"]
    except ValueError as error:
        if "diverged" not in str(error):
            raise
        curve = [*trainer.history["eval"], {"step": trainer.step, "loss": None, "exact": None}]
    return {
        "loss": curve[-1]["loss"],
        "exact": curve[-1]["exact"],
        "before": before,
        "parameters": count_parameters(model)[0],
        "curve": curve,
    }


def prepared(run: Run) -> tuple[Llama, Trainer]:
    """The model with its method on, and the trainer that is ready to train it."""
    tokenizer = ByteTokenizer()
    training, held_out = split(run.task, run.n_train, run.n_eval, seed=run.seed)
    rows, held_out_rows = encode_records(training, tokenizer), encode_records(held_out, tokenizer)
    model = load_base()
    if run.code:
        quantize_linears(model, run.code, double_quant=run.double_quant)
    METHODS[run.method](model, dict(run.settings), np.random.default_rng(run.seed))

    def scores():
        found = evaluate(model, *held_out_rows)
        if run.score_training:
            seen = evaluate(model, *(array[: run.n_eval] for array in rows))
            found |= {"train_loss": seen["loss"], "train_exact": seen["exact"]}
        return found

    config = TrainingConfig(
        max_steps=run.steps,
        learning_rate=run.learning_rate,
        lr_scheduler_type=run.lr_scheduler_type,
        warmup_steps=max(1, run.steps // 20),
        weight_decay=run.weight_decay,
        weight_decay_type=run.weight_decay_type,
        eval_steps=run.eval_steps,
        seed=run.seed,
    )
    return model, Trainer(model, config, EpochBatches(*rows, run.batch_size, seed=run.seed), evaluate=scores)


def lora(model: Llama, values: dict[str, Any], rng: np.random.Generator) -> None:
    """LoRA with a LoraConfig's settings."""
    apply_lora(model, LoraConfig(**values), rng=rng)


def full(model: Llama, values: dict[str, Any], rng: np.random.Generator) -> None:
    """Full fine-tuning: embedding, head and norms train, too."""


def full_linears(model: Llama, values: dict[str, Any], rng: np.random.Generator) -> None:
    """Full fine-tuning of the linear layers that LoRA adapts, and of nothing else."""
    freeze(model)
    for layer in linear_paths(model).values():
        layer.weight.trainable = True


METHODS: dict[str, Callable[[Llama, dict[str, Any], np.random.Generator], None]] = {
    "lora": lora,
    "full": full,
    "full_linears": full_linears,
}
