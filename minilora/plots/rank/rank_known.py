"""LoRA's fit against rank, beside the least that is possible and the truncated SVD."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import BOUND, EASY, GUIDE, HARD, median

LAYOUT = {"nrows": 1, "ncols": 3, "figsize": (13.5, 4.4), "sharey": True}


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """A change of known rank; one whose singular values decay; the same with correlated inputs."""
    ranks, true_rank = numbers["ranks"], numbers["true_rank"]
    titles = {
        "known": f"A change of rank {true_rank}: the knee is at {true_rank}",
        "decaying": f"Singular values fall by {numbers['decay']} each: no knee",
        "correlated": f"The same, inputs correlated (by {numbers['spread']} each)",
    }
    for ax, (kind, title) in zip(axes, titles.items(), strict=True):
        draw_kind(ax, ranks, numbers[kind], svd=kind == "correlated")
        ax.set_title(title)
    axes[0].axvline(true_rank, color=GUIDE, linewidth=1)
    axes[0].set_ylabel("share of the output's change left over")


def draw_kind(ax: Axes, ranks: Any, entry: Any, *, svd: bool) -> None:
    """Of each seed the bound as a dashed line and LoRA's fit as dots; the truncated SVD of the change where that is not the best."""
    best = "best for these inputs, each seed" if svd else "best possible (Eckart-Young)"
    for i, (bound, truncated, fit) in enumerate(zip(entry["bound"], entry["truncated"], entry["fit"], strict=True)):
        ax.plot(ranks, bound, color=BOUND, linestyle="--", linewidth=1.2, label=None if i else best)
        if svd:
            label = None if i else "truncated SVD of the change"
            ax.plot(ranks, truncated, color=HARD, marker="x", linewidth=1.2, label=label)
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
        for kind in ("known", "decaying", "correlated")
        for fits, bounds in zip(numbers[kind]["fit"], numbers[kind]["bound"], strict=True)
        for fit, bound in zip(fits, bounds, strict=True)
    ]
    half = ranks.index(true_rank // 2)
    known, correlated = numbers["known"]["fit"][0], numbers["correlated"]
    svd, best, fit = (_middle(correlated[kind])[half] for kind in ("truncated", "bound", "fit"))
    closer = (
        "LoRA, which sees the output's error, finds the better one"
        if fit - best < svd - fit
        else "LoRA stays near the former"
    )
    return (
        f"Against a change of rank {true_rank}, LoRA of rank {true_rank // 2} leaves {known[half]:.3f} of it and rank {true_rank} "
        f"leaves {known[ranks.index(true_rank)]:.1e}; more rank gains nothing. With isotropic inputs the truncated SVD is the best by "
        f"construction. With correlated inputs it is not: at r = {ranks[half]} the truncated SVD of the change leaves {svd:.3f} of the "
        f"output's error where {best:.3f} is possible; {closer} ({fit:.3f}; medians of {len(correlated['fit'])} seeds). Training "
        f"never beats the bound and comes within {max(gaps):.0e} of it, at every rank and seed, also where the singular values decay "
        "and no knee exists. A linear teacher, trained for as long as it takes."
    )


def _middle(by_seed):
    """The median over seeds at each rank.    by_seed: [seed][rank]"""
    return [median(seeds) for seeds in zip(*by_seed, strict=True)]
