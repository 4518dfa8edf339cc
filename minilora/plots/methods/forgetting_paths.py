"""How each method of the figure forgetting went: what it learned, what it forgot, and comparisons at equal ends."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minilora.plots.style import median

FULL = "full, same linears"


def paths(numbers: dict[str, Any], name: str, place: int = 0) -> list[dict[str, list[float]]]:
    """Of each seed the task's "loss", the "rise" of the text's, and the "size", before training and at each evaluation."""
    entry, base = numbers["methods"][name], numbers["base"]
    at, before = entry["at"][place], entry["before"]
    return [
        {
            "loss": [loss, *at["loss"][i]],
            "rise": [t - base for t in (text, *at["text"][i])],
            "size": [0.0, *at["size"][i]],
        }
        for i, (loss, text) in enumerate(zip(before["loss"], before["text"], strict=True))
    ]


def whole(numbers: dict[str, Any]) -> list[str]:
    """The methods of which no run at the rates of all seeds diverged: only they are compared."""
    return [
        name
        for name, entry in numbers["methods"].items()
        if all(run[-1] is not None for at in entry["at"] for run in at["loss"])
    ]


def movers(numbers: dict[str, Any]) -> list[str]:
    """The methods that change the linear layers."""
    return [n for n in whole(numbers) if all(run[-1] > 0 for run in numbers["methods"][n]["at"][0]["size"])]


def middle(runs: Sequence[Sequence[float]]) -> list[float]:
    """The median over seeds at each step.    runs: [seed][step]"""
    return [median(seeds) for seeds in zip(*runs, strict=True)]


def swept(numbers: dict[str, Any], entry: dict[str, Any]) -> list[dict[str, float]]:
    """The runs of a sweep that ended: "rate", "loss" and the text's "rise"."""
    return [point | {"rise": point["text"] - numbers["base"]} for point in entry["sweep"] if point["loss"] is not None]


def at_level(level: float, x: Sequence[float], y: Sequence[float]) -> float | None:
    """y where x first comes down to the level, on the line between two evaluations; None if it never does, or had before the
    first of them."""
    for i in range(1, len(x)):
        if x[i] <= level < x[i - 1]:
            share = (x[i - 1] - level) / (x[i - 1] - x[i])
            return float(y[i - 1] + share * (y[i] - y[i - 1]))
    return None


def equal_learning(numbers: dict[str, Any], level: float, place: int = 0) -> dict[str, list[float]]:
    """The text's rise where the task's loss came down to the level (between evaluations by its logarithm), by seed, of the
    methods of which every seed got there."""
    found = {
        name: [
            at_level(np.log(level), np.log(path["loss"][1:]), path["rise"][1:]) for path in paths(numbers, name, place)
        ]
        for name in whole(numbers)
        if place < len(numbers["methods"][name]["at"])
    }
    return {name: rises for name, rises in found.items() if None not in rises}


def equal_size(numbers: dict[str, Any], size: float, kind: str) -> dict[str, list[float]]:
    """ "loss" or "rise" where |dW| / |W| came up to this, by seed, of the methods of which every seed got there."""
    found = {
        name: [at_level(-size, [-s for s in path["size"][1:]], path[kind][1:]) for path in paths(numbers, name)]
        for name in movers(numbers)
    }
    return {name: values for name, values in found.items() if None not in values}


def correlations(x: dict[str, Sequence[float]], y: dict[str, Sequence[float]]) -> list[float]:
    """The rank correlation over methods, seed by seed; 0 where all are the same.    x, y: by method, a list over seeds"""
    pairs = zip(zip(*x.values(), strict=True), zip(*(y[name] for name in x), strict=True), strict=True)
    return [
        float(np.corrcoef([ranks(values) for values in pair])[0, 1]) if min(map(len, map(set, pair))) > 1 else 0.0
        for pair in pairs
    ]


def ranks(values: Sequence[float]) -> np.ndarray:
    """How many of the others each value is above, a tie counting one half.    values: (n,)"""
    own = np.asarray(values)[:, None]
    return (own > values).sum(axis=1) + (own == values).sum(axis=1) / 2


def chance(methods: int) -> float:
    """The rank correlation of so many methods that unrelated orders pass, up or down, about once in twenty."""
    return float(1.96 / np.sqrt(methods - 1))


def last(numbers: dict[str, Any], name: str, kind: str, place: int = 0) -> list[float]:
    """ "loss" of the task or "rise" of the text's at the end, by seed."""
    return [path[kind][-1] for path in paths(numbers, name, place)]
