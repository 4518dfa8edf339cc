"""The gallery's page and the README's findings."""

import shutil

import pytest

from minilora import gallery
from minilora.gallery import COMMITTED, escape_markdown

ROOT = COMMITTED.parent


def test_pages_are_current(tmp_path):
    copy = shutil.copytree(COMMITTED, tmp_path / "figures", ignore=shutil.ignore_patterns(".runs"))
    shutil.copy(ROOT / "README.md", tmp_path)
    gallery.write_pages(copy)
    for page in ("README.md", "figures/README.md"):
        assert (tmp_path / page).read_bytes() == (ROOT / page).read_bytes()


def test_the_gallery_shows_every_figure_and_the_readme_the_headline_ones():
    page, readme = ((ROOT / name).read_text(encoding="utf-8") for name in ("figures/README.md", "README.md"))
    findings = readme.split("findings:begin -->")[1].split("<!--")[0]
    for figure in gallery.FIGURES:
        assert f"\n## {figure.name}\n\n{figure.question}\n\n![{figure.question}]({figure.name}.png)" in page
        assert (f"(figures/{figure.name}.png)" in findings) == figure.headline


def test_a_readme_without_the_marks_is_left_alone(tmp_path):
    (tmp_path / "figures").mkdir()
    shutil.copy(COMMITTED / "outliers.json", tmp_path / "figures")
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    gallery.write_pages(tmp_path / "figures")
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "mine"
    assert "## outliers" in (tmp_path / "figures" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("text", "shown"), [("__str__", r"\_\_str\_\_"), ("64*256", r"64\*256"), ("plain", "plain")])
def test_markdown_shows_a_caption_as_it_is(text, shown):
    assert escape_markdown(text) == shown
