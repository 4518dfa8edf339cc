"""The caption says whether the best rate falls with the number of steps."""

import matplotlib.pyplot as plt
import pytest

from minilora.plots.rank.rate_by_steps import LAYOUT, caption, draw, fallen


def made_up(**best):
    methods = {
        method: {
            "rates": [[0.5 * rate, rate, 2 * rate, 4 * rate] for rate in rates],
            "sweep": [[2.0, 1.0, 3.0, 4.0]] * len(rates),
            "around": [[0.5 * rate, rate, 2 * rate] for rate in rates],
            "loss": [[[2.0, 2.1, 2.2], [1.0, 1.2, 1.4], [3.0, 3.1, 3.2]]] * len(rates),
            "best": rates,
        }
        for method, rates in best.items()
    }
    return {"budgets": [60, 180, 540], "batch_size": 16, "factor": 1.5, "methods": methods}


@pytest.mark.parametrize(
    "rates,said",
    [
        (
            [0.004, 0.003, 0.001],
            "From 60 to 540 steps the best rate falls by more than one step of the grid for every method.",
        ),
        ([0.001, 0.003, 0.004], "From 60 to 540 steps the best rate rises by more for every method."),
        ([0.0015, 0.001, 0.001], "No best rate moves by more than one step of the grid from 60 to 540 steps."),
    ],
)
def test_what_the_best_rate_does(rates, said):
    assert fallen(made_up(**{"1": rates, "full": rates})) == said


def test_methods_that_differ_are_named():
    data = made_up(**{"1": [0.004, 0.002, 0.001], "8": [0.001] * 3, "full": [0.001, 0.001, 0.004]})
    assert "falls by more than one step of the grid for r = 1 and rises by more for full." in fallen(data)


def test_the_caption_gives_each_method_its_rates():
    assert "after 60, 180, 540 steps: r = 1 0.004, 0.002, 0.001; full" in caption(
        made_up(**{"1": [0.004, 0.002, 0.001], "full": [0.001] * 3})
    )


def test_a_ring_marks_the_best_rate_and_a_run_that_diverged_is_left_out():
    data = made_up(**{"1": [0.004, 0.002, 0.001]})
    data["methods"]["1"]["sweep"] = [[None, 1.0, 3.0, 4.0]] * 3
    data["methods"]["1"]["loss"] = [[[None, 2.1, 2.2], [1.0, 1.2, 1.4], [3.0, 3.1, 3.2]]] * 3
    figure, axes = plt.subplots(LAYOUT["nrows"], LAYOUT["ncols"])
    draw(axes, data)
    swept, curve, ring = axes[0][0].lines
    assert list(swept.get_xdata()) == [0.004, 0.008, 0.016] and list(curve.get_xdata()) == [0.004, 0.008]
    assert list(ring.get_xydata()[0]) == [0.004, 1.2]
    assert list(axes[1][1].lines[0].get_ydata()) == [0.004, 0.002, 0.001]
    plt.close(figure)
