"""What was forgotten against what was learned: at equal steps, at equal learning, by the update's size, and by the rate."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minilora.plots.methods.forgetting_caption import caption as caption
from minilora.plots.methods.forgetting_paths import equal_learning, last, middle, movers, paths, swept, whole
from minilora.plots.style import GUIDE, INK, median

LAYOUT = {"nrows": 2, "ncols": 2, "figsize": (15, 12)}
LOOKS = {  # a color and a mark for each method
    "LoRA, r = 1": ("#9ecae1", "o"),
    "LoRA, r = 8": ("#4292c6", "s"),
    "LoRA, r = 64": ("#084594", "D"),
    "DoRA": ("#7B61B3", "^"),
    "PiSSA": ("#CC79A7", "v"),
    "LoRA on NF4": ("#E69F00", "P"),
    "last block": ("#009E73", "X"),
    "norms": ("#7FC97F", "*"),
    "bottleneck": ("#8C564B", "h"),
    "prefix": ("#AAAAAA", "<"),
    "prompt": ("#666666", ">"),
    "full, same linears": ("#D55E00", "p"),
    "full": ("#000000", "d"),
}
LEVELS = {1.75: "#a6bddb", 1.5: "#3690c0", 1.0: "#016450", 0.5: "#000000"}  # losses of the task, and their colors


def draw(axes: np.ndarray, numbers: dict[str, Any]) -> None:
    """Above: at the end, with a path for each method; and at equal learning. Below: by the update's size; by the rate."""
    (ends, equal), (sizes, rates) = axes
    draw_ends(ends, numbers)
    draw_equal(equal, numbers)
    draw_sizes(sizes, numbers)
    draw_rates(rates, numbers)
    by_label = dict(zip(*reversed(ends.get_legend_handles_labels()), strict=True))
    names = sorted(by_label, key=lambda label: label not in LOOKS)  # the methods first
    ends.figure.legend([by_label[name] for name in names], names, loc="outside lower center", ncols=7)


def draw_ends(ax: Axes, numbers: dict[str, Any]) -> None:
    """Learned and forgotten at the end: the median over seeds, bars from the least to the largest; faint: the way there."""
    for name in whole(numbers):
        shade, mark = LOOKS[name]
        for place in range(len(numbers["methods"][name]["at"])):
            lost = [path["rise"] for path in paths(numbers, name, place)]
            learned = [path["loss"] for path in paths(numbers, name, place)]
            style = {"color": shade, "linestyle": ("-", "--")[place], "linewidth": 1, "alpha": 0.3}
            ax.plot(middle(learned)[1:], middle(lost)[1:], **style)
            look = {"markerfacecolor": (shade, "white")[place], "label": None if place else name}
            _crossed(ax, [run[-1] for run in learned], [run[-1] for run in lost], shade, mark, **look)
    ax.plot([], [], "o--", color=INK, linewidth=1, markerfacecolor="white", label=f"{numbers['factor']:g} x its rate")
    ax.set_xscale("log")
    ax.invert_xaxis()
    _plain_ticks(ax, (3, 2, 1.5, 1, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02))
    ax.set_ylim(bottom=0)
    ax.set_xlabel("held-out loss of the new task (to the right: more was learned)")
    ax.set_ylabel("rise of the loss on the base's text, nats per byte")
    ax.set_title(f"Learned and forgotten in {numbers['steps']} steps (bars: all seeds)")


def draw_equal(ax: Axes, numbers: dict[str, Any]) -> None:
    """The text's rise where the task's loss came down to each level, at the best rate: a row per method, bars over seeds."""
    at = {level: equal_learning(numbers, level) for level in LEVELS}
    names = [name for name in whole(numbers) if any(name in rises for rises in at.values())]
    order = sorted(names, key=lambda name: median(last(numbers, name, "rise")))
    for i, (level, shade) in enumerate(LEVELS.items()):
        names = [name for name in order if name in at[level]]
        places = [order.index(name) + 0.2 * ((len(LEVELS) - 1) / 2 - i) for name in names]
        runs = [at[level][name] for name in names]
        ax.hlines(places, [min(r) for r in runs], [max(r) for r in runs], color=shade, linewidth=2.5, alpha=0.5)
        ax.plot([median(r) for r in runs], places, "o", color=shade, markersize=5, label=f"task's loss {level:g}")
    for place in range(len(order)):
        ax.axhline(place - 0.5, color=GUIDE, linewidth=0.5)
    ax.grid(visible=False, axis="y")
    ax.set_ylim(-0.6, len(order) - 0.4)
    ax.set_yticks(range(len(order)), order)
    ax.set_xlim(left=0)
    ax.set_xlabel("rise of the loss on the base's text, nats per byte")
    ax.set_title("Forgotten at equal learning (where every seed got there)")
    ax.legend(fontsize=8, loc="lower right")


def draw_sizes(ax: Axes, numbers: dict[str, Any]) -> None:
    """The text's rise by how far the weights have moved: medians as they train, bars over seeds at the end."""
    for name in movers(numbers):
        shade, mark = LOOKS[name]
        for place in range(len(numbers["methods"][name]["at"])):
            runs = paths(numbers, name, place)
            size, lost = ([path[kind] for path in runs] for kind in ("size", "rise"))
            line = {"color": shade, "linestyle": ("-", "--")[place], "linewidth": 1.2}
            ax.plot(middle(size), middle(lost), **line)
            look = {"markerfacecolor": (shade, "white")[place]}
            _crossed(ax, [run[-1] for run in size], [run[-1] for run in lost], shade, mark, **look)
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("|dW| / |W| over the linear layers")
    ax.set_ylabel("rise of the loss on the base's text, nats per byte")
    ax.set_title("By the size of the update")


def draw_rates(ax: Axes, numbers: dict[str, Any]) -> None:
    """The text's rise at the end of each run of the sweeps, by the rate over the best one."""
    for name, entry in numbers["methods"].items():
        shade, mark = LOOKS[name]
        points = swept(numbers, entry)
        ax.plot(
            [p["rate"] / entry["best"] for p in points],
            [p["rise"] for p in points],
            color=shade,
            marker=mark,
            linewidth=1,
        )
    ax.set_xscale("log", base=2)
    low, high = ax.get_xlim()
    ticks = [2.0**i for i in range(-6, 7) if low <= 2.0**i <= high]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.axvline(1, color=GUIDE, linewidth=1, zorder=0)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("learning rate over the one that is best for the task")
    ax.set_title("By the rate (the sweeps, one seed)")


def _crossed(ax, x, y, shade, mark, **look):
    """A mark at the medians, with bars from the least to the largest in both directions."""
    at = median(x), median(y)
    bars = {"xerr": [[at[0] - min(x)], [max(x) - at[0]]], "yerr": [[at[1] - min(y)], [max(y) - at[1]]]}
    ax.errorbar(*at, **bars, fmt=mark, color=shade, markersize=8, elinewidth=1.2, **look)


def _plain_ticks(ax, ticks):
    low, high = sorted(ax.get_xlim())
    shown = [tick for tick in ticks if low <= tick <= high]
    ax.set_xticks(shown, [f"{tick:g}" for tick in shown])
    ax.minorticks_off()
