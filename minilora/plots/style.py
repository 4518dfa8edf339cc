"""One look for all figures: one color for each code everywhere, distinguishable to color-blind eyes (Okabe & Ito 2008)."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

RC = {
    "svg.hashsalt": "minilora",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "figure.dpi": 100,
    "savefig.dpi": 140,
    "figure.constrained_layout.use": True,
}

CODES = {
    "int4": ("#D55E00", "int4, -7..7"),
    "int4_full": ("#E69F00", "int4, -8..7"),
    "int4_affine": ("#CC79A7", "affine int4 (min, max)"),
    "fp4": ("#999999", "FP4 (bitsandbytes)"),
    "fp4_e2m1": ("#555555", "FP4 (E2M1)"),
    "af4": ("#56B4E9", "AF4"),
    "nf4": ("#0072B2", "NF4"),
}
EASY, HARD, BOUND, INK, GUIDE = "#009E73", "#D55E00", "#000000", "#333333", "#bbbbbb"


def color(code: str) -> str:
    """The color of a code, the same in every figure."""
    return CODES[code][0]


def label(code: str) -> str:
    """How a code is written in figures."""
    return CODES[code][1]


def log2_axis(ax: Axes, ticks: Sequence[float], labels: Sequence[str] | None = None, **kwargs: Any) -> None:
    """A logarithmic x axis to base 2 with exactly these ticks, written as they are or as `labels` say."""
    ax.set_xscale("log", base=2)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks] if labels is None else labels, **kwargs)
    ax.minorticks_off()


def median(runs: Sequence) -> float:
    """The middle value over seeds; of an even number the mean of the two in the middle."""
    ordered = sorted(runs)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def band(ax: Axes, x: Sequence, runs: Sequence, shade: str, **line: Any) -> None:
    """A line through the median of each entry's runs, over a band from their least to their largest.    runs: [x][seed]"""
    ax.fill_between(x, [min(entry) for entry in runs], [max(entry) for entry in runs], color=shade, alpha=0.2)
    ax.plot(x, [median(entry) for entry in runs], color=shade, **line)
