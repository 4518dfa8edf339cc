import numpy as np
import pytest

from minilora.nn import fast, ops


def test_linear(check, rng):
    check(ops.linear, rng.standard_normal((2, 3, 5)), rng.standard_normal((4, 5)))


def test_linear_frozen(check, rng):
    weight = rng.standard_normal((4, 5))
    check(lambda x: ops.linear_frozen(x, weight), rng.standard_normal((2, 3, 5)))


def test_embedding(check, rng):
    ids = np.array([[1, 2, 1], [0, 6, 1]])  # a repeated id: its rows must be summed
    check(lambda w: ops.embedding(ids, w), rng.standard_normal((7, 4)))


def test_rms_norm(check, rng):
    check(lambda x, g: ops.rms_norm(x, g, 1e-5), rng.standard_normal((2, 3, 8)), rng.standard_normal(8))


def test_silu(check, rng):
    check(ops.silu, 3 * rng.standard_normal((4, 5)))


@pytest.mark.parametrize(("H", "K", "T", "S"), [(4, 2, 5, 5), (4, 1, 3, 7), (2, 2, 1, 1), (6, 3, 1, 4)])
def test_causal_attention(check, rng, H, K, T, S):
    check(
        ops.causal_attention,
        rng.standard_normal((2, H, T, 4)),
        rng.standard_normal((2, K, S, 4)),
        rng.standard_normal((2, K, S, 4)),
    )


@pytest.mark.parametrize("attention", [ops.causal_attention, fast.causal_attention])
@pytest.mark.parametrize(("H", "K", "T", "S"), [(4, 2, 5, 5), (6, 2, 3, 7), (3, 3, 4, 4)])
def test_attention_is_the_papers_formula_head_by_head(rng, attention, H, K, T, S):
    """softmax(q kᵀ / sqrt(d)) v of every query by itself: the scale is the head's, not the group's."""
    q, k, v = (rng.standard_normal((2, heads, length, 4)) for heads, length in ((H, T), (K, S), (K, S)))
    y, _ = attention(q, k, v)
    for b, h, t in np.ndindex(2, H, T):
        seen, group = S - T + t + 1, h // (H // K)
        scores = k[b, group, :seen] @ q[b, h, t] / np.sqrt(4)
        p = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(y[b, h, t], p @ v[b, group, :seen], rtol=1e-12)


@pytest.mark.parametrize("attention", [ops.causal_attention, fast.causal_attention])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_takes_off_its_maximum(attention, dtype):
    """exp(2000) overflows in either dtype; and so that nothing underflows to 0 / 0, exp(-2000) next to it."""
    q = np.full((1, 1, 2, 4), 1000.0, dtype)
    k = np.stack([np.full(4, 1.0), np.full(4, -1.0)])[None, None].astype(dtype)
    v = np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]], dtype)[None, None]
    for sign in (1, -1):
        y, _ = attention(sign * q, k, v)
        np.testing.assert_array_equal(y[0, 0, 1], v[0, 0, 0] if sign > 0 else v[0, 0, 1])
        np.testing.assert_array_equal(y[0, 0, 0], v[0, 0, 0])


def test_attention_looks_only_back(rng):
    q, k, v = (rng.standard_normal((1, 2, 6, 4)) for _ in range(3))
    before, _ = ops.causal_attention(q, k, v)
    k[:, :, 4:], v[:, :, 4:] = 9.0, -9.0  # the future changes ...
    after, _ = ops.causal_attention(q, k, v)
    np.testing.assert_array_equal(before[:, :, :4], after[:, :, :4])  # ... the past does not see it
    assert not np.array_equal(before[:, :, 4:], after[:, :, 4:])


def test_cross_entropy(check, rng):
    labels = np.array([[1, -100, 4], [0, 2, -100]])
    check(lambda z: ops.cross_entropy(z, labels), rng.standard_normal((2, 3, 5)))


def test_cross_entropy_ignores(rng):
    z, labels = rng.standard_normal((4, 5)), np.array([1, -100, 4, -100])
    loss, backward = ops.cross_entropy(z, labels)
    alone, _ = ops.cross_entropy(z[[0, 2]], labels[[0, 2]])
    assert loss == alone
    assert not backward()[[1, 3]].any()
    assert ops.cross_entropy(np.full((1, 8), 1e4), np.array([3]))[0] == pytest.approx(np.log(8))


def test_dropout_keeps_the_mean_and_replays(rng):
    x = np.ones((400, 400))
    y, backward = ops.dropout(x, 0.25, np.random.default_rng(1))
    share = np.mean(y == 0)
    assert abs(share - 0.25) < 5 * np.sqrt(0.25 * 0.75 / x.size)  # five sigma
    assert set(np.unique(y)) == {0.0, 1 / 0.75}
    np.testing.assert_array_equal(backward(x), y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_in_dtype_out(rng, dtype):
    x, g = rng.standard_normal((2, 3, 8)).astype(dtype), np.ones(8, dtype)
    y, backward = ops.rms_norm(x, g, 1e-5)
    assert {a.dtype for a in (y, *backward(y))} == {np.dtype(dtype)}
    y, backward = ops.silu(x)
    assert {y.dtype, backward(y).dtype} == {np.dtype(dtype)}
    loss, backward = ops.cross_entropy(x, np.zeros((2, 3), int))
    assert {loss.dtype, backward(np.float64(2)).dtype} == {np.dtype(dtype)}
    q = x.reshape(1, 2, 3, 8)
    y, backward = ops.causal_attention(q, q, q)
    assert {a.dtype for a in (y, *backward(y))} == {np.dtype(dtype)}
