"""Learning-rate schedules: a factor between 0 and 1 for each step."""

import math

from minilora import checks

SCHEDULES = ("cosine", "linear", "constant")


def lr_factor(step: int, *, max_steps: int, warmup_steps: int = 0, kind: str = "cosine", floor: float = 0.0) -> float:
    """What to multiply the peak learning rate with at step 0, 1, ... max_steps - 1.

    First `warmup_steps` steps rise linearly to 1; then "cosine" (Loshchilov & Hutter 2017, arXiv 1608.03983, eq. 5) or
    "linear" falls to `floor` at max_steps, "constant" stays at 1. ValueError or TypeError for arguments out of range.
    """
    step = checks.integer("step", step, low=0)
    max_steps = checks.integer("max_steps", max_steps, low=1)
    warmup_steps = checks.integer("warmup_steps", warmup_steps, low=0, high=max_steps)
    floor = checks.real("floor", floor, low=0, high=1)
    checks.one_of("kind", kind, SCHEDULES)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if kind == "constant":
        return 1.0
    progress = min(1.0, (step - warmup_steps) / max(1, max_steps - warmup_steps))  # 0 at the peak, 1 at the end
    fall = 0.5 * (1.0 + math.cos(math.pi * progress)) if kind == "cosine" else 1.0 - progress
    return floor + (1.0 - floor) * fall
