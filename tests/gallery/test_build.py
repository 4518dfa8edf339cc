"""Numbers to JSON, JSON to pictures."""

import json
import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.layout_engine import ConstrainedLayoutEngine

from minilora import gallery
from minilora.gallery import build
from minilora.gallery.build import rounded
from minilora.parallel import SideBySide, one_by_one

CONSTRAINTS = (Path(__file__).parents[2] / "constraints.txt").read_text(encoding="utf-8")
OUTLIERS = gallery.select(["outliers"])[0]


@pytest.mark.parametrize("figure", gallery.FIGURES, ids=lambda figure: figure.name)
def test_redrawn_byte_for_byte(figure, tmp_path):
    if f"matplotlib=={matplotlib.__version__}\n" not in CONSTRAINTS:
        pytest.skip("another matplotlib draws other bytes; make test installs the one that drew the committed figures")
    shutil.copy(gallery.COMMITTED / f"{figure.name}.json", tmp_path)
    gallery.draw(figure, tmp_path)
    for suffix in ("svg", "png"):
        name = f"{figure.name}.{suffix}"
        assert (tmp_path / name).read_bytes() == (gallery.COMMITTED / name).read_bytes()


@pytest.mark.parametrize("figure", gallery.FIGURES, ids=lambda figure: figure.name)
def test_captions_are_made_from_the_numbers(figure):
    content = gallery.load(figure, gallery.COMMITTED)
    assert figure.plot.caption(content["numbers"]) == content["caption"]


def test_a_readers_own_style_stays_out_of_the_picture_and_is_left_alone(tmp_path):
    shutil.copy(gallery.COMMITTED / "outliers.json", tmp_path)
    before = gallery.draw(OUTLIERS, tmp_path).read_bytes()
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9}):
        assert gallery.draw(OUTLIERS, tmp_path).read_bytes() == before
        assert matplotlib.rcParams["font.size"] == 30


def test_computing_writes_all_that_loading_reads(tmp_path):
    each = SideBySide(compute=one_by_one)
    path = gallery.compute(OUTLIERS, tmp_path, each)
    content = gallery.load(OUTLIERS, tmp_path)
    assert path == tmp_path / "outliers.json"
    assert content["config"] == json.loads(json.dumps(gallery.load(OUTLIERS, gallery.COMMITTED)["config"]))
    assert content["provenance"]["runs"] == each.runs and content["provenance"]["seconds"] >= 0


def test_missing_or_damaged_numbers_say_how_to_make_them(tmp_path):
    with pytest.raises(FileNotFoundError, match="run: python -m minilora figures outliers"):
        gallery.load(OUTLIERS, tmp_path)
    for text in ("{", "[]", '{"numbers": 1}', "\x00"):
        (tmp_path / "outliers.json").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="outliers.json is damaged.*run: python -m minilora figures outliers"):
            gallery.load(OUTLIERS, tmp_path)


def test_rounding_reaches_every_leaf():
    tree = {1: (np.float32(1 / 3), [2 / 3]), "n": np.arange(2), "text": "x", "flag": True, "whole": 1234567}
    assert rounded(tree) == {"1": [0.333333, [0.666667]], "n": [0, 1], "text": "x", "flag": True, "whole": 1234567}


def test_the_last_bits_of_the_layout_do_not_reach_the_files(tmp_path, monkeypatch):
    figure = next(figure for figure in gallery.FIGURES if figure.name == "scale_memory")
    engine, drawn = ConstrainedLayoutEngine.execute, []
    for noise in (0.0, 3e-14):

        def execute(self, drawing, noise=noise):
            engine(self, drawing)
            for ax in drawing.axes:
                ax._set_position([value * (1 + noise) for value in ax.get_position(original=True).bounds])

        monkeypatch.setattr(ConstrainedLayoutEngine, "execute", execute)
        shutil.copy(build.COMMITTED / f"{figure.name}.json", tmp_path)
        build.draw(figure, tmp_path)
        drawn.append((tmp_path / f"{figure.name}.svg").read_bytes())
    assert drawn[0] == drawn[1]
