"""`check` says that an answer is right, or names the likely mistake.

An answer is tried on the exercise's cases beside the solution. If it differs, it is tried beside each known mistake:
the one that gives the same results is the mistake that was made.
"""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from minilora.course.exercises.exercise import Exercise


@dataclass(frozen=True)
class Verdict:
    """`right`, and the `message` for the reader."""

    right: bool
    message: str


@dataclass(frozen=True)
class _Raised:
    kind: str
    text: str


def grade(exercise: Exercise, answer: Any) -> Verdict:
    """Right, blank, a known mistake by its name, or what can be seen of an unknown one. Never raises."""
    given, touched = _results(exercise, answer)
    wanted, _ = _results(exercise, exercise.run(exercise.solution))
    if touched:
        return Verdict(False, f"Your function wrote into its argument {touched}. Work on a copy: others still need it.")
    blank, _ = _results(exercise, exercise.run("..."))
    if all(map(_untouched, given, blank)):
        return Verdict(
            False, f"Still blank: put your answer in the place of ... and run the cell again ({exercise.name})."
        )
    if _all_alike(given, wanted):
        return Verdict(True, f"Right. {exercise.learned}".strip())
    for filling, message in exercise.mistakes.items():
        if _all_alike(given, _results(exercise, exercise.run(filling))[0]):
            return Verdict(False, f"Not yet: {message}")
    first = next(i for i, (g, w) in enumerate(zip(given, wanted, strict=True)) if not alike(g, w))
    return Verdict(False, f"Not yet: {_describe(given[first], wanted[first])}")


def alike(given: Any, wanted: Any) -> bool:
    """Equal: whole numbers and text exactly, floats to 1e-5 of the largest, arrays in shape too, tuples item by item."""
    if isinstance(given, _Raised) or isinstance(wanted, _Raised):
        return isinstance(given, _Raised) and isinstance(wanted, _Raised) and given.kind == wanted.kind
    if isinstance(wanted, (str, bytes)) or wanted is None:
        return type(given) is type(wanted) and given == wanted
    if isinstance(wanted, (tuple, list)):
        same_length = isinstance(given, (tuple, list, np.ndarray)) and len(given) == len(wanted)
        return same_length and all(map(alike, given, wanted))
    try:
        a, b = np.asarray(given), np.asarray(wanted)
    except ValueError:  # ragged
        return False
    if a.shape != b.shape or a.dtype.kind not in "biuf" or b.dtype.kind not in "biuf":
        return False
    if b.dtype.kind in "biu":
        return bool(np.array_equal(a, b))
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return False
    a, b = a[np.isfinite(b)].astype(float), b[np.isfinite(b)].astype(float)
    return bool(np.all(np.abs(a - b) <= 1e-5 * np.abs(b).max(initial=0.0)))


def _untouched(given, blank):
    """Nothing came back, or the very error that the blank raises."""
    return given is None or given is ... or (isinstance(given, _Raised) and given == blank)


def _all_alike(given, wanted):
    return all(map(alike, given, wanted))


def _results(exercise, answer):
    """What the answer gives on each case, and the place of an argument that it changed (None if none)."""
    if exercise.cases is None:
        return [answer], None
    if not callable(answer):
        if answer is None or answer is ...:
            return [None for _ in exercise.arguments()], None
        return [_Raised("TypeError", f"{exercise.answer_name} is {type(answer).__name__}, not a function")], None
    results = []
    for arguments in exercise.arguments():
        before = copy.deepcopy(arguments)
        try:
            with np.errstate(all="ignore"):
                results.append(answer(*arguments))
        except Exception as error:  # whatever a reader's code does, the check answers
            results.append(_Raised(type(error).__name__, str(error)))
        for i, (now, then) in enumerate(zip(arguments, before, strict=True)):
            if isinstance(then, np.ndarray) and not np.array_equal(now, then, equal_nan=True):
                return results, f"number {i + 1}"
    return results, None


def _describe(given, wanted):
    if isinstance(given, _Raised):
        return f"it raised {given.kind}: {given.text}"
    if given is None or given is ...:
        return "it is blank for some inputs; does every branch return?"
    if isinstance(wanted, tuple):
        if not isinstance(given, tuple) or len(given) != len(wanted):
            return f"{len(wanted)} values are asked for, got {type(given).__name__}"
        i = next(i for i, (g, w) in enumerate(zip(given, wanted, strict=True)) if not alike(g, w))
        return f"the value in place {i + 1} of the tuple is off: {_describe(given[i], wanted[i])}"
    if not isinstance(wanted, (np.ndarray, np.generic, float, int)):
        return f"got {given!r:.60}; that is not it"
    try:
        a, b = np.asarray(given, float), np.asarray(wanted, float)
    except (TypeError, ValueError):
        return f"a number or an array is asked for, got {type(given).__name__}"
    if a.shape != b.shape:
        turned = " (transposed?)" if a.shape == b.shape[::-1] else ""
        return f"the shape is {a.shape} where {b.shape} is asked for{turned}"
    if not np.isfinite(a).all():
        return "there is a NaN or an infinity in it"
    if np.allclose(a, -b):
        return "the sign is turned"
    nonzero = np.abs(b) > 0
    ratios = a[nonzero] / b[nonzero]
    if ratios.size and np.allclose(ratios, ratios.flat[0], rtol=1e-4) and not np.isclose(ratios.flat[0], 0):
        return f"it is {ratios.flat[0]:.6g} times what it should be" + (", everywhere" if b.size > 1 else "")
    off = int(np.sum(~np.isclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max(initial=0.0))))
    return f"the shape is right; {off} of {b.size} values are off"
