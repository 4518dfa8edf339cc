"""Each side of a comparison gets its own best rate: a sweep with one seed, then more seeds around the best."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from minilora.experiments.finetuning import Run, train


def tune(
    sides: Mapping[str, Run],
    each: Callable = map,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    sweep_seed: int = 100,
    factor: float = 2.0,
    reach: int = 2,
    width: int = 0,
    further: int = 4,
    function: Callable[[Run], dict[str, Any]] = train,
) -> dict[str, dict[str, Any]]:
    """Find the best rate of each side, and run that with all seeds.

    A side is a Run whose `learning_rate` is the guess around which the sweep starts: `reach` rates below and above it,
    each `factor` from the next, with `sweep_seed` alone. While the least loss stands at an end, up to `further` rates are
    added there. Then come all `seeds` at the best rate and at `width` rates below and above it. With a sweep seed that is
    one of them its run counts among theirs, which costs less and flatters the choice a little.

    Of each side: "rates" and "loss" of the sweep (None where a run diverged), "best", the rate with the least loss there,
    and "around": a list over rates of {"rate", "results": what `function` gave, a list over seeds}. `function(run)` gives
    a dict with "loss".
    """
    done: dict[Run, dict[str, Any]] = {}

    def compute(runs: list[Run]) -> None:
        missing = [run for run in dict.fromkeys(runs) if run not in done]
        if missing:
            done.update(zip(missing, each(function, missing), strict=True))

    swept: dict[str, dict[float, float | None]] = {name: {} for name in sides}
    wanted = {name: rates_around(run.learning_rate, factor, reach) for name, run in sides.items()}
    for _ in range(further + 1):
        runs = {
            (name, rate): replace(sides[name], learning_rate=rate, seed=sweep_seed)
            for name, rates in wanted.items()
            for rate in rates
        }
        compute(list(runs.values()))
        for (name, rate), run in runs.items():
            swept[name][rate] = done[run]["loss"]
        wanted = {name: beyond(swept[name], factor) for name in sides}
        if not any(wanted.values()):
            break
    best = {name: least(losses) for name, losses in swept.items()}
    around = {
        name: {
            rate: [replace(run, learning_rate=rate, seed=seed) for seed in seeds]
            for rate in rates_around(best[name], factor, width)
        }
        for name, run in sides.items()
    }
    compute([run for rates in around.values() for runs in rates.values() for run in runs])
    return {
        name: {
            "rates": sorted(losses),
            "loss": [losses[rate] for rate in sorted(losses)],
            "best": best[name],
            "around": [{"rate": rate, "results": [done[run] for run in runs]} for rate, runs in around[name].items()],
        }
        for name, losses in swept.items()
    }


def at_best(side: Mapping[str, Any]) -> dict[str, Any]:
    """What `tune` gave of one side, as a figure keeps it: "rates" and "sweep" (their losses with the sweep's seed), the
    "best" rate, by the median over seeds where several were run with all, and there "loss" and "exact", lists over seeds.
    """
    best = best_point(side)
    return {
        "rates": side["rates"],
        "sweep": side["loss"],
        "best": best["rate"],
        "loss": [result["loss"] for result in best["results"]],
        "exact": [result["exact"] for result in best["results"]],
    }


def best_point(side: Mapping[str, Any]) -> dict[str, Any]:
    """Of the rates that ran with all seeds, {"rate", "results"} of the one with the least median loss. ValueError if some seed
    diverged at each.
    """
    whole = [point for point in side["around"] if all(r["loss"] is not None for r in point["results"])]
    if not whole:
        raise ValueError(f"side must hold a rate at which no seed diverged, got {[p['rate'] for p in side['around']]}")
    return min(whole, key=lambda point: np.median([result["loss"] for result in point["results"]]))


def rates_around(center: float, factor: float, reach: int) -> list[float]:
    """`center`, and `reach` rates below and above it, rising by `factor`; three digits, so that they meet again."""
    return [float(f"{center * factor**i:.3g}") for i in range(-reach, reach + 1)]


def least(losses: Mapping[float, float | None]) -> float:
    """The rate with the least loss; None is a run that diverged. ValueError if all did."""
    finite = {rate: loss for rate, loss in losses.items() if loss is not None}
    if not finite:
        raise ValueError(f"losses must hold a run that did not diverge, got none at the rates {sorted(losses)}")
    return min(finite, key=finite.get)


def beyond(losses: Mapping[float, float | None], factor: float) -> list[float]:
    """The next rate, where the least loss stands at an end of the sweep and is less than its neighbour's; else none."""
    rates = sorted(losses)
    if all(loss is None for loss in losses.values()):
        return [rates_around(rates[0], factor, 1)[0]]
    best = least(losses)
    if len(rates) > 1 and (losses[rates[1]] == losses[best] if best == rates[0] else best != rates[-1]):
        return []
    return [rates_around(best, factor, 1)[0 if best == rates[0] else 2]]


def valley(rates: Sequence[float], losses: Sequence[float | None]) -> tuple[float, float]:
    """(rate, loss) at the bottom of the parabola through the least loss and its two neighbours, in log rate and log loss.

    Between the rates of a grid, where its bottom lies. The least itself where it has no neighbour on one side, or where
    one diverged (None).    rates, losses: one entry per rate, rates rising
    """
    finite = [math.inf if loss is None else loss for loss in losses]
    i = int(np.argmin(finite))
    three = slice(i - 1, i + 2)
    if not 0 < i < len(finite) - 1 or not np.all(np.isfinite(finite[three])):
        return rates[i], finite[i]
    x, y = np.log(rates[three]), np.log(finite[three])
    shift = x[1]
    a, b, c = np.polyfit(x - shift, y, 2)
    if a <= 0:  # three equal losses
        return rates[i], finite[i]
    return float(np.exp(shift - b / (2 * a))), float(np.exp(c - b * b / (4 * a)))
