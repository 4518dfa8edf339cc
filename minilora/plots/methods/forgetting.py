"""What was forgotten against what was learned, at equal learning, and against how far the weights have moved."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import INK, median

LAYOUT = {"nrows": 1, "ncols": 3, "figsize": (16, 5.4), "width_ratios": (1.2, 1.1, 1)}
SHADES = {
    "LoRA, r = 1": "#9ecae1",
    "LoRA, r = 8": "#4292c6",
    "LoRA, r = 64": "#084594",
    "full, same linears": "#D55E00",
    "full": "#000000",
    "last block": "#009E73",
    "bottleneck": "#CC79A7",
}
LEVEL_MARKS = ("o", "s", "^", "D")


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left: a path for each method, right and upward as it trains. Middle: at equal learning. Right: by the size of the update."""
    paths, equal, sizes = axes
    for name, entry in numbers["methods"].items():
        for i in range(len(entry["rates"])):
            line = {"color": SHADES[name], "linestyle": ("-", "--")[min(i, 1)], "linewidth": (1.8, 1.0)[min(i, 1)]}
            learned, lost = middle(entry, "loss", i), middle(entry, "text", i)
            lost = [text - numbers["before"]["text"] for text in lost]
            label = name if not i else None
            paths.plot(learned, lost, marker=".", markersize=(7, 4)[min(i, 1)], label=label, **line)
            size = middle(entry, "size", i)
            if max(size) > 0:
                sizes.plot(size, lost, marker=".", markersize=(7, 4)[min(i, 1)], label=label, **line)
    paths.plot([], [], "--", color=INK, linewidth=1, label=f"{numbers['factor']:g} times the rate")
    paths.set_xscale("log")
    paths.invert_xaxis()
    paths.set_xlabel("held-out loss of the new task (to the right: more was learned)")
    paths.set_ylabel("rise of the loss on the base's text, nats per byte")
    paths.set_title(f"Learned and forgotten, in {numbers['steps']} steps (medians)")
    paths.legend(fontsize=8, loc="upper left")
    _plain_ticks(paths, (2, 1, 0.5, 0.2, 0.1, 0.05))
    draw_equal(equal, numbers)
    sizes.set_xlabel("|dW| / |W| over the linear layers")
    sizes.set_title("By the size of the update")


def draw_equal(ax: Axes, numbers: dict[str, Any]) -> None:
    """The text's rise where the task's loss came down to each level, a mark per seed, at the best rate."""
    methods = numbers["methods"]
    for place, (name, entry) in enumerate(methods.items()):
        for i, seeds in enumerate(entry["equal"][0]):
            rises = [text - numbers["before"]["text"] for text in seeds if text is not None]
            x = place + 0.22 * (i - (len(numbers["levels"]) - 1) / 2)
            ax.plot([x] * len(rises), rises, LEVEL_MARKS[i], color=SHADES[name], alpha=0.7)
    for level, mark in zip(numbers["levels"], LEVEL_MARKS, strict=False):
        ax.plot([], [], mark, color=INK, label=f"task's loss {level:g}")
    ax.set_xticks(range(len(methods)), list(methods), rotation=30, ha="right")
    ax.set_title("Forgotten at equal learning (dots: seeds)")
    ax.legend(fontsize=8)


def middle(entry: dict[str, Any], kind: str, rate: int) -> list[float]:
    """The median over seeds at each step that all seeds reached."""
    return [median(seeds) for seeds in zip(*entry[kind][rate], strict=True) if None not in seeds]


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    methods, before = numbers["methods"], numbers["before"]["text"]
    ends = "; ".join(
        f"{name} {middle(entry, 'loss', 0)[-1]:.2f} and +{middle(entry, 'text', 0)[-1] - before:.2f}"
        for name, entry in methods.items()
    )
    seeds = len(next(iter(methods.values()))["loss"][0])
    return (
        f"After {numbers['steps']} steps on {numbers['task']}, held-out loss of the task and rise of the loss on the base's own text "
        f"({before:.2f} before; {numbers['windows']} held-out windows), medians: {ends}. {learns_and_forgets(numbers)} "
        f"{at_equal_learning(numbers)} {slower(numbers)}{seeds} seeds, batch 16, each method at its best rate of shorter runs "
        "(rate_by_rank, methods), LoRA under rsLoRA's scaling with alpha = 8. One small base and one narrow task; replay of old text "
        "and other ways against forgetting are not asked here."
    )


LORA, FULL = ("LoRA, r = 1", "LoRA, r = 8", "LoRA, r = 64"), ("full, same linears", "full")


def learns_and_forgets(numbers: dict[str, Any]) -> str:
    """Which ranks have learned less at equal steps than full fine-tuning of the same layers, and which have forgotten less?"""
    methods, full = numbers["methods"], FULL[0]

    def last(name, kind):
        return [run[-1] for run in methods[name][kind][0] if run[-1] is not None]

    def sort(kind, more):
        """Ranks that are above full fine-tuning in every seed, and those below."""
        above = [r for r in LORA if r in methods and min(last(r, kind)) > max(last(full, kind))]
        below = [r for r in LORA if r in methods and max(last(r, kind)) < min(last(full, kind))]
        return (above, below) if more else (below, above)

    less, more = sort("loss", True)
    forgot_less, forgot_more = sort("text", False)
    return (
        f"At equal steps, against full fine-tuning of the same layers, in every seed: learned less: {_ranks(less)}; learned more: "
        f"{_ranks(more)}; forgot less: {_ranks(forgot_less)}; forgot more: {_ranks(forgot_more)}."
    )


def at_equal_learning(numbers: dict[str, Any]) -> str:
    """Who forgot less where the task's loss was the same? A sentence for each level, with full fine-tuning of the same layers."""
    methods, before, full = numbers["methods"], numbers["before"]["text"], FULL[0]
    sentences = []
    for i, level in enumerate(numbers["levels"]):
        reached = {n: e["equal"][0][i] for n, e in methods.items() if None not in e["equal"][0][i]}
        listed = ", ".join(f"{name} +{median(texts) - before:.2f}" for name, texts in reached.items())
        if full not in reached:
            continue
        less = [r for r in LORA if r in reached and max(reached[r]) < min(reached[full])]
        more = [r for r in LORA if r in reached and min(reached[r]) > max(reached[full])]
        sentences.append(
            f"where the task's loss is {level:g}: {listed} (less than full of the same layers in every seed: {_ranks(less)}; more: "
            f"{_ranks(more)})"
        )
    return f"At equal learning, {'; '.join(sentences)}." if sentences else "No level was reached by all."


def slower(numbers: dict[str, Any]) -> str:
    """What a lower rate does to forgetting at equal learning, where both rates got there: a sentence, or nothing."""
    before, level = numbers["before"]["text"], numbers["levels"][0]
    found = []
    for name, entry in numbers["methods"].items():
        if len(entry["rates"]) < 2 or None in (*entry["equal"][0][0], *entry["equal"][1][0]):
            continue
        best, low = entry["equal"][0][0], entry["equal"][1][0]
        less, more = max(low) < min(best), min(low) > max(best)
        verdict = "less in every seed" if less else "more in every seed" if more else "no difference beyond the seeds"
        found.append(f"{name} +{median(low) - before:.2f} instead of +{median(best) - before:.2f} ({verdict})")
    if not found:
        return ""
    return f"With {numbers['factor']:g} times the rate, where the task's loss is {level:g}: {'; '.join(found)}. "


def _ranks(names):
    return ", ".join(name.removeprefix("LoRA, ") for name in names) or "none"


def _plain_ticks(ax, ticks):
    low, high = sorted(ax.get_xlim())
    shown = [tick for tick in ticks if low <= tick <= high]
    ax.set_xticks(shown, [f"{tick:g}" for tick in shown])
    ax.minorticks_off()
