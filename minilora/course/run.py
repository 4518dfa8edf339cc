"""Execute notebooks in clean kernels, write their outputs, or compare them with the committed ones."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minilora import storage
from minilora.course.build import EDITIONS, build, lessons
from minilora.course.kernel import DeafKernel, kernel
from minilora.course.pages import ROOT
from minilora.parallel import SideBySide

RTOL = 1e-3  # for numbers in text outputs; a cell tagged "rtol=0.2" says its own
LIMIT = 60  # seconds a notebook should take on two cores; a busy machine may need more, so only the report says so
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class Report:
    """What one notebook did: its path, the seconds, and a line for everything that is wrong."""

    path: Path
    seconds: float
    wrong: list[str]


def execute(notebook: Any, folder: Path) -> float:
    """Run all cells in order in a clean kernel, in `folder`, offline; the notebook gets its outputs. Returns the seconds.

    A kernel that does not answer is replaced by another, once. Outputs of cells tagged "slider" are dropped: a widget lives
    only in a running kernel.
    """
    from nbclient.exceptions import CellTimeoutError

    try:
        seconds = _run_cells(notebook, folder)
    except (DeafKernel, CellTimeoutError):
        seconds = _run_cells(notebook, folder)
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
    for cell in notebook.cells:
        if "slider" in cell.metadata.get("tags", []):
            cell.outputs = []
        for output in cell.get("outputs", []):
            kept = output.get("metadata", {}).get("image/png", {}).get("alt")
            output.get("metadata", {}).clear()
            if kept:
                output["metadata"]["image/png"] = {"alt": kept}
    return seconds


def _run_cells(notebook, folder):
    start = time.perf_counter()
    with kernel(notebook, folder) as client:
        for i, cell in enumerate(notebook.cells):
            client.execute_cell(cell, i, execution_count=client.code_cells_executed + 1)
    return time.perf_counter() - start


def write(lesson: str, edition: str) -> Report:
    """Build, execute and store one edition of a lesson."""
    import nbformat

    path = EDITIONS[edition] / f"{lesson}.ipynb"
    notebook = build(lesson, edition)
    seconds = execute(notebook, EDITIONS[edition])
    text = nbformat.writes(notebook) + "\n"
    storage.write_text(path, text)
    return Report(path, seconds, list(blemishes(notebook)))


def compare(lesson: str, edition: str) -> Report:
    """Execute the committed notebook again; a line for each cell whose source or text outputs no longer hold."""
    import copy

    import nbformat

    path = EDITIONS[edition] / f"{lesson}.ipynb"
    if not path.is_file():
        return Report(path, 0.0, ["is not there; run: make build-notebooks"])
    stored = nbformat.read(path, as_version=4)
    wrong = list(blemishes(stored))
    if [cell.source for cell in stored.cells] != [cell.source for cell in build(lesson, edition).cells]:
        wrong.append("is not what its source builds; run: make build-notebooks")
    again = copy.deepcopy(stored)
    seconds = execute(again, EDITIONS[edition])
    for i, (one, other) in enumerate(zip(stored.cells, again.cells, strict=True)):
        if one.cell_type == "code":
            wrong += [f"cell {i}: {line}" for line in differences(texts(one), texts(other), tolerance(one))]
    return Report(path, seconds, wrong)


def texts(cell: Any) -> str:
    """All text that a cell put out: streams, plain text of results and Markdown; pictures are left out."""
    texts = []
    for output in cell.outputs:
        data = output.get("data", {})
        if output.output_type == "stream":
            texts.append(output.text)
        elif "text/markdown" in data:
            texts.append(data["text/markdown"])
        elif not any(kind.startswith("image/") for kind in data):
            texts.append(data.get("text/plain", ""))
    return "\n".join(texts)


def tolerance(cell: Any) -> float:
    """The relative tolerance of a cell's numbers: RTOL, or what its tag "rtol=..." says."""
    tags = [tag for tag in cell.metadata.get("tags", []) if tag.startswith("rtol=")]
    return float(tags[0].removeprefix("rtol=")) if tags else RTOL


def differences(stored: str, again: str, rtol: float) -> Iterator[str]:
    """Lines for what differs: words exactly (spaces aside), numbers by more than `rtol` of the stored one."""
    if _words(stored) != _words(again):
        yield f"text differs: stored {_first_difference(stored, again)}"
        return
    for one, other in zip(NUMBER.findall(stored), NUMBER.findall(again), strict=True):
        a, b = (float(text.replace(",", "")) for text in (one, other))
        if abs(a - b) > rtol * abs(a):
            yield f"stored {one}, computed {other} (rtol {rtol})"


def blemishes(notebook: Any) -> Iterator[str]:
    """What must not be on a committed page: errors, warnings, machine paths, pictures without alternative text, cells not run in order."""
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    if counts != list(range(1, len(counts) + 1)):
        yield f"cells were not run once, in order: {counts}"
    for i, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                yield f"cell {i}: {output.ename}: {output.evalue}"
            elif output.get("name") == "stderr":
                yield f"cell {i} writes to stderr: {output.text[:100]!r}"
            elif "image/png" in output.get("data", {}) and not output["metadata"].get("image/png", {}).get("alt"):
                yield f"cell {i} shows a picture without alternative text; show it with picture(alt)"
        text = texts(cell) if cell.cell_type == "code" else cell.source
        if str(ROOT) in text or re.search(r"(?:/home/|/Users/|/tmp/|[A-Z]:\\)", text):
            yield f"cell {i} names a path of this machine"


def main(action: str, names: list[str]) -> int:
    """`write` or `compare` both editions of the lessons named (default: all), side by side; 1 if anything is wrong."""
    known = lessons()
    if not known:
        raise ValueError(
            f"the lessons are not part of the installed package ({ROOT}); run this in a checkout of minilora"
        )
    for name in names:
        if name not in known:
            raise ValueError(f"lesson must be one of {', '.join(known)}; got {name!r}")
    jobs = [(lesson, edition) for lesson in names or known for edition in EDITIONS]
    reports = SideBySide(desc="notebooks")(_one, [(action, *job) for job in jobs])
    for report in reports:
        state = "WRONG" if report.wrong else "ok" if report.seconds <= LIMIT else f"ok, but over {LIMIT} s"
        print(f"{report.path.relative_to(ROOT).as_posix():50} {report.seconds:5.1f} s   {state}")
        for line in report.wrong:
            print(f"    {line}")
    return int(any(report.wrong for report in reports))


def _one(item):
    from nbclient.exceptions import CellExecutionError, CellTimeoutError

    action, lesson, edition = item
    try:
        return {"write": write, "compare": compare}[action](lesson, edition)
    except (CellExecutionError, CellTimeoutError, DeafKernel) as error:  # the other notebooks still go on
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
        return Report(EDITIONS[edition] / f"{lesson}.ipynb", 0.0, text.splitlines()[-12:])


def _words(text):
    return NUMBER.sub("#", text).split()


def _first_difference(stored, again):
    pairs = zip(stored.splitlines(), again.splitlines(), strict=False)
    for one, other in pairs:
        if _words(one) != _words(other):
            return f"{one.strip()[:80]!r}, computed {other.strip()[:80]!r}"
    return f"{len(stored.splitlines())} lines, computed {len(again.splitlines())}"
