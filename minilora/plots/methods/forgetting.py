"""What was forgotten against what was learned: at equal steps, at equal learning, by the update's size, and by the rate."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minilora.plots.pairs import compared
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
SAID = (1.5, 0.5)  # of the levels, those that the caption names
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
    order = sorted(names, key=lambda name: median(_last(numbers, name, "rise")))
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
    """y where x first comes down to the level, on the line between two evaluations; None if it never does, or had before the
    first of them."""
    for i in range(1, len(x)):
        if x[i] <= level < x[i - 1]:
            share = (x[i - 1] - level) / (x[i - 1] - x[i])
            return float(y[i - 1] + share * (y[i] - y[i - 1]))
    return None


def equal_learning(numbers: dict[str, Any], level: float, place: int = 0) -> dict[str, list[float]]:
    """The text's rise where the task's loss came down to the level (between evaluations by its logarithm), by seed, of the
    methods of which every seed got there."""
    found = {
        name: [
            at_level(np.log(level), np.log(path["loss"][1:]), path["rise"][1:]) for path in paths(numbers, name, place)
        ]
        for name in whole(numbers)
        if place < len(numbers["methods"][name]["at"])
    }
    return {name: rises for name, rises in found.items() if None not in rises}


def equal_size(numbers: dict[str, Any], size: float, kind: str) -> dict[str, list[float]]:
    """ "loss" or "rise" where |dW| / |W| came up to this, by seed, of the methods of which every seed got there."""
    found = {
        name: [at_level(-size, [-s for s in path["size"][1:]], path[kind][1:]) for path in paths(numbers, name)]
        for name in movers(numbers)
    }
    return {name: values for name, values in found.items() if None not in values}


def correlations(x: dict[str, Sequence[float]], y: dict[str, Sequence[float]]) -> list[float]:
    """The rank correlation over methods, seed by seed; 0 where all are the same.    x, y: by method, a list over seeds"""
    pairs = zip(zip(*x.values(), strict=True), zip(*(y[name] for name in x), strict=True), strict=True)
    return [
        float(np.corrcoef([ranks(values) for values in pair])[0, 1]) if min(map(len, map(set, pair))) > 1 else 0.0
        for pair in pairs
    ]


def ranks(values: Sequence[float]) -> np.ndarray:
    """How many of the others each value is above, a tie counting one half.    values: (n,)"""
    own = np.asarray(values)[:, None]
    return (own > values).sum(axis=1) + (own == values).sum(axis=1) / 2


def chance(methods: int) -> float:
    """The rank correlation of so many methods that unrelated orders pass, up or down, about once in twenty."""
    return float(1.96 / np.sqrt(methods - 1))


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
        before_training(numbers),
        f"Not compared, because a run diverged: {_listed(gone)}." * bool(gone),
        at_equal_steps(numbers),
        across(numbers),
        by_size(numbers),
        at_equal_learning(numbers),
        slower(numbers),
        ahead_of(numbers),
        by_rate(numbers),
        worse_than_guessing(numbers),
        f"Equal steps of batch {numbers['batch_size']}, {seeds} seeds, of which the first chose each method's rate, on a grid of "
        f"factors of two;{_ends(numbers)} the three ranks act by rsLoRA's scaling with alpha = 8, DoRA, PiSSA and LoRA on NF4 by "
        "alpha / r. One small base, one narrow task, and rates that were chosen for the task alone: other bases, longer training, "
        "replay of old text and other ways against forgetting this does not settle.",
    ]
    return " ".join(filter(None, sentences))


def before_training(numbers: dict[str, Any]) -> str:
    """Where the text's loss is another before training, since the weights are quantized or virtual tokens are random."""
    starts = {name: median(e["before"]["text"]) - numbers["base"] for name, e in numbers["methods"].items()}
    listed = " · ".join(f"{name} {rise:+.3f}" for name, rise in starts.items() if abs(rise) > 5e-4)
    return f"Of that before training: {listed}." if listed else ""


def at_equal_steps(numbers: dict[str, Any]) -> str:
    """Which methods have learned less than full fine-tuning of the same layers in every seed, and which have forgotten less?"""
    if FULL not in whole(numbers):
        return ""
    learned, lost = (
        _beside_full({name: _last(numbers, name, kind) for name in whole(numbers)}) for kind in ("loss", "rise")
    )
    return (
        "At equal steps, against full fine-tuning of the same layers, in every seed: learned less: "
        f"{learned[1]}; learned more: {learned[0]}; forgot less: {lost[0]}; forgot more: {lost[1]}."
    )


def across(numbers: dict[str, Any]) -> str:
    """Does what learned less forget less, over all methods? A sentence; none for fewer than four methods."""
    names = whole(numbers)
    if len(names) < 4:
        return ""
    relation = learned_and_forgotten(
        *({name: _last(numbers, name, kind) for name in names} for kind in ("loss", "rise"))
    )
    return f"Over the {len(names)} methods the rank correlation of learned and forgotten is {relation}."


def learned_and_forgotten(losses: dict[str, list[float]], rises: dict[str, list[float]]) -> str:
    """Their rank correlation over methods, and what it says."""
    learned = {name: [-loss for loss in runs] for name, runs in losses.items()}
    return _relation(
        correlations(learned, rises), len(rises), "what learned less forgot less", "what learned less forgot more"
    )


def by_size(numbers: dict[str, Any]) -> str:
    """Does the size of the update tell how much was forgotten? At the end, and where all have come to one size."""
    names = movers(numbers)
    if len(names) < 4:
        return ""
    sizes = {name: [run[-1] for run in numbers["methods"][name]["at"][0]["size"]] for name in names}
    relation = _relation(
        correlations(sizes, {name: _last(numbers, name, "rise") for name in names}),
        len(names),
        "what moved the weights further forgot more",
        "what moved the weights further forgot less",
    )
    text = f"Over the {len(names)} that change the linear layers, the rank correlation of |dW| / |W| and forgotten is {relation}."
    size = np.floor(100 * min(min(runs) for runs in sizes.values())) / 100  # the largest to which all came
    rises = equal_size(numbers, size, "rise")
    if len(rises) < 4 or FULL not in rises:
        return text
    less, more = _beside_full(rises)
    verdict = learned_and_forgotten(equal_size(numbers, size, "loss"), rises).rpartition(": ")[2]
    return (
        f"{text} Where |dW| / |W| is {size:g}, {_from_to(rises)}, less in every seed: {less}; more: {more}; of learned and forgotten: "
        f"{verdict}."
    )


def at_equal_learning(numbers: dict[str, Any]) -> str:
    """Who forgot less where the task's loss was the same? For some levels, if full fine-tuning of the same layers reached them."""
    sentences = []
    for level in SAID:
        rises = equal_learning(numbers, level)
        if FULL not in rises or len(rises) < 2:
            continue
        less, more = _beside_full(rises)
        sentences.append(
            f"where the task's loss is {level:g}, {_from_to(rises)}, less in every seed: {less}; more: {more}"
        )
    return f"At equal learning, {'; '.join(sentences)}." if sentences else ""


def slower(numbers: dict[str, Any]) -> str:
    """What a lower rate does, at equal steps and at equal learning where both rates got there: a sentence, or nothing."""
    found = []
    for name in whole(numbers):
        if len(numbers["methods"][name]["at"]) < 2:
            continue
        losses, rises = ([_last(numbers, name, kind, place) for place in (0, 1)] for kind in ("loss", "rise"))
        parts = [f"{name} ends with a task's loss of {_against(*losses, '{:.2f}')} and a rise of {_against(*rises)}"]
        for level in SAID:
            both = [equal_learning(numbers, level, place).get(name) for place in (0, 1)]
            if None not in both:
                parts.append(f"at a task's loss of {level:g}, {_against(*both)}")
        if name != FULL and FULL in whole(numbers):
            beside = compared(rises[1], _last(numbers, FULL, "rise"))
            parts.append(
                f"against {FULL} at its best rate that rise is {beside.replace('better', 'less').replace('worse', 'more')}"
            )
        found.append("; ".join(parts))
    return f"With {numbers['factor']:g} times its best rate {'. '.join(found)}." if found else ""


def ahead_of(numbers: dict[str, Any]) -> str:
    """At its lower rate, than which methods has full fine-tuning of the same layers learned more and forgotten less in every seed,
    whichever of their rates is taken? A sentence, or nothing."""
    if FULL not in whole(numbers) or len(numbers["methods"][FULL]["at"]) < 2:
        return ""
    low = [max(_last(numbers, FULL, kind, 1)) for kind in ("loss", "rise")]
    others = [name for name in whole(numbers) if name != FULL]
    beaten = [
        name
        for name in others
        if all(
            least < min(_last(numbers, name, kind, place))
            for least, kind in zip(low, ("loss", "rise"), strict=True)
            for place in range(len(numbers["methods"][name]["at"]))
        )
    ]
    return (
        f"At this lower rate {FULL} has learned more and forgotten less, in every seed, than {_or_all_but(beaten, others)}, "
        "at each rate that ran with all seeds."
        if beaten
        else ""
    )


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
    less = median(list(lost.values()))
    text = (
        f"In the sweeps (one seed) the rate below the best one forgets less for {len(lost) - len(more)} of {len(lost)} methods"
        f"{f' (not for {_listed(more)})' if more else ''}: in the median {less:.2f} times the rise, with "
        f"{median(list(learned.values())):.2f} times the task's loss."
    )
    rises = [median(_last(numbers, name, "rise")) for name in whole(numbers)]
    pairs = [min(pair) / max(pair) for pair in combinations(rises, 2)]
    closer = sum(ratio > less for ratio in pairs)
    if 2 * closer <= len(pairs):
        return text
    return f"{text} Of the {len(pairs)} pairs of methods, each at its best rate, {closer} are closer to each other than that."


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
    """The methods that are below full fine-tuning of the same layers in every seed, and those above, as text."""
    full = runs[FULL]
    below = [name for name in runs if max(runs[name]) < min(full)]
    above = [name for name in runs if min(runs[name]) > max(full)]
    return tuple(_or_all_but(names, [name for name in runs if name != FULL]) for names in (below, above))


def _or_all_but(names, others):
    """The names, or which of the others are not among them, if these are few."""
    rest = [name for name in others if name not in names]
    if len(names) < 3 or len(rest) > 2:
        return _listed(names)
    return f"all others but {_listed(rest)}" if rest else "all others"


def _from_to(rises):
    """How many methods came there, the least and the largest median, and that of full fine-tuning of the same layers."""
    middles = {name: median(runs) for name, runs in rises.items()}
    low, high = min(middles, key=middles.get), max(middles, key=middles.get)
    return (
        f"which {len(rises)} methods came to, the rise is +{middles[low]:.2f} ({low}) to +{middles[high]:.2f} ({high}); beside full of the "
        f"same layers (+{middles[FULL]:.2f})"
    )


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


def _relation(found, methods, positive, negative):
    """Correlations by seed, beside what unrelated orders would give, and what they say."""
    bound = chance(methods)
    beyond = sum(abs(rho) > bound for rho in found)
    if min(found) > bound:
        verdict = positive
    elif max(found) < -bound:
        verdict = negative
    else:
        verdict = f"no relation beyond chance in {'every' if beyond else 'any'} seed"
    return (
        f"{median(found):.2f} ({min(found):.2f} to {max(found):.2f} by seed; by chance within {bound:.2f} of 0 in 19 cases of 20): "
        f"{verdict}"
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


def _crossed(ax, x, y, shade, mark, **look):
    """A mark at the medians, with bars from the least to the largest in both directions."""
    at = median(x), median(y)
    bars = {"xerr": [[at[0] - min(x)], [max(x) - at[0]]], "yerr": [[at[1] - min(y)], [max(y) - at[1]]]}
    ax.errorbar(*at, **bars, fmt=mark, color=shade, markersize=8, elinewidth=1.2, **look)


def _listed(names):
    return " · ".join(names) or "none"


def _plain_ticks(ax, ticks):
    low, high = sorted(ax.get_xlim())
    shown = [tick for tick in ticks if low <= tick <= high]
    ax.set_xticks(shown, [f"{tick:g}" for tick in shown])
    ax.minorticks_off()
