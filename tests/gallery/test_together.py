"""Several figures in one go."""

import json
import shutil
from pathlib import Path

import pytest

from minilora import gallery
from minilora.gallery import together
from minilora.parallel import RunFailed, one_by_one

TWO = gallery.select(["outliers", "base_training"])


def interrupt(function, items, finished):
    """Two runs, then Ctrl-C."""
    index = next(iter(items))
    finished(index, 1.0, function(items[index]))
    raise KeyboardInterrupt


def fail(function, items, finished):
    raise RunFailed("the run 1 failed: ValueError: diverged")


def names(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_figures_and_pages_are_written_and_no_runs_are_left(tmp_path, capsys):
    gallery.make(TWO, tmp_path, side_by_side=one_by_one)
    each = [f"{figure.name}.{suffix}" for figure in TWO for suffix in ("json", "png", "svg")]
    assert names(tmp_path) == sorted([*each, "README.md"]) and not (tmp_path / ".runs").exists()
    assert capsys.readouterr().out.split() == [str(tmp_path / f"{figure.name}.png") for figure in TWO]


@pytest.fixture
def small(monkeypatch):
    """rank_known in miniature, from a figure that has runs."""
    figure = gallery.select(["rank_known"])[0]
    defaults = (16, 12, 2, 0.8, 0.9, (1, 2), 20, 0.02, (0, 1))
    monkeypatch.setattr(figure.experiment.Config.__init__, "__defaults__", defaults)
    return figure


def test_a_stopped_command_keeps_the_runs_of_figures_that_were_done(small, tmp_path, monkeypatch):
    """The command's end takes them away, not the figure's: or starting again would compute the first figures again."""
    gallery.make([small], tmp_path, side_by_side=one_by_one)
    assert not gallery.runs_folder(small, tmp_path).exists()

    monkeypatch.setattr(together, "forget_runs", lambda figures, out: pytest.fail("not yet"))

    def stop(figure, out):
        raise KeyboardInterrupt

    monkeypatch.setattr(together, "draw", stop)
    with pytest.raises(KeyboardInterrupt):
        gallery.make([small, TWO[0]], tmp_path, side_by_side=one_by_one)
    assert len(list(gallery.runs_folder(small, tmp_path).glob("*.json"))) == 6


def test_an_interrupted_figure_is_resumed(small, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        gallery.make([small], tmp_path, side_by_side=interrupt)
    assert len(list(gallery.runs_folder(small, tmp_path).glob("*.json"))) == 1
    computed = []

    def count(function, items, finished):
        computed.extend(items)
        one_by_one(function, items, finished)

    gallery.make([small], tmp_path, side_by_side=count)
    assert len(computed) == 5 and gallery.load(small, tmp_path)["provenance"]["runs"] == 6


def test_a_figure_that_fails_does_not_stop_the_others(small, tmp_path):
    with pytest.raises(RunFailed, match="rank_known: the run 1 failed: ValueError: diverged"):
        gallery.make([small, TWO[0]], tmp_path, side_by_side=fail)
    assert (tmp_path / "outliers.png").is_file() and not (tmp_path / "rank_known.json").exists()


def test_redrawing_into_another_folder_takes_the_committed_numbers(tmp_path):
    gallery.redraw(TWO, tmp_path)
    for figure in TWO:
        name = f"{figure.name}.json"
        assert (tmp_path / name).read_bytes() == (gallery.COMMITTED / name).read_bytes()
        assert (tmp_path / f"{figure.name}.png").is_file()


def test_redrawing_takes_the_folders_own_numbers_first(tmp_path):
    path = Path(shutil.copy(gallery.COMMITTED / "outliers.json", tmp_path))
    text = path.read_text(encoding="utf-8").replace('"block_size": 64', '"block_size": 65')
    path.write_text(text, encoding="utf-8")
    gallery.redraw([TWO[0]], tmp_path)
    assert "block of 65" in gallery.load(TWO[0], tmp_path)["caption"]
    assert (tmp_path / "outliers.png").read_bytes() != (gallery.COMMITTED / "outliers.png").read_bytes()


def test_redrawing_words_the_caption_again_and_leaves_the_numbers(tmp_path, monkeypatch):
    gallery.redraw([TWO[0]], tmp_path)
    before = gallery.load(TWO[0], tmp_path)
    monkeypatch.setattr(TWO[0].plot, "caption", lambda numbers: "In other words.")
    gallery.redraw([TWO[0]], tmp_path)
    assert gallery.load(TWO[0], tmp_path) == before | {"caption": "In other words."}
    assert "In other words." in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_checking_again_reports_and_leaves_no_runs(tmp_path):
    shutil.copy(gallery.COMMITTED / "outliers.json", tmp_path)
    assert gallery.check_again([TWO[0]], tmp_path, side_by_side=one_by_one) == []
    assert not (tmp_path / ".runs").exists()


def test_a_figure_is_expected_to_take_what_it_took(tmp_path):
    committed, runs = together.expected(TWO[0], tmp_path)
    content = json.loads((gallery.COMMITTED / "outliers.json").read_text(encoding="utf-8"))
    assert runs == content["provenance"]["runs"]
    content["provenance"] |= {"seconds": 777.5, "runs": 12}
    (tmp_path / "outliers.json").write_text(json.dumps(content), encoding="utf-8")
    assert 1 <= committed < 777.5 and together.expected(TWO[0], tmp_path) == (777.5, 12)
