"""The options of every method, made from its config: a method that is registered appears here by itself."""

import argparse
import dataclasses
import json
import typing
from collections.abc import Mapping
from typing import Any

from minilora.adapters import METHODS

# What finetune starts from where it differs from the config's own defaults: the recipe of figures/finetune_defaults.json.
DEFAULTS: dict[str, dict[str, Any]] = {"lora": {"r": 32, "lora_dropout": 0.3, "target_modules": "all-linear"}}
FOLLOWS = {"lora": {"lora_alpha": "r"}}  # the recipe has alpha = r: --r alone changes the rank, not the strength
DECAY = 0.5  # the same recipe's; see default_decay
RATE = 6e-3  # LoRA's, the same recipe's
# Where finetune's rate starts with what is not LoRA: the middle of the best on the three sets of figures/methods.json, under its
# names. Those come from 120 steps of 16 records on the base, not from finetune's own 600 steps of 32 (for which LoRA's recipe was
# chosen): longer runs may want another, and so may another model.
LEARNING_RATES = {
    "bottleneck": 0.012,
    "prefix": 0.2,
    "prefix by an MLP": 0.01,
    "prompt": 0.4,
    "last block": 0.008,
    "norms": 0.24,
    "full, same linears": 0.002,
    "full": 0.002,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --method, and one option per field of the methods' configs."""
    parser.add_argument(
        "--method", choices=tuple(METHODS), help="what is trained instead of the weights (default: lora)"
    )
    for name, methods in _fields().items():
        hint = typing.get_type_hints(METHODS[methods[0][0]].config)[name]
        defaults = [f"{_default(method, field)} for {method}" for method, field in methods]
        text = f"of {', '.join(method for method, _ in methods)}" if len(methods) < len(METHODS) else ""
        shown = defaults[0].split(" for ")[0] if len(defaults) == 1 else ", ".join(defaults)
        parser.add_argument(_flag(name), **_kind(name, hint), help=f"{text} (default: {shown})".strip())


def given(args: argparse.Namespace) -> dict[str, Any]:
    """The options of methods that were given on the command line, by field."""
    return {name: getattr(args, name) for name in _fields() if getattr(args, name) is not None}


def config_of(method: str, values: dict[str, Any]) -> Any:
    """The method's config from options by field. ValueError for one that belongs to another method."""
    fields = [field.name for field in dataclasses.fields(METHODS[method].config)]
    if others := [_flag(name) for name in values if name not in fields]:
        raise ValueError(
            f"--method {method} has no {', '.join(others)}; it has {', '.join(_flag(name) for name in fields)}"
        )
    values = DEFAULTS.get(method, {}) | values
    followed = {name: values[other] for name, other in FOLLOWS.get(method, {}).items()}
    return METHODS[method].config(**followed | values)


def default_rate(method: str, config: Any) -> float:
    """The learning rate that finetune starts with: what suits LoRA is far too little for a prompt."""
    name = method
    if method == "prefix" and config.prefix_projection:
        name = "prefix by an MLP"
    elif method == "partial":
        name = "last block" if config.last_blocks else "norms"
    elif method == "full" and config.target_modules is not None:
        name = "full, same linears"
    return LEARNING_RATES.get(name, RATE)


def shown_rates() -> str:
    """The rates that the methods start with, as help shows them."""
    rates = {name: default_rate(name, method.config()) for name, method in METHODS.items()}
    return ", ".join(f"{rate:g} for {name}" for name, rate in rates.items())


def default_decay(method: str, config: Any) -> float:
    """The weight decay that finetune starts with: the recipe's, but 0 where it would wear down what the model knows already.

    Decay pulls towards 0. Where B starts at 0 that is the base itself; PiSSA and LoftQ move part of the base's weights
    into A and B, and modules_to_save are weights of the base. With the other methods no decay was tried.
    """
    starts_at_the_base = (
        method == "lora" and config.init_lora_weights in (True, "gaussian") and not config.modules_to_save
    )
    return DECAY if starts_at_the_base else 0.0


def _fields() -> dict[str, list[tuple[str, dataclasses.Field]]]:
    fields: dict[str, list[tuple[str, dataclasses.Field]]] = {}
    for name, method in METHODS.items():
        for field in dataclasses.fields(method.config):
            fields.setdefault(field.name, []).append((name, field))
    return fields


def _kind(name: str, hint: Any) -> dict[str, Any]:
    """How argparse reads an option, by the type of its field."""
    kinds = set(typing.get_args(hint)) or {hint}
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    shapes = {typing.get_origin(kind) or kind for kind in kinds | {hint}}
    if shapes & {dict, Mapping} or any(dataclasses.is_dataclass(shape) for shape in shapes):
        return {"type": _mapping, "metavar": "JSON"}
    if tuple in shapes:
        numbers = any(int in typing.get_args(kind) for kind in kinds | {hint} if typing.get_origin(kind) is tuple)
        return {"type": _numbers, "metavar": "N,N"} if numbers else {"type": _names, "metavar": "NAMES"}
    for kind in (float, int):
        if kind in kinds:
            return {"type": kind, "metavar": "N" if kind is int else "X"}
    return {"type": _word, "metavar": "WORD"}


def _names(text: str) -> str | tuple[str, ...]:
    """ "q_proj,v_proj" is a tuple of names; "all-linear" and what holds the signs of a regular expression is one str."""
    if text == "all-linear" or any(sign in text for sign in "*+?[](){}|^$\\"):
        return text
    return tuple(name.strip() for name in text.split(","))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _word(text: str) -> str | bool | None:
    return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def _mapping(text: str) -> dict[str, Any]:
    value = json.loads(text)  # argparse reports a ValueError
    if not isinstance(value, dict):
        raise ValueError(f"must be a JSON object, got {text!r}")
    return value


def _default(method: str, field: dataclasses.Field) -> str:
    if field.name in FOLLOWS.get(method, {}):
        return f"as --{FOLLOWS[method][field.name]}"
    if field.name in DEFAULTS.get(method, {}):
        value = DEFAULTS[method][field.name]
    elif field.default is not dataclasses.MISSING:
        value = field.default
    else:
        value = field.default_factory()
    return (",".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
