"""Batch sizes: every run sees as many samples, its partner takes as many steps, each has a sweep of its own."""

import math
from dataclasses import replace

from minilora.experiments.training.batch_size import Config, planned, run


def test_all_see_equal_samples_and_partners_take_equal_steps():
    config = Config()
    runs = planned(config)
    assert len(runs) == 2 * (len(config.sizes) + len(config.larger))
    for method, rates in config.rates:
        for size, rate in zip(config.sizes, rates, strict=True):
            one = runs[f"{method}, {size}"]
            assert one.steps * one.batch_size == config.samples and one.learning_rate == rate
            assert one.method == ("lora" if method == "LoRA" else "full")
            if size in config.larger:
                partner = runs[f"{method}, steps of {size}"]
                assert replace(partner, batch_size=size) == one and partner.batch_size == config.small
    assert dict(runs["full, same linears, 8"].settings) == {"target_modules": "all-linear"}


def test_each_side_stands_at_its_own_best_rate_with_all_seeds():
    def each(function, items):
        return [{"loss": 0.1 + abs(i.learning_rate - 0.0001 * i.batch_size), "exact": 0.5} for i in items]

    numbers = run(
        Config(samples=4096, sizes=(16, 64), small=16, larger=(64,), rates=(("LoRA", (0.0016, 0.0032)),)), each
    )
    small, large = numbers["equal_samples"]["LoRA"]
    assert (small["best"], large["best"]) == (0.0016, 0.0064) and len(large["loss"]) == len(Config().seeds) == 5
    assert numbers["larger"] == [64] and numbers["steps"] == [256, 64]
    ((few,),) = numbers["equal_steps"].values()
    assert few["best"] == 0.0016


def test_the_valley_lies_between_the_rates_of_the_sweep():
    def each(function, items):
        return [{"loss": 1 + math.log2(i.learning_rate / 0.005) ** 2, "exact": 0.5} for i in items]

    config = Config(samples=16, sizes=(4,), larger=(), rates=(("LoRA", (0.004,)),))
    (entry,) = run(config, each)["equal_samples"]["LoRA"]
    assert entry["best"] == 0.004 and 0.0045 < entry["valley"] < 0.0056


def test_it_trains_in_miniature():
    config = Config(samples=8, sizes=(2, 8), small=2, larger=(8,), rates=(("LoRA", (0.01, 0.01)),), seeds=(0,))

    def each(function, items):
        return [function(replace(item, n_train=16, n_eval=4)) for item in items]

    numbers = run(config, each)
    assert numbers["equal_samples"]["LoRA"][0]["loss"] != numbers["equal_samples"]["LoRA"][1]["loss"]
