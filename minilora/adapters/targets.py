"""Which layers are meant? PEFT's three ways of naming them."""

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from minilora import checks
from minilora.adapters.adapter import plain
from minilora.nn.layers import LinearFace
from minilora.nn.module import Module

ALL_LINEAR = "all-linear"
HEAD = "lm_head"
T = TypeVar("T")


def linear_paths(model: Module) -> dict[str, LinearFace]:
    """Every linear layer by its path, the outermost of a nest (a LoRALinear, not the base within it).

    TypeError unless `model` is a Module.
    """
    checks.instance("model", model, Module, hint="pass a Llama, or any Module with linear layers")
    layers: dict[str, LinearFace] = {}
    for path, module in model.named_modules():
        inside = any(path.startswith(outer + ".") for outer in layers)
        if isinstance(module, LinearFace) and not inside:
            layers[path] = module
    return layers


def match_targets(model: Module, target_modules: str | Sequence[str]) -> dict[str, LinearFace]:
    """The linear layers meant by `target_modules`, by path.

    A list or tuple of names: each matches a path that is the name or ends in "." + name. A str: "all-linear" (all but the
    head), else a regular expression for the whole path. ValueError, with the paths there are, for a name or expression
    that matches nothing. Paths are matched as they are in the bare model, without the "base_layer" of what is wrapped.
    """
    layers = linear_paths(model)
    if isinstance(target_modules, str):
        unknown = []
        if target_modules == ALL_LINEAR:
            chosen = {path: layer for path, layer in layers.items() if path != HEAD}
        else:
            pattern = _compiled(target_modules)
            chosen = {path: layer for path, layer in layers.items() if pattern.fullmatch(plain(path))}
    else:
        names = checks.strings("target_modules", target_modules, hint="try ('q_proj', 'v_proj') or 'all-linear'")
        unknown = [name for name in names if not any(ends_in(plain(path), name) for path in layers)]
        chosen = {path: layer for path, layer in layers.items() if any(ends_in(plain(path), name) for name in names)}
    if unknown or not chosen:
        raise ValueError(
            f"target_modules must match linear layers, but {unknown or target_modules!r} match none; "
            f"there are: {', '.join(map(plain, layers)) or 'none'}"
        )
    return chosen


def ends_in(path: str, name: str) -> bool:
    """Is `path` the name, or does it end in it at a dot? "self_attn.q_proj" ends in "q_proj", not in "proj"."""
    return path == name or path.endswith("." + name)


def pattern_value(pattern: Mapping[str, T], path: str, default: T) -> T:
    """What `rank_pattern` or `alpha_pattern` says for a path (the first key that the path ends in), or the default."""
    return next((value for key, value in pattern.items() if ends_in(plain(path), key)), default)


def _compiled(expression):
    try:
        return re.compile(expression)
    except re.error as error:
        raise ValueError(f"target_modules must be a regular expression, got {expression!r}: {error}") from error
