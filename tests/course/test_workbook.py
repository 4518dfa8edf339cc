"""The copy that students work in."""

import subprocess

import pytest

from minilora.course.build import EDITIONS, lessons
from minilora.course.pages import ROOT
from minilora.course.workbook import WORKBOOK, copy_lessons


def test_lessons_are_copied_once_and_work_is_never_replaced(tmp_path):
    first = copy_lessons(tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in first} == {
        f"{folder}{lesson}.ipynb" for lesson in lessons() for folder in ("", "solutions/")
    }
    (tmp_path / "00_start_here.ipynb").write_text("my answers", encoding="utf-8")
    (tmp_path / "02_lora.ipynb").unlink()
    assert copy_lessons(tmp_path) == [tmp_path / "02_lora.ipynb"]
    assert (tmp_path / "00_start_here.ipynb").read_text(encoding="utf-8") == "my answers"
    assert (tmp_path / "02_lora.ipynb").read_bytes() == (EDITIONS["student"] / "02_lora.ipynb").read_bytes()


def test_links_of_a_lesson_work_in_the_copy_and_git_ignores_it():
    assert WORKBOOK.parent == EDITIONS["student"].parent  # as deep as the originals
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    ignored = subprocess.run(["git", "check-ignore", "-q", WORKBOOK / "00_start_here.ipynb"], cwd=ROOT)
    assert ignored.returncode == 0
