"""Which figures there are, and that each has all its parts."""

import inspect
from pathlib import Path

import pytest

import minilora
from minilora.gallery import FIGURES, select

PACKAGE = Path(minilora.__file__).parent


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_a_figure_has_an_experiment_and_a_plot_in_the_same_folder(figure):
    experiment, plot = figure.experiment, figure.plot
    parameters = inspect.signature(experiment.run).parameters
    assert list(parameters) == ["config", "each"]
    assert parameters["each"].default is map and parameters["config"].default == experiment.Config()
    assert {"rtol", "atol"} <= experiment.TOLERANCE.keys()
    assert list(inspect.signature(plot.draw).parameters)[1:] == ["numbers"]
    assert list(inspect.signature(plot.caption).parameters) == ["numbers"]
    assert figure.question.endswith((")", "?"))


def test_every_plot_belongs_to_a_figure():
    """A figure that says much has its caption and what that reads in files of their own, named after it: NAME_caption.py."""
    plots = {(path.parent.name, path.stem) for path in (PACKAGE / "plots").glob("*/*.py") if path.stem != "__init__"}
    figures = {(figure.folder, figure.name) for figure in FIGURES}
    assert figures <= plots
    parts = plots - figures
    assert all((folder, stem.rpartition("_")[0]) in figures for folder, stem in parts), parts


def test_selecting():
    names = [figure.name for figure in FIGURES]
    assert len(set(names)) == len(names)
    assert [figure.name for figure in select([], every=True)] == names
    headline = select([])
    assert headline and all(figure.headline for figure in headline) and len(headline) < len(FIGURES)
    assert all(figure.fast for figure in select([], every=True, fast_only=True))
    assert [figure.name for figure in select(["rate_by_rank", "codebooks", "rate_by_rank"])] == [
        "rate_by_rank",
        "codebooks",
    ]
    with pytest.raises(ValueError, match="figure must be one of codebooks, .*; got 'nonsense'"):
        select(["nonsense"])
