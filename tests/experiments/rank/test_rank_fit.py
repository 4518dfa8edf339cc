"""Fit by rank: the runs that are asked for, and what becomes of their results."""

from dataclasses import replace

from minilora.experiments.rank.rank_fit import Config, one_run, planned, run
from minilora.gallery import COMMITTED, load, select

CONFIG = Config(
    budgets=(2, 3), seeds=(0,), rates=(("2", (0.01, 0.01)), ("full_linears", (1e-3, 1e-3)), ("full", (1e-3, 1e-3)))
)


def small(function, runs):
    """Few records, so that a run takes a moment."""
    return [function(replace(run, n_train=64, n_eval=16)) for run in runs]


def test_it_trains_what_it_says():
    numbers = run(CONFIG, small)
    assert numbers["parameters"] == {"2": 23360, "full_linears": 921600, "full": 955776}
    assert all(losses[-1][0] < numbers["before"] for losses in numbers["loss"].values())


def test_every_method_budget_and_seed_is_run_once():
    asked = []

    def fake(function, runs):
        asked.extend(runs)
        return [{"before": 9.0, "loss": i, "exact": 0.5, "parameters": 1} for i in range(len(asked))]

    numbers = run(Config(), fake)
    assert len(set(asked)) == len(asked) == len(Config().rates) * 3 * 3
    assert list(numbers["loss"]) == [method for method, _ in Config().rates]
    for method, group in planned(Config()).items():
        assert [asked[i] for seeds in numbers["loss"][method] for i in seeds] == group
        assert [run.steps for run in group] == [steps for steps in (60, 180, 540) for _ in range(3)]
        assert [run.learning_rate for run in group] == [rate for rate in dict(Config().rates)[method] for _ in range(3)]


def test_a_run_is_named_by_its_method():
    lora, linears, full = (one_run("dates", method, 0.1, 0) for method in ("8", "full_linears", "full"))
    assert dict(lora.settings) == {"r": 8, "lora_alpha": 8, "target_modules": "all-linear"} and lora.method == "lora"
    assert dict(linears.settings) == {"target_modules": "all-linear"} and linears.method == full.method == "full"
    assert full.settings == ()


def test_it_uses_the_rates_that_the_sweep_chose():
    found = load(select(["rate_by_steps"])[0], COMMITTED)["numbers"]
    config = Config()
    assert found["budgets"] == list(config.budgets)
    assert {method: tuple(swept["best"]) for method, swept in found["methods"].items()} == dict(config.rates)
