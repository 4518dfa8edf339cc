"""From one source to two notebooks: the student's with blanks, and the solutions'.

A source is a Python file in the percent format (jupytext) in notebooks/source. A code cell with the single line
`exercise("name")` becomes a heading with the question, the cell with its hole, and its check.
"""

import re
from typing import Any

from minilora.course.exercises import ALL
from minilora.course.pages import ROOT

NOTEBOOKS = ROOT / "notebooks"
EDITIONS = {"student": NOTEBOOKS, "solution": NOTEBOOKS / "solutions"}


def lessons() -> list[str]:
    """The names of all lessons, in order."""
    return sorted(path.stem for path in (NOTEBOOKS / "source").glob("*.py"))


def build(lesson: str, edition: str) -> Any:
    """The notebook of a lesson, without outputs (an nbformat node). ValueError for an exercise that does not exist."""
    import jupytext
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    source = jupytext.read(NOTEBOOKS / "source" / f"{lesson}.py", fmt="py:percent")
    cells, number = [], 0
    for cell in source.cells:
        match = re.fullmatch(r'exercise\("(\w+)"\)', cell.source.strip())
        if cell.cell_type == "markdown":
            cells.append(new_markdown_cell(cell.source))
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
