"""Relative errors, by hand."""

import numpy as np
import pytest

from minilora.analysis.error import mean_absolute_error, rms_error

W = np.array([3.0, -4.0])


def test_by_hand():
    off = W + [1.0, -2.0]
    assert rms_error(off, W) == pytest.approx(np.sqrt(2.5) / np.sqrt(12.5))
    assert mean_absolute_error(off, W) == pytest.approx(1.5 / np.sqrt(12.5))
    assert rms_error(W, W) == mean_absolute_error(W, W) == 0


def test_the_unit_is_the_second_argument_and_scale_does_not_matter(rng):
    w = rng.standard_normal((5, 6))
    near = w + 0.1 * rng.standard_normal((5, 6))
    for error in (rms_error, mean_absolute_error):
        assert error(1e3 * near, 1e3 * w) == pytest.approx(error(near, w))
        assert error(2 * w, w) == pytest.approx(2 * error(w, 2 * w))
    assert rms_error(2 * w, w) == pytest.approx(1)


def test_float32_is_computed_in_float64():
    w = np.full(1000, 1e-30, np.float32)  # whose square float32 cannot hold
    assert rms_error(np.float32(1.5) * w, w) == pytest.approx(0.5, rel=1e-6)
    assert type(rms_error(w, w)) is type(mean_absolute_error(w, w)) is float


@pytest.mark.parametrize("error", [rms_error, mean_absolute_error])
def test_refused(error):
    with pytest.raises(ValueError, match=r"approximation must have w's shape \(2,\)"):
        error(np.ones(3), W)
    with pytest.raises(ValueError, match="w must not be all zero"):
        error(W, 0 * W)
    with pytest.raises(TypeError, match="w must be float32 or float64"):
        error(W, np.array([1, 2]))
    with pytest.raises(ValueError, match="approximation must be finite"):
        error(W * np.nan, W)
