"""What ails a training run, and each remedy as a curve: memory, poor fit, divergence, faulty data, too few steps."""

from typing import Any

from matplotlib.axes import Axes

from minilora.plots.pairs import compared
from minilora.plots.style import EASY, GUIDE, HARD, INK, band, log2_axis, median

LAYOUT = {"nrows": 2, "ncols": 3, "figsize": (15.5, 8.8)}
MEMORY = {
    "full": (HARD, "-"),
    "LoRA": (EASY, "-"),
    "NF4 LoRA": ("#0072B2", "-"),
    "LoRA, checkpointing": (EASY, "--"),
    "NF4 LoRA, checkpointing": ("#0072B2", "--"),
}
WORST, HELPS = HARD, ("#E69F00", "#56B4E9", "#0072B2", "#CC79A7")
LOSS_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20)


def draw(axes: Any, numbers: dict[str, Any]) -> None:
    """A panel for each kind of trouble."""
    (memory, rank, rate), (divergence, data, steps) = axes
    draw_memory(memory, numbers)
    draw_rank_and_targets(rank, numbers)
    draw_rate_too_low(rate, numbers)
    draw_divergence(divergence, numbers)
    draw_data(data, numbers)
    draw_too_few_steps(steps, numbers)
    for ax in (rank, rate, divergence, data, steps):
        ax.set_yscale("log")
        ax.set_yticks(LOSS_TICKS, [f"{tick:g}" for tick in LOSS_TICKS])
        ax.minorticks_off()
        ax.set_ylabel("held-out loss, nats per byte")
        ax.set_xlabel("step")


def draw_memory(ax: Axes, numbers: dict[str, Any]) -> None:
    """What each way of training holds, by batch: lines are counted, dots the measured peak."""
    for name, (shade, dash) in MEMORY.items():
        cells = numbers["memory"][name]
        ax.plot(numbers["batches"], [held(cell) for cell in cells], dash, color=shade, label=name)
        ax.plot(numbers["batches"], [peak(cell) for cell in cells], ".", color=shade)
    log2_axis(ax, numbers["batches"])
    ax.set_yscale("log")
    ticks = (5, 10, 20, 50, 100, 200)
    ax.set_yticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel(f"texts of {numbers['length']} tokens per batch")
    ax.set_ylabel("MB (lines: counted; dots: peak)")
    ax.set_title("Out of memory")
    ax.legend(fontsize=8)


def draw_rank_and_targets(ax: Axes, numbers: dict[str, Any]) -> None:
    """More rank, more targets, at equal steps."""
    group = numbers["rank and targets"]
    *ranks, target = group
    shades = dict(zip(ranks, ("#9ecae1", EASY, "#084594"), strict=True)) | {target: WORST}
    _draw_curves(ax, group, shades, at_rate=True)
    ax.set_title("Equal steps: rank, targets")


def draw_rate_too_low(ax: Axes, numbers: dict[str, Any]) -> None:
    """Slow: a larger alpha, a higher rate."""
    group = numbers["rate too low"]
    _draw_curves(ax, group, dict(zip(group, (WORST, HELPS[0], EASY), strict=True)))
    ax.set_title("The rate is too low")


def draw_divergence(ax: Axes, numbers: dict[str, Any]) -> None:
    """Too high a rate, without warm-up and clipping: each remedy."""
    group = numbers["divergence"]
    _draw_curves(ax, group, dict(zip(group, (WORST, *HELPS[:3], EASY), strict=True)))
    ax.set_title("Divergence: no warm-up, no clipping, too high a rate")


def draw_data(ax: Axes, numbers: dict[str, Any]) -> None:
    """Faulty training records: the loss that the trainer sees (dashed) and the held-out loss."""
    group = numbers["data"]
    shades = dict(zip(group, (EASY, WORST, HELPS[2]), strict=True))
    _draw_curves(ax, group, shades)
    for name, found in group.items():
        if "train" in found:
            ax.plot(found["step"][1:], [median(seeds) for seeds in found["train"]], "--", color=shades[name])
    ax.plot([], [], "--", color=INK, label="loss of its training batches")
    ax.legend(fontsize=8)
    ax.set_title("The data are at fault")


def draw_too_few_steps(ax: Axes, numbers: dict[str, Any]) -> None:
    """It does not converge yet: more steps, or a lower rate."""
    group = numbers["too few steps"]
    _draw_curves(ax, group, dict(zip(group, (WORST, HELPS[1], HELPS[2], HELPS[3]), strict=True)))
    ax.set_title("It does not converge yet")


def _draw_curves(ax, group, shades, at_rate=False):
    """The held-out curve of each run of a group, as far as all seeds have numbers."""
    for name, found in group.items():
        pairs = [(step, seeds) for step, seeds in zip(found["step"], found["loss"], strict=True) if None not in seeds]
        label = f"{name}, rate {found['rate']:g}" if at_rate else name
        band(ax, [step for step, _ in pairs], [seeds for _, seeds in pairs], shades[name], label=label)
    ax.axhline(next(iter(group.values()))["loss"][0][0], color=GUIDE, linestyle=":")
    ax.legend(fontsize=8)


def held(cell: dict[str, Any]) -> float:
    """MB of all that is counted."""
    return sum(cell["counted"].values()) / 1e6


def peak(cell: dict[str, Any]) -> float:
    """MB of the weights and of the peak of two steps above them."""
    return (cell["counted"]["weights"] + cell["peak"]) / 1e6


def end(found: dict[str, Any]) -> list[float]:
    """Held-out losses of all seeds at the end; a run that diverged ended at infinity."""
    return [float("inf") if loss is None else loss for loss in found["loss"][-1]]


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    seeds = len(numbers["data"]["sound"]["loss"][0])
    return (
        f"{memory_finding(numbers)} Held-out losses (medians of {seeds} seeds; {numbers['steps']} steps of batch "
        f"{numbers['batch_size']} on Roman numerals where no other number is named). {fit_finding(numbers)} {divergence_finding(numbers)} "
        f"{data_finding(numbers)} {steps_finding(numbers)} One task and a small base: where each trouble begins (which rate, how "
        "many steps) is another matter on another model; the rates of r = 1, 8 and 64 are those of rate_by_rank, not swept again."
    )


def memory_finding(numbers: dict[str, Any]) -> str:
    """Out of memory: what each remedy leaves of LoRA's memory, at the largest batch."""
    batches, cells = numbers["batches"], numbers["memory"]
    place = len(batches) - 3
    at = {name: held(some[-1]) for name, some in cells.items()}
    remedies = {
        "checkpointing": at["LoRA, checkpointing"],
        "the base in four bits": at["NF4 LoRA"],
        f"a batch of {batches[place]}": held(cells["LoRA"][place]),
    }
    listed = ", ".join(f"{name} {size:.0f}" for name, size in sorted(remedies.items(), key=lambda pair: pair[1]))
    weights, activations = (cells["LoRA"][-1]["counted"][part] / 1e6 for part in ("weights", "activations"))
    over = [peak(cell) - held(cell) for some in cells.values() for cell in some]
    return (
        f"Memory, {batches[-1]} texts of {numbers['length']} tokens, counted in MB: full fine-tuning {at['full']:.0f}, LoRA "
        f"{at['LoRA']:.0f} (weights {weights:.0f}, activations {activations:.0f}); from there {listed}; four bits and checkpointing "
        f"{at['NF4 LoRA, checkpointing']:.0f}. Peaks lie {min(over):.0f} to {max(over):.0f} MB higher."
    )


def fit_finding(numbers: dict[str, Any]) -> str:
    """Poor fit, or too slow for these steps: rank, targets, rate, alpha."""
    group, slow = numbers["rank and targets"], numbers["rate too low"]
    *ranks, target = group
    best, wrong = group["r = 8"], group[target]
    low, alpha, right = slow
    listed = ", ".join(f"{name} {_middle(group[name])}" for name in ranks)
    return (
        f"At equal steps, which shows speed (where ranks end: rank_curves): {listed}; r = 8 on {target} at its best rate "
        f"{wrong['rate']:g} {_middle(wrong)}, so all linear layers are {_beside(best, wrong)}; {low} {_middle(slow[low])}, with "
        f"alpha 4 times {_middle(slow[alpha])} ({_beside(slow[alpha], slow[low])}), {right} {_middle(slow[right])}."
    )


def divergence_finding(numbers: dict[str, Any]) -> str:
    """Divergence: where the high rate ends, and with each remedy."""
    group = numbers["divergence"]
    high, *remedies, low = group
    listed = ", ".join(f"{name} {_middle(group[name])} ({_beside(group[name], group[high])})" for name in remedies)
    highest = max(loss for seeds in group[high]["loss"][1:] for loss in seeds if loss is not None)
    lost = sum(loss == float("inf") for loss in end(group[high]))
    gone = f", {lost} of {len(end(group[high]))} seeds without a number at last" if lost else ""
    return (
        f"Divergence: {high} without warm-up and clipping {_middle(group[high])} at the end (up to {highest:.1f} on the "
        f"way{gone}); with {listed}; {low} alone {_middle(group[low])} ({_beside(group[low], group[high])})."
    )


def data_finding(numbers: dict[str, Any]) -> str:
    """Faulty data: what the trainer sees, and what comes out."""
    group = numbers["data"]
    sound, before = _middle(group["sound"]), median(group["sound"]["loss"][0])
    listed = "; ".join(
        f"{name} {median(found['train'][-1]):.2f} on its training batches and {_middle(found)} held out"
        for name, found in group.items()
        if "train" in found
    )
    return (
        f"Faulty records (targets shuffled; labels shifted twice) at the good rate, where sound ones give {sound} and the base "
        f"{before:.1f}: {listed}."
    )


def steps_finding(numbers: dict[str, Any]) -> str:
    """Too few steps: more of them, and a lower rate."""
    group = numbers["too few steps"]
    *budgets, slower = group
    listed = ", ".join(f"{name} {_middle(group[name])}" for name in budgets)
    return f"It does not converge: {listed}; {slower} {_middle(group[slower])} ({_beside(group[slower], group[budgets[0]])})."


def _middle(found):
    middle = median(end(found))
    return "diverged" if middle == float("inf") else f"{middle:.2f}"


def _beside(found, other):
    """Whether one ends lower than another in every seed, or with each."""
    return compared(end(found), end(other))
