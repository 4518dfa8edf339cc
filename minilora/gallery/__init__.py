"""The figures: from an experiment's numbers to files, and a check of both."""

from minilora.gallery.build import compute, draw, forget_runs, load
from minilora.gallery.compare import check, differences
from minilora.gallery.pages import write_pages
from minilora.gallery.registry import FIGURES, Figure, select

__all__ = [
    "FIGURES",
    "Figure",
    "check",
    "compute",
    "differences",
    "draw",
    "forget_runs",
    "load",
    "select",
    "write_pages",
]
