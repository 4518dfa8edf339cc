"""From `--model` and `--adapter` to a model, its tokenizer and its template."""

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from minilora import checks, schema
from minilora.adapters import AdapterFile, load_adapter, quantize_linears, read_adapter
from minilora.assets import load_base
from minilora.data import ByteTokenizer, ChatTemplate, Layout, Template, Tokenizer
from minilora.interop import is_foreign, load_foreign, load_peft_adapter
from minilora.interop.peft_options import CONFIG as PEFT_CONFIG
from minilora.nn import Llama
from minilora.nn.files import load_model

BASE = "base"
MODELS = "base, a .npz that merge wrote, a Hugging Face folder or a .gguf file"
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
    """A model ready to be asked. `template`: how its inputs are laid out. `notes`: how its adapter was trained, {} without
    one."""

    model: Llama
    tokenizer: Tokenizer
    template: Layout
    notes: dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --model and --adapter."""
    parser.add_argument("--model", metavar="MODEL", help=f"{MODELS} (default: what the adapter was trained on)")
    parser.add_argument("--adapter", metavar="PATH", help="an adapter's file, the folder of a run, or a folder of PEFT")


def open_model(model: str, quantization: dict[str, Any] | None = None) -> Opened:
    """The model that `--model` names, with its tokenizer and template. ValueError that says what there is for anything else.

    `quantization`: {"code", "block_size", "double_quant"}, or None. A folder or GGUF file is quantized as it is read, so
    that it is never whole in float32.
    """
    quantization = checked_quantization(quantization)
    if model == BASE:
        opened, tokenizer = load_base(), ByteTokenizer()
    elif Path(model).suffix == ".npz":
        opened, _ = load_model(model)
        tokenizer = ByteTokenizer()
        if opened.config.vocab_size != tokenizer.vocab_size:
            raise ValueError(f"{model} has {opened.config.vocab_size} tokens, and its tokenizer is not known here")
    elif is_foreign(model):
        return Opened(*load_foreign(model, quantize=quantization), {})
    elif Path(model).is_dir():
        raise ValueError(f"--model must be {MODELS}; {model!r} is a folder without config.json")
    else:
        raise ValueError(f"--model must be {MODELS}; got {model!r}")
    if quantization is not None:
        quantize_linears(opened, **quantization)
    return Opened(opened, tokenizer, Template.suited_to(tokenizer), {})


def open_with_adapter(model: str | None, adapter: str | None) -> Opened:
    """The model with the adapter on: quantized as it was in training, and with its template."""
    if adapter is None:
        return open_model(model or BASE)
    if (Path(adapter) / PEFT_CONFIG).is_file():
        if model is None:
            raise ValueError(f"--model must be given for {adapter}: PEFT's files do not hold the base")
        opened = open_model(model)
        load_peft_adapter(opened.model, adapter)
        return opened
    path = adapter_path(adapter)
    file = read_adapter(path)
    notes = checked_notes(path, file)
    opened = open_model(model or notes.get("model", BASE), notes.get("quantization"))
    load_adapter(opened.model, path)
    pattern = notes.get("template")
    return opened._replace(template=opened.template if pattern is None else to_template(pattern), notes=notes)


def to_template(pattern: str) -> Template | ChatTemplate:
    """The template that a pattern stands for: "chatml", "chatml:You are kind.", or a layout such as "{input}{target}"."""
    return ChatTemplate.from_pattern(pattern) or Template(pattern)


def chat_template(opened: Opened) -> ChatTemplate:
    """The template for a conversation: what the adapter was trained with, or the model's own. ValueError if neither is one."""
    source = getattr(opened.tokenizer, "chat_template", None)
    own = None if source is None else ChatTemplate.from_jinja(source)
    template = opened.template if isinstance(opened.template, ChatTemplate) else own
    if template is None:
        raise ValueError("a conversation needs a model with a chat template (ChatML), got one without; use generate")
    return template


def checked_quantization(quantization: dict[str, Any] | None) -> dict[str, Any] | None:
    """`quantization` if it has {"code", "block_size", "double_quant"} and no more, or is None."""
    if quantization is not None and quantization.keys() != (known := {"code", "block_size", "double_quant"}):
        raise ValueError(f"quantization must have {sorted(known)}, got {sorted(quantization)}")
    return quantization


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
