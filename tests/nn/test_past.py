import numpy as np
import pytest

from minilora.nn import KVCache, Parameter, Prefix, checkpoint_blocks


def test_what_is_appended_comes_back_in_order(rng):
    cache = KVCache(np.int8(6))
    k, v = rng.standard_normal((2, 2, 3, 6, 4))
    for start, end in ((0, 3), (3, 4), (4, 6)):
        (all_k, all_v), _ = cache.extend(k[:, :, start:end], v[:, :, start:end])
        np.testing.assert_array_equal(all_k, k[:, :, :end])
        np.testing.assert_array_equal(all_v, v[:, :, :end])
        assert (cache.length, cache.batch) == (end, 2)


def test_a_full_cache_refuses_more_and_stays_as_it_is(rng):
    cache = KVCache(3)
    k = rng.standard_normal((1, 1, 2, 4))
    cache.extend(k, k)
    with pytest.raises(ValueError, match="holds 3 positions, got 4"):
        cache.extend(k, k)
    assert cache.length == 2


def test_a_forward_in_pieces_equals_one_forward(make_model, rng):
    model, ids = make_model(), rng.integers(0, 37, (2, 9))
    whole, _ = model(ids)
    cache = [KVCache(9) for _ in model.layers]
    pieces = [model(ids[:, a:b], cache=cache, inference=True)[0] for a, b in ((0, 4), (4, 5), (5, 9))]
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, rtol=1e-10, atol=1e-12)


def test_a_cache_has_no_backward(make_model):
    model = make_model()
    logits, backward = model(np.array([[1, 2]]), cache=[KVCache(4) for _ in model.layers])
    with pytest.raises(ValueError, match="without cache to train"):
        backward(logits)


def used(model, rows=1, length=2):
    cache = [KVCache(4) for _ in model.layers]
    model(np.ones((rows, length), int), cache=cache, inference=True)
    return cache


@pytest.mark.parametrize(
    ("cache", "error", "message"),
    [
        (lambda m: KVCache(4), TypeError, "cache must be a list of KVCache"),
        (lambda m: [None, None], TypeError, "cache must be a list of KVCache"),
        (lambda m: [KVCache(4)], ValueError, "each of 2 layers, got 1"),
        (lambda m: [], ValueError, "each of 2 layers, got 0"),
        (lambda m: [KVCache(4), used(m)[0]], ValueError, r"same length in every layer, got \[0, 2\]"),
        (lambda m: [KVCache(2), KVCache(4)], ValueError, "room for 3 more positions, got 2"),
        (lambda m: used(m), ValueError, "room for 3 more positions, got 2"),
        (lambda m: used(m, rows=2, length=1), ValueError, "as many rows as the cache, 2, got 1"),
    ],
    ids=["one", "not caches", "one layer", "no layer", "uneven", "small", "full", "rows"],
)
def test_a_cache_that_does_not_fit_is_refused_and_unchanged(make_model, cache, error, message):
    model = make_model()
    cache = cache(model)
    before = [layer.length for layer in cache if layer] if isinstance(cache, list) else None
    with pytest.raises(error, match=message):
        model(np.array([[1, 2, 3]]), cache=cache, inference=True)
    assert before is None or before == [layer.length for layer in cache if layer]


def test_only_an_empty_cache_reserves_room(rng):
    cache = KVCache(1)
    cache.reserve(2)
    k = rng.standard_normal((1, 1, 3, 4))
    cache.extend(k, k)
    with pytest.raises(ValueError, match="empty cache can reserve room, got one with 3"):
        cache.reserve(1)


@pytest.fixture
def prefixes(rng):
    def make(model, P=3):
        K, d = model.config.num_key_value_heads, model.config.head_dim
        draws = rng.standard_normal((2 * len(model.layers), K, P, d))
        return [Prefix(Parameter(k), Parameter(v)) for k, v in zip(draws[::2], draws[1::2], strict=True)]

    return make


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_prefix_has_gradients(check, make_model, rng, prefixes, checkpointed):
    model, ids = make_model(), rng.integers(0, 37, (2, 5))
    past = prefixes(model)
    if checkpointed:
        checkpoint_blocks(model)
    for i, prefix in enumerate(past):  # beside the model's own parameters, so that gradcheck walks over them
        setattr(model, f"keys{i}", prefix.keys)
        setattr(model, f"values{i}", prefix.values)
    x = rng.standard_normal((2, 5, 24))
    report = check(lambda x: model.forward_from(x, cache=past), x, module=model)
    assert {"input 0", "keys0", "values1", "norm.weight"} < report.errors.keys()
    assert model(ids)[0].shape == (2, 5, 37)


def test_a_prefix_is_what_a_cache_would_hold(make_model, rng):
    """Keys and values of real tokens, taken as a prefix: the tokens behind them get the same logits."""
    model, ids = make_model(), rng.integers(0, 37, (1, 9))
    whole, _ = model(ids)
    cache = [KVCache(4) for _ in model.layers]
    model(ids[:, :4], cache=cache, inference=True)
    past = []
    for layer in cache:
        (k, v), _ = layer.extend(np.empty((1, 2, 0, 6)), np.empty((1, 2, 0, 6)))
        past.append(Prefix(Parameter(k[0].copy()), Parameter(v[0].copy())))
    x, _ = model.embed_tokens(ids[:, 4:])
    np.testing.assert_allclose(model.forward_from(x, cache=past)[0], whole[:, 4:], rtol=1e-10, atol=1e-12)
