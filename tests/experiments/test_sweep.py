"""Each side's own best rate: which runs are asked for, and where the valley is."""

import math

import pytest

from minilora.experiments.finetuning import Run
from minilora.experiments.sweep import at_best, beyond, least, rates_around, tune, valley

SIDES = {"left": Run("dates", 0.001, 0), "right": Run("roman", 0.004, 0)}


def asked_of(best, sides, **options):
    """(what tune gives, the runs it asked for) where the loss of a run is its distance in octaves from `best`."""
    asked = []

    def each(function, runs):
        asked.extend(runs)
        return [{"loss": abs(math.log2(run.learning_rate / best)), "seed": run.seed} for run in runs]

    return tune(sides, each, **options), asked


def test_one_seed_sweeps_and_other_seeds_run_at_the_best():
    numbers, asked = asked_of(0.002, SIDES)
    assert len(set(asked)) == len(asked)
    for name, start in SIDES.items():
        side = numbers[name]
        assert side["rates"] == rates_around(start.learning_rate, 2, 2) and side["best"] == 0.002
        ((around),) = side["around"]
        assert around["rate"] == 0.002 and [result["seed"] for result in around["results"]] == [0, 1, 2]
    assert {run.seed for run in asked if run.learning_rate != 0.002} == {100}
    assert {run.task for run in asked} == {"dates", "roman"}


def test_a_sweep_with_one_of_the_seeds_is_not_run_again():
    numbers, asked = asked_of(0.002, SIDES, sweep_seed=1)
    assert len(asked) == len(set(asked)) == 2 * (5 + 2)
    assert [result["seed"] for result in numbers["left"]["around"][0]["results"]] == [0, 1, 2]


def test_an_end_that_is_best_is_gone_beyond_until_it_is_not():
    numbers, _ = asked_of(0.032, {"one": SIDES["left"]}, reach=1)
    assert numbers["one"]["rates"] == [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032]
    assert numbers["one"]["best"] == 0.032  # four further rates, and the end is reported as it is
    numbers, _ = asked_of(0.00025, {"one": SIDES["left"]}, reach=1)
    assert numbers["one"]["rates"] == [0.000125, 0.00025, 0.0005, 0.001, 0.002]


def test_the_neighbours_of_the_best_get_all_seeds_too():
    numbers, _ = asked_of(0.001, {"one": SIDES["left"]}, width=1, seeds=(5, 6), factor=math.sqrt(2))
    assert [(a["rate"], len(a["results"])) for a in numbers["one"]["around"]] == [
        (0.000707, 2),
        (0.001, 2),
        (0.00141, 2),
    ]


def test_runs_that_diverge_are_never_the_best_and_send_the_sweep_down():
    def each(function, runs):
        return [{"loss": None if run.learning_rate > 0.0004 else run.learning_rate} for run in runs]

    side = tune({"one": SIDES["left"]}, each, reach=0, further=2)["one"]
    assert side["rates"] == [0.00025, 0.0005, 0.001] and side["loss"] == [0.00025, None, None]
    with pytest.raises(ValueError, match="losses must hold a run that did not diverge, got none at the rates"):
        tune({"one": SIDES["left"]}, each, reach=0, further=0)


def test_the_least_and_what_lies_beyond_it():
    assert least({0.1: None, 0.2: 3.0, 0.4: 2.0}) == 0.4
    assert beyond({0.1: None, 0.2: 3.0, 0.4: 2.0}, 2) == [0.8]
    assert beyond({0.1: 1.0, 0.2: 3.0}, 2) == [0.05]
    assert beyond({0.1: 4.0, 0.2: 3.0, 0.4: 5.0}, 2) == []
    assert beyond({0.1: 3.0, 0.2: 3.0, 0.4: 3.0}, 2) == []  # flat: nothing to look for
    assert beyond({0.2: 3.0}, 2) == [0.1] and beyond({0.1: 4.0, 0.2: 3.0}, 2) == [0.4]


def test_at_best_keeps_the_rate_that_is_best_over_all_seeds():
    def point(rate, *losses):
        return {"rate": rate, "results": [{"loss": loss, "exact": 0.5} for loss in losses]}

    around = [point(0.1, 3.0, 3.0, 3.0), point(0.2, 9.0, 1.0, 2.0), point(0.4, 0.0, None, 0.0)]
    side = {"rates": [0.1, 0.2, 0.4], "loss": [1.0, 2.0, None], "best": 0.1, "around": around}
    assert at_best(side) == {
        "rates": [0.1, 0.2, 0.4],
        "sweep": [1.0, 2.0, None],
        "best": 0.2,
        "loss": [9.0, 1.0, 2.0],
        "exact": [0.5, 0.5, 0.5],
    }
    with pytest.raises(ValueError, match="side must hold a rate at which no seed diverged"):
        at_best(side | {"around": around[2:]})


def test_the_valley_of_a_parabola_is_its_bottom():
    bottom, curvature = math.log(0.0031), 0.7
    rates = rates_around(0.004, 2, 2)
    losses = [0.25 * math.exp(curvature * (math.log(rate) - bottom) ** 2) for rate in rates]
    rate, loss = valley(rates, losses)
    assert rate == pytest.approx(0.0031) and loss == pytest.approx(0.25)


@pytest.mark.parametrize("losses", ([1.0, 2.0, 3.0], [None, 1.0, 2.0], [1.0, 1.0, 1.0]))
def test_a_valley_without_two_neighbours_is_the_least_itself(losses):
    rate, loss = valley([0.1, 0.2, 0.4], losses)
    assert loss == 1.0 and rate == (0.2 if losses[0] is None else 0.1)
