"""The best code for given weights: Lloyd's iteration, from bins to levels and from levels to bins.

What NF4 is measured against. Lloyd 1957/1982 (least squares); weighted, since an error of a scaled value counts times its
block's absmax (BOF4, Blumenberg et al. 2025, arXiv 2505.06653, sec. 3).
"""

import numpy as np

from minilora import checks

MAX_ITERATIONS = 10_000


def scale_blocks(w: np.ndarray, block_size: int, *, signed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Each full block of `w`, flattened, over its largest value, and that value's size.    (n,), (n,) float64

    `signed`: divide by the value of largest magnitude with its sign instead of by its magnitude, so that it always
    becomes +1 and the code needs no -1 (BOF4-S). ValueError if `w` has no full block.
    """
    checks.float_array("w", w)
    block_size = checks.integer("block_size", block_size, low=1, high=w.size)
    rows = w.reshape(-1)[: w.size // block_size * block_size].reshape(-1, block_size).astype(np.float64)
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)  # (blocks, 1)
    absmax = np.abs(largest)
    scale = np.where(largest == 0, 1.0, largest if signed else absmax)
    return (rows / scale).reshape(-1), np.broadcast_to(absmax, rows.shape).reshape(-1)


def lloyd(
    x: np.ndarray, weight: np.ndarray, start: np.ndarray, pinned: tuple[float, ...] = (-1.0, 0.0, 1.0), power: int = 2
) -> np.ndarray:
    """The levels, as many as `start` has, with the least sum of (weight |x - level|)^power.    (levels,) float64, sorted

    x, weight: (n,), scaled values and what an error of each counts (its block's absmax). A value goes to the nearest
    level; a level goes to the weighted mean of its values (power 2) or to their weighted median (power 1), but for those
    in `pinned`, which must be in `start`. Ends where no level moves any more: a local minimum, near `start`.
    """
    power = checks.one_of("power", power, (1, 2))
    levels = np.sort(np.asarray(start, np.float64))
    missing = [value for value in pinned if value not in levels]
    if missing:
        raise ValueError(f"start must hold the pinned values {pinned}, got levels without {missing}")
    free = ~np.isin(levels, pinned)
    order = np.argsort(x)
    x, mass = np.asarray(x, np.float64)[order], np.asarray(weight, np.float64)[order] ** power
    total, moment = (np.concatenate([[0.0], np.cumsum(values)]) for values in (mass, mass * x))
    for _ in range(MAX_ITERATIONS):
        edges = np.searchsorted(x, (levels[:-1] + levels[1:]) / 2)
        low, high = np.concatenate([[0], edges]), np.concatenate([edges, [x.size]])
        if power == 2:
            with np.errstate(invalid="ignore"):
                moved = (moment[high] - moment[low]) / (total[high] - total[low])
        else:
            middle = np.searchsorted(total, (total[high] + total[low]) / 2)
            moved = x[np.clip(middle - 1, 0, x.size - 1)]
        moved = np.where(free & (high > low), moved, levels)
        if np.abs(moved - levels).max() < 1e-9:
            break
        levels = np.sort(moved)
    return levels


def code_error(x: np.ndarray, weight: np.ndarray, levels: np.ndarray, power: int = 2) -> float:
    """(mean of (weight |x - nearest level|)^power)^(1/power): the error of weights, in their own units."""
    levels = np.asarray(levels, np.float64)
    nearest = levels[np.searchsorted((levels[:-1] + levels[1:]) / 2, x)]
    return float(np.mean((weight * np.abs(x - nearest)) ** power) ** (1 / power))
