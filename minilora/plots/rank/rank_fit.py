"""Held-out loss and exact match against rank, for an easy and a hard task."""

from minilora.plots.style import EASY, HARD

LAYOUT = {"nrows": 1, "ncols": 2, "figsize": (11, 4.8)}
NAMES = ("easy", "hard")


def draw(axes, numbers):
    """Left: held-out loss, the band over seeds. Right: the share of answers exactly right."""
    loss, exact = axes
    for (task, found), name, shade in zip(numbers["tasks"].items(), NAMES, (EASY, HARD), strict=True):
        keys = [key for key in found["loss"] if key != "full"]
        x = [int(key) for key in keys]
        for ax, kind in ((loss, "loss"), (exact, "exact")):
            runs = [found[kind][key] for key in keys]
            middle = [sorted(run)[len(run) // 2] for run in runs]
            full = sorted(found[kind]["full"])
            ax.fill_between(x, [min(run) for run in runs], [max(run) for run in runs], color=shade, alpha=0.2)
            ax.plot(x, middle, color=shade, marker="o", label=f"{task} ({name}), LoRA")
            ax.axhline(
                full[len(full) // 2], color=shade, linestyle="--", linewidth=1.2, label=f"{task}, full fine-tuning"
            )
    parameters = next(iter(numbers["tasks"].values()))["parameters"]
    ticks = [int(key) for key in parameters if key != "full"]
    labels = [f"{rank}\n{parameters[str(rank)] / 1000:.0f}k" for rank in ticks]
    for ax in axes:
        ax.set_xscale("log", base=2)
        ax.set_xticks(ticks, labels)
        ax.set_xlabel("rank r, and trainable parameters")
    loss.set_yscale("log")
    loss.set_ylabel("held-out loss, nats a byte")
    loss.set_title("Held-out loss by rank (dashed: full fine-tuning)")
    loss.set_ylim(bottom=6e-4)
    loss.legend(loc="lower left", ncols=2)
    exact.set_ylim(-0.02, 1.02)
    exact.set_ylabel("share of held-out answers exactly right")
    exact.set_title("Exact answers; bands show all seeds")


def caption(numbers) -> str:
    """The finding, in numbers."""
    sentences = []
    for (task, found), name in zip(numbers["tasks"].items(), NAMES, strict=True):
        middle = {key: sorted(runs)[len(runs) // 2] for key, runs in found["loss"].items()}
        right = {key: sorted(runs)[len(runs) // 2] for key, runs in found["exact"].items()}
        keys = [key for key in middle if key != "full"]
        best = min(keys, key=middle.get)
        sentences.append(
            f"On {task} ({name}) the median held-out loss falls from {middle[keys[0]]:.3f} at r = {keys[0]} "
            f"({found['parameters'][keys[0]]:,} parameters, {right[keys[0]]:.0%} exact) to {middle[best]:.3f} at r = {best} "
            f"({found['parameters'][best]:,}, {right[best]:.0%}); full fine-tuning "
            f"({found['parameters']['full']:,}) reaches {middle['full']:.3f} ({right['full']:.0%})."
        )
    seeds = len(next(iter(numbers["tasks"].values()))["loss"]["full"])
    steps = " and ".join(map(str, dict.fromkeys(numbers["steps"])))
    widest = next(reversed(numbers["tasks"].values()))["loss"]["full"]
    return (
        f"{' '.join(sentences)} Seeds differ (full fine-tuning on the hard task: {min(widest):.3f} to {max(widest):.3f}), and higher ranks "
        f"want lower learning rates (see lr_sweep). {seeds} seeds, {steps} steps, alpha = r, all linear layers but the head."
    )
