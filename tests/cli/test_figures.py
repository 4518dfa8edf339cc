"""`minilora figures`: what its arguments mean and how it ends."""

import contextlib
import json

import pytest

from minilora import gallery, parallel
from minilora.cli import main


@pytest.fixture
def serial(monkeypatch):
    """No new interpreters; writes down how many workers were asked for."""
    asked = []

    def in_processes(function, items, finished, workers=None):
        asked.append(workers)
        parallel.one_by_one(function, items, finished)

    monkeypatch.setattr(parallel, "in_processes", in_processes)
    return asked


def test_listing(capsys):
    assert main(["figures", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [figure.name for figure in gallery.FIGURES]


def test_computing_checking_and_redrawing(capsys, tmp_path, serial):
    out = ["--out", str(tmp_path)]
    assert main(["figures", "outliers", *out]) == 0
    assert main(["figures", "outliers", "--check", *out]) == 0
    assert "the stored numbers hold: outliers" in capsys.readouterr().out
    path = tmp_path / "outliers.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["numbers"]["error"]["rms"]["tensor"]["int4"]["inside"][0][1] = 9.0
    path.write_text(json.dumps(content), encoding="utf-8")
    assert main(["figures", "outliers", "--check", *out]) == 1
    assert "/error/rms/tensor/int4/inside/0/1: stored 9.0" in capsys.readouterr().out
    (tmp_path / "outliers.png").unlink()
    assert main(["figures", "outliers", "--redraw", *out]) == 0
    assert (tmp_path / "outliers.png").is_file()


def test_redraw_covers_every_figure_in_any_folder(tmp_path, monkeypatch, capsys):
    drawn = []
    monkeypatch.setattr("minilora.gallery.together.draw", lambda figure, out: drawn.append(figure) or out / figure.name)
    assert main(["figures", "--redraw", "--out", str(tmp_path)]) == 0
    assert drawn == list(gallery.FIGURES) and all((tmp_path / f"{figure.name}.json").is_file() for figure in drawn)


def test_redraw_outside_a_checkout_takes_what_is_there(tmp_path, monkeypatch, capsys):
    (tmp_path / "outliers.json").write_bytes((gallery.COMMITTED / "outliers.json").read_bytes())
    monkeypatch.setattr("minilora.gallery.together.COMMITTED", tmp_path / "nowhere")
    assert main(["figures", "--redraw", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "outliers.png")]
    assert main(["figures", "codebooks", "--redraw", "--out", str(tmp_path)]) == 2
    assert "run: python -m minilora figures codebooks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "figure must be one of codebooks"),
        (["outliers", "--workers", "0"], "--workers must be"),
    ],
)
def test_arguments_that_make_no_sense(capsys, arguments, words):
    assert main(["figures", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_which_figures_are_meant(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(gallery, "make", lambda figures, out, **_: asked.append([figure.name for figure in figures]))
    for arguments in ([], ["--all"], ["--all", "--fast"], ["--fast"], ["rate_by_rank"]):
        assert main(["figures", *arguments, "--out", str(tmp_path)]) == 0
    headline, every, all_fast, fast, one = asked
    assert "rate_by_rank" not in headline and "rank_fit" in headline
    assert every == [figure.name for figure in gallery.FIGURES]
    assert set(fast) <= set(all_fast) < set(every) and "rank_fit" not in all_fast
    assert one == ["rate_by_rank"]


def test_the_number_of_workers_is_passed_on(serial, tmp_path, monkeypatch):
    figure = gallery.select(["rank_known"])[0]
    defaults = (16, 12, 2, 0.8, 0.9, (1, 2), 5, 0.02, (0,))
    monkeypatch.setattr(figure.experiment.Config.__init__, "__defaults__", defaults)
    assert main(["figures", "rank_known", "--workers", "3", "--out", str(tmp_path)]) == 0
    assert serial == [3]


def test_a_cluster_computes_what_is_missing_and_is_left_at_the_end(tmp_path, monkeypatch):
    seen = []

    @contextlib.contextmanager
    def on_dask(where):
        seen.append(where)
        yield parallel.one_by_one
        seen.append("left")

    monkeypatch.setattr(parallel, "on_dask", on_dask)
    monkeypatch.setattr(parallel, "in_processes", lambda *args, **kwargs: pytest.fail("not on the cluster"))
    figure = gallery.select(["rank_known"])[0]
    monkeypatch.setattr(figure.experiment.Config.__init__, "__defaults__", (16, 12, 2, 0.8, 0.9, (1, 2), 5, 0.02, (0,)))
    command = ["figures", "rank_known", "--out", str(tmp_path), "--dask", "local:2"]
    assert main(command) == main([*command, "--check"]) == 0
    assert seen == ["local:2", "left"] * 2
    assert main([*command, "--workers", "2"]) == 2


def test_a_run_that_fails_ends_with_1_and_names_it(tmp_path, monkeypatch, capsys):
    def broken(function, items, finished, workers=None):
        raise parallel.RunFailed("the run x failed: ValueError: diverged")

    monkeypatch.setattr(parallel, "in_processes", broken)
    assert main(["figures", "rank_known", "--out", str(tmp_path)]) == 1
    assert "rank_known: the run x failed" in capsys.readouterr().err


def test_what_is_kept_is_counted(tmp_path, monkeypatch, capsys):
    def stop(figures, out, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr(gallery, "make", stop)
    command = ["figures", "--out", str(tmp_path)]
    assert main(command) == 130
    assert "no run was finished, so none is kept" in capsys.readouterr().err
    for name, count in (("rank_fit", 2), ("rank_known", 1)):
        (tmp_path / ".runs" / name).mkdir(parents=True)
        for i in range(count):
            (tmp_path / ".runs" / name / f"{i}.json").touch()
    assert main(command) == 130
    said = capsys.readouterr().err
    assert (
        "2 finished runs of rank_fit are kept, 1 finished run of rank_known is kept; the same command resumes" in said
    )
