"""The cost of an adapter beside, merged and in four bits, of each operation, and the bits that are left."""

from collections.abc import Sequence
from statistics import mean
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import EASY, HARD, INK, band

LAYOUT = {"nrows": 1, "ncols": 3, "figsize": (16, 4.8), "width_ratios": (1.5, 0.8, 1)}
JOBS = {"forward": ("#0072B2", "forward"), "token": ("#E69F00", "each generated token")}


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left: time of each model over the base's. Middle: milliseconds of each operation. Right: what repeated merging leaves."""
    _draw_models(axes[0], numbers["models"])
    _draw_operations(axes[1], numbers["operations"])
    _draw_bits(axes[2], numbers)


def _draw_models(ax, models):
    for offset, (job, (shade, text)) in zip((-0.2, 0.2), JOBS.items(), strict=True):
        ratios = [ratio(models, name, job) for name in models]
        places = [row + offset for row in range(len(models))]
        ax.barh(places, ratios, height=0.38, color=shade, label=f"{text}: base {models['base'][job]:.1f} ms")
        for place, value in zip(places, ratios, strict=True):
            ax.text(value + 0.03, place, f"{value:.2f}", va="center", fontsize=8)
    ax.axvline(1, color=INK, linewidth=1)
    ax.set_yticks(range(len(models)), models)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.15 * max(ratio(models, name, job) for name in models for job in JOBS))
    ax.set_xlabel("time over the base's")
    ax.set_title("Inference")
    ax.grid(visible=False)
    ax.legend(loc="upper right")


def _draw_operations(ax, operations):
    ax.barh(range(len(operations)), operations.values(), color="#0072B2", height=0.6)
    for row, value in enumerate(operations.values()):
        ax.text(1.1 * value, row, f"{value:.2g} ms", va="center", fontsize=9)
    ax.set_yticks(range(len(operations)), operations)
    ax.invert_yaxis()
    ax.set_xscale("log")
    ax.set_xlim(0.3 * min(operations.values()), 6 * max(operations.values()))
    ax.set_xlabel("milliseconds")
    ax.set_title("Operations on the whole model")
    ax.grid(visible=False)


def _draw_bits(ax, numbers):
    off = numbers["bits"]["subtracted_off"]
    by_merges = [[seed[i] for seed in off] for i in range(len(numbers["merges"]))]
    band(ax, numbers["merges"], by_merges, HARD, marker="o", label="dW added, then subtracted, another each time")
    ours = "the layer put back: 0" if all(numbers["bits"]["unmerged_equal"]) else "the layer put back: NOT EQUAL"
    ax.plot([], [], color=EASY, marker="o", label=ours)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(numbers["merges"], [str(n) for n in numbers["merges"]])
    ax.minorticks_off()
    ax.set_xlabel("times merged and unmerged")
    ax.set_ylim(top=10 * max(map(max, by_merges)))
    ax.set_ylabel("RMS of what the weights are off, over theirs")
    ax.set_title("Bits after unmerging")
    ax.legend(loc="upper left")


def ratio(models: dict[str, dict[str, float]], name: str, job: str) -> float:
    """A model's time over the base's."""
    return models[name][job] / models["base"][job]


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    models, bits, work = numbers["models"], numbers["bits"], numbers["operations"]

    def times(name):
        return f"{ratio(models, name, 'forward'):.2f} and {ratio(models, name, 'token'):.2f}"

    exact = all(all(bits[key]) for key in ("switched_equal", "base_equal", "unmerged_equal"))
    merged = ("LoRA merged", "NF4, merged in float")
    noise = max(abs(ratio(models, name, job) - 1) for name in merged for job in JOBS)
    off = mean(seed[-1] for seed in bits["subtracted_off"])
    return (
        f"Against the base (forward of {numbers['batch_size']} x {numbers['length']} tokens {models['base']['forward']:.0f} ms, a "
        f"generated token {models['base']['token']:.2f} ms): LoRA beside takes {times('LoRA beside')} times as long, merged "
        f"{times('LoRA merged')}, a second adapter that is not active {times('two, one active')}, two combined (rank "
        f"{2 * numbers['r']}) {times('two combined')}; an NF4 base {times('NF4 base')}, with LoRA beside {times('NF4, LoRA beside')}, "
        f"merged and kept in float {times('NF4, merged in float')} (medians over alternating rounds; a merged model does the "
        f"base's arithmetic, so up to {noise:.0%} is noise). A switch takes {work['switch']:.2g} ms, a merge "
        f"{work['merge']:.2g}, unmerging {work['unmerge']:.2g}. After {numbers['switches']} switches and {numbers['merges'][-1]} "
        f"merges taken back, logits and weights are {'equal bit for bit' if exact else 'NOT equal bit for bit'} "
        f"({len(bits['switched_equal'])} seeds); adding and subtracting as many other updates instead leaves the weights off by "
        f"{off:.1e} of their RMS. Merged logits differ from unmerged ones by at most {max(bits['merged_off']):.1e} of the "
        f"largest. Two adapters combined by concatenation: error {max(bits['combined_off']):.1e}; adding A and B separately: "
        f"{mean(bits['linear_off']):.2f} of the update. One machine, a model of a million parameters: each product is small, so "
        "a bypass costs more than in a large model."
    )
