"""Held-out loss against the learning rate, for LoRA of several ranks and full fine-tuning."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import BOUND

LAYOUT = {"nrows": 1, "ncols": 2, "figsize": (10, 4.4)}
SHADES = ("#9ecae1", "#4292c6", "#084594")


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """One panel per task."""
    for ax, (task, losses) in zip(axes, numbers["loss"].items(), strict=True):
        draw_task(ax, losses, numbers)
        ax.set_title(f"{task}: the higher the rank, the lower its best rate")
    axes[0].set_ylabel("held-out loss, nats per byte")


def draw_task(ax: Axes, losses: Any, numbers: dict[str, Any]) -> None:
    """A line for each of LoRA's ranks, and a dashed one for full fine-tuning."""
    ranks = [method for method in losses if method != "full"]
    for rank, shade in zip(ranks, SHADES, strict=True):
        ax.plot(numbers["lora_rates"], losses[rank], color=shade, marker="o", label=f"LoRA, r = {rank}")
    ax.plot(numbers["full_rates"], losses["full"], color=BOUND, linestyle="--", marker="s", label="full fine-tuning")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("learning rate")
    ax.legend()


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    parts = []
    for task, best in numbers["best"].items():
        lora = ", ".join(f"{rate:g} at r = {rank}" for rank, rate in best.items() if rank != "full")
        parts.append(f"On {task} the best learning rate for LoRA is {lora}; for full fine-tuning {best['full']:g}.")
    return " ".join(parts) + " These are the rates of rank_fit."
