"""Held-out loss and exact match against rank, for an easy and a hard task."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import EASY, HARD, band, log2_axis, median

LAYOUT = {"nrows": 1, "ncols": 2, "figsize": (11, 4.8)}
NAMES = ("easy", "hard")


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left: held-out loss, the band over seeds. Right: the share of answers exactly right."""
    loss, exact = axes
    draw_tasks(loss, numbers, "loss")
    loss.set_yscale("log")
    loss.set_ylabel("held-out loss, nats per byte")
    loss.set_title("Held-out loss by rank (dashed: full fine-tuning)")
    loss.set_ylim(bottom=6e-4)
    loss.legend(loc="lower left", ncols=2)
    draw_tasks(exact, numbers, "exact")
    exact.set_ylim(-0.02, 1.02)
    exact.set_ylabel("share of held-out answers exactly right")
    exact.set_title("Exact answers; bands show all seeds")


def draw_tasks(ax: Axes, numbers: dict[str, Any], kind: str) -> None:
    """One kind of score: for each task LoRA's against rank, and full fine-tuning's as a dashed line."""
    ranks = numbers["ranks"]
    for (task, entry), name, shade in zip(numbers["tasks"].items(), NAMES, (EASY, HARD), strict=True):
        scores = entry[kind]
        band(ax, ranks, [scores[str(r)] for r in ranks], shade, marker="o", label=f"{task} ({name}), LoRA")
        full = median(scores["full"])
        ax.axhline(full, color=shade, linestyle="--", linewidth=1.2, label=f"{task}, full fine-tuning")
    parameters = next(iter(numbers["tasks"].values()))["parameters"]
    log2_axis(ax, ranks, [f"{r}\n{parameters[str(r)] / 1000:.0f}k" for r in ranks])
    ax.set_xlabel("rank r, and trainable parameters")


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    sentences = []
    for (task, entry), name in zip(numbers["tasks"].items(), NAMES, strict=True):
        middle = {key: median(runs) for key, runs in entry["loss"].items()}
        right = {key: median(runs) for key, runs in entry["exact"].items()}
        keys = [key for key in middle if key != "full"]
        best = min(keys, key=middle.get)
        sentences.append(
            f"On {task} ({name}) the median held-out loss falls from {middle[keys[0]]:.3f} at r = {keys[0]} "
            f"({entry['parameters'][keys[0]]:,} parameters, {right[keys[0]]:.0%} exact) to {middle[best]:.3f} at r = {best} "
            f"({entry['parameters'][best]:,}, {right[best]:.0%}); full fine-tuning "
            f"({entry['parameters']['full']:,}) reaches {middle['full']:.3f} ({right['full']:.0%})."
        )
    seeds = len(next(iter(numbers["tasks"].values()))["loss"]["full"])
    steps = " and ".join(map(str, dict.fromkeys(numbers["steps"])))
    widest = next(reversed(numbers["tasks"].values()))["loss"]["full"]
    return (
        f"{' '.join(sentences)} Seeds differ (full fine-tuning on the hard task: {min(widest):.3f} to {max(widest):.3f}), and higher ranks "
        f"want lower learning rates (see lr_sweep). {seeds} seeds, {steps} steps, alpha = r, all linear layers but the head."
    )
