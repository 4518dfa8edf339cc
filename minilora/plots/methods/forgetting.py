"""What was forgotten against what was learned: at equal steps, at equal learning, by the update's size, and by the rate."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from scipy.stats import spearmanr
from scipy.stats import t as student

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
FULL = "full, same linears"
LEVELS = {2.0: "#a6bddb", 1.5: "#3690c0", 1.0: "#016450", 0.5: "#000000"}  # losses of the task, and their colors
SIZES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)


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
    order = sorted(whole(numbers), key=lambda name: median([run[-1] for run in _rises(numbers, name)]))
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
    ax.axvline(1, color=GUIDE, zorder=0)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("learning rate over the one that is best for the task")
    ax.set_title("By the rate (the sweeps, one seed)")


def paths(numbers: dict[str, Any], name: str, place: int = 0) -> list[dict[str, list[float]]]:
    """Of each seed the task's "loss", the "rise" of the text's, and the "size", before training and at each evaluation."""
    entry, base = numbers["methods"][name], numbers["base"]
    at, before = entry["at"][place], entry["before"]
    return [
        {
            "loss": [loss, *at["loss"][i]],
            "rise": [t - base for t in (text, *at["text"][i])],
            "size": [0.0, *at["size"][i]],
        }
        for i, (loss, text) in enumerate(zip(before["loss"], before["text"], strict=True))
    ]


def whole(numbers: dict[str, Any]) -> list[str]:
    """The methods of which no run at the rates of all seeds diverged: only they are compared."""
    return [
        name
        for name, entry in numbers["methods"].items()
        if all(run[-1] is not None for at in entry["at"] for run in at["loss"])
    ]


def movers(numbers: dict[str, Any]) -> list[str]:
    """The methods that change the linear layers."""
    return [n for n in whole(numbers) if all(run[-1] > 0 for run in numbers["methods"][n]["at"][0]["size"])]


def middle(runs: Sequence[Sequence[float]]) -> list[float]:
    """The median over seeds at each step.    runs: [seed][step]"""
    return [median(seeds) for seeds in zip(*runs, strict=True)]


def swept(numbers: dict[str, Any], entry: dict[str, Any]) -> list[dict[str, float]]:
    """The runs of a sweep that ended: "rate", "loss" and the text's "rise"."""
    return [point | {"rise": point["text"] - numbers["base"]} for point in entry["sweep"] if point["loss"] is not None]


def at_level(level: float, x: Sequence[float], y: Sequence[float]) -> float | None:
    """y where x first comes down to the level, on the line between two evaluations; None if it never does."""
    for i, value in enumerate(x):
        if value <= level:
            share = (x[i - 1] - level) / (x[i - 1] - value) if i else 1.0
            return float(y[i] - (1 - share) * (y[i] - y[i - 1]))
    return None


def equal_learning(numbers: dict[str, Any], level: float, place: int = 0) -> dict[str, list[float]]:
    """The text's rise where the task's loss came down to the level (between evaluations by its logarithm), by seed, of the
    methods of which every seed got there."""
    found = {
        name: [at_level(np.log(level), np.log(path["loss"]), path["rise"]) for path in paths(numbers, name, place)]
        for name in whole(numbers)
        if place < len(numbers["methods"][name]["at"])
    }
    return {name: rises for name, rises in found.items() if None not in rises}


def equal_size(numbers: dict[str, Any], size: float) -> dict[str, dict[str, list[float]]]:
    """ "loss" and "rise" by seed where |dW| / |W| came up to this, of the methods that change the linear layers."""
    return {
        name: {
            kind: [at_level(-size, [-s for s in path["size"]], path[kind]) for path in paths(numbers, name)]
            for kind in ("loss", "rise")
        }
        for name in movers(numbers)
    }


def correlations(x: dict[str, Sequence[float]], y: dict[str, Sequence[float]]) -> list[float]:
    """The rank correlation over methods, seed by seed; 0 where all are the same.    x, y: by method, a list over seeds"""
    pairs = zip(zip(*x.values(), strict=True), zip(*(y[name] for name in x), strict=True), strict=True)
    return [float(spearmanr(*pair).statistic) if min(map(len, map(set, pair))) > 1 else 0.0 for pair in pairs]


def chance(methods: int) -> float:
    """The rank correlation of so many methods that unrelated orders pass, up or down, once in twenty."""
    t = student.ppf(0.975, methods - 2)
    return float(t / np.sqrt(methods - 2 + t**2))


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    methods, base = numbers["methods"], numbers["base"]
    seeds = len(next(iter(methods.values()))["at"][0]["loss"])
    names = whole(numbers)
    listed = "; ".join(
        f"{name} {median(_last(numbers, name, 'loss')):.2f} and +{median(_last(numbers, name, 'rise')):.2f}"
        for name in names
    )
    gone = [name for name in methods if name not in names]
    sentences = [
        f"After {numbers['steps']} steps on {numbers['task']}, held-out loss of the task and rise of the loss on the base's own text "
        f"({base:.2f} before; {numbers['windows']} held-out windows), medians: {listed}.",
        f"Not compared, because a run diverged: {_listed(gone)}." * bool(gone),
        at_equal_steps(numbers),
        across(numbers),
        at_equal_learning(numbers),
        by_size(numbers),
        slower(numbers),
        by_rate(numbers),
        worse_than_guessing(numbers),
        f"Equal steps of batch {numbers['batch_size']}, {seeds} seeds, of which the first chose each method's rate, on a grid of "
        f"factors of two;{_ends(numbers)} the three ranks act by rsLoRA's scaling with alpha = 8, DoRA, PiSSA and LoRA on NF4 by "
        "alpha / r. One small base, one narrow task, and rates that were chosen for the task alone: other bases, longer training, "
        "replay of old text and other ways against forgetting this does not settle.",
    ]
    return " ".join(filter(None, sentences))


def at_equal_steps(numbers: dict[str, Any]) -> str:
    """Which methods have learned less than full fine-tuning of the same layers in every seed, and which have forgotten less?"""
    if FULL not in whole(numbers):
        return ""
    learned, lost = (
        _beside_full({name: _last(numbers, name, kind) for name in whole(numbers)}) for kind in ("loss", "rise")
    )
    return (
        "At equal steps, against full fine-tuning of the same layers, in every seed: learned less: "
        f"{_listed(learned[1])}; learned more: {_listed(learned[0])}; forgot less: {_listed(lost[0])}; forgot more: {_listed(lost[1])}."
    )


def across(numbers: dict[str, Any]) -> str:
    """Does what learned less forget less, over all methods? A sentence; none for fewer than four methods."""
    names = whole(numbers)
    if len(names) < 4:
        return ""
    learned = {name: [-loss for loss in _last(numbers, name, "loss")] for name in names}
    found = correlations(learned, {name: _last(numbers, name, "rise") for name in names})
    verdict = _verdict(
        found,
        len(names),
        "what learned less did forget less",
        "what learned less forgot more",
        "that what learns less forgets less does not show in every seed",
    )
    return f"Over the {len(names)} methods the rank correlation of learned and forgotten is {_range(found, len(names))}: {verdict}."


def at_equal_learning(numbers: dict[str, Any]) -> str:
    """Who forgot less where the task's loss was the same? For each level that full fine-tuning of the same layers reached."""
    sentences = []
    for level in LEVELS:
        rises = equal_learning(numbers, level)
        if FULL not in rises or len(rises) < 2:
            continue
        less, more = _beside_full(rises)
        middles = {name: median(runs) for name, runs in rises.items()}
        low, high = min(middles, key=middles.get), max(middles, key=middles.get)
        sentences.append(
            f"where the task's loss is {level:g} ({len(rises)} methods got there in every seed), from +{middles[low]:.2f} ({low}) to "
            f"+{middles[high]:.2f} ({high}), full of the same layers +{middles[FULL]:.2f}: less than that in every seed: {_listed(less)}; "
            f"more: {_listed(more)}"
        )
    return f"At equal learning, {'; '.join(sentences)}." if sentences else ""


def by_size(numbers: dict[str, Any]) -> str:
    """Does the size of the update tell how much was forgotten? At the end, and learned against forgotten at one size."""
    names = movers(numbers)
    if len(names) < 4:
        return ""
    sizes = {name: [run[-1] for run in numbers["methods"][name]["at"][0]["size"]] for name in names}
    found = correlations(sizes, {name: _last(numbers, name, "rise") for name in names})
    verdict = _verdict(
        found,
        len(names),
        "what moved the weights further forgot more",
        "what moved the weights further forgot less",
        "how far the weights moved does not tell it in every seed",
    )
    text = (
        f"Over the {len(names)} that change the linear layers, that of |dW| / |W| and forgotten is "
        f"{_range(found, len(names))}: {verdict}."
    )
    least = min(min(runs) for runs in sizes.values())
    reached = [size for size in SIZES if size <= least]
    if not reached:
        return text
    at = equal_size(numbers, reached[-1])
    rises = {name: median(at[name]["rise"]) for name in names}
    low, high = min(rises, key=rises.get), max(rises, key=rises.get)
    learned = {name: [-loss for loss in at[name]["loss"]] for name in names}
    found = correlations(learned, {name: at[name]["rise"] for name in names})
    verdict = _verdict(
        found,
        len(names),
        "what had learned less had forgotten less",
        "what had learned less had forgotten more",
        "no relation in every seed",
    )
    return (
        f"{text} Where |dW| / |W| is {reached[-1]:g}, the rise is +{rises[low]:.2f} ({low}) to +{rises[high]:.2f} ({high}), and the "
        f"correlation of learned and forgotten {_range(found, len(names))}: {verdict}."
    )


def slower(numbers: dict[str, Any]) -> str:
    """What a lower rate does, at equal steps and at equal learning where both rates got there: a sentence, or nothing."""
    found = []
    for name in whole(numbers):
        if len(numbers["methods"][name]["at"]) < 2:
            continue
        losses, rises = ([_last(numbers, name, kind, place) for place in (0, 1)] for kind in ("loss", "rise"))
        parts = [f"{name} ends with a task's loss of {_against(*losses, '{:.2f}')} and a rise of {_against(*rises)}"]
        for level in LEVELS:
            both = [equal_learning(numbers, level, place).get(name) for place in (0, 1)]
            if None not in both:
                parts.append(f"at a task's loss of {level:g}, {_against(*both)}")
        found.append("; ".join(parts))
    return f"With {numbers['factor']:g} times its best rate {'. '.join(found)}." if found else ""


def by_rate(numbers: dict[str, Any]) -> str:
    """In the sweeps: what the rate below the best one forgets and learns, over the methods; a sentence, or nothing."""
    lost, learned = {}, {}
    for name, entry in numbers["methods"].items():
        points = swept(numbers, entry)
        at = [point["rate"] for point in points].index(entry["best"])
        if at:
            lost[name] = points[at - 1]["rise"] / points[at]["rise"]
            learned[name] = points[at - 1]["loss"] / points[at]["loss"]
    if not lost:
        return ""
    more = [name for name, ratio in lost.items() if ratio >= 1]
    return (
        f"In the sweeps (one seed) the rate below the best one forgets less for {len(lost) - len(more)} of {len(lost)} methods"
        f"{f' (not for {_listed(more)})' if more else ''}: in the median {median(list(lost.values())):.2f} times the rise, with "
        f"{median(list(learned.values())):.2f} times the task's loss."
    )


def worse_than_guessing(numbers: dict[str, Any]) -> str:
    """Which methods leave the text above log 256, what a guess of every byte alike costs? A sentence, or nothing."""
    guess = float(np.log(256)) - numbers["base"]
    names = [name for name in whole(numbers) if min(_last(numbers, name, "rise")) > guess]
    return (
        f"A rise above +{guess:.2f} is worse than guessing every byte alike: {_listed(names)}, in every seed."
        if names
        else ""
    )


def _beside_full(runs):
    """The methods that are below full fine-tuning of the same layers in every seed, and those above."""
    full = runs[FULL]
    below = [name for name in runs if max(runs[name]) < min(full)]
    return below, [name for name in runs if min(runs[name]) > max(full)]


def _against(best, low, form="+{:.2f}"):
    """The lower rate's median, the best one's, and whether every seed parts them."""
    verdict = (
        "less in every seed"
        if max(low) < min(best)
        else "more in every seed"
        if min(low) > max(best)
        else "no difference beyond the seeds"
    )
    return f"{form.format(median(low))} instead of {form.format(median(best))} ({verdict})"


def _verdict(found, methods, positive, negative, neither):
    """What correlations say that all are beyond chance on one side, or are not."""
    bound = chance(methods)
    return positive if min(found) > bound else negative if max(found) < -bound else neither


def _range(found, methods):
    """The median and the ends over seeds, beside what unrelated orders would give."""
    return (
        f"{median(found):.2f} ({min(found):.2f} to {max(found):.2f} by seed; by chance within {chance(methods):.2f} of 0 in 19 cases "
        "of 20)"
    )


def _ends(numbers):
    """Whose best rate stands at an end of its sweep."""
    names = [
        name
        for name, entry in numbers["methods"].items()
        if entry["best"] in (entry["sweep"][0]["rate"], entry["sweep"][-1]["rate"])
    ]
    return f" at an end of its sweep, so that a better one may lie beyond: {_listed(names)};" if names else ""


def _last(numbers, name, kind, place=0):
    """ "loss" of the task or "rise" of the text's at the end, by seed."""
    return [path[kind][-1] for path in paths(numbers, name, place)]


def _rises(numbers, name):
    return [path["rise"] for path in paths(numbers, name)]


def _crossed(ax, x, y, shade, mark, **look):
    """A mark at the medians, with bars from the least to the largest in both directions."""
    at = median(x), median(y)
    bars = {"xerr": [[at[0] - min(x)], [max(x) - at[0]]], "yerr": [[at[1] - min(y)], [max(y) - at[1]]]}
    ax.errorbar(*at, **bars, fmt=mark, color=shade, markersize=8, elinewidth=1.2, **look)


def _listed(names):
    return ", ".join(names) or "none"


def _plain_ticks(ax, ticks):
    low, high = sorted(ax.get_xlim())
    shown = [tick for tick in ticks if low <= tick <= high]
    ax.set_xticks(shown, [f"{tick:g}" for tick in shown])
    ax.minorticks_off()
