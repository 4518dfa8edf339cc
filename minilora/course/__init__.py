"""The course's workshop: what notebooks show (`pages`), how they are built from one source (`build`) and checked (`run`)."""

from minilora.course.pages import draw, markdown, numbers, show, style, table

__all__ = ["draw", "markdown", "numbers", "show", "style", "table"]
