"""One run: training and held-out loss, exact match, rate."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import EASY, HARD, INK

LAYOUT = {"nrows": 3, "ncols": 1, "figsize": (8, 8), "sharex": True, "height_ratios": (3, 2, 1.2)}


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Loss (each step, their running mean, held out), exact match and learning rate against the step."""
    loss_axis, exact_axis, rate_axis = axes
    steps, losses = numbers["step"], numbers["loss"]
    loss_axis.plot(steps, losses, color=EASY, alpha=0.25, linewidth=1)
    loss_axis.plot(steps, _running_mean(losses), color=EASY, label="training (mean of 20 steps)")
    if numbers.get("eval_loss"):
        loss_axis.plot(numbers["eval_step"], numbers["eval_loss"], "o-", color=HARD, markersize=4, label="held out")
    loss_axis.set_yscale("log")
    loss_axis.set_ylabel("loss, nats per token")
    loss_axis.legend()
    loss_axis.set_title("Loss")
    if numbers.get("eval_exact"):
        exact_axis.plot(numbers["eval_step"], [100 * x for x in numbers["eval_exact"]], "o-", color=HARD, markersize=4)
    exact_axis.set_ylim(-3, 103)
    exact_axis.set_ylabel("% exactly right")
    exact_axis.set_title("Held-out answers")
    rate_axis.plot(steps, numbers["learning_rate"], color=INK)
    rate_axis.set_ylim(bottom=0)
    rate_axis.set_ylabel("rate")
    rate_axis.set_xlabel("step")
    rate_axis.set_title("Learning rate")


def caption(numbers: dict[str, Any]) -> str:
    """Where the run stands, in numbers."""
    text = f"step {numbers['step'][-1]}: training loss {numbers['loss'][-1]:.4f}"
    if numbers.get("eval_loss"):
        best = min(range(len(numbers["eval_loss"])), key=numbers["eval_loss"].__getitem__)
        text += f", held-out loss {numbers['eval_loss'][-1]:.4f}"
        text += f" (best {numbers['eval_loss'][best]:.4f} at step {numbers['eval_step'][best]})"
    return text


def _running_mean(values, width=20):
    means, total = [], 0.0
    for i, value in enumerate(values):
        total += value - (values[i - width] if i >= width else 0.0)
        means.append(total / min(i + 1, width))
    return means
