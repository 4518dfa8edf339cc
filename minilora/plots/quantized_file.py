"""The error of every matrix of a file under each code, beside what a normal law would give."""

from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import BOUND, CODES, color, label

LAYOUT = {"figsize": (10, 4.5)}
OTHER = (
    "#009E73",
    "#F0E442",
    "#882255",
    "#44AA99",
    "#DDCC77",
    "#117733",
    "#AA4499",
)  # codes without a color of their own
# RMS error on N(0, 1) in blocks of 64, measured on 2^22 values: where a code stands on ordinary weights.
NORMAL = {"nf4": 0.0920, "int4": 0.1077, "int4_full": 0.0993, "int4_affine": 0.0897, "fp4": 0.1220, "fp4_e2m1": 0.1057}
NORMAL_BLOCK = 64


def draw(ax: Axes, numbers: dict[str, Any]) -> None:
    """A point for each matrix, in the order of the file; a dashed line where a normal law would put a code."""
    rows = [row for row in numbers["tensors"] if row["results"]]
    spare = iter(OTHER)
    colors: dict[str, str] = {}
    for place in range(len(rows[0]["results"]) if rows else 0):
        result = rows[0]["results"][place]
        code, size = result["code"], result["block_size"]
        if code not in colors:
            colors[code] = color(code) if code in CODES else next(spare, BOUND)
        errors = [100 * row["results"][place]["rms_error"] for row in rows]
        name = label(code) if code in CODES else code
        ax.plot(range(len(rows)), errors, ".", color=colors[code], markersize=6, label=f"{name}, blocks of {size}")
        if size == NORMAL_BLOCK and code in NORMAL:
            ax.axhline(100 * NORMAL[code], color=colors[code], linestyle="--", linewidth=0.9)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("matrix, in the order of the file")
    ax.set_ylabel("RMS error, % of the RMS")
    ax.set_title(f"{len(rows)} matrices in four bits (dashed: a normal law, blocks of {NORMAL_BLOCK})")
    if rows:
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
