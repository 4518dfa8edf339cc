"""From `--model` and `--adapter` to a model, its tokenizer and its template."""

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from minilora import checks, schema
from minilora.adapters import AdapterFile, load_adapter, quantize_linears, read_adapter
from minilora.assets import load_base
from minilora.data import ByteTokenizer, Template, Tokenizer
from minilora.nn import Llama
from minilora.nn.files import load_model

BASE = "base"
ADAPTER_FILE = "adapter.npz"  # in the folder of a run

# What finetune notes in an adapter's file, and the commands rely on; anything else stays as it is.
NOTES = {
    "model": checks.string,
    "quantization": schema.nullable(partial(checks.instance, kind=dict)),
    "template": schema.nullable(checks.string),
    "max_length": partial(checks.integer, low=2),
    "completion_only_loss": checks.boolean,
}


class Opened(NamedTuple):
    """A model ready to be asked. `notes`: how its adapter was trained, {} without one."""

    model: Llama
    tokenizer: Tokenizer
    template: Template
    notes: dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --model and --adapter."""
    parser.add_argument(
        "--model", metavar="MODEL", help="base, or a .npz that merge wrote (default: what the adapter was trained on)"
    )
    parser.add_argument("--adapter", metavar="PATH", help="an adapter's file, or the folder of a run")


def open_model(model: str) -> tuple[Llama, Tokenizer]:
    """The model that `--model` names, and its tokenizer. ValueError that says what there is for anything else."""
    if model == BASE:
        return load_base(), ByteTokenizer()
    if Path(model).suffix == ".npz":
        loaded, _ = load_model(model)
        tokenizer = ByteTokenizer()
        if loaded.config.vocab_size != tokenizer.vocab_size:
            raise ValueError(f"{model} has {loaded.config.vocab_size} tokens, and its tokenizer is not known here")
        return loaded, tokenizer
    raise ValueError(f"--model must be base, or a .npz that merge wrote, got {model!r}")


def open_with_adapter(model: str | None, adapter: str | None) -> Opened:
    """The model with the adapter on: quantized as it was in training, and with its template."""
    if adapter is None:
        opened, tokenizer = open_model(model or BASE)
        return Opened(opened, tokenizer, Template.suited_to(tokenizer), {})
    path = adapter_path(adapter)
    notes = checked_notes(path, read_adapter(path))
    opened, tokenizer = open_model(model or notes.get("model", BASE))
    quantize_as_noted(opened, notes.get("quantization"))
    load_adapter(opened, path)
    pattern = notes.get("template")
    return Opened(opened, tokenizer, Template.suited_to(tokenizer) if pattern is None else Template(pattern), notes)


def quantize_as_noted(model: Llama, quantization: dict[str, Any] | None) -> None:
    """Quantize the linear layers as `quantization` says: {"code", "block_size", "double_quant"}, or None for not at all."""
    if quantization is not None:
        known = {"code", "block_size", "double_quant"}
        if quantization.keys() != known:
            raise ValueError(f"quantization must have {sorted(known)}, got {sorted(quantization)}")
        settings = dict(quantization)
        quantize_linears(model, settings.pop("code"), **settings)


def adapter_path(path: str | os.PathLike) -> Path:
    """The file that `path` means: itself, or adapter.npz in a folder. FileNotFoundError that says what is missing."""
    path = Path(path)
    if path.is_dir():
        if not (path / ADAPTER_FILE).is_file():
            raise FileNotFoundError(f"{path} holds no {ADAPTER_FILE}; finetune --out {path} writes it when it is done")
        return path / ADAPTER_FILE
    return path


def checked_notes(path: Path, file: AdapterFile) -> dict[str, Any]:
    """The notes of an adapter's file, with those that the commands rely on checked."""
    relied_on = {name: value for name, value in file.notes.items() if name in NOTES}
    return file.notes | schema.check(path, relied_on, NOTES, optional=NOTES)
