"""A training run that takes a tenth of a second: LoRA on one frozen layer. It fails in the ways that large runs do (lesson 07)."""

import numpy as np

from minilora.adapters import LoraConfig, LoRALinear
from minilora.nn import Linear
from minilora.training import AdamW

OUT, IN, BATCH, HELD_OUT, POINTS = 48, 64, 16, 512, 30
NOISE = 0.8  # of the targets, beside a signal of size 1: what there is to learn by heart
SICK: dict[str, dict] = {  # what ails the runs of the exercise, each in one setting
    "P": {"records": 48, "seed": 11},
    "Q": {"r": 1, "seed": 12},
    "R": {"rate": 1.0, "seed": 13},
    "S": {"steps": 60, "rate": 0.002, "seed": 14},
}


def small_run(
    r: int = 16,
    rate: float = 0.01,
    steps: int = 300,
    records: int = 2048,
    alpha_rate: float = 0.0,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Train, and score training and held-out records (up to 512 of each) thirty times.

    The layer's change is known: singular values that fall by 0.8 each. Targets have noise. The rate is constant and alpha = r,
    or learned at `alpha_rate` times the rate.
    "step", "train" and "held_out": lists; a loss of 1 is that of a layer that has learned nothing.
    """
    rng = np.random.default_rng(seed)
    x, y = noisy_records(records + HELD_OUT, rng)
    layer = LoRALinear(Linear.from_weight(np.zeros((OUT, IN)), trainable=False))
    layer.add_adapter("one", LoraConfig(r=r, lora_alpha=r, trainable_alpha=alpha_rate > 0), rng=rng)
    groups = [{"params": [p for p in layer.parameters() if p.trainable and p.size > 1], "lr": rate}]
    if alpha_rate:
        groups.append(
            {"params": [p for p in layer.parameters() if p.trainable and p.size == 1], "lr": alpha_rate * rate}
        )
    adam = AdamW(groups, weight_decay=0.0)
    parts = {"train": slice(max(0, records - HELD_OUT), records), "held_out": slice(records, None)}
    curve: dict[str, list[float]] = {"step": [], "train": [], "held_out": []}
    for step in range(steps + 1):
        if step % max(1, steps // POINTS) == 0:
            curve["step"].append(step)
            for name, part in parts.items():
                error = layer(x[part])[0] - y[part]
                curve[name].append(float(np.mean(error**2) / np.mean(y[part] ** 2)))
        chosen = rng.integers(0, records, BATCH)
        adam.zero_grad()
        out, backward = layer(x[chosen])
        backward(2 * (out - y[chosen]) / BATCH)
        adam.step()
    return curve


def noisy_records(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n, IN), and targets (n, OUT) of size 1 that a fixed change gives, with NOISE added."""
    left, right = (np.linalg.qr(rng.standard_normal((size, OUT)))[0] for size in (OUT, IN))
    change = (left * 0.8 ** np.arange(OUT)) @ right.T
    change *= OUT**0.5 / np.linalg.norm(change)
    x = rng.standard_normal((n, IN))
    return x, x @ change.T + NOISE * rng.standard_normal((n, OUT))


def sick_run(letter: str) -> dict[str, list[float]]:
    """One of the runs of the exercise; which is broken in what is in SICK. KeyError for an unknown letter."""
    return small_run(**SICK[letter])
