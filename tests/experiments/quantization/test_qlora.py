"""LoRA over each storage of the base, in miniature."""

from dataclasses import replace

import pytest

from minilora.adapters import QuantizedLinear, linear_paths
from minilora.analysis.memory import Setup, weight_bytes
from minilora.assets import load_base
from minilora.experiments.finetuning import prepared
from minilora.experiments.own_text import train_on_text
from minilora.experiments.quantization.qlora import (
    Config,
    Storage,
    Study,
    base_alone,
    one_run,
    quantized,
    run,
    trained,
)

FLOAT, NF4, DOUBLE, NF2 = Storage(), Storage("nf4"), Storage("nf4", double_quant=True), Storage("nf2")
STUDY = Study("roman", 2, 0.004, 8, storages=(FLOAT, NF4, DOUBLE, NF2), eval_steps=4)
SMALL = Config(studies=(STUDY,), seeds=(0, 1), windows=2)


def stand_in(asked):
    """Runs whose loss grows with the distance from a best rate: 0.004 in floats and NF4, 0.002 in NF2."""

    def each(function, items):
        items = list(items)
        if function is base_alone:
            return [{"bytes": 1, "bits": 4.0, "losses": [1.0 + 2.0 * (s.code == "nf2"), 3.0]} for s, _ in items]
        if function is train_on_text:
            return [{"before": 2.0, "loss": abs(item.learning_rate / 0.003 - 1) + item.seed} for item in items]
        asked.extend(items)
        return [
            {
                "loss": abs(item.learning_rate / (0.002 if item.code == "nf2" else 0.004) - 1) + item.seed,
                "exact": item.learning_rate,
                "before": 5.0,
                "parameters": item.steps,
                "curve": [{"step": 4, "loss": 2.0}, {"step": 8, "loss": 1.0 + item.seed}],
            }
            for item in items
        ]

    return each


def test_each_storage_trains_all_seeds_at_its_own_best_rate():
    asked = []
    numbers = run(SMALL, stand_in(asked))
    assert len(asked) == len(set(asked)) == 3 * (3 + 1) + (4 + 1)  # NF2 goes on beyond its end
    study = numbers["studies"]["roman, r = 2"]
    best = {name: found["best"] for name, found in study["storages"].items()}
    assert best == {"float32": 0.004, "nf4": 0.004, "nf4 double": 0.004, "nf2": 0.002}
    assert study["storages"]["nf2"]["rates"] == [0.001, 0.002, 0.004, 0.008]
    assert study["storages"]["nf4 double"]["rates"] == [0.002, 0.004, 0.008]
    for found in study["storages"].values():
        assert found["loss"] == [0, 1] and found["exact"] == [found["best"]] * 2
        assert found["curve"] == [[2.0, 1.0], [2.0, 2.0]]
    assert study["steps_read"] == [4, 8]
    assert list(numbers["own_text"]["storages"]) == ["float32", "nf4", "nf2"]
    assert numbers["own_text"]["storages"]["nf2"]["loss"] == [0, 1]
    assert numbers["bases"]["nf2"]["text"] == {"change": 1.0, "standard_error": pytest.approx(1.0)}
    assert numbers["bases"]["nf4"]["text"] == {"change": 0.0, "standard_error": 0.0}


def test_where_rates_are_close_all_seeds_decide():
    def each(function, items):
        losses = {(0.002, 0): 1.1, (0.004, 0): 1.0, (0.008, 0): 1.3, (0.002, 1): 0.5, (0.004, 1): 2.0}
        return [
            dict.fromkeys(("exact", "before", "parameters"), 0)
            | {"loss": losses[item.learning_rate, item.seed], "curve": []}
            for item in items
        ]

    found = trained(replace(SMALL, studies=(replace(STUDY, storages=(NF4,)),)), each)["roman, r = 2"]["storages"]["nf4"]
    assert (found["best"], found["loss"], found["sweep"]) == (0.002, [1.1, 0.5], [1.1, 1.0, 1.3])


@pytest.mark.parametrize("storage", STUDY.storages, ids=lambda storage: storage.name)
def test_a_run_trains_over_what_its_storage_says(storage):
    model, _ = prepared(replace(one_run(STUDY, storage, SMALL), n_train=16, n_eval=8))
    for layer in linear_paths(model).values():
        assert isinstance(layer.base_layer, QuantizedLinear) == bool(storage.code)
        if storage.code:
            assert (layer.base_layer.q.code, layer.base_layer.q.double_quant) == (storage.code, storage.double_quant)
        assert layer.lora_A.shape[0] == 2 and layer.scaling == 1.0


@pytest.mark.parametrize("storage", (FLOAT, DOUBLE, NF2), ids=lambda storage: storage.name)
def test_counted_bytes_are_those_of_the_formula(storage):
    config = load_base().config
    found = base_alone((storage, 2))
    assert found["bytes"] == weight_bytes(Setup(config, code=storage.code, double_quant=storage.double_quant))
    low, high = {"float32": (32, 32), "nf4 double": (4.127, 4.15), "nf2": (2.5, 2.5)}[storage.name]
    assert low <= found["bits"] <= high and len(found["losses"]) == 2


def test_two_bits_take_more_than_four_and_without_a_code_the_model_is_as_it_was():
    losses = [sum(base_alone((storage, 2))["losses"]) for storage in (FLOAT, NF4, NF2)]
    assert losses[0] < losses[2] and abs(losses[1] - losses[0]) < 0.1 * (losses[2] - losses[0])
    assert not any(isinstance(layer, QuantizedLinear) for layer in linear_paths(quantized(load_base(), FLOAT)).values())
