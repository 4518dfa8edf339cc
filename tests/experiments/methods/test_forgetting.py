"""What was forgotten: what is scored at each evaluation, and which runs are asked for."""

from dataclasses import replace

import numpy as np
import pytest

from minilora.adapters import linear_paths
from minilora.assets import load_base
from minilora.experiments.finetuning import prepared
from minilora.experiments.methods.forgetting import (
    LENGTH,
    SIDES,
    Config,
    moved,
    planned,
    run,
    text_loss,
    text_windows,
    train_and_score,
)

SMALL = {"n_train": 16, "n_eval": 8}
TINY = {"steps": 2, "eval_steps": 1, "batch_size": 4, "windows": 2}
STILL = ("norms", "bottleneck", "prefix", "prompt")  # they leave the linear layers alone
ELSEWHERE = ("LoRA on NF4", "prefix", "prompt")  # what they start from is not quite the base


def small(side):
    return replace(planned(Config(sides=(side,), **TINY))[side.name], **SMALL)


@pytest.mark.parametrize("side", SIDES, ids=lambda side: side.name)
def test_text_and_size_change_only_as_it_trains(side):
    numbers = train_and_score(small(side))
    one, two = numbers["curve"]
    assert len({numbers["text_before"], one["text"], two["text"]}) == 3
    if side.name in STILL:
        assert one["size"] == two["size"] == 0
    else:
        assert 0 < one["size"] < two["size"] < 0.1
    base = text_loss(load_base(), *text_windows(2))
    assert numbers["text_before"] == pytest.approx(base, abs=0.2)
    assert (abs(numbers["text_before"] - base) > 1e-3) == (side.name in ELSEWHERE)


@pytest.mark.parametrize("side", SIDES, ids=lambda side: side.name)
def test_before_training_nothing_has_moved(side):
    model, _ = prepared(small(side))
    start = {path: layer.dense_weight().copy() for path, layer in linear_paths(model).items()}
    assert moved(model, start) == 0 and len(start) == 35


def test_the_size_is_that_of_the_change():
    model = load_base()
    start = {path: layer.dense_weight().copy() for path, layer in linear_paths(model).items()}
    for layer in linear_paths(model).values():
        layer.weight.value *= 1.5
    assert moved(model, start) == pytest.approx(0.5, rel=1e-5)


def test_virtual_tokens_leave_room_for_a_window():
    ids, labels = text_windows(3)
    assert ids.shape == labels.shape == (3, LENGTH)
    assert load_base().config.max_position_embeddings - LENGTH == 16


def stood_in(config, loss=lambda run: 1.0):
    """The runs that the study asks for, and its numbers where each comes to `loss(run)`."""
    asked = []

    def fake(function, runs):
        asked.extend(runs)
        return [
            {
                "loss": loss(r),
                "before": 6.0 + r.seed,
                "parameters": 1,
                "text_before": 1.25,
                "curve": [{"step": 1, "loss": loss(r), "exact": 0.5, "text": 2.0 + r.learning_rate, "size": 0.1}],
            }
            for r in runs
        ]

    return asked, run(config, fake)


def test_every_method_rate_and_seed_is_run_once():
    config = Config(windows=2)
    asked, numbers = stood_in(config)  # of equal rates the lowest is taken, so that the still lower one is new
    sides, slow, seeds = len(config.sides), len(config.slowly), len(config.seeds)
    assert len(set(asked)) == len(asked) == sides * (3 + seeds - 1) + slow * seeds
    assert list(numbers["methods"]) == [side.name for side in config.sides]
    for name, entry in numbers["methods"].items():
        assert entry["before"] == {"loss": [6.0 + seed for seed in config.seeds], "text": [1.25] * seeds}
        rates = [point["rate"] for point in entry["at"]]
        assert rates[0] == entry["best"] == min(point["rate"] for point in entry["sweep"])
        assert rates[1:] == [float(f"{config.factor * rates[0]:.3g}")] * (name in config.slowly)
        assert [point["text"] for point in entry["at"]] == [[[2.0 + rate]] * seeds for rate in rates]
        assert len(entry["sweep"]) == 3 and all(p["text"] == 2.0 + p["rate"] for p in entry["sweep"])
    assert numbers["base"] == pytest.approx(text_loss(load_base(), *text_windows(2)))


def test_a_lower_rate_that_the_sweep_has_run_is_not_run_again():
    config = Config(sides=SIDES[:2], slowly=(SIDES[1].name,), seeds=(3, 4), windows=2)
    start = {side.settings: side.rate for side in SIDES}
    asked, _ = stood_in(config, lambda r: 1.0 + abs(np.log(r.learning_rate / start[r.settings])))
    assert len(set(asked)) == len(asked) == 2 * (3 + 1) + 1
    assert {r.seed for r in asked} == {3, 4}


def test_a_best_rate_at_an_end_is_followed():
    config = Config(sides=SIDES[:1], slowly=(), seeds=(0,), windows=2)
    _, numbers = stood_in(config, lambda r: 1 / r.learning_rate)
    (entry,) = numbers["methods"].values()
    assert len(entry["sweep"]) == 3 + 3 and entry["best"] == entry["sweep"][-1]["rate"]


def test_a_run_that_diverges_leaves_none():
    def fake(function, runs):
        curve = [{"step": 1, "loss": 1.0, "exact": 0.5, "text": 2.0, "size": 0.1}]
        gone = [*curve, {"step": 2, "loss": None, "exact": None}]
        numbers = {"before": 6.0, "parameters": 1, "text_before": 1.0}
        return [
            numbers | ({"loss": 1.0, "curve": curve} if r.seed == 0 else {"loss": None, "curve": gone}) for r in runs
        ]

    numbers = run(Config(sides=SIDES[:1], slowly=(), seeds=(0, 1), windows=2), fake)
    (at,) = numbers["methods"][SIDES[0].name]["at"]
    assert at["loss"] == [[1.0], [1.0, None]] and at["text"] == [[2.0], [2.0, None]]


def test_it_runs_in_miniature():
    config = Config(sides=SIDES[:1], slowly=(SIDES[0].name,), seeds=(0, 1), **TINY)
    numbers = run(config, lambda function, runs: [function(replace(r, **SMALL)) for r in runs])
    entry = numbers["methods"]["LoRA, r = 1"]
    assert entry["parameters"] == 11_680 and entry["step"] == [1, 2]
    assert [np.shape(point["text"]) for point in entry["at"]] == [(2, 2)] * 2
    assert entry["at"][0]["loss"][0] != entry["at"][0]["loss"][1]
