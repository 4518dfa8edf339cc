"""All methods: the runs that are asked for, and what each is counted to hold."""

from dataclasses import replace

import numpy as np
import pytest

from minilora.assets import load_base
from minilora.experiments.finetuning import Run, train
from minilora.experiments.methods.methods import Config, Records, counted, run, step_milliseconds
from minilora.experiments.methods.sides import SIDES, sides

SMALL = {"steps": 2, "batch_size": 4, "n_train": 16, "n_eval": 8}
BASE = sum(p.value.nbytes for p in load_base().parameters())


def cost(name):
    return counted(sides(name)[0].run("roman", **SMALL))


def test_sets_of_records_are_swept_or_take_the_rates_from_before():
    asked = []

    def each(function, items):
        if function is step_milliseconds:
            ((runs, _),) = items
            return [[7.0] * len(runs)]
        if function is counted:
            return [{"parameters": 1, "memory": {"weights": 2}} for _ in items]
        assert function is train
        asked.extend(items)
        assert all(item.score_training for item in items)
        return [
            {"loss": abs(np.log(item.learning_rate / 0.004)), "exact": 0.5, "curve": [{"train_loss": item.seed}]}
            for item in items
        ]

    config = Config(sides=sides("LoRA", "full"))
    numbers = run(config, each)
    assert len(set(asked)) == len(asked)
    assert list(numbers["records"]) == [records.name for records in config.records]
    for records in config.records:
        runs = [item for item in asked if (item.task, item.n_train) == (records.task, records.n_train)]
        for side in config.sides:
            entry = numbers["records"][records.name][side.name]
            own = [item for item in runs if item.method == side.method]
            assert {item.seed for item in own if item.learning_rate == entry["best"]} == set(config.seeds)
            assert len(entry["loss"]) == len(entry["exact"]) == len(config.seeds)
            assert entry["train_loss"] == list(config.seeds)
            assert len(entry["rates"]) == 1 if not records.swept else len(entry["rates"]) >= 3
    assert numbers["costs"]["full"] == {"parameters": 1, "memory": {"weights": 2}, "milliseconds": 7.0}


def test_a_sweep_starts_at_the_best_rates_of_the_first_records():
    best, first = {"roman": 0.016, "dates": 0.001}, {}

    def each(function, items):
        if function is not train:
            return [[7.0]] if function is step_milliseconds else [{} for _ in items]
        for item in items:
            first.setdefault((item.task, item.n_train), set()).update(i.learning_rate for i in items)
        return [
            {"loss": abs(np.log(i.learning_rate / best[i.task])), "exact": 0.5, "curve": [{"train_loss": 1.0}]}
            for i in items
        ]

    sets = Records("a", "roman", 64), Records("b", "dates", 64), Records("c", "roman", 32)
    config = Config(sides=(replace(SIDES[0], rate=0.008),), records=sets)
    assert [entries["LoRA"]["best"] for entries in run(config, each)["records"].values()] == [0.016, 0.001, 0.016]
    assert first["dates", 64] >= {0.008, 0.016, 0.032} and 0.0005 in first["dates", 64]
    assert first["roman", 32] == {0.008, 0.016, 0.032}


def test_it_trains_in_miniature():
    config = Config(sides=sides("norms"), records=(Records("r", "roman", 16, swept=False),), seeds=(0,), rounds=1)

    def each(function, items):
        return [function(replace(i, **SMALL) if isinstance(i, Run) else i) for i in items]

    numbers = run(replace(config, steps=2, batch_size=4), each)
    assert numbers["records"]["r"]["norms"]["loss"][0] > 0 and numbers["costs"]["norms"]["milliseconds"] > 0


@pytest.mark.parametrize("name", ["LoRA", "bottleneck", "prompt", "full"])
def test_gradients_are_four_bytes_per_parameter_and_adam_has_two_moments(name):
    numbers = cost(name)
    memory = numbers["memory"]
    assert memory["gradients"] == 4 * numbers["parameters"] and memory["optimizer"] == 2 * memory["gradients"]
    assert memory["activations"] > 0


def test_weights_that_no_longer_act_are_not_counted():
    assert cost("full")["memory"]["weights"] == cost("last block")["memory"]["weights"] == BASE
    assert cost("LoRA")["memory"]["weights"] == BASE + cost("LoRA")["memory"]["gradients"]
    assert cost("LoftQ (NF4)")["memory"]["weights"] == cost("LoRA on NF4")["memory"]["weights"] < BASE / 3


def test_the_time_of_a_step_is_that_of_each_run():
    runs = tuple(side.run("roman", **SMALL) for side in SIDES[:2])
    milliseconds = step_milliseconds((runs, 2))
    assert len(milliseconds) == 2 and min(milliseconds) > 0
