"""Held-out loss and exact match against rank at several budgets of steps, beside full fine-tuning."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import GUIDE, band, log2_axis, median

LAYOUT = {"nrows": 1, "ncols": 2, "figsize": (12, 4.8)}
SHADES = ("#f2b48a", "#D55E00", "#7a3500")  # few steps to many
FULL = {"full_linears": "full, same\nlayers", "full": "full"}


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left: held-out loss by rank, a line per budget of steps; full fine-tuning on the right. Right: the share of exact answers."""
    for ax, kind in zip(axes, ("loss", "exact"), strict=True):
        draw_kind(ax, numbers, kind)
    axes[0].set_yscale("log")
    axes[0].set_ylabel("held-out loss, nats per byte")
    axes[0].set_title("Held-out loss (bands and bars: all seeds)")
    axes[0].legend(loc="lower left")
    axes[1].set_ylim(-0.02, 1.02)
    axes[1].set_ylabel("share of held-out answers exactly right")
    axes[1].set_title("Exact answers")


def draw_kind(ax: Axes, numbers: dict[str, Any], kind: str) -> None:
    """One kind of score."""
    ranks, scores, parameters = numbers["ranks"], numbers[kind], numbers["parameters"]
    full = [method for method in FULL if method in scores]
    places = [ranks[-1] * 8 ** (1 + i) for i, _ in enumerate(full)]  # beyond the ranks
    for i, (steps, shade) in enumerate(zip(numbers["budgets"], SHADES, strict=False)):
        band(ax, ranks, [scores[str(r)][i] for r in ranks], shade, marker="o", label=f"{steps} steps")
        for method, x in zip(full, places, strict=True):
            seeds = scores[method][i]
            middle = median(seeds)
            error = [[middle - min(seeds)], [max(seeds) - middle]]
            ax.errorbar(x, middle, yerr=error, fmt="s", color=shade, capsize=4, markersize=6)
    labels = [f"r = {r}\n{parameters[str(r)] / 1000:.0f}k" for r in ranks]
    log2_axis(ax, [*ranks, *places], [*labels, *(f"{FULL[m]}\n{parameters[m] / 1000:.0f}k" for m in full)])
    if full:
        ax.axvline(2.8 * ranks[-1], color=GUIDE, linewidth=1)
    ax.set_xlabel("what is trained, and how many parameters")


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    ranks, budgets = list(map(str, numbers["ranks"])), numbers["budgets"]
    small, large = ranks[0], ranks[-1]
    loss = {method: [median(seeds) for seeds in runs] for method, runs in numbers["loss"].items()}
    exact = {method: [median(seeds) for seeds in runs] for method, runs in numbers["exact"].items()}

    def at(method):
        return ", ".join(f"{value:.3f}" for value in loss[method])

    seeds = len(numbers["loss"][small][0])
    full = ""
    if "full" in loss:
        full = (
            f" Full fine-tuning of the same linear layers {at('full_linears')}; of everything (embedding, which is the head, and norms, "
            f"too) {at('full')}. {beside_full(numbers)}"
        )
    return (
        f"Roman numerals (the hard task), median held-out loss after {', '.join(map(str, budgets))} steps: r = {small} "
        f"({numbers['parameters'][small]:,} parameters) {at(small)}; r = {large} ({numbers['parameters'][large]:,}) {at(large)}; in the "
        f"end {exact[small][-1]:.0%} and {exact[large][-1]:.0%} exactly right. {overtaken(numbers)}{full} r = 64 is full rank for k and "
        f"v, which are 64 wide. {seeds} seeds, batch {numbers['batch_size']}, alpha = r, all linear layers but the head; each budget is "
        "a run of its own, at the rate that other seeds found best for its method and its steps (rate_by_steps). Where "
        "each rank would end, this does not show; how much it can hold, capacity does."
    )


def beside_full(numbers: dict[str, Any]) -> str:
    """How full fine-tuning of the same layers stands to the largest rank, and to full fine-tuning of everything: a sentence."""
    largest, loss = str(numbers["ranks"][-1]), numbers["loss"]
    steps = [str(n) for n in numbers["budgets"]]

    def where(one, other):
        return [n for n, a, b in zip(steps, loss[one], loss[other], strict=True) if max(a) < min(b)]

    ahead, behind = where("full_linears", largest), where(largest, "full_linears")
    found = [
        *([f"ahead of r = {largest} in every seed after {_listed(ahead)} steps"] if ahead else []),
        *([f"behind it in every seed after {_listed(behind)}"] if behind else []),
    ]
    more, less = where("full", "full_linears"), where("full_linears", "full")
    rest = [
        *([f"better still in every seed after {_listed(more)} steps"] if more else []),
        *([f"worse in every seed after {_listed(less)}"] if less else []),
    ]
    return (
        f"On the same layers it is {' and '.join(found) if found else f'within the spread of r = {largest}'}; "
        f"training embedding and norms, too, is {' and '.join(rest) if rest else 'no difference beyond the seeds'}."
    )


def overtaken(numbers: dict[str, Any]) -> str:
    """Does the smallest rank, with more steps, pass the largest with fewer? As a sentence."""
    ranks, budgets = list(map(str, numbers["ranks"])), numbers["budgets"]
    small, large = numbers["loss"][ranks[0]], numbers["loss"][ranks[-1]]
    for i in range(len(budgets) - 1, 0, -1):
        for j in range(i - 1, -1, -1):
            if max(small[i]) < min(large[j]):
                return (
                    f"With every seed r = {ranks[0]} after {budgets[i]} steps is below r = {ranks[-1]} after {budgets[j]}: at equal steps "
                    "the figure shows speed, not capacity."
                )
    return f"With more steps r = {ranks[0]} does not pass r = {ranks[-1]} with fewer: here it is not speed alone."


def _listed(steps):
    return " and ".join(steps)
