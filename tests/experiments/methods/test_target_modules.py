"""One budget on different layers: ranks and parameters, and the runs that are asked for."""

import math
from dataclasses import replace

import numpy as np
import pytest

from minilora.adapters import LoraConfig, apply_lora, count_parameters
from minilora.assets import load_base
from minilora.experiments.methods.target_modules import TARGETS, Config, Few, per_rank, rank_within, run


@pytest.mark.parametrize("name", TARGETS)
def test_a_rank_costs_what_the_adapter_trains(name):
    model = load_base()
    apply_lora(model, LoraConfig(r=3, target_modules=TARGETS[name]), rng=np.random.default_rng(0))
    assert count_parameters(model)[0] == 3 * per_rank(TARGETS[name])


def test_the_rank_is_the_nearest_and_every_side_is_within_three_percent():
    assert rank_within(per_rank(TARGETS["qv"]) * 5 + 1, TARGETS["qv"]) == 5 and rank_within(1, TARGETS["q"]) == 1
    assert rank_within(Config().budget, TARGETS["all"]) == 3 and per_rank(TARGETS["all"]) * 3 == Config().budget
    for names in TARGETS.values():
        assert abs(rank_within(Config().budget, names) * per_rank(names) / Config().budget - 1) < 0.03


def test_each_side_is_swept_and_run_with_all_seeds():
    asked = []

    def each(function, items):
        asked.extend(items)
        return [result(item) for item in items]

    def result(item):
        loss = abs(math.log2(item.learning_rate / 0.008)) + 0.1 * item.seed
        curve = [{"step": 1, "loss": loss - 1, "train_loss": 0.5}, {"step": 2, "loss": loss, "train_loss": 0.25}]
        return {"loss": loss, "exact": 0.5, "parameters": 7, "curve": curve}

    config = Config()
    numbers = run(config, each)
    assert len(set(asked)) == len(asked)
    assert {item.n_train for item in asked if item.score_training} == {256}
    for entry in numbers["targets"].values():
        assert entry["best"] == 0.008 and len(entry["loss"]) == 5 and entry["rates"] == [0.002, 0.004, 0.008, 0.016]
    for entry in numbers["few"]["targets"].values():
        assert entry["r"] == 8 and entry["loss"] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
        assert entry["lowest"] == pytest.approx([-1, -0.9, -0.8, -0.7, -0.6]) and entry["train_loss"] == [0.25] * 5


def test_it_trains_in_miniature():
    few = Few(targets=("q",), n_train=16, steps=2, eval_steps=1, seeds=(0,))
    config = Config(targets=("k", "mlp"), steps=2, batch_size=4, seeds=(0,), few=few)

    def each(function, items):
        return [function(replace(item, n_train=16, n_eval=8)) for item in items if item]

    numbers = run(config, each)
    assert {name: (e["r"], e["parameters"]) for name, e in numbers["targets"].items()} == {
        "k": (36, 34_560),
        "mlp": (5, 36_000),
    }
    entry = numbers["few"]["targets"]["q"]
    assert entry["lowest"][0] <= entry["loss"][0] and entry["train_loss"][0] > 0
