"""The ways in: README, the guide to the lessons, the Makefile."""

import re

import pytest

from minilora.course.build import NOTEBOOKS, lessons

ROOT = NOTEBOOKS.parent


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "notebooks/README.md", "figures/README.md", "benchmarks/README.md"]
)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or ((ROOT / page).parent / target).exists(), target


def test_the_guide_lists_every_lesson_in_order():
    text = (NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^\| \[[^\]]+\]\((\w+)\.ipynb\)", text) == lessons()


def test_the_guide_and_the_lessons_say_the_same_seconds():
    text = (NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    said = re.findall(r"(?m)^\| \[[^\]]+\]\((\w+)\.ipynb\) \|[^|]+\| \d+ \| (\d+) s \|", text)
    assert [lesson for lesson, _ in said] == lessons()
    for lesson, seconds in said:
        source = (NOTEBOOKS / "source" / f"{lesson}.py").read_text(encoding="utf-8")
        assert re.search(r"\*\*Seconds\.\*\* About (\d+)", source)[1] == seconds, lesson


def test_the_first_screen_shows_a_figure_and_the_way_to_lesson_0():
    first = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:25]
    assert sum(line.startswith("![") for line in first) == 1
    assert any("notebooks/00_start_here.ipynb" in line for line in first)


def test_every_target_that_help_names_is_there():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r'@echo "make ([\w-]+)', text))
    assert named == set(re.findall(r"(?m)^([\w-]+):", text)) - {"help"}
