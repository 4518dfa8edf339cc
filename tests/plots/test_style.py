"""What all drawings share."""

import matplotlib
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from minilora.plots.style import CODES, band, color, label, log2_axis, median


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


@pytest.mark.parametrize(("runs", "middle"), [([3.0], 3.0), ([5, 1, 2], 2), ([4, 1, 2, 3], 2.5)])
def test_the_median(runs, middle):
    before = list(runs)
    assert median(runs) == middle and runs == before


def test_a_band_reaches_from_the_least_to_the_largest_run(ax):
    band(ax, [1, 2], [[3.0, 1.0, 2.0], [4.0, 4.0, 7.0]], "black", label="runs")
    (line,), (area,) = ax.lines, ax.collections
    assert line.get_xydata().tolist() == [[1, 2], [2, 4]] and line.get_label() == "runs"
    corners = {tuple(point) for point in area.get_paths()[0].vertices}
    assert {(1, 1), (1, 3), (2, 4), (2, 7)} <= corners


def test_a_log2_axis_has_exactly_the_ticks_given(ax):
    log2_axis(ax, [1, 8, 0.5])
    assert ax.get_xscale() == "log"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "8", "0.5"]
    assert len(ax.xaxis.get_minorticklocs()) == 0
    log2_axis(ax, [1, 8], ["one", "eight"])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["one", "eight"]


def test_every_code_has_a_color_and_a_name_of_its_own():
    assert len({color(code) for code in CODES}) == len({label(code) for code in CODES}) == len(CODES)
