"""Every exercise answers back: blank, right, and each typical mistake by its own name."""

import ast

import pytest

from minilora.course.exercises import ALL, LESSONS, check, grade
from minilora.course.exercises.exercise import HOLE

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
    assert verdict.message.startswith(f"Not yet: {message}")
    rest = verdict.message.removeprefix(f"Not yet: {message}")
    assert not rest or "Error" in rest, "an error is shown beside its name"


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_an_exercise_is_whole(exercise):
    assert exercise.code.count(HOLE) >= 1 and exercise.question.strip() and exercise.title and exercise.learned
    assert len(exercise.mistakes) >= 3 and len(set(exercise.mistakes.values())) == len(exercise.mistakes)
    assert all(len(message) > 20 for message in exercise.mistakes.values())
    ast.parse(exercise.cell())
    assert "..." in exercise.cell() and exercise.solution.strip().splitlines()[0] not in exercise.cell().splitlines()


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_lesson_has_three_and_one_asks_for_understanding(lesson):
    assert len(LESSONS[lesson]) >= 3
    assert any(exercise.understanding for exercise in LESSONS[lesson])


def test_names_are_unique():
    assert len(ALL) == sum(map(len, LESSONS.values()))


def test_check_prints_and_returns(capsys):
    assert check("gpt3_count", 75_497_472) is True
    assert check("gpt3_count", 1_400_000) is False
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("Right.") and "claim itself" in second


def test_unknown_exercise_names_those_there_are():
    with pytest.raises(ValueError, match="delta_weight"):
        check("no such", 1)
