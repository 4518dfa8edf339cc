"""Loss under each code with its standard error, and loss against error."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import CODES, INK, color, label

LAYOUT = {"nrows": 1, "ncols": 2, "figsize": (12.5, 5), "width_ratios": (1, 1.2)}
OTHERS = {"nf3": ("#332288", "NF3"), "nf2": ("#882255", "NF2")}
MARKS = {32: "s", 64: "o", 256: "^"}


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left: what each code costs in loss, at block 64. Right: the same against the error of the weights, all block sizes."""
    _draw_change(axes[0], numbers)
    _draw_against_error(axes[1], numbers["settings"])


def _look(found):
    code = found["code"]
    return (color(code), label(code)) if code in CODES else OTHERS[code]


def _draw_change(ax, numbers):
    rows = [(name, found) for name, found in numbers["settings"].items() if found["block_size"] == 64]
    rows.sort(key=lambda row: -row[1]["change"])
    for place, (_, found) in enumerate(rows):
        shade, _ = _look(found)
        ax.errorbar(found["change"], place, xerr=2 * found["standard_error"], fmt="o", color=shade, capsize=3)
    names = [_look(found)[1] + (", double quantization" if "double" in name else "") for name, found in rows]
    ax.set_yticks(range(len(rows)), [f"{n}  ({f['bits']:.2f} bits)" for n, (_, f) in zip(names, rows, strict=True)])
    ax.set_xscale("symlog", linthresh=0.01)
    ax.axvline(0, color=INK, linewidth=1)
    ax.set_xlabel(f"added loss, nats per byte (bars: 2 standard errors, {numbers['windows']} windows)")
    ax.set_title(f"The base in blocks of 64 (float: {numbers['float']['loss']:.3f})")


def _draw_against_error(ax, settings):
    for found in settings.values():
        if found["code"] == "nf2":
            continue  # far beyond the others
        shade, _ = _look(found)
        mark = MARKS[found["block_size"]]
        error = 2 * found["standard_error"]
        ax.errorbar(found["error"], found["change"], yerr=error, fmt=mark, color=shade, capsize=2, markersize=6)
    for code in dict.fromkeys(found["code"] for found in settings.values() if found["code"] != "nf2"):
        shade, text = _look({"code": code})
        ax.plot([], [], "o", color=shade, label=text)
    for size, mark in MARKS.items():
        ax.plot([], [], mark, color=INK, label=f"blocks of {size}")
    ax.axhline(0, color=INK, linewidth=1)
    ax.set_xlabel("RMS error of the weights / RMS")
    ax.set_ylabel("added loss, nats per byte")
    ax.set_title("Error is not loss: the order differs")
    ax.legend(fontsize=8, loc="upper left")


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    settings = numbers["settings"]

    def change(name):
        return f"{settings[name]['change']:+.4f} ± {settings[name]['standard_error']:.4f}"

    flips = list(_flips(settings))
    worst = max(flips, key=lambda flip: flip[2], default=None)
    example = ""
    if worst:
        a, b, _ = worst
        example = (
            f" For example {_plain(a)} has a smaller error than {_plain(b)} ({settings[a]['error']:.4f} against "
            f"{settings[b]['error']:.4f}) "
            f"and costs more ({change(a)} against {change(b)})."
        )
    return (
        f"On {numbers['windows']} held-out windows the float base has {numbers['float']['loss']:.3f} "
        f"nats per byte; in blocks of 64 NF4 adds "
        f"{change('nf4')}, int4 {change('int4')}, affine int4 {change('int4_affine')}, FP4 of "
        f"bitsandbytes {change('fp4')}, NF3 {change('nf3')}, "
        f"NF2 {change('nf2')} (mean and standard error of the difference, window by window). Less error "
        f"mostly means less loss, but in "
        f"{len(flips)} pairs of settings the order is the other way round by more than two standard "
        f"errors of both.{example} One model of a million parameters."
    )


def _plain(name):
    code, _, size = name.partition(", ")
    return f"{code.upper() if code.startswith('nf') else code}{f' in blocks of {size}' if size else ''}"


def _flips(settings):
    for a, one in settings.items():
        for b, other in settings.items():
            gap = one["change"] - other["change"]
            spread = 2 * (one["standard_error"] ** 2 + other["standard_error"] ** 2) ** 0.5
            if one["error"] < other["error"] and gap > spread:
                yield a, b, gap - spread
