"""Loss against the learning rate at several budgets of steps, and the best rate against the budget."""

from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import BOUND, band, log2_axis, median

LAYOUT = {"nrows": 2, "ncols": 2, "figsize": (11, 8.2)}
SHADES = {
    "1": ("#9ecae1", "r = 1"),
    "8": ("#4292c6", "r = 8"),
    "64": ("#084594", "r = 64"),
    "full_linears": (BOUND, "full, same layers"),
    "full": ("#D55E00", "full"),
}
TICKS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
LOSSES = (0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 1, 1.2, 1.4, 1.6, 1.8)


def draw(axes: Any, numbers: dict[str, Any]) -> None:
    """A panel for each budget, and the best rates last."""
    *sweeps, last = axes.flat
    for i, (ax, steps) in enumerate(zip(sweeps, numbers["budgets"], strict=True)):
        draw_budget(ax, numbers["methods"], i)
        ax.set_title(f"{steps} steps (ringed: the best rate)")
    sweeps[0].legend(fontsize=8)
    draw_best(last, numbers)


def draw_budget(ax: Axes, methods: dict[str, Any], i: int) -> None:
    """The sweeps of one budget: dotted the one seed's, and bands over all seeds around its best."""
    for method, found in methods.items():
        shade, label = SHADES[method]
        ax.plot(*_finished(found["rates"][i], found["sweep"][i]), color=shade, linestyle=":", linewidth=1)
        whole = [(r, seeds) for r, seeds in zip(found["around"][i], found["loss"][i], strict=True) if None not in seeds]
        rates, losses = zip(*whole, strict=True)
        band(ax, rates, losses, shade, marker="o", markersize=4, label=label)
        best = found["best"][i]
        ax.plot(best, median(dict(whole)[best]), "o", color=shade, markersize=10, markerfacecolor="none")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS], fontsize=8)
    low, high = ax.get_ylim()
    ticks = [loss for loss in LOSSES if low <= loss <= high]
    ax.set_yticks(ticks, [f"{loss:g}" for loss in ticks])
    ax.minorticks_off()
    ax.set_xlabel("learning rate")
    ax.set_ylabel("held-out loss, nats per byte")


def _finished(rates, losses):
    """Without the runs that diverged."""
    return zip(*((rate, loss) for rate, loss in zip(rates, losses, strict=True) if loss is not None), strict=True)


def draw_best(ax: Axes, numbers: dict[str, Any]) -> None:
    """The best rate by budget, a line per method."""
    for method, found in numbers["methods"].items():
        shade, label = SHADES[method]
        ax.plot(numbers["budgets"], found["best"], color=shade, marker="o", label=label)
    log2_axis(ax, numbers["budgets"])
    ax.set_yscale("log")
    ax.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
    ax.minorticks_off()
    ax.set_xlabel("steps")
    ax.set_ylabel("best learning rate")
    ax.set_title("Best rate by number of steps")
    ax.legend(fontsize=8)


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    budgets = ", ".join(map(str, numbers["budgets"]))
    rates = "; ".join(
        f"{SHADES[method][1]} {', '.join(f'{rate:.2g}' for rate in found['best'])}"
        for method, found in numbers["methods"].items()
    )
    seeds = len(numbers["methods"]["1"]["loss"][0][0])
    return (
        f"Roman numerals, best learning rates after {budgets} steps: {rates}. {fallen(numbers)} A grid of {numbers['factor']:g}: one "
        f"seed sweeps (dotted), its best rate and the two beside it run with {seeds} (medians, bands over all). Batch "
        f"{numbers['batch_size']}, alpha = r, all linear layers but the head; each budget is a run of its own, whose rate falls to zero "
        "at its end. These are the rates of rank_fit, which has other seeds; a difference of one step of the grid is not settled."
    )


def fallen(numbers: dict[str, Any]) -> str:
    """Does the best rate fall with the number of steps, by more than one step of the grid? A sentence."""
    methods, beyond = numbers["methods"], 1.2 * numbers["factor"]  # a step of the grid, rounded
    lower = [SHADES[m][1] for m, found in methods.items() if found["best"][0] > beyond * found["best"][-1]]
    higher = [SHADES[m][1] for m, found in methods.items() if found["best"][-1] > beyond * found["best"][0]]
    steps = f"from {numbers['budgets'][0]} to {numbers['budgets'][-1]} steps"
    if not lower and not higher:
        return f"No best rate moves by more than one step of the grid {steps}."
    parts = [
        *([f"falls by more than one step of the grid for {_listed(lower, methods)}"] if lower else []),
        *([f"rises by more for {_listed(higher, methods)}"] if higher else []),
    ]
    return f"{steps[0].upper()}{steps[1:]} the best rate {' and '.join(parts)}."


def _listed(names, methods):
    return "every method" if len(names) == len(methods) else " and ".join(names)
