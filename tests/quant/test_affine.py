"""Affine int4: both ends of a block are kept, at any size of block and any size of number."""

import numpy as np
import pytest

from minilora import quantize
from minilora.quant.affine import AFFINE, AFFINE_BOOK, quantize_affine


def test_both_ends_of_a_block_are_kept(rng):
    w = rng.uniform(3, 5, 256).astype(np.float32)
    back = quantize(w, AFFINE, block_size=256).dequantize()
    assert back.min() == w.min() and back.max() == pytest.approx(w.max(), rel=1e-6)
    assert np.abs(back - w).max() <= (w.max() - w.min()) / 30 * 1.001


def test_two_floats_per_block_are_paid_for():
    q = quantize(np.ones(256, np.float32), AFFINE, block_size=64)
    assert q.bits_per_param == 4 + 2 * 32 / 64
    assert q.nbytes == q.packed.nbytes + q.scales.nbytes + q.minima.nbytes


@pytest.mark.parametrize("block_size", [1, 3, 8, 16, 48, 100, 500])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_error_is_half_a_step_in_any_block_size(rng, block_size, dtype):
    w = rng.standard_normal(201).astype(dtype)
    q = quantize(w, AFFINE, block_size=block_size)
    back = q.dequantize()
    for block, start in enumerate(range(0, 201, block_size)):
        before, after = w[start : start + block_size], back[start : start + block_size]
        assert np.abs(before - after).max() <= np.ptp(before) / 30 * 1.001 + 1e-7
        assert q.minima[block] == before.min().astype(np.float32)
        assert q.scales[block] == pytest.approx(np.ptp(before), abs=1e-6)


def test_the_levels_are_sixteen_even_steps():
    steps = np.arange(16, dtype=np.float32)
    q = quantize(steps - 5, AFFINE, block_size=16)
    np.testing.assert_array_equal(q.codes(), np.arange(16))
    np.testing.assert_allclose(q.dequantize(), steps - 5, atol=1e-6)
    np.testing.assert_array_equal(AFFINE_BOOK.levels, steps / np.float32(15))


def test_a_constant_block_is_exact():
    w = np.full(70, -2.5, np.float32)
    np.testing.assert_array_equal(quantize(w, AFFINE).dequantize(), w)


@pytest.mark.parametrize("size", [1e-45, 1e-40, 1e-38, 1e-30, 1.0, 1e30, 1.7e38])
def test_no_size_of_number_gives_nan(size):
    w = np.linspace(-size, size, 64).astype(np.float32)
    back = quantize(w, AFFINE, block_size=64).dequantize()
    assert np.isfinite(back).all()
    assert np.abs(back - w).max() <= max(2 * float(size) / 30 * 1.001, 1e-44)


def test_large_numbers_of_one_sign_fit():
    w = np.linspace(1e38, 3.4e38, 64).astype(np.float32)
    back = quantize(w, AFFINE).dequantize()
    assert np.abs(back / w - 1).max() < 2.4e38 / 30 / 1e38


@pytest.mark.parametrize("n", [64, 70, 7])
def test_a_span_beyond_float32_is_refused(n):
    w = np.zeros(n, np.float32)
    w[-1], w[-2] = 3e38, -3e38
    with pytest.raises(
        ValueError, match=r"w must have max - min below 3.4e38 in every block.*got 6e\+38; scale it down"
    ):
        quantize(w, AFFINE)


def test_an_odd_length_is_filled_with_code_0():
    packed, spans, minima = quantize_affine(np.array([0.0, 1.0, 2.0]), 2)
    np.testing.assert_array_equal(packed, [0x0F, 0x00])
    np.testing.assert_array_equal((spans, minima), [[1, 0], [0, 2]])
