"""The caption says what the curves say, whichever way they go."""

import matplotlib
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from minilora.plots.rank.rank_curves import FULL, LAYOUT, caption, draw, ended, nearly_all, verdict


def curves(losses, exact=0.9, steps=(60, 120)):
    """Two evaluations; the last loss of each seed is given."""
    return {
        "rate": 0.005,
        "parameters": 1000,
        "step": list(steps),
        "loss": [[9.0, loss] for loss in losses],
        "exact": [[0.0, exact] for _ in losses],
    }


def numbers(small, large, longer=None, **exact):
    methods = {
        "1": curves(small, exact.get("small", 0.9)),
        "64": curves(large, exact.get("large", 1.0)),
        FULL: curves([0.1, 0.1, 0.1], 1.0),
    }
    twice = {} if longer is None else {"1": curves(longer, exact.get("twice", 0.9), (120, 240))}
    return {
        "task": "roman",
        "steps": 120,
        "batch_size": 16,
        "before": 9.5,
        "methods": methods,
        "longer": twice,
    }


def test_ranks_that_end_together_need_no_more():
    assert "this task does not need more rank" in verdict(numbers([0.2, 0.3, 0.4], [0.1, 0.2, 0.25]))


def test_a_rank_that_gets_there_later_is_slow():
    text = verdict(numbers([0.5, 0.6, 0.7], [0.1, 0.2, 0.3], longer=[0.3, 0.4, 0.5]))
    assert text.startswith("In every seed r = 1 ends above r = 64; with twice the steps it has 0.400")
    assert text.endswith("within the seeds of r = 64 then: slower, not too small.")
    text = verdict(numbers([0.5, 0.6, 0.7], [0.2, 0.3, 0.4], longer=[0.05, 0.08, 0.1]))
    assert text.endswith("in every seed below r = 64 then: slower, not too small.")


@pytest.mark.parametrize(
    "large, words",
    [
        ([0.1, 0.2, 0.25], "r = 64 has 0.200, still below it in every seed"),
        ([0.1, 0.2, 0.35], "r = 64 has 0.200, no further from it than the seeds are"),
        ([0.6, 0.7, 0.8], "r = 64 has 0.700, above it in every seed"),
    ],
)
def test_both_with_twice_the_steps_are_compared(large, words):
    data = numbers([0.5, 0.6, 0.7], [0.1, 0.2, 0.3], longer=[0.3, 0.4, 0.5])
    data["longer"]["64"] = curves(large, steps=(120, 240))
    assert verdict(data).endswith(f"slower, not too small (with twice the steps {words}).")


def test_a_rank_that_stays_behind_is_said_to():
    data = numbers([0.5, 0.6, 0.7], [0.1, 0.2, 0.3], longer=[0.4, 0.5, 0.6])
    assert "still above it in every seed: within these steps the task is better learned with more rank" in verdict(data)
    data = numbers([0.5, 0.6, 0.7], [0.1, 0.2, 0.3], longer=[0.4, 0.5, 0.6], twice=0.99)
    assert "answer nearly all" in verdict(data)
    assert "within these steps" in verdict(numbers([0.5, 0.6, 0.7], [0.1, 0.2, 0.3]))


def test_whether_it_had_ended_is_seen_by_twice_the_steps():
    assert "r = 1 had not ended: twice the steps take it from 0.600 to 0.400" in ended(
        numbers([0.5, 0.6, 0.7], [0.1], longer=[0.3, 0.4, 0.45])
    )
    text = ended(numbers([0.5, 0.6, 0.7], [0.1], longer=[0.3, 0.4, 0.55]))
    assert "had nearly ended: twice the steps take it from 0.600 to 0.400, lower with each seed, within" in text
    assert "had ended: twice" in ended(numbers([0.5, 0.6, 0.7], [0.1], longer=[0.3, 0.65, 0.55]))
    assert ended(numbers([0.5], [0.1])) == ""


def test_steps_to_nearly_all_are_those_of_the_median():
    data = numbers([0.5, 0.6, 0.7], [0.1, 0.2, 0.3])
    assert nearly_all(data) == "95% exact is reached after (steps): r = 64 120, full, same layers 120; not by r = 1."
    data["methods"]["64"]["exact"] = [[1.0, 1.0], [0.95, 1.0], [0.0, 1.0]]
    assert "r = 64 60," in nearly_all(data)


def test_every_method_is_drawn_and_a_diverged_run_left_out():
    data = numbers([0.5, 0.6, 0.7], [0.1, 0.2, 0.3], longer=[0.3, 0.4, 0.5])
    data["methods"]["64"]["loss"][0][-1] = None
    figure, axes = plt.subplots(**{k: v for k, v in LAYOUT.items() if k != "width_ratios"})
    draw(axes, data)
    assert len(axes[0].lines) == len(axes[1].lines) == 4
    assert [text.get_text() for text in axes[2].get_yticklabels()] == [
        "r = 1",
        "r = 1, 240 steps",
        "r = 64",
        "full, same layers",
    ]
    assert "r = 64 0.250" in caption(data)
    plt.close(figure)
