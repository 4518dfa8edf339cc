"""What a code does to an array."""

import numpy as np
import pytest

from minilora import quantize
from minilora.analysis.codes import code_errors, outlier_errors, plant_outlier
from minilora.analysis.error import mean_absolute_error, rms_error


@pytest.fixture
def w():
    return np.random.default_rng(1).standard_normal(1024).astype(np.float32)


def test_errors_are_those_of_what_comes_back(w):
    again = quantize(w, "nf4", block_size=32).dequantize()
    assert code_errors(w, "nf4", 32) == {"rms": rms_error(again, w), "mae": mean_absolute_error(again, w)}


def test_planting_leaves_the_original_alone(w):
    planted = plant_outlier(w.reshape(32, 32), 3.0)
    assert planted[0, 0] == 3 and w[0] != 3
    assert np.array_equal(planted.reshape(-1)[1:], w[1:])
    with pytest.raises(TypeError, match="w must be"):
        plant_outlier([1.0], 3.0)


def test_blocks_without_the_outlier_are_the_same_bits(w):
    for code in ("int4", "nf4"):
        with_, without = (quantize(x, code, block_size=64).dequantize() for x in (plant_outlier(w, 50.0), w))
        assert np.array_equal(with_[64:], without[64:])
        assert not np.array_equal(with_[1:64], without[1:64])


def test_outlier_errors_leave_the_outlier_itself_out(w):
    errors = outlier_errors(plant_outlier(w, 1000.0), "int4", 64, 64)
    rms = np.sqrt((w[1:] ** 2).mean())  # all neighbors become 0, so their error is what they were
    assert errors["mae"]["inside"] == pytest.approx(np.abs(w[1:64]).mean() / rms, rel=1e-5)
    assert errors["rms"]["inside"] == pytest.approx(np.sqrt((w[1:64] ** 2).mean()) / rms, rel=1e-5)
    left = quantize(w[64:], "int4", block_size=64).dequantize() - w[64:]
    assert errors["mae"]["outside"] == pytest.approx(np.abs(left).mean() / rms, rel=1e-5)
    assert errors["rms"]["outside"] == pytest.approx(np.sqrt((left**2).mean()) / rms, rel=1e-5)
    with pytest.raises(ValueError, match="neighbors must be"):
        outlier_errors(w, "int4", 64, 1024)
