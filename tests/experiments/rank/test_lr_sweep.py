"""The sweep of learning rates."""

from minilora.experiments.rank.lr_sweep import Config, best, run


def test_each_method_gets_its_rates_and_the_best_is_named():
    def fake(function, runs):
        return [{"loss": abs(run.learning_rate - 0.003)} for run in runs]

    numbers = run(Config(), fake)
    assert numbers["best"] == {
        task: {"1": 0.003, "8": 0.003, "64": 0.003, "full": 0.002} for task in ("dates", "roman")
    }
    assert [len(losses) for losses in numbers["loss"]["dates"].values()] == [6, 6, 6, 4]


def test_a_run_that_diverged_is_never_the_best():
    assert best({"1": [3.0, None, 1.0, 2.0, None, None], "full": [None, 5.0, 4.0, 6.0]}, Config()) == {
        "1": 0.006,
        "full": 0.002,
    }
