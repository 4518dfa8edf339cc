"""The caption says what the numbers say, also where they go the other way."""

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from minilora.plots.rank.rank_fit import LAYOUT, beside_full, caption, draw, overtaken

METHODS = ("1", "8", "64", "full_linears", "full")


def made_up(**changed):
    """Losses fall with rank and with steps, unless changed: {method: [budget][seed]}."""
    loss = {
        method: [[budget / rank] * 3 for budget in (3.0, 2.0, 1.0)]
        for method, rank in zip(METHODS, (1, 2, 4, 5, 6), strict=True)
    }
    return {
        "ranks": [1, 8, 64],
        "budgets": [10, 20, 30],
        "batch_size": 16,
        "before": 5.0,
        "parameters": dict.fromkeys(METHODS, 1000),
        "loss": loss | changed,
        "exact": {method: [[0.1], [0.5], [0.9]] for method in METHODS},
    }


def test_a_small_rank_that_catches_up_is_slow():
    numbers = made_up(**{"1": [[3.0] * 3, [2.0] * 3, [0.7, 0.6, 0.74]]})
    assert overtaken(numbers).startswith("With every seed r = 1 after 30 steps is below r = 64 after 10")
    assert "r = 1 (1,000 parameters) 3.000, 2.000, 0.700" in caption(numbers)


def test_one_that_does_not_is_not_called_slow():
    assert "does not pass" in overtaken(made_up()) and "does not pass" in caption(made_up())
    almost = made_up(**{"1": [[3.0] * 3, [2.0] * 3, [0.7, 0.6, 0.76]]})  # one seed of three stays above 0.75
    assert "does not pass" in overtaken(almost)


def test_full_fine_tuning_is_ahead_only_where_every_seed_is():
    text = beside_full(made_up())
    assert "ahead of r = 64 in every seed after 10 and 20 and 30 steps" in text
    assert "training embedding and norms, too, is better still in every seed after 10 and 20 and 30 steps" in text
    mixed = made_up(
        full_linears=[[0.8, 0.9, 1.0], [0.3, 0.4, 0.45], [0.1, 0.2, 0.3]],
        full=[[0.9, 1.0, 1.1], [0.4, 0.5, 0.6], [0.4, 0.5, 0.6]],
    )
    assert beside_full(mixed) == (
        "On the same layers it is ahead of r = 64 in every seed after 20 steps and behind it in every seed after 10; training "
        "embedding and norms, too, is worse in every seed after 30."
    )
    same = {method: [[1.0] * 3] * 3 for method in ("64", "full_linears", "full")}
    assert "within the spread of r = 64" in beside_full(made_up(**same))
    assert "no difference beyond the seeds" in beside_full(made_up(**same))


def test_full_fine_tuning_is_drawn_beside_the_ranks():
    figure, axes = plt.subplots(**LAYOUT)
    draw(axes, made_up())
    assert [text.get_text().split("\n")[0] for text in axes[0].get_xticklabels()][:3] == ["r = 1", "r = 8", "r = 64"]
    assert len(axes[0].get_xticklabels()) == 5
    assert "Full fine-tuning of the same linear layers 0.600, 0.400, 0.200" in caption(made_up())
    assert "r = 64 is full rank for k and v, which are 64 wide" in caption(made_up())
    plt.close(figure)
