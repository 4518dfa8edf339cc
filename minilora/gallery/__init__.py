"""The figures: from an experiment's numbers to files, and a check of both."""

from minilora.gallery.build import COMMITTED, compute, draw, load
from minilora.gallery.compare import check, differences, other_settings
from minilora.gallery.pages import escape_markdown, write_pages
from minilora.gallery.registry import FIGURES, Figure, select
from minilora.gallery.together import check_again, make, numbers_path, redraw, runs_folder

__all__ = [
    "COMMITTED",
    "FIGURES",
    "Figure",
    "check",
    "check_again",
    "compute",
    "differences",
    "draw",
    "escape_markdown",
    "load",
    "make",
    "numbers_path",
    "other_settings",
    "redraw",
    "runs_folder",
    "select",
    "write_pages",
]
