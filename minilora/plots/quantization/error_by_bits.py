"""Error against all stored bits per parameter, for each code."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minilora.plots.style import CODES, INK, color, label

LAYOUT = {"nrows": 1, "ncols": 3, "figsize": (17, 5.2)}
TITLES = {"normal": "Normal weights", "base": "The base's weights"}
OTHERS = {
    "nf4 double": ("#0072B2", "--", "NF4, double quantization"),
    "lloyd": ("#E69F00", ":", "trained code (Lloyd)"),
    "lloyd signed": ("#009E73", ":", "trained code, signed absmax"),
}


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left and middle: the codes of about four bits on each source. Right: NF2 to NF8 on normal weights. Each line runs
    through the block sizes, from many bits (small blocks) to few."""
    sources = numbers["sources"]
    ticks = [0.08, 0.1, 0.12, 0.15, 0.2]
    for ax, (source, by_code) in zip(axes, sources.items(), strict=False):
        for name, entry in by_code.items():
            if name in CODES or name in OTHERS:
                shade, style, text = (color(name), "-", label(name)) if name in CODES else OTHERS[name]
                _line(ax, entry, style, color=shade, label=text)
        _axis(ax, ticks, TITLES[source])
        ax.set_ylim(0.06, 0.28)
    axes[0].set_ylabel("RMS error / RMS")
    axes[1].legend(loc="upper right", fontsize=8, ncol=2)
    for name, entry in sources["normal"].items():
        if name.startswith("nf") and name[2:].isdigit():
            _line(axes[2], entry, "-", color=color("nf4") if name == "nf4" else INK)
            axes[2].annotate(
                name.upper(), (entry["bits"][0], np.mean(entry["rms"][0])), (6, 0), textcoords="offset points"
            )
    _axis(axes[2], [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0], "Normal weights, 2 to 8 bits")


def _line(ax, entry, style, **how):
    return ax.plot(entry["bits"], [np.mean(v) for v in entry["rms"]], style, marker="o", markersize=3.5, **how)


def _axis(ax, ticks, title):
    ax.set_yscale("log")
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel("bits per parameter, scales included (marks: block sizes)")
    ax.set_title(title)


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
        f"{rms('lloyd signed', 64):.4f}.{_quantiles(normal, sizes)} {seeds} seeds, NF4's spread at most {spread:.1g}; the base is "
        f"one sample. Error is not loss: see quantized_loss."
    )


def _quantiles(normal, sizes):
    """Where codes of quantiles gain nothing from smaller blocks."""
    worse = [
        name
        for name, entry in normal.items()
        if name.startswith("nf") and name[2:].isdigit() and np.mean(entry["rms"][0]) > np.mean(entry["rms"][-1])
    ]
    if not worse:
        return ""
    most = worse[-1]
    small, large = (np.mean(normal[most]["rms"][i]) for i in (0, -1))
    return (
        f" Quantiles do not scale to many bits: {', '.join(map(str.upper, worse))} have a larger error in blocks of {sizes[0]} than "
        f"of {sizes[-1]} ({most.upper()} {small:.4f} and {large:.4f}), for their outermost steps stay wide, and smaller blocks put "
        "more weights there."
    )
