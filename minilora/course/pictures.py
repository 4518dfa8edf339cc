"""The lessons' own drawings. Each makes one figure from what it is given; `picture(...)` shows it, a slider draws it again."""

from collections.abc import Mapping, Sequence

import numpy as np

from minilora.plots.style import BOUND, EASY, HARD, INK, color, label
from minilora.quant import codebook, quantize

FROZEN, FAINT = "#999999", "#e0e0e0"
BLUE, ORANGE = color("nf4"), color("int4")


def _new(width: float = 8.0, height: float = 2.9, **layout):
    from matplotlib import pyplot as plt

    return plt.subplots(figsize=(width, height), **layout)


def thin_matrices(width: int = 128, r: int = 8) -> None:
    """To scale: a frozen weight beside a full update, and the two thin matrices that LoRA trains instead."""
    _, ax = _new(8, 3.0)
    thin = 128 * r / width
    gap = 26
    places = {"W": 0, "full": 128 + 3 * gap / 2, "B": 256 + 4 * gap}
    a_left = places["B"] + thin + 3 * gap / 4
    boxes = [
        (places["W"], 0, 128, 128, FROZEN, f"W, frozen\n{width:,} x {width:,}\n{width**2:,}", "white"),
        (places["full"], 0, 128, 128, ORANGE, f"full update\n{width**2:,}\ntrained", "white"),
        (places["B"], 0, thin, 128, BLUE, "", "white"),
        (a_left, 128 - thin, 128, thin, BLUE, "", "white"),
    ]
    for left, bottom, w, h, shade, text, ink in boxes:
        ax.add_patch(_rectangle(left, bottom, w, h, shade))
        ax.text(left + w / 2, bottom + h / 2, text, ha="center", va="center", color=ink, fontsize=9)
    ax.text(places["full"] - gap * 0.75, 64, "+", ha="center", va="center", fontsize=14)
    ax.text((places["full"] + 128 + places["B"]) / 2, 64, "or", ha="center", va="center", fontsize=12)
    share = 100 * 2 * r * width / width**2
    words = f"B ({width:,} x {r}) times A ({r} x {width:,})\n{2 * r * width:,} trained: {share:.3g} %"
    ax.text(places["B"], -8, words, va="top", color=BLUE, weight="bold", fontsize=9)
    ax.set_xlim(-4, max(a_left + 150, 560))
    ax.set_ylim(-46, 132)
    ax.set_aspect("equal")
    ax.axis("off")
    ax.set_title(f"Two thin matrices instead of a full update, r = {r}")


def _rectangle(left, bottom, width, height, shade):
    from matplotlib.patches import Rectangle

    return Rectangle((left, bottom), width, height, color=shade)


def rounded_block(weights: np.ndarray, code: str = "nf4") -> None:
    """One block of weights, the levels of its code, and where each weight lands.    weights: (n,)"""
    q = quantize(weights, code, block_size=weights.size)
    back, scale, n = q.dequantize(), q.scales[0], weights.size
    _, ax = _new(8, 2.9)
    ax.hlines(codebook(code) * scale, 0, n - 1, color=FAINT, linewidth=0.9)
    ax.vlines(np.arange(n), weights, back, color=ORANGE, linewidth=1.5)
    ax.plot(weights, "o", color=FROZEN, markersize=4, label="weight")
    ax.plot(back, "_", color=BLUE, markersize=7, markeredgewidth=2, label="in four bits")
    ax.grid(visible=False)
    ax.set_xlabel("place in the block")
    ax.set_ylabel("weight")
    ax.set_title(f"{n} weights move to the nearest of {len(codebook(code))} levels; orange is the error")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def memory_bars(methods: Mapping[str, tuple[float, float]]) -> None:
    """Gigabytes by method: (weights, what training adds)."""
    _, ax = _new(8, 0.55 * len(methods) + 0.8)
    for row, (weights, rest) in enumerate(methods.values()):
        ax.barh(row, weights, color=BLUE, label=None if row else "weights")
        ax.barh(row, rest, left=weights, color=ORANGE, label=None if row else "gradients, AdamW, adapter")
        ax.text(weights + rest + 1, row, f"{weights + rest:.1f} GB", va="center")
    ax.set_yticks(range(len(methods)), methods)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.15 * max(map(sum, methods.values())))
    ax.set_xlabel("GB, without activations")
    ax.grid(visible=False)
    ax.legend(loc="lower right")
    ax.set_title("LoRA removes what training adds; four bits shrink what is left")


def curves(
    lines: Mapping[str, tuple[Sequence, Sequence]], x: str, y: str, title: str, *, logx: bool = False, logy: bool = True
) -> None:
    """Named lines over a common axis: {label: (x values, y values)}."""
    _, ax = _new(7, 3.2)
    for i, (name, (xs, ys)) in enumerate(lines.items()):
        ax.plot(
            xs, ys, color=(BLUE, ORANGE, EASY, "#CC79A7", INK)[i % 5], label=name, marker="o" if len(xs) < 20 else None
        )
    if logx:
        ax.set_xscale("log", base=2)
        ticks = sorted({value for xs, _ in lines.values() for value in xs})
        ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    if logy:
        ax.set_yscale("log")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.set_title(title)
    if len(lines) > 1:
        ax.legend()


def valley(steps: np.ndarray, errors: Sequence[float], chosen: float = 1e-6) -> None:
    """The error of a central difference over its step h, between the curve's h squared and the rounding's 1e-16 / h."""
    _, ax = _new(7, 3.2)
    ax.loglog(steps, errors, marker="o", color=BLUE, label="measured, attention")
    ax.loglog(steps, steps**2, color=FROZEN, linestyle="--", label="h squared: the curve")
    ax.loglog(steps, 1e-16 / steps, color=FROZEN, linestyle=":", label="1e-16 / h: rounding")
    ax.axvline(chosen, color=ORANGE, linewidth=1)
    ax.set_ylim(1e-13, 1)
    ax.set_xlabel("step h")
    ax.set_ylabel("relative error")
    ax.set_title(f"h = {chosen:g}: too large a step bends, too small a step rounds")
    ax.legend()


def attention_memory(length: int = 128, heads: int = 4, width: int = 128) -> None:
    """Megabytes that one layer of plain attention keeps, by length: probabilities grow with its square."""
    _, ax = _new(7, 2.9)
    lengths = np.geomspace(16, 4096, 60)
    ax.loglog(lengths, heads * lengths**2 * 4 / 1e6, color=ORANGE, label=f"probabilities, {heads} heads")
    ax.loglog(lengths, 3 * lengths * width * 4 / 1e6, color=BLUE, label="q, k and v")
    at = heads * length**2 * 4 / 1e6
    ax.plot(length, at, "o", color=ORANGE)
    ax.annotate(f"{at:.3g} MB at T = {length}", (length, at), (6, -14), textcoords="offset points")
    ax.set_xlabel("length T")
    ax.set_ylabel("MB per layer and sequence")
    ax.set_title("What attention keeps for its backward")
    ax.legend()


def scaling_of_ranks(alpha: float = 16, r: int = 8) -> None:
    """alpha / r and alpha / sqrt(r) over the rank, with one rank marked."""
    _, ax = _new(7, 2.9)
    ranks = 2.0 ** np.arange(8)
    ax.loglog(ranks, alpha / ranks, color=BLUE, label="alpha / r")
    ax.loglog(ranks, alpha / np.sqrt(ranks), color=ORANGE, label="alpha / sqrt(r), rsLoRA")
    for value, shade in ((alpha / r, BLUE), (alpha / np.sqrt(r), ORANGE)):
        ax.plot(r, value, "o", color=shade)
        ax.annotate(f"{value:.3g}", (r, value), (6, 4), textcoords="offset points", color=shade)
    ax.set_xticks(ranks, [f"{rank:g}" for rank in ranks])
    ax.set_xlabel("rank r")
    ax.set_ylabel("scaling s")
    ax.set_ylim(0.05, 300)
    ax.set_title(f"alpha = {alpha:g}, r = {r}")
    ax.legend()


def left_over(decay: float = 0.8, r: int = 8, n: int = 48) -> None:
    """What any rank must leave over of a change whose singular values fall by a constant factor."""
    _, (left, right) = _new(8, 2.8, ncols=2)
    sigma = decay ** np.arange(n)
    places = np.arange(1, n + 1)
    left.bar(places, sigma, color=np.where(places <= r, BLUE, FAINT))
    left.set_xlabel("singular value")
    left.set_title(f"each {decay:g} of the last; r = {r} keeps the blue")
    rest = 1 - np.cumsum(sigma**2) / np.sum(sigma**2)
    right.plot(places, rest, color=EASY)
    right.plot(r, rest[r - 1], "o", color=BLUE)
    right.annotate(f"{rest[r - 1]:.3f}", (r, rest[r - 1]), (6, 6), textcoords="offset points", color=BLUE)
    right.set_ylim(0, 1)
    right.set_xlabel("rank r")
    right.set_title("share left over at best")


def code_under_density(bits: int = 4) -> None:
    """The values of NormalFloat with `bits` bits under a normal density."""
    _, ax = _new(7, 2.4)
    z = np.linspace(-1, 1, 400)
    ax.fill_between(z, np.exp(-((2.2 * z) ** 2) / 2), color="#dddddd")
    ax.vlines(codebook(f"nf{bits}"), 0, 0.6, color=BLUE, linewidth=1.5 if bits < 6 else 0.6)
    ax.set_yticks([])
    ax.set_xlabel("weight / absmax")
    ax.set_title(f"{bits} bits: {2**bits} values")


def after_outlier(weights: np.ndarray, size: float, code: str = "nf4") -> None:
    """One block whose first weight is replaced by an outlier: what is left of its neighbors.    weights: (n,)"""
    planted = weights.copy()
    planted[0] = size
    back = quantize(planted, code, block_size=planted.size).dequantize()
    _, ax = _new(7, 2.9)
    ax.plot([-3, 3], [-3, 3], color=FAINT)
    ax.plot(planted[1:], back[1:], "o", color=color(code), markersize=4)
    kept = np.unique(np.round(back[1:], 6)).size
    ax.set_ylim(-4, 4)
    ax.set_xlabel("weight")
    ax.set_ylabel("after four bits")
    ax.set_title(f"An outlier of {size:g}: its {planted.size - 1} neighbors have {kept} different values left")


def rounded_back(size: float = 0.05, code: str = "nf4", n: int = 24) -> None:
    """Some decoded weights, an update of `size` times their norm, and where each lands when the sum is quantized again."""
    rng = np.random.default_rng(0)
    base = quantize(rng.standard_normal((256, 256)).astype(np.float32), code).dequantize()
    update = rng.standard_normal(base.shape).astype(np.float32)
    update *= size * np.linalg.norm(base) / np.linalg.norm(update)
    again = quantize(base + update, code).dequantize()
    kept = np.vdot(again - base, update) / np.vdot(update, update)
    _, ax = _new(8, 2.9)
    start, moved, end = (w.ravel()[:n] for w in (base, base + update, again))
    ax.hlines(codebook(code) * np.abs(base.ravel()[:64]).max(), 0, n - 1, color=FAINT, linewidth=0.9)
    ax.vlines(np.arange(n), start, moved, color=ORANGE, linewidth=1.5)
    ax.plot(start, "o", color=FROZEN, markersize=5, label="decoded weight")
    ax.plot(moved, "x", color=ORANGE, markersize=5, label="plus the update")
    ax.plot(end, "_", color=BLUE, markersize=9, markeredgewidth=2, label="quantized again")
    ax.grid(visible=False)
    ax.set_xlabel("weight")
    ax.set_ylabel("value")
    ax.set_title(f"|dW| / |W| = {size:g}: {abs(round(kept, 2)):.0%} of the update is kept (65,536 weights)")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def bits_of_block(block_size: int = 64, second: int = 256) -> None:
    """The bits that one block takes, before and after double quantization."""
    _, ax = _new(8, 2.2)
    codes = 4 * block_size
    parts = {
        "before": (("codes", codes, BLUE), ("scale, 32 bits", 32, ORANGE)),
        "after": (
            ("", codes, BLUE),
            ("scale, 8 bits", 8, "#E69F00"),
            (f"1/{second} of a 32-bit scale", 32 / second, BOUND),
        ),
    }
    for row, pieces in enumerate(parts.values()):
        left = 0
        for text, bits, shade in pieces:
            ax.barh(row, bits, left=left, color=shade, edgecolor="white", label=text or None)
            left += bits
        ax.text(1.01 * left, row, f"{left / block_size:.3f} bits per weight", va="center")
    ax.set_yticks([0, 1], ["before", "after double\nquantization"])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.5 * (codes + 32))
    ax.set_xlabel(f"bits that a block of {block_size} weights takes")
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, 1.3), ncols=4, fontsize=8)
    ax.grid(visible=False)


def two_levels(weight: float, steps: Sequence[tuple[str, str]]) -> None:
    """How one weight is decoded: a row of boxes from what is stored (bottom) to the weight (top)."""
    _, ax = _new(8, 0.62 * len(steps) + 0.4)
    for row, (what, value) in enumerate(steps):
        y = len(steps) - 1 - row
        ax.add_patch(_rectangle(0, y + 0.08, 1.0, 0.84, BLUE if row == len(steps) - 1 else FAINT))
        ink = "white" if row == len(steps) - 1 else INK
        ax.text(0.02, y + 0.5, what, va="center", color=ink, fontsize=9)
        ax.text(0.98, y + 0.5, value, va="center", ha="right", color=ink, fontsize=9, family="monospace")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, len(steps))
    ax.axis("off")
    ax.set_title(f"Two levels of scales, from the stored bytes to one weight ({weight:.6f} before)")


def step_sizes(ranks: Sequence[int], sizes: Mapping[str, Sequence[float]], title: str) -> None:
    """The size of the first update over the rank, one line for each optimizer and scaling, each over its value at r = 1."""
    _, ax = _new(7, 3.2)
    styles = {"gradient descent": "-", "Adam": "--"}
    for name, values in sizes.items():
        optimizer = next((key for key in styles if name.startswith(key)), "Adam")
        shade = ORANGE if "sqrt" in name else BLUE
        ax.loglog(ranks, np.asarray(values) / values[0], styles[optimizer], color=shade, marker="o", label=name)
    ax.set_xticks(ranks, [str(r) for r in ranks])
    ax.set_xlabel("rank r")
    ax.set_ylabel("size of the first update, r = 1 is 1")
    ax.set_title(title)
    ax.legend()


def histogram(values: np.ndarray, mark: float, label: str, x: str, title: str) -> None:
    """How values are spread, with one place marked."""
    _, ax = _new(7, 2.7)
    ax.hist(values, bins=80, color="#bbbbbb")
    ax.axvline(mark, color=HARD, label=label)
    ax.set_xlabel(x)
    ax.set_ylabel("blocks")
    ax.set_title(title)
    ax.legend()


def maps(values: Mapping[str, np.ndarray]) -> None:
    """8-bit maps: all their values, and how far down the positive ones reach."""
    _, axes = _new(9, 2.8, ncols=2)
    for row, (_, levels) in enumerate(values.items()):
        axes[0].vlines(levels, row - 0.35, row + 0.35, linewidth=0.6, color=f"C{row}")
        positive = np.sort(levels[levels > 0])
        axes[1].semilogy(np.linspace(0, 1, positive.size), positive, color=f"C{row}")
    axes[0].set_yticks(range(len(values)), values)
    axes[0].set_title("All values")
    axes[0].set_xlabel("value")
    axes[1].set_title("The positive ones, in order")
    axes[1].set_xlabel("place among them")


def bins_used(use: np.ndarray) -> None:
    """How often each code is used, beside even use."""
    _, ax = _new(7, 2.7)
    ax.bar(range(use.size), use, color=BLUE)
    ax.axhline(1 / use.size, color=BOUND, linestyle="--", linewidth=1, label=f"even use, 1/{use.size}")
    ax.set_xlabel("code")
    ax.set_ylabel("share of weights")
    ax.set_title(f"The most used value comes up {use.max() / use.min():.1f} times as often as the least used")
    ax.legend()


def codes_under_density(codes: Sequence[str], cut: float) -> None:
    """Where codes put their values under the normal density, whose value at +-1 is `cut` standard deviations."""
    _, ax = _new(7, 2.9)
    z = np.linspace(-1, 1, 400)
    density = np.exp(-((cut * z) ** 2) / 2) / np.sqrt(2 * np.pi)
    ax.fill_between(z, density, color="#dddddd", label="normal density, cut at the offset")
    for code, height in zip(codes, (0.12, 0.28), strict=True):
        ax.vlines(codebook(code), 0, height, color=color(code), label=label(code))
    ax.set_xlabel("weight / absmax")
    ax.set_ylabel("density")
    ax.set_ylim(0, 0.6)
    ax.set_title("NF4 is dense where weights are, sparse at the ends")
    ax.legend(loc="upper right")


def loss_against_error(settings: Sequence[Mapping], unit: str = "nats per token") -> None:
    """What each code costs in loss, beside its error: {"code", "block_size", "rms_error", "change", "standard_error"} each."""
    _, ax = _new(8, 3.8)
    marks = {32: "s", 64: "o", 256: "^"}
    for one in settings:
        shade = color(one["code"])
        error = 2 * one["standard_error"]
        mark = marks[one["block_size"]]
        ax.errorbar(100 * one["rms_error"], one["change"], yerr=error, fmt=mark, color=shade, capsize=2, markersize=6)
    for code in dict.fromkeys(one["code"] for one in settings):
        ax.plot([], [], "o", color=color(code), label=label(code))
    for size in sorted({one["block_size"] for one in settings}):
        ax.plot([], [], marks[size], color=INK, label=f"blocks of {size}")
    ax.axhline(0, color=INK, linewidth=1)
    ax.set_xlabel("RMS error of the weights, percent of their RMS")
    ax.set_ylabel(f"added loss, {unit}")
    ax.set_title("One code is too good to be true")
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def stored_twice(weights: np.ndarray, code: str = "nf4", block_size: int = 64) -> None:
    """A row of weights, stored as Q4_1 stores it (affine int4, blocks of 32) and then in another code: the two errors.

    weights: (n,), n a multiple of both block sizes
    """
    file = quantize(weights, "int4_affine", block_size=32).dequantize()
    again = quantize(file, code, block_size=block_size).dequantize()
    size = np.sqrt(np.mean(weights**2))
    to_file, to_true = (100 * np.sqrt(np.mean((again - w) ** 2)) / size for w in (file, weights))
    _, ax = _new(8, 2.9)
    shown = slice(0, 32)
    ax.plot(weights[shown], "o", color=FROZEN, markersize=4, label="before the file was made")
    ax.plot(file[shown], "_", color=BLUE, markersize=9, markeredgewidth=2, label="as the file has it (Q4_1)")
    ax.plot(again[shown], "x", color=ORANGE, markersize=5, label=f"then in {label(code)}, blocks of {block_size}")
    ax.set_xlabel("the first 32 weights")
    ax.set_ylabel("weight")
    ax.set_title(f"{to_file:.1f} % away from the file, {to_true:.1f} % away from the weights before it")
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def surface(rates: Sequence[float], alphas: Sequence[float], loss: np.ndarray, product: float | None = None) -> None:
    """What is left of a loss over the rate and alpha, and the line on which their product stays the same.    loss: [alpha][rate]"""
    from matplotlib.colors import LogNorm

    _, ax = _new(7, 3.4)
    values = np.ma.masked_invalid(np.asarray(loss, float))
    places = np.arange(len(rates)), np.arange(len(alphas))
    shown = ax.pcolormesh(*places, values, cmap="viridis_r", norm=LogNorm(), shading="nearest")
    middle = np.sqrt(values.min() * values.max())
    for (row, column), value in np.ndenumerate(values):
        if not np.ma.is_masked(value):
            ink = "white" if value > middle else INK
            ax.text(column, row, f"{value:.2g}", ha="center", va="center", fontsize=8, color=ink)
    ax.set_xticks(places[0], [f"{rate:.2g}" for rate in rates])
    ax.set_yticks(places[1], [f"{alpha:g}" for alpha in alphas])
    ax.set_xlabel("learning rate")
    ax.set_ylabel("alpha")
    ax.grid(visible=False)
    ax.figure.colorbar(shown, ax=ax)
    if product:
        at = np.interp(np.log(product / np.asarray(alphas)), np.log(rates), places[0], left=np.nan, right=np.nan)
        ax.plot(at, places[1], color=ORANGE, marker="s", markersize=17, fillstyle="none", linestyle=":", linewidth=1)
    ax.set_title("Orange squares: one product of alpha and rate")


def training_curves(runs: Mapping[str, Mapping[str, Sequence[float]]], top: float | None = None) -> None:
    """Training and held-out loss of runs, a panel for each: {title: {"step", "train", "held_out"}}. `top`: where the axis ends."""
    _, axes = _new(1 + 2.1 * len(runs), 2.7, ncols=len(runs), sharey=True, squeeze=False)
    for ax, (title, run) in zip(axes[0], runs.items(), strict=True):
        ax.plot(run["step"], run["train"], color=EASY, linestyle="--", label="training records")
        ax.plot(run["step"], run["held_out"], color=HARD, label="held-out records")
        ax.set_title(title)
        ax.set_xlabel("step")
        ax.set_ylim(0, top)
    axes[0, 0].set_ylabel("loss")
    axes[0, -1].legend(fontsize=8)
