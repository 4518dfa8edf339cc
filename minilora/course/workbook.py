"""A copy of the lessons to work in: running a lesson changes its file, and the committed pages should stay as they are."""

import shutil
from pathlib import Path

from minilora.course.build import NOTEBOOKS
from minilora.course.pages import ROOT

WORKBOOK = ROOT / "my-notebooks"  # git ignores it


def copy_lessons(folder: Path = WORKBOOK) -> list[Path]:
    """Copy the lessons and their solutions into `folder`; returns what was new. What is already there is never replaced."""
    new = []
    for source in sorted([*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("solutions/*.ipynb")]):
        target = Path(folder) / source.relative_to(NOTEBOOKS)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            new.append(target)
    return new
