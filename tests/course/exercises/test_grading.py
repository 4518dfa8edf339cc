"""What `check` says to answers that no list foresaw."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from minilora.course.exercises import ALL, grade
from minilora.course.exercises.exercise import Exercise
from minilora.course.exercises.grading import alike

DELTA = ALL["delta_weight"]


def says(exercise, answer):
    verdict = grade(exercise, answer)
    return verdict.message if not verdict.right else f"RIGHT {verdict.message}"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda a, b, alpha, r: -alpha / r * b @ a, "the sign is flipped"),
        (lambda a, b, alpha, r: 3 * alpha / r * b @ a, "3 times what it should be"),
        (lambda a, b, alpha, r: alpha / r * (b @ a)[:1], "expected shape (3, 5), got (1, 5)"),
        (lambda a, b, alpha, r: (alpha / r * b @ a).ravel(), "the right count in another shape"),
        (lambda a, b, alpha, r: b @ a * np.nan, "NaN"),
        (lambda a, b, alpha, r: 1 / 0, "it raised ZeroDivisionError: division by zero"),
        (lambda a, b, alpha, r: alpah * b @ a, "name 'alpah' is not defined"),  # noqa: F821
        (lambda a, b, alpha, r: "text", "expected a number, got the text 'text'"),
        (lambda a, b, alpha, r: {1: 2}, "expected an array, got dict"),
        (lambda a, b, alpha, r: alpha / r * (b @ a) + 1e-3, "values are off"),
        (lambda a, b, alpha, r: np.round(alpha / r * (b @ a), 2), "rounded to 2 places; return it unrounded"),
        (lambda a, b, alpha, r: b @ a.T, "at (3, 2) @ (5, 2)"),
        (lambda a, b, alpha, r: b @ a.T, "a is (2, 5), b is (3, 2); is a .T missing"),
        (lambda a, b, alpha, r: b * a, "at (3, 2) * (2, 5)"),
        (lambda a, b: b @ a, "takes 2 positional arguments but 4 were given"),
        (lambda a, b, alpha, r: a.fill(0), "wrote into its argument a."),
        (lambda a, b, alpha, r: print(alpha / r * b @ a), "returns nothing; it prints"),
        (lambda a, b, alpha, r: None, "returns nothing"),
        (7, "delta_weight is int, not a function"),
        (None, "delta_weight is NoneType, not a function"),
        (lambda a, b, alpha, r: ..., "Still blank"),
        (DELTA.run("(alpha / r) * lora_B @ lora_A.T").__class__, "it raised TypeError"),
    ],
)
def test_unknown_mistakes_are_described(answer, words):
    message = says(DELTA, answer)
    assert words in message and not message.startswith("RIGHT")


def test_what_a_function_prints_beside_its_answer_does_not_matter(capsys):
    def delta_weight(lora_A, lora_B, alpha, r):
        print("debugging", lora_A.shape)
        return alpha / r * lora_B @ lora_A

    assert grade(DELTA, delta_weight).right
    assert capsys.readouterr().out == ""


def test_only_the_mistake_that_meets_the_same_shapes_is_named():
    """Both raise a ValueError about size 2 where 5 is needed; only one of them has swapped A and B."""
    forward = ALL["bypass_forward"]
    swapped = forward.run("x @ W.T + (alpha / r) * (x @ lora_B.T) @ lora_A.T")
    forgotten = forward.run("x @ W.T + (alpha / r) * (x @ lora_A) @ lora_B.T")
    unknown = forward.run("np.zeros(3).reshape(2, 2)")
    assert "swapped" in says(forward, swapped)
    assert "the .T of A is missing" in says(forward, forgotten) and "(6, 5) @ (2, 5)" in says(forward, forgotten)
    assert "cannot reshape array of size 3" in says(forward, unknown) and "swapped" not in says(forward, unknown)


VALUE = Exercise(
    "v", "t", "q", "v = ____", "0.00535773", {"0.5": "that is wrong, and known to be so."}, learned="Well."
)
COUNT = Exercise(
    "c", "t", "q", "c = ____", "75497472", {"1400000": "that is wrong, and known to be so."}, learned="Well."
)
CHOICE = Exercise("w", "t", "q", "w = ____", '"b"', {'"a"': "that is wrong, and known to be so."}, learned="Well.")


@pytest.mark.parametrize(
    ("exercise", "answer", "words"),
    [
        (VALUE, 0.00535773, "RIGHT Right. Well."),
        (VALUE, np.float32(0.00535773), "RIGHT Right. Well."),
        (VALUE, Fraction(535773, 10**8), "RIGHT Right. Well."),
        (VALUE, Decimal("0.00535773"), "RIGHT Right. Well."),
        (VALUE, 0.00536, "RIGHT Right, rounded to 3 digits; unrounded 0.00535773. Well."),
        (VALUE, 0.0054, "Right as far as it goes, to 2 digits"),
        (VALUE, 0.0053, "0.0053 is not it"),
        (VALUE, 0.535773, "100 times what it should be"),
        (VALUE, "0.00535773", "got the text '0.00535773'; remove the quotation marks"),
        (VALUE, [0.00535773], "expected one number"),
        (VALUE, None, "print(...) shows a value and returns nothing"),
        (VALUE, print, "v is a function"),
        (VALUE, 0.5, "known to be so"),
        (VALUE, ..., "Still blank"),
        (VALUE, np.nan, "NaN"),
        (COUNT, 75497472.0, "RIGHT Right. Well."),
        (COUNT, 75_500_000, "Right to 3 digits, but a count is exact"),
        (COUNT, 7.5e7, "a count is exact"),
        (COUNT, True, "is not it"),
        (CHOICE, "b", "RIGHT Right. Well."),
        (CHOICE, " B) ", "RIGHT Right. Well."),
        (CHOICE, "a", "known to be so"),
        (CHOICE, 2, "expected one letter in quotation marks, got 2"),
        (CHOICE, "because", "expected one letter in quotation marks, got 'because'"),
    ],
)
def test_values_in_the_forms_that_they_are_given(exercise, answer, words):
    assert words in says(exercise, answer)


@pytest.mark.parametrize(
    ("given", "wanted", "same"),
    [
        (75497472.0, 75497472, True),
        (75497471, 75497472, False),
        (0.1 + 0.2, 0.3, True),
        ([1, 2], np.array([1, 2]), True),
        ((1, "a"), (1, "a"), True),
        ((1, "b"), (1, "a"), False),
        (np.inf, 1.0, False),
        (-np.inf, -np.inf, True),
        (None, 1.0, False),
        ("1", 1, False),
        ([[1], [1, 2]], np.ones((2, 2)), False),
    ],
)
def test_alike(given, wanted, same):
    assert alike(given, wanted) is same
