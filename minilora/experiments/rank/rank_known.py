"""Does LoRA find a change of known rank? A linear teacher, and the best that any rank can do (Eckart & Young 1936)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora.adapters import LoraConfig, LoRALinear
from minilora.nn import Linear
from minilora.training import AdamW, lr_factor

TOLERANCE = {"rtol": 0.02, "atol": 1e-4}


@dataclass(frozen=True)
class Config:
    in_features: int = 64
    out_features: int = 48
    true_rank: int = 8
    decay: float = 0.8
    ranks: tuple[int, ...] = (1, 2, 4, 6, 8, 10, 12, 16, 24)
    steps: int = 1500
    learning_rate: float = 0.02
    seeds: tuple[int, ...] = (0, 1, 2)


def run(config: Config = Config(), each: Callable = map) -> dict:
    """Left-over share |dW - s B A|^2 / |dW|^2 by rank: LoRA's for each seed, and the bound from the SVD of dW."""
    items = [(config, kind, seed) for kind in ("known", "decaying") for seed in config.seeds]
    numbers: dict = {"ranks": list(config.ranks), "true_rank": config.true_rank, "decay": config.decay}
    for (_, kind, _), result in zip(items, each(_teacher, items), strict=True):
        entry = numbers.setdefault(kind, {"fit": [], "bound": []})
        entry["fit"].append(result["fit"])
        entry["bound"].append(result["bound"])
    return numbers


def teacher(kind: str, config: Config, rng: np.random.Generator) -> np.ndarray:
    """A change dW = U diag(s) Vt: "known" has `true_rank` equal singular values, "decaying" has decay^i.    (out, in)"""
    n = min(config.in_features, config.out_features)
    u, _ = np.linalg.qr(rng.standard_normal((config.out_features, n)))
    v, _ = np.linalg.qr(rng.standard_normal((config.in_features, n)))
    s = (np.arange(n) < config.true_rank).astype(float) if kind == "known" else config.decay ** np.arange(n)
    return (u * s) @ v.T


def bound(change: np.ndarray, ranks: tuple[int, ...]) -> list[float]:
    """What rank r must leave over at the least: the share of squared singular values beyond the r-th."""
    squares = np.linalg.svd(change, compute_uv=False) ** 2
    return [float(squares[r:].sum() / squares.sum()) for r in ranks]


def fit(change: np.ndarray, r: int, config: Config, rng: np.random.Generator) -> float:
    """Train a LoRALinear on the teacher's outputs; returns the share of `change` that is left over.

    The inputs are the unit vectors, each once: isotropic, so that the squared output error is |dW - s B A|^2 itself.
    """
    weight = rng.standard_normal(change.shape) / np.sqrt(config.in_features)
    layer = LoRALinear(Linear.from_weight(weight, trainable=False))
    layer.add_adapter("default", LoraConfig(r=r, lora_alpha=r), rng=rng)
    x = np.eye(config.in_features)
    target = x @ (weight + change).T
    optimizer = AdamW([layer.lora_A, layer.lora_B], lr=config.learning_rate, weight_decay=0.0)
    for step in range(config.steps):
        optimizer.groups[0]["lr"] = config.learning_rate * lr_factor(step, max_steps=config.steps)
        optimizer.zero_grad()
        y, backward = layer(x)
        # loss = |y - target|^2 / 2   =>  dy = y - target
        backward(y - target)
        optimizer.step()
    return float(np.sum((change - layer.delta_weight()) ** 2) / np.sum(change**2))


def _teacher(item):
    config, kind, seed = item
    change = teacher(kind, config, np.random.default_rng([seed, 0]))
    fits = [fit(change, r, config, np.random.default_rng([seed, r])) for r in config.ranks]
    return {"fit": fits, "bound": bound(change, config.ranks)}
