"""What the notebooks put on a page: source code, tables, figures. Needs the `notebooks` extra."""

import inspect
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_MONOSPACED = "font: 12px/1.4 var(--jp-code-font-family, monospace); white-space: pre-wrap; word-break: normal"
ROOT = Path(__file__).resolve().parents[2]


def style() -> None:
    """The look of the committed figures, for every figure of this notebook."""
    import matplotlib

    from minilora.plots.style import RC

    matplotlib.rcParams.update(RC | {"figure.dpi": 80})


def show(*things: Callable) -> None:
    """The source of functions or classes of the library, with the file that holds each: text and code cannot part."""
    from IPython.display import Code, display

    for thing in things:
        path = Path(inspect.getsourcefile(thing)).resolve().relative_to(ROOT).as_posix()
        markdown(f"From `{path}`:")
        code = Code(textwrap.dedent(inspect.getsource(thing)).rstrip(), language="python")
        html = code._repr_html_().replace("<pre", f'<pre style="{_MONOSPACED}"', 1)  # exported pages lack the font
        display({"text/plain": code.data, "text/html": html}, raw=True)


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table; numbers are aligned right, floats shown with four significant digits, whole numbers with commas."""
    numeric = [all(isinstance(row[i], (int, float)) for row in rows) for i in range(len(header))]
    lines = [header, ["---:" if n else ":---" for n in numeric], *([_text(value) for value in row] for row in rows)]
    markdown("\n".join("| " + " | ".join(line) + " |" for line in lines))


def markdown(text: str) -> None:
    """Show Markdown that a cell computed."""
    from IPython.display import Markdown, display

    display(Markdown(text))


def numbers(figure: str) -> dict[str, Any]:
    """The committed numbers of a figure, from figures/NAME.json.

    ValueError for a figure that does not exist; FileNotFoundError outside a checkout.
    """
    from minilora.gallery import COMMITTED, load, select

    return load(select([figure])[0], COMMITTED)["numbers"]


def draw(figure: str, found: dict[str, Any] | None = None) -> None:
    """Draw a figure of the gallery from its committed numbers (or those given), with its caption below."""
    from matplotlib import pyplot as plt

    from minilora.gallery import escape_markdown, select

    plot = select([figure])[0].plot
    found = numbers(figure) if found is None else found
    _, axes = plt.subplots(**plot.LAYOUT)
    plot.draw(axes, found)
    plt.show()
    markdown("> " + escape_markdown(plot.caption(found)))


def _text(value):
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
