"""An exercise: a cell with a hole, what fills it rightly, and what readers put there by mistake."""

import ast
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

HOLE = "____"


@dataclass(frozen=True)
class Exercise:
    """One source for the student's cell, the solution's, the check and its tests.

    `name`: unique over all lessons. `title`, `question`: Markdown. `code`: the cell, with HOLE where an expression or
    whole lines are missing; the last name that it defines is the answer, a function or a value. `solution`: what fills
    the hole. `mistakes`: {what fills it wrongly: what to say to it}; the text says what is wrong, not what is right.
    `cases(rng)`: argument tuples to try a function on; None if the answer is a value. `learned`: said when it is right.
    `understanding`: it asks for a prediction or a reason, which no formula shown in the lesson gives.
    """

    name: str
    title: str
    question: str
    code: str
    solution: str
    mistakes: Mapping[str, str]
    cases: Callable[[np.random.Generator], list[tuple]] | None = None
    learned: str = ""
    understanding: bool = False

    def cell(self, filling: str = "...") -> str:
        """The code cell with its hole filled (by default left blank)."""
        lines = []
        for line in textwrap.dedent(self.code).strip().splitlines():
            if line.strip() == HOLE:  # whole lines: keep the indentation of the hole
                lines.append(textwrap.indent(textwrap.dedent(filling).strip(), line[: line.index(HOLE)]))
            else:
                lines.append(line.replace(HOLE, filling))
        return "\n".join(lines)

    @property
    def answer_name(self) -> str:
        """The last name that the cell defines."""
        last = ast.parse(self.cell()).body[-1]
        return last.name if isinstance(last, ast.FunctionDef) else last.targets[0].id

    def run(self, filling: str) -> Any:
        """The answer that a filling gives: what the cell defines when it is run."""
        namespace = {"np": np}
        exec(self.cell(filling), namespace)  # our own text, from the lesson's file
        return namespace[self.answer_name]

    def arguments(self) -> list[tuple]:
        """The same cases every time; [()] for a value."""
        return [()] if self.cases is None else self.cases(np.random.default_rng(0))
