"""One fine-tuning run of the shipped base: what the training studies vary, and what each run measures.

A study is a list of `Run`s that differ in what it asks about; `train(run)` gives numbers. Names of a method's settings
are those of its config (`LoraConfig` and the like).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minilora.adapters import METHODS, count_parameters, quantize_linears
from minilora.assets import load_base
from minilora.data import ByteTokenizer, EpochBatches, encode_records, split
from minilora.nn import Llama
from minilora.training import DivergenceError, Trainer, TrainingConfig, evaluate

Settings = tuple[tuple[str, Any], ...]
LORA: Settings = (("lora_alpha", 8), ("r", 8), ("target_modules", "all-linear"))
PATTERNS = ("rank_pattern", "alpha_pattern")  # dicts in LoraConfig, pairs here

# Training amplifies the last bits, in which processors differ: losses are compared to a fifth, accuracies to 0.1.
TOLERANCE = {"rtol": 0.2, "atol": 0.1, "overrides": {"/parameters": {"rtol": 0, "atol": 0}}}


def settings(**values: Any) -> Settings:
    """Settings of a method as a Run holds them: sorted pairs, so that equal settings are equal and hash alike."""
    return tuple(
        (name, settings(**value) if isinstance(value, Mapping) else value) for name, value in sorted(values.items())
    )


@dataclass(frozen=True)
class Run:
    """One run. `method`: a key of `minilora.adapters.METHODS`, with the `settings` of its config.

    `code`: how the base's linear layers are quantized first (with "pissa" and "loftq" the method's own `loftq_config`
    quantizes what it leaves of them instead). `eval_steps`: how often the held-out set is scored (0: at the end alone);
    `score_training`: the training set, too (its first `n_eval` records). `warmup_steps`: None is a twentieth of the steps.
    Dropout is a setting of LoRA; rates of B and of a learned alpha, decay and schedule are as in `TrainingConfig`.
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
    warmup_steps: int | None = None
    min_lr_ratio: float = 0.0
    max_grad_norm: float = 1.0
    weight_decay: float = 0.0
    weight_decay_type: str = "decoupled"
    loraplus_lr_ratio: float = 1.0
    alpha_lr_ratio: float = 0.1


def train(run: Run) -> dict[str, Any]:
    """Fine-tune the base as `run` says.

    "loss" (nats per counted byte) and "exact" on held-out records at the end, "before" training, the trainable
    "parameters", and "curve": a dict per evaluation with "step", "loss", "exact", and "train_loss", "train_exact" where
    `score_training`. A run that diverges has loss and exact None, at the step where it did, in "curve", too.
    """
    return measure(*prepared(run))


def measure(model: Llama, trainer: Trainer) -> dict[str, Any]:
    """Train what `prepared` made, and what `train` gives of it."""
    before = trainer.evaluate()["loss"]
    try:
        curve = trainer.train()["eval"]
    except DivergenceError:
        curve = [*trainer.history["eval"], {"step": trainer.step, "loss": None, "exact": None}]
    return {
        "loss": curve[-1]["loss"],
        "exact": curve[-1]["exact"],
        "before": before,
        "parameters": count_parameters(model)[0],
        "curve": curve,
    }


def prepared(run: Run, *, also: Callable[[Llama], dict[str, float]] | None = None) -> tuple[Llama, Trainer]:
    """The model with its method on, and the trainer that is ready to train it.

    `also(model)`: further numbers for each evaluation. ValueError for an unknown method, and for any setting that its
    config refuses.
    """
    if run.method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {run.method!r}")
    tokenizer = ByteTokenizer()
    training, held_out = split(run.task, run.n_train, run.n_eval, seed=run.seed)
    rows, held_out_rows = encode_records(training, tokenizer), encode_records(held_out, tokenizer)
    model = load_base()
    if run.code:
        quantize_linears(model, run.code, double_quant=run.double_quant)
    method = METHODS[run.method]
    method.apply(model, method_config(run), rng=np.random.default_rng(run.seed))

    def scores():
        numbers = evaluate(model, *held_out_rows)
        if run.score_training:
            seen = evaluate(model, *(array[: run.n_eval] for array in rows))
            numbers |= {"train_loss": seen["loss"], "train_exact": seen["exact"]}
        return numbers if also is None else numbers | also(model)

    config = TrainingConfig(
        max_steps=run.steps,
        learning_rate=run.learning_rate,
        lr_scheduler_type=run.lr_scheduler_type,
        warmup_steps=max(1, run.steps // 20) if run.warmup_steps is None else run.warmup_steps,
        min_lr_ratio=run.min_lr_ratio,
        max_grad_norm=run.max_grad_norm,
        weight_decay=run.weight_decay,
        weight_decay_type=run.weight_decay_type,
        loraplus_lr_ratio=run.loraplus_lr_ratio,
        alpha_lr_ratio=run.alpha_lr_ratio,
        eval_steps=run.eval_steps,
        seed=run.seed,
    )
    return model, Trainer(model, config, EpochBatches(*rows, run.batch_size, seed=run.seed), evaluate=scores)


def method_config(run: Run) -> Any:
    """The config of the run's method: LoraConfig, BottleneckConfig and so on."""
    values = {name: dict(value) if name in PATTERNS else value for name, value in run.settings}
    return METHODS[run.method].config(**values)
