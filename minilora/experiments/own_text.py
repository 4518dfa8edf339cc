"""LoRA on the base's own training text, over a quantized base: quantizing took some of this loss, so training can win it back."""

from dataclasses import dataclass

import numpy as np

from minilora.adapters import LoraConfig, apply_lora, quantize_linears
from minilora.assets import load_base
from minilora.data import RandomCrops, corpus
from minilora.experiments.training.pretrain import prepare
from minilora.training import DivergenceError, HeldOut, Trainer, TrainingConfig


@dataclass(frozen=True)
class TextRun:
    """One run of LoRA (all linear layers, alpha = r) on random crops; the base's linear layers are stored in `code` first.

    The loss is that of the first `windows` windows of the text that was held out when the base was trained.
    """

    learning_rate: float
    seed: int
    code: str | None = None
    r: int = 8
    steps: int = 100
    batch_size: int = 4
    length: int = 256
    windows: int = 96


def train_on_text(run: TextRun) -> dict[str, float | None]:
    """ "before" and "loss": nats per byte of the held-out windows before and after training. A run that diverges has None."""
    text = prepare(corpus.load_topics(), run.length)
    model = load_base()
    if run.code:
        quantize_linears(model, run.code)
    lora = LoraConfig(r=run.r, lora_alpha=run.r, target_modules="all-linear")
    apply_lora(model, lora, rng=np.random.default_rng(run.seed))
    scores = HeldOut(model, text.eval_ids[: run.windows], text.eval_labels[: run.windows], batch_size=16)
    settings = TrainingConfig(
        max_steps=run.steps, learning_rate=run.learning_rate, warmup_steps=max(1, run.steps // 20), seed=run.seed
    )
    batches = RandomCrops(text.train_tokens, run.batch_size, run.length, seed=run.seed)
    before = scores()["loss"]
    try:
        Trainer(model, settings, batches).train()
    except DivergenceError:
        return {"before": before, "loss": None}
    return {"before": before, "loss": scores()["loss"]}
