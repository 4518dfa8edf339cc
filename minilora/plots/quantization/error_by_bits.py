"""Error against all stored bits per parameter, for each code."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minilora.plots.style import CODES, color, label

LAYOUT = {"nrows": 1, "ncols": 2, "figsize": (12.5, 5.2), "sharey": True}
TITLES = {"normal": "Normal weights", "base": "The base's weights"}
OTHERS = {
    "nf3": ("#332288", "-", "NF3"),
    "nf4 double": ("#0072B2", "--", "NF4, double quantization"),
    "lloyd": ("#E69F00", ":", "trained code (Lloyd)"),
    "lloyd signed": ("#009E73", ":", "trained code, signed absmax"),
}


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """A panel for each source; each line runs through the block sizes, from many bits (small blocks) to few."""
    for ax, (source, by_code) in zip(axes, numbers["sources"].items(), strict=True):
        _draw_source(ax, by_code)
        ax.set_title(TITLES[source])
    axes[0].set_ylabel("RMS error / RMS")
    axes[1].legend(loc="upper right", fontsize=8)


def _draw_source(ax, by_code):
    for name, entry in by_code.items():
        shade, style, text = (color(name), "-", label(name)) if name in CODES else OTHERS[name]
        ax.plot(
            entry["bits"],
            [np.mean(v) for v in entry["rms"]],
            style,
            color=shade,
            marker="o",
            markersize=3.5,
            label=text,
        )
    ax.set_yscale("log")
    ax.set_yticks([0.08, 0.1, 0.12, 0.15, 0.2, 0.25], ["0.08", "0.10", "0.12", "0.15", "0.20", "0.25"])
    ax.minorticks_off()
    ax.set_xlabel("bits per parameter, scales included (marks: block sizes, largest at the left)")


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    sizes, normal = numbers["block_sizes"], numbers["sources"]["normal"]

    def rms(code, size):
        return float(np.mean(normal[code]["rms"][sizes.index(size)]))

    def bits(code, size):
        return normal[code]["bits"][sizes.index(size)]

    seeds = len(normal["nf4"]["rms"][0])
    spread = max(np.ptp(v) for v in normal["nf4"]["rms"])
    pairs = [(small, 2 * small) for small in sizes if 2 * small in sizes]
    lost = [small for small, large in pairs if rms("int4_affine", large) < rms("nf4", small)]
    return (
        f"At the same {bits('nf4', 32):g} bits per parameter on normal weights, NF4 in blocks of 32 has an RMS error of "
        f"{rms('nf4', 32):.4f}, affine int4 in blocks of 64, which stores two numbers per block, "
        f"{rms('int4_affine', 64):.4f}; NF4 loses "
        f"this comparison "
        f"{'only in blocks of ' + ', '.join(map(str, lost)) if lost else 'at no block size'}. Double quantization moves NF4 "
        f"at 64 from {bits('nf4', 64):.2f} to {bits('nf4 double', 64):.2f} bits and its error from {rms('nf4', 64):.4f} to "
        f"{rms('nf4 double', 64):.4f}. At NF4's bits a trained code reaches {rms('lloyd', 64):.4f}, with a signed absmax "
        f"{rms('lloyd signed', 64):.4f}. {seeds} seeds, NF4's spread at most {spread:.1g}; the base is "
        f"one sample. Error is not loss: see quantized_loss."
    )
