"""Ratio against rate: every pair once, and each ratio's best with all seeds."""

from minilora.experiments.methods.loraplus import Config, pair_run, run


def test_every_pair_is_run_and_each_ratio_again_at_its_best():
    asked = []

    def each(function, items):
        asked.extend(items)
        return [
            {
                "loss": None if i.learning_rate > 0.01 else abs(i.learning_rate * i.loraplus_lr_ratio - 0.012),
                "exact": 0.25,
            }
            for i in items
        ]

    config = Config()
    numbers = run(config, each)
    pairs = {(item.loraplus_lr_ratio, item.learning_rate) for item in asked}
    assert pairs == {(ratio, rate) for ratio in config.ratios for rate in config.rates}
    assert [len(row) for row in numbers["sweep"]] == [len(config.rates)] * len(config.ratios)
    assert [best["rate"] for best in numbers["best"]] == [0.006, 0.003, 0.0008, 0.0002, 0.0001]
    assert all(len(best["loss"]) == len(best["exact"]) == len(config.seeds) for best in numbers["best"])
    assert numbers["sweep"][0][-1] is None


def test_b_learns_at_the_ratio_times_the_rate_of_a():
    pair = pair_run(Config(), 16.0, 0.002, 5)
    assert (pair.learning_rate, pair.loraplus_lr_ratio, pair.seed) == (0.002, 16.0, 5)
