"""What merging and switching cost and leave, in miniature."""

import copy

import numpy as np
import pytest

from minilora.adapters import linear_paths
from minilora.experiments.training.merge_and_switch import SIZE, Config, run, subtracted, with_adapters
from minilora.plots.training.merge_and_switch import caption

SMALL = run(Config(batch_size=1, length=4, prompt=2, new_tokens=2, rounds=2, switches=3, merges=(1, 2), seeds=(0,)))


def test_every_model_and_operation_has_its_time():
    assert len(SMALL["models"]) == 8 and len(SMALL["operations"]) == 4
    assert all(times["token"] > 0 and times["forward"] > 0 for times in SMALL["models"].values())
    assert all(time > 0 for time in SMALL["operations"].values())


def test_bits_are_kept_where_layers_are_put_back():
    bits = SMALL["bits"]
    assert bits["switched_equal"] == bits["base_equal"] == bits["unmerged_equal"] == [True]
    assert 0 < bits["merged_off"][0] < 1e-5
    assert bits["combined_off"][0] < 1e-6 < 0.9 < bits["linear_off"][0] < 1.1
    assert 0 < bits["subtracted_off"][0][0] < bits["subtracted_off"][0][1] < 1e-6


def test_the_adapters_have_the_size_that_is_named():
    model = with_adapters(Config(), ("one",), code="nf4")
    for layer in linear_paths(model).values():
        size = np.linalg.norm(layer.adapters["one"].update()) / np.linalg.norm(layer.base_layer.dense_weight())
        assert size == pytest.approx(SIZE, rel=1e-4)


def test_nothing_is_off_where_nothing_is_added():
    weights = {"w": np.ones((2, 3), np.float32)}
    assert subtracted(weights, {"w": np.zeros((2, 3), np.float32)}, 5) == 0


def test_the_caption_says_when_bits_differ():
    assert "are equal bit for bit" in caption(SMALL)
    other = copy.deepcopy(SMALL)
    other["bits"]["unmerged_equal"] = [False]
    assert "are NOT equal bit for bit" in caption(other)
