"""The change of a real fine-tuning: its singular values, shared subspaces, amplification and intruder dimensions."""

from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import BOUND, EASY, GUIDE, HARD, log2_axis, median

LAYOUT = {"nrows": 2, "ncols": 2, "figsize": (12, 8.6)}
MODULES = {
    "q_proj": "#0072B2",
    "k_proj": "#56B4E9",
    "v_proj": "#009E73",
    "o_proj": "#F0E442",
    "gate_proj": "#E69F00",
    "up_proj": "#D55E00",
    "down_proj": "#CC79A7",
}


def draw(axes: Any, numbers: dict[str, Any]) -> None:
    """Four panels."""
    draw_left(axes[0][0], numbers)
    draw_similarity(axes[0][1], numbers)
    draw_kinds(axes[1][0], numbers, "amplification", _of_layers)
    axes[1][0].axhline(1, color=GUIDE, linewidth=1)
    axes[1][0].set_yscale("log")
    axes[1][0].set_ylabel("|dW| / |U^T W V|  (bars: middle half of the layers)")
    axes[1][0].set_title("Amplification: are the update's directions new to W?")
    draw_kinds(axes[1][1], numbers, "intruders", _of_seeds)
    axes[1][1].set_ylabel(f"intruders among the first {numbers['k']}, mean of a layer")
    axes[1][1].set_title("Intruder dimensions (bars: all seeds)")


def draw_left(ax: Axes, numbers: dict[str, Any]) -> None:
    """What rank r would leave over of full fine-tuning's change, for each kind of layer."""
    for module, shade in MODULES.items():
        ax.plot(numbers["kept"], left_over(numbers, module), color=shade, marker="o", label=module)
    log2_axis(ax, numbers["kept"])
    ax.set_xlabel("rank r")
    ax.set_ylabel("share of |dW|² beyond the first r")
    ax.set_title("Full fine-tuning's change: no knee")
    ax.legend(fontsize=8)


def draw_similarity(ax: Axes, numbers: dict[str, Any]) -> None:
    """phi(i, j) against j for the first direction and for all of the smaller rank's, trained and as drawn."""
    small, large = numbers["ranks"]
    for i, shade in ((1, HARD), (small, EASY)):
        for kind, line in (("trained", "-"), ("drawn", "--")):
            ax.plot(numbers["kept"], phi(numbers, kind, i), line, color=shade, marker="o", label=f"i = {i}, {kind}")
    log2_axis(ax, numbers["kept"])
    ax.set_ylim(0, 1.02)
    ax.set_xlabel(f"j: first directions of r = {large}'s A")
    ax.set_ylabel("phi(i, j)")
    ax.set_title(f"Do A of r = {small} and of r = {large} share directions?")
    ax.legend(loc="upper left")


def draw_kinds(ax: Axes, numbers: dict[str, Any], name: str, summary: Any) -> None:
    """A quantity of each method, of the trained update and of the random one."""
    methods = list(numbers["size"])
    for offset, (kind, shade, mark) in zip((-0.1, 0.1), (("trained", HARD, "o"), ("random", BOUND, "x")), strict=True):
        for x, method in enumerate(methods):
            low, middle, high = summary(numbers[name][kind][method])
            label = f"{kind} (same norm, same rank)" if kind == "random" else kind
            error = [[middle - low], [high - middle]]
            ax.errorbar(x + offset, middle, yerr=error, fmt=mark, color=shade, capsize=4, label=None if x else label)
    sizes = [_of_layers(numbers["size"][method])[1] for method in methods]
    names = ["full, same layers" if method == "full_linears" else f"LoRA, r = {method}" for method in methods]
    ax.set_xticks(range(len(methods)), [f"{n}\n|dW|/|W| = {s:.2f}" for n, s in zip(names, sizes, strict=True)])
    ax.set_xlim(-0.5, len(methods) - 0.5)
    ax.legend()


def left_over(numbers: dict[str, Any], module: str) -> list[float]:
    """The median share over layers of this kind and seeds, for each rank kept."""
    layers = [
        one for seed in numbers["left"] for one, name in zip(seed, numbers["modules"], strict=True) if name == module
    ]
    return [median(shares) for shares in zip(*layers, strict=True)]


def phi(numbers: dict[str, Any], kind: str, i: int) -> list[float]:
    """phi(i, j) for each j kept, the median over seeds."""
    return [median(seeds) for seeds in zip(*(seed[i - 1] for seed in numbers["similarity"][kind]), strict=True)]


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    small, large = numbers["ranks"]
    at = numbers["kept"].index(small)
    left = [left_over(numbers, module)[at] for module in MODULES]
    last = len(numbers["kept"]) - 1
    first = {kind: phi(numbers, kind, 1)[last] for kind in ("trained", "drawn")}
    whole = {kind: phi(numbers, kind, small)[last] for kind in ("trained", "drawn")}

    kind = "has no low rank" if max(left) > 0.05 else "is nearly of low rank"

    def each_method(name, summary, digits):
        return "; ".join(
            f"{'full' if method == 'full_linears' else f'r = {method}'} {summary(numbers[name]['trained'][method])[1]:.{digits}f} "
            f"against {summary(numbers[name]['random'][method])[1]:.{digits}f}"
            for method in numbers["size"]
        )

    return (
        f"Full fine-tuning of the linear layers changes them by {_of_layers(numbers['size']['full_linears'])[1]:.2f} of their norm, and "
        f"the change {kind}: rank {small} would leave {min(left):.0%} to {max(left):.0%} of it over, by kind of layer; yet LoRA "
        f"of rank {small} ends at {median(numbers['loss'][str(small)]):.3f} where it ends at "
        f"{median(numbers['loss']['full_linears']):.3f}. The first direction of r = {small}'s A lies in the {numbers['kept'][last]} "
        f"first of r = {large}'s by phi = {first['trained']:.2f} (as drawn, {first['drawn']:.2f}), all {small} by {whole['trained']:.2f} "
        f"({whole['drawn']:.2f}). Amplification, median of the layers, against a random update of the same rank and norm: "
        f"{each_method('amplification', _of_layers, 1)}. Intruder dimensions among the first {numbers['k']}, mean of a layer, against "
        f"the same control: {each_method('intruders', _of_seeds, 2)}. Roman numerals, {len(numbers['left'])} seeds, one small model and "
        "one short training, at the rates that are best for half as many steps (rate_by_rank); whether intruders do harm is not asked here."
    )


def _of_layers(by_seed):
    """(lower quartile, median, upper quartile) over all layers and seeds."""
    values = sorted(value for layers in by_seed for value in layers)
    n = len(values)
    return values[n // 4], median(values), values[(3 * n) // 4]


def _of_seeds(by_seed):
    """(least, median, largest) over seeds of the mean over layers."""
    means = [sum(layers) / len(layers) for layers in by_seed]
    return min(means), median(means), max(means)
