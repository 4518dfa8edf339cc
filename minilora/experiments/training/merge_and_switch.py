"""What do merging, unmerging and switching cost, and what do they leave of the bits?"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np

from minilora.adapters import (
    LoraConfig,
    apply_lora,
    combine_adapters,
    linear_paths,
    merge_lora,
    quantize_linears,
    set_adapter,
    unmerge_lora,
)
from minilora.assets import load_base
from minilora.nn import Llama, generate

# Times are this machine's: a check compares them to a factor. What is exact is exact everywhere.
TOLERANCE = {"rtol": 1.0, "atol": 2.0, "overrides": {"equal": {"rtol": 0, "atol": 0}}}
SIZE = 0.1  # |dW| / |W| of the adapters whose bits are compared


@dataclass(frozen=True)
class Config:
    r: int = 8
    batch_size: int = 8
    length: int = 128
    prompt: int = 32
    new_tokens: int = 32
    rounds: int = 21
    switches: int = 100
    merges: tuple[int, ...] = (1, 3, 10, 30, 100)
    seeds: tuple[int, ...] = (0, 1, 2)


def run(config: Config = Config(), each: Callable = map) -> dict:
    """ "models": milliseconds of a "forward" and of each generated "token" by model, medians over alternating rounds.
    "operations": milliseconds of each. "bits": what is left after switching, merging and combining, a list over seeds.
    """
    bits = list(each(exactness, [(config, seed) for seed in config.seeds]))
    return {
        **{key: getattr(config, key) for key in ("r", "batch_size", "length", "new_tokens", "switches")},
        "merges": list(config.merges),
        "models": models_timed(config),
        "operations": operations_timed(config),
        "bits": {key: [found[key] for found in bits] for key in bits[0]},
    }


def with_adapters(config: Config, names: tuple[str, ...], *, code: str | None = None, seed: int = 0) -> Llama:
    """The base (in four bits with `code`) with adapters of `SIZE` on all linear layers, the last of them active."""
    model, rng = load_base(), np.random.default_rng(seed)
    if code is not None:
        quantize_linears(model, code, double_quant=True)
    for name in names:
        apply_lora(model, LoraConfig(r=config.r, target_modules="all-linear"), rng=rng, adapter_name=name)
        for layer in linear_paths(model).values():
            part = layer.adapters[name]
            part.lora_B.value[...] = rng.standard_normal(part.lora_B.shape)
            part.lora_B.value *= SIZE * np.linalg.norm(layer.base_layer.dense_weight()) / np.linalg.norm(part.update())
    return model


def models_timed(config: Config) -> dict[str, dict[str, float]]:
    """Each model in turn, round after round, so that whatever else the machine does falls on all of them."""

    def merged(code=None):
        model = with_adapters(config, ("one",), code=code)
        merge_lora(model, keep_unmerged=False)
        return model

    combined = with_adapters(config, ("one", "two"))
    combine_adapters(combined, {"one": 1.0, "two": 0.5}, "both")
    in_four_bits = load_base()
    quantize_linears(in_four_bits, "nf4", double_quant=True)
    models = {
        "base": load_base(),
        "LoRA beside": with_adapters(config, ("one",)),
        "LoRA merged": merged(),
        "two, one active": with_adapters(config, ("one", "two")),
        "two combined": combined,
        "NF4 base": in_four_bits,
        "NF4, LoRA beside": with_adapters(config, ("one",), code="nf4"),
        "NF4, merged in float": merged("nf4"),
    }
    ids = np.random.default_rng(0).integers(32, 127, (config.batch_size, config.length))
    seconds = {name: {"forward": [], "token": []} for name in models}
    for _ in range(config.rounds):
        for name, model in models.items():
            seconds[name]["forward"].append(timed(lambda model=model: model(ids, inference=True)))
            prompt = ids[:1, : config.prompt]
            # The layers as they are: a Decoder would merge LoRA into its copy.
            whole = timed(lambda model=model, prompt=prompt: generate(model, prompt, config.new_tokens, decoder=False))
            seconds[name]["token"].append(whole / config.new_tokens)
    return {name: {job: 1e3 * median(times) for job, times in jobs.items()} for name, jobs in seconds.items()}


def operations_timed(config: Config) -> dict[str, float]:
    """Milliseconds of each operation on a model with two adapters, medians."""
    model = with_adapters(config, ("one", "two"))
    seconds: dict[str, list[float]] = {}
    for i in range(config.rounds):
        for name, work in {
            "switch": lambda i=i: set_adapter(model, ("one", "two")[i % 2]),
            "merge": lambda: merge_lora(model),
            "unmerge": lambda: unmerge_lora(model),
            "combine two": lambda i=i: combine_adapters(model, {"one": 1.0, "two": 0.5}, f"both {i}"),
        }.items():
            seconds.setdefault(name, []).append(timed(work))
    return {name: 1e3 * median(times) for name, times in seconds.items()}


def timed(work: Callable) -> float:
    """Seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def exactness(item: tuple[Config, int]) -> dict[str, bool | float | list[float]]:
    """What one pair of adapters leaves of the bits.

    "switched_equal": logits after many switches, and "base_equal": the weights. "merged_off": the largest difference of
    logits, merged to beside, over the largest logit. "unmerged_equal": weights and logits after many merges taken back.
    "subtracted_off": the same by adding and subtracting dW, as PEFT does it: RMS of what is off over the weights' RMS, after
    each of `merges`. "combined_off", "linear_off": error of the update of two adapters combined, by concatenation and by
    adding A and B separately.
    """
    config, seed = item
    rng = np.random.default_rng(seed)
    model = with_adapters(config, ("one", "two"), seed=seed)
    ids = rng.integers(32, 127, (2, 32))
    weights = {path: layer.base_layer.dense_weight().copy() for path, layer in linear_paths(model).items()}
    set_adapter(model, "one")
    first = model(ids, inference=True)[0]
    updates = {path: layer.adapters["one"].update() for path, layer in linear_paths(model).items()}
    for i in range(config.switches):
        set_adapter(model, ("two", "one")[i % 2])
    set_adapter(model, "one")
    switched = model(ids, inference=True)[0]
    merge_lora(model)
    merged = model(ids, inference=True)[0]
    unmerge_lora(model)
    for _ in range(max(config.merges) - 1):
        merge_lora(model)
        unmerge_lora(model)
    after = model(ids, inference=True)[0]
    kept = {path: layer.base_layer.dense_weight() for path, layer in linear_paths(model).items()}
    return {
        "switched_equal": bool(np.array_equal(first, switched)),
        "base_equal": all(np.array_equal(weights[path], kept[path]) for path in weights),
        "merged_off": float(np.abs(merged - first).max() / np.abs(first).max()),
        "unmerged_equal": bool(np.array_equal(first, after)),
        "subtracted_off": [subtracted(weights, updates, times) for times in config.merges],
        **combined(model),
    }


def subtracted(weights: dict[str, np.ndarray], updates: dict[str, np.ndarray], times: int) -> float:
    """RMS of what W + dW - dW, `times` over, is off W, over W's RMS. Each time another adapter: the update, rolled on.

    (The same update again would change nothing more: what the first sum rounds to comes back.)
    """
    off = total = 0.0
    for path, weight in weights.items():
        w = weight.copy()
        for i in range(times):
            dW = np.roll(updates[path], i)
            w += dW
            w -= dW
        off += float(np.sum((w - weight).astype(np.float64) ** 2))
        total += float(np.sum(weight.astype(np.float64) ** 2))
    return (off / total) ** 0.5


def combined(model: Llama) -> dict[str, float]:
    """Errors of one + two, relative to the wanted update, over all layers."""
    wanted, crossed = {}, {}
    for path, layer in linear_paths(model).items():
        one, two = (layer.adapters[name] for name in ("one", "two"))
        wanted[path] = one.update() + two.update()
        crossed[path] = (one.lora_B.value + two.lora_B.value) @ (one.lora_A.value + two.lora_A.value) * one.strength
    combine_adapters(model, {"one": 1.0, "two": 1.0}, "both")
    exact = {path: layer.adapters["both"].update() for path, layer in linear_paths(model).items()}
    norm = sum(float(np.sum(w**2)) for w in wanted.values())
    errors = [
        (sum(float(np.sum((made[path] - w) ** 2)) for path, w in wanted.items()) / norm) ** 0.5
        for made in (exact, crossed)
    ]
    return dict(zip(("combined_off", "linear_off"), errors, strict=True))
