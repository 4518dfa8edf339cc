"""Calling a reader's function: what it returned, printed, raised (and on which shapes), and what it wrote into."""

import contextlib
import copy
import io
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Raised:
    """An error: two are the same if kind, text and the shapes that met are. `line`: where, if the source is at hand."""

    kind: str
    text: str
    shapes: str = ""
    line: str = field(default="", compare=False)

    def __str__(self) -> str:
        where = f" in `{self.line}`" if self.line else ""
        met = f" (at {self.shapes})" if self.shapes else ""
        return f"{self.kind}: {self.text}{where}{met}"


@dataclass(frozen=True)
class Printed:
    """Nothing was returned, but this was printed."""

    text: str


def call(function: Callable, arguments: tuple) -> tuple[Any, int | None]:
    """The result (or Raised, or Printed), and the place of an array argument that was changed. Never raises.

    What the function prints is swallowed: it is called on cases that the reader has not seen.
    """
    given = copy.deepcopy(arguments)
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed, np.errstate(all="ignore"):
            result = function(*given)
        if result is None and printed.getvalue().strip():
            result = Printed(printed.getvalue().strip())
    except Exception as error:  # whatever a reader's code does, the check answers
        result = Raised(type(error).__name__, str(error), _shapes(function, arguments, error), _line(error))
    for i, (now, then) in enumerate(zip(given, arguments, strict=True)):
        if isinstance(then, np.ndarray) and not np.array_equal(now, then, equal_nan=True):
            return result, i
    return result, None


class _Tracing(np.ndarray):
    """An array that writes the shapes on the error when they do not fit: numpy's own text often leaves them out."""

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        plain = [np.asarray(x) if isinstance(x, _Tracing) else x for x in inputs]
        kwargs = {k: tuple(map(np.asarray, v)) if k == "out" else v for k, v in kwargs.items()}
        try:
            result = getattr(ufunc, method)(*plain, **kwargs)
        except ValueError as error:
            sign = {"matmul": "@", "multiply": "*", "add": "+", "subtract": "-", "divide": "/"}.get(ufunc.__name__)
            shapes = [str(np.shape(x)) for x in plain]
            error.shapes = f" {sign} ".join(shapes) if sign else f"{ufunc.__name__}({', '.join(shapes)})"
            raise
        return result.view(_Tracing) if isinstance(result, np.ndarray) else result


def _shapes(function, arguments, error):
    """The shapes that did not fit, found by running the function once more on arrays that report them."""
    if not isinstance(error, ValueError):
        return ""
    traced = [a.view(_Tracing) if isinstance(a, np.ndarray) else a for a in copy.deepcopy(arguments)]
    try:
        with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
            function(*traced)
    except Exception as again:
        return getattr(again, "shapes", "")
    return ""


def _line(error):
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__ and f.line]
    inside = [f for f in frames if "site-packages" not in f.filename]
    return inside[-1].line if inside else ""
