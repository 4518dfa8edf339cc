"""Starts over few bits: how far from the float weights, what that costs before training, and what is reached after it."""

from statistics import mean
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.pairs import differ, differences, signed
from minilora.plots.style import EASY, HARD, INK, band, log2_axis, median

LAYOUT = {"nrows": 2, "ncols": 3, "figsize": (15.5, 8.8)}
PLAIN = "B = 0"
SHADES = {PLAIN: INK, "LoftQ": EASY, "PiSSA": HARD}
CODES = {"nf4": "NF4", "nf2": "NF2", "float32": "float32"}
LINES = {"nf4": "-", "nf2": "--", "float32": ":"}
MARKS = ("s", "o")  # by rounds: the first, the last


def draw(axes: Any, numbers: dict[str, Any]) -> None:
    """Above: errors of the weights, losses before training, sweeps. Below: curves over each code, and all seeds at the end."""
    (errors, changes, sweeps), (*curves, ends) = axes
    draw_starts(errors, numbers, "error")
    errors.set_ylabel("RMS error of the weights that act / RMS")
    errors.set_title("How far from the float weights before training")
    draw_starts(changes, numbers, "change")
    changes.set_ylabel("added loss on the base's own text, nats per byte")
    changes.set_title("What that costs before training (bars: 2 standard errors)")
    draw_sweeps(sweeps, numbers)
    for ax, code in zip(curves, numbers["starts"], strict=True):
        draw_curves(ax, numbers, code)
    draw_ends(ends, numbers)


def draw_starts(ax: Axes, numbers: dict[str, Any], key: str) -> None:
    """One measure of each start by code and rounds."""
    for place, starts in enumerate(numbers["starts"].values()):
        for i, (start, found) in enumerate(starts.items()):
            values, errors = found[key], [2 * e for e in found["standard_error"]]
            marks = MARKS[-len(values) :]  # B = 0 is not fitted; it has one value
            for j, (value, mark) in enumerate(zip(values, marks, strict=True)):
                at = place + 0.25 * (i - 1) + 0.07 * j
                bar = errors[j] if key == "change" else 0
                ax.errorbar(at, value, yerr=bar, fmt=mark, color=SHADES[start], markersize=6)
    for start, shade in SHADES.items():
        ax.plot([], [], "o", color=shade, label=start)
    for mark, rounds in zip(MARKS, numbers["rounds"], strict=True):
        ax.plot([], [], mark, color="#999999", label=f"{rounds} {'round' if rounds == 1 else 'rounds'}")
    ax.set_xticks(range(len(numbers["starts"])), [CODES[code] for code in numbers["starts"]])
    ax.set_xlim(-0.5, len(numbers["starts"]) - 0.5)
    if key == "change":
        ax.set_yscale("symlog", linthresh=0.01)
        ticks = (-0.01, 0, 0.01, 0.1, 1)
        ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.axhline(0, color=INK, linewidth=1)
    else:
        ax.set_yscale("log")
        ticks = (0.05, 0.1, 0.2, 0.5)
        ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.set_yticks([], minor=True)
    ax.grid(visible=False, axis="x")
    ax.legend(loc="upper left")


def draw_sweeps(ax: Axes, numbers: dict[str, Any]) -> None:
    """Loss against the rate of every side; a ring around the best."""
    for code, starts in numbers["sides"].items():
        for start, found in starts.items():
            losses = [float("nan") if loss is None else loss for loss in found["sweep"]]
            ax.plot(found["rates"], losses, LINES[code], color=SHADES[start], marker=".", linewidth=1.3)
            least = losses[found["rates"].index(found["best"])]
            ax.plot(found["best"], least, "o", color=SHADES[start], markerfacecolor="none", markersize=9)
        ax.plot([], [], LINES[code], color=INK, label=f"over {CODES[code]}")
    for start, shade in SHADES.items():
        ax.plot([], [], "o", color=shade, label=start)
    rates = {rate for starts in numbers["sides"].values() for found in starts.values() for rate in found["rates"]}
    log2_axis(ax, sorted(rates), rotation=60)
    _loss_axis(ax, numbers)
    ax.set_xlabel("learning rate (rings: the best)")
    ax.set_title(f"Loss against rate, one seed: {numbers['task']}, r = {numbers['r']}")
    ax.legend(fontsize=8, ncols=2, loc="lower left")


def draw_curves(ax: Axes, numbers: dict[str, Any], code: str) -> None:
    """Held-out loss by step over one code, and thin what the same start reaches over float32."""
    for start, found in numbers["sides"][code].items():
        band(ax, numbers["steps_read"], list(zip(*found["curve"], strict=True)), SHADES[start], label=start)
    for start, found in numbers["sides"]["float32"].items():
        middle = [median(point) for point in zip(*found["curve"], strict=True)]
        ax.plot(numbers["steps_read"], middle, ":", color=SHADES[start], linewidth=1.4, label=f"{start}, float32")
    _loss_axis(ax, numbers)
    ax.set_xlabel("step")
    ax.set_title(f"Over {CODES[code]}, each at its best rate (bands: all seeds)")
    ax.legend(fontsize=8, loc="lower left")


def draw_ends(ax: Axes, numbers: dict[str, Any]) -> None:
    """The loss at the end of every seed."""
    for place, starts in enumerate(numbers["sides"].values()):
        for i, (start, found) in enumerate(starts.items()):
            at = place + 0.25 * (i - (len(starts) - 1) / 2)
            ax.plot([at] * len(found["loss"]), found["loss"], "o", color=SHADES[start], alpha=0.5)
            ax.plot(at, median(found["loss"]), "_", color=INK, markersize=18, markeredgewidth=2)
    for start, shade in SHADES.items():
        ax.plot([], [], "o", color=shade, label=start)
    ax.set_xticks(range(len(numbers["sides"])), [CODES[code] for code in numbers["sides"]])
    ax.grid(visible=False, axis="x")
    _loss_axis(ax, numbers)
    ax.set_title(f"After {numbers['steps']} steps, all seeds (line: the median)")
    ax.legend()


def _loss_axis(ax, numbers):
    """The same in every panel: what all seeds reach, with room below for a legend."""
    least = min(min(found["loss"]) for starts in numbers["sides"].values() for found in starts.values())
    ax.set_yscale("log")
    ticks = [tick for tick in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2) if tick > least / 2]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_yticks([], minor=True)
    ax.set_ylim(least / 2, 2.2)
    ax.set_ylabel("held-out loss, nats per byte")


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    codes = list(numbers["starts"])
    seeds = len(numbers["sides"][codes[0]][PLAIN]["loss"])
    rounds = " and ".join(map(str, numbers["rounds"]))
    return (
        f"Before training, after {rounds} rounds of LoftQ and PiSSA, RMS error of the weights that act and (in parentheses) what it "
        f"adds to the base's loss on its own text: {'; '.join(_at_first(numbers, code) for code in codes)}. "
        f"{' '.join(_at_last(numbers, code) for code in codes)} {_in_float(numbers)} {_rates(numbers)} {numbers['task']}, r = alpha "
        f"= {numbers['r']}, {numbers['steps']} steps of {numbers['batch_size']}, {seeds} seeds, {numbers['rounds'][-1]} rounds where "
        "trained, blocks of 64; ±: standard errors; a difference is what every seed sees and what exceeds two of them. Where longer "
        "training ends, and other ranks and larger models, this does not settle."
    )


def _at_first(numbers, code):
    parts = []
    for start, found in numbers["starts"][code].items():
        errors = " and ".join(f"{value:.3f}" for value in found["error"])
        changes = " and ".join(f"{value:+.3f}" for value in found["change"])
        parts.append(f"{start} {errors} ({changes})")
    return f"over {CODES[code]} {', '.join(parts)}"


def _at_last(numbers, code):
    sides = numbers["sides"][code]
    plain = sides[PLAIN]["loss"]
    verdicts = []
    for start in [start for start in sides if start != PLAIN]:
        loss, exact = sides[start]["loss"], _exact(sides[start])
        gap = signed(loss, plain)
        if differ(loss, plain):
            verdicts.append(f"{start} is {'better' if mean(loss) < mean(plain) else 'worse'} ({gap}; {exact})")
        else:
            lower = sum(value < 0 for value in differences(loss, plain))
            verdicts.append(
                f"{start} is lower in {lower} of {len(loss)} seeds ({gap}; {exact}), which is not called a difference"
            )
    return f"After training over {CODES[code]}, against B = 0 at {median(plain):.3f} ({_exact(sides[PLAIN])}): {', '.join(verdicts)}."


def _exact(found):
    return f"{100 * median(found['exact']):.0f}% exact"


def _in_float(numbers):
    """PiSSA's gain where nothing was lost, as a share of its gains over the codes."""
    pairs = {code: (sides["PiSSA"]["loss"], sides[PLAIN]["loss"]) for code, sides in numbers["sides"].items()}
    gains = {code: mean(differences(*pair)) for code, pair in pairs.items() if differ(*pair)}
    verdict = f"Over float32, where nothing is to be made up for, PiSSA changes {signed(*pairs['float32'])}"
    if gains.get("float32", 1) > 0:  # no difference, or a loss
        return f"{verdict}."
    own = gains.pop("float32")
    shares = [f"{own / gain:.0%} of what it gains over {CODES[code]}" for code, gain in gains.items() if gain < 0]
    return f"{verdict}: {' and '.join(shares)}." if shares else f"{verdict}."


def _rates(numbers):
    parts = []
    for code, starts in numbers["sides"].items():
        best = ", ".join(f"{start} {found['best']:g}" for start, found in starts.items())
        parts.append(f"{CODES[code]} {best}")
    return f"Best rates (factor 2, the first seed): {'; '.join(parts)}."
