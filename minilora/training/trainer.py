"""The training loop: batches in, a trained model and its history out, resumable at any step."""

import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from minilora import checks, storage
from minilora.data.records import IGNORED
from minilora.machine import keep_memory
from minilora.nn.llama import Llama
from minilora.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from minilora.training.conditions import batches_around, conditions_of
from minilora.training.groups import DECAYS, add_l2_gradient, rate_groups
from minilora.training.history import PER_STEP, Log, empty_history, number
from minilora.training.optim import AdamW, clip_grad_norm
from minilora.training.schedule import SCHEDULES, lr_factor


class DivergenceError(ValueError):
    """The loss, the gradient or a parameter is not a number any more."""


# What an optimizer decides by itself, so that a config beside it must leave these alone.
OPTIMIZER_FIELDS = (
    "learning_rate",
    "weight_decay",
    "weight_decay_type",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "loraplus_lr_ratio",
    "alpha_lr_ratio",
)


@dataclass(frozen=True)
class TrainingConfig:
    """How to train, under the names of Hugging Face's TrainingArguments.

    `max_steps`: optimizer steps, or `num_train_epochs`: passes over the data (then leave `max_steps` alone).
    `min_lr_ratio`: where the schedule ends, as a share of `learning_rate`. `weight_decay_type`: "decoupled" (AdamW) or
    "l2" (through the gradient). `gradient_accumulation_steps`: how many batches make one step; the loss is the mean over
    all their tokens. `eval_steps`, `save_steps`: every how many steps (0 = never; both also happen after the last one).
    `early_stopping_patience`: stop after so many evaluations without a smaller "loss" (0 = never).
    `load_best_model_at_end`: leave the model as it was at its best evaluation. `seed` decides the dropout masks.
    `loraplus_lr_ratio`, `alpha_lr_ratio`: the rates of B and of a learned alpha, relative to `learning_rate`
    (`rate_groups`). Raises ValueError or TypeError for a setting out of range, or settings that do not go together.
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
    num_train_epochs: float | None = None
    gradient_accumulation_steps: int = 1
    weight_decay_type: str = "decoupled"
    early_stopping_patience: int = 0
    load_best_model_at_end: bool = False
    loraplus_lr_ratio: float = 1.0
    alpha_lr_ratio: float = 0.1

    def __post_init__(self):
        whole = {"max_steps": 1, "gradient_accumulation_steps": 1} | dict.fromkeys(
            ("warmup_steps", "eval_steps", "save_steps", "seed", "early_stopping_patience"), 0
        )
        clean = {name: checks.integer(name, getattr(self, name), low=low) for name, low in whole.items()}
        for name, limits in {
            "learning_rate": {"above": 0},
            "min_lr_ratio": {"low": 0, "high": 1},
            "weight_decay": {"low": 0},
            "adam_beta1": {"low": 0, "below": 1},
            "adam_beta2": {"low": 0, "below": 1},
            "adam_epsilon": {"above": 0},
            "max_grad_norm": {"above": 0},
            "loraplus_lr_ratio": {"above": 0},
            "alpha_lr_ratio": {"low": 0},
        }.items():
            clean[name] = checks.real(name, getattr(self, name), **limits)
        for name, choices in (("lr_scheduler_type", SCHEDULES), ("weight_decay_type", DECAYS)):
            clean[name] = checks.one_of(name, getattr(self, name), choices)
        clean["load_best_model_at_end"] = checks.boolean("load_best_model_at_end", self.load_best_model_at_end)
        if self.num_train_epochs is None:
            checks.integer("warmup_steps", self.warmup_steps, high=self.max_steps)
        else:
            clean["num_train_epochs"] = checks.real("num_train_epochs", self.num_train_epochs, above=0)
            if self.max_steps != TrainingConfig.max_steps:
                raise ValueError(
                    f"give max_steps ({self.max_steps}) or num_train_epochs ({self.num_train_epochs}), not both"
                )
        if self.early_stopping_patience and not self.eval_steps:
            raise ValueError(
                f"eval_steps must be set with early_stopping_patience={self.early_stopping_patience}, got 0"
            )
        for name, value in clean.items():  # numpy's numbers become Python's, so that a checkpoint can hold them
            object.__setattr__(self, name, value)


class Trainer:
    """Trains what is trainable in `model`, in place.

    `batches(step)` -> (token_ids, labels), each (B, T): a function of the step alone (see `minilora.data.batching`), so
    that a resumed run sees the batches that the killed one would have seen, bit for bit. With accumulation over k batches,
    step s takes batches k s to k s + k - 1. With an `output_dir` some are asked for more than once.
    `evaluate()` -> dict of numbers, called every `eval_steps` and at the end; its "loss" decides what is best.
    `output_dir` holds `log.jsonl` (a line per step and per evaluation), `checkpoint.npz` every `save_steps`, and
    `best.npz` whenever an evaluation is the best so far. A run that finds a checkpoint of its own there resumes from it.
    `batches` and `evaluate` are compared by their `fingerprint()`, as EpochBatches, RandomCrops and HeldOut have one. Of
    other `batches` the first two are compared, the last one before the checkpoint and the one behind it, and no others; of
    another `evaluate` its name and its own code (the same version of Python), not what it calls, holds or reads.
    `save_model(path)`: how to write best.npz; by default it holds the trainable parameters under their paths.
    `optimizer`: one of your own (with AdamW's interface) over trainable parameters of `model`; what it decides, such as the rate,
    must then be left at its default in `config`. `progress` shows loss, rate, tokens per second and the time left.
    `history`: {"step", "loss", "learning_rate" (of the first group), "grad_norm": one entry per step, "eval": one dict
    per evaluation}; `minilora.training.as_arrays` makes arrays of it.
    Keeps freed memory in the process, for speed (see `minilora.machine.keep_memory`). Raises ValueError or TypeError
    for arguments that do not go together: nothing to train, a folder or an evaluation that is needed and missing, a
    foreign optimizer.
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
        save_model: Callable[[Path], None] | None = None,
    ):
        checks.instance("model", model, Llama, hint="load_base() gives one")
        checks.instance("config", config, TrainingConfig)
        checks.function("batches", batches, hint="pass a function of the step, such as EpochBatches(...)")
        for name, function in (("evaluate", evaluate), ("save_model", save_model)):
            if function is not None:
                checks.function(name, function)
        if config.save_steps and output_dir is None:
            raise ValueError(f"output_dir must be given when save_steps is {config.save_steps}; name a folder")
        if evaluate is None and (config.early_stopping_patience or config.load_best_model_at_end):
            raise ValueError("evaluate must be given with early_stopping_patience or load_best_model_at_end, got None")
        keep_memory()
        self.model, self.config, self.batches, self.evaluate = model, config, batches, evaluate
        self.output_dir = None if output_dir is None else Path(checks.path("output_dir", output_dir))
        self.progress, self.save_model = checks.boolean("progress", progress), save_model
        self.max_steps = _max_steps(config, batches)
        self.parameters = {name: p for name, p in model.named_parameters() if p.trainable}
        if not self.parameters:
            raise ValueError("model must have a trainable parameter, got none; apply_lora first, or unfreeze a layer")
        self.optimizer = self._own_optimizer() if optimizer is None else self._checked(optimizer)
        self._peaks = [group["lr"] for group in self.optimizer.groups]
        self.step = 0
        self.history = empty_history()
        # Of the frozen model, hence before training; only checkpoints need them.
        self._conditions = None if self.output_dir is None else self._depends_on()
        self._best: dict[str, np.ndarray] = {}  # the best parameters, where load_best_model_at_end asks for them
        self._stop = False

    def train(self) -> dict[str, list]:
        """Run to the last step and return the history; called again, it resumes where it stopped, or does nothing.

        DivergenceError if the loss or the gradient stops being a number: the model then is as it was before that step.
        CheckpointError if the output_dir holds the checkpoint of another run.
        """
        self._stop = False
        if self.step == 0:
            self._resume()
        with self._bar() as bar:
            while self.step < self.max_steps and not self._stop and not self.out_of_patience:
                started = time.perf_counter()
                tokens = self._train_step()
                seconds = time.perf_counter() - started
                self._log(
                    {key: self.history[key][-1] for key in PER_STEP} | {"tokens": tokens, "seconds": round(seconds, 4)}
                )
                if self.evaluate is not None and self._due(self.config.eval_steps):
                    entry = self._evaluate()
                    if self.progress:
                        scores = ", ".join(f"{key} {value:.4g}" for key, value in entry.items() if key != "step")
                        bar.write(f"step {self.step:<5}held out: {scores}", file=sys.stderr)
                if self.config.save_steps and (self._due(self.config.save_steps) or self.out_of_patience or self._stop):
                    self._save()
                bar.update()
                bar.set_postfix(
                    loss=f"{self.history['loss'][-1]:.3f}",
                    rate=f"{self.history['learning_rate'][-1]:.1e}",
                    refresh=False,
                    **{"tokens/s": f"{tokens / seconds:,.0f}"},
                )
        if self.config.load_best_model_at_end and not self._stop:
            for name, value in self._best.items():
                self.parameters[name].value[...] = value
        return self.history

    def stop(self) -> None:
        """Make `train` return after the current step, with a checkpoint if it saves any; safe in a signal handler."""
        self._stop = True

    @property
    def best(self) -> dict[str, float] | None:
        """The evaluation with the smallest "loss" (the first of equals), or None before there is one."""
        scored = [entry for entry in self.history["eval"] if "loss" in entry]
        return min(scored, key=lambda entry: entry["loss"], default=None)

    @property
    def out_of_patience(self) -> bool:
        """Have the last `early_stopping_patience` evaluations brought nothing better?"""
        patience = self.config.early_stopping_patience
        if not patience or self.best is None:
            return False
        return len(self.history["eval"]) - 1 - self.history["eval"].index(self.best) >= patience

    def _train_step(self) -> int:
        """One optimizer step; returns how many tokens it read."""
        config = self.config
        factor = lr_factor(
            self.step,
            max_steps=self.max_steps,
            warmup_steps=config.warmup_steps,
            kind=config.lr_scheduler_type,
            floor=config.min_lr_ratio,
        )
        for group, peak in zip(self.optimizer.groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        self.optimizer.zero_grad()
        with np.errstate(over="ignore", invalid="ignore"):  # a divergence is reported below, by its step
            loss, tokens = self._accumulate()
            norm = clip_grad_norm(self.parameters.values(), config.max_grad_norm)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise DivergenceError(self._diverged(f"loss {loss}, gradient norm {norm}", self.step + 1))
        if config.weight_decay_type == "l2":
            add_l2_gradient(self.parameters.values(), config.weight_decay)
        self.optimizer.step()
        self.step += 1
        for key, value in zip(PER_STEP, (self.step, loss, self.optimizer.groups[0]["lr"], norm), strict=True):
            self.history[key].append(value)
        return tokens

    def _accumulate(self) -> tuple[float, int]:
        """Gradients of the mean loss over the counted tokens of all micro-batches: (that loss, tokens read)."""
        k = self.config.gradient_accumulation_steps
        micro_batches = [checks.batch(self.batches(self.step * k + i)) for i in range(k)]
        counts = [int(np.count_nonzero(labels != IGNORED)) for _, labels in micro_batches]
        mean = 0.0
        for i, ((token_ids, labels), count) in enumerate(zip(micro_batches, counts, strict=True)):
            rng = np.random.default_rng([self.config.seed, self.step, i])
            loss, backward = self.model.loss(token_ids, labels, rng=rng)
            # mean = sum of losses weighted by their share of the tokens   =>  dloss = that share
            share = count / sum(counts)
            mean += float(loss) * share
            backward(share)
        return mean, sum(token_ids.size for token_ids, _ in micro_batches)

    def _evaluate(self):
        with np.errstate(over="ignore", invalid="ignore"):  # as in a step: a divergence is reported below
            scores = dict(checks.mapping("evaluate()", self.evaluate()))
        loss = scores.get("loss", 0.0)
        if isinstance(loss, (float, np.floating)) and not math.isfinite(loss):
            raise DivergenceError(self._diverged(f"held-out loss {loss}", self.step))
        scores = {name: number(f"evaluate()[{name!r}]", score) for name, score in scores.items()}
        entry = {"step": self.step} | scores | {"step": self.step}
        self.history["eval"].append(entry)
        self._log({"step": self.step, "eval": {key: entry[key] for key in sorted(entry) if key != "step"}})
        if self.best is not entry:
            return entry
        if self.config.load_best_model_at_end:
            self._best = {name: p.value.copy() for name, p in self.parameters.items()}
        if self.output_dir is not None:
            path = self.output_dir / "best.npz"
            if self.save_model is not None:
                self.save_model(path)
            else:
                storage.save_arrays(path, {name: p.value for name, p in self.parameters.items()}, entry)
        return entry

    def _due(self, every):
        return self.step == self.max_steps or bool(every and self.step % every == 0)

    def _save(self):
        if not all(np.isfinite(p.value).all() for p in self.parameters.values()):
            raise DivergenceError(self._diverged("a parameter is not finite", self.step))
        checkpoint = Checkpoint(self.step, self.history, self._best)
        save_checkpoint(
            self.checkpoint_path,
            self.parameters,
            self.optimizer,
            self._conditions,
            checkpoint,
            self._batches_around(self.step),
        )

    @property
    def checkpoint_path(self) -> Path | None:
        return None if self.output_dir is None else self.output_dir / "checkpoint.npz"

    def _resume(self):
        if self.output_dir is None:
            return
        if self.checkpoint_path.is_file():
            self.step, self.history, self._best = load_checkpoint(
                self.checkpoint_path, self.parameters, self.optimizer, self._conditions, self._batches_around
            )
        self.output_dir.mkdir(parents=True, exist_ok=True)
        Log(self.output_dir / "log.jsonl").restart_from(self.history)

    def _depends_on(self):
        steps = self.max_steps * self.config.gradient_accumulation_steps
        return {
            "training": asdict(self.config),
            **conditions_of(self.model, self.optimizer, self.batches, self.evaluate, steps),
        }

    def _batches_around(self, step):
        k = self.config.gradient_accumulation_steps
        return batches_around(self.batches, step * k, self.max_steps * k)

    def _log(self, entry):
        if self.output_dir is not None:
            Log(self.output_dir / "log.jsonl").append(entry)

    def _diverged(self, what, step):
        kept = "nothing was saved"
        if self.checkpoint_path is not None and self.checkpoint_path.is_file():
            kept = f"the last good checkpoint is {self.checkpoint_path}"
        return (
            f"training diverged at step {step}: {what}; {kept}. Try a learning_rate below {self._peaks[0]:g}, a longer "
            "warm-up or a smaller max_grad_norm, and look at the data of that step"
        )

    def _own_optimizer(self):
        config = self.config
        decoupled = config.weight_decay if config.weight_decay_type == "decoupled" else 0.0
        return AdamW(
            rate_groups(
                self.parameters,
                config.learning_rate,
                decoupled,
                loraplus_lr_ratio=config.loraplus_lr_ratio,
                alpha_lr_ratio=config.alpha_lr_ratio,
            ),
            lr=config.learning_rate,
            betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon,
            weight_decay=decoupled,
        )

    def _checked(self, optimizer):
        if not all(hasattr(optimizer, name) for name in ("groups", "step", "zero_grad", "state", "load_state")):
            raise TypeError(
                f"optimizer must be an AdamW or have its attributes and methods, got {checks.shown(optimizer)}"
            )
        defaults = {field.name: field.default for field in fields(TrainingConfig)}
        if overridden := [name for name in OPTIMIZER_FIELDS if getattr(self.config, name) != defaults[name]]:
            raise ValueError(
                f"config must leave {', '.join(overridden)} at the default beside an optimizer, which decides them; "
                "set them in the optimizer"
            )
        trainable = {id(p) for p in self.parameters.values()}
        if any(id(p) not in trainable for group in optimizer.groups for p in group["params"]):
            raise ValueError(
                "optimizer must hold trainable parameters of this model only; "
                "make it after apply_lora, from [p for p in model.parameters() if p.trainable]"
            )
        return optimizer

    def _bar(self):
        from tqdm import tqdm  # here, so that importing minilora loads numpy only

        return tqdm(
            total=self.max_steps,
            initial=self.step,
            desc="training",
            disable=not self.progress,
            leave=False,
            mininterval=0.1 if sys.stderr.isatty() else 10,  # seconds: a log needs no line per step
        )


def _max_steps(config, batches):
    if config.num_train_epochs is None:
        return config.max_steps
    if not hasattr(batches, "steps_per_epoch"):
        raise ValueError("batches must say its steps_per_epoch to train by num_train_epochs; EpochBatches does")
    steps = math.ceil(config.num_train_epochs * batches.steps_per_epoch / config.gradient_accumulation_steps)
    checks.integer("warmup_steps", config.warmup_steps, high=steps, hint=f"the run has {steps} steps")
    return steps
