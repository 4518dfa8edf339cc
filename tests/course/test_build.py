"""One source, two editions. (Needs the `notebooks` extra; skipped without it.)"""

import contextlib
import io
import json

import pytest

pytest.importorskip("jupytext")
from minilora.course import build as building
from minilora.course import run
from minilora.course.build import EDITIONS, build, lessons
from minilora.course.kernel import DeafKernel


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("lesson", lessons())
def test_committed_notebooks_are_built_from_their_sources(lesson, edition):
    stored = json.loads((EDITIONS[edition] / f"{lesson}.ipynb").read_text(encoding="utf-8"))
    built = build(lesson, edition)
    assert ["".join(cell["source"]) for cell in stored["cells"]] == [cell.source for cell in built.cells]


def test_editions_differ_in_the_exercises_alone():
    student, solution = (build("02_lora", edition) for edition in EDITIONS)
    differing = [a for a, b in zip(student.cells, solution.cells, strict=True) if a.source != b.source]
    assert len(differing) == 5 and all("exercise" in cell.metadata["tags"] for cell in differing)
    assert build("02_lora", "student") == student


def test_an_unknown_exercise_is_named(tmp_path, monkeypatch):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "10_x.py").write_text('# %%\nexercise("no_such")\n', encoding="utf-8")
    monkeypatch.setattr(building, "NOTEBOOKS", tmp_path)
    with pytest.raises(ValueError, match="10_x asks for no_such"):
        build("10_x", "student")


@pytest.mark.parametrize(("losses", "raises"), [(0, False), (1, False), (2, True)])
@pytest.mark.parametrize("deaf", [False, True])
def test_a_kernel_that_does_not_answer_is_replaced_once(losses, raises, deaf, monkeypatch, tmp_path):
    exceptions = pytest.importorskip("nbclient.exceptions")
    kind, calls = DeafKernel if deaf else exceptions.CellTimeoutError, []

    def run_cells(notebook, folder):
        calls.append(folder)
        if len(calls) <= losses:
            raise kind("no answer")
        return 1.5

    monkeypatch.setattr(run, "_run_cells", run_cells)
    if raises:
        with pytest.raises(kind):
            run.execute(build("02_lora", "student"), tmp_path)
    else:
        assert run.execute(build("02_lora", "student"), tmp_path) == 1.5
    assert len(calls) == min(losses + 1, 2)


def test_a_changed_number_and_a_changed_cell_are_reported(monkeypatch, tmp_path):
    """The whole way from source to report, with exec instead of a kernel."""
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("nbclient")

    def run_cells(notebook, folder):
        for count, cell in enumerate(notebook.cells, 1):
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(cell.source)
            cell.execution_count = count
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=printed.getvalue())]
        return 0.1

    monkeypatch.setattr(run, "_run_cells", run_cells)
    (tmp_path / "source").mkdir()
    source = tmp_path / "source" / "10_x.py"
    source.write_text("# %%\nprint('sum', 1 + 1)\n\n# %%\nprint('same')\n", encoding="utf-8")
    monkeypatch.setattr(building, "NOTEBOOKS", tmp_path)
    monkeypatch.setitem(EDITIONS, "student", tmp_path)
    assert run.write("10_x", "student").wrong == []
    assert run.compare("10_x", "student").wrong == []
    path = tmp_path / "10_x.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].outputs[0].text = "sum 3\n"
    nbformat.write(notebook, path)
    assert "stored 3, computed 2" in run.compare("10_x", "student").wrong[0]
    source.write_text("# %%\nprint('sum', 1 + 1)\n", encoding="utf-8")
    assert any("is not what its source builds" in line for line in run.compare("10_x", "student").wrong)


QUESTIONS = """# A. What it is

## 1. What is it?

**In 60 seconds.** This, see Q2.

**At the whiteboard.** $x$
"""
REST = """**Evidence.** The lines above.

**They go on to ask.** More.

**Wrong answers.** None.

# B. More

## 2. Why?

**In 60 seconds.** Because."""


def test_questions_are_listed_linked_and_folded():
    link = building.linked(["# Top\n\n{questions}", QUESTIONS, REST])
    top, first, rest = map(link, ["# Top\n\n{questions}", QUESTIONS, REST])
    assert "- [1. What is it?](#q1)\n\n**[B. More](#section_b)**\n\n- [2. Why?](#q2)" in top
    assert '<a id="q1"></a>\n\n## 1. What is it?' in first and "see [2](#q2)." in first
    fold, board = first.split("</details>")
    assert "<summary>Say it aloud first" in fold and "**In 60 seconds.** This" in fold
    assert "**At the whiteboard.**" in board
    evidence, after = rest.split("</details>", 1)
    assert (
        "<summary>Evidence" in evidence
        and "**Wrong answers.** None." in evidence
        and '<a id="section_b"></a>\n\n# B. More' in after
    )
    assert rest.count("<details>") == rest.count("</details>") == 2


def test_a_link_to_no_question_is_an_error():
    with pytest.raises(ValueError, match="Q7 must name a question, there are 1 to 2"):
        building.linked([QUESTIONS, REST])("see Q7")


def test_solutions_lie_one_folder_deeper():
    text = "[a](../figures/README.md) [b](solutions/) [c](02_lora.ipynb)"
    assert building.from_folder("student")(text) == text
    assert building.from_folder("solution")(text) == "[a](../../figures/README.md) [b](./) [c](02_lora.ipynb)"
