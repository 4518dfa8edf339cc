"""The training loop: batches in, a trained model and its history out, resumable at any step."""

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from minilora import checks
from minilora.machine import keep_memory
from minilora.nn.llama import Llama
from minilora.training.checkpoint import load_checkpoint, save_checkpoint
from minilora.training.optim import AdamW, clip_grad_norm
from minilora.training.schedule import SCHEDULES, lr_factor


@dataclass(frozen=True)
class TrainingConfig:
    """How to train, under the names of Hugging Face's TrainingArguments.

    `eval_steps`, `save_steps`: every how many steps (0 = never; evaluation also happens after the last one).
    `min_lr_ratio`: where the schedule ends, as a share of `learning_rate`. `seed` decides the dropout masks.
    """

    max_steps: int = 100
    learning_rate: float = 1e-3
    lr_scheduler_type: str = "cosine"
    warmup_steps: int = 0
    min_lr_ratio: float = 0.0
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    eval_steps: int = 0
    save_steps: int = 0
    seed: int = 0

    def __post_init__(self):
        integer, real = checks.integer, checks.real
        kept = {
            "max_steps": integer("max_steps", self.max_steps, low=1),
            "learning_rate": real("learning_rate", self.learning_rate, above=0),
            "lr_scheduler_type": checks.one_of("lr_scheduler_type", self.lr_scheduler_type, SCHEDULES),
            "warmup_steps": integer("warmup_steps", self.warmup_steps, low=0, high=self.max_steps),
            "min_lr_ratio": real("min_lr_ratio", self.min_lr_ratio, low=0, high=1),
            "weight_decay": real("weight_decay", self.weight_decay, low=0),
            "adam_beta1": real("adam_beta1", self.adam_beta1, low=0, below=1),
            "adam_beta2": real("adam_beta2", self.adam_beta2, low=0, below=1),
            "adam_epsilon": real("adam_epsilon", self.adam_epsilon, above=0),
            "max_grad_norm": real("max_grad_norm", self.max_grad_norm, above=0),
            "eval_steps": integer("eval_steps", self.eval_steps, low=0),
            "save_steps": integer("save_steps", self.save_steps, low=0),
            "seed": integer("seed", self.seed, low=0),
        }
        for name, value in kept.items():
            object.__setattr__(self, name, value)


class Trainer:
    """Trains what is trainable in `model`, in place.

    `batches(step)` -> (token_ids, labels), each (B, T): a function of the step alone (see `minilora.data.batching`), so
    that a resumed run sees the batches that the killed one would have seen, bit for bit.
    `evaluate()` -> dict of numbers, called every `eval_steps` and at the end.
    `output_dir`: where checkpoints go every `save_steps`; a run finds its own there and goes on from it.
    Keeps freed memory in the process, for speed (see `minilora.machine.keep_memory`).
    `history`: {"step", "loss", "learning_rate", "grad_norm"} one entry a step, and "eval": one dict an evaluation.
    """

    def __init__(
        self,
        model: Llama,
        config: TrainingConfig,
        batches: Callable[[int], tuple[np.ndarray, np.ndarray]],
        *,
        evaluate: Callable[[], dict[str, float]] | None = None,
        output_dir: str | os.PathLike | None = None,
        progress: bool = False,
        optimizer: AdamW | None = None,
    ):
        if not isinstance(config, TrainingConfig):
            raise TypeError(f"config must be a TrainingConfig, got {checks.shown(config)}")
        if config.save_steps and output_dir is None:
            raise ValueError(f"output_dir must be given when save_steps is {config.save_steps}; name a folder")
        keep_memory()
        self.model, self.config, self.batches, self.evaluate = model, config, batches, evaluate
        self.checkpoint_path = None if output_dir is None else Path(output_dir) / "checkpoint.npz"
        self.progress = progress
        self.parameters = {name: p for name, p in model.named_parameters() if p.trainable}
        if not self.parameters:
            raise ValueError("model must have a trainable parameter, got none; apply_lora first, or unfreeze a layer")
        self.optimizer = optimizer or AdamW(
            _decay_groups(self.parameters.values(), config.weight_decay),
            lr=config.learning_rate,
            betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon,
            weight_decay=config.weight_decay,
        )
        self._peaks = [group["lr"] for group in self.optimizer.groups]
        self.history = {"step": [], "loss": [], "learning_rate": [], "grad_norm": [], "eval": []}

    def train(self) -> dict[str, list]:
        """Run to `max_steps` and return the history. ValueError if the loss or the gradient stops being a number."""
        config = self.config
        start = self._resume()
        with self._bar(start) as bar:
            for step in range(start, config.max_steps):
                self._step(step)
                done = step + 1
                if self.evaluate and (
                    done == config.max_steps or (config.eval_steps and done % config.eval_steps == 0)
                ):
                    self.history["eval"].append({"step": done, **self.evaluate()})
                if config.save_steps and (done % config.save_steps == 0 or done == config.max_steps):
                    save_checkpoint(self.checkpoint_path, self.parameters, self.optimizer, self._note(done))
                bar.update()
                bar.set_postfix(loss=f"{self.history['loss'][-1]:.3f}", refresh=False)
        return self.history

    def _step(self, step):
        config = self.config
        factor = lr_factor(
            step,
            max_steps=config.max_steps,
            warmup_steps=config.warmup_steps,
            kind=config.lr_scheduler_type,
            floor=config.min_lr_ratio,
        )
        for group, peak in zip(self.optimizer.groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        token_ids, labels = self.batches(step)
        self.optimizer.zero_grad()
        loss, backward = self.model.loss(token_ids, labels, rng=np.random.default_rng([config.seed, step]))
        backward()
        norm = clip_grad_norm(self.parameters.values(), config.max_grad_norm)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise ValueError(
                f"training diverged at step {step}: loss {float(loss)}, gradient norm {norm}; "
                f"try a learning_rate below {config.learning_rate} or a longer warm-up, and look at the data"
            )
        self.optimizer.step()
        for key, value in (("step", step + 1), ("loss", loss), ("learning_rate", config.learning_rate * factor)):
            self.history[key].append(float(value) if key != "step" else value)
        self.history["grad_norm"].append(norm)

    def _resume(self):
        if self.checkpoint_path is None or not self.checkpoint_path.is_file():
            return 0
        note = load_checkpoint(self.checkpoint_path, self.parameters, self.optimizer)
        if note["config"] != asdict(self.config):
            raise ValueError(
                f"{self.checkpoint_path} belongs to a run with another config; choose a new output_dir or delete it"
            )
        self.history = note["history"]
        return note["step"]

    def _note(self, step):
        return {"step": step, "config": asdict(self.config), "history": self.history}

    def _bar(self, start):
        from tqdm import tqdm  # here, so that importing minilora loads numpy only

        return tqdm(total=self.config.max_steps, initial=start, desc="training", disable=not self.progress, leave=False)


def _decay_groups(parameters, weight_decay):
    """Matrices decay, gains (1-D) do not: the usual practice for transformers."""
    parameters = list(parameters)
    matrices = [p for p in parameters if p.value.ndim > 1]
    gains = [p for p in parameters if p.value.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": gains, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
