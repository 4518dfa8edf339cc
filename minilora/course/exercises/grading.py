"""`check` says that an answer is right, or names the likely mistake.

An answer is tried on the exercise's cases beside the solution. If it differs, it is tried beside each known mistake:
the one that gives the same results, or the same error on the same shapes, is the mistake that was made.
"""

import inspect
import numbers
from dataclasses import dataclass
from decimal import Decimal
from types import FunctionType
from typing import Any

import numpy as np

from minilora.course.exercises.calling import Printed, Raised, call
from minilora.course.exercises.exercise import Exercise

DIGITS = 3  # significant digits from which a rounded value counts as right
TELLING = (2, 3, 4, 8, 10, 16, 32, 64, 100, 1000, 1e6, 1e9)  # a factor that hints at a mistake, not at the answer
RTOL = 1e-5  # of the largest value: float32 arithmetic passes, a wrong formula does not


@dataclass(frozen=True)
class Verdict:
    """`right`, and the `message` for the reader."""

    right: bool
    message: str


def grade(exercise: Exercise, answer: Any) -> Verdict:
    """Right, blank, a known mistake by its name, or what can be seen of an unknown one. Never raises."""
    if is_blank(exercise, answer):
        return Verdict(False, f"Still blank: put your answer where ... is and run the cell again ({exercise.name}).")
    if exercise.cases is None:
        return _grade_value(exercise, answer)
    return _grade_function(exercise, answer)


def is_blank(exercise: Exercise, answer: Any) -> bool:
    """Whether nothing was filled in: a value that is ..., or a function whose code is the blank's."""
    if answer is ...:
        return True
    if exercise.cases is None or not isinstance(answer, FunctionType):
        return False
    blank = exercise.run("...").__code__
    return (answer.__code__.co_code, answer.__code__.co_consts) == (blank.co_code, blank.co_consts)


def _grade_value(exercise, answer):
    wanted = exercise.run(exercise.solution)
    if callable(answer):
        return Verdict(False, f"Not yet: {exercise.answer_name} is a function; call it, or write the value itself.")
    if answer is None:
        return Verdict(False, f"Not yet: {exercise.answer_name} is None. print(...) shows a value and returns nothing.")
    given = plain(answer)
    if alike(given, wanted):
        return Verdict(True, f"Right. {exercise.learned}".strip())
    mistake = _known(exercise, [given])
    if mistake:
        return Verdict(False, f"Not yet: {mistake}")
    digits = _rounded(given, wanted)
    if digits and isinstance(wanted, numbers.Integral):
        return Verdict(False, f"Right to {digits} digits, but a count is exact: let Python multiply it out.")
    if digits >= DIGITS:
        return Verdict(
            True, f"Right, rounded to {digits} digits; unrounded {float(wanted):.6g}. {exercise.learned}".strip()
        )
    if digits:
        return Verdict(
            False, f"Right as far as it goes, to {digits} digits; give at least {DIGITS}, or the expression."
        )
    return Verdict(False, f"Not yet: {describe(given, wanted)}.")


def _grade_function(exercise, answer):
    if not callable(answer):
        kind = type(answer).__name__
        return Verdict(
            False, f"Not yet: {exercise.answer_name} is {kind}, not a function; run the cell that defines it."
        )
    cases = exercise.arguments()
    results, changed = zip(*(call(answer, arguments) for arguments in cases), strict=True)
    place = next((i for i in changed if i is not None), None)
    if place is not None:
        name = _name(answer, place)
        return Verdict(
            False, f"Not yet: your function wrote into its argument {name}. Work on a copy: others still need it."
        )
    if any(result is ... for result in results):
        return Verdict(False, f"Still blank: put your answer where ... is and run the cell again ({exercise.name}).")
    right = exercise.run(exercise.solution)
    wanted = [call(right, arguments)[0] for arguments in cases]
    given = [plain(result) for result in results]
    if all(map(alike, given, wanted)):
        return Verdict(True, f"Right. {exercise.learned}".strip())
    mistake = _known(exercise, given)
    place, error = next(((i, result) for i, result in enumerate(given) if isinstance(result, Raised)), (0, None))
    if mistake:
        return Verdict(False, f"Not yet: {mistake}" + (f" ({error})" if error else ""))
    if error:
        return Verdict(False, f"Not yet: it raised {error}.{_hint(error, answer, cases[place])}")
    first = next(i for i, (g, w) in enumerate(zip(given, wanted, strict=True)) if not alike(g, w))
    return Verdict(False, f"Not yet: {describe(given[first], wanted[first])}.")


def _known(exercise, given):
    """What to say to the mistake that gives the same results; "" if none does."""
    for filling, message in exercise.mistakes.items():
        wrong = exercise.run(filling)
        made = [wrong] if exercise.cases is None else [call(wrong, arguments)[0] for arguments in exercise.arguments()]
        if all(map(alike, given, made)):
            return message
    return ""


def plain(answer: Any) -> Any:
    """An answer in the form that it is compared in: fractions as floats, sets as sorted lists, text bare and in lower case."""
    if (isinstance(answer, numbers.Rational) and not isinstance(answer, numbers.Integral)) or isinstance(
        answer, Decimal
    ):
        return float(answer)
    if isinstance(answer, str):
        return answer.strip(" \t\n()'\"").rstrip(".").lower()
    if isinstance(answer, (set, frozenset, range)):
        return sorted(answer)
    if isinstance(answer, np.ndarray) and answer.dtype.kind == "U":
        answer = answer.tolist()
    if isinstance(answer, (tuple, list)) and any(isinstance(item, str) for item in answer):
        return type(answer)(map(plain, answer))
    return answer


def alike(given: Any, wanted: Any) -> bool:
    """Equal: whole numbers and text exactly, floats to RTOL of the largest, arrays in shape too, tuples item by item.

    Errors are alike if kind, text and shapes are.
    """
    if isinstance(wanted, (Raised, Printed)) or isinstance(given, (Raised, Printed)):
        return type(given) is type(wanted) and given == wanted
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
    return bool(np.all(np.abs(a - b) <= RTOL * np.abs(b).max(initial=0.0)))


def describe(given: Any, wanted: Any) -> str:
    """What can be seen of a wrong result, without giving the right one away."""
    if isinstance(given, Printed):
        return f"your function returns nothing; it prints {given.text.splitlines()[0]!r:.40}. Write return instead of print"
    if given is None:
        return "your function returns nothing for some inputs; is a return missing"
    if isinstance(wanted, tuple):
        if not isinstance(given, (tuple, list)) or len(given) != len(wanted):
            return f"expected {len(wanted)} values, got {_kind(given)}"
        i = next(i for i, (g, w) in enumerate(zip(given, wanted, strict=True)) if not alike(g, w))
        return f"value {i + 1} of {len(wanted)} is wrong: {describe(given[i], wanted[i])}"
    if isinstance(wanted, str):
        letter = "expected one letter in quotation marks, got " if len(wanted) == 1 else ""
        return f"{letter}{given!r:.40}" + ("" if letter else " is not it")
    if isinstance(wanted, list):
        return f"{given!r:.40} is not it" if isinstance(given, (list, tuple)) else f"expected a list, got {given!r:.40}"
    try:
        a, b = np.asarray(given, float), np.asarray(wanted, float)
    except (TypeError, ValueError):
        if isinstance(given, str):
            return f"expected a number, got the text {given!r:.40}; remove the quotation marks"
        return f"expected {'a number' if np.ndim(wanted) == 0 else 'an array'}, got {_kind(given)}"
    if isinstance(given, str):
        return f"expected a number, got the text {given!r:.40}; remove the quotation marks"
    if a.shape != b.shape:
        return _describe_shape(a, b)
    if not np.isfinite(a).all():
        return "there is a NaN or an infinity in it"
    return _describe_values(a, b)


def _describe_shape(a, b):
    text = f"expected shape {b.shape}, got {a.shape}"
    if b.shape == ():
        return f"expected one number, got {'an array' if a.ndim else 'something else'} of shape {a.shape}"
    if a.shape == b.shape[::-1] and a.ndim > 1:
        same = np.allclose(a.T, b, atol=RTOL * np.abs(b).max(initial=0.0))
        return f"{text}: transposed" + (", and right otherwise: a .T is missing" if same else "; is a .T missing")
    if a.size == b.size:
        return f"{text}: the right count in another shape; reshape it, or drop keepdims"
    return text


def _describe_values(a, b):
    size = np.abs(b).max(initial=0.0)
    if np.allclose(a, -b, atol=RTOL * size):
        return "the sign is flipped"
    for places in range(1, 7):
        if np.array_equal(a, np.round(a, places)) and np.allclose(a, np.round(b, places), rtol=0, atol=1e-9):
            return f"right, but rounded to {places} places; return it unrounded"
    if b.size == 1 and not a.any():
        return "0 is not it"
    if b.size == 1:
        ratio = float(a.flat[0]) / float(b.flat[0]) if b.flat[0] else 0.0
        told = next((r for r in TELLING for r in (r, 1 / r) if np.isclose(ratio, r, rtol=RTOL)), None)
        return f"it is {told:g} times what it should be" if told else f"{a.flat[0]:.6g} is not it"
    nonzero = np.abs(b) > 0
    ratios = a[nonzero] / b[nonzero]
    if (
        ratios.size
        and not a[~nonzero].any()
        and np.allclose(ratios, ratios.flat[0], rtol=1e-4)
        and not np.isclose(ratios.flat[0], 0)
    ):
        return f"it is {ratios.flat[0]:.6g} times what it should be, everywhere"
    off = int(np.sum(~np.isclose(a, b, rtol=RTOL, atol=RTOL * size)))
    return f"the shape is right; {off} of {b.size} values are off"


def _rounded(given, wanted):
    """The significant digits to which `given`, a number with fewer digits than `wanted`, is `wanted` rounded; 0 if it is not."""
    if isinstance(given, bool) or not isinstance(given, numbers.Real) or not isinstance(wanted, numbers.Real):
        return 0
    if not np.isfinite(float(given)) or not given:
        return 0
    mantissa = f"{float(given):.12e}".split("e")[0].lstrip("-").rstrip("0")
    digits = max(len(mantissa.replace(".", "")), 1)
    return digits if digits < 12 and float(f"{float(wanted):.{digits - 1}e}") == float(given) else 0


def _hint(error, answer, arguments):
    """The shapes of what a function was given, where shapes did not fit."""
    if not error.shapes and error.kind != "ValueError":
        return ""
    try:
        names = list(inspect.signature(answer).parameters)
    except (TypeError, ValueError):
        names = []
    shapes = [f"{name} is {a.shape}" for name, a in zip(names, arguments, strict=False) if isinstance(a, np.ndarray)]
    return f" Here {', '.join(shapes)}; is a .T missing, or the order?" if error.shapes and shapes else ""


def _name(function, place):
    try:
        return list(inspect.signature(function).parameters)[place]
    except (TypeError, ValueError, IndexError):
        return f"number {place + 1}"


def _kind(value):
    return "nothing" if value is None else f"{type(value).__name__}"
