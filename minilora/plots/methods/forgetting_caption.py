"""What the figure forgetting has found: a sentence for each question, from its numbers alone."""

from itertools import combinations
from typing import Any

import numpy as np

from minilora.plots.methods.forgetting_paths import (
    FULL,
    chance,
    correlations,
    equal_learning,
    equal_size,
    last,
    movers,
    swept,
    whole,
)
from minilora.plots.pairs import compared
from minilora.plots.style import median

SAID = (1.5, 0.5)  # of the levels in the figure, those that the caption names


def caption(numbers: dict[str, Any]) -> str:
    """The finding, in numbers."""
    methods, base = numbers["methods"], numbers["base"]
    seeds = len(next(iter(methods.values()))["at"][0]["loss"])
    names = whole(numbers)
    listed = "; ".join(
        f"{name} {median(last(numbers, name, 'loss')):.2f} and +{median(last(numbers, name, 'rise')):.2f}"
        for name in names
    )
    gone = [name for name in methods if name not in names]
    sentences = [
        f"After {numbers['steps']} steps on {numbers['task']}, held-out loss of the task and rise of the loss on the base's own text "
        f"({base:.2f} before; {numbers['windows']} held-out windows), medians: {listed}.",
        before_training(numbers),
        f"Not compared, because a run diverged: {_listed(gone)}." * bool(gone),
        at_equal_steps(numbers),
        across(numbers),
        by_size(numbers),
        at_equal_learning(numbers),
        slower(numbers),
        ahead_of(numbers),
        by_rate(numbers),
        worse_than_guessing(numbers),
        f"Equal steps of batch {numbers['batch_size']}, {seeds} seeds, of which the first chose each method's rate, on a grid of "
        f"factors of two;{_ends(numbers)} the three ranks act by rsLoRA's scaling with alpha = 8, DoRA, PiSSA and LoRA on NF4 by "
        "alpha / r. One small base, one narrow task, and rates that were chosen for the task alone: other bases, longer training, "
        "replay of old text and other ways against forgetting this does not settle.",
    ]
    return " ".join(filter(None, sentences))


def before_training(numbers: dict[str, Any]) -> str:
    """Where the text's loss is another before training, since the weights are quantized or virtual tokens are random."""
    starts = {name: median(e["before"]["text"]) - numbers["base"] for name, e in numbers["methods"].items()}
    listed = " · ".join(f"{name} {rise:+.3f}" for name, rise in starts.items() if abs(rise) > 5e-4)
    return f"Of that before training: {listed}." if listed else ""


def at_equal_steps(numbers: dict[str, Any]) -> str:
    """Which methods have learned less than full fine-tuning of the same layers in every seed, and which have forgotten less?"""
    if FULL not in whole(numbers):
        return ""
    learned, lost = (
        _beside_full({name: last(numbers, name, kind) for name in whole(numbers)}) for kind in ("loss", "rise")
    )
    return (
        "At equal steps, against full fine-tuning of the same layers, in every seed: learned less: "
        f"{learned[1]}; learned more: {learned[0]}; forgot less: {lost[0]}; forgot more: {lost[1]}."
    )


def across(numbers: dict[str, Any]) -> str:
    """Does what learned less forget less, over all methods? A sentence; none for fewer than four methods."""
    names = whole(numbers)
    if len(names) < 4:
        return ""
    relation = learned_and_forgotten(
        *({name: last(numbers, name, kind) for name in names} for kind in ("loss", "rise"))
    )
    return f"Over the {len(names)} methods the rank correlation of learned and forgotten is {relation}."


def learned_and_forgotten(losses: dict[str, list[float]], rises: dict[str, list[float]]) -> str:
    """Their rank correlation over methods, and what it says."""
    learned = {name: [-loss for loss in runs] for name, runs in losses.items()}
    return _relation(
        correlations(learned, rises), len(rises), "what learned less forgot less", "what learned less forgot more"
    )


def by_size(numbers: dict[str, Any]) -> str:
    """Does the size of the update tell how much was forgotten? At the end, and where all have come to one size."""
    names = movers(numbers)
    if len(names) < 4:
        return ""
    sizes = {name: [run[-1] for run in numbers["methods"][name]["at"][0]["size"]] for name in names}
    relation = _relation(
        correlations(sizes, {name: last(numbers, name, "rise") for name in names}),
        len(names),
        "what moved the weights further forgot more",
        "what moved the weights further forgot less",
    )
    text = f"Over the {len(names)} that change the linear layers, the rank correlation of |dW| / |W| and forgotten is {relation}."
    size = np.floor(100 * min(min(runs) for runs in sizes.values())) / 100  # the largest to which all came
    rises = equal_size(numbers, size, "rise")
    if len(rises) < 4 or FULL not in rises:
        return text
    less, more = _beside_full(rises)
    verdict = learned_and_forgotten(equal_size(numbers, size, "loss"), rises).rpartition(": ")[2]
    return (
        f"{text} Where |dW| / |W| is {size:g}, {_from_to(rises)}, less in every seed: {less}; more: {more}; of learned and forgotten: "
        f"{verdict}."
    )


def at_equal_learning(numbers: dict[str, Any]) -> str:
    """Who forgot less where the task's loss was the same? For some levels, if full fine-tuning of the same layers reached them."""
    sentences = []
    for level in SAID:
        rises = equal_learning(numbers, level)
        if FULL not in rises or len(rises) < 2:
            continue
        less, more = _beside_full(rises)
        sentences.append(
            f"where the task's loss is {level:g}, {_from_to(rises)}, less in every seed: {less}; more: {more}"
        )
    return f"At equal learning, {'; '.join(sentences)}." if sentences else ""


def slower(numbers: dict[str, Any]) -> str:
    """What a lower rate does, at equal steps and at equal learning where both rates got there: a sentence, or nothing."""
    found = []
    for name in whole(numbers):
        if len(numbers["methods"][name]["at"]) < 2:
            continue
        losses, rises = ([last(numbers, name, kind, place) for place in (0, 1)] for kind in ("loss", "rise"))
        parts = [f"{name} ends with a task's loss of {_against(*losses, '{:.2f}')} and a rise of {_against(*rises)}"]
        for level in SAID:
            both = [equal_learning(numbers, level, place).get(name) for place in (0, 1)]
            if None not in both:
                parts.append(f"at a task's loss of {level:g}, {_against(*both)}")
        if name != FULL and FULL in whole(numbers):
            beside = compared(rises[1], last(numbers, FULL, "rise"))
            parts.append(
                f"against {FULL} at its best rate that rise is {beside.replace('better', 'less').replace('worse', 'more')}"
            )
        found.append("; ".join(parts))
    return f"With {numbers['factor']:g} times its best rate {'. '.join(found)}." if found else ""


def ahead_of(numbers: dict[str, Any]) -> str:
    """At its lower rate, than which methods has full fine-tuning of the same layers learned more and forgotten less in every seed,
    whichever of their rates is taken? A sentence, or nothing."""
    if FULL not in whole(numbers) or len(numbers["methods"][FULL]["at"]) < 2:
        return ""
    low = [max(last(numbers, FULL, kind, 1)) for kind in ("loss", "rise")]
    others = [name for name in whole(numbers) if name != FULL]
    beaten = [
        name
        for name in others
        if all(
            least < min(last(numbers, name, kind, place))
            for least, kind in zip(low, ("loss", "rise"), strict=True)
            for place in range(len(numbers["methods"][name]["at"]))
        )
    ]
    return (
        f"At this lower rate {FULL} has learned more and forgotten less, in every seed, than {_or_all_but(beaten, others)}, "
        "at each rate that ran with all seeds."
        if beaten
        else ""
    )


def by_rate(numbers: dict[str, Any]) -> str:
    """In the sweeps: what the rate below the best one forgets and learns, over the methods; a sentence, or nothing."""
    lost, learned = {}, {}
    for name, entry in numbers["methods"].items():
        points = swept(numbers, entry)
        at = [point["rate"] for point in points].index(entry["best"])
        if at:
            lost[name] = points[at - 1]["rise"] / points[at]["rise"]
            learned[name] = points[at - 1]["loss"] / points[at]["loss"]
    if not lost:
        return ""
    more = [name for name, ratio in lost.items() if ratio >= 1]
    less = median(list(lost.values()))
    text = (
        f"In the sweeps (one seed) the rate below the best one forgets less for {len(lost) - len(more)} of {len(lost)} methods"
        f"{f' (not for {_listed(more)})' if more else ''}: in the median {less:.2f} times the rise, with "
        f"{median(list(learned.values())):.2f} times the task's loss."
    )
    rises = [median(last(numbers, name, "rise")) for name in whole(numbers)]
    pairs = [min(pair) / max(pair) for pair in combinations(rises, 2)]
    closer = sum(ratio > less for ratio in pairs)
    if 2 * closer <= len(pairs):
        return text
    return f"{text} Of the {len(pairs)} pairs of methods, each at its best rate, {closer} are closer to each other than that."


def worse_than_guessing(numbers: dict[str, Any]) -> str:
    """Which methods leave the text above log 256, what a guess of every byte alike costs? A sentence, or nothing."""
    guess = float(np.log(256)) - numbers["base"]
    names = [name for name in whole(numbers) if min(last(numbers, name, "rise")) > guess]
    return (
        f"A rise above +{guess:.2f} is worse than guessing every byte alike: {_listed(names)}, in every seed."
        if names
        else ""
    )


def _beside_full(runs):
    """The methods that are below full fine-tuning of the same layers in every seed, and those above, as text."""
    full = runs[FULL]
    below = [name for name in runs if max(runs[name]) < min(full)]
    above = [name for name in runs if min(runs[name]) > max(full)]
    return tuple(_or_all_but(names, [name for name in runs if name != FULL]) for names in (below, above))


def _or_all_but(names, others):
    """The names, or which of the others are not among them, if these are few."""
    rest = [name for name in others if name not in names]
    if len(names) < 3 or len(rest) > 2:
        return _listed(names)
    return f"all others but {_listed(rest)}" if rest else "all others"


def _from_to(rises):
    """How many methods came there, the least and the largest median, and that of full fine-tuning of the same layers."""
    middles = {name: median(runs) for name, runs in rises.items()}
    low, high = min(middles, key=middles.get), max(middles, key=middles.get)
    return (
        f"which {len(rises)} methods came to, the rise is +{middles[low]:.2f} ({low}) to +{middles[high]:.2f} ({high}); beside full of the "
        f"same layers (+{middles[FULL]:.2f})"
    )


def _against(best, low, form="+{:.2f}"):
    """The lower rate's median, the best one's, and whether every seed parts them."""
    verdict = (
        "less in every seed"
        if max(low) < min(best)
        else "more in every seed"
        if min(low) > max(best)
        else "no difference beyond the seeds"
    )
    return f"{form.format(median(low))} instead of {form.format(median(best))} ({verdict})"


def _relation(found, methods, positive, negative):
    """Correlations by seed, beside what unrelated orders would give, and what they say."""
    bound = chance(methods)
    beyond = sum(abs(rho) > bound for rho in found)
    if min(found) > bound:
        verdict = positive
    elif max(found) < -bound:
        verdict = negative
    else:
        verdict = f"no relation beyond chance in {'every' if beyond else 'any'} seed"
    return (
        f"{median(found):.2f} ({min(found):.2f} to {max(found):.2f} by seed; by chance within {bound:.2f} of 0 in 19 cases of 20): "
        f"{verdict}"
    )


def _ends(numbers):
    """Whose best rate stands at an end of its sweep."""
    names = [
        name
        for name, entry in numbers["methods"].items()
        if entry["best"] in (entry["sweep"][0]["rate"], entry["sweep"][-1]["rate"])
    ]
    return f" at an end of its sweep, so that a better one may lie beyond: {_listed(names)};" if names else ""


def _listed(names):
    return " · ".join(names) or "none"
