"""`minilora finetune`: from a file of your own to an adapter of your own."""

import argparse
import errno
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import minilora
from minilora import machine
from minilora.adapters import METHODS, count_parameters, save_adapter
from minilora.analysis import memory
from minilora.cli import methods, models, output, rows
from minilora.cli.folder import RunFolder
from minilora.data import EpochBatches, Layout
from minilora.data.batching import sha256
from minilora.nn import Llama
from minilora.nn.checkpointing import checkpoint_blocks
from minilora.training import DivergenceError, HeldOut, Trainer, TrainingConfig

HELP = "fine-tune on a file of your own (JSONL, CSV or plain text)"
EXAMPLE = "python -m minilora finetune --data my.jsonl --out my_run"

# Steps, batch and Adam's beta2, with LoRA's rank, alpha, dropout and rate and the decay in cli/methods.py, are the recipe of
# figures/finetune_defaults.json, chosen there for 200 records; a test holds both equal. The others decide how often something
# is written or looked at, not what is learned.
DEFAULTS: dict[str, Any] = {
    "eval_data": None,
    "eval_fraction": 0.1,
    "input_field": "input",
    "target_field": "target",
    "template": None,
    "max_length": None,  # MAX_LENGTH, or what the model reads
    "truncation": "input",
    "completion_only_loss": True,
    "model": models.BASE,
    "method": "lora",
    "quantize": None,
    "block_size": 64,
    "double_quant": False,
    "gradient_checkpointing": False,
    "max_steps": 600,
    "epochs": None,
    "batch_size": 32,
    "gradient_accumulation_steps": 1,
    "learning_rate": None,  # that of methods.default_rate
    "lr_scheduler_type": "cosine",
    "warmup_steps": None,  # a twentieth of the steps
    "min_lr_ratio": 0.0,
    "weight_decay": None,  # that of methods.default_decay
    "weight_decay_type": "decoupled",
    "max_grad_norm": 1.0,
    "adam_beta1": 0.9,
    "adam_beta2": 0.98,
    "loraplus_lr_ratio": 1.0,
    "alpha_lr_ratio": 0.1,
    "eval_steps": 50,
    "save_steps": 50,
    "early_stopping_patience": 0,
    "load_best_model_at_end": False,
    "seed": 0,
}
MAX_LENGTH = 128  # tokens: three times the longest date or cry, and a page of activations less than 256
PATHS = ("data", "eval_data")  # made absolute, so that a run resumes from any folder
FULL_DISK = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # Windows knows no quota
LESS_MEMORY = (
    "lower --batch-size (and raise --gradient-accumulation-steps by as much: the same training), lower --max-length, "
    "or pass --gradient-checkpointing or --quantize nf4"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes. An option that is not given is None, so that --resume knows which were."""
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder of the run")
    parser.add_argument(
        "--resume", action="store_true", help="continue the run in DIR; its settings need not be repeated"
    )
    data = parser.add_argument_group("data")
    data.add_argument("--data", metavar="FILE", help="records (.jsonl, .csv) or plain text (.txt)")
    held_out = data.add_mutually_exclusive_group()
    held_out.add_argument("--eval-data", metavar="FILE", help="held-out records (default: a share of --data)")
    _option(held_out, "eval_fraction", float, "the share of --data that is held out, drawn by --seed")
    rows.add_arguments(data)
    model = parser.add_argument_group("model")
    model.add_argument("--model", metavar="MODEL", help=f"{models.MODELS} (default: base)")
    model.add_argument(
        "--quantize", metavar="CODE", help="put the linear layers in four bits first: nf4, int4, fp4, ..."
    )
    _option(model, "block_size", int, "weights that share a scale, with --quantize")
    _switch(model, "double_quant", "quantize the scales, too")
    methods.add_arguments(parser.add_argument_group("method"))
    training = parser.add_argument_group("training")
    length = training.add_mutually_exclusive_group()
    _option(length, "max_steps", int, "steps of the optimizer")
    length.add_argument("--epochs", type=float, metavar="X", help="passes over the data, instead of --max-steps")
    _option(training, "batch_size", int, "rows in a batch")
    _option(training, "gradient_accumulation_steps", int, "batches that make one step")
    rates = (
        f"the peak rate (default: what suits the method, {methods.shown_rates()}; but for LoRA's, swept in 120 steps of "
        "16 rows)"
    )
    training.add_argument("--learning-rate", type=float, metavar="X", help=rates)
    training.add_argument("--lr-scheduler-type", choices=("cosine", "linear", "constant"), help="(default: cosine)")
    training.add_argument("--warmup-steps", type=int, metavar="N", help="(default: a twentieth of the steps)")
    _option(training, "min_lr_ratio", float, "where the rate ends, as a share of the peak")
    decay = "how strongly matrices decay (default: 0.5 with lora, unless weights of the model would decay, too; else 0)"
    training.add_argument("--weight-decay", type=float, metavar="X", help=decay)
    training.add_argument("--weight-decay-type", choices=("decoupled", "l2"), help="(default: decoupled, as in AdamW)")
    _option(training, "max_grad_norm", float, "clip the gradient to this norm")
    _option(training, "adam_beta1", float, "how slowly Adam's mean of the gradient changes")
    _option(training, "adam_beta2", float, "how slowly Adam's mean of its square changes")
    _option(training, "loraplus_lr_ratio", float, "B's rate relative to A's (LoRA+)")
    _option(training, "alpha_lr_ratio", float, "a trained alpha's rate, relative to --learning-rate")
    _switch(
        training,
        "gradient_checkpointing",
        "keep one activation per block and compute the rest again: less memory, slower",
    )
    _option(training, "eval_steps", int, "evaluate every N steps (and at the end)")
    _option(training, "save_steps", int, "write a checkpoint every N steps (and at the end)")
    _option(training, "early_stopping_patience", int, "stop after N evaluations without a smaller loss; 0: never")
    _switch(training, "load_best_model_at_end", "adapter.npz is the best evaluation's, not the last step's")
    _option(training, "seed", int, "decides the split, the order, the initialization and dropout")
    output.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Fine-tune, and write the adapter. Errors of the run itself (divergence, memory, disk) say what is kept."""
    out = output.Output(args)
    folder = RunFolder(args.out)
    with folder.locked():
        settings = _settings(args, folder, out)
        try:
            return _finetune(settings, folder, out)
        except DivergenceError as error:
            raise RuntimeError(str(error)) from error
        except MemoryError as error:
            raise RuntimeError(f"out of memory; {LESS_MEMORY}. {_kept(folder)}") from error
        except OSError as error:
            if error.errno not in FULL_DISK:
                raise
            raise RuntimeError(f"the disk is full ({error.filename or folder.path}). {_kept(folder)}") from error


def stopped(args: argparse.Namespace) -> str:
    """What Ctrl-C leaves behind."""
    return _kept(RunFolder(args.out))


def _finetune(settings: dict[str, Any], folder: RunFolder, out: output.Output) -> int:
    started = time.perf_counter()
    model, tokenizer, own_template, _ = models.open_model(settings["model"], _quantization(settings))
    limit = model.config.max_position_embeddings
    if settings["max_length"] is None:
        settings["max_length"] = min(MAX_LENGTH, limit)
    if settings["max_length"] > limit:
        raise ValueError(f"--max-length must be at most {limit} with this model, got {settings['max_length']}")
    template = rows.pattern(settings["template"], own_template)
    training, held_out, report = rows.split(settings["data"], settings["eval_data"], tokenizer, template, settings)
    if settings["batch_size"] > len(training.labels):
        report.append(
            f"a batch has all {len(training.labels)} of them, for --batch-size {settings['batch_size']} is more"
        )
    out.say("data", *report)

    config = methods.config_of(settings["method"], settings["method_config"])
    METHODS[settings["method"]].apply(model, config, rng=np.random.default_rng(settings["seed"]))
    if settings["gradient_checkpointing"]:
        checkpoint_blocks(model)

    batch_size = min(settings["batch_size"], len(training.labels))
    batches = EpochBatches(training.token_ids, training.labels, batch_size, seed=settings["seed"])
    training_config = _training_config(settings, batches.steps_per_epoch)
    notes = _notes(settings, template, training, held_out, batch_size, training_config)

    def save(path: Path, scores: dict[str, float] | None = None):
        save_adapter(model, path, notes=notes | {"scores": scores or trainer.history["eval"][-1]})

    trainer = Trainer(
        model,
        training_config,
        batches,
        evaluate=_scores(model, held_out, batch_size),
        output_dir=folder.path,
        progress=out.talks,
        save_model=save,
    )
    plan = _plan(model, trainer, settings, batch_size, training.token_ids.shape[1], config)
    out.say("model", *plan.pop("lines"))
    folder.write({"settings": settings, "minilora": minilora.__version__, "plan": plan})
    with _stops_at_a_step(trainer):
        trainer.train()
    if trainer.step < trainer.max_steps and not trainer.out_of_patience:
        raise KeyboardInterrupt
    save(folder.adapter, trainer.best if settings["load_best_model_at_end"] else None)
    result = _result(trainer, held_out, time.perf_counter() - started)
    folder.write({"settings": settings, "minilora": minilora.__version__, "plan": plan, "result": result})
    _say_result(result, held_out, folder, out)
    return 0


def _settings(args, folder, out) -> dict[str, Any]:
    """Settings of the run: given, or as run.json has them when it resumes, or the defaults."""
    given = {name: getattr(args, name) for name in ("data", *DEFAULTS) if getattr(args, name) is not None}
    given |= {name: str(Path(given[name]).resolve()) for name in PATHS if name in given}
    if Path(given.get("model", models.BASE)).exists():
        given["model"] = str(Path(given["model"]).resolve())
    given_config = methods.given(args)
    stored = folder.read()
    if stored is not None and not args.resume:
        raise ValueError(
            f"{folder.path} holds a run already (step {folder.kept_step()} is kept); pass --resume to continue it, or "
            "choose another --out"
        )
    if stored is None:
        if args.resume:
            out.say("resume", f"{folder.path} holds nothing to resume yet; starting")
        if "data" not in given:
            raise ValueError("--data must be given; name a file of records or text")
        settings = {"data": given["data"], **DEFAULTS, **given}
        if "eval_data" in given:
            settings["eval_fraction"] = None
        if "epochs" in given:
            settings["max_steps"] = None
        config = methods.config_of(settings["method"], given_config)
        settings["method_config"] = asdict(config)
        if settings["learning_rate"] is None:
            settings["learning_rate"] = methods.default_rate(settings["method"], config)
        if settings["weight_decay"] is None:
            decoupled = settings["weight_decay_type"] == "decoupled"  # an L2 penalty of that size is another thing
            settings["weight_decay"] = methods.default_decay(settings["method"], config) if decoupled else 0.0
        return settings
    settings = stored["settings"]
    missing = {"data", "method_config", *DEFAULTS} - settings.keys()
    if missing:
        raise ValueError(f"{folder.run} lacks {', '.join(sorted(missing))}; choose another --out")
    now = given | {f"{name}": _as_json(value) for name, value in given_config.items()}
    then = settings | settings["method_config"]
    if differing := [
        f"--{name.replace('_', '-')} was {then.get(name)}, is {now[name]}"
        for name in now
        if now[name] != then.get(name)
    ]:
        raise ValueError(
            f"{folder.path} holds a run with other settings: {'; '.join(differing)}; leave them out, or choose another --out"
        )
    out.say("resume", f"step {folder.kept_step()} is kept in {folder.path}")
    return settings


def _training_config(settings: dict[str, Any], steps_per_epoch: int) -> TrainingConfig:
    names = (
        "gradient_accumulation_steps",
        "learning_rate",
        "lr_scheduler_type",
        "min_lr_ratio",
        "weight_decay",
        "weight_decay_type",
        "max_grad_norm",
        "adam_beta1",
        "adam_beta2",
        "loraplus_lr_ratio",
        "alpha_lr_ratio",
        "eval_steps",
        "save_steps",
        "early_stopping_patience",
        "load_best_model_at_end",
        "seed",
    )
    values = {name: settings[name] for name in names}
    steps = settings["max_steps"]
    if settings["epochs"] is None:
        values["max_steps"] = steps
    else:
        values["num_train_epochs"] = settings["epochs"]
        steps = max(1, round(settings["epochs"] * steps_per_epoch / settings["gradient_accumulation_steps"]))
    warmup = settings["warmup_steps"]
    return TrainingConfig(**values, warmup_steps=steps // 20 if warmup is None else warmup)


def _scores(model: Llama, held_out: rows.Rows, batch_size: int) -> HeldOut:
    return HeldOut(model, held_out.token_ids, held_out.labels, batch_size=batch_size)


def _notes(settings, template: Layout, training, held_out, batch_size, config: TrainingConfig) -> dict[str, Any]:
    """What the adapter's file says of how it was made: nothing that differs between equal runs."""
    return {
        "model": settings["model"],
        "quantization": _quantization(settings),
        "template": None if training.is_text else template.pattern,
        "max_length": settings["max_length"],
        "completion_only_loss": settings["completion_only_loss"],
        "data": {
            "file": Path(settings["data"]).name,
            "rows": len(training.labels),
            "held_out": len(held_out.labels),
            "sha256": sha256(training.token_ids, training.labels),
        },
        "batch_size": batch_size,
        "training": asdict(config),
    }


def _quantization(settings) -> dict[str, Any] | None:
    if settings["quantize"] is None:
        return None
    return {"code": settings["quantize"]} | {name: settings[name] for name in ("block_size", "double_quant")}


def _plan(model, trainer, settings, batch_size, length, config) -> dict[str, Any]:
    """What is going to be trained, and the bytes it takes."""
    trainable, _ = count_parameters(model)
    plain = Llama.skeleton(model.config, model.dtype)
    total = sum(p.size for p in plain.parameters()) + trainable
    bytes_of = {
        "weights": memory.stored_bytes(model),
        "gradients": trainable * model.dtype.itemsize,
        "optimizer": trainer.optimizer.nbytes,
        "activations": _activations(model, trainer, settings, batch_size, length, config),
    }
    weights = f", linear layers in {settings['quantize']}" if settings["quantize"] else ""
    shown = ", ".join(f"{name} {output.size(count)}" for name, count in bytes_of.items())
    steps = f"{trainer.max_steps} steps of {batch_size * settings['gradient_accumulation_steps']} rows"
    epochs = trainer.max_steps * settings["gradient_accumulation_steps"] / trainer.batches.steps_per_epoch
    return {
        "parameters": trainable,
        "percent": round(100 * trainable / total, 3),
        "bytes": bytes_of,
        "steps": trainer.max_steps,
        "lines": [
            f"{settings['model']}: {total - trainable:,} parameters, {model.dtype}{weights}",
            f"{settings['method']} {_short(config)}: {trainable:,} parameters to train, {100 * trainable / total:.2f} % of all",
            f"memory: {shown} (estimated, for {batch_size} rows of {length} tokens)",
            f"{steps} ({epochs:.3g} epochs), rate {trainer.config.learning_rate:g}, warm-up {trainer.config.warmup_steps}",
        ],
    }


def _activations(model, trainer, settings, batch_size, length, config) -> int:
    """By formula for plain LoRA; else counted in what one forward of the first batch keeps."""
    if settings["method"] == "lora" and memory.has_formula(config):
        setup = memory.Setup(
            model.config, lora=config, code=settings["quantize"], checkpointing=settings["gradient_checkpointing"]
        )
        return memory.activation_bytes(setup, batch_size, length)
    _, backward = model.loss(*trainer.batches(0), rng=np.random.default_rng(0))
    return memory.saved_bytes(backward, model)


@contextmanager
def _stops_at_a_step(trainer: Trainer) -> Iterator[None]:
    """Inside, the first Ctrl-C stops the trainer after the current step, with a checkpoint; a second one at once."""

    def ask(number, frame):
        trainer.stop()
        signal.signal(number, signal.default_int_handler)

    try:
        before = signal.signal(signal.SIGINT, ask)
    except ValueError:  # not the main thread: whoever runs it there decides about signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _result(trainer: Trainer, held_out: rows.Rows, seconds: float) -> dict[str, Any]:
    last, best = trainer.history["eval"][-1], dict(trainer.best)
    if held_out.is_text:  # the next tokens of a text are not answers
        last = last | {"exact": None}
        del best["exact"]
    return {
        "steps": trainer.step,
        "train_loss": trainer.history["loss"][-1],
        "loss": last["loss"],
        "exact": last["exact"],
        "best": best,
        "stopped_early": trainer.out_of_patience and trainer.step < trainer.max_steps,
        "seconds": round(seconds, 1),
        "peak_bytes": machine.peak_memory(),
    }


def _say_result(result, held_out, folder, out) -> None:
    peak = "unknown" if result["peak_bytes"] is None else output.size(result["peak_bytes"])
    best = result["best"]
    lines = [
        f"{'done':10}{result['steps']} steps in {result['seconds']:.0f} s, peak memory of the process {peak}",
        f"{'':10}held-out loss {result['loss']:.4f}{_exact(result, held_out)}",
        f"{'':10}best at step {best['step']}: {best['loss']:.4f}{_exact(best, held_out)}",
        f"{'files':10}{folder.adapter} ({output.size(folder.adapter.stat().st_size)}), best.npz, log.jsonl, run.json",
    ]
    if out.quiet:
        lines = lines[1:2]
    out.result({"out": str(folder.path), **result, "n": len(held_out.labels)}, *lines)


def _exact(scores: dict[str, float], held_out: rows.Rows) -> str:
    if held_out.is_text:
        return ""
    n, share = len(held_out.labels), scores["exact"]
    return f", {round(share * n)} of {n} exactly right ({100 * share:.0f} %)"


def _kept(folder: RunFolder) -> str:
    step = folder.kept_step()
    if not step:
        return f"no checkpoint yet in {folder.path}; the same command with --resume starts over"
    return f"step {step} is kept in {folder.checkpoint}, and --resume continues: minilora finetune --out {folder.path} --resume"


def _short(config: Any) -> str:
    """A config in a line: its numbers and names, the switches that were turned on, and nothing that is off or empty."""
    words = []
    for name, value in asdict(config).items():
        if value is True:
            words += [] if getattr(type(config), name) is True else [name]
        elif isinstance(value, (tuple, list)) and value:
            words.append(f"{name} {','.join(map(str, value))}")
        elif value not in (False, None) and value != {} and value != ():
            words.append(f"{name} {value:g}" if isinstance(value, (int, float)) else f"{name} {value}")
    return ", ".join(words)


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _option(group, name, kind, text) -> None:
    metavar = "N" if kind is int else "X"
    group.add_argument(
        f"--{name.replace('_', '-')}", type=kind, metavar=metavar, help=f"{text} (default: {DEFAULTS[name]:g})"
    )


def _switch(group, name, text) -> None:
    group.add_argument(f"--{name.replace('_', '-')}", action=argparse.BooleanOptionalAction, help=text)
