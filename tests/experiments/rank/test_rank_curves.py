"""Loss by step for each rank: the runs that are asked for, and what becomes of their curves."""

from dataclasses import replace

from minilora.experiments.rank.rank_curves import FULL, Config, run, side

SMALL = Config(rates=(("2", 0.005), (FULL, 1e-3)), seeds=(0,), steps=4, eval_steps=2, batch_size=4, longer=("2",))


def small(function, runs):
    """Few records, so that a run takes a moment."""
    return [function(replace(run, n_train=32, n_eval=8)) for run in runs]


def test_it_trains_what_it_says():
    numbers = run(SMALL, small)
    assert {m: e["parameters"] for m, e in numbers["methods"].items()} == {"2": 23360, FULL: 921600}
    assert numbers["methods"]["2"]["step"] == [2, 4] and numbers["longer"]["2"]["step"] == [4, 8]
    for entry in (*numbers["methods"].values(), *numbers["longer"].values()):
        ((first, last),) = entry["loss"]
        assert last < first < numbers["before"] and len(entry["exact"][0]) == 2


def test_each_method_is_swept_and_run_with_every_seed_at_its_best_rate_and_some_twice_as_long():
    """Here the best rate is half the one where the sweep starts, so that one more rate is tried beyond it."""
    config, asked = Config(), []
    bottom = {rate / 2 for _, rate in config.rates}

    def fake(function, runs):
        asked.extend(runs)
        return [
            {
                "before": 9.0,
                "parameters": 1,
                "loss": min(abs(one.learning_rate - rate) for rate in bottom),
                "exact": 0.5,
                "curve": [{"step": one.steps, "loss": one.learning_rate, "exact": one.seed}],
            }
            for one in runs
        ]

    numbers, seeds = run(config, fake), len(config.seeds)
    assert seeds == 5 and len(set(asked)) == len(asked)
    assert len(asked) == len(config.rates) * (4 + seeds - 1) + len(config.longer) * seeds
    for method, start in config.rates:
        entry = numbers["methods"][method]
        assert len(entry["rates"]) == len(entry["sweep"]) == 4 and entry["rate"] == float(f"{start / 2:.3g}")
        assert entry["step"] == [config.steps] and entry["loss"] == [[entry["rate"]]] * seeds
        assert entry["exact"] == [[seed] for seed in config.seeds]
    for method in config.longer:
        longer = numbers["longer"][method]
        assert longer["step"] == [2 * config.steps] and longer["rate"] == numbers["methods"][method]["rate"]


def test_a_rank_acts_as_rslora_says():
    lora, full = side(Config(), "8", 0.004), side(Config(), FULL, 0.001)
    assert dict(lora.settings) == {"r": 8, "lora_alpha": 8, "use_rslora": True, "target_modules": "all-linear"}
    assert full.method == "full" and dict(full.settings) == {"target_modules": "all-linear"}
