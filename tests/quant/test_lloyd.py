import numpy as np
import pytest

from minilora.quant import codebook
from minilora.quant.lloyd import code_error, lloyd, scale_blocks


@pytest.fixture
def scaled(rng):
    return scale_blocks(rng.standard_normal(2**16).astype(np.float32), 64)


def test_scaled_blocks_have_an_end_at_one(rng):
    w = rng.standard_normal((5, 30)).astype(np.float32)
    x, weight = scale_blocks(w, 10)
    np.testing.assert_allclose(x * weight, w.reshape(-1), rtol=1e-6)
    assert (np.abs(x.reshape(-1, 10)).max(axis=1) == 1).all()
    x, weight = scale_blocks(w, 10, signed=True)
    assert (x.reshape(-1, 10).max(axis=1) == 1).all() and x.min() > -1
    np.testing.assert_allclose(np.abs(x * weight), np.abs(w.reshape(-1)), rtol=1e-6)


@pytest.mark.parametrize("power", [1, 2])
def test_no_free_level_can_be_moved_to_advantage(scaled, power):
    levels = lloyd(*scaled, codebook("nf4"), power=power)
    least = code_error(*scaled, levels, power)
    assert least < code_error(*scaled, codebook("nf4"), power)
    for i in set(range(16)) - {0, 7, 15}:
        for step in (-3e-3, 3e-3):
            moved = levels.copy()
            moved[i] += step
            assert code_error(*scaled, moved, power) > least
    assert {-1.0, 0.0, 1.0} <= set(levels)


def test_how_far_nf4_is_from_the_best_code(scaled):
    """Mean absolute error: next to nothing to gain; RMS: 2.8 %, with a signed absmax 6.7 % (facts; BOF4)."""
    for power, gain in ((1, 0.0003), (2, 0.028)):
        ratio = code_error(*scaled, lloyd(*scaled, codebook("nf4"), power=power), power) / code_error(
            *scaled, codebook("nf4"), power
        )
        assert ratio == pytest.approx(1 - gain, abs=4e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, m: lloyd(x, m, codebook("nf4")[1:]), "start.*pinned"),
        (lambda x, m: lloyd(x, m, codebook("nf4"), power=3), "power.*3"),
        (lambda x, m: scale_blocks(x.astype(np.float32), 0), "block_size.*0"),
    ],
)
def test_errors(scaled, call, message):
    with pytest.raises(ValueError, match=message):
        call(*scaled)


def test_a_level_is_the_mean_of_all_that_is_nearest_to_it():
    """Four values on the left of the edge, two on the right: weighted by the square of what an error of them costs."""
    x, weight = np.array([0.1, -0.5, 0.0, 0.9, -0.1, 1.0]), np.array([1.0, 3.0, 1.0, 2.0, 1.0, 1.0])
    levels = lloyd(x, weight, np.array([-0.3, 0.7]), pinned=())
    left, right = (9 * -0.5 + 0.0) / 12, (4 * 0.9 + 1.0) / 5
    np.testing.assert_allclose(levels, [left, right], rtol=1e-12)


def test_weights_are_summed_in_float64(scaled):
    x, weight = scaled
    for power in (1, 2):
        single = weight.astype(np.float32)
        np.testing.assert_array_equal(
            lloyd(x, single, codebook("nf4"), power=power),
            lloyd(x, single.astype(np.float64), codebook("nf4"), power=power),
        )
