"""The committed notebooks have the form that readers rely on. (`make notebooks` executes them.)"""

import ast
import json
import re
from pathlib import Path

import pytest

from minilora.course.build import EDITIONS, NOTEBOOKS, lessons
from minilora.course.exercises import ALL, LESSONS

EVERY = lessons()
WIDEST = 104  # what an exported page shows


def cells(lesson, edition="student"):
    notebook = json.loads((EDITIONS[edition] / f"{lesson}.ipynb").read_text(encoding="utf-8"))
    return [dict(cell, source="".join(cell["source"])) for cell in notebook["cells"]]


def prose(lesson):
    return "\n\n".join(cell["source"] for cell in cells(lesson) if cell["cell_type"] == "markdown")


def code(lesson, edition="student"):
    return [cell for cell in cells(lesson, edition) if cell["cell_type"] == "code"]


def computed(lesson, edition="student"):
    """All Markdown that the cells of a lesson put out."""
    outputs = [output for cell in code(lesson, edition) for output in cell["outputs"]]
    return "\n".join("".join(o["data"]["text/markdown"]) for o in outputs if "text/markdown" in o.get("data", {}))


def tags(cell):
    return cell["metadata"].get("tags", [])


def test_every_lesson_has_exercises_and_both_editions():
    assert set(EVERY) == set(LESSONS)
    assert all((folder / f"{lesson}.ipynb").is_file() for folder in EDITIONS.values() for lesson in EVERY)
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == set(EVERY)


@pytest.mark.parametrize("lesson", EVERY)
def test_a_lesson_opens_with_its_question_and_ends_with_five_lines(lesson):
    first, last = cells(lesson)[0]["source"], cells(lesson)[-1]["source"]
    assert first.startswith(f"# {lesson[:2]} · ")
    assert all(f"**{word}.**" in first for word in ("Question", "Assumes", "Seconds"))
    seconds = int(re.search(r"\*\*Seconds\.\*\* About (\d+)", first)[1])
    assert 0 < seconds <= 60
    assert "## Summary" in last and len(re.findall(r"(?m)^\d\. ", last)) == 5
    assert "**Papers.**" in last and re.search(r"\*\*(Next\.|Back to)\*\*", last)


@pytest.mark.parametrize("lesson", EVERY)
def test_a_lesson_announces_its_sections(lesson):
    opening = cells(lesson)[0]["source"]
    announced = re.findall(r"(?m)^\d+\. (.+)$", opening) or re.findall(r"(?m)^- \[\d+\. (.+)\]\(#q\d+\)$", opening)
    plain = [re.sub(r"[$`*\\]", "", line) for line in re.findall(r"(?m)^##? \d+\. (.+)$", prose(lesson))]
    assert announced and [re.sub(r"[$`*\\]", "", title) for title in announced] == plain


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("lesson", EVERY)
def test_notebooks_are_thin(lesson, edition):
    """No class; functions only where a slider or an exercise is; nothing too wide or too long to read."""
    for cell in code(lesson, edition):
        tree = ast.parse(cell["source"])
        kinds = [type(node) for node in ast.walk(tree)]
        assert ast.ClassDef not in kinds
        if not {"slider", "exercise"} & set(tags(cell)):
            assert ast.FunctionDef not in kinds, cell["source"]
        assert max(map(len, cell["source"].splitlines())) <= WIDEST or "# fmt: skip" in cell["source"], cell["source"]
        assert cell["source"].count("\n") < 45


@pytest.mark.parametrize("lesson", EVERY)
def test_code_in_the_text_is_not_too_wide_either(lesson):
    for block in re.findall(r"(?ms)^```python\n(.*?)^```$", prose(lesson)):
        assert max(map(len, block.splitlines())) <= WIDEST, block


@pytest.mark.parametrize("lesson", EVERY)
def test_lessons_import_from_the_faces_of_packages_alone(lesson):
    """`from minilora.quant import quantize`, not from a file inside; experiments and exercises are files to be named."""
    source = (NOTEBOOKS / "source" / f"{lesson}.py").read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("minilora."):
            deep = node.module.count(".") > 1
            assert not deep or node.module.split(".")[1] == "experiments" or node.module == "minilora.course.exercises"


@pytest.mark.parametrize("lesson", [lesson for lesson in EVERY if lesson != "09_interview"])
def test_a_slider_comes_after_something_static(lesson):
    sources = code(lesson)
    sliders = [i for i, cell in enumerate(sources) if "slider" in tags(cell)]
    assert sliders and sliders[0] > 1
    assert sources[sliders[0] - 1]["outputs"] or sources[sliders[0] - 2]["outputs"]
    for i in sliders:
        assert "interact" in sources[i]["source"] and not sources[i]["outputs"]
        assert "picture(" in sources[i]["source"], "a slider draws a picture"


def test_the_sliders_of_the_course_cover_what_matters():
    text = "\n".join(cell["source"] for lesson in EVERY for cell in code(lesson) if "slider" in tags(cell))
    assert all(re.search(rf"\b{word}\b", text) for word in ("r", "alpha", "bits", "block_size", "outlier"))


@pytest.mark.parametrize("lesson", EVERY)
def test_students_get_blanks_and_solutions_are_right(lesson):
    for edition, words in (("student", "Still blank"), ("solution", "Right.")):
        done = [cell for cell in code(lesson, edition) if "exercise" in tags(cell)]
        assert len(done) >= 3
        for cell in done:
            name = re.search(r'check\("(\w+)"', cell["source"])[1]
            assert ALL[name] in LESSONS[lesson]
            assert words in "".join(cell["outputs"][-1]["text"])


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("lesson", EVERY)
def test_links_lead_somewhere(lesson, edition):
    """To files and to anchors, from the folder of the edition; links that cells compute, too."""
    anchors = {other: set(re.findall(r'<a id="(\w+)"></a>', prose(other))) for other in EVERY}
    text = "\n".join(cell["source"] for cell in cells(lesson, edition) if cell["cell_type"] == "markdown")
    for target, anchor in re.findall(r"\]\(([^)#]*)#?(\w*)\)", text + "\n" + computed(lesson, edition)):
        assert not target or target.startswith("https://") or (EDITIONS[edition] / target).exists(), target
        if anchor:
            assert anchor in anchors[Path(target).stem if target else lesson], (target, anchor)


@pytest.mark.parametrize("lesson", EVERY)
def test_pictures_carry_alternative_text(lesson):
    for cell in code(lesson):
        for output in cell["outputs"]:
            if "image/png" in output.get("data", {}):
                assert len(output["metadata"]["image/png"]["alt"]) > 20, cell["source"]


@pytest.mark.parametrize("lesson", EVERY)
def test_lessons_import_faces_only(lesson):
    """What a student types is what a package offers at its door, not what lies in its rooms."""
    for cell in code(lesson):
        for node in ast.walk(ast.parse(cell["source"])):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("minilora"):
                assert node.module in FACES, node.module


@pytest.mark.parametrize("lesson", EVERY)
def test_files_named_are_there(lesson):
    text = prose(lesson)
    for path in re.findall(r"\b((?:minilora|tests|benchmarks|figures|notebooks)/[\w/]+\.\w+)", text):
        assert (NOTEBOOKS.parent / path).exists(), path


FACES = {"minilora", "minilora.course.exercises"} | {
    f"minilora.{room}" for room in ("adapters", "analysis", "course", "data", "interop", "nn", "quant", "training")
}


QUESTIONS = re.split(r"(?m)^## (?=\d+\. )", prose("09_interview"))[1:]
PARTS = ("In 60 seconds", "At the whiteboard", "Evidence", "They go on to ask", "Wrong answers")


def test_all_questions_are_listed_at_the_top_and_answers_are_folded():
    first, *others = [cell["source"] for cell in cells("09_interview") if cell["cell_type"] == "markdown"]
    assert [int(n) for n in re.findall(r"\]\(#q(\d+)\)$", first, re.M)] == list(range(1, len(QUESTIONS) + 1))
    text = "\n".join(others)
    assert text.count('<a id="q') == len(QUESTIONS)
    assert text.count("Say it aloud first") == text.count("In 60 seconds.**") == len(QUESTIONS)
    for text in [first, *others]:
        assert text.count("<details>") == text.count("</details>")
        for fold in re.findall(r"(?s)<details>(.*?)</details>", text):
            assert "\n\n" in fold and "\n## " not in fold


def test_two_minutes_come_first_with_a_table():
    first = cells("09_interview")[0]["source"]
    two = first[first.index("# Two minutes") :]
    assert 150 < len(two[: two.index("|")].split()) < 340, "two minutes are about 300 words"
    assert two.count("\n| ") >= 6


def test_there_are_at_least_thirty_questions_numbered_in_order():
    numbers = [int(question.split(".")[0]) for question in QUESTIONS]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= 30


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q.split(".")[0])
def test_a_question_has_all_its_parts(question):
    places = [question.find(f"**{part}.**") for part in PARTS]
    assert -1 not in places and places == sorted(places)
    spoken = question[places[0] : places[1]]
    assert 25 <= len(spoken.split()) <= 170, "sixty seconds are about 150 words"


def test_the_whiteboard_runs_in_order_and_has_five_lines():
    pytest.importorskip("IPython", reason="the lesson's first cell sets the look of its pages: extra notebooks")
    first, *others = code("09_interview")
    namespace, boards = {}, 0
    exec(first["source"], namespace)  # our own text, from the notebook
    for cell in others:
        if "whiteboard" in tags(cell):
            boards += 1
            lines = [line for line in cell["source"].splitlines() if line.strip()]
            assert len([line for line in lines if not line.startswith(("import", "from"))]) <= 5, cell["source"]
            assert "assert " in cell["source"], cell["source"]
        if {"whiteboard", "measured"} & set(tags(cell)):
            exec(cell["source"], namespace)
    assert boards >= 30


def test_all_claims_are_there_with_a_verdict():
    rows = dict(re.findall(r"(?m)^\| (\d+) \| [^|]+ \| ([^|]+) \|", computed("09_interview")))
    assert [number for number in range(1, 30) if str(number) not in rows] == []
    assert "wrong" in rows["25"]
