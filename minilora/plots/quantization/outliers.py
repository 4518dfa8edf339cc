"""The error around a planted outlier, by its size: with one scale for all weights, and with a scale for each block."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minilora.plots.style import BOUND, band, color, label, median

LAYOUT = {"nrows": 2, "ncols": 2, "figsize": (6.8, 7.6), "sharex": True, "sharey": True}
MEASURES = {"rms": "RMS error", "mae": "mean absolute error"}
ZEROS = {"rms": 1.0, "mae": np.sqrt(2 / np.pi)}  # the error of normal weights that all become 0, over their RMS
STYLES = {"inside": "-", "outside": "--"}
LARGE = 13  # points: headline figures are read on phones


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """A row for each measure of error. Left: one scale for all weights. Right: a scale for each block."""
    for row, measure in zip(axes, MEASURES, strict=True):
        for ax, scaling in zip(row, ("tensor", "block"), strict=True):
            _draw_errors(ax, numbers, measure, scaling)
        row[0].set_ylabel(f"{MEASURES[measure]} / RMS", fontsize=LARGE)
    axes[0, 0].set_title(f"One scale for all {numbers['values']:,}", fontsize=LARGE)
    axes[0, 1].set_title(f"A scale per block of {numbers['block_size']}", fontsize=LARGE)
    figure = axes[0, 0].figure
    figure.supxlabel("size of one outlier, standard deviations", fontsize=LARGE)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=2, fontsize=LARGE - 1)


def _draw_errors(ax, numbers, measure, scaling):
    """At both places, against the outlier's size: the median of the seeds in a band from least to largest."""
    sizes, codes = numbers["sizes"], numbers["error"][measure][scaling]
    names = {"inside": f"its {numbers['block_size'] - 1} neighbors", "outside": "all others"}
    for code, by_place in codes.items():
        for place, name in names.items():
            style = {"linestyle": STYLES[place], "marker": "o", "markersize": 4}
            band(ax, sizes, by_place[place], color(code), label=f"{label(code)}: {name}", **style)
    ax.axhline(ZEROS[measure], color=BOUND, linewidth=1, linestyle=":")
    ax.text(sizes[0], ZEROS[measure] + 0.01, "all become 0", va="bottom", fontsize=LARGE - 2)
    ax.set_xscale("log")
    ax.set_xticks(sizes, [f"{size:g}" for size in sizes])
    ax.minorticks_off()
    ax.set_ylim(0, 1.15)
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.tick_params(labelsize=LARGE - 1)


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    seeds = len(numbers["error"]["rms"]["block"]["nf4"]["inside"][0])
    return (
        f"{_one_scale(numbers)} {_blocks(numbers)} {_code(numbers)} Medians of {seeds} seeds, at most "
        f"{_apart(numbers, 'inside'):.2f} apart among its {numbers['block_size'] - 1} neighbors and "
        f"{_apart(numbers, 'outside'):.2f} elsewhere. Error of weights, not loss."
    )


def _one_scale(numbers):
    """What an outlier does to all others that share its scale."""
    sizes, middle = numbers["sizes"], len(numbers["sizes"]) // 2
    medians = _medians(numbers, "tensor", "outside")
    gone = all(np.allclose(rows[:, -1], ZEROS[measure], rtol=0.01) for measure, rows in medians.items())
    return (
        f"With one scale for {numbers['values']:,} normal weights, one outlier of {sizes[middle]:g} standard deviations brings the "
        f"RMS error of the others to {_shown(medians['rms'][:, middle])} of their RMS with int4 and NF4 (mean absolute error: "
        f"{_shown(medians['mae'][:, middle])}); at {sizes[-1]:g} {'nothing is left of them' if gone else 'it is'} "
        f"({_shown(medians['rms'][:, -1])}; {_shown(medians['mae'][:, -1])})."
    )


def _blocks(numbers):
    """What it does where each block has a scale of its own."""
    sizes, middle = numbers["sizes"], len(numbers["sizes"]) // 2
    others, neighbors = (_medians(numbers, "block", place) for place in ("outside", "inside"))
    held = all((np.ptp(rows, axis=1) < 0.01 * rows[:, 0]).all() for rows in others.values())
    suffers = all((rows[:, middle] > 1.5 * others[measure][:, middle]).all() for measure, rows in neighbors.items())
    last = f"{_shown(others['rms'][:, -1], 3)} ({_shown(others['mae'][:, -1], 3)})"
    beside = f"at {sizes[middle]:g}: {_shown(neighbors['rms'][:, middle])}; {_shown(neighbors['mae'][:, middle])}"
    return (
        f"With a scale for each block of {numbers['block_size']} they "
        f"{f'stay at {last} whatever its size' if held else f'are at {last} beside one of {sizes[-1]:g}'}"
        f"{f', and only its own block suffers ({beside}): the blocks contain an outlier.' if held and suffers else '.'}"
    )


def _code(numbers):
    """Where NF4 is better than int4 beside the outlier, seed by seed on the same weights."""
    sizes, middle = numbers["sizes"], len(numbers["sizes"]) // 2
    ratios = np.array(  # (measures, sizes, seeds)
        [np.divide(by["block"]["nf4"]["inside"], by["block"]["int4"]["inside"]) for by in numbers["error"].values()]
    )
    smaller, equal = (ratios < 0.99).all(axis=(0, 2)), (abs(ratios - 1) < 0.01).all(axis=(0, 2))
    if not smaller.any():
        return "Beside it NF4's error is not smaller than int4's in every seed at any size."
    where = ", ".join(f"{size:g}" for size, better in zip(sizes, smaller, strict=True) if better)
    same = ", ".join(f"{size:g}" for size, alike in zip(sizes, equal, strict=True) if alike)
    return (
        f"Beside it NF4's error is below int4's in every seed, by both measures, at {where}{f'; at {same} they are equal' if same else ''}"
        f"{': the code softens a moderate outlier and no large one.' if smaller[middle] and equal[-1] else '.'}"
    )


def _medians(numbers, scaling, place):
    """{measure: medians over seeds, (codes, sizes)}"""
    return {
        measure: np.array([[median(row) for row in by_place[place]] for by_place in scalings[scaling].values()])
        for measure, scalings in numbers["error"].items()
    }


def _shown(values, digits=2):
    return " and ".join(f"{value:.{digits}f}" for value in values)


def _apart(numbers, place):
    """The largest distance between two seeds, of all sizes, codes, scalings and measures."""
    return max(
        np.ptp(by_place[place], axis=1).max()
        for scalings in numbers["error"].values()
        for by_code in scalings.values()
        for by_place in by_code.values()
    )
