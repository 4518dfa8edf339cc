"""What scales cost, by formula and counted."""

import pytest

from minilora.experiments.quantization.scale_memory import Config, run


def test_formula_count_and_error_agree():
    numbers = run(Config(shapes=((64, 64), (512, 512))))
    assert numbers["headline"] == {"single": 0.5, "double": 0.126953125}
    assert numbers["counted"]["64x64"]["double"] == 0.140625
    assert all(entry["single"] == 0.5 for entry in numbers["counted"].values())
    seven = numbers["gigabytes"]["7B"]
    assert seven["single"] - seven["double"] == pytest.approx(seven["parameters"] * 0.373046875 / 8e9)
    assert numbers["error"]["none"] < numbers["error"]["dynamic"] < 1.01 * numbers["error"]["none"]
