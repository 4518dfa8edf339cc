"""LoRA's fit against rank, beside the Eckart-Young bound."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import BOUND, EASY, GUIDE

LAYOUT = {"nrows": 1, "ncols": 2, "figsize": (10, 4.4), "sharey": True}


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left: a change of known rank. Right: one whose singular values decay."""
    ranks, true_rank = numbers["ranks"], numbers["true_rank"]
    titles = {
        "known": f"A change of rank {true_rank}: the knee is at {true_rank}",
        "decaying": f"Singular values fall by {numbers['decay']} each: no knee",
    }
    for ax, (kind, title) in zip(axes, titles.items(), strict=True):
        draw_kind(ax, ranks, numbers[kind])
        ax.set_title(title)
    axes[0].axvline(true_rank, color=GUIDE, linewidth=1)
    axes[0].set_ylabel("share of the change left over")


def draw_kind(ax: Axes, ranks: Any, entry: Any) -> None:
    """The bound as a dashed line, LoRA's fit of each seed as dots."""
    ax.plot(ranks, entry["bound"][0], color=BOUND, linestyle="--", label="best possible (Eckart-Young)")
    for i, fit in enumerate(entry["fit"]):
        seeds = None if i else f"LoRA, {len(entry['fit'])} seeds"
        ax.plot(ranks, fit, color=EASY, linestyle="none", marker="o", alpha=0.7, label=seeds)
    ax.set_xlabel("rank r of the adapter")
    ax.set_xticks(ranks)
    ax.legend()


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    ranks, true_rank = numbers["ranks"], numbers["true_rank"]
    gaps = [
        fit - bound
        for kind in ("known", "decaying")
        for fits, bounds in zip(numbers[kind]["fit"], numbers[kind]["bound"], strict=True)
        for fit, bound in zip(fits, bounds, strict=True)
    ]
    half = ranks.index(true_rank // 2)
    return (
        f"Against a change of rank {true_rank}, LoRA of rank {true_rank // 2} leaves {numbers['known']['fit'][0][half]:.3f} of it "
        f"and rank {true_rank} leaves {numbers['known']['fit'][0][ranks.index(true_rank)]:.1e}; more rank gains nothing. "
        f"Training never beats the Eckart-Young bound and comes within {max(gaps):.0e} of it, at every rank and seed, also "
        f"where the singular values decay and no knee exists."
    )
