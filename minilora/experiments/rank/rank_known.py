"""Does LoRA find a change of known rank? A linear teacher, and the best that any rank can do (Eckart & Young 1936).

Where all directions of the input count alike, the best update of rank r is the truncated SVD of the change, by construction.
Where they do not, what counts is the error of the output, and another update is better: the truncated SVD of dW S^1/2, with S the
inputs' covariance, taken back by S^-1/2.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora.adapters import LoraConfig, LoRALinear
from minilora.nn import Linear
from minilora.training import AdamW, lr_factor

TOLERANCE = {"rtol": 0.02, "atol": 1e-4}
KINDS = ("known", "decaying", "correlated")


@dataclass(frozen=True)
class Config:
    in_features: int = 64
    out_features: int = 48
    true_rank: int = 8
    decay: float = 0.8
    spread: float = 0.9  # of correlated inputs: each axis has so much of the standard deviation of the one before
    ranks: tuple[int, ...] = (1, 2, 4, 6, 8, 10, 12, 16, 24)
    steps: int = 1500
    learning_rate: float = 0.02
    seeds: tuple[int, ...] = (0, 1, 2)


def run(config: Config = Config(), each: Callable = map) -> dict:
    """Share of the output's squared error that is left over, |x (dW - s B A)^T|^2 / |x dW^T|^2, by rank, a list over seeds.

    "fit": LoRA's; "bound": the least that is possible; "truncated": what the truncated SVD of dW leaves. "known" and "decaying" have
    isotropic inputs; "correlated" is the decaying change with inputs of falling spread.
    """
    items = [(config, kind, seed) for kind in KINDS for seed in config.seeds]
    numbers: dict = {"ranks": list(config.ranks), "true_rank": config.true_rank}
    numbers |= {"decay": config.decay, "spread": config.spread}
    for (_, kind, _), result in zip(items, each(_teacher, items), strict=True):
        entry = numbers.setdefault(kind, {name: [] for name in result})
        for name, shares in result.items():
            entry[name].append(shares)
    return numbers


def teacher(kind: str, config: Config, rng: np.random.Generator) -> np.ndarray:
    """A change dW = U diag(s) Vt: "known" has `true_rank` equal singular values, the others decay^i.    (out, in)"""
    n = min(config.in_features, config.out_features)
    u, _ = np.linalg.qr(rng.standard_normal((config.out_features, n)))
    v, _ = np.linalg.qr(rng.standard_normal((config.in_features, n)))
    s = (np.arange(n) < config.true_rank).astype(float) if kind == "known" else config.decay ** np.arange(n)
    return (u * s) @ v.T


def inputs(kind: str, config: Config) -> np.ndarray:
    """One input along each axis, of length 1, or falling by `spread` where they are correlated.    (in, in)"""
    return np.diag((config.spread if kind == "correlated" else 1.0) ** np.arange(config.in_features))


def bound(change: np.ndarray, ranks: tuple[int, ...], x: np.ndarray | None = None) -> list[float]:
    """What rank r must leave over of x dW^T at the least: the share of its squared singular values beyond the r-th."""
    squares = np.linalg.svd(change if x is None else change @ x.T, compute_uv=False) ** 2
    return [float(squares[r:].sum() / squares.sum()) for r in ranks]


def truncated(change: np.ndarray, ranks: tuple[int, ...], x: np.ndarray) -> list[float]:
    """What is left over of x dW^T by the first r singular values of dW, which is the best update for isotropic inputs alone."""
    u, s, vt = np.linalg.svd(change, full_matrices=False)
    return [left_over(change, (u[:, :r] * s[:r]) @ vt[:r], x) for r in ranks]


def left_over(change: np.ndarray, update: np.ndarray, x: np.ndarray) -> float:
    """|x (dW - update)^T|^2 / |x dW^T|^2"""
    return float(np.sum((x @ (change - update).T) ** 2) / np.sum((x @ change.T) ** 2))


def fit(change: np.ndarray, r: int, x: np.ndarray, config: Config, rng: np.random.Generator) -> float:
    """Train a LoRALinear on the teacher's outputs for the inputs x; returns the share that is left over."""
    weight = rng.standard_normal(change.shape) / np.sqrt(config.in_features)
    layer = LoRALinear(Linear.from_weight(weight, trainable=False))
    layer.add_adapter("default", LoraConfig(r=r, lora_alpha=r), rng=rng)
    target = x @ (weight + change).T
    optimizer = AdamW([layer.lora_A, layer.lora_B], lr=config.learning_rate, weight_decay=0.0)
    for step in range(config.steps):
        optimizer.groups[0]["lr"] = config.learning_rate * lr_factor(step, max_steps=config.steps)
        optimizer.zero_grad()
        y, backward = layer(x)
        # loss = |y - target|^2 / 2   =>  dy = y - target
        backward(y - target)
        optimizer.step()
    return left_over(change, layer.delta_weight(), x)


def _teacher(item):
    config, kind, seed = item
    change = teacher(kind, config, np.random.default_rng([seed, 0]))
    x = inputs(kind, config)
    return {
        "fit": [fit(change, r, x, config, np.random.default_rng([seed, r])) for r in config.ranks],
        "bound": bound(change, config.ranks, x),
        "truncated": truncated(change, config.ranks, x),
    }
