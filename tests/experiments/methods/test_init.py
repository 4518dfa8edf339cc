"""What starts random: the gradients that it must and must not give."""

from dataclasses import replace

import numpy as np
import pytest

from minilora.experiments.finetuning import prepared
from minilora.experiments.methods.init import STARTS, Config, InitRun, draw, parts, run, train_from

SMALL = InitRun("dates", 1e-3, 0, steps=2, batch_size=4, n_train=16, n_eval=8)


@pytest.mark.parametrize("start", STARTS)
def test_only_what_is_random_is_drawn_within_its_fan_in(start):
    model, _ = prepared(SMALL)
    draw(model, start, np.random.default_rng(0))
    for part in parts(model):
        for name in ("lora_A", "lora_B"):
            matrix = getattr(part, name).value
            assert matrix.any() == (name in STARTS[start])
            assert np.abs(matrix).max() <= matrix.shape[1] ** -0.5


def test_what_is_zero_gives_the_other_no_gradient_at_first():
    gradients = {start: train_from(replace(SMALL, start=start))["gradient"] for start in STARTS}
    assert all(len(norms) == 2 for gradient in gradients.values() for norms in gradient.values())
    assert gradients["A random"]["lora_A"][0] == 0 < gradients["A random"]["lora_B"][0]
    assert gradients["B random"]["lora_B"][0] == 0 < gradients["B random"]["lora_A"][0]
    assert min(gradients["both random"]["lora_A"][0], gradients["both random"]["lora_B"][0]) > 0
    assert gradients["both zero"] == {"lora_A": [0, 0], "lora_B": [0, 0]}
    assert gradients["A random"]["lora_A"][1] > 0  # once B has moved


def test_gradients_are_those_before_clipping():
    free, clipped = (train_from(replace(SMALL, steps=1, max_grad_norm=norm)) for norm in (1e9, 1e-3))
    assert free["gradient"]["lora_B"] == pytest.approx(clipped["gradient"]["lora_B"], rel=1e-4)


def test_both_zero_learns_nothing_and_is_not_swept():
    result = train_from(replace(SMALL, start="both zero"))
    assert result["loss"] == result["before"]
    asked = []

    def each(function, items):
        asked.extend(items)
        flat = {"exact": 0.0, "before": 2.0, "gradient": {"lora_A": [0.0] * 20, "lora_B": [1.0] * 20}}
        return [flat | {"loss": 2.0} for _ in items]

    config = Config()
    numbers = run(config, each)
    assert len(set(asked)) == len(asked) == 3 * (3 + len(config.seeds) - 1) + len(config.seeds)
    assert [len(entry["rates"]) for entry in numbers["starts"].values()] == [3, 3, 3, 1]
    for entry in numbers["starts"].values():
        assert len(entry["gradient"]["lora_A"]) == config.first and len(entry["loss"]) == len(config.seeds)
