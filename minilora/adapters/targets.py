"""Which layers are meant? PEFT's three ways of naming them."""

import re

from minilora import checks
from minilora.nn.layers import LinearFace
from minilora.nn.llama import Llama

ALL_LINEAR = "all-linear"
HEAD = "lm_head"


def linear_paths(model: Llama) -> dict[str, LinearFace]:
    """Every linear layer by its path, the outermost of a nest (a LoRALinear, not the base within it)."""
    found = {}
    for path, module in model.named_modules():
        inside = any(path.startswith(outer + ".") for outer in found)
        if isinstance(module, LinearFace) and not inside:
            found[path] = module
    return found


def match_targets(model: Llama, target_modules: str | tuple[str, ...]) -> dict[str, LinearFace]:
    """The linear layers meant by `target_modules`, by path.

    A tuple of names: each matches a path that is the name or ends in "." + name. A str: "all-linear" (all but the
    head), else a regular expression for the whole path. ValueError, with the paths there are, for a name or expression
    that matches nothing.
    """
    layers = linear_paths(model)
    if isinstance(target_modules, str):
        if target_modules == ALL_LINEAR:
            return {path: layer for path, layer in layers.items() if path != HEAD}
        try:
            pattern = re.compile(target_modules)
        except re.error as error:
            raise ValueError(f"target_modules must be a regular expression, got {target_modules!r}: {error}") from error
        chosen = {path: layer for path, layer in layers.items() if pattern.fullmatch(path)}
        unknown = [] if chosen else [target_modules]
    else:
        checks.strings("target_modules", target_modules, hint="try ('q_proj', 'v_proj') or 'all-linear'")
        unknown = [name for name in target_modules if not any(ends_in(path, name) for path in layers)]
        chosen = {path: layer for path, layer in layers.items() if any(ends_in(path, t) for t in target_modules)}
    if unknown or not chosen:
        raise ValueError(
            f"target_modules must match linear layers, but {unknown or target_modules!r} match none; "
            f"there are: {', '.join(layers)}"
        )
    return chosen


def ends_in(path: str, name: str) -> bool:
    """Is `path` the name, or does it end in it at a dot?"""
    return path == name or path.endswith("." + name)
