"""The grids of int4, FP4 and NF4 under the densities of scaled weights."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import INK, color, label

LAYOUT = {"nrows": 2, "ncols": 1, "figsize": (8, 6.4), "sharex": True, "height_ratios": (1.5, 1)}


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Top: two densities. Bottom: a row of ticks for each code's levels."""
    top, bottom = axes
    edges = numbers["edges"]
    top.stairs(numbers["density"]["base"], edges, fill=True, color="#d9d9d9", label="the base's weights")
    top.stairs(numbers["density"]["normal"], edges, color=INK, linewidth=1.5, label="normal weights")
    top.set_title(f"Weights over the largest of their block of {numbers['block_size']} crowd around zero")
    top.set_ylabel("density")
    top.legend(loc="upper left")
    codes = list(numbers["levels"])
    for row, code in enumerate(codes):
        levels = numbers["levels"][code]
        bottom.vlines(levels, row - 0.33, row + 0.33, color=color(code), linewidth=2.4)
    bottom.set_yticks(range(len(codes)), [label(code) for code in codes])
    bottom.set_ylim(len(codes) - 0.4, -0.6)
    bottom.grid(axis="y", visible=False)
    bottom.set_title("int4 spaces its values evenly; NF4 puts them where weights are")
    bottom.set_xlabel("weight / absmax of its block")


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    inner, inside, uneven = numbers["inner_half"], numbers["weights_inside"], numbers["nf4_unevenness"]
    return (
        f"{inside['normal']:.0%} of normal weights ({inside['base']:.0%} of the base's), scaled by the largest of their block "
        f"of {numbers['block_size']}, lie between -0.5 and 0.5. NF4 spends {inner['nf4']:.0%} of its values there, int4 "
        f"{inner['int4']:.0%}. Yet NF4's bins are not used evenly after absmax scaling: the most used comes up "
        f"{uneven['normal']:.1f} times as often as the least used on normal weights, {uneven['base']:.1f} times on the base's."
    )
