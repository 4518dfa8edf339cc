"""The course's workshop: what notebooks show (`pages`, `pictures`), how they are built from one source (`build`) and checked (`run`)."""

from minilora.course import pictures
from minilora.course.pages import draw, markdown, measured, numbers, picture, show, style, table
from minilora.course.small_runs import sick_run, small_run
from minilora.plots.style import color, label

__all__ = [
    "color",
    "draw",
    "label",
    "markdown",
    "measured",
    "numbers",
    "picture",
    "pictures",
    "show",
    "sick_run",
    "small_run",
    "style",
    "table",
]
