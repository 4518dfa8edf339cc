"""Bits of scale per parameter, counted bytes, gigabytes."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import INK, color, log2_axis

LAYOUT = {"nrows": 1, "ncols": 3, "figsize": (13, 4.4)}
SINGLE, DOUBLE = color("int4"), color("nf4")


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left: formula against block size. Middle: counted on tensors. Right: GB for Llama's sizes."""
    formula, counted, memory = axes
    draw_formula(formula, numbers)
    draw_counted(counted, numbers["counted"])
    draw_gigabytes(memory, numbers["gigabytes"])


def draw_formula(ax: Axes, numbers: dict[str, Any]) -> None:
    """Bits of scale against the block size: float32 scales, and scales quantized again in blocks of several sizes."""
    sizes, marks = numbers["block_sizes"], numbers["headline"]
    ax.plot(sizes, numbers["single_bits"], color=SINGLE, marker="o", markersize=3)
    for second, bits in numbers["double_bits"].items():
        main = second == "256"
        ax.plot(sizes, bits, color=DOUBLE, alpha=1 if main else 0.3, marker="o" if main else None, markersize=3)
    log2_axis(ax, sizes)
    ax.set_yscale("log", base=2)
    ax.set_yticks([2, 1, 0.5, 0.25, 0.125, 1 / 16, 1 / 32], ["2", "1", "0.5", "0.25", "0.125", "1/16", "1/32"])
    ax.annotate("0.5", (64, marks["single"]), (76, 0.62), color=SINGLE)
    ax.annotate(f"{marks['double']:.3f}", (64, marks["double"]), (70, 0.15), color=DOUBLE)
    ax.plot([64, 64], [marks["single"], marks["double"]], color=INK, linestyle="none", marker="o", markersize=6)
    ax.set_title("By formula: float32 scales (orange),\nquantized again (blue; faint: other second blocks)")
    ax.set_xlabel("block size")
    ax.set_ylabel("bits of scale per parameter")


def draw_counted(ax: Axes, tensors: Any) -> None:
    """A pair of bars for each tensor, with the number on the second."""
    rows = range(len(tensors))
    ax.barh([row - 0.2 for row in rows], [entry["single"] for entry in tensors.values()], 0.38, color=SINGLE)
    ax.barh([row + 0.2 for row in rows], [entry["double"] for entry in tensors.values()], 0.38, color=DOUBLE)
    for row, entry in zip(rows, tensors.values(), strict=True):
        ax.text(entry["double"] + 0.01, row + 0.2, f"{entry['double']:.4f}", va="center", fontsize=8)
    ax.set_yticks(rows, list(tensors), fontsize=8)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_title("Counted bytes: small tensors pay more")
    ax.set_xlabel("bits of scale per parameter")


def draw_gigabytes(ax: Axes, models: Any) -> None:
    """A pair of bars for each model, with both numbers."""
    for offset, key, shade in ((-0.2, "single", SINGLE), (0.2, "double", DOUBLE)):
        places = [i + offset for i in range(len(models))]
        heights = [entry[key] for entry in models.values()]
        ax.bar(places, heights, 0.38, color=shade)
        for x, y in zip(places, heights, strict=True):
            ax.text(x, y, f"{y:.2f}", ha="center", va="bottom", fontsize=8)
    ax.set_xticks(range(len(models)), list(models))
    ax.grid(axis="x", visible=False)
    ax.set_title("Scales of a Llama's linear layers")
    ax.set_ylabel("GB")


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    marks, counted, gb, error = (numbers[key] for key in ("headline", "counted", "gigabytes", "error"))
    return (
        f"A float32 scale for 64 weights costs 32/64 = {marks['single']} bits per parameter; quantized again to 8 bits in blocks "
        f"of 256 it costs 8/64 + 32/(64*256) = {marks['double']:.3f}. Counted on real tensors: {counted['2048x2048']['double']:.4f} "
        f"for 2048x2048, {counted['64x64']['double']:.4f} for one 64x64. For the linear layers of Llama 65B that is "
        f"{gb['65B']['single']:.2f} GB before and {gb['65B']['double']:.2f} GB after. The error of NF4 rises from {error['none']:.5f} to "
        f"{error['dynamic']:.5f} with the dynamic map ({error['int8']:.5f} with linear int8, {error['e4m3']:.5f} with E4M3)."
    )
