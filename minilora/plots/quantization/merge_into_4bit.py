"""Share of an update that a merge into four bits keeps, the share of what it had learned, and whole adapters in four ways."""

from collections.abc import Sequence
from statistics import mean, median
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.pairs import differ, signed
from minilora.plots.style import CODES, EASY, HARD, INK, band, color, label

LAYOUT = {"nrows": 1, "ncols": 3, "figsize": (16, 5), "width_ratios": (1.1, 1.1, 1)}
OTHERS = {"nf2": ("#882255", "NF2")}
WAYS = {
    "beside": ("beside, or merged and kept in float", INK, "o"),
    "requantized": ("merged, then quantized again", HARD, "s"),
    "original": ("onto the original, kept in float", "#56B4E9", "^"),
    "original requantized": ("onto the original, then quantized", EASY, "D"),
}

SHORT = ("beside, or\nkept in float", "quantized\nagain", "onto original,\nin float", "onto original,\nquantized")


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left: share of the update, in weights. Middle: share of the gain in loss. Right: exact answers of whole adapters."""
    _draw_shares(axes[0], numbers)
    _draw_gains(axes[1], numbers)
    _draw_exact(axes[2], numbers)


def _draw_shares(ax, numbers):
    for code, runs in numbers["shares"].items():
        shade, text = (color(code), label(code)) if code in CODES else OTHERS[code]
        band(ax, numbers["sizes"], runs, shade, label=f"{text}, random update")
    trained = numbers["adapters"]
    ax.plot(
        [a["size"] for a in trained],
        [a["share"] for a in trained],
        "*",
        color=color("nf4"),
        markeredgecolor=INK,
        markersize=10,
        label=f"{label('nf4')}, trained",
    )
    _size_axis(ax)
    ax.set_ylabel("share of the update kept (regression coefficient)")
    ax.set_title("Merged into four bits, by weights")
    ax.legend(loc="upper left")


def _draw_gains(ax, numbers):
    for way in ("requantized", "original requantized"):
        text, shade, mark = WAYS[way]
        points = [(a["size"], gain_kept(a, way)) for a in numbers["adapters"]]
        ax.plot(*zip(*points, strict=True), mark, color=shade, label=text, markersize=6)
    ax.axhline(1, color=INK, linewidth=1)
    ax.axhline(0, color=INK, linewidth=1)
    _size_axis(ax)
    ax.set_ylabel("share of the fall in held-out loss kept")
    ax.set_title("What the trained adapters had learned")
    ax.legend(loc="center right")


def _size_axis(ax):
    ax.set_xscale("log")
    ticks = (0.01, 0.03, 0.1, 0.3, 1)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_ylim(-0.05, 1.1)
    ax.set_xlabel("size of the update, |dW| / |W|")


def _draw_exact(ax, numbers):
    whole = _whole(numbers)
    for place, (way, (_, shade, mark)) in enumerate(WAYS.items()):
        exact = [100 * a["ways"][way]["exact"] for a in whole]
        ax.plot([place] * len(exact), exact, mark, color=shade)
    ax.set_xticks(range(len(WAYS)), SHORT, fontsize=9)
    ax.set_xlim(-0.6, len(WAYS) - 0.4)
    ax.set_ylabel("held-out answers exactly right, %")
    ax.set_title(f"Trained to the end, |dW| / |W| {_size(whole)}: each seed")


def gain_kept(adapter: dict[str, Any], way: str) -> float:
    """The share of the fall in loss, from the base alone to the adapter beside it, that is left when merged in a way."""
    before, beside = adapter["before"]["loss"], adapter["ways"]["beside"]["loss"]
    return (before - adapter["ways"][way]["loss"]) / (before - beside)


def _whole(numbers):
    """The adapters that were trained to the end, at the best rate."""
    best = max(a["rate"] for a in numbers["adapters"])
    return [a for a in numbers["adapters"] if a["rate"] == best]


def _size(adapters):
    low, high = min(a["size"] for a in adapters), max(a["size"] for a in adapters)
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    sizes, nf4 = numbers["sizes"], numbers["shares"]["nf4"]
    random = ", ".join(
        f"{mean(nf4[i]):.2f} at |dW|/|W| = {size:g}" for i, size in enumerate(sizes) if size in (0.01, 0.03, 0.1, 0.3)
    )
    rates = sorted({a["rate"] for a in numbers["adapters"]})
    smallest = [a for a in numbers["adapters"] if a["rate"] == rates[0]]
    whole = _whole(numbers)

    def span(adapters, number, form=".2f"):
        values = [number(a) for a in adapters]
        low, high = format(min(values), form), format(max(values), form)
        return low if low == high else f"{low} to {high}"

    beside, again, original, onto = (_exact(whole, way) for way in WAYS)
    return (
        f"Merged into an NF4 base and quantized again, a random update of rank {numbers['r']} keeps {random} (share of the "
        f"update, mean of {len(nf4[0])} seeds). Of the smallest trained adapters ({span(smallest, lambda a: a['size'], '.3f')}) that "
        f"way keeps {span(smallest, lambda a: gain_kept(a, 'requantized'))} of the fall in loss; merged onto the original "
        f"weights, then quantized, {span(smallest, lambda a: gain_kept(a, 'original requantized'))}: decoded weights lie on the "
        f"code's values and are rounded back, the original ones do not. Trained to the end ({_size(whole)}; "
        f"300 steps of 32, at the rate of figure qlora), on {whole[0]['task']}, exact answers are {beside} % beside or merged in float, "
        f"{again} % quantized again, {original} % merged onto the original in float, {onto} % then quantized (medians, and all seeds). "
        f"{_comparison(whole)} {len(smallest)} seeds each, NF4 with double quantization in blocks of 64, one task; ±: standard errors; a "
        "difference is what every seed sees and what exceeds two of them."
    )


def _exact(adapters, way):
    exact = sorted(100 * a["ways"][way]["exact"] for a in adapters)
    return f"{median(exact):.1f} ({exact[0]:.1f} to {exact[-1]:.1f})"


def _comparison(whole):
    """Whether the base that a large adapter was trained on is better to it than the original, with and without rounding."""
    parts, known = [], True
    for one, other in (("beside", "original"), ("requantized", "original requantized")):
        losses = [[a["ways"][way]["loss"] for a in whole] for way in (one, other)]
        known = known and differ(*losses) and mean(losses[0]) < mean(losses[1])
        parts.append(signed(*losses))
    why = "large adapters have learned to make up for the errors of their base" if known else "not a difference in both"
    return (
        f"On the base that they were trained on their loss differs from that on the original by {parts[0]} in float, {parts[1]} "
        f"quantized: {why}."
    )
