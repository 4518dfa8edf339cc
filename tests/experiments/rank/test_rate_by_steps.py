"""The rate by number of steps: a sweep for each method at each budget."""

from minilora.experiments.rank.rank_fit import one_run
from minilora.experiments.rank.rate_by_steps import Config, run


def fake(best):
    """A valley whose bottom is `best(run)`; notes what was asked."""
    asked = []

    def each(function, runs):
        asked.extend(runs)
        return [{"loss": abs(run.learning_rate / best(run) - 1)} for run in runs]

    return each, asked


def test_each_budget_of_each_method_finds_its_own_rate():
    config = Config(budgets=(10, 40), factor=2.0, rates=(("8", 0.004), ("full", 0.001)))

    def best(run):
        return (0.004 if run.method == "lora" else 0.001) * 20 / run.steps  # twice and half the first guess

    each, asked = fake(best)
    numbers = run(config, each)
    assert numbers["methods"]["8"]["best"] == [0.008, 0.002]
    assert numbers["methods"]["full"]["best"] == [0.002, 0.0005]
    assert numbers["methods"]["8"]["rates"] == [[0.002, 0.004, 0.008, 0.016], [0.001, 0.002, 0.004, 0.008]]
    assert numbers["methods"]["8"]["sweep"][0] == [0.75, 0.5, 0.0, 1.0]
    assert numbers["methods"]["8"]["around"] == [[0.004, 0.008, 0.016], [0.001, 0.002, 0.004]]
    assert len(asked) == len(set(asked)) == 16 + 4 * 3 * 2


def test_three_seeds_choose_among_the_rates_around_the_first_ones_best():
    """The first seed likes 0.004, both others 0.008."""

    def each(function, runs):
        return [{"loss": abs(run.learning_rate / (0.004 if run.seed == 100 else 0.008) - 1)} for run in runs]

    found = run(Config(budgets=(10,), rates=(("8", 0.004),), factor=2.0), each)["methods"]["8"]
    assert found["around"] == [[0.002, 0.004, 0.008]] and found["best"] == [0.008]
    assert found["loss"] == [[[0.5, 0.75, 0.75], [0.0, 0.5, 0.5], [1.0, 0.0, 0.0]]]


def test_its_runs_are_those_of_rank_fit_with_a_seed_of_their_own():
    config = Config(budgets=(10,), rates=(("8", 0.004), ("full_linears", 0.001)))
    each, asked = fake(lambda run: 0.004 if run.method == "lora" else 0.001)
    run(config, each)
    assert one_run("roman", "8", 0.004, 100, steps=10, batch_size=16) in asked
    assert one_run("roman", "full_linears", 0.001, 100, steps=10, batch_size=16) in asked


def test_a_rate_that_diverged_is_none():
    config = Config(budgets=(10,), rates=(("1", 0.004),), factor=2.0)

    def each(function, runs):
        return [{"loss": None if run.learning_rate > 0.005 else 1 / run.learning_rate} for run in runs]

    found = run(config, each)["methods"]["1"]
    assert found["rates"] == [[0.002, 0.004, 0.008]] and found["sweep"][0][-1] is None and found["best"] == [0.004]
