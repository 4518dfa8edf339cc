"""What the scales look like, how well each eight-bit type holds them, and what that does to the weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minilora.plots.style import INK, log2_axis

LAYOUT = {"nrows": 1, "ncols": 3, "figsize": (14, 4.4)}
SOURCES = {"base": "the base", "normal": "normal weights", "outliers": "normal with outliers"}
SHADES = {"dynamic": "#0072B2", "int8": "#D55E00", "e4m3": "#009E73"}
NAMES = {"dynamic": "dynamic map", "int8": "linear int8", "e4m3": "FP8 E4M3"}
STYLES = {"base": "-", "normal": "--", "outliers": ":"}


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left: the scales' law. Middle: their error. Right: the weights' error that it adds."""
    _draw_law(axes[0], numbers)
    _draw_error(axes[1], numbers, lambda errors, name: 100 * np.array(errors[name]["scale"]))
    axes[1].set_ylabel("RMS error of the scales, % of their mean")
    axes[1].set_title("Error of the scales")
    axes[1].set_yscale("log")
    _draw_error(
        axes[2],
        numbers,
        lambda errors, name: 100 * (np.array(errors[name]["weights"]) / np.array(errors["float32"]["weights"]) - 1),
    )
    axes[2].set_ylabel("added to the weights' RMS error, %")
    axes[2].set_title("What it adds to NF4's error")
    axes[2].set_yscale("log")
    for name, text in NAMES.items():
        axes[2].plot([], [], color=SHADES[name], label=text)
    axes[2].set_ylim(top=60 * axes[2].get_ylim()[1])
    axes[2].legend(loc="upper right", ncols=3, fontsize=8)


def _draw_law(ax, numbers):
    edges = np.array(numbers["edges"])
    for source, density in numbers["histogram"].items():
        ax.plot((edges[:-1] + edges[1:]) / 2, density, STYLES[source], color=INK, label=SOURCES[source])
    ax.set_xlabel("(scale - mean) / largest of its 256")
    ax.set_ylabel("density")
    ax.set_yscale("log")
    ax.set_ylim(1e-3, 300)
    ax.set_title("Scales at block 64, as they are stored")
    ax.legend(fontsize=8)


def _draw_error(ax, numbers, measure):
    sizes = numbers["block_sizes"]
    for source, errors in numbers["sources"].items():
        for name in NAMES:
            values = measure(errors, name)  # (block sizes, samples)
            ax.plot(
                sizes,
                np.median(values, axis=1),
                STYLES[source],
                marker="o",
                markersize=3.5,
                color=SHADES[name],
            )
    log2_axis(ax, sizes)
    ax.set_xlabel("block size")


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    at = numbers["block_sizes"].index(64)

    def scale(source, name):
        return f"{np.median(numbers['sources'][source][name]['scale'][at]):.2%}"

    def added(source, name):
        errors = numbers["sources"][source]
        ratio = np.array(errors[name]["weights"][at]) / np.array(errors["float32"]["weights"][at]) - 1
        return f"{np.median(ratio):.3%}"

    parts = [
        f"{SOURCES[source]} {', '.join(f'{NAMES[name]} {scale(source, name)}' for name in NAMES)}" for source in SOURCES
    ]
    costs = [f"{added('base', name)} ({NAMES[name]})" for name in NAMES]
    matrices, seeds = numbers["samples"]["base"], numbers["samples"]["normal"]
    return (
        f"RMS error of eight-bit scales at block 64, over their mean: {'; '.join(parts)} (medians of "
        f"{matrices} matrices of the base, "
        f"of {seeds} seeds each). On the base the weights hardly notice: NF4's error grows by "
        f"{', '.join(costs)}. With outliers among the weights linear int8 costs most: "
        f"{added('outliers', 'int8')} against {added('outliers', 'dynamic')} for the dynamic map. All take the mean off first, "
        f"as bitsandbytes does. Error of weights, not loss."
    )
