"""What notebooks show: code from its source, tables as Markdown, the committed numbers."""

import json

import pytest

from minilora.course import numbers, pages


@pytest.fixture
def shown(monkeypatch):
    shown = []
    monkeypatch.setattr(pages, "markdown", shown.append)
    return shown


def test_a_table_aligns_numbers_and_keeps_four_digits(shown):
    pages.table(["what", "count", "share"], [["a", 1234567, 0.123456], ["b", 2, 1e-9]])
    assert shown[0].splitlines() == [
        "| what | count | share |",
        "| :--- | ---: | ---: |",
        "| a | 1,234,567 | 0.1235 |",
        "| b | 2 | 1e-09 |",
    ]


def test_the_numbers_are_the_committed_ones():
    stored = json.loads((pages.ROOT / "figures" / "scale_memory.json").read_text(encoding="utf-8"))
    assert numbers("scale_memory") == stored["numbers"]


def test_a_figure_without_numbers_says_what_to_do(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="figure must be one of codebooks.*got 'no_such_figure'"):
        numbers("no_such_figure")
    monkeypatch.setattr("minilora.gallery.COMMITTED", tmp_path)
    with pytest.raises(FileNotFoundError, match="run: python -m minilora figures scale_memory"):
        numbers("scale_memory")


def test_a_picture_carries_its_text_and_is_closed(monkeypatch):
    display = pytest.importorskip("IPython.display")
    from matplotlib import pyplot as plt

    shown = []
    monkeypatch.setattr(display, "display", lambda *things, **kwargs: shown.append((things, kwargs)))
    figure, _ = plt.subplots()
    pages.picture("what is to be seen")
    assert shown == [((figure,), {"metadata": {"image/png": {"alt": "what is to be seen"}}})]
    assert not plt.get_fignums()
