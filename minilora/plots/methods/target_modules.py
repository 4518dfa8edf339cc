"""One budget of parameters on different layers: loss, the sweeps, and one rank on more and more layers with few records."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minilora.plots.style import EASY, HARD, INK, log2_axis, median

LAYOUT = {"nrows": 1, "ncols": 3, "figsize": (16, 5), "width_ratios": (1.3, 1, 1)}
SHADES = {
    "q": "#E69F00",
    "k": "#999999",
    "v": "#009E73",
    "o": "#CC79A7",
    "qv": "#56B4E9",
    "qkvo": "#0072B2",
    "mlp": "#D55E00",
    "all": "#000000",
}


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left: loss by targets at one budget, a dot per seed. Middle: loss against rate. Right: one rank, few records."""
    scores, sweep, few = axes
    targets = numbers["targets"]
    for place, (name, entry) in enumerate(targets.items()):
        scores.plot([place] * len(entry["loss"]), entry["loss"], "o", color=SHADES[name], alpha=0.6)
        scores.plot(place, median(entry["loss"]), "_", color=INK, markersize=22, markeredgewidth=2)
        losses = [np.nan if loss is None else loss for loss in entry["sweep"]]
        sweep.plot(entry["rates"], losses, color=SHADES[name], marker=".", markersize=8, label=name)
    labels = [f"{name}\nr = {e['r']}\n{e['parameters'] / 1000:.1f}k" for name, e in targets.items()]
    scores.set_xticks(range(len(targets)), labels)
    scores.set_xlabel("what is adapted, at which rank, and its parameters")
    scores.set_ylabel("held-out loss, nats per byte")
    scores.set_title(f"One budget, {numbers['steps']} steps, each at its best rate")
    rates = sorted({rate for entry in targets.values() for rate in entry["rates"]})
    log2_axis(sweep, rates, rotation=45)
    sweep.set_xlabel("learning rate")
    sweep.set_ylabel("held-out loss, nats per byte")
    sweep.set_title("Loss against rate, one seed")
    sweep.legend(fontsize=8, ncols=2)
    draw_few(few, numbers["few"])


def draw_few(ax: Axes, few: dict[str, Any]) -> None:
    """Training and held-out loss at the end, and the lowest held-out loss, by targets."""
    kinds = {
        "loss": (HARD, "o", "held out, at the end"),
        "lowest": ("#0072B2", "v", "held out, at its lowest"),
        "train_loss": (EASY, "s", "training, at the end"),
    }
    for i, (kind, (shade, mark, name)) in enumerate(kinds.items()):
        for place, entry in enumerate(few["targets"].values()):
            x = place + 0.2 * (i - 1)
            ax.plot(
                [x] * len(entry[kind]), entry[kind], mark, color=shade, alpha=0.6, label=name if not place else None
            )
            ax.plot(x, median(entry[kind]), "_", color=INK, markersize=14, markeredgewidth=2)
    labels = [f"{name}\n{entry['parameters'] / 1000:.1f}k" for name, entry in few["targets"].items()]
    ax.set_xticks(range(len(few["targets"])), labels)
    ax.set_xlabel(f"what is adapted at r = {few['r']}")
    ax.set_ylabel("loss, nats per byte")
    ax.set_ylim(bottom=0)
    ax.set_title(f"{few['n_train']} records, {few['steps']} steps")
    ax.legend(fontsize=8)


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    targets = numbers["targets"]
    middle = {name: median(entry["loss"]) for name, entry in targets.items()}
    order = sorted(middle, key=middle.get)
    best = order[0]
    tied = [name for name in order[1:] if min(targets[name]["loss"]) <= max(targets[best]["loss"])]
    spread = [entry["parameters"] for entry in targets.values()]
    listed = ", ".join(
        f"{name} (r = {targets[name]['r']}, {targets[name]['parameters']:,}) {middle[name]:.3f}" for name in order
    )
    seeds = len(targets[best]["loss"])
    ends = [name for name, e in targets.items() if e["best"] in (e["rates"][0], e["rates"][-1])]
    return (
        f"{min(spread):,} to {max(spread):,} parameters are best spent on {best}"
        f"{f' (within its spread: {_listed(tied)})' if tied else ', in every seed'}. Median held-out loss by targets, with rank and "
        f"parameters: {listed}. {pair(targets, 'qv', 'all')} {pair(targets, 'qkvo', 'mlp')} Roman numerals, {numbers['steps']} steps of "
        f"batch {numbers['batch_size']}, {seeds} seeds, of which the first chose the rate, on a grid of factors of two; rsLoRA's scaling "
        f"with alpha = {numbers['rslora_alpha']}.{f' At an end of its sweep: {_listed(ends)}.' if ends else ''} "
        f"{overfitting(numbers['few'])} Other tasks, other sizes of model and longer training this does not settle."
    )


def pair(targets: dict[str, Any], one: str, other: str) -> str:
    """How two sets of layers compare over all seeds, as a sentence."""
    better, worse = sorted((one, other), key=lambda name: median(targets[name]["loss"]))
    a, b = (targets[name]["loss"] for name in (better, worse))
    if max(a) < min(b):
        return f"Every seed of {better} is better than any of {worse}."
    return f"{one} and {other} do not differ by more than their seeds."


def overfitting(few: dict[str, Any]) -> str:
    """Do more targets at one rank do worse on new records than fewer? As sentences."""
    targets = few["targets"]
    names = list(targets)
    fewest, most = names[0], names[-1]

    def each(kind):
        return ", ".join(f"{name} {median(targets[name][kind]):.2f}" for name in names)

    a, b = targets[fewest], targets[most]
    if max(b["loss"]) < min(a["loss"]):
        finding = f"more targets do not overfit more: {most} is better on new records than {fewest} in every seed"
    elif max(a["loss"]) < min(b["loss"]):
        finding = f"more targets do worse on new records: {most} is behind {fewest} in every seed"
    else:
        finding = f"{fewest} and {most} do not differ on new records by more than their seeds"
    gap = [median(targets[n]["loss"]) - median(targets[n]["train_loss"]) for n in (fewest, most)]
    rises = [name for name in names if median(targets[name]["loss"]) > 1.05 * median(targets[name]["lowest"])]
    later = f"it had been lower before for {_listed(rises)}" if rises else "for none had it been lower before by 5 %"
    return (
        f"On {few['n_train']} records for {few['steps']} steps, r = {few['r']} on all of them, {finding}; held-out loss at the end "
        f"{each('loss')} ({later}), on training records {each('train_loss')}, so that "
        f"the gap goes from {gap[0]:.2f} to {gap[1]:.2f} ({len(a['loss'])} seeds, each at the rate that is best "
        "on new records)."
    )


def _listed(names):
    return ", ".join(names)
