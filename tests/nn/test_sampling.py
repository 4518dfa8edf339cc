import numpy as np
import pytest

from minilora.nn.sampling import FIRST_GUESS, sample


def by_sorting(logits, *, temperature, top_k=None, top_p=None, rng):
    """The same draw, written plainly: sort the whole vocabulary."""
    z = logits.astype(np.float64) / temperature
    p = np.exp(z - z.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    order = np.argsort(-p, axis=-1, kind="stable")
    ranked = np.take_along_axis(p, order, axis=-1)
    if top_k is not None:
        ranked[:, top_k:] = 0.0
        ranked /= ranked.sum(axis=-1, keepdims=True)
    if top_p is not None:
        before = np.cumsum(ranked, axis=-1) - ranked
        ranked[before >= top_p] = 0.0
        ranked /= ranked.sum(axis=-1, keepdims=True)
    cumulative = np.cumsum(ranked, axis=-1)
    pick = np.sum(cumulative <= rng.random((len(p), 1)) * cumulative[:, -1:], axis=-1)
    return np.take_along_axis(order, pick[:, None], axis=-1)[:, 0]


@pytest.mark.parametrize("spread", [0.0, 0.3, 3.0], ids=["flat", "wide", "peaked"])
@pytest.mark.parametrize(
    "rule",
    [{}, {"top_k": 1}, {"top_k": 40}, {"top_k": 9999}, {"top_p": 0.9}, {"top_p": 1.0}, {"top_k": 300, "top_p": 0.5}],
    ids=str,
)
def test_draws_what_sorting_everything_would_draw(rng, spread, rule):
    logits = spread * rng.standard_normal((64, 5 * FIRST_GUESS)).astype(np.float32)
    logits[32:] = np.round(logits[32:], 1)  # many equal logits: the earlier token goes first
    for temperature in (0.5, 1.0):
        got = sample(logits, temperature=temperature, rng=np.random.default_rng(1), **rule)
        expected = by_sorting(logits, temperature=temperature, rng=np.random.default_rng(1), **rule)
        np.testing.assert_array_equal(got, expected)


class Drawn:
    """An rng that draws one number we choose."""

    def __init__(self, u):
        self.u = u

    def random(self, shape):
        return np.full(shape, self.u)


def test_the_largest_number_below_one_draws_the_last_token():
    logits = np.log(np.full((1, 7), 1 / 7))  # seven sevenths add up to less than 1 in floating point
    assert sample(logits, temperature=1.0, rng=Drawn(np.nextafter(1, 0))) == 6
    assert sample(logits, temperature=1.0, rng=Drawn(0.0)) == 0


def test_a_boundary_belongs_to_the_next_token():
    logits = np.log([[0.5, 0.25, 0.25]])
    assert [int(sample(logits, temperature=1.0, rng=Drawn(u))[0]) for u in (0.49, 0.5, 0.74, 0.75)] == [0, 1, 1, 2]
    assert sample(np.array([[0.0, -np.inf]]), temperature=1.0, rng=Drawn(np.nextafter(1, 0))) == 0


def test_sampling_follows_the_distribution(rng):
    p = np.array([0.5, 0.3, 0.15, 0.05])
    n = 20000
    draws = sample(np.tile(np.log(p), (n, 1)), temperature=1.0, rng=rng)
    share = np.bincount(draws, minlength=4) / n
    assert (np.abs(share - p) < 5 * np.sqrt(p * (1 - p) / n)).all()  # five sigma


def test_temperature_sharpens(rng):
    p = np.array([0.5, 0.3, 0.2])
    draws = sample(np.tile(np.log(p), (20000, 1)), temperature=0.5, rng=rng)
    expected = p**2 / (p**2).sum()
    assert np.abs(np.bincount(draws) / 20000 - expected).max() < 0.02


def test_top_k_and_top_p_cut_the_tail(rng):
    z = np.tile(np.log([0.1, 0.5, 0.05, 0.3, 0.05]), (3000, 1))
    assert set(sample(z, temperature=1.0, top_k=2, rng=rng)) == {1, 3}
    assert set(sample(z, temperature=1.0, top_p=0.79, rng=rng)) == {1, 3}  # .5 is not enough, .5 + .3 is
    assert set(sample(z, temperature=1.0, top_p=0.01, rng=rng)) == {1}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_numbers_are_refused(rng, bad, temperature):
    logits = np.zeros((2, 5), np.float32)
    logits[1, 3] = bad
    with pytest.raises(ValueError, match=f"logits must be finite, got {bad}"):
        sample(logits, temperature=temperature, rng=rng)
