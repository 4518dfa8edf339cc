"""Committed notebooks as web pages that need no network: formulas become MathML, pictures are inside, links lead to pages."""

import base64
import html
import re
import struct
from pathlib import Path
from typing import Any

from minilora import storage
from minilora.course.build import EDITIONS, lessons
from minilora.course.pages import ROOT

PAGES = ROOT / "course-pages"  # git ignores it
_CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.S)
_MATH = re.compile(r"\$\$(.+?)\$\$|(?<![\\$\w])\$([^$\n]+?)\$(?![\w$])", re.S)
_PHONE = '<meta name="viewport" content="width=device-width, initial-scale=1">'
WIDE = 600  # pixels: a wider picture shrunk to a phone's 400 has letters too small to read


def mathml(text: str) -> str:
    """Markdown with its $...$ and $$...$$ as MathML, which browsers draw without a library; code is left alone."""
    from latex2mathml.converter import convert

    def formula(match):
        latex = html.unescape(match[1] or match[2]).replace("\n", " ").strip()
        return convert(latex, display="block" if match[1] else "inline")

    pieces = _CODE.split(text)
    return "".join(piece if i % 2 else _MATH.sub(formula, piece) for i, piece in enumerate(pieces))


def page(notebook: Any, title: str) -> str:
    """A notebook as one HTML page that loads nothing from elsewhere; its pictures need texts. Its cells are not run."""
    from nbconvert import HTMLExporter

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _pages(mathml(cell.source))
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/markdown" in data:
                data["text/markdown"] = _pages(mathml(data["text/markdown"]))
    notebook.metadata["title"] = title
    exporter = HTMLExporter(mathjax_url="", require_js_url="", jquery_url="", mermaid_js_url="", widget_renderer_url="")
    body, _ = exporter.from_notebook_node(notebook)
    tags = map(_tag, _pictures(notebook))  # nbconvert's own template leaves the texts out
    body = re.sub(r'alt="No description has been provided[^"]*"\s+class=""', lambda m: next(tags), body)
    body = re.sub(
        r"<script[^>]*>(?:(?!</script>).)*(?:MathJax|https?://)(?:(?!</script>).)*</script>", "", body, flags=re.S
    )
    body = re.sub(r'<script src=""[^>]*>\s*</script>|<!-- [^>]*[Mm]ath[Jj]ax[^>]*-->', "", body)
    return body if "viewport" in body else body.replace("<head>", f"<head>{_PHONE}", 1)


def export(folder: Path = PAGES, names: list[str] | None = None) -> list[Path]:
    """Write the pages of both editions into `folder`, the solutions into folder/solutions; returns their paths.

    ValueError for an unknown lesson; FileNotFoundError where a notebook was not built.
    """
    import nbformat

    known = lessons()
    for name in names or []:
        if name not in known:
            raise ValueError(f"lesson must be one of {', '.join(known)}; got {name!r}")
    paths = []
    for edition, source in EDITIONS.items():
        into = folder if edition == "student" else folder / "solutions"
        into.mkdir(parents=True, exist_ok=True)
        for lesson in names or known:
            notebook = nbformat.read(source / f"{lesson}.ipynb", as_version=4)
            paths.append(into / f"{lesson}.html")
            storage.write_text(paths[-1], page(notebook, lesson.replace("_", " ")))
    return paths


def _pictures(notebook):
    """The outputs that are pictures, in order."""
    return [o for c in notebook.cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})]


def _tag(output):
    """The attributes of a picture: its text, and for a wide one how far it may shrink before a phone scrolls it instead."""
    alt = html.escape(output["metadata"]["image/png"]["alt"])
    width = png_width(base64.b64decode(output["data"]["image/png"]))
    shrunk = f' style="--least: {round(0.7 * width)}px"' if width > WIDE else ""
    return f'alt="{alt}" class="{"wide" if shrunk else ""}"{shrunk}'


def png_width(data: bytes) -> int:
    """Pixels, from a PNG's header; 0 if there is none."""
    return struct.unpack(">I", data[16:20])[0] if len(data) >= 24 and data[12:16] == b"IHDR" else 0


def _pages(text):
    """Links between notebooks as links between pages; other files of the checkout by their names alone."""
    text = re.sub(r"\]\((\w+)\.ipynb(#\w+)?\)", r"](\1.html\2)", text)
    return re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?://|#|\w+\.html)[^)]*\)", r"\1", text)
