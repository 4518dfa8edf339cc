"""A heat map of loss by LoRA+'s ratio and A's rate, and each ratio at its best."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minilora.plots.pairs import compared
from minilora.plots.style import HARD, INK, median

LAYOUT = {"nrows": 1, "ncols": 2, "figsize": (13.5, 4.8), "width_ratios": (1.7, 1)}


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left: loss after training by ratio and rate, one seed, the best of each row framed. Right: the best, all seeds."""
    heat, scores = axes
    losses = np.array([[np.nan if loss is None else loss for loss in row] for row in numbers["sweep"]])
    heat.imshow(losses, aspect="auto", origin="lower", cmap="viridis_r")
    heat.grid(visible=False)
    middle = np.nanmean([np.nanmin(losses), np.nanmax(losses)])
    for i, j in np.ndindex(losses.shape):
        text = "diverged" if np.isnan(losses[i, j]) else f"{losses[i, j]:.2f}"
        best = numbers["best"][i]["rate"] == numbers["rates"][j]
        shade = "white" if losses[i, j] > middle else INK
        heat.text(j, i, f"[{text}]" if best else text, ha="center", va="center", color=shade, fontsize=9)
    heat.set_xticks(range(len(numbers["rates"])), [f"{rate:g}" for rate in numbers["rates"]])
    heat.set_yticks(range(len(numbers["ratios"])), [f"{ratio:g}" for ratio in numbers["ratios"]])
    heat.set_xlabel("learning rate of A")
    heat.set_ylabel("rate of B as a multiple of A's")
    heat.set_title("Held-out loss, one seed ([best] of each ratio)")
    for place, best in enumerate(numbers["best"]):
        scores.plot([place] * len(best["loss"]), best["loss"], "o", color=HARD, alpha=0.5)
        scores.plot(place, median(best["loss"]), "_", color=INK, markersize=22, markeredgewidth=2)
    labels = [f"{ratio:g}\nA {best['rate']:g}" for ratio, best in zip(numbers["ratios"], numbers["best"], strict=True)]
    scores.set_xticks(range(len(labels)), labels)
    scores.set_xlabel("ratio, and its best rate of A")
    scores.set_ylabel("held-out loss, nats per byte")
    scores.set_title("Each ratio at its best rate, all seeds")


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    by_ratio = dict(zip(numbers["ratios"], numbers["best"], strict=True))
    middle = {ratio: median(best["loss"]) for ratio, best in by_ratio.items()}
    listed = ", ".join(f"{r:g}: {loss:.3f} at A {by_ratio[r]['rate']:g}" for r, loss in middle.items())
    rates, seeds = [best["rate"] for best in numbers["best"]], len(numbers["best"][0]["loss"])
    falls = all(later < earlier for earlier, later in itertools.pairwise(rates))
    why = (
        " The best rate of A falls as the ratio grows, so ratios compared at one rate of A would measure the rate."
        * falls
    )
    ends = [f"{r:g}" for r, best in by_ratio.items() if best["rate"] in (numbers["rates"][0], numbers["rates"][-1])]
    open_end = f" The best rate of {', '.join(ends)} stands at an end of the rates tried." if ends else ""
    return (
        f"{finding(by_ratio)}. Median held-out loss on {numbers['task']} by ratio, each at its best rate: {listed}.{why}{open_end} "
        f"LoRA with r = {numbers['r']} and alpha = 8 on all linear layers, {numbers['steps']} steps of batch {numbers['batch_size']} "
        f"each, {seeds} seeds at the best rates, the first of them for the map. How the gain grows with the model (Hayou et al. 2024 "
        "report 1 to 2 % and up to twice the speed on large ones) or shrinks with longer training this does not settle, nor what is "
        "left of it at a larger alpha, which alone does as much (trainable_alpha)."
    )


def finding(by_ratio: dict[float, dict[str, Any]]) -> str:
    """Which ratios beat plain LoRA in every seed, which has the least median, and from which others its seeds do not tell it."""
    ratio = min(by_ratio, key=lambda r: median(by_ratio[r]["loss"]))
    plain, best = by_ratio[1.0], by_ratio[ratio]
    if ratio == 1.0:
        return "No ratio beats plain LoRA (ratio 1)"
    apart = [r for r, other in by_ratio.items() if max(other["loss"]) < min(plain["loss"])]
    listed = " and ".join(f"of {r:g} ({_spread(by_ratio[r])})" for r in apart)
    said = (
        f"A ratio {listed} beats plain LoRA ({_spread(plain)}) in every seed"
        if apart
        else "No ratio beats plain LoRA in every seed"
    )
    if ratio not in apart:
        said += f"; {ratio:g} has the least median, but its seeds and plain LoRA's overlap ({_spread(best)} against {_spread(plain)})"
    pairs = [r for r, other in by_ratio.items() if compared(other["loss"], plain["loss"]).startswith("lower")]
    if pairs:
        said += f"; {' and '.join(f'{r:g}' for r in pairs)} is lower with each seed, within their spread"
    ties = [r for r, other in by_ratio.items() if r not in (1.0, ratio) and min(other["loss"]) <= max(best["loss"])]
    if ties:
        said += f"; {ratio:g} is not told from {', '.join(f'{r:g}' for r in ties)} by the seeds, so which ratio is best is not settled"
    if ratio == max(by_ratio):
        said += f"; {ratio:g} is the largest that was tried"
    return said


def _spread(best):
    return f"{min(best['loss']):.3f} to {max(best['loss']):.3f}"
