"""Held-out loss by batch size at equal samples, the gap between LoRA and full fine-tuning, and the best rates."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import EASY, GUIDE, HARD, INK, band, log2_axis, median

LAYOUT = {"nrows": 1, "ncols": 3, "figsize": (15, 4.8)}
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
    ticks = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2]
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
    """The best rate of each method by batch size."""
    for method, (shade, label) in METHODS.items():
        rates = [entry["best"] for entry in numbers["equal_samples"][method]]
        ax.plot(numbers["sizes"], rates, "o-", color=shade, label=label)
    ax.set_yscale("log", base=2)
    ticks = [0.0005 * 2**k for k in range(8)]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_ylabel("best learning rate (grid: factor 2)")
    ax.set_title("Best rates, equal samples")
    ax.legend(fontsize=8)


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

    rates = {method: [entry["best"] for entry in numbers["equal_samples"][method]] for method in METHODS}
    rising = "; ".join(f"{METHODS[m][1]} {at[0]:g} to {at[-1]:g}" for m, at in rates.items())
    return (
        f"Roman numerals, {numbers['samples']:,} samples in batches of {_listed(sizes)} ({_listed(steps)} steps): median "
        f"held-out loss of LoRA (r = 8, all linear layers) {shown('LoRA')}, of full fine-tuning of the same layers "
        f"{shown('full, same linears')}. {growth(numbers)} {steps_or_batch(numbers)} From batches of {sizes[0]} to {sizes[-1]} "
        f"the best rate goes: {rising}. {seeds} seeds at the best of three or more rates, a factor of 2 apart, swept for each "
        f"method and size with the first seed. Not settled: {steps[-1]} steps are too few to learn this task in, whatever the "
        f"batch, and whether {steps[1]} steps or their batch open a gap there; "
        "batches of that size in long runs, other ranks and larger models may differ."
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
    kinds = (losses(numbers, "equal_samples", method) for method in ("LoRA", "full, same linears"))
    ratios = [f"{median(lora) / median(full):.1f}" for lora, full in zip(*kinds, strict=True)]
    listed += f" ({_listed(ratios)} times)"
    return f"{listed}: from batches of {first} to {last} the gap {_change(by_size[0], by_size[-1])}{peak}."


def steps_or_batch(numbers: dict[str, Any]) -> str:
    """Is it the batch that opens the gap, or the few steps? From runs of as few steps with small batches, as sentences."""
    large = dict(zip(numbers["sizes"], gaps(numbers, "equal_samples"), strict=True))
    said = []
    for size, small in zip(numbers["larger"], gaps(numbers, "equal_steps"), strict=True):
        steps = numbers["samples"] // size
        change = _change(small, large[size])
        said.append(
            f"in {steps} steps it {change} from batches of {numbers['small']} ({median(small):.2f}) to {size} ({median(large[size]):.2f})"
        )
    return f"At equal steps the batch alone decides: {'; '.join(said)}."


def _change(before, after):
    if min(after) > max(before):
        return "grows in every seed"
    return "shrinks in every seed" if max(after) < min(before) else "does not change by more than the seeds do"


def _listed(values):
    return ", ".join(map(str, values))
