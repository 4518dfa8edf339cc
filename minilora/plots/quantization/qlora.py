"""LoRA over each storage of the base: curves, what quantizing took and what is left of it, exact answers, ranks, rates."""

from statistics import mean
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.pairs import differ, differences, signed, standard_error
from minilora.plots.style import EASY, HARD, INK, band, color, log2_axis, median

LAYOUT = {"nrows": 2, "ncols": 3, "figsize": (16, 9)}
LOOKS = {
    "float32": (INK, "float32"),
    "nf4": (color("nf4"), "NF4"),
    "nf4 double": ("#56B4E9", "NF4 + double quant."),
    "fp4": (color("fp4"), "FP4"),
    "int4": (color("int4"), "int4"),
    "nf3": ("#009E73", "NF3"),
    "nf2": ("#882255", "NF2"),
}
TASKS = {"roman": (HARD, "o"), "dates": (EASY, "s")}
ENOUGH = 5  # seeds for a difference to be claimed
LINES = ("-", "--", ":", "-.")  # studies, in the panel of the sweeps


def draw(axes: Any, numbers: dict[str, Any]) -> None:
    """Above: the curves of each task, and what is missing before and after training. Below: exact answers, ranks, sweeps."""
    curves = [study for study in numbers["studies"].values() if len(study["storages"]) == len(numbers["bases"])]
    for ax, study in zip(axes[0], curves, strict=False):
        draw_curves(ax, study)
    draw_gaps(axes[0][2], numbers, curves)
    draw_exact(axes[1][0], numbers, curves)
    draw_ranks(axes[1][1], numbers, curves[0])
    draw_sweeps(axes[1][2], numbers)


def draw_curves(ax: Axes, study: dict[str, Any]) -> None:
    """Held-out loss by step, the median over seeds; a band over all seeds where it is float32 or two bits."""
    for name, found in study["storages"].items():
        shade, text = LOOKS[name]
        points = list(zip(*found["curve"], strict=True))
        if name in ("float32", "nf2"):
            band(ax, study["steps_read"], points, shade, label=text)
        else:
            ax.plot(study["steps_read"], [median(point) for point in points], color=shade, label=text)
    ax.set_yscale("log")
    ticks = (0.01, 0.03, 0.1, 0.3, 1, 2)
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_yticks([], minor=True)
    ax.set_xlabel("step")
    ax.set_ylabel("held-out loss, nats per byte")
    ax.set_title(f"{study['task']}, r = {study['r']}: median of {_seeds(study)} seeds (bands: all)")
    ax.legend(fontsize=8)


def draw_gaps(ax: Axes, numbers: dict[str, Any], studies: list[dict[str, Any]]) -> None:
    """What each code adds to the loss: on the base's own text and on the tasks before training, and what is left after it."""
    names = [name for name in numbers["bases"] if name != "float32"]
    for place, name in enumerate(names):
        text = numbers["bases"][name]["text"]
        _dot(ax, text["change"], text["standard_error"], place - 0.3, INK, "D", full=False)
        own = numbers["own_text"]["storages"]
        if name in own:
            gap = differences(own[name]["loss"], own["float32"]["loss"])
            _dot(ax, mean(gap), standard_error(gap), place - 0.2, INK, "D", full=True)
        for i, study in enumerate(studies):
            shade, mark = TASKS[study["task"]]
            for key, full in (("before", False), ("loss", True)):
                gap = differences(study["storages"][name][key], study["storages"]["float32"][key])
                _dot(ax, mean(gap), standard_error(gap), place - 0.05 + 0.22 * i + 0.1 * full, shade, mark, full=full)
    ax.plot([], [], "D", color=INK, markerfacecolor="none", label="own text, untrained")
    ax.plot([], [], "D", color=INK, label="own text, trained on it")
    for study in studies:
        shade, mark = TASKS[study["task"]]
        ax.plot([], [], mark, color=shade, markerfacecolor="none", label=f"{study['task']}, untrained")
        ax.plot([], [], mark, color=shade, label=f"{study['task']}, trained")
    ax.axvline(0, color=INK, linewidth=1)
    ax.set_xscale("symlog", linthresh=0.01)
    ticks = (-0.1, -0.01, 0, 0.01, 0.1, 1)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_yticks(range(len(names)), [LOOKS[name][1] for name in names])
    ax.set_ylim(-0.6, len(names) + 1.4)
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("loss above float32, nats per byte (bars: 2 standard errors)")
    ax.set_title("What quantizing took, and what is left of it")
    ax.legend(fontsize=8, loc="lower left", ncols=2)


def _dot(ax, value, error, place, shade, mark, *, full):
    fill = {} if full else {"markerfacecolor": "none"}
    ax.errorbar(value, place, xerr=2 * error, fmt=mark, color=shade, markersize=5, elinewidth=1, **fill)


def draw_exact(ax: Axes, numbers: dict[str, Any], studies: list[dict[str, Any]]) -> None:
    """Exact answers of every seed, beside what the base takes."""
    names = list(numbers["bases"])
    for i, study in enumerate(studies):
        shade, mark = TASKS[study["task"]]
        for place, name in enumerate(names):
            exact = [100 * value for value in study["storages"][name]["exact"]]
            at = [place + 0.15 * (1 - 2 * i)] * len(exact)
            ax.plot(exact, at, mark, color=shade, alpha=0.5, label=None if place else study["task"])
            ax.plot(median(exact), at[0], "|", color=INK, markersize=13, markeredgewidth=2)
    labels = [f"{LOOKS[name][1]}\n{_megabytes(numbers['bases'][name])}" for name in names]
    ax.set_yticks(range(len(names)), labels)
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("held-out answers exactly right, % (line: the median)")
    ax.set_title("Exact answers, and the bytes of the base")
    ax.legend(loc="lower left")


def draw_ranks(ax: Axes, numbers: dict[str, Any], main: dict[str, Any]) -> None:
    """Loss by rank on the task of `main`, after as many steps."""
    studies = _by_rank(numbers, main)
    for name in _ranked(studies):
        shade, text = LOOKS[name]
        runs = [study["storages"][name]["loss"] for study in studies]
        band(ax, [study["r"] for study in studies], runs, shade, marker="o", label=text)
    log2_axis(ax, [study["r"] for study in studies])
    ax.set_yscale("log")
    ticks = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_yticks([], minor=True)
    ax.set_xlabel("rank r, alpha = r (bands: all seeds)")
    ax.set_ylabel("held-out loss, nats per byte")
    ax.set_title(f"{main['task']} by rank, {main['steps']} steps")
    ax.legend()


def draw_sweeps(ax: Axes, numbers: dict[str, Any]) -> None:
    """Loss against the rate in every sweep; a ring around the rate that was taken."""
    for line, (title, study) in zip(LINES, numbers["studies"].items(), strict=False):
        for name, found in study["storages"].items():
            losses = [float("nan") if loss is None else loss for loss in found["sweep"]]
            ax.plot(found["rates"], losses, line, color=LOOKS[name][0], marker=".", linewidth=1.3)
            least = losses[found["rates"].index(found["best"])]
            ax.plot(found["best"], least, "o", color=LOOKS[name][0], markerfacecolor="none", markersize=9)
        ax.plot([], [], line, color=INK, label=title)
    for name in numbers["bases"]:
        ax.plot([], [], "o", color=LOOKS[name][0], label=LOOKS[name][1])
    rates = {rate for s in numbers["studies"].values() for f in s["storages"].values() for rate in f["rates"]}
    log2_axis(ax, sorted(rates), rotation=60)
    ax.set_yscale("log")
    ticks = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_yticks([], minor=True)
    ax.set_xlabel("learning rate (rings: the one taken)")
    ax.set_ylabel("held-out loss, nats per byte")
    ax.set_title("Loss against rate, seed 0")
    ax.set_ylim(bottom=0.002)
    ax.legend(fontsize=8, ncols=2, loc="lower center")


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    bases = numbers["bases"]
    studies = [study for study in numbers["studies"].values() if len(study["storages"]) == len(bases)]
    texts = ", ".join(
        f"{LOOKS[name][1]} {found['text']['change']:+.3f}" for name, found in bases.items() if name != "float32"
    )
    return (
        f"Stored in NF4 the base takes {_megabytes(bases['nf4'])} instead of {_megabytes(bases['float32'])} "
        f"({_megabytes(bases['nf4 double'])} with double quantization, {_megabytes(bases['nf2'])} in NF2). Untrained, quantizing "
        f"adds to the loss on its own text: {texts}. {_own_text(numbers)} {' '.join(map(_finding, studies))} "
        f"{_ranks(numbers, studies[0])} {_rates(numbers)} {_seeds(studies[0])} seeds, batch {numbers['batch_size']}, alpha = r, "
        "blocks of 64; ±: standard errors; a difference is what every seed sees and what exceeds two standard errors of the paired "
        "mean. One small model, and two tasks that it did not know; tasks that ask for what it knows "
        "this does not settle."
    )


def _own_text(numbers):
    """What LoRA on the base's own text wins back of what quantizing took of its loss there."""
    own, parts = numbers["own_text"], []
    reference = own["storages"]["float32"]
    for name, found in own["storages"].items():
        if name == "float32":
            continue
        before, after = (mean(differences(found[key], reference[key])) for key in ("before", "loss"))
        share = f", {1 - after / before:.0%} of it won back" if before > 0.05 else ""  # of less, noise is a large share
        parts.append(f"{LOOKS[name][1]} {signed(found['loss'], reference['loss'], 4)} of {before:.4f}{share}")
    steps = f"{own['steps']} steps of {own['batch_size']} crops of {own['length']} bytes"
    return (
        f"LoRA trained on such text, but not these windows ({steps}, r = {own['r']}), leaves above float32 trained alike "
        f"{'; '.join(parts)}."
    )


def _finding(study):
    """One task: who differs from float32 after training, and where the coarsest code stood before it."""
    own = study["storages"]
    reference = own["float32"]
    gaps = {name: signed(found["loss"], reference["loss"]) for name, found in own.items() if name != "float32"}
    apart = [name for name in gaps if differ(own[name]["loss"], reference["loss"])]
    worse = [name for name in apart if mean(differences(own[name]["loss"], reference["loss"])) > 0]
    better = [name for name in apart if name not in worse]
    few = "" if _seeds(study) >= ENOUGH else f", which with {_seeds(study)} is a hint"
    verdict = " and ".join(
        f"{_and(names)} {'is' if len(names) == 1 else 'are'} {word} in every seed{few}"
        for names, word in ((worse, "worse"), (better, "better"))
        if names
    )
    before = mean(differences(own["nf2"]["before"], reference["before"]))
    none = "none is a difference" if _seeds(study) >= ENOUGH else f"nothing that {_seeds(study)} seeds can tell apart"
    return (
        f"After {study['steps']} steps on {study['task']}, r = {study['r']}, the median loss is {median(reference['loss']):.3f} over "
        f"float32 ({_exact(reference)} exact), {median(own['nf4']['loss']):.3f} over NF4 ({_exact(own['nf4'])}), "
        f"{median(own['nf2']['loss']):.3f} over NF2 ({_exact(own['nf2'])}; untrained {before:+.2f} from float32); mean "
        f"difference to float32: {', '.join(f'{LOOKS[name][1]} {gap}' for name, gap in gaps.items())}: "
        f"{verdict or none}."
    )


def _ranks(numbers, main):
    """The gaps by rank."""
    studies = _by_rank(numbers, main)
    rows = []
    for name in _ranked(studies)[1:]:
        gaps = [signed(s["storages"][name]["loss"], s["storages"]["float32"]["loss"]) for s in studies]
        rows.append(f"{LOOKS[name][1]} {', '.join(gaps)}")
    floats = ", ".join(f"{median(s['storages']['float32']['loss']):.3f}" for s in studies)
    ranks = ", ".join(str(s["r"]) for s in studies)
    return f"By rank (r = {ranks}) on {main['task']}, float32 {floats}; above it {'; '.join(rows)}."


def _rates(numbers):
    """The best rate of every sweep; once where several agree."""
    parts = []
    for title, study in (*numbers["studies"].items(), ("own text", numbers["own_text"])):
        best: dict[float, list[str]] = {}
        for name, found in study["storages"].items():
            best.setdefault(found["best"], []).append(name)
        listed = ", ".join(f"{rate:g} for {_and(names) if len(best) > 1 else 'all'}" for rate, names in best.items())
        parts.append(f"{title}: {listed}")
    return f"Best rates (factor 2, by seed 0; all seeds decided where two were close): {'; '.join(parts)}."


def _by_rank(numbers, main):
    """The studies of the same task and steps, the smallest rank first."""
    like = [s for s in numbers["studies"].values() if s["task"] == main["task"] and s["steps"] == main["steps"]]
    return sorted(like, key=lambda study: study["r"])


def _ranked(studies):
    """The storages that stand in all of them."""
    return [name for name in studies[0]["storages"] if all(name in study["storages"] for study in studies)]


def _seeds(study):
    return len(study["storages"]["float32"]["loss"])


def _megabytes(base):
    return f"{base['bytes'] / 1e6:.2f} MB"


def _exact(found):
    return f"{100 * median(found['exact']):.0f}%"


def _and(names):
    texts = [LOOKS[name][1] for name in names]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
