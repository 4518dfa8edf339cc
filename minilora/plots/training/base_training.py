"""The base's training and held-out loss."""

from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import EASY, HARD

LAYOUT = {"nrows": 1, "ncols": 1, "figsize": (8, 4.2)}


def draw(ax: Axes, numbers: dict[str, Any]) -> None:
    """Loss against step: training (mean of fifty steps) and held-out."""
    for key, shade, label in (("train", EASY, "training text"), ("eval", HARD, "held-out text")):
        steps, losses = zip(*numbers["curve"][key], strict=True)
        ax.plot(steps, losses, color=shade, marker="o", markersize=3)
        ax.annotate(label, (steps[-1], losses[-1]), (6, 0), textcoords="offset points", color=shade, va="center")
    ax.set_xlim(0, numbers["training"]["max_steps"] * 1.2)
    ax.set_ylim(bottom=0)
    ax.set_title("The base stops where held-out loss stops falling")
    ax.set_xlabel("step")
    ax.set_ylabel("loss, nats per byte")


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    train, held_out = numbers["curve"]["train"][-1][1], numbers["curve"]["eval"][-1][1]
    sample = " ".join(numbers["samples"][0].split())
    return (
        f"{numbers['training']['max_steps']} steps over {numbers['corpus']['train_tokens']:,} bytes of the Python language reference "
        f"bring the held-out loss to {held_out:.3f} nats per byte (training text: {train:.3f}). A sample at temperature 0.7: “{sample}”"
    )
