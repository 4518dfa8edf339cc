"""Training and held-out loss over epochs on a small set: LoRA beside full fine-tuning, and a panel for each knob."""

from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import EASY, HARD, INK, band, median

LAYOUT = {"nrows": 2, "ncols": 3, "figsize": (15, 8.4)}
SHADES = ("#9ecae1", "#4292c6", "#084594", "#041f40")  # a knob's values, rising
KNOBS = {
    "epochs": "Epochs (each length a run of its own)",
    "batch": "Batch size, equal epochs",
    "dropout": "Dropout",
    "decay": "Decoupled weight decay",
    "L2": "L2 penalty through the gradient",
}
TICKS = (0.001, 0.01, 0.1, 0.3, 1, 2)


def draw(axes: Any, numbers: dict[str, Any]) -> None:
    """First panel: the default and full fine-tuning. Then a panel for each knob. Dashed: training records; solid: held out."""
    flat = [ax for row in axes for ax in row]
    draw_methods(flat[0], numbers)
    for ax, knob in zip(flat[1:], KNOBS, strict=True):
        draw_knob(ax, numbers, knob)
    for ax in flat:
        ax.set_yscale("log")
        ax.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
        ax.minorticks_off()
        ax.set_ylim(_floor(numbers), 3)
        ax.set_xlabel("epoch")
    for row in axes:
        row[0].set_ylabel("loss, nats per byte")


def draw_methods(ax: Axes, numbers: dict[str, Any]) -> None:
    """LoRA and full fine-tuning, each with all seeds."""
    for entry, shade, name in ((numbers["default"], EASY, "LoRA"), (numbers["full"], HARD, "full, same layers")):
        band(ax, entry["epoch"], entry["held_out"], shade, label=f"{name} (rate {entry['best']:g})")
        band(ax, entry["epoch"], entry["train"], shade, linestyle="--")
    ax.plot([], [], color=INK, label="held-out records")
    ax.plot([], [], "--", color=INK, label="training records")
    ax.set_title(f"The default recipe, {numbers['n_train']} records")
    ax.legend(fontsize=8)


def draw_knob(ax: Axes, numbers: dict[str, Any], knob: str) -> None:
    """A pair of lines for each value of the knob, the default's among them."""
    entries = values(numbers, knob)
    for (value, entry), shade in zip(entries.items(), SHADES, strict=False):
        label = f"{value:g}{' (default)' if entry is numbers['default'] else ''}, rate {entry['best']:g}"
        band(ax, entry["epoch"], entry["held_out"], shade, label=label)
        ax.plot(entry["epoch"], [median(seeds) for seeds in entry["train"]], "--", color=shade)
    ax.set_title(KNOBS[knob])
    ax.legend(fontsize=8)


def values(numbers: dict[str, Any], knob: str) -> dict[float, dict[str, Any]]:
    """The entries of a knob by its value, rising, with the default's."""
    default = {"epochs": numbers["epochs"], "batch": numbers["batch_size"]}.get(knob, 0)
    entries = {default: numbers["default"]} | {entry["value"]: entry for entry in numbers["knobs"][knob]}
    return dict(sorted(entries.items()))


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    default, full = numbers["default"], numbers["full"]
    ends = {name: (median(entry["train"][-1]), median(entry["loss"])) for name, entry in (("l", default), ("f", full))}
    knobs = " ".join(f"{name}: {knob_finding(numbers, knob)}." for knob, name in SAID.items())
    return (
        f"{numbers['n_train']} Roman numerals, LoRA (r = alpha = {numbers['r']}, all linear layers) for {numbers['epochs']} epochs of "
        f"batch {numbers['batch_size']} at the best of its rates ({default['best']:g}): training loss {ends['l'][0]:.2g}, held-out "
        f"{ends['l'][1]:.2f} ({_spread(default['loss'])}; {_exact(default)} exact){_lowest(default)}. Full fine-tuning of the same "
        f"layers: {ends['f'][0]:.2g}, {ends['f'][1]:.2f} ({_spread(full['loss'])}; {_exact(full)} exact){_lowest(full)}; "
        f"{speed(numbers)}. {risen(numbers)} Median held-out losses at the end by value of a knob, each at its own best rate: {knobs} "
        f"{len(default['loss'])} seeds, each with records of its own; rates a factor of 2 apart, chosen by the first seed's "
        "held-out loss at the end. One task, one knob at a time: combined, as in finetune_defaults, they "
        "may do otherwise. Where more epochs stop helping, this does not show."
    )


SAID = {
    "epochs": "Epochs",
    "batch": "Batch",
    "dropout": "Dropout",
    "decay": "Decoupled decay",
    "L2": "L2",
}


def knob_finding(numbers: dict[str, Any], knob: str) -> str:
    """A knob's losses, and which values part from the default by more than the seeds do."""
    entries = values(numbers, knob)
    listed = ", ".join(f"{value:g} {median(entry['loss']):.2f} ({_exact(entry)})" for value, entry in entries.items())
    default = numbers["default"]
    verdicts = {value: against(entry, default) for value, entry in entries.items() if entry is not default}
    parts = [
        f"{' and '.join(f'{value:g}' for value in chosen)} {word} in every seed"
        for word in ("better", "worse")
        if (chosen := [value for value, verdict in verdicts.items() if verdict == word])
    ]
    for word, is_so in (("lower", below), ("higher", lambda entry, other: below(other, entry))):
        paired = [value for value, entry in entries.items() if verdicts.get(value) == "alike" and is_so(entry, default)]
        if paired:
            parts.append(
                f"{' and '.join(f'{value:g}' for value in paired)} {word} on each seed's records, within their spread"
            )
    return f"{listed}; {', '.join(parts) or 'none differs by more than the seeds do'}"


def against(entry: dict[str, Any], other: dict[str, Any]) -> str:
    """Is the held-out loss of all seeds below that of all of the other's ("better"), above it ("worse"), or neither ("alike")?"""
    if max(entry["loss"]) < min(other["loss"]):
        return "better"
    return "worse" if min(entry["loss"]) > max(other["loss"]) else "alike"


def below(entry: dict[str, Any], other: dict[str, Any]) -> bool:
    """Is each seed's loss below the other's with the same seed, which is to say from the same records?"""
    return all(mine < its for mine, its in zip(entry["loss"], other["loss"], strict=True))


def speed(numbers: dict[str, Any]) -> str:
    """Which of LoRA and full fine-tuning ends lower, and when it passed where the other one ends, as a clause."""
    sides = {"LoRA": numbers["default"], "full fine-tuning": numbers["full"]}
    (first, ahead), (_, behind) = sorted(sides.items(), key=lambda side: median(side[1]["loss"]))
    goal = median(behind["loss"])
    curve = zip(ahead["epoch"], ahead["held_out"], strict=True)
    epoch = next(epoch for epoch, seeds in curve if median(seeds) <= goal)
    return f"{first} gets to where the other ends by epoch {epoch:g}"


def risen(numbers: dict[str, Any]) -> str:
    """Which held-out curves are higher at the end than before, as a sentence; and the widest gap."""
    sides = {"the default": numbers["default"], "full fine-tuning": numbers["full"]} | {
        f"{knob} {entry['value']:g}": entry for knob, some in numbers["knobs"].items() for entry in some
    }
    high = [name for name, entry in sides.items() if _has_risen(entry)]
    least, entry = min(sides.items(), key=lambda side: median(side[1]["train"][-1]))
    gap = f"the least training loss, {median(entry['train'][-1]):.2g} ({least}), stands beside {median(entry['loss']):.2f} held out"
    if high:
        return f"The held-out loss rises again with {', '.join(high)}; {gap}."
    return f"At these rates no held-out loss rises again, though records are learned by heart: {gap}."


def _has_risen(entry):
    held_out = [median(seeds) for seeds in entry["held_out"]]
    return held_out[-1] > 1.02 * min(held_out)


def _lowest(entry):
    """Where the held-out loss was lowest, if it rose again."""
    held_out = [median(seeds) for seeds in entry["held_out"]]
    place = held_out.index(min(held_out))
    return f", at its lowest {held_out[place]:.2f} in epoch {entry['epoch'][place]:g}" * (place < len(held_out) - 1)


def _exact(entry):
    return f"{100 * median(entry['exact']):.0f}%"


def _spread(losses):
    return f"{min(losses):.2f} to {max(losses):.2f}"


def _floor(numbers):
    entries = [numbers["default"], numbers["full"], *(e for some in numbers["knobs"].values() for e in some)]
    return 0.8 * max(0.001, min(median(seeds) for entry in entries for seeds in entry["train"]))
