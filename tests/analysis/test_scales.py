"""What scales cost."""

import numpy as np
import pytest

from minilora import quantize
from minilora.analysis.scales import LLAMA, linear_gigabytes, scale_bits


def test_scale_bits_are_counted_from_what_is_stored():
    w = np.ones((64, 64), np.float32)
    assert scale_bits(quantize(w)) == 0.5
    assert scale_bits(quantize(w, double_quant=True)) == 0.140625


@pytest.mark.parametrize(
    ("name", "hidden", "intermediate", "layers"),
    [("7B", 4096, 11008, 32), ("13B", 5120, 13824, 40), ("33B", 6656, 17920, 60), ("65B", 8192, 22016, 80)],
)
def test_llamas_linear_layers(name, hidden, intermediate, layers):
    size = linear_gigabytes(LLAMA[name])
    assert size["parameters"] == layers * (4 * hidden**2 + 3 * hidden * intermediate)
    assert size["float16"] == 4 * size["codes"] == pytest.approx(size["parameters"] * 2 / 1e9)
    assert size["codes"] / size["single"] == pytest.approx(8)
    assert size["single"] - size["double"] == pytest.approx(size["parameters"] * 0.373046875 / 8e9)
