"""Bits stored per trainable parameter against bits offered."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import BOUND, band, median

LAYOUT = {"nrows": 1, "ncols": 2, "figsize": (11, 4.6)}
SHADES = ("#9ecae1", "#4292c6", "#084594", "#D55E00")


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left: bits stored per parameter. Right: the share of values that are known."""
    stored, known = axes
    offered = numbers["offered"]
    for (r, found), shade in zip(numbers["ranks"].items(), SHADES, strict=False):
        name = f"r = {r}, {found['parameters']:,} parameters"
        band(stored, offered, found["bits"], shade, marker="o", label=name)
        band(known, offered, found["known"], shade, marker="o", label=name)
    stored.plot([0, offered[-1]], [0, offered[-1]], color=BOUND, linestyle="--", linewidth=1, label="all of them")
    stored.axhline(2, color="#bbbbbb", linewidth=1, label='2 bits ("LoRA Without Regret")')
    stored.set_ylabel("bits stored per trainable parameter")
    stored.set_ylim(0, 1.1 * max(2.0, max(max(group) for f in numbers["ranks"].values() for group in f["bits"])))
    stored.set_title("Random values for random keys")
    known.set_ylabel("share of values that are given right")
    known.set_ylim(-0.02, 1.02)
    known.set_title("The share of values that are given right")
    for ax in axes:
        ax.set_xlabel("bits offered per trainable parameter")
        ax.set_xlim(0, offered[-1] * 1.05)
    stored.legend(fontsize=8, loc="lower right")
    known.legend(fontsize=8)


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    most = {r: max(map(median, found["bits"])) for r, found in numbers["ranks"].items()}
    spread = [bits for found in numbers["ranks"].values() for bits in max(found["bits"], key=median)]
    first = next(iter(numbers["ranks"].values()))
    level = max(most.values()) / min(most.values())
    how = "about in proportion to its parameters" if level < 1.25 else "not in proportion to its parameters"
    sizes = " and ".join(f"{found['parameters']:,}" for found in numbers["ranks"].values())
    count = {2: "two", 3: "three"}.get(len(most), len(most))
    last = [found["bits"][-2:] for found in numbers["ranks"].values()]
    end = ", still rising there in every seed" if all(max(before) < min(most) for before, most in last) else ""
    if all(median(found["bits"][-1]) < most[r] for r, found in numbers["ranks"].items()):
        end = f", {_fewer(numbers)}"
    rates = [rate for found in numbers["ranks"].values() for rate in found["rate"]]
    return (
        f"An adapter stores at least {', '.join(f'{bits:.2f} (r = {r})' for r, bits in most.items())} bits per trainable parameter "
        f"(the largest medians; {min(spread):.2f} to {max(spread):.2f} over ranks and seeds), {how} at {count} sizes ({sizes}), "
        f"with up to {numbers['offered'][-1]:g} offered{end} (LoRA Without Regret says about 2). "
        f"With {numbers['offered'][0]:g} offered {median(first['known'][0]):.0%} of the values are given right at r = "
        f"{next(iter(numbers['ranks']))}, with {numbers['offered'][-1]:g} {median(first['known'][-1]):.0%}. Bits are pairs times (8 - "
        f"cross-entropy in bits); keys of two random bytes, values of one; LoRA on all linear layers of a frozen random network of two "
        f"layers, 32 wide; {len(first['bits'][0])} seeds, {numbers['steps']:,} steps on all pairs. Each rank has at each offer the "
        f"best of two rates by the mean loss over these seeds ({min(rates):.2g} to {max(rates):.2g}): the best of a sweep with one other "
        f"seed, and the next lower one, for near the best rate some seeds fail. More steps may store more, and a "
        "pretrained base may store otherwise."
    )


def _fewer(numbers):
    """What is stored at the largest offer, where that is less than at a smaller one."""
    ranks = numbers["ranks"].items()
    stored = ", ".join(f"{median(found['bits'][-1]):.2f} (r = {r})" for r, found in ranks)
    failed = sum(bits == 0 for _, found in ranks for bits in found["bits"][-1])
    nothing = f", and {failed} run{'s learn' if failed > 1 else ' learns'} nothing" if failed else ""
    return (
        f"where fewer are stored again, {stored}{nothing}: an adapter could leave the other "
        "pairs alone, so there the training is what is short, not the room"
    )
