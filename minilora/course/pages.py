"""What the notebooks put on a page: source code, tables, figures. Needs the `notebooks` extra."""

import inspect
import json
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_MONOSPACED = "font: 12px/1.4 var(--jp-code-font-family, monospace); white-space: pre-wrap; word-break: normal"
ROOT = Path(__file__).resolve().parents[2]


# For a page as `jupyter nbconvert --to html` makes it: code wraps, in a table not below the width of a name; text keeps its distance from
# the code above it; at phone width tables scroll, captions are set smaller, pictures shrink, and those that would become
# illegible (class "wide", see export.py) scroll; in print, folded answers are open.
_CSS = """
.jp-CodeMirrorEditor pre, .jp-OutputArea-output pre, .highlight pre {
  white-space: pre-wrap !important; overflow-wrap: anywhere; word-break: normal !important }
.jp-RenderedHTMLCommon .highlight { margin-bottom: 1em }
@media (max-width: 600px) {
  .jp-Notebook { padding: 4px !important } .jp-InputPrompt, .jp-OutputPrompt { display: none !important }
  .jp-Cell { padding: 2px !important } .jp-MarkdownOutput { padding: 2px 6px !important }
  .jp-CodeMirrorEditor pre, .jp-OutputArea-output pre, .highlight pre { font-size: 11px !important }
  .jp-RenderedHTMLCommon table { display: block; max-width: 100%; overflow-x: auto; font-size: 11px }
  .jp-RenderedHTMLCommon pre, .jp-RenderedHTMLCommon code { overflow-wrap: anywhere }
  .jp-RenderedHTMLCommon td:has(code) { min-width: 9em }
  .jp-RenderedHTMLCommon blockquote { margin: 4px 0 !important; padding: 0 8px !important; font-size: 13px }
  math[display=block] { overflow-x: auto; font-size: 90% }
  .jp-RenderedImage, .jp-OutputArea-output { overflow-x: auto }
  .jp-RenderedImage img.wide, .jp-OutputArea-output img.wide { min-width: var(--least) }
}
.jp-RenderedImage img, .jp-OutputArea-output img { max-width: 100% !important; height: auto !important }
details > summary { cursor: pointer; color: #0072B2; font-weight: 600 }
@media print { details::details-content { content-visibility: visible; display: block } }
"""
# Browsers that do not know ::details-content.
_PRINT = "addEventListener('beforeprint', () => document.querySelectorAll('details').forEach(d => (d.open = true)))"


def style() -> None:
    """The look of the committed figures for every figure of this notebook, and of the page on a phone and in print."""
    import matplotlib
    from IPython.display import display

    from minilora.plots.style import RC

    matplotlib.rcParams.update(RC | {"figure.dpi": 80})
    html = f"<style>{_CSS}</style><script>{_PRINT}</script>"
    display({"text/html": html, "text/plain": ""}, raw=True)


def picture(alt: str) -> None:
    """Show the current figure with alternative text for screen readers."""
    from IPython.display import display
    from matplotlib import pyplot as plt

    display(plt.gcf(), metadata={"image/png": {"alt": alt}})
    plt.close()


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

    ValueError for an unknown figure; FileNotFoundError outside a checkout.
    """
    from minilora.gallery import COMMITTED, load, select

    return load(select([figure])[0], COMMITTED)["numbers"]


def measured(name: str) -> dict[str, Any]:
    """What a benchmark measured, from figures/NAME.json: {part: {measurement: its numbers}}.

    FileNotFoundError outside a checkout, or for a benchmark that keeps no numbers there.
    """
    numbers = json.loads((ROOT / "figures" / f"{name}.json").read_text(encoding="utf-8"))
    return {part: one["results"] for part, one in numbers.items()}


def draw(figure: str, data: dict[str, Any] | None = None) -> None:
    """Draw a figure of the gallery from its committed numbers (or those given), with its caption below."""
    from matplotlib import pyplot as plt

    from minilora.gallery import escape_markdown, select

    plot = select([figure])[0].plot
    data = numbers(figure) if data is None else data
    _, axes = plt.subplots(**plot.LAYOUT)
    plot.draw(axes, data)
    caption = plot.caption(data)
    picture(f"Figure {figure}. {caption}")
    markdown("> " + escape_markdown(caption))


def _text(value):
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
