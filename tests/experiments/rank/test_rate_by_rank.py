"""The sweep of learning rates: which runs are asked for, and where the valleys are."""

import math
from dataclasses import replace

import numpy as np
import pytest

from minilora.adapters import LoraConfig
from minilora.experiments.finetuning import train
from minilora.experiments.rank.rate_by_rank import RULES, Config, alpha, first_steps, grid, planned, run, scaling, swept

SMALL = Config(first_step_ranks=(1, 4), seeds=(0,))


def parabola(bottom):
    """An `each` whose losses are exp of a parabola in log rate with its bottom at `bottom(run)`."""

    def each(function, items):
        if function is not train:
            return [function(item) for item in items]
        return [{"loss": math.exp(math.log(item.learning_rate / bottom(item)) ** 2)} for item in items]

    return each


def test_the_valley_is_found_between_the_rates():
    def bottom(run):
        return 0.0016 if run.method == "full" else 0.0025 if dict(run.settings)["r"] == 64 else 0.0048

    numbers = run(SMALL, parabola(bottom))
    assert numbers["rules"]["alpha = r"]["64"]["best"] == {"rate": 0.0025, "seeds": [0.0025]}
    assert numbers["rules"]["alpha = r"]["8"]["best"]["rate"] == 0.0048
    assert numbers["full_linears"]["best"]["rate"] == numbers["full"]["best"]["rate"] == 0.0016


def test_a_rule_acts_as_the_adapter_does():
    config = Config()
    for r in config.ranks:
        for rule in RULES:
            lora = LoraConfig(r=r, lora_alpha=alpha(rule, r, config), use_rslora=rule == "rsLoRA")
            assert lora.scaling(r, lora.lora_alpha) == pytest.approx(scaling(rule, r, config), rel=1e-12)


def test_rules_that_give_one_scaling_share_their_runs():
    plan = planned(Config())
    for rate in swept(Config(), "rsLoRA")[-1]:
        assert plan["rsLoRA", 64, rate] == plan["alpha = r", 64, rate]
    assert plan["product", 16][0].learning_rate == plan["surface", 16, grid(4)][0].learning_rate == 0.012
    assert plan["surface", 8, 0.003] == plan["alpha = r", 8, 0.003]


def test_each_seed_runs_every_rate_of_every_rank():
    plan = planned(Config())
    for rule in RULES:
        for r, rates in zip(Config().ranks, swept(Config(), rule), strict=True):
            assert [[run.seed for run in plan[rule, r, rate]] for rate in rates] == [[0, 1, 2]] * 5
            np.testing.assert_allclose(np.diff(np.log2(rates)), 0.5, atol=0.01)


def test_a_rate_at_which_a_seed_diverged_is_no_valley():
    def each(function, items):
        if function is not train:
            return [function(item) for item in items]
        return [{"loss": None if run.learning_rate < 0.0029 else run.learning_rate} for run in items]

    best = run(SMALL, each)["rules"]["alpha = 32"]["1"]["best"]
    assert best == {"rate": 0.003, "seeds": [0.003]}


def test_the_first_step_follows_from_s():
    """Adam's update is s rate sign(dB) A, gradient descent's s² dB A: at one rank they go as s and as s²."""
    config = replace(SMALL, first_step_ranks=(4,))
    found = first_steps((0, config))
    s = [scaling(rule, 4, config) for rule in RULES]
    adam, descent = ([sizes[0] for sizes in found[key].values()] for key in ("adam", "gradient descent"))
    np.testing.assert_allclose(np.array(adam) / adam[0], s, rtol=1e-3)
    np.testing.assert_allclose(np.array(descent) / descent[0], np.square(s), rtol=1e-3)
