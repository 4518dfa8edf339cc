"""Fixed and learned alphas from three starts: each at its best rate, all at one rate, and where the learned ones end."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minilora.plots.pairs import compared
from minilora.plots.style import EASY, GUIDE, HARD, INK, median

LAYOUT = {"nrows": 2, "ncols": 2, "figsize": (14, 9)}
SHADES = ("#0072B2", EASY, HARD)
TICKS = (-64, -8, -1, 0, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 512)
WITHIN = "within the seeds' spread"
SIDE = 0.24  # between the starts at one place of the x axis


def draw(axes: np.ndarray, numbers: dict[str, Any]) -> None:
    """Above: held-out loss by alpha's rate, each at its best rate, and all at one. Below: learned alphas by kind of layer."""
    best, one = axes[0]
    draw_losses(best, numbers, "loss")
    best.set_title(f"Loss after {numbers['steps']} steps, each at its own best rate")
    draw_losses(one, numbers, "at_one_rate")
    one.legend(title="alpha starts at", loc="lower right", ncols=3)
    one.set_title(f"All at the rate {numbers['one_rate']:g}")
    top = max(ax.get_ylim()[1] for ax in axes[0])
    bottom = min(ax.get_ylim()[0] for ax in axes[0])
    for ax in axes[0]:
        ax.set_ylim(bottom, top)
    for ax, ratio in zip(axes[1], numbers["ratios"][-2:], strict=True):
        draw_alphas(ax, numbers, ratio)


def draw_losses(ax: Axes, numbers: dict[str, Any], kind: str) -> None:
    """A dot for each seed, a bar for the median; a dashed line across at the median of a fixed alpha."""
    for i, ((alpha, entries), shade) in enumerate(zip(numbers["starts"].items(), SHADES, strict=False)):
        shift = SIDE * (i - 1)
        for place, entry in enumerate(entries.values()):
            runs = [loss for loss in entry[kind] if loss is not None]
            ax.plot([place + shift] * len(runs), runs, "o", color=shade, alpha=0.5, markersize=5)
            if runs:
                ax.plot(place + shift, median(runs), "_", color=INK, markersize=14, markeredgewidth=2)
        fixed = [loss for loss in entries["0"][kind] if loss is not None]
        if fixed:
            ax.axhline(median(fixed), color=shade, linestyle="--", linewidth=0.9, alpha=0.7)
        ax.plot([], [], "o", color=shade, label=alpha)
    labels = ["fixed" if ratio == 0 else f"{ratio:g} times" for ratio in numbers["ratios"]]
    ax.set_xticks(range(len(labels)), labels)
    ax.set_xlabel("alpha's rate, relative to that of A and B (dashed: a fixed alpha)")
    ax.set_ylabel("held-out loss, nats per byte")


def draw_alphas(ax: Axes, numbers: dict[str, Any], ratio: float) -> None:
    """By kind of layer and start: the alpha of each block at the end."""
    for i, ((alpha, entries), shade) in enumerate(zip(numbers["starts"].items(), SHADES, strict=False)):
        learned = entries[f"{ratio:g}"]["learned"]
        ax.axhline(float(alpha), color=shade, linestyle="--", linewidth=0.9, alpha=0.7)
        for place, blocks in enumerate(learned.values()):
            ax.plot([place + SIDE * (i - 1)] * len(blocks), blocks, "o", color=shade, alpha=0.6, markersize=5)
    ax.set_xticks(range(len(learned)), list(learned))
    ends = [value for line in ax.lines for value in line.get_ydata()]
    if min(ends) > 0:
        ax.set_yscale("log", base=2)
    else:
        ax.set_yscale("symlog", base=2, linthresh=1.0)
        ax.axhline(0, color=GUIDE, linewidth=0.8)
    low, high = ax.get_ylim()
    ax.set_ylim(low, high * 1.5)
    shown = [tick for tick in TICKS if low <= tick <= high * 1.5]
    ax.set_yticks(shown, [f"{tick:g}" for tick in shown])
    ax.minorticks_off()
    ax.set_ylabel("alpha at the end (a dot per block)")
    ax.set_title(f"Learned at {ratio:g} times the rate, from the dashed line")


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    starts, low = numbers["starts"], f"{numbers['ratios'][1]:g}"
    rescue = " ".join(filter(None, (_at_one_rate(numbers, alpha) for alpha in starts)))
    moved = {alpha: _moved(entries[low], float(alpha)) for alpha, entries in starts.items()}
    best = ", ".join(f"{entries['0']['best']:g} for {alpha}" for alpha, entries in starts.items())
    first = next(iter(starts.values()))["0"]
    ends = "; ".join(_ends(numbers, ratio) for ratio in numbers["ratios"][-2:])
    seeds, at_one = len(first["loss"]), len(first["at_one_rate"])
    return (
        f"{_at_best(numbers)} Best rates with a fixed alpha: {best}. {rescue} At a small rate of its own ({low} times that of A "
        f"and B) no alpha moves by more than {max(moved.values()):.1%}; {ends}. Trained on {numbers['task']}, r = {numbers['r']}, "
        f"{numbers['steps']} steps, {seeds} seeds at the best rates, of which the first chose them on a grid of factors of two, and "
        f"{at_one} at the one rate. The best of several ratios is flattered by the choice. Longer training, in which alpha has "
        "more time to move, this does not settle."
    )


def _at_best(numbers):
    """For each start: is a learned alpha better than a fixed one, each at its best rate?"""
    words = []
    for alpha, entries in numbers["starts"].items():
        fixed, ratio = entries["0"]["loss"], _best_ratio(entries, "loss")
        learned = entries[ratio]["loss"]
        words.append(
            f"from {alpha} {median(fixed):.3f} fixed and {median(learned):.3f} learned at {ratio} times the rate "
            f"({compared(learned, fixed, WITHIN)})"
        )
    return f"Each at its own best rate, held-out loss: {', '.join(words)}.{_pairs(numbers['starts'])}{_start_decides(numbers['starts'])}"


def _pairs(starts):
    """Which learned alphas differ from the fixed one of the same start with each seed, though not beyond the spread."""
    found = {"lower": [], "higher": []}
    for alpha, entries in starts.items():
        for ratio, entry in entries.items():
            word = compared(entry["loss"], entries["0"]["loss"]).split()[0]
            if ratio != "0" and word in found:
                found[word].append(f"from {alpha} at {ratio} times the rate")
    said = [f"{word} {' and '.join(some)}" for word, some in found.items() if some]
    return f" With each seed, but within their spread, a learned alpha is {', '.join(said)}." if said else ""


def _start_decides(starts):
    """Is the best fixed alpha better, in every seed, than every alpha that was learned from another start?"""
    best = min(starts, key=lambda alpha: median(starts[alpha]["0"]["loss"]))
    fixed = starts[best]["0"]["loss"]
    others = [
        entry["loss"] for alpha in starts if alpha != best for ratio, entry in starts[alpha].items() if ratio != "0"
    ]
    if not all(max(fixed) < min(losses) for losses in others):
        return ""
    return f" A fixed {best} is better in every seed than all that were learned from another start: learning rescues none of them."


def _at_one_rate(numbers, alpha):
    """What learning makes of an alpha at the one rate. Empty for the start that is best when fixed."""
    starts = numbers["starts"]
    fixed = {a: entries["0"]["at_one_rate"] for a, entries in starts.items() if None not in entries["0"]["at_one_rate"]}
    right = min(fixed, key=lambda a: median(fixed[a]))
    if alpha == right:
        return ""
    ratio = _best_ratio(starts[alpha], "at_one_rate")
    if ratio is None:
        return f"At the rate {numbers['one_rate']:g} every alpha that is learned from {alpha} diverges."
    learned = starts[alpha][ratio]["at_one_rate"]
    if alpha not in fixed:
        return f"At the rate {numbers['one_rate']:g} a fixed {alpha} diverges and a learned one gives {median(learned):.3f}."
    return (
        f"At one rate, {numbers['one_rate']:g}, {alpha} gives {median(fixed[alpha]):.3f} fixed and {median(learned):.3f} learned "
        f"at {ratio} times the rate ({compared(learned, fixed[alpha], WITHIN)}), where {right} gives {median(fixed[right]):.3f} fixed."
    )


def _best_ratio(entries, kind):
    """The ratio, of those that learn alpha, with the least median; None if some seed diverged at each."""
    whole = {r: median(e[kind]) for r, e in entries.items() if r != "0" and None not in e[kind]}
    return min(whole, key=whole.get) if whole else None


def _moved(entry, start):
    return max(abs(alpha / start - 1) for blocks in entry["learned"].values() for alpha in blocks)


def _ends(numbers, ratio):
    """Where alphas end at one ratio, and in which kind of layer they end highest and lowest."""
    words = []
    for alpha, entries in numbers["starts"].items():
        learned = entries[f"{ratio:g}"]["learned"]
        everywhere = [value for blocks in learned.values() for value in blocks]
        middle = {kind: median(blocks) for kind, blocks in learned.items()}
        high, low = max(middle, key=middle.get), min(middle, key=middle.get)
        words.append(f"from {alpha} at {min(everywhere):.1f} to {max(everywhere):.1f} (most in {high}, least in {low})")
    return f"at {ratio:g} times the rate they end {', '.join(words)}"
