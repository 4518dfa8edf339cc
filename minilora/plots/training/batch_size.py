"""Held-out loss by batch size at equal samples, the gap between LoRA and full fine-tuning, and the best rates."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minilora.plots.style import EASY, GUIDE, HARD, INK, band, log2_axis, median

LAYOUT = {"nrows": 1, "ncols": 3, "figsize": (15, 4.8)}
LEARNED = 0.05  # of the held-out answers exact: below it a run has not learned the task
METHODS = {"LoRA": (EASY, "LoRA, r = 8"), "full, same linears": (HARD, "full, same layers")}


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left: loss by batch size. Middle: LoRA's loss less full fine-tuning's, seed by seed. Right: the best rates."""
    draw_loss(axes[0], numbers)
    draw_gap(axes[1], numbers)
    draw_rates(axes[2], numbers)
    labels = [f"{size}\n({steps})" for size, steps in zip(numbers["sizes"], numbers["steps"], strict=True)]
    for ax in axes:
        log2_axis(ax, numbers["sizes"], labels)
        ax.set_xlabel("records per batch (and steps)")


def draw_loss(ax: Axes, numbers: dict[str, Any]) -> None:
    """A line for each method, and a dashed one for small batches in as few steps."""
    for method, (shade, label) in METHODS.items():
        at_samples, at_steps = (losses(numbers, kind, method) for kind in ("equal_samples", "equal_steps"))
        band(ax, numbers["sizes"], at_samples, shade, marker="o", label=label)
        other = f"as few steps, batches of {numbers['small']}"
        band(ax, numbers["larger"], at_steps, shade, marker="x", linestyle=":", label=other)
    ax.set_yscale("log")
    ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_ylabel("held-out loss, nats per byte")
    ax.set_title(f"{numbers['samples']:,} samples each")
    ax.legend(fontsize=8)


def draw_gap(ax: Axes, numbers: dict[str, Any]) -> None:
    """What LoRA loses more than full fine-tuning."""
    band(ax, numbers["sizes"], gaps(numbers, "equal_samples"), INK, marker="o", label="equal samples")
    other = f"as few steps, batches of {numbers['small']}"
    band(ax, numbers["larger"], gaps(numbers, "equal_steps"), INK, marker="x", linestyle=":", label=other)
    ax.axhline(0, color=GUIDE)
    ax.set_ylabel("nats per byte")
    ax.set_title("LoRA's loss less full fine-tuning's")
    ax.legend(fontsize=8)


def draw_rates(ax: Axes, numbers: dict[str, Any]) -> None:
    """The best rate of each method by batch size, and the power of the batch that fits it where there is one."""
    sizes = numbers["sizes"]
    for method, (shade, label) in METHODS.items():
        rates = valleys(numbers, method)
        slope, error, middle = power(sizes, rates)
        if abs(slope) > 2 * error:
            label += f": batch to the power {slope:.2f} ± {error:.2f}"
            ax.plot(
                sizes, [middle * (size / _middle(sizes)) ** slope for size in sizes], "--", color=shade, linewidth=1.2
            )
        ax.plot(sizes, rates, "o", color=shade, label=label)
    ax.set_yscale("log", base=2)
    ticks = [0.0005 * 2**k for k in range(7)]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_ylabel("best learning rate (valley of the sweep)")
    ax.set_title("Best rates, equal samples")
    ax.legend(fontsize=8)


def valleys(numbers: dict[str, Any], method: str) -> list[float]:
    """The bottom of each size's sweep, by the parabola through its least losses."""
    return [entry["valley"] for entry in numbers["equal_samples"][method]]


def power(sizes: Sequence[float], rates: Sequence[float]) -> tuple[float, float, float]:
    """(slope, its standard error, the line's rate at the sizes' geometric mean) of log rate against log size, by least squares."""
    x, y = np.log(sizes) - np.mean(np.log(sizes)), np.log(rates)
    slope = float(x @ y / (x @ x))
    rest = y - y.mean() - slope * x
    error = float(np.sqrt(rest @ rest / (len(x) - 2) / (x @ x)))
    return slope, error, float(np.exp(y.mean()))


def losses(numbers: dict[str, Any], kind: str, method: str) -> list[list[float]]:
    """Held-out losses [size][seed]."""
    return [entry["loss"] for entry in numbers[kind][method]]


def gaps(numbers: dict[str, Any], kind: str) -> list[list[float]]:
    """LoRA's loss less full fine-tuning's [size][seed]: both saw the same records in the same order."""
    pairs = zip(losses(numbers, kind, "LoRA"), losses(numbers, kind, "full, same linears"), strict=True)
    return [[lora - full for lora, full in zip(*pair, strict=True)] for pair in pairs]


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    sizes, steps, seeds = numbers["sizes"], numbers["steps"], len(gaps(numbers, "equal_samples")[0])

    def shown(method):
        return ", ".join(f"{median(seeds):.2f}" for seeds in losses(numbers, "equal_samples", method))

    return (
        f"Roman numerals, {numbers['samples']:,} samples in batches of {_listed(sizes)} ({_listed(steps)} steps): median "
        f"held-out loss of LoRA (r = 8, alpha = 8, all linear layers) {shown('LoRA')}, of full fine-tuning of the same layers "
        f"{shown('full, same linears')}. {growth(numbers)} {steps_or_batch(numbers)} {by_batch(numbers)} {seeds} seeds at the best "
        "of three or more rates, a factor of 2 apart, swept for each method and size with the first seed. "
        f"{unlearned(numbers)}Not settled: batches of that size in long runs, other ranks, larger models."
    )


def growth(numbers: dict[str, Any]) -> str:
    """Does the gap grow from the smallest batch to the largest? As sentences."""
    by_size = gaps(numbers, "equal_samples")
    middle = [median(seeds) for seeds in by_size]
    first, last = numbers["sizes"][0], numbers["sizes"][-1]
    listed = f"LoRA's loss is higher by {_listed([f'{gap:.2f}' for gap in middle])} nats"
    widest = numbers["sizes"][middle.index(max(middle))]
    change = _change(by_size[0], by_size[middle.index(max(middle))])
    peak = f"; to {widest}, where it is widest, it {change}" if widest not in (first, last) else ""
    kinds = (losses(numbers, "equal_samples", method) for method in METHODS)
    ratios = [f"{median(lora) / median(full):.1f}" for lora, full in zip(*kinds, strict=True)]
    listed += f" ({_listed(ratios)} times)"
    return f"{listed}: from batches of {first} to {last} the gap {_change(by_size[0], by_size[-1])}{peak}."


def steps_or_batch(numbers: dict[str, Any]) -> str:
    """Is it the batch that opens the gap, or the few steps? From runs of as few steps with small batches, as sentences."""
    large = dict(zip(numbers["sizes"], gaps(numbers, "equal_samples"), strict=True))
    pairs, changes = [], {}
    for size, small in zip(numbers["larger"], gaps(numbers, "equal_steps"), strict=True):
        steps = numbers["samples"] // size
        pairs.append(f"{median(small):.2f} and {median(large[size]):.2f} (in the {steps} steps of {size})")
        changes.setdefault(_change(small, large[size]), []).append(size)
    said = "; ".join(f"it {change} to {_listed(sizes)}" for change, sizes in changes.items())
    return (
        "At equal steps the batch decides (and with it how many records are seen): the gap is, with batches of "
        f"{numbers['small']} and with the larger ones, "
        f"{_listed(pairs)}: from {numbers['small']} {said}."
    )


def by_batch(numbers: dict[str, Any]) -> str:
    """How the best rate goes with the batch, as a sentence: a power of it, where the fit says so."""
    said = []
    for method, (_, label) in METHODS.items():
        rates = valleys(numbers, method)
        slope, error, _ = power(numbers["sizes"], rates)
        trend = f"as the batch to the power {slope:.2f} ± {error:.2f}" if abs(slope) > 2 * error else "without a trend"
        said.append(f"{label}: {rates[0]:.2g} to {rates[-1]:.2g}, {trend}")
    return f"From the smallest batch to the largest the best rate goes ({'; '.join(said)})."


def unlearned(numbers: dict[str, Any]) -> str:
    """The sizes at which neither method learned the task, as a sentence, or nothing."""
    entries = zip(*(numbers["equal_samples"][method] for method in METHODS), strict=True)
    few = [
        f"{size} ({steps} steps)"
        for size, steps, pair in zip(numbers["sizes"], numbers["steps"], entries, strict=True)
        if max(median(entry["exact"]) for entry in pair) < LEARNED
    ]
    return f"At {_listed(few)} neither learned the task (under {LEARNED:.0%} exact). " if few else ""


def _change(before, after):
    if min(after) > max(before):
        return "grows in every seed"
    return "shrinks in every seed" if max(after) < min(before) else "does not change by more than the seeds do"


def _listed(values):
    return ", ".join(map(str, values))


def _middle(sizes):
    return float(np.exp(np.mean(np.log(sizes))))
