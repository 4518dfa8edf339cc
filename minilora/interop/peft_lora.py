"""A LoRA as PEFT writes it, and ours. PEFT's paths begin with "model."; its patterns are regular expressions."""

import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from minilora import checks
from minilora.adapters import LoraConfig, inits, linear_paths, match_targets
from minilora.adapters.adapter import InstalledAdapter, plain
from minilora.adapters.lora_linear import bare
from minilora.adapters.targets import ALL_LINEAR, HEAD, ends_in, pattern_value
from minilora.adapters.variants import DoRA
from minilora.interop.peft_options import CONFIG, WEIGHTS, Settings, Tensors, refuse_unknown
from minilora.nn import Llama
from minilora.nn.layers import LinearFace

PREFIX = "base_model.model."  # of every tensor's name: the model within PEFT's model
MODEL = "model."  # of every path but the head's: the body within transformers' model

UNDERSTOOD = {
    "alpha_pattern",
    "eva_config",  # how EVA found a start, which is in the file
    "exclude_modules",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "r",
    "rank_pattern",
    "target_modules",
    "use_dora",
    "use_rslora",
}
# How A and B may have started. OLoRA, CorDA and LoftQ are not among them: they changed the base, and how is not in the
# file. PiSSA changed it as well, but what it took can be computed again.
STARTS = (True, False, "gaussian", "orthogonal", "eva", "pissa")


def read_lora(model: Llama, settings: Settings, tensors: Tensors) -> tuple[LoraConfig, dict[str, np.ndarray]]:
    """(config, arrays by our names) of a LoRA that PEFT wrote. ValueError for an option that is not built here."""
    refuse_unknown(settings, UNDERSTOOD)
    _check_names(settings)
    start = settings.get("init_lora_weights", True)
    if start not in STARTS:
        raise ValueError(
            f"init_lora_weights must be one of {', '.join(map(repr, STARTS))}, got {start!r}, which has changed the base; "
            "save it with path_initial_model_for_weight_conversion, as a LoRA for the base as it was"
        )
    paths = [plain(path) for path in linear_paths(model)]
    chosen = [path for path in paths if is_target(settings, MODEL * (path != HEAD) + path)]
    if not chosen:
        options = ("exclude_modules", "layers_to_transform", "layers_pattern")
        narrower = [name for name in options if settings.get(name) not in (None, [], "")]
        raise ValueError(
            f"target_modules {settings.get('target_modules')!r}"
            + "".join(f" with {name} {settings[name]!r}" for name in narrower)
            + " match no linear layer of the model"
        )
    r, alpha = settings.get("r", 8), settings.get("lora_alpha", 8)
    config = LoraConfig(
        r=r,
        lora_alpha=alpha,
        target_modules=short(chosen, paths),
        lora_dropout=settings.get("lora_dropout", 0.0),
        use_rslora=settings.get("use_rslora", False),
        use_dora=settings.get("use_dora", False),
        init_lora_weights=start if start in ("gaussian", "pissa") else True,
        rank_pattern=_by_path(settings, "rank_pattern", chosen, r),
        alpha_pattern=_by_path(settings, "alpha_pattern", chosen, alpha),
    )
    arrays = {}
    for name, tensor in tensors.items():
        path = name.removeprefix(PREFIX).removeprefix(MODEL).removesuffix(".weight")
        if path in ("embed_tokens", HEAD, f"{HEAD}.base_layer"):
            _check_base(model, path, tensor.read(model.dtype))
        else:
            arrays[path] = tensor.read(model.dtype)
    if start == "pissa":
        arrays |= _pissa_start(model, config)
    return config, arrays


def write_lora(model: Llama, adapter: InstalledAdapter) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(settings, arrays by PEFT's names) of a LoRA; rank and alpha of each layer are those that it acts with.

    PiSSA is written as a LoRA for the base as it was, of twice the rank: what it has learned, less what it started with.
    ValueError for LoftQ, whose base is another one, for DoRA that started inside the weight, and for whole layers.
    """
    config: LoraConfig = adapter.config
    if config.modules_to_save:
        raise ValueError(
            f"modules_to_save must be empty to be written for PEFT, got {config.modules_to_save}; merge_lora(model, "
            "keep_unmerged=False) and save the model whole, or keep minilora's own file (save_adapter)"
        )
    arrays, ranks, alphas = {}, {}, {}
    for path, part in adapter.parts.items():
        name = _theirs(plain(path))
        A, B = _for_the_whole_base(part)
        arrays[f"{PREFIX}{name}.lora_A.weight"], arrays[f"{PREFIX}{name}.lora_B.weight"] = A, B
        if config.use_dora:
            arrays[f"{PREFIX}{name}.lora_magnitude_vector"] = part.lora_magnitude_vector.value
        ranks[name] = len(A)
        alpha = part.strength * (math.sqrt(len(A)) if config.use_rslora else len(A))
        alphas[name] = round(alpha) if math.isclose(alpha, round(alpha), rel_tol=1e-12) else alpha
    (r, _), (alpha, _) = Counter(ranks.values()).most_common(1)[0], Counter(alphas.values()).most_common(1)[0]
    chosen, paths = list(map(plain, adapter.parts)), list(map(plain, linear_paths(model)))
    targets = short(chosen, paths, all_linear=False)
    settings = {
        "r": r,
        "lora_alpha": alpha,
        "rank_pattern": {re.escape(name): value for name, value in ranks.items() if value != r},
        "alpha_pattern": {re.escape(name): value for name, value in alphas.items() if value != alpha},
        "target_modules": [_theirs(target) if target in paths else target for target in targets],
        "lora_dropout": config.lora_dropout,
        "use_rslora": config.use_rslora,
        "use_dora": config.use_dora,
        "init_lora_weights": True,
        "bias": "none",
        "fan_in_fan_out": False,
    }
    return settings, arrays


def _pissa_start(model, config):
    """What PiSSA took from each weight at first, under our names: the best approximation of its rank, as PEFT takes it."""
    arrays = {}
    for path, layer in match_targets(model, config.target_modules).items():
        r = pattern_value(config.rank_pattern, path, config.r)
        scaling = config.scaling(r, pattern_value(config.alpha_pattern, path, config.lora_alpha))
        for name, array in zip("AB", inits.pissa(bare(layer).dense_weight(), r, scaling), strict=True):
            arrays[f"{plain(path)}.start.lora_{name}"] = array.astype(model.dtype)
    return arrays


def _for_the_whole_base(part):
    """A (r, in) and B (out, r) so that `strength` B A is the part's whole update of the weight that was there before it."""
    A, B, start = part.lora_A.value, part.lora_B.value, part.start
    if start is None:
        return A, B
    if start.quantization is not None or isinstance(part, DoRA):
        raise ValueError(
            "adapter_name must name a LoRA beside the base as it is, got one that started inside the weight with "
            f"{'DoRA' if isinstance(part, DoRA) else start.quantization}; merge_lora and save_llama write the whole model"
        )
    share = start.scaling * part.factor / part.strength
    return np.concatenate([A, start.lora_A.value]), np.concatenate([B, start.lora_B.value * -share], axis=1)


def is_target(settings: Settings, path: str) -> bool:
    """Does PEFT's config mean the linear layer at `path` ("model.layers.0.self_attn.q_proj")?"""
    excluded = settings.get("exclude_modules")
    if excluded and _named("exclude_modules", excluded, path):
        return False
    targets = settings.get("target_modules")
    if isinstance(targets, str) and targets.lower() == ALL_LINEAR:
        return path != HEAD
    if not targets or not _named("target_modules", targets, path):
        return False
    layers = settings.get("layers_to_transform")
    if isinstance(targets, str) or layers is None or layers == []:
        return True
    patterns = settings.get("layers_pattern") or r"[^.]*"
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        if match := _match(rf"(?:^|.*?\.){pattern}\.(\d+)\.", path, "layers_pattern", re.match):
            return int(match[1]) in ([layers] if isinstance(layers, int) else layers)
    return False


def short(chosen: list[str], paths: list[str], all_linear: bool = True) -> str | tuple[str, ...]:
    """The chosen ones of all `paths` in few words: "all-linear", last names where they say it all, or the paths."""
    if all_linear and set(chosen) == {path for path in paths if path != HEAD}:
        return ALL_LINEAR
    names = tuple(dict.fromkeys(path.rpartition(".")[2] for path in chosen))
    meant = [path for path in paths if any(ends_in(path, name) for name in names)]
    return names if set(meant) == set(chosen) else tuple(chosen)


def _check_names(settings):
    """TypeError for what names layers in a type that PEFT does not write."""
    examples = {
        "target_modules": '["q_proj", "v_proj"]',
        "exclude_modules": '["lm_head"]',
        "layers_pattern": '"layers"',
    }
    for name, example in examples.items():
        value = settings.get(name)
        names = value if isinstance(value, list) else [value]
        if value is not None and not all(isinstance(item, str) for item in names):
            raise TypeError(
                f"{name} of {CONFIG} must be a str or a list of str, got {checks.shown(value)}; "
                f"try {example}, or null for none"
            )
    layers = settings.get("layers_to_transform")
    indices = layers if isinstance(layers, list) else [layers]
    if layers is not None and any(isinstance(i, bool) or not isinstance(i, int) for i in indices):
        raise TypeError(
            f"layers_to_transform of {CONFIG} must be an int or a list of int, got {checks.shown(layers)}; "
            "try [0, 1], or null for all layers"
        )


def _check_base(model, path, weight):
    """PEFT writes the weights of embedding and head along where one is a target. They must be those that are here."""
    layer = bare(model.get_submodule(path.removesuffix(".base_layer")))
    mine = layer.dense_weight() if isinstance(layer, LinearFace) else layer.weight.value
    if not np.array_equal(mine, weight):
        raise ValueError(f"{path} in {WEIGHTS} differs from the model's: the adapter belongs to another base")


def _theirs(path):
    return path if path == HEAD else MODEL + path


def _named(option, names, path):
    """A str is a regular expression for the whole path, a list holds ends of it."""
    if isinstance(names, str):
        return _match(names, path, option, re.fullmatch) is not None
    return any(ends_in(path, name) for name in names)


def _by_path(settings: Settings, option: str, chosen: Iterable[str], default: Any) -> dict[str, Any]:
    """What a pattern says for each path, where that is not the default: the first key that matches counts, as in PEFT."""
    pattern = checks.instance(option, settings.get(option) or {}, dict)
    values = {}
    for path in chosen:
        for key, value in pattern.items():
            if _match(rf"(.*\.)?({key})$", _theirs(path), f"a key of {option}", re.match):
                if value != default:
                    values[path] = value
                break
    return values


def _match(expression, path, option, how):
    try:
        return how(expression, path)
    except (re.error, OverflowError, RecursionError) as error:  # the latter for what is beyond re's limits
        raise ValueError(f"{option} must be a regular expression, got {expression!r}: {error}") from error
