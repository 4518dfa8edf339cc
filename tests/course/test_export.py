"""Pages that need no network. (Needs the `notebooks` extra; skipped without it.)"""

import base64
import re
import struct

import pytest

from minilora.course import export as exporting
from minilora.course.export import export, mathml, page

pytest.importorskip("latex2mathml")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbconvert")


def test_formulas_become_mathml_and_code_is_left_alone():
    text = mathml("rank $r$, cost `$HOME` and\n\n$$ \\frac{a}{b} $$\n\n```\n$x$\n```\nfor $5 or $6")
    assert text.count("<math") == 2 and "<mfrac>" in text and 'display="block"' in text
    assert "`$HOME`" in text and "```\n$x$\n```" in text and "for $5 or $6" in text


def notebook():
    cells = [
        nbformat.v4.new_markdown_cell(
            "# A\n\n$x^2$ [next](02_lora.ipynb#q3) [figures](../figures/README.md) [paper](https://arxiv.org/abs/1)"
        ),
        nbformat.v4.new_markdown_cell("<details>\n<summary>Open</summary>\n\n**Bold** answer\n\n</details>"),
        nbformat.v4.new_code_cell("1", execution_count=1),
    ]
    picture = {"image/png": "iVBORw0KGgo="}
    cells[2].outputs = [
        nbformat.v4.new_output("display_data", data=picture, metadata={"image/png": {"alt": "a dot"}}),
        nbformat.v4.new_output("display_data", data={"text/markdown": "| a |\n|---|\n| $y$ [18](#q18) |"}),
    ]
    return nbformat.v4.new_notebook(cells=cells)


def test_a_page_loads_nothing():
    text = page(notebook(), "A")
    loaded = re.findall(
        r"(?:src|href)=[\"'](https?:[^\"']+)|url\([\"']?(https?:[^)\"']+)|from [\"'](https?:[^\"']+)", text
    )
    assert [url for urls in loaded for url in urls if url] == ["https://arxiv.org/abs/1"]
    assert text.count("<math") == 2 and "mathjax" not in text.lower().replace("mathjax_ignore", "")
    assert 'href="02_lora.html#q3"' in text and "figures/README" not in text
    assert 'alt="a dot"' in text and "<strong>Bold</strong>" in text and "viewport" in text


def png(width):
    """The first bytes of a picture."""
    return base64.b64encode(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, 100)).decode()


WIDE = 'class="wide" style="--least: {}px"'


@pytest.mark.parametrize(("width", "kept"), [(1000, WIDE.format(700)), (650, WIDE.format(455)), (600, 'class=""')])
def test_a_wide_picture_is_not_shrunk_to_a_phone(width, kept):
    book = notebook()
    book.cells[2].outputs[0].data["image/png"] = png(width)
    assert f'alt="a dot" {kept} src="data:image/png' in page(book, "A")


def test_the_width_of_what_is_no_picture_is_zero():
    assert exporting.png_width(b"") == exporting.png_width(b"GIF89a" + b"0" * 40) == 0
    assert exporting.png_width(base64.b64decode(png(1234))) == 1234


def test_both_editions_are_written(tmp_path, monkeypatch):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        nbformat.write(notebook(), tmp_path / folder / "00_x.ipynb")
    monkeypatch.setattr(exporting, "EDITIONS", {"student": tmp_path / "one", "solution": tmp_path / "two"})
    monkeypatch.setattr(exporting, "lessons", lambda: ["00_x"])
    paths = export(tmp_path / "pages")
    assert [p.relative_to(tmp_path).as_posix() for p in paths] == ["pages/00_x.html", "pages/solutions/00_x.html"]
    assert all("<math" in p.read_text(encoding="utf-8") for p in paths)
    with pytest.raises(ValueError, match="lesson must be one of 00_x; got 'nope'"):
        export(tmp_path / "pages", ["nope"])
