"""What was forgotten: what is scored at each evaluation, and how methods are compared at equal learning."""

from dataclasses import replace

import numpy as np
import pytest

from minilora.adapters import linear_paths
from minilora.assets import load_base
from minilora.experiments.finetuning import prepared
from minilora.experiments.methods.forgetting import (
    SIDES,
    Config,
    TextRun,
    at_level,
    moved,
    planned,
    run,
    train_and_score,
)
from minilora.gallery import COMMITTED, load, select

SMALL = {"n_train": 16, "n_eval": 8, "windows": 2}
BEFORE = {"loss": 8.0, "text": 1.0}


def small(side, **others):
    values = {"steps": 2, "eval_steps": 1, "batch_size": 4, **SMALL} | others
    return TextRun("roman", side.rate, 0, method=side.method, settings=side.settings, **values)


@pytest.mark.parametrize("side", SIDES, ids=lambda side: side.name)
def test_text_and_size_change_only_as_it_trains(side):
    numbers = train_and_score(small(side))
    one, two = numbers["curve"]
    assert one["text"] != numbers["text_before"] and two["text"] != one["text"]
    if side.method == "bottleneck":
        assert one["size"] == two["size"] == 0
    else:
        assert 0 < one["size"] < two["size"] < 0.1


def test_before_training_nothing_has_moved_and_the_size_is_that_of_the_change():
    weights = {path: layer.dense_weight() for path, layer in linear_paths(load_base()).items()}
    for side in SIDES:
        model, _ = prepared(small(side))
        assert moved(model, weights) == 0
    model = load_base()
    for p in linear_paths(model).values():
        p.weight.value *= 1.5
    assert moved(model, weights) == pytest.approx(0.5, rel=1e-5)


def test_equal_learning_is_between_two_evaluations_in_log_loss():
    assert at_level(4.0, BEFORE, [2.0, 1.0], [3.0, 5.0]) == pytest.approx(2.0)  # half way from 8 to 2
    assert at_level(np.sqrt(2), BEFORE, [2.0, 1.0], [3.0, 5.0]) == pytest.approx(4.0)
    assert at_level(2.0, BEFORE, [2.0, 1.0], [3.0, 5.0]) == pytest.approx(3.0)
    assert at_level(0.5, BEFORE, [2.0, 1.0], [3.0, 5.0]) is None
    assert at_level(0.5, BEFORE, [2.0, None], [3.0, None]) is None


def test_every_method_rate_and_seed_is_run_once():
    config, asked = Config(), []

    def fake(function, runs):
        asked.extend(runs)
        curve = [{"step": 1, "loss": 1.2, "exact": 0.1, "text": 2.0, "size": 0.1}]
        return [{"before": 6.0, "parameters": 1, "text_before": 1.0, "curve": curve} for _ in runs]

    numbers = run(config, fake)
    assert len(set(asked)) == len(asked) == (len(config.sides) + 2) * 3
    for side in config.sides:
        entry = numbers["methods"][side.name]
        rates = [side.rate, side.rate / 2][: 1 + (side.name in config.slowly)]
        assert entry["rates"] == pytest.approx(rates, rel=0.01)
        assert entry["text"] == [[[2.0]] * 3] * len(rates)
        assert entry["equal"][0][1] == [None] * 3 and 1 < entry["equal"][0][0][0] < 2  # 1.2 is below 1.5, not below 1
    assert numbers["before"] == {"loss": 6.0, "text": 1.0}


def test_the_rates_are_those_that_were_best():
    swept = load(select(["rate_by_rank"])[0], COMMITTED)["numbers"]
    tried = load(select(["methods"])[0], COMMITTED)["numbers"]["records"]["roman"]
    best = {f"LoRA, r = {r}": entry["best"]["rate"] for r, entry in swept["rules"]["rsLoRA"].items()}
    best |= {"full, same linears": swept["full_linears"]["best"]["rate"], "full": swept["full"]["best"]["rate"]}
    best |= {name: tried[name]["best"] for name in ("last block", "bottleneck")}
    assert {side.name: side.rate for side in SIDES} == best
    assert planned(Config())["LoRA, r = 8", 0.5][0].learning_rate == 0.00205


def test_it_runs_in_miniature():
    config = Config(sides=SIDES[:1], slowly=(), seeds=(0,), steps=2, eval_steps=1, batch_size=4, windows=2)
    numbers = run(config, lambda function, runs: [function(replace(r, **SMALL)) for r in runs])
    entry = numbers["methods"]["LoRA, r = 1"]
    assert entry["parameters"] == 11_680 and entry["step"] == [1, 2] and np.shape(entry["text"]) == (1, 1, 2)
