"""Loss against the learning rate for each rank under three rules of scaling; first steps; alpha against the rate."""

from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import BOUND, INK, band, log2_axis, median

LAYOUT = {"nrows": 2, "ncols": 3, "figsize": (14, 8.4)}
SHADES = ("#9ecae1", "#4292c6", "#084594")  # low rank to high
TICKS = (0.001, 0.002, 0.005, 0.01, 0.02)  # learning rates
RULES = {"alpha = r": ("#009E73", "o"), "alpha = 32": ("#D55E00", "s"), "rsLoRA": ("#0072B2", "^")}


def draw(axes: Any, numbers: dict[str, Any]) -> None:
    """Above: the sweeps, one panel per rule. Below: the first step, the best rates, and alpha against the rate."""
    top = max(max(_whole(found["loss"])) for ranks in numbers["rules"].values() for found in ranks.values())
    for ax, (rule, ranks) in zip(axes[0], numbers["rules"].items(), strict=True):
        draw_rule(ax, ranks, numbers["full_linears"])
        alpha = next(iter(ranks.values()))["alpha"]
        ax.set_title(f"{rule}, alpha = {alpha}: s = alpha / sqrt(r)" if rule == "rsLoRA" else f"{rule}: s = alpha / r")
        ax.set_ylim(top=1.1 * top)
    axes[0][0].set_ylabel("held-out loss, nats per byte")
    draw_first_step(axes[1][0], numbers["first_step"])
    draw_best(axes[1][1], numbers)
    draw_surface(axes[1][2], numbers["surface"], numbers["product"]["value"])


def draw_rule(ax: Axes, ranks: dict[str, Any], full: dict[str, Any]) -> None:
    """One rule: a line for each rank, bands over seeds, a mark at the bottom of each valley."""
    for (r, found), shade in zip(ranks.items(), SHADES, strict=False):
        rates, losses = _finished(found)
        band(ax, rates, losses, shade, marker="o", markersize=4, label=f"r = {r}")
        ax.axvline(found["best"]["rate"], color=shade, linestyle=":", linewidth=1.4)
    band(ax, *_finished(full), BOUND, linestyle="--", label="full, same layers")
    ax.set_xscale("log")
    ax.set_yscale("log")
    _plain_ticks(ax, "x", TICKS)
    _plain_ticks(ax, "y", (0.4, 0.6, 0.8, 1, 1.5))
    ax.set_xlim(0.8 * TICKS[0], 1.5 * TICKS[-1])
    ax.set_xlabel("learning rate (dotted: the valley)")
    ax.legend(loc="lower right", fontsize=8)


def draw_first_step(ax: Axes, first: dict[str, Any]) -> None:
    """|dW| after one step of Adam, relative to that of the largest rank."""
    for rule, sizes in first["adam"].items():
        shade, mark = RULES[rule]
        middle = [median(seeds) for seeds in sizes]
        ax.plot(first["ranks"], [size / middle[-1] for size in middle], color=shade, marker=mark, label=rule)
    log2_axis(ax, first["ranks"])
    ax.set_yscale("log", base=2)
    ax.set_yticks([1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8], ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    ax.set_xlabel("rank r")
    ax.set_ylabel(f"first update / that of r = {first['ranks'][-1]}")
    ax.set_title("First step with Adam")
    ax.legend(loc="upper center")


def draw_best(ax: Axes, numbers: dict[str, Any]) -> None:
    """Where the valleys are: the best rate by rank."""
    ranks = numbers["ranks"]
    for rule, found in numbers["rules"].items():
        shade, mark = RULES[rule]
        seeds = [[*found[str(r)]["best"]["seeds"], found[str(r)]["best"]["rate"]] for r in ranks]
        ax.fill_between(ranks, [min(s) for s in seeds], [max(s) for s in seeds], color=shade, alpha=0.2)
        ax.plot(ranks, [s[-1] for s in seeds], color=shade, marker=mark, label=rule)
    full = numbers["full_linears"]["best"]["rate"]
    ax.axhline(full, color=BOUND, linestyle="--", label="full, same layers")
    log2_axis(ax, ranks)
    ax.set_yscale("log")
    _plain_ticks(ax, "y", TICKS)
    ax.set_xlabel("rank r (bands: all seeds)")
    ax.set_ylabel("best learning rate")
    ax.set_title("Best rate by rank")
    ax.legend(fontsize=8)


def draw_surface(ax: Axes, surface: dict[str, Any], product: float) -> None:
    """Median loss by alpha and rate; the cells of one product are framed."""
    losses = [[float("nan") if None in seeds else median(seeds) for seeds in row] for row in surface["loss"]]
    ax.imshow(losses, cmap="viridis_r", aspect="auto", origin="lower")
    ax.grid(visible=False)
    flat = sorted(loss for row in losses for loss in row if loss == loss)
    for y, (alpha, row) in enumerate(zip(surface["alphas"], losses, strict=True)):
        for x, (rate, loss) in enumerate(zip(surface["rates"], row, strict=True)):
            dark = loss > flat[len(flat) // 2]
            ax.text(x, y, f"{loss:.2f}", ha="center", va="center", color="white" if dark else INK)
            if abs(alpha * rate / product - 1) < 0.02:
                ax.add_patch(_frame(x, y))
    ax.set_xticks(range(len(surface["rates"])), [f"{rate:g}" for rate in surface["rates"]])
    ax.set_yticks(range(len(surface["alphas"])), surface["alphas"])
    ax.set_xlabel("learning rate")
    ax.set_ylabel("alpha")
    ax.set_title(f"Loss at r = {surface['r']} (framed: alpha x rate = {product:g})")


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    ranks = list(map(str, numbers["ranks"]))
    first = numbers["first_step"]
    smallest, largest = first["ranks"][0], first["ranks"][-1]

    def apart(optimizer, rule):
        sizes = [median(seeds) for seeds in first[optimizer][rule]]
        return max(sizes) / min(sizes)

    best = {rule: [found[r]["best"]["rate"] for r in ranks] for rule, found in numbers["rules"].items()}
    shown = {rule: ", ".join(f"{rate:.3g}" for rate in rates) for rule, rates in best.items()}
    ratio = {rule: max(rates) / min(rates) for rule, rates in best.items()}
    losses = numbers["product"]["loss"]
    full = numbers["full_linears"]["best"]["rate"]
    others = [rate / full for rates in best.values() for rate in rates]
    lowest = {
        rule: [min(median(g) for g in found[r]["loss"] if None not in g) for r in ranks]
        for rule, found in numbers["rules"].items()
    }
    ends = "; ".join(f"{rule} {', '.join(f'{loss:.2f}' for loss in row)}" for rule, row in lowest.items())
    return (
        f"With Adam the first update of r = {smallest} to {largest} differs {apart('adam', 'alpha = 32'):.1f} times at a fixed alpha = 32, "
        f"{apart('adam', 'alpha = r'):.1f} times at alpha = r (there the larger rank's is larger), and {apart('adam', 'rsLoRA'):.2f} times "
        f"under rsLoRA; with plain gradient descent, where it goes as alpha squared, {apart('gradient descent', 'alpha = 32'):.0f} times "
        f"at alpha = 32. Best rates for r = {', '.join(ranks)}: at alpha = r {shown['alpha = r']} ({ratio['alpha = r']:.1f} times "
        f"apart), at alpha = 32 {shown['alpha = 32']} ({ratio['alpha = 32']:.1f} times), under rsLoRA with alpha = 8 {shown['rsLoRA']} "
        f"({ratio['rsLoRA']:.1f} times); {min(others):.1f} to {max(others):.1f} times that of full fine-tuning of the same layers "
        f"({full:.2g}). Median losses at the best of these rates: {ends}. Alpha and the rate are two knobs: at r = "
        f"{numbers['surface']['r']} the same product {numbers['product']['value']:g} gives "
        f"{', '.join(f'{median(runs):.2f}' for runs in losses.values())} for alpha = {', '.join(losses)}. Roman numerals, "
        f"{numbers['steps']} steps of batch 16, {numbers['seeds']} seeds, a grid of sqrt(2); not settled: longer runs, "
        "other sizes of model."
    )


def _plain_ticks(ax, axis, ticks):
    """These ticks and no others, written as they are."""
    getattr(ax, f"set_{axis}ticks")(ticks, [f"{tick:g}" for tick in ticks])
    getattr(ax, f"set_{axis}ticks")([], minor=True)


def _whole(losses):
    return [loss for group in losses for loss in group if loss is not None]


def _finished(found):
    """Rates and losses without those where a seed diverged."""
    pairs = [(rate, group) for rate, group in zip(found["rates"], found["loss"], strict=True) if None not in group]
    return [rate for rate, _ in pairs], [group for _, group in pairs]


def _frame(x, y):
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, fill=False, edgecolor="#D55E00", linewidth=2.5)
