"""One bar over several figures."""

import pytest

from minilora.gallery.bar import FiguresBar


@pytest.fixture
def bar():
    with FiguresBar({"short": (10.0, 0), "long": (90.0, 9)}) as bar:
        yield bar


def test_a_figure_is_as_long_as_it_is_expected_to_take(bar, capsys):
    bar.start("short")
    bar.finish()  # it had no runs
    assert bar._bar.n == 10
    bar.start("long")
    bar.begin(total=9, kept=0)
    bar.advance()
    assert bar._bar.n == pytest.approx(20) and bar._bar.total == 100
    bar.end()
    bar.finish()
    assert bar._bar.n == 100


def test_kept_runs_are_done_and_do_not_count_for_the_speed(bar):
    bar.start("short")
    bar.finish()
    bar.start("long")
    bar.begin(total=9, kept=3)
    assert bar._bar.n == pytest.approx(40) and bar._bar.initial == pytest.approx(30)
    bar.advance()
    assert bar._bar.n == pytest.approx(50)
    assert "long 4/9" in bar._bar.desc


def test_the_first_round_of_a_sweep_leaves_room_for_what_comes_after(bar):
    """It had said 100 % and no time left, with a third of the runs to come."""
    bar.start("short")
    bar.finish()
    bar.start("long")
    for done in (4, 9, 12):  # more than the nine that were expected
        bar.begin(total=done - bar._total, kept=0)
        while bar._done < done:
            bar.advance()
        assert bar._bar.n == pytest.approx(10 + 10 * min(done, 9))


def test_an_experiment_that_runs_twice_does_not_exceed_its_share(bar):
    bar.start("short")
    for _ in range(2):
        bar.begin(total=2, kept=0)
        bar.advance()
        bar.advance()
        bar.end()
    assert bar._bar.n <= 10 + 1e-9


def test_shares_that_add_up_to_more_than_the_whole_do_not_exceed_it():
    """Nine ninths of a second are more than a second in floating point, of which tqdm warns."""
    with FiguresBar({"one": (1.0, 9)}) as bar:
        bar.start("one")
        bar.begin(total=9, kept=0)
        for _ in range(9):
            bar.advance()
        assert bar._bar.n == bar._bar.total
