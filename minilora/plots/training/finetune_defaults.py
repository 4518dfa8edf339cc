"""How many new answers are right: of every recipe tried, of the one that finetune starts with on fresh records, and of more."""

from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

from matplotlib.axes import Axes

from minilora.plots.style import BOUND, EASY, GUIDE, HARD, median

LAYOUT = {"nrows": 1, "ncols": 3, "figsize": (13, 5), "width_ratios": (2.2, 1, 1)}
GOAL = 90  # % exact
WORDS = {
    "r": "r = alpha = {:g}",
    "target_modules": "on {}",
    "learning_rate": "rate {:g}",
    "lora_dropout": "dropout {:g}",
    "weight_decay": "decay {:g}",
    "adam_beta2": "beta2 {:g}",
    "loraplus_lr_ratio": "B's rate {:g} times A's",
    "max_steps": "{:g} steps",
    "batch_size": "batches of {:g}",
}


def draw(axes: Sequence[Axes], numbers: dict[str, Any]) -> None:
    """Left: each recipe tried, a dot per draw. Middle: two recipes on fresh draws. Right: the chosen one, given more records."""
    draw_tried(axes[0], numbers)
    draw_fresh(axes[1], numbers)
    draw_more(axes[2], numbers)


def draw_tried(ax: Axes, numbers: dict[str, Any]) -> None:
    """A line per recipe, the best at the top, in the words that tell it from the chosen one."""
    entries = sorted(numbers["tried"], key=lambda entry: mean(entry["exact"]))
    chosen = numbers["chosen"]["recipe"]
    for place, entry in enumerate(entries):
        is_chosen = entry["recipe"] == chosen
        shade = EASY if is_chosen else HARD if entry["recipe"] == numbers["plain"]["recipe"] else BOUND
        exact = [100 * value for value in entry["exact"]]
        ax.scatter(exact, [place] * len(exact), color=shade, s=22, zorder=2)
        ax.plot([mean(exact)] * 2, [place - 0.3, place + 0.3], color=shade)
    ax.set_yticks(range(len(entries)), [differences(entry["recipe"], chosen) for entry in entries], fontsize=8)
    ax.axvline(GOAL, color=GUIDE, linestyle="--")
    ax.set_xlim(-2, 102)
    ax.set_xlabel("% of 300 new answers exactly right")
    ax.set_title("tried, a dot per draw of 200 records")


def draw_fresh(ax: Axes, numbers: dict[str, Any]) -> None:
    """Exact match of both recipes on draws that had no part in the choice: on new records, and on the held-out tenth."""
    for place, (key, shade) in enumerate((("plain", HARD), ("chosen", EASY))):
        entry = numbers[key]
        for kind, marker, shift in (("exact", "o", -0.15), ("held_out", "x", 0.15)):
            exact = [100 * value for value in entry[kind]]
            ax.scatter([place + shift] * len(exact), exact, color=shade, marker=marker, zorder=2)
            ax.hlines(mean(exact), place + shift - 0.1, place + shift + 0.1, color=shade)
    ax.axhline(GOAL, color=GUIDE, linestyle="--")
    ax.set_ylim(-2, 102)
    ax.set_xlim(-0.6, 1.6)
    ax.set_xticks((0, 1), ("plain", "chosen"))
    ax.set_ylabel("% exactly right")
    ax.set_title("fresh draws\n(o: 300 new, x: 20 held out)")


def draw_more(ax: Axes, numbers: dict[str, Any]) -> None:
    """Exact match of the chosen recipe against how many records there are."""
    entries = [numbers["chosen"], *numbers["more"]]
    for entry in entries:
        exact = [100 * value for value in entry["exact"]]
        ax.scatter([entry["n_records"]] * len(exact), exact, color=EASY, zorder=2)
    ax.plot([e["n_records"] for e in entries], [100 * mean(e["exact"]) for e in entries], color=EASY)
    ax.axhline(GOAL, color=GUIDE, linestyle="--")
    ax.set_ylim(-2, 102)
    ax.set_xscale("log", base=2)
    ax.set_xticks([e["n_records"] for e in entries], [str(e["n_records"]) for e in entries])
    ax.minorticks_off()
    ax.set_xlabel("records")
    ax.set_title("the chosen one,\ngiven more records")


def differences(recipe: dict[str, float], chosen: dict[str, float]) -> str:
    """What tells a recipe from the chosen one, in words."""
    words = [_word(key, value) for key, value in recipe.items() if value != chosen[key]]
    return ", ".join(words) or "chosen"


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    chosen, plain, tried = numbers["chosen"], numbers["plain"], numbers["tried"]
    recipe, n, fresh = chosen["recipe"], chosen["n_records"], len(chosen["draws"])
    draws = sorted({draw for entry in tried for draw in entry["draws"]})
    settings = ", ".join(_word(key, recipe[key]) for key in WORDS if _acts(key, recipe[key]))
    reached = sum(value >= GOAL / 100 for value in chosen["held_out"])
    reached_new = sum(value >= GOAL / 100 for value in chosen["exact"])
    more = "".join(
        f" With {entry['n_records']} records it is {_percent(entry['exact'])} ({_counted(len(entry['draws']))}, which with {n} "
        f"{'gives' if len(entry['draws']) == 1 else 'give'} {_percent(_of_draws(chosen, entry['draws']))})."
        for entry in numbers["more"]
    )
    return (
        f"Of {len(tried)} recipes, tried on {_counted(len(draws))} of {n} dates (a tenth held out), finetune starts with "
        f"{settings}. On {fresh} fresh draws it gets {_percent(chosen['exact'])} of 300 new dates exactly right "
        f"({_range(chosen['exact'])}; {GOAL}% or more on {reached_new} of {fresh}) and {_percent(chosen['held_out'])} of "
        f"the 20 held out ({_range(chosen['held_out'])}; {GOAL}% or more on {reached} of {fresh}). The recipe that does "
        f"where records abound ({differences(plain['recipe'], recipe)}) gets {_percent(plain['exact'])}: its training loss "
        f"is {median(plain['train_loss']):.3f}, its loss on new dates {median(plain['loss']):.2f}, so it knows its records by "
        f"heart.{more}{_others(tried, recipe)} One task and one base{_tried_once(tried)}."
    )


def _others(tried, chosen):
    """The chosen recipe beside the others that were tried on the draws on which it was chosen."""
    own = next((entry for entry in tried if entry["recipe"] == chosen), None)
    others = [entry for entry in tried if own and entry is not own and set(own["draws"]) <= set(entry["draws"])]
    if not others:
        return ""
    listed = ", ".join(
        f"{_percent(_of_draws(entry, own['draws']))} ({differences(entry['recipe'], chosen)})" for entry in others
    )
    draws = _counted(len(own["draws"]))
    return f" On the {draws} of the choice it gets {_percent(own['exact'])}, and what else was tried on them: {listed}."


def _tried_once(tried):
    once = sum(len(entry["draws"]) == 1 for entry in tried)
    counted = f"{once} of {len(tried)} {'was' if once == 1 else 'were'} tried"
    return (
        f"; of the recipes {counted} on one draw alone, where differences below ten points say little" if once else ""
    )


def _word(key, value):
    return WORDS[key].format(", ".join(value) if isinstance(value, (list, tuple)) else value)


def _acts(key, value):
    return value != {"weight_decay": 0.0, "lora_dropout": 0.0, "loraplus_lr_ratio": 1.0, "adam_beta2": 0.999}.get(key)


def _percent(values):
    spread = f" ± {100 * stdev(values):.0f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.0f}{spread}%"


def _range(values):
    return f"{100 * min(values):.0f} to {100 * max(values):.0f}%"


def _of_draws(entry, draws):
    return [value for draw, value in zip(entry["draws"], entry["exact"], strict=True) if draw in draws]


def _counted(n):
    return f"{n} draw" if n == 1 else f"{n} draws"
