"""Memory of training by method: stacked bars of what is counted, activations by batch and length, and the formula at 7B."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import EASY, GUIDE, HARD, INK, log2_axis

LAYOUT = {"nrows": 1, "ncols": 3, "figsize": (16, 4.8), "width_ratios": (1.15, 1, 1.1)}
PARTS = {"weights": "#0072B2", "gradients": "#CC79A7", "optimizer": "#E69F00", "activations": "#56B4E9"}
LINES = {
    "full": (GUIDE, "-"),
    "LoRA": (EASY, "-"),
    "LoRA, checkpointing": (EASY, "--"),
    "NF4 LoRA": (HARD, "-"),
    "NF4 LoRA, checkpointing": (HARD, "--"),
    "prefix": ("#CC79A7", "-"),
}


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left: every array of the largest case. Middle: activations by batch and length. Right: 7B by formula."""
    held, grown, large = axes
    cells = _largest(numbers)
    B, T = cells[0]["batch"], cells[0]["length"]
    rows = {cell["method"]: {part: size / 1e6 for part, size in cell["counted"].items()} for cell in cells}
    peaks = [(cell["counted"]["weights"] + cell["peak"]) / 1e6 for cell in cells]
    _bars(held, rows, "MB", peaks)
    held.vlines(peaks, [row - 0.4 for row in range(len(peaks))], [row + 0.4 for row in range(len(peaks))], color=INK)
    held.set_title(f"The base, {B} x {T} tokens, counted (black: peak)")
    _draw_tokens(grown, numbers)
    length = max(numbers["large"]["full"], key=int)
    rows = {name: by_length[length] for name, by_length in numbers["large"].items()}
    _bars(large, rows, "GB", [0.0] * len(rows))
    large.set_title(f"Llama 7B, 16 bits, {numbers['large_batch']} text of {length} tokens")
    large.legend(loc="lower right")


def _largest(numbers):
    size = max((cell["batch"], cell["length"]) for cell in numbers["cells"])
    return [cell for cell in numbers["cells"] if (cell["batch"], cell["length"]) == size]


def _bars(ax, rows, unit, marks):
    widest = max(sum(parts.values()) for parts in rows.values())
    for row, (parts, mark) in enumerate(zip(rows.values(), marks, strict=True)):
        left = 0.0
        for part, shade in PARTS.items():
            ax.barh(row, parts[part], left=left, color=shade, height=0.7, label=None if row else part)
            left += parts[part]
        ax.text(max(left, mark) + 0.02 * widest, row, f"{left:.1f}", va="center", fontsize=9)
    ax.set_yticks(range(len(rows)), rows)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.25 * widest)
    ax.set_xlabel(unit)
    ax.grid(visible=False)


def _draw_tokens(ax, numbers):
    cells = sorted(numbers["cells"], key=_tokens)
    small = min(cell["batch"] for cell in cells)
    for name, (shade, dash) in LINES.items():
        mine = [cell for cell in cells if cell["method"] == name]
        tokens = [_tokens(cell) for cell in mine]
        width = 5.0 if name == "full" else 1.8  # LoRA's line lies on it
        floats = [cell["formula"]["activations"] / 1e6 for cell in mine]
        ax.plot(tokens, floats, dash, color=shade, linewidth=width, label=name)
        for cell in mine:
            inside = "white" if cell["batch"] == small else shade
            ax.plot(_tokens(cell), cell["counted"]["activations"] / 1e6, "o", color=shade, mfc=inside, markersize=5)
    log2_axis(ax, sorted({_tokens(cell) for cell in cells}))
    ax.set_yscale("log")
    batches = sorted({cell["batch"] for cell in cells})
    lengths = ", ".join(str(length) for length in sorted({cell["length"] for cell in cells}))
    ax.set_xlabel(f"tokens: {batches[0]} text (hollow) or {batches[-1]} (full) of {lengths}")
    ax.set_ylabel("activations kept for backward, MB")
    ax.set_title("Activations: formula (lines), counted (dots)")
    ax.legend(fontsize=8, loc="upper left")


def _tokens(cell):
    return cell["batch"] * cell["length"]


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    cells = numbers["cells"]
    equal = sum(cell["counted"] == cell["formula"] for cell in cells)
    by_name = {cell["method"]: cell for cell in _largest(numbers)}
    B, T = by_name["full"]["batch"], by_name["full"]["length"]

    def mb(name, *parts):
        return f"{sum(by_name[name]['counted'][part] for part in parts) / 1e6:.1f}"

    over = [
        (cell["peak"] - sum(size for part, size in cell["counted"].items() if part != "weights")) / 1e6
        for cell in by_name.values()
    ]
    length = max(numbers["large"]["full"], key=int)
    large = {name: by_length[length] for name, by_length in numbers["large"].items()}

    def gb(name):
        return f"{sum(large[name].values()):.1f}"

    return (
        f"The formula gives the counted bytes exactly in {equal} of {len(cells)} cases (six methods, by batch and length). "
        f"On the base with {B} texts of {T} tokens LoRA (r = {numbers['r']}, all linear layers) takes gradients and moments "
        f"from {mb('full', 'gradients', 'optimizer')} to {mb('LoRA', 'gradients', 'optimizer')} MB and activations from "
        f"{mb('full', 'activations')} to {mb('LoRA', 'activations')}; NF4 takes the weights from {mb('LoRA', 'weights')} to "
        f"{mb('NF4 LoRA', 'weights')} and activations to {mb('NF4 LoRA', 'activations')}; checkpointing takes those to "
        f"{mb('NF4 LoRA, checkpointing', 'activations')}. A prefix of {numbers['num_virtual_tokens']} tokens keeps "
        f"{mb('prefix', 'activations')}: its layers are frozen and bare. The measured peak of two steps lies {min(over):.1f} to "
        f"{max(over):.1f} MB above what is counted: that is at work, not kept. Llama 7B in 16 bits (moments in 32, "
        f"{numbers['large_batch']} text of {length} tokens) would take {gb('full')} GB full, {gb('LoRA')} with LoRA, "
        f"{gb('NF4 LoRA')} over NF4, {gb('NF4 LoRA, checkpointing')} with checkpointing: by formula, not measured."
    )
