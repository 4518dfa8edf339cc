import numpy as np
import pytest

from minilora import Llama, generate
from minilora.nn.generate import sample


@pytest.mark.parametrize("batch", [1, 3])
def test_greedy_with_cache_equals_greedy_without(rng, config, batch):
    model = Llama(config, rng=rng)
    ids = rng.integers(0, 37, (batch, 4))
    with_cache = generate(model, ids, 20)
    np.testing.assert_array_equal(with_cache, generate(model, ids, 20, use_cache=False))
    np.testing.assert_array_equal(with_cache[:, :4], ids)
    assert with_cache.shape == (batch, 24)


def test_greedy_takes_the_largest_logit(make_model, rng):
    model = make_model()
    ids = rng.integers(0, 37, (1, 4))
    out = generate(model, ids, 3)
    logits, _ = model(out[:, :-1])
    np.testing.assert_array_equal(np.argmax(logits[0, 3:], axis=-1), out[0, 4:])


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


def test_a_finished_row_is_filled_with_eos(make_model, rng):
    model = make_model()
    ids = rng.integers(0, 37, (1, 4))
    eos = int(generate(model, ids, 1)[0, -1])
    out = generate(model, np.concatenate([ids, ids]), 6, eos_token_id=eos)
    assert out.shape == (2, 5)
    assert (out[:, 4] == eos).all()


def test_same_seed_same_text(make_model, rng):
    model = make_model()
    ids = rng.integers(0, 37, (2, 4))
    one, two, other = (generate(model, ids, 12, temperature=1.5, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
