"""How evenly NF4's bins are used, where the best codes put their levels, and how far NF4 is from them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minilora.plots.style import INK, color, label, log2_axis

LAYOUT = {"nrows": 1, "ncols": 3, "figsize": (14, 4.6), "width_ratios": (1, 1.1, 1.1)}
NAMES = {"pinned": "Lloyd, with -1, 0, 1 kept", "signed": "Lloyd, signed absmax (BOF4)"}
SHADES = {"pinned": "#E69F00", "signed": "#009E73"}
MARKERS = {"mean absolute": "s", "rms": "o"}


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left: use of each bin. Middle: levels at block 64. Right: the excess of NF4's error by block size."""
    _draw_use(axes[0], numbers)
    _draw_levels(axes[1], numbers["levels"])
    _draw_excess(axes[2], numbers)


def _draw_use(ax, numbers):
    sizes, chosen = numbers["block_sizes"], [size for size in (16, 64, 1024) if size in numbers["block_sizes"]]
    for size, alpha in zip(chosen, (1.0, 0.65, 0.35), strict=False):
        use = numbers["use"][sizes.index(size)]
        ax.plot(range(16), [16 * share for share in use], marker="o", color=color("nf4"), alpha=alpha, label=f"{size}")
    ax.axhline(1, color=INK, linestyle="--", linewidth=1)
    ax.text(15, 1.02, "even use", ha="right", va="bottom")
    ax.set_ylim(bottom=0)
    ax.set_xticks(range(0, 16, 3))
    ax.set_xlabel("NF4 code")
    ax.set_ylabel("use, over even use (1/16)")
    ax.set_title("NF4's bins on normal weights")
    ax.legend(title="block size", loc="lower center")


def _draw_levels(ax, levels):
    rows = ["nf4", *(name for name in levels if name != "nf4")]
    names = []
    for place, name in enumerate(reversed(rows)):
        kind, _, measure = name.partition(", ")
        shade = color("nf4") if name == "nf4" else SHADES[kind]
        ax.plot(levels[name], [place] * len(levels[name]), "|", color=shade, markersize=16, markeredgewidth=2)
        names.append(label("nf4") if name == "nf4" else f"{kind},\nleast {measure}")
    ax.set_yticks(range(len(rows)), names)
    ax.set_ylim(-0.6, len(rows) - 0.4)
    ax.set_xlabel("level")
    ax.set_title("Levels at block 64")


def _draw_excess(ax, numbers):
    sizes = numbers["block_sizes"]
    for measure, errors in numbers["error"].items():
        for name in NAMES:
            excess = 100 * (np.array(errors["nf4"]) / np.array(errors[name]) - 1)  # (block sizes, seeds)
            style = "-" if measure == "rms" else "--"
            ax.plot(
                sizes,
                excess.mean(axis=1),
                style,
                marker=MARKERS[measure],
                color=SHADES[name],
                label=f"{NAMES[name]}, {measure}",
            )
            ax.fill_between(sizes, excess.min(axis=1), excess.max(axis=1), color=SHADES[name], alpha=0.2)
    log2_axis(ax, sizes)
    ax.axhline(0, color=INK, linewidth=1)
    ax.set_xlabel("block size")
    ax.set_ylabel("NF4's error beyond the best code's, %")
    ax.set_title("What a trained code gains")
    ax.set_ylim(top=1.45 * ax.get_ylim()[1])
    ax.legend(loc="upper center", fontsize=8)


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    at = numbers["block_sizes"].index(64)
    seeds = len(numbers["error"]["rms"]["nf4"][at])

    def excess(measure, name, place=at):
        errors = numbers["error"][measure]
        return float(np.mean(np.array(errors["nf4"][place]) / np.array(errors[name][place]) - 1))

    use = numbers["use"][at]
    best = [size for i, size in enumerate(numbers["block_sizes"]) if excess("mean absolute", "pinned", i) < 0.01]
    return (
        f"On normal weights in blocks of 64, NF4's most used bin comes up {max(use) / min(use):.1f} times as often as its least used: "
        f"its bins are not of equal probability once blocks are scaled. Still no code that keeps -1, 0 and 1 does much better in "
        f"mean absolute error (NF4 is {excess('mean absolute', 'pinned'):.2%} above Lloyd's; below 1% for blocks of "
        f"{', '.join(map(str, best))}). In RMS error NF4 is {excess('rms', 'pinned'):.1%} above Lloyd's, and "
        f"{excess('rms', 'signed'):.1%} above a code with a signed absmax, which needs no -1 (BOF4). "
        f"Means of {seeds} seeds; each Lloyd code "
        f"was trained on other weights than it is scored on. Normal weights only: on real ones see quantized_loss."
    )
