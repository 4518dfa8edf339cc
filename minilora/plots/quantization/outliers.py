"""The error around a planted outlier, by its size: with a scale for each block, and with one for the tensor."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import color, label

LAYOUT = {"nrows": 1, "ncols": 2, "figsize": (10, 4.4), "sharey": True}


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left: the outlier's own block. Right: all other weights. Solid: scales by block; dotted: one for the tensor."""
    size = numbers["block_size"]
    titles = {"inside": f"The {size - 1} weights beside the outlier", "outside": "All other weights"}
    for ax, (place, title) in zip(axes, titles.items(), strict=True):
        draw_place(ax, place, numbers)
        ax.set_title(title)
    axes[0].set_ylabel("mean absolute error / RMS")
    axes[0].legend(loc="upper left")


def draw_place(ax: Axes, place: str, numbers: dict[str, Any]) -> None:
    """The error at one place ("inside" or "outside") against the outlier's size: a line for each code and scaling."""
    sizes = numbers["sizes"]
    styles = {"block": ("-", f"a scale for {numbers['block_size']}"), "tensor": (":", "one scale for all")}
    for scaling, by_code in numbers["error"].items():
        line, name = styles[scaling]
        for code, errors in by_code.items():
            ax.plot(sizes, errors[place], line, marker="o", color=color(code), label=f"{label(code)}, {name}")
    ax.set_xscale("log")
    ax.set_xticks(sizes, [f"{size:g}" for size in sizes])
    ax.minorticks_off()
    ax.set_xlabel("size of the outlier, standard deviations")


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    block, tensor = numbers["error"]["block"], numbers["error"]["tensor"]
    middle, largest = numbers["sizes"][2], numbers["sizes"][-1]
    return (
        f"With one scale for the tensor, an outlier of {middle:g} standard deviations raises the mean absolute error of all other "
        f"weights to {tensor['int4']['outside'][2]:.2f} of their RMS with int4 and {tensor['nf4']['outside'][2]:.2f} with NF4; at "
        f"{largest:g} both are at {tensor['nf4']['outside'][-1]:.2f}: nothing is left of them. With a scale for each block of "
        f"{numbers['block_size']} they stay at {block['int4']['outside'][-1]:.3f} and {block['nf4']['outside'][-1]:.3f}, and only "
        f"the outlier's own block suffers. The blocks contain an outlier; the code softens a moderate one and no large one."
    )
