"""Every method at its best rate: loss and exact answers beside what it costs, and a panel of loss against rate for each."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minilora.plots.style import EASY, GUIDE, HARD, INK, median

COLUMNS, ROWS = 4, 5  # of panels with loss against rate
LAYOUT = {"nrows": ROWS, "ncols": COLUMNS + 4, "figsize": (17, 10.5)}
SHADES = (HARD, "#0072B2", EASY)
TICKS = (0.03, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)


def draw(axes: np.ndarray, numbers: dict[str, Any]) -> None:
    """Left: held-out loss and exact answers by method, dots for the median over seeds. Right: loss against rate."""
    left, right = axes[:, :4], axes[:, 4:]
    figure, grid = left[0, 0].figure, left[0, 0].get_gridspec()
    for ax in left.flat:
        ax.remove()
    loss = figure.add_subplot(grid[:, :2])
    exact = figure.add_subplot(grid[:, 2:4], sharey=loss)
    order = ordered(numbers)
    draw_scores(loss, numbers, order, "loss")
    loss.set_xscale("log")
    low, high = loss.get_xlim()
    shown = [tick for tick in TICKS if low <= tick <= high]
    loss.set_xticks(shown, [f"{tick:g}" for tick in shown])
    loss.minorticks_off()
    loss.set_yticks(range(len(order)), [cost_label(name, numbers["costs"][name]) for name in order])
    loss.set_xlabel("nats per byte (bars: all seeds; rings: training)")
    loss.set_title(f"Held-out loss after {numbers['steps']} steps")
    loss.legend(loc="lower left", fontsize=8)
    draw_scores(exact, numbers, order, "exact")
    exact.tick_params(labelleft=False)
    exact.set_xlabel("share of held-out answers exactly right")
    exact.set_title("Exact answers, each at its best rate")
    for ax, name in zip(right.flat, reversed(order), strict=False):
        draw_rates(ax, numbers, name)
    right[0, 0].set_ylabel("loss by rate, one seed", fontsize=8)
    for ax in right.flat[len(order) :]:
        ax.set_axis_off()


def ordered(numbers: dict[str, Any]) -> list[str]:
    """The methods, the one with the largest median loss on the first records first."""
    first = next(iter(numbers["records"].values()))
    return sorted(first, key=lambda name: -median(first[name]["loss"]))


def draw_scores(ax: Axes, numbers: dict[str, Any], order: list[str], kind: str) -> None:
    """One score of each method: for each set of records a dot and a bar over the seeds; with the loss a ring where it is on
    records that were trained on."""
    for i, ((records, entries), shade) in enumerate(zip(numbers["records"].items(), SHADES, strict=False)):
        places = np.arange(len(order)) + 0.22 * (1 - i)
        runs = [entries[name][kind] for name in order]
        ax.hlines(places, [min(r) for r in runs], [max(r) for r in runs], color=shade, linewidth=2.5, alpha=0.4)
        if kind == "loss":
            seen = [median(entries[name]["train_loss"]) for name in order]
            ax.hlines(places, seen, [median(r) for r in runs], color=shade, linewidth=0.8)
            ax.plot(seen, places, "o", color=shade, markerfacecolor="white", markersize=5)
        ax.plot([median(r) for r in runs], places, "o", color=shade, markersize=5, label=records)
    for place in range(len(order)):
        ax.axhline(place - 0.5, color=GUIDE, linewidth=0.5)
    ax.grid(visible=False, axis="y")
    ax.set_ylim(-0.6, len(order) - 0.4)


def draw_rates(ax: Axes, numbers: dict[str, Any], name: str) -> None:
    """Loss against rate in the sweep of one method; a ring around the rate that the seeds ran at."""
    for (_, entries), shade in zip(numbers["records"].items(), SHADES, strict=False):
        entry = entries[name]
        if len(entry["rates"]) == 1:
            continue
        losses = [np.nan if loss is None else loss for loss in entry["sweep"]]
        ax.plot(entry["rates"], losses, color=shade, marker=".", linewidth=1.2)
        best = entry["rates"].index(entry["best"])
        ax.plot(entry["best"], losses[best], "o", color=shade, markerfacecolor="none", markersize=9)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ticks = sorted({rate for entries in numbers["records"].values() for rate in entries[name]["rates"]})
    shown = ticks[:: max(1, (len(ticks) + 2) // 3)]
    ax.set_xticks(shown, [f"{rate:.2g}" for rate in shown], fontsize=7)
    ax.tick_params(axis="y", which="both", labelsize=7)
    ax.set_yticks([0.1, 0.3, 1, 3], ["0.1", "0.3", "1", "3"])
    ax.set_ylim(*loss_limits(numbers))
    ax.minorticks_off()
    ax.set_title(name, fontsize=9, color=INK)


def loss_limits(numbers: dict[str, Any]) -> tuple[float, float]:
    """One scale for all small panels: from the least loss of any sweep to 4."""
    losses = [
        loss
        for entries in numbers["records"].values()
        for entry in entries.values()
        for loss in entry["sweep"]
        if loss is not None
    ]
    return 0.8 * min(losses), 4.0


def cost_label(name: str, cost: dict[str, Any]) -> str:
    """The method's name over its costs."""
    size = sum(cost["memory"].values()) / 1e6
    return f"{name}\n{thousands(cost['parameters'])}, {size:.1f} MB, {cost['milliseconds']:.0f} ms"


def thousands(parameters: int) -> str:
    """93440 as "93k"; below 10,000 with one more digit."""
    return f"{parameters / 1000:.{1 if parameters < 10_000 else 0}f}k"


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    sentences = [_records_sentence(*item) for item in numbers["records"].items()]
    costs = numbers["costs"]
    beside = [_beside_lora(*item, costs) for item in numbers["records"].items()]
    if any(beside):
        sentences.append(
            f"Of the methods of LoRA's size (within a tenth), beside LoRA: {'; '.join(filter(None, beside))}."
        )
    sentences += [_overfitting(numbers, records) for records in numbers["records"]]
    least, most = (pick(costs, key=lambda name: sum(costs[name]["memory"].values())) for pick in (min, max))
    fast, slow = (pick(costs, key=lambda name: costs[name]["milliseconds"]) for pick in (min, max))
    seeds = len(next(iter(next(iter(numbers["records"].values())).values()))["loss"])
    return (
        f"{' '.join(filter(None, sentences))} "
        f"Training holds {_megabytes(costs[least])} ({least}) to {_megabytes(costs[most])} ({most}) for a "
        f"batch of {numbers['batch_size']}, and a step takes {costs[fast]['milliseconds']:.0f} ms ({fast}) to "
        f"{costs[slow]['milliseconds']:.0f} ms ({slow}) of one processor. Equal steps ({numbers['steps']}), not equal "
        f"parameters; LoRA and its kin with r = 8 and alpha = 8, so that rsLoRA is LoRA with alpha = 22.6 (what a larger alpha does for "
        f"LoRA itself: trainable_alpha); {seeds} seeds, of which the first chose the rate, on a grid of factors of two; where "
        f"seeds overlap it is a tie.{_rates(numbers['records'])} What "
        "longer training would make of the order, and other sizes of each method, this does not settle."
    )


def _rates(records):
    """Where rates were not swept, and whose best stands at an end of its sweep."""
    kept = [name for name, entries in records.items() if all(len(entry["rates"]) == 1 for entry in entries.values())]
    ends = {
        side: None
        for entries in records.values()
        for side, entry in entries.items()
        if len(entry["rates"]) > 1 and entry["best"] in (entry["rates"][0], entry["rates"][-1])
    }
    return f" Not swept again, at the rates of the records before: {', '.join(kept)}." * bool(kept) + (
        f" At an end of its sweep, so that a better rate may lie beyond: {', '.join(ends)}." * bool(ends)
    )


def _megabytes(cost):
    return f"{sum(cost['memory'].values()) / 1e6:.1f} MB"


def _records_sentence(records, entries):
    """Which method is best here, and which others its seeds do not part from."""
    middle = {name: median(entry["loss"]) for name, entry in entries.items()}
    best, worst = min(middle, key=middle.get), max(middle, key=middle.get)
    tied = [
        name for name, entry in entries.items() if name != best and min(entry["loss"]) <= max(entries[best]["loss"])
    ]
    right = {name: median(entry["exact"]) for name, entry in entries.items()}
    others = (
        f"; within its spread: {', '.join(sorted(tied, key=middle.get))}"
        if tied
        else ", and no other within its spread"
    )
    return (
        f"On {records} {best} learns most ({middle[best]:.3f}, {right[best]:.0%} exact{others}), {worst} least "
        f"({middle[worst]:.3f}, {right[worst]:.0%}); LoRA has {middle['LoRA']:.3f} ({right['LoRA']:.0%})."
    )


def _beside_lora(records, entries, costs):
    """Of the methods of LoRA's size, which are better or worse in every seed."""
    size, lora = costs["LoRA"]["parameters"], entries["LoRA"]["loss"]
    alike = [name for name in entries if name != "LoRA" and abs(costs[name]["parameters"] / size - 1) < 0.1]
    better = [name for name in alike if max(entries[name]["loss"]) < min(lora)]
    worse = [name for name in alike if min(entries[name]["loss"]) > max(lora)]
    tied = [name for name in alike if name not in better + worse]
    words = [
        f"{what} {' · '.join(names)}"
        for names, what in ((better, "better in every seed"), (worse, "worse in every seed"), (tied, "tied"))
        if names
    ]
    return f"on {records} {', '.join(words)}" if words else ""


def _overfitting(numbers, records):
    """Where records are seen more than twice: how far training loss falls below held-out loss."""
    epochs = numbers["steps"] * numbers["batch_size"] / numbers["n_train"][records]
    if epochs <= 2:
        return ""
    entries = numbers["records"][records]
    gap = {name: median(entry["loss"]) - median(entry["train_loss"]) for name, entry in entries.items()}
    most, least = max(gap, key=gap.get), min(gap, key=gap.get)
    shown = ", ".join(
        f"{name} {median(entries[name]['train_loss']):.3f} against {median(entries[name]['loss']):.3f}"
        for name in dict.fromkeys((most, "LoRA", least))
    )
    return (
        f"{records} is seen {epochs:.2g} times: training loss against held-out loss, widest gap to narrowest: {shown}."
    )
