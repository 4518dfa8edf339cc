"""Gradients of the first steps by what starts random, and what is learned from there."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minilora.plots.style import INK, log2_axis, median

LAYOUT = {"nrows": 1, "ncols": 3, "figsize": (15, 4.8)}
SHADES = {"A random": "#0072B2", "B random": "#D55E00", "both random": "#009E73", "both zero": "#999999"}
FLOOR = 1e-6  # where a gradient of exactly zero is drawn


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left: norms of A's and B's gradients. Middle: the sweeps. Right: held-out loss at the best rate."""
    gradients, sweep, scores = axes
    for place, (start, entry) in enumerate(numbers["starts"].items()):
        shade = SHADES[start]
        for which, line in (("lora_A", "-"), ("lora_B", "--")):
            norms = np.maximum(entry["gradient"][which], FLOOR)
            gradients.plot(range(1, len(norms) + 1), norms, line, color=shade, marker=".", markersize=4)
        gradients.plot([], [], color=shade, label=start)
        if len(entry["rates"]) > 1:  # what cannot move was not swept
            losses = [np.nan if loss is None else loss for loss in entry["sweep"]]
            sweep.plot(entry["rates"], losses, color=shade, marker="o", label=start)
        scores.plot([place] * len(entry["loss"]), entry["loss"], "o", color=shade, alpha=0.5)
        scores.plot(place, median(entry["loss"]), "_", color=INK, markersize=22, markeredgewidth=2)
    gradients.plot([], [], "-", color=INK, label="of A")
    gradients.plot([], [], "--", color=INK, label="of B")
    gradients.set_yscale("log")
    gradients.set_xlabel("step")
    gradients.set_ylabel(f"norm of the gradient (0 is drawn at {FLOOR:g})")
    gradients.set_title("What is zero gives the other no gradient")
    gradients.legend(ncols=2, fontsize=8, loc="center right")
    rates = sorted({rate for entry in numbers["starts"].values() for rate in entry["rates"]})
    log2_axis(sweep, rates, rotation=45)
    sweep.set_xlabel("learning rate")
    sweep.set_ylabel("held-out loss, nats per byte")
    sweep.set_title("Loss against rate, one seed")
    sweep.legend(fontsize=8)
    scores.set_xticks(range(len(numbers["starts"])), list(numbers["starts"]))
    scores.set_yscale("log")
    scores.set_yticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    scores.minorticks_off()
    scores.set_ylabel("held-out loss, nats per byte")
    scores.set_title(f"After {numbers['steps']} steps at the best rate, all seeds")


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    starts = numbers["starts"]
    middle = {name: median(entry["loss"]) for name, entry in starts.items()}
    a, b = starts["A random"], starts["B random"]
    apart = max(a["loss"]) < min(b["loss"]) or max(b["loss"]) < min(a["loss"])
    better, other = sorted(("A random", "B random"), key=middle.get)
    pairs = list(zip(starts[better]["loss"], starts[other]["loss"], strict=True))
    spreads = f"{better} ({_spread(starts[better])}) and {other} ({_spread(starts[other])})"
    if apart:
        verdict = f"{better} is better than {other} in every seed ({middle[better]:.3f} against {middle[other]:.3f})"
    elif all(low < high for low, high in pairs):
        verdict = f"{better} has the lower loss on each seed's records, but {spreads} overlap"
    else:
        verdict = f"{spreads} do not differ by more than their seeds"
    rates = ", ".join(f"{name} {entry['best']:g}" for name, entry in starts.items() if name != "both zero")
    seeds = len(a["loss"])
    return (
        f"At the first step A's gradient is {_norm(a, 'lora_A')} where A is random and B zero, and B's is {_norm(b, 'lora_B')} "
        f"where it is the other way; with both zero both stay at {_norm(starts['both zero'], 'lora_B')} and nothing is ever "
        f"learned (loss {middle['both zero']:.3f}, as before training). Trained on {numbers['task']}, {verdict}; both random "
        f"begins beside the base, at {median(starts['both random']['before']):.3f} instead of {median(a['before']):.3f}, and reaches "
        f"{middle['both random']:.3f}. Best rates: "
        f"{rates}. r = {numbers['r']}, "
        f"{numbers['steps']} steps, {seeds} seeds, "
        "each drawn by its own fan-in, so B's entries start larger than A's (fan-in r, not in), which may be why; Hayou et al. (2024) "
        "found A random better on average, on wider models. Equal scales, other widths and longer runs this does not settle."
    )


def _spread(entry):
    return f"{min(entry['loss']):.3f} to {max(entry['loss']):.3f}"


def _norm(entry, which):
    first = entry["gradient"][which][0]
    return "exactly 0" if first == 0 else f"{first:.2g}"
