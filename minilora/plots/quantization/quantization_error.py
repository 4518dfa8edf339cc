"""Error against block size, for each code and source."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import GUIDE, color, label, log2_axis

LAYOUT = {"nrows": 3, "ncols": 4, "figsize": (13, 10), "height_ratios": (1, 1, 1.05)}
TITLES = {
    "normal": "Normal weights",
    "student_t": "Heavy tails (Student's t, 4 d.f.)",
    "uniform": "Uniform weights",
    "base": "The base's real weights",
}
MEASURES = {"rms": "RMS error", "mae": "mean absolute error"}


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """A row for each measure of error, a column for each source; below, the base matrix by matrix."""
    for row, measure in zip(axes[:2], MEASURES, strict=True):
        _draw_sources(row, numbers, measure)
    for ax in axes[0]:
        ax.tick_params(labelbottom=False)
    for ax, source in zip(axes[0], numbers["error"], strict=True):
        ax.set_title(TITLES[source])
    for ax in axes[1]:
        ax.set_xlabel("block size")
    for ax in axes[2]:
        ax.remove()
    wide = axes[0, 0].figure.add_subplot(axes[2, 0].get_gridspec()[2, :])
    _draw_matrices(wide, numbers["layers"])


def _draw_sources(axes, numbers, measure):
    sizes = numbers["block_sizes"]
    for ax, codes in zip(axes, numbers["error"].values(), strict=True):
        for code, errors in codes.items():
            ax.plot(sizes, errors[measure]["mean"], color=color(code), marker="o", markersize=3)
        log2_axis(ax, sizes, rotation=60)
        ax.set_ylim(bottom=0)
    axes[0].set_ylabel(f"{MEASURES[measure]} / RMS")


def _draw_matrices(ax, layers):
    places = range(len(layers))
    for code in next(iter(layers.values())):
        ax.plot(places, [errors[code] for errors in layers.values()], "o", color=color(code), label=label(code))
    names = [path.split(".")[-1].removesuffix("_proj") for path in layers]
    ax.set_xticks(places, names, rotation=90)
    ax.set_xlim(-0.7, len(layers) - 0.3)
    ax.set_ylim(bottom=0)
    for first in range(0, len(layers), 7):  # seven matrices per layer
        ax.axvline(first - 0.5, color=GUIDE, linewidth=0.8)
        ax.text(first - 0.3, 0.004, f"layer {first // 7}")
    ax.grid(axis="x", visible=False)
    ax.set_ylabel("RMS error / RMS")
    affine = sum(errors["int4_affine"] < errors["nf4"] for errors in layers.values())
    ax.set_title(f"The base matrix by matrix, in blocks of 64: affine int4 beats NF4 on {affine} of {len(layers)}")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 0.12), ncols=6, frameon=True, framealpha=1, edgecolor="white")


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    sizes, errors = numbers["block_sizes"], numbers["error"]

    def rms(source, code, size):
        return errors[source][code]["rms"]["mean"][sizes.index(size)]

    wins = [b for b in sizes if rms("normal", "int4_affine", b) < rms("normal", "nf4", b)]
    layers = list(numbers["layers"].values())
    best = sum(layer["nf4"] < layer["int4"] for layer in layers)
    return (
        f"On normal weights in blocks of 64, NF4 loses {rms('normal', 'nf4', 64):.4f} of the RMS, int4 "
        f"{rms('normal', 'int4', 64):.4f}, FP4 of bitsandbytes {rms('normal', 'fp4', 64):.4f}, AF4 "
        f"{rms('normal', 'af4', 64):.4f}. Affine int4, which stores a second number per block, beats NF4 at block sizes "
        f"{', '.join(map(str, wins))} and loses above. With heavy tails the block size matters more than the code (NF4 at 64: "
        f"{rms('student_t', 'nf4', 64):.3f}, at 4096: {rms('student_t', 'nf4', 4096):.3f}); on uniform weights int4 wins "
        f"({rms('uniform', 'int4', 64):.4f} against {rms('uniform', 'nf4', 64):.4f}). On {best} of the base's {len(layers)} "
        f"matrices NF4 beats int4 ({rms('base', 'nf4', 64):.4f} against {rms('base', 'int4', 64):.4f} over all)."
    )
