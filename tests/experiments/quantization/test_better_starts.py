"""Starts over few bits, in miniature."""

from dataclasses import replace

import pytest

from minilora.adapters import LoftQConfig, QuantizedLinear
from minilora.adapters.lora_linear import lora_layers
from minilora.experiments.finetuning import prepared
from minilora.experiments.quantization.better_starts import PLAIN, STARTS, Config, at_start, one_run, run, started

SMALL = Config(r=4, rounds=(1, 2), batch_size=4, steps=2, eval_steps=1, windows=2)


def test_every_side_is_swept_and_runs_all_seeds_and_every_start_is_measured_after_each_number_of_rounds():
    asked = []

    def each(function, items):
        items = list(items)
        if function is at_start:
            return [{"error": rounds / 10, "losses": [1.0 + rounds, 2.0 + rounds]} for *_, rounds, _ in items]
        asked.extend(items)
        curve = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}]
        best = {item: abs(item.learning_rate - one_rate(item)) for item in items}
        return [{"loss": best[item], "exact": 0.5, "before": 6.0, "curve": curve} for item in items]

    def one_rate(side):
        return 0.003 if "pissa" in dict(side.settings).values() else 0.006

    numbers = run(SMALL, each)
    sides = 3 + 3 + 2  # LoftQ over float32 would be B = 0
    assert len(asked) == len(set(asked)) == sides * (3 + 4)
    assert {code: list(starts) for code, starts in numbers["sides"].items()} == {
        "nf4": list(STARTS),
        "nf2": list(STARTS),
        "float32": [PLAIN, "PiSSA"],
    }
    for starts in numbers["sides"].values():
        assert {start: found["best"] for start, found in starts.items()}.items() <= {
            PLAIN: 0.006, "LoftQ": 0.006, "PiSSA": 0.003,
        }.items()  # fmt: skip
        assert all(found["loss"] == [0.0] * 5 and found["curve"] == [[3.0, 2.0]] * 5 for found in starts.values())
    assert numbers["starts"]["nf2"][PLAIN] == {"error": [0.0], "change": [0.0], "standard_error": [0.0]}
    assert numbers["starts"]["nf2"]["LoftQ"]["error"] == [0.1, 0.2]
    assert numbers["starts"]["nf4"]["PiSSA"]["change"] == [1.0, 2.0]


@pytest.mark.parametrize("code", SMALL.codes)
def test_the_base_is_quantized_once_by_the_start_or_before_it(code):
    for start in started(code):
        side = one_run(SMALL, code, start)
        config = dict(side.settings)
        within = start != PLAIN
        assert config.get("init_lora_weights", True) == STARTS[start]
        assert config.get("loftq_config") == (LoftQConfig(loftq_iter=2, code=code) if within and code else None)
        assert side.code == (None if within else code)


def test_loftq_and_pissa_start_nearer_than_a_zero_b_and_more_rounds_nearer_still():
    errors = {
        (start, rounds): at_start(("nf2", start, rounds, SMALL))["error"]
        for start, rounds in ((PLAIN, 0), ("LoftQ", 1), ("LoftQ", 2), ("PiSSA", 1))
    }
    assert errors["LoftQ", 2] < errors["LoftQ", 1] < errors[PLAIN, 0]
    assert errors["PiSSA", 1] < errors[PLAIN, 0]


def test_a_zero_b_over_floats_is_the_base_itself():
    found = at_start((None, PLAIN, 0, SMALL))
    assert found["error"] == 0 and len(found["losses"]) == 2


def test_what_acts_beneath_a_start_is_in_the_code():
    model, _ = prepared(replace(one_run(SMALL, "nf2", "LoftQ"), n_train=4, n_eval=4))
    for layer in lora_layers(model).values():
        beneath = layer.acting.beneath(layer.base_layer)
        assert isinstance(beneath, QuantizedLinear) and beneath.q.code == "nf2"
