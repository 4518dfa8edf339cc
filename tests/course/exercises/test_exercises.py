"""Every exercise answers back: blank, right, and each typical mistake by its own name."""

import ast

import numpy as np
import pytest

from minilora.course.exercises import ALL, LESSONS, check, grade
from minilora.course.exercises.exercise import HOLE
from minilora.course.exercises.grading import alike

EXERCISES = list(ALL.values())
MISTAKES = [(e, filling, message) for e in EXERCISES for filling, message in e.mistakes.items()]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_the_blank_fails_and_the_solution_passes(exercise):
    blank = grade(exercise, exercise.run("..."))
    assert not blank.right and "blank" in blank.message
    right = grade(exercise, exercise.run(exercise.solution))
    assert right.right and right.message.startswith("Right.")


@pytest.mark.parametrize(("exercise", "filling", "message"), MISTAKES, ids=lambda v: getattr(v, "name", ""))
def test_each_mistake_gets_its_own_message(exercise, filling, message):
    verdict = grade(exercise, exercise.run(filling))
    assert not verdict.right
    assert verdict.message == f"Not yet: {message}"


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_an_exercise_is_whole(exercise):
    assert exercise.code.count(HOLE) >= 1 and exercise.question.strip() and exercise.title and exercise.learned
    assert len(exercise.mistakes) >= 3 and len(set(exercise.mistakes.values())) == len(exercise.mistakes)
    assert all(len(message) > 20 for message in exercise.mistakes.values())
    ast.parse(exercise.cell())
    assert "..." in exercise.cell() and exercise.solution.strip().splitlines()[0] not in exercise.cell().splitlines()


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_lesson_has_three(lesson):
    assert len(LESSONS[lesson]) >= 3


def test_names_are_unique():
    assert len(ALL) == sum(map(len, LESSONS.values()))


DELTA = ALL["delta_weight"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda a, b, alpha, r: -alpha / r * b @ a, "sign"),
        (lambda a, b, alpha, r: 3 * alpha / r * b @ a, "3 times what it should be"),
        (lambda a, b, alpha, r: alpha / r * (b @ a)[:1], "the shape is"),
        (lambda a, b, alpha, r: b @ a * np.nan, "NaN"),
        (lambda a, b, alpha, r: 1 / 0, "ZeroDivisionError"),
        (lambda a, b, alpha, r: "text", "a number or an array"),
        (lambda a, b, alpha, r: alpha / r * (b @ a) + 1e-3, "values are off"),
        (lambda a, b, alpha, r: a.fill(0), "wrote into its argument number 1"),
        (7, "not a function"),
    ],
)
def test_unknown_mistakes_are_described(answer, words):
    verdict = grade(DELTA, answer)
    assert not verdict.right and words in verdict.message


def test_check_prints_and_returns(capsys):
    assert check("gpt3_count", 75_497_472) is True
    assert check("gpt3_count", 1_400_000) is False
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("Right.") and "claim itself" in second


def test_unknown_exercise_names_those_there_are():
    with pytest.raises(ValueError, match="delta_weight"):
        check("no such", 1)


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
