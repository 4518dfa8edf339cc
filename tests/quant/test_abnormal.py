"""AF4 is derived, not copied: the derivation gives the published table."""

import numpy as np
import pytest

from minilora import codebook
from minilora.quant.abnormal import abnormal_float, scaled_law

# Yoshida 2023, arXiv 2306.06965, the table of AF4-64
PUBLISHED = [-1.0, -0.69441008, -0.51243739, -0.3736951, -0.25607552, -0.14982478, -0.04934812, 0.0,
             0.04273164, 0.12934483, 0.21961274, 0.31675666, 0.42563882, 0.55496234, 0.72424863, 1.0]  # fmt: skip


def mean_absolute_error(levels, values):
    nearest = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, values)]
    return np.abs(nearest - values).mean()


def scaled_normal(block_size, n=2**20):
    w = np.random.default_rng(0).standard_normal((n // block_size, block_size))
    return (w / np.abs(w).max(axis=1, keepdims=True)).ravel()


def test_the_published_table_bit_for_bit():
    assert np.array_equal(abnormal_float(64), np.array(PUBLISHED, np.float32))
    assert np.array_equal(codebook("af4"), abnormal_float(64))


@pytest.mark.parametrize("block_size", [2, 16, 64])
def test_the_law_is_that_of_simulated_blocks(block_size):
    y, probability = scaled_law(block_size)
    values = scaled_normal(block_size)
    inside = values[(np.abs(values) < 1) & (values > 0)]
    measured = np.searchsorted(np.sort(inside), y[:-1], "right") / (2 * inside.size)
    assert np.abs(measured - probability[:-1]).max() < 4 * 0.5 / np.sqrt(inside.size)  # four standard errors


def test_with_zero_as_a_value_it_is_the_best_code_and_nf4_comes_close():
    values = scaled_normal(64)
    best, edge, nf4 = (
        mean_absolute_error(levels, values)
        for levels in (abnormal_float(zero="value"), abnormal_float(), codebook("nf4"))
    )
    assert best < nf4 < 1.001 * best
    assert edge > 1.02 * nf4


def test_best_code_cannot_be_improved_by_moving_a_value():
    values, best = scaled_normal(64), abnormal_float(zero="value")
    least = mean_absolute_error(best, values)
    for i in [1, 4, 6, 8, 11, 14]:
        for step in (-0.01, 0.01):
            moved = best.copy()
            moved[i] += step
            assert mean_absolute_error(moved, values) > least


@pytest.mark.parametrize(
    ("arguments", "match"), [((1,), "^block_size must"), ((64, "none"), "^zero must"), ((2.5,), "^block_size must")]
)
def test_errors(arguments, match):
    with pytest.raises((TypeError, ValueError), match=match):
        abnormal_float(*arguments)
