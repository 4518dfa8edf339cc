"""Several LoRAs become one, exactly: by concatenation."""

from collections.abc import Mapping

import numpy as np

from minilora import checks
from minilora.adapters.adapter import get_adapter, plain
from minilora.adapters.lora import LoRA, LoraConfig
from minilora.adapters.lora_linear import LoRALinear
from minilora.adapters.surgery import check_new_adapter, put_on
from minilora.nn.module import Module, Parameter


def combine_adapters(model: Module, weights: Mapping[str, float], adapter_name: str) -> list[str]:
    """Make a new adapter whose update is the weighted sum of others', and make it the active one; returns its paths.

    `combine_adapters(model, {"one": 1.0, "two": 0.5}, "both")` gives dW = 1.0 dW_one + 0.5 dW_two, exactly: with
    A = [A_one; A_two] and B = [1.0 s_one B_one, 0.5 s_two B_two], B A is the sum, and the rank is the sum of the ranks. A
    layer that only some of them have gets those. Scaling and adding A and B separately (PEFT's "linear") is not offered:
    (B_1 + B_2)(A_1 + A_2) has cross terms, an error as large as the update itself for unrelated adapters.
    The new adapter has no dropout. Raises ValueError, before anything is changed, for unknown names, a name in use, weights
    that are not finite, a merged model, and adapters whose update is not B A alone.
    """
    checks.instance("weights", weights, Mapping, hint="try {'one': 1.0, 'two': 0.5}")
    if not weights:
        raise ValueError("weights must name at least one adapter, got none; try {'one': 1.0, 'two': 0.5}")
    check_new_adapter(model, adapter_name)
    factors: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for name, weight in weights.items():
        weight = checks.real(f"weights[{name!r}]", weight)
        for path, part in get_adapter(model, name).parts.items():
            factors.setdefault(path, []).extend(_factors(name, part, weight))
    stacked = {
        path: (np.concatenate([A for A, _ in pairs]), np.concatenate([B for _, B in pairs], axis=1))
        for path, pairs in factors.items()
    }
    ranks = {path: len(A) for path, (A, _) in stacked.items()}
    # alpha = r everywhere, so that the scaling is 1: what each adapter's scaling was is in B.
    config = LoraConfig(
        r=max(ranks.values()),
        lora_alpha=max(ranks.values()),
        target_modules=tuple(map(plain, stacked)),
        rank_pattern={plain(path): r for path, r in ranks.items()},
        alpha_pattern={plain(path): r for path, r in ranks.items()},
    )
    parts = {path: LoRA(config, Parameter(A), Parameter(B), float(len(A))) for path, (A, B) in stacked.items()}
    return put_on(model, adapter_name, parts, LoRALinear)


def _factors(name, part, weight):
    """[(A, B), ...] whose products sum up to `weight` times the part's update."""
    if type(part) is not LoRA or part.factor is None:
        raise ValueError(
            f"weights must name LoRA adapters whose update is B A alone, got {name!r}: {type(part).__name__} with "
            f"{part.config}; merge each, or train one adapter for both"
        )
    pairs = [(part.lora_A.value, part.lora_B.value * (part.strength * weight))]
    if part.start is not None:  # its update is what it learned beyond its start
        start = part.start
        pairs.append((start.lora_A.value, start.lora_B.value * (-start.scaling * part.factor * weight)))
    return pairs
