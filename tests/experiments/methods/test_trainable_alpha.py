"""Fixed and learned alphas: which runs are asked for, and what a run says of the alphas that it learned."""

import math
from dataclasses import replace

import pytest

from minilora.experiments.finetuning import method_config
from minilora.experiments.methods.trainable_alpha import Config, alpha_run, run, train_alpha

SMALL = {"steps": 3, "batch_size": 4, "n_train": 16, "n_eval": 8}


def small(alpha, ratio):
    return replace(alpha_run(Config(), alpha, ratio, 0.01), **SMALL)


def test_every_run_is_asked_for_once_and_lands_where_it_belongs():
    asked = []

    def each(function, items):
        assert function is train_alpha
        asked.extend(items)
        return [
            {
                "loss": item.seed + 0.1 * item.alpha_lr_ratio + abs(math.log(item.learning_rate / 0.006)),
                "exact": 0.5,
                "alphas": {"q_proj": [float(dict(item.settings)["lora_alpha"]), item.seed]},
            }
            for item in items
        ]

    config = Config(alphas=(2, 8), rates=(0.012, 0.003), ratios=(0.0, 10.0))
    numbers = run(config, each)
    assert len(set(asked)) == len(asked)
    assert {alpha: list(entries) for alpha, entries in numbers["starts"].items()} == {2: ["0", "10"], 8: ["0", "10"]}
    for alpha, entries in numbers["starts"].items():
        for ratio, entry in entries.items():
            assert entry["best"] == 0.006 and len(entry["rates"]) == 4
            assert entry["loss"] == pytest.approx([seed + 0.1 * float(ratio) for seed in config.seeds])
            assert entry["at_one_rate"] == entry["loss"][: len(config.one_rate_seeds)]
            assert entry["learned"] == {"q_proj": [alpha, 2]}


def test_a_ratio_of_zero_is_plain_lora_and_others_learn_alpha():
    fixed, learned = (method_config(small(64, ratio)) for ratio in (0.0, 10.0))
    assert (fixed.lora_alpha, fixed.trainable_alpha) == (64, False)
    assert (learned.lora_alpha, learned.trainable_alpha) == (64, True)
    assert small(64, 10.0).alpha_lr_ratio == 10.0


def test_alphas_end_where_they_are_where_fixed_and_elsewhere_where_learned():
    fixed, learned = train_alpha(small(2, 0.0)), train_alpha(small(2, 10.0))
    kinds = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    assert list(fixed["alphas"]) == list(learned["alphas"]) == kinds
    assert all(blocks == [2] * 5 for blocks in fixed["alphas"].values())
    assert all(0 < abs(alpha - 2) < 1 for blocks in learned["alphas"].values() for alpha in blocks)
    assert fixed["loss"] != learned["loss"] and fixed["before"] == learned["before"]
