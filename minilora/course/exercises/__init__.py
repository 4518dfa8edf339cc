"""Exercises that answer back: `check(name, answer)` says right, or names the likely mistake."""

from typing import Any

from minilora import checks
from minilora.course.exercises import (
    lesson_00,
    lesson_01,
    lesson_02,
    lesson_03,
    lesson_04,
    lesson_05,
    lesson_06,
    lesson_07,
    lesson_08,
    lesson_09,
)
from minilora.course.exercises.exercise import Exercise
from minilora.course.exercises.grading import Verdict, grade

LESSONS: dict[str, tuple[Exercise, ...]] = {
    "00_start_here": lesson_00.EXERCISES,
    "01_backprop_by_hand": lesson_01.EXERCISES,
    "02_lora": lesson_02.EXERCISES,
    "03_rank": lesson_03.EXERCISES,
    "04_nf4": lesson_04.EXERCISES,
    "05_double_quantization": lesson_05.EXERCISES,
    "06_qlora": lesson_06.EXERCISES,
    "07_methods_and_hyperparameters": lesson_07.EXERCISES,
    "08_a_real_model": lesson_08.EXERCISES,
    "09_interview": lesson_09.EXERCISES,
}
ALL: dict[str, Exercise] = {exercise.name: exercise for lesson in LESSONS.values() for exercise in lesson}

__all__ = ["ALL", "LESSONS", "Exercise", "Verdict", "check", "grade"]


def check(name: str, answer: Any) -> bool:
    """Print "Right.", or the likely mistake; returns whether the answer is right. ValueError for an unknown name."""
    verdict = grade(ALL[checks.one_of("name", name, ALL)], answer)
    print(verdict.message)
    return verdict.right
