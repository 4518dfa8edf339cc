"""Twenty answers that a student might give to each exercise, right in other forms and wrong, with what is said to them."""

import runpy
from pathlib import Path

import pytest

from minilora.course.exercises import ALL, LESSONS, grade

FILES = Path(__file__).parent / "answers"
ANSWERS = {}
for lesson in LESSONS:
    ANSWERS |= runpy.run_path(str(FILES / f"lesson_{lesson[:2]}.py"))["ANSWERS"]


@pytest.mark.parametrize(
    ("name", "filling"), [(name, filling) for name, (right, _) in ANSWERS.items() for filling in right]
)
def test_right_in_another_form(name, filling):
    verdict = grade(ALL[name], ALL[name].run(filling))
    assert verdict.right, verdict.message


@pytest.mark.parametrize(
    ("name", "filling", "words"),
    [(name, filling, words) for name, (_, wrong) in ANSWERS.items() for filling, words in wrong.items()],
)
def test_wrong_and_told_why(name, filling, words):
    verdict = grade(ALL[name], ALL[name].run(filling))
    assert not verdict.right
    assert words in verdict.message


@pytest.mark.parametrize("name", ALL)
def test_there_are_twenty(name):
    right, wrong = ANSWERS[name]
    assert len(set(right)) + len(wrong) + len(ALL[name].mistakes) >= 20
    assert len(right) >= 5 and len(wrong) >= 7
