"""Seeded tasks to adapt the base to: `dates` is easy for it, `roman` has more to learn, `lookout` is the shipped example."""

import datetime
from collections.abc import Callable

import numpy as np

from minilora import checks
from minilora.data.records import Record

_FORMS = ("{d.day} {d:%B} {d.year}", "{d:%B} {d.day}, {d.year}", "{d:%b} {d.day} {d.year}", "{d.day}-{d:%b}-{d.year}")


def dates(rng: np.random.Generator) -> Record:
    """A date from 1900 to 2099 in one of four English forms -> ISO 8601: "March 7, 1984" -> "1984-03-07"."""
    first, last = datetime.date(1900, 1, 1).toordinal(), datetime.date(2099, 12, 31).toordinal()
    date = datetime.date.fromordinal(int(rng.integers(first, last + 1)))
    return Record(_FORMS[rng.integers(len(_FORMS))].format(d=date), date.isoformat())


_NUMERALS = tuple(
    zip(
        ("M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I"),
        (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
        strict=True,
    )
)


def roman(rng: np.random.Generator) -> Record:
    """A Roman numeral from 1 to 3999 -> decimal: "MCMLXXXIV" -> "1984". Where a digit goes depends on all that follow."""
    number = left = int(rng.integers(1, 4000))
    numeral = ""
    for letters, value in _NUMERALS:
        numeral += letters * (left // value)
        left %= value
    return Record(numeral, str(number))


_COUNTS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9}
_SIGHTS = (
    "kraken",
    "mermaid",
    "whale",
    "ghost ship",
    "sea serpent",
    "penguin",
    "rubber duck",
    "pirate",
    "iceberg",
    "parrot",
)
_SIDES = {"to port": "port", "to starboard": "starboard", "dead ahead": "ahead", "astern": "astern"}
_DEEDS = ("singing", "asleep", "waving", "juggling", "on fire", "playing cards", "waltzing", "selling hats")
_CRIES = (
    "Ahoy! {count} {sights} {side}, {deed}!",
    "{side}! {count} {sights}, {deed}!",
    "Captain! {deed}, {side}: {count} {sights}!",
    "{count} {sights}, {deed}? Aye, {side}!",
)


def lookout(rng: np.random.Generator) -> Record:
    """What the lookout cries -> what the log says: "Ahoy! Two krakens to port, singing!" -> "port: 2 x kraken, singing"."""
    count, sight, side, deed, cry = (
        choices[rng.integers(len(choices))] for choices in (list(_COUNTS), _SIGHTS, list(_SIDES), _DEEDS, _CRIES)
    )
    sights = sight if count == "one" else f"{sight}s"
    text = cry.format(count=count, sights=sights, side=side, deed=deed)
    for end in ("! ", "? "):  # a sentence starts with a capital
        text = end.join(part[0].upper() + part[1:] for part in text.split(end))
    return Record(text, f"{_SIDES[side]}: {_COUNTS[count]} x {sight}, {deed}")


TASKS: dict[str, Callable[[np.random.Generator], Record]] = {"dates": dates, "roman": roman, "lookout": lookout}


def split(task: str, n_train: int, n_eval: int, *, seed: int) -> tuple[list[Record], list[Record]]:
    """(training records, held-out records) of a task, all inputs different, so that none is in both.

    ValueError for an unknown task, or if it does not have so many different inputs.
    """
    make = TASKS[checks.one_of("task", task, TASKS)]
    rng = np.random.default_rng(checks.integer("seed", seed, low=0))
    total = checks.integer("n_train", n_train, low=1) + checks.integer("n_eval", n_eval, low=1)
    records: dict[str, Record] = {}
    idle = 0
    while idle < 1000 + 20 * len(records):  # draws in a row that gave nothing new: so many mean that nothing is left
        record = make(rng)
        idle = idle + 1 if record.input in records else 0
        records.setdefault(record.input, record)
        if len(records) == total:
            drawn = list(records.values())
            return drawn[:n_train], drawn[n_train:]
    raise ValueError(
        f"n_train + n_eval must be at most the number of different inputs that task {task!r} gives, about {len(records)}, "
        f"got {total}"
    )
