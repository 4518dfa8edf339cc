"""Loss by step for each rank: the runs that are asked for, and what becomes of their curves."""

from dataclasses import replace

from minilora.experiments.rank.rank_curves import FULL, Config, planned, run
from minilora.gallery import COMMITTED, load, select

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


def test_every_method_and_seed_is_run_once_and_some_twice_as_long():
    config, asked = Config(), []

    def fake(function, runs):
        asked.extend(runs)
        return [
            {"before": 9.0, "parameters": 1, "curve": [{"step": r.steps, "loss": r.learning_rate, "exact": r.seed}]}
            for r in runs
        ]

    numbers = run(config, fake)
    assert len(set(asked)) == len(asked) == 3 * (len(config.rates) + len(config.longer))
    for method, rate in config.rates:
        entry = numbers["methods"][method]
        assert entry["step"] == [config.steps] and entry["loss"] == [[rate]] * 3 and entry["exact"] == [[0], [1], [2]]
    assert numbers["longer"]["1"]["step"] == [2 * config.steps]


def test_a_rank_acts_as_rslora_says():
    plan = planned(Config())
    (lora, *_), (full, *_) = plan["methods", "8"], plan["methods", FULL]
    assert dict(lora.settings) == {"r": 8, "lora_alpha": 8, "use_rslora": True, "target_modules": "all-linear"}
    assert full.method == "full" and dict(full.settings) == {"target_modules": "all-linear"}


def test_it_uses_the_rates_that_the_sweep_chose():
    found = load(select(["rate_by_rank"])[0], COMMITTED)["numbers"]
    best = {r: entry["best"]["rate"] for r, entry in found["rules"]["rsLoRA"].items()}
    rates = dict(Config().rates)
    assert {r: rates[r] for r in best} == best and rates[FULL] == found[FULL]["best"]["rate"]
    assert rates["1"] > rates["2"] > rates["8"]
