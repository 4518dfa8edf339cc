"""Held-out loss and exact answers by step for each rank, and where each ends."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.pairs import compared
from minilora.plots.style import BOUND, INK, band, log2_axis, median

LAYOUT = {"nrows": 1, "ncols": 3, "figsize": (15, 4.8), "width_ratios": (1.2, 1.2, 1)}
SHADES = ("#c6dbef", "#6baed6", "#2171b5", "#08306b")  # low rank to high
FULL = "full_linears"
MOST = 0.95  # of the held-out answers: "nearly all"


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left and middle: loss and exact answers by step, bands over seeds; dashed: twice the steps. Right: where each ends."""
    loss, exact, ends = axes
    for method, shade in shades(numbers).items():
        runs, name = numbers["methods"][method], label(method)
        line = "--" if method == FULL else "-"
        for ax, kind in ((loss, "loss"), (exact, "exact")):
            draw_curve(ax, runs, kind, shade, linestyle=line, label=name)
            if method in numbers["longer"]:
                longer = numbers["longer"][method]
                draw_curve(ax, longer, kind, shade, linestyle=":", label=f"{name}, {longer['step'][-1]:,} steps")
    loss.set_yscale("log")
    loss.set_ylabel("held-out loss, nats per byte")
    loss.set_title("Held-out loss (bands: all seeds)")
    loss.legend(loc="lower left", fontsize=8)
    exact.set_ylim(-0.02, 1.02)
    exact.set_ylabel("share of held-out answers exactly right")
    exact.set_title("Exact answers")
    steps = numbers["methods"][FULL]["step"]
    for ax in (loss, exact):
        ticks = [n for n in (steps[0], 120, 300, 600, 1200, 2400) if n <= longest(numbers)]
        log2_axis(ax, sorted(set(ticks)))
        ax.set_xlabel("step (each run's rate falls to 0 at its end)")
    draw_ends(ends, numbers)


def draw_curve(ax: Axes, runs: dict[str, Any], kind: str, shade: str, **line: Any) -> None:
    """One method's score by step, where no seed had diverged."""
    points = [group for group in zip(runs["step"], zip(*runs[kind], strict=True), strict=True) if None not in group[1]]
    band(ax, [step for step, _ in points], [seeds for _, seeds in points], shade, **line)


def draw_ends(ax: Axes, numbers: dict[str, Any]) -> None:
    """The last loss of each run, a dot per seed."""
    groups = [(label(method), ends) for method, ends in last(numbers["methods"], "loss").items()]
    longer = last(numbers["longer"], "loss")
    for method, losses in longer.items():  # each below its own rank
        place = [name for name, _ in groups].index(label(method)) + 1
        groups.insert(place, (f"{label(method)}, {numbers['longer'][method]['step'][-1]:,} steps", losses))
    colors = shades(numbers)
    for place, (name, losses) in enumerate(groups):
        shade = next((colors[m] for m in colors if name.startswith(label(m) + ",") or name == label(m)), BOUND)
        ax.plot(losses, [place] * len(losses), "o", color=shade, alpha=0.7)
        ax.plot(median(losses), place, "|", color=INK, markersize=18, markeredgewidth=2)
    ax.set_yticks(range(len(groups)), [name for name, _ in groups])
    ax.invert_yaxis()
    ax.set_xscale("log")
    ax.set_xlabel("held-out loss, nats per byte")
    ax.set_title(f"At the end ({numbers['steps']:,} steps unless said)")


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    methods = numbers["methods"]
    loss, exact = last(methods, "loss"), last(methods, "exact")
    listed = "; ".join(f"{label(m)} {median(loss[m]):.3f} ({median(exact[m]):.1%} exact)" for m in methods)
    seeds = len(next(iter(methods.values()))["loss"])
    rates = ", ".join(f"{label(m)} {runs['rate']:g}" for m, runs in methods.items())
    return (
        f"Roman numerals, {numbers['steps']:,} steps of batch {numbers['batch_size']}, median held-out loss at the end: {listed}. "
        f"{verdict(numbers)} {nearly_all(numbers)}{ended(numbers)} {seeds} seeds; rsLoRA's scaling with alpha = 8 on all linear layers "
        f"but the head; each method at its best rate for these steps, on a grid of factors of two and by the first seed: {rates}; "
        "with twice the steps at the same. Each falls by a cosine to zero, so that a curve before its end stands higher than a run "
        "that ended there. A task that has to store more than a rule asks for rank: see capacity."
    )


def verdict(numbers: dict[str, Any]) -> str:
    """Does the smallest rank end where the largest does? As a sentence."""
    small, large = ranks(numbers)[0], ranks(numbers)[-1]
    loss, exact = last(numbers["methods"], "loss"), last(numbers["methods"], "exact")
    longer = last(numbers["longer"], "loss")
    if min(loss[small]) <= max(loss[large]):
        return f"The seeds of r = {small} and r = {large} overlap at the end: this task does not need more rank."
    text = f"In every seed r = {small} ends above r = {large}"
    if small in longer:
        more = last(numbers["longer"], "exact")[small]
        twice = f"with twice the steps it has {median(longer[small]):.3f} ({median(more):.1%} exact)"
        if min(longer[small]) <= max(loss[large]):
            where = "within the seeds of" if max(longer[small]) >= min(loss[large]) else "in every seed below"
            return (
                f"{text}; {twice}, {where} r = {large} then: slower, not too small{both_longer(longer, small, large)}."
            )
        text = f"{text}, and {twice}, still above it in every seed{both_longer(longer, small, large)}"
        exact = exact | {small: more}
    if median(exact[small]) >= MOST:
        return f"{text}: it learns to answer nearly all, yet what is left of the loss is larger."
    return f"{text}: within these steps the task is better learned with more rank."


def both_longer(longer: dict[str, list[float]], small: str, large: str) -> str:
    """How the smallest and the largest rank stand where both had twice the steps: a sentence, or nothing."""
    if small not in longer or large not in longer:
        return ""
    if min(longer[small]) > max(longer[large]):
        where = "still below it in every seed"
    elif max(longer[small]) < min(longer[large]):
        where = "above it in every seed"
    else:
        where = "no further from it than the seeds are"
    return f" (with twice the steps r = {large} has {median(longer[large]):.3f}, {where})"


def nearly_all(numbers: dict[str, Any]) -> str:
    """After how many steps each method answers nearly all, in the median over seeds."""
    first = {}
    for method, runs in numbers["methods"].items():
        steps = zip(runs["step"], zip(*runs["exact"], strict=True), strict=True)
        reached = [step for step, seeds in steps if None not in seeds and median(seeds) >= MOST]
        first[method] = reached[0] if reached else None
    some = [f"{label(method)} {step:,}" for method, step in first.items() if step]
    none = [label(method) for method, step in first.items() if step is None]
    text = f"{MOST:.0%} exact is reached after (steps): {', '.join(some)}" if some else f"None reaches {MOST:.0%} exact"
    return text + f"; not by {', '.join(none)}" * bool(some and none) + "."


def ended(numbers: dict[str, Any]) -> str:
    """Was a method at its end? Twice the steps say."""
    sentences = []
    for method, losses in last(numbers["longer"], "loss").items():
        before = last(numbers["methods"], "loss")[method]
        what = f"twice the steps take it from {median(before):.3f} to {median(losses):.3f}"
        verdict = compared(losses, before) if len(losses) == len(before) else ""
        if max(losses) < min(before):
            sentences.append(f" {label(method)} had not ended: {what}.")
        elif verdict.startswith("lower"):
            sentences.append(f" {label(method)} had nearly ended: {what}, {verdict}.")
        else:
            sentences.append(f" {label(method)} had ended: twice the steps bring no more than its seeds differ.")
    return "".join(sentences)


def ranks(numbers: dict[str, Any]) -> list[str]:
    """LoRA's ranks, by name."""
    return [method for method in numbers["methods"] if method != FULL]


def shades(numbers: dict[str, Any]) -> dict[str, str]:
    """A color for each method."""
    return dict(zip(ranks(numbers), SHADES, strict=False)) | {FULL: BOUND}


def label(method: str) -> str:
    """How a method is written."""
    return "full, same layers" if method == FULL else f"r = {method}"


def longest(numbers: dict[str, Any]) -> int:
    """The most steps of any run."""
    return max(runs["step"][-1] for kind in ("methods", "longer") for runs in numbers[kind].values())


def last(runs: dict[str, Any], kind: str) -> dict[str, list[float]]:
    """The last score of each seed that did not diverge, by method."""
    return {method: [s[-1] for s in entry[kind] if s[-1] is not None] for method, entry in runs.items()}
