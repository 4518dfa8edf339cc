"""The caption says what the numbers say, also where they go the other way."""

from minilora.plots.rank.rank_fit import caption, overtaken

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
