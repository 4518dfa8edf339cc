"""Error with and without a rotation, by the size of an outlier column, and on the base's matrices."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minilora.plots.style import INK, color, label

LAYOUT = {"nrows": 1, "ncols": 2, "figsize": (11.5, 4.6), "width_ratios": (1.3, 1)}


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left: one outlier column of growing size. Right: each matrix of the base, rotated against plain."""
    _draw_columns(axes[0], numbers)
    _draw_base(axes[1], numbers["base"])


def _draw_columns(ax, numbers):
    for code, kinds in numbers["error"].items():
        for kind, style in (("plain", "-"), ("rotated", "--")):
            values = np.array(kinds[kind])  # (sizes, seeds)
            ax.plot(numbers["sizes"], values.mean(axis=1), style, color=color(code), label=f"{label(code)}, {kind}")
            ax.fill_between(numbers["sizes"], values.min(axis=1), values.max(axis=1), color=color(code), alpha=0.2)
    ax.set_xscale("log")
    ax.set_xticks(numbers["sizes"], [f"{size:g}" for size in numbers["sizes"]])
    ax.minorticks_off()
    ax.set_ylim(bottom=0)
    ax.set_xlabel("size of one column in 256, in standard deviations of the others")
    ax.set_ylabel("RMS error / RMS of the whole matrix")
    ax.set_title("An outlier column, in blocks of 64")
    ax.legend(fontsize=8)


def _draw_base(ax, base):
    for code, kinds in base.items():
        ax.plot(kinds["plain"], kinds["rotated"], "o", markersize=4, color=color(code), label=label(code))
    low, high = (f([v for kinds in base.values() for values in kinds.values() for v in values]) for f in (min, max))
    ax.plot([low, high], [low, high], color=INK, linewidth=1)
    ax.set_xlabel("RMS error / RMS, plain")
    ax.set_ylabel("rotated")
    ax.set_title("The base's matrices (below the line: better)")
    ax.legend(fontsize=8)


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    place = numbers["sizes"].index(20.0)
    nf4 = {kind: np.array(values) for kind, values in numbers["error"]["nf4"].items()}
    base = {kind: np.array(values) for kind, values in numbers["base"]["nf4"].items()}
    better = int((base["rotated"] < base["plain"]).sum())
    change = float(np.mean(base["rotated"] / base["plain"] - 1))
    return (
        f"One column in 256 that is 20 times as large raises NF4's error to "
        f"{nf4['plain'][place].mean():.3f} of the RMS; after a random-sign "
        f"Hadamard rotation of the inputs it is {nf4['rotated'][place].mean():.3f} "
        f"({nf4['plain'].shape[1]} seeds, spread at most "
        f"{max(np.ptp(nf4['rotated'], axis=1).max(), np.ptp(nf4['plain'][place])):.3f}). Without an "
        f"outlier column it changes nothing "
        f"({nf4['plain'][0].mean():.4f} and {nf4['rotated'][0].mean():.4f}), and on the base, whose "
        f"weights have none, the error changes by "
        f"{change:+.1%} on average (better on {better} of {len(base['plain'])} matrices). Weights alone; "
        f"what rotations do for quantized activations is not asked here."
    )
