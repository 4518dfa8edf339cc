"""From one source to two notebooks: the student's with blanks, and the solutions'.

A source is a Python file in the percent format (jupytext) in notebooks/source. A code cell with the single line
`exercise("name")` becomes a heading with the question, the cell with its hole, and its check. A lesson of questions, like
09, has numbered headings under lettered ones, and the marker QUESTIONS for their list: see `linked`.
"""

import re
from collections.abc import Callable
from typing import Any

from minilora.course.exercises import ALL
from minilora.course.pages import ROOT

NOTEBOOKS = ROOT / "notebooks"
EDITIONS = {"student": NOTEBOOKS, "solution": NOTEBOOKS / "solutions"}
QUESTIONS = "{questions}"  # where the linked list of all questions goes
FOLDS = {  # from this label to the next one: folded under these words
    "In 60 seconds": "Say it aloud first. Then open the answer in 60 seconds",
    "Evidence": "Evidence, what they ask next, wrong answers",
}


def lessons() -> list[str]:
    """The names of all lessons, in order."""
    return sorted(path.stem for path in (NOTEBOOKS / "source").glob("*.py"))


def build(lesson: str, edition: str) -> Any:
    """The notebook of a lesson, without outputs (an nbformat node). ValueError for an unknown exercise."""
    import jupytext
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    source = jupytext.read(NOTEBOOKS / "source" / f"{lesson}.py", fmt="py:percent")
    texts = [cell.source for cell in source.cells if cell.cell_type == "markdown"]
    link = linked(texts) if any(QUESTIONS in text for text in texts) else str
    cells, number = [], 0
    for cell in source.cells:
        match = re.fullmatch(r'exercise\("(\w+)"\)', cell.source.strip())
        if cell.cell_type == "markdown":
            cells.append(new_markdown_cell(from_folder(edition)(link(cell.source))))
        elif not match:
            tags = cell.metadata.get("tags")
            cells.append(new_code_cell(cell.source, metadata={"tags": tags} if tags else {}))
        else:
            if match[1] not in ALL:
                raise ValueError(f"exercise must be one of {', '.join(ALL)}; {lesson} asks for {match[1]}")
            number += 1
            exercise = ALL[match[1]]
            filling = exercise.solution if edition == "solution" else "..."
            code = f'{exercise.cell(filling)}\n\n\n_ = check("{exercise.name}", {exercise.answer_name})'
            cells.append(new_markdown_cell(f"### Exercise {number}: {exercise.title}\n\n{exercise.question.strip()}"))
            cells.append(new_code_cell(code, metadata={"tags": ["exercise"]}))
    for i, cell in enumerate(cells):
        cell["id"] = f"{edition}-{i:03d}"  # nbformat draws random ones; the same source must give the same bytes
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def linked(texts: list[str]) -> Callable[[str], str]:
    """What makes a lesson of questions one that can be walked: its texts -> a function that rewrites one of them.

    "## 12. Title" gets the anchor q12, every "Q12" becomes a link to it, "# B. Title" gets the anchor section_b, QUESTIONS becomes
    the list of all questions and sections, and answers are folded (FOLDS). ValueError for a link to a question that does not exist.
    """
    headings = re.findall(r"(?m)^# ([A-Z]\. .+)$|^## (\d+)\. (.+)$", "\n".join(texts))
    known = {number for _, number, _ in headings if number}
    listed = []
    for section, number, title in headings:
        anchor = f"q{number}" if number else f"section_{section[0].lower()}"
        listed.append(f"- [{number}. {title}](#{anchor})" if number else f"\n**[{section}](#{anchor})**\n")

    def rewrite(text):
        for number in re.findall(r"\bQ(\d+)\b", text):
            if number not in known:
                raise ValueError(f"Q{number} must name a question, there are 1 to {len(known)}")
        text = re.sub(r"\bQ(\d+)\b", r"[\1](#q\1)", text)
        text = re.sub(r"(?m)^## (\d+)\. ", r'<a id="q\1"></a>\n\n## \1. ', text)
        text = re.sub(r"(?m)^# ([A-Z])\. ", lambda m: f'<a id="section_{m[1].lower()}"></a>\n\n{m[0]}', text)
        for label, words in FOLDS.items():
            text = re.sub(
                rf"(?ms)^\*\*{label}\.\*\*.*?(?=^\*\*At the whiteboard|^# |^## |^<a id|\Z)",
                lambda m, words=words: f"<details>\n<summary>{words}</summary>\n\n{m[0].strip()}\n\n</details>\n\n",
                text,
            )
        return text.replace(QUESTIONS, "\n".join(listed))

    return rewrite


def from_folder(edition: str) -> Callable[[str], str]:
    """Links as they are in notebooks/, seen from the folder of an edition: solutions/ lies one deeper."""
    if EDITIONS[edition].name != "solutions":
        return str

    def rewrite(text):
        text = re.sub(r"\]\(\.\./", "](../../", text)
        return text.replace("](solutions/)", "](./)")

    return rewrite
