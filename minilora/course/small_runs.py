"""A training run that takes a tenth of a second: LoRA on one frozen layer. It fails in the ways that large runs do (lesson 07)."""

import numpy as np

from minilora.adapters import LoraConfig, LoRALinear
from minilora.nn import Linear
from minilora.training import AdamW

OUT, IN, HELD_OUT, BATCH, POINTS = 48, 64, 512, 16, 30
NOISE = 0.8  # of the targets, beside a signal of size 1: what there is to learn by heart
SICK: dict[str, dict] = {  # what ails the runs of the exercise, each in one setting
    "P": {"records": 48, "seed": 11},
    "Q": {"r": 1, "seed": 12},
    "R": {"rate": 1.0, "seed": 13},
    "S": {"steps": 60, "rate": 0.002, "seed": 14},
}


def small_run(
    r: int = 16, rate: float = 0.01, steps: int = 300, records: int = 2048, seed: int = 0
) -> dict[str, list[float]]:
    """Train, and score training and held-out records (up to 512 of each) thirty times.

    The layer's change is known: singular values that fall by 0.8 each. Targets have noise. The rate is constant and alpha = r.
    "step", "train" and "held_out": lists; a loss of 1 is that of a layer that has learned nothing, NOISE squared over that of
    the targets is the best there can be.
    """
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((n, OUT)))[0] for n in (OUT, IN))
    change = (left * 0.8 ** np.arange(OUT)) @ right.T
    change /= np.linalg.norm(change) / OUT**0.5  # so that targets have size 1
    x = rng.standard_normal((records + HELD_OUT, IN))
    y = x @ change.T + NOISE * rng.standard_normal((records + HELD_OUT, OUT))
    layer = LoRALinear(Linear.from_weight(np.zeros((OUT, IN)), trainable=False))
    layer.add_adapter("one", LoraConfig(r=r, lora_alpha=r), rng=rng)
    adam = AdamW([layer.lora_A, layer.lora_B], lr=rate, weight_decay=0.0)
    seen, kept = slice(max(0, records - HELD_OUT), records), slice(records, None)
    curve: dict[str, list[float]] = {"step": [], "train": [], "held_out": []}
    every = max(1, steps // POINTS)
    for step in range(steps + 1):
        if step % every == 0:
            curve["step"].append(step)
            for name, part in (("train", seen), ("held_out", kept)):
                curve[name].append(float(np.mean((layer(x[part])[0] - y[part]) ** 2) / np.mean(y[part] ** 2)))
        batch = rng.integers(0, records, BATCH)
        adam.zero_grad()
        out, backward = layer(x[batch])
        backward(2 * (out - y[batch]) / BATCH)
        adam.step()
    return curve


def sick_run(letter: str) -> dict[str, list[float]]:
    """One of the runs of the exercise; which is broken in what is in SICK. KeyError for a letter that there is not."""
    return small_run(**SICK[letter])
