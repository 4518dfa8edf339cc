"""One source, two editions. (Needs the `notebooks` extra; skipped without it.)"""

import json

import pytest

pytest.importorskip("jupytext")
from minilora.course import build as building
from minilora.course.build import EDITIONS, build, lessons


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("lesson", lessons())
def test_committed_notebooks_are_built_from_their_sources(lesson, edition):
    stored = json.loads((EDITIONS[edition] / f"{lesson}.ipynb").read_text(encoding="utf-8"))
    built = build(lesson, edition)
    assert ["".join(cell["source"]) for cell in stored["cells"]] == [cell.source for cell in built.cells]


def test_editions_differ_in_the_exercises_alone():
    student, solution = (build("02_lora", edition) for edition in EDITIONS)
    differing = [a for a, b in zip(student.cells, solution.cells, strict=True) if a.source != b.source]
    assert len(differing) == 4 and all("exercise" in cell.metadata["tags"] for cell in differing)
    assert build("02_lora", "student") == student


def test_an_unknown_exercise_is_named(tmp_path, monkeypatch):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "10_x.py").write_text('# %%\nexercise("no_such")\n')
    monkeypatch.setattr(building, "NOTEBOOKS", tmp_path)
    with pytest.raises(ValueError, match="10_x asks for no_such"):
        build("10_x", "student")
