"""Each fast function equals its plain twin, forward and backward, however it is cut into blocks and shared among threads."""

import numpy as np
import pytest

from minilora import LoraConfig, apply_lora
from minilora.nn import fast, ops, rope

SHAPES = {
    "grouped heads": (2, 4, 2, 9, 9),
    "one key/value head": (3, 4, 1, 8, 8),
    "all heads": (1, 2, 2, 5, 5),
    "keys from a cache": (2, 6, 3, 7, 12),
    "one query": (2, 4, 2, 1, 5),
    "one position": (1, 2, 1, 1, 1),
}


@pytest.fixture(params=["one block", "many blocks", "many blocks, two threads"])
def cut(request, monkeypatch):
    """Small blocks, so that small arrays have many of them."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2" if "two threads" in request.param else "1")
    if request.param != "one block":
        for name, value in (("QUERIES", 3), ("VALUES", 40), ("ROWS", 2)):
            monkeypatch.setattr(fast, name, value)


def arrays(rng, B, H, K, T, S, d=4, dtype=np.float64):
    q, dy = rng.standard_normal((2, B, H, T, d)).astype(dtype)
    k, v = rng.standard_normal((2, B, K, S, d)).astype(dtype)
    return q, k, v, dy


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("keep", [0, 256], ids=["recomputed", "kept"])
def test_causal_attention(rng, cut, monkeypatch, shape, keep):
    monkeypatch.setattr(fast, "KEEP_UP_TO", keep)
    q, k, v, dy = arrays(rng, *shape)
    plain, plain_backward = ops.causal_attention(q, k, v)
    y, backward = fast.causal_attention(q, k, v)
    np.testing.assert_allclose(y, plain, rtol=1e-12, atol=1e-14)
    for one, other in zip(backward(dy), plain_backward(dy), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)
    for one, other in zip(backward(2 * dy), backward(dy), strict=True):  # backward can be asked again
        np.testing.assert_allclose(one, 2 * other, rtol=1e-11, atol=1e-13)


def test_causal_attention_takes_views(rng, cut):
    """As the model hands them over: heads side by side in one array, or the filled part of a cache."""
    qkv = rng.standard_normal((2, 9, 8, 4))
    q, k, v = (part.swapaxes(1, 2) for part in np.split(qkv, (4, 6), axis=2))
    y, backward = fast.causal_attention(q, k, v)
    plain, plain_backward = ops.causal_attention(q, k, v)
    np.testing.assert_allclose(y, plain, rtol=1e-12, atol=1e-14)
    for one, other in zip(backward(q), plain_backward(q), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("keep", [0, 256], ids=["recomputed", "kept"])
def test_causal_attention_gradient(check, rng, cut, monkeypatch, keep):
    monkeypatch.setattr(fast, "KEEP_UP_TO", keep)
    check(fast.causal_attention, *arrays(rng, 2, 4, 2, 7, 9)[:3])


def test_causal_attention_known_already(rng, cut, monkeypatch):
    monkeypatch.setattr(fast, "KEEP_UP_TO", 8)
    q, k, v, dy = arrays(rng, 2, 4, 2, 7, 9)
    memo = []
    y, backward = fast.causal_attention(q, k, v, memo)
    again, backward_again = fast.causal_attention(q, k, v, memo)
    np.testing.assert_array_equal(again, y)
    for one, other in zip(backward_again(dy), backward(dy), strict=True):
        np.testing.assert_array_equal(one, other)
    memo[0][0][...] = 5.0
    assert (fast.causal_attention(q, k, v, memo)[0] == 5.0).all()  # taken, not computed again
    assert len(memo) == 1

    monkeypatch.setattr(fast, "KEEP_UP_TO", 9)  # the exponentials of a short text are kept: nothing to save
    short = []
    fast.causal_attention(q, k, v, short)
    assert short == []


def test_large_scores_do_not_overflow(rng, cut):
    q, k, v, dy = arrays(rng, 1, 2, 1, 6, 6, dtype=np.float32)
    y, backward = fast.causal_attention(1e4 * q, k, v)
    assert np.isfinite(y).all() and all(np.isfinite(part).all() for part in backward(dy))


def test_long_texts_keep_no_scores(rng):
    """What attention holds between forward and backward grows with the text, not with its square."""
    import tracemalloc

    def held(T):
        q, k, v, _ = arrays(rng, 1, 2, 1, T, T, dtype=np.float32)
        tracemalloc.start()
        y, backward = fast.causal_attention(q, k, v)
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        del y, backward
        return size

    assert held(2048) < 2.2 * held(1024)
    assert held(2048) < 2048 * 2048  # bytes; the scores alone are eight times as many


def test_swiglu(check, rng, cut):
    gate_up, dy = rng.standard_normal((2, 7, 10)), rng.standard_normal((2, 7, 5))
    y, backward = fast.swiglu(gate_up)
    a, silu_backward = ops.silu(gate_up[..., :5])
    up = gate_up[..., 5:]
    np.testing.assert_allclose(y, a * up, rtol=1e-13)
    plain = np.concatenate([silu_backward(dy * up), dy * a], axis=-1)
    np.testing.assert_allclose(backward(dy), plain, rtol=1e-12, atol=1e-15)
    check(fast.swiglu, gate_up)


@pytest.mark.parametrize("texts", [1, 3])
def test_rope(check, rng, cut, texts):
    """A batch is cut by its texts, a single text by its positions."""
    x, dy = rng.standard_normal((2, texts, 2, 5, 6))
    cos, sin = rope.rope_table(5, 6, 1e4, x.dtype)
    y, backward = fast.rope(x, cos, sin)
    plain, plain_backward = rope.rope(x, cos, sin)
    assert np.array_equal(y, plain) and np.array_equal(backward(dy), plain_backward(dy))
    check(lambda x: fast.rope(x, cos, sin), x)


def test_rms_norm(check, rng, cut):
    (x, dy), gain = rng.standard_normal((2, 2, 7, 10)), rng.standard_normal(10)
    y, backward = fast.rms_norm(x, gain, 1e-5)
    plain, plain_backward = ops.rms_norm(x, gain, 1e-5)
    assert np.array_equal(y, plain)
    for one, other in zip(backward(dy), plain_backward(dy), strict=True):
        assert np.array_equal(one, other)
    dx, dgain = fast.rms_norm(x, gain, 1e-5, learns=False)[1](dy)
    assert np.array_equal(dx, plain_backward(dy)[0]) and dgain is None
    check(lambda x, gain: fast.rms_norm(x, gain, 1e-5), x, gain)


@pytest.mark.parametrize("shape", [(5, 4), (2, 3, 4), (1, 4)])
def test_linear(check, rng, cut, monkeypatch, shape):
    monkeypatch.setattr(fast, "PRODUCTS_PAY", 0)
    monkeypatch.setattr(fast, "blas_threads", lambda: 1)
    x, weight, dy = rng.standard_normal(shape), rng.standard_normal((6, 4)), rng.standard_normal((*shape[:-1], 6))
    (y, backward), (plain, plain_backward) = fast.linear(x, weight), ops.linear(x, weight)
    np.testing.assert_allclose(y, plain, rtol=1e-13, atol=1e-15)
    for one, other in zip(backward(dy), plain_backward(dy), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
    frozen, frozen_backward = fast.linear(x, weight, learns=False)
    assert np.array_equal(frozen, y)
    dx, dweight = frozen_backward(dy)
    np.testing.assert_allclose(dx, ops.linear_frozen(x, weight)[1](dy), rtol=1e-12, atol=1e-14)
    assert dweight is None
    check(fast.linear, x, weight)


def test_a_frozen_linear_keeps_no_input(rng):
    x, weight = rng.standard_normal((5, 4)), rng.standard_normal((6, 4))
    _, backward = fast.linear(x, weight, learns=False)
    inside = [cell.cell_contents for cell in backward.__closure__]
    assert not any(isinstance(part, np.ndarray) and part.shape == x.shape for part in inside)


@pytest.mark.parametrize("pay", [0, 2**22], ids=["shared", "too small to share"])
def test_products(rng, cut, monkeypatch, pay):
    monkeypatch.setattr(fast, "PRODUCTS_PAY", pay)
    monkeypatch.setattr(fast, "blas_threads", lambda: 1)
    a, b, c = rng.standard_normal((5, 3)), rng.standard_normal((3, 4)), rng.standard_normal((5, 7))
    ab, ac, empty = np.empty((5, 4)), np.empty((3, 7)), np.empty((0, 4))
    fast.products((a, b, ab), (a.T, c, ac), (a[:0], b, empty))  # by rows, by columns
    np.testing.assert_allclose(ab, a @ b, rtol=1e-13)
    np.testing.assert_allclose(ac, a.T @ c, rtol=1e-13)


@pytest.mark.parametrize(("blas", "items"), [(1, 2), (2, 1), (None, 1)])
def test_products_are_shared_only_where_blas_does_not_share_them(rng, monkeypatch, blas, items):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(fast, "PRODUCTS_PAY", 0)
    monkeypatch.setattr(fast, "blas_threads", lambda: blas)
    seen = []
    monkeypatch.setattr(fast, "in_threads", lambda work, some: seen.append(len(some)))
    fast.products((np.ones((4, 3)), np.ones((3, 2)), np.empty((4, 2))))
    assert seen == [items]


@pytest.mark.parametrize("N", [1, 7])
def test_linear_cross_entropy(check, rng, cut, N):
    x, weight, labels = rng.standard_normal((N, 4)), rng.standard_normal((9, 4)), rng.integers(0, 9, N)
    loss, backward = fast.linear_cross_entropy(x, weight, labels)
    logits, linear_backward = ops.linear(x, weight)
    plain, plain_backward = ops.cross_entropy(logits, labels)
    assert loss == pytest.approx(plain, rel=1e-13)
    for dloss in (1.0, 0.25):
        for one, other in zip(backward(dloss), linear_backward(plain_backward(dloss)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-14)
    check(lambda x, weight: fast.linear_cross_entropy(x, weight, labels), x, weight)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_loss_takes_off_the_maximum(sign):
    """exp(2000) overflows, exp(-2000) would leave 0 / 0: with logits 2000 apart the loss is their difference or 0."""
    x, weight = np.full((2, 1), 1000.0 * sign, np.float32), np.array([[1.0], [-1.0]], np.float32)
    loss, backward = fast.linear_cross_entropy(x, weight, np.array([0, 0]))
    assert loss == (0 if sign > 0 else 2000)
    dx, dweight = backward()
    np.testing.assert_array_equal(dx, np.full((2, 1), 0.0 if sign > 0 else -1.0))
    assert np.isfinite(dweight).all()


def test_the_loss_of_many_rows_is_summed_in_float64():
    """Every row has the loss log 3, so that their mean is that very float32; a float32 sum of them would drift."""
    x, weight = np.zeros((100_000, 2), np.float32), np.ones((3, 2), np.float32)
    loss, _ = fast.linear_cross_entropy(x, weight, np.zeros(100_000, int), ())
    assert loss == np.log(np.float32(3))


def test_linear_cross_entropy_computes_what_is_wanted(rng, cut):
    x, weight, labels = rng.standard_normal((5, 4)), rng.standard_normal((9, 4)), rng.integers(0, 9, 5)
    dx, dweight = fast.linear_cross_entropy(x, weight, labels)[1]()
    for wanted in ((), ("x",), ("weight",)):
        loss, backward = fast.linear_cross_entropy(x, weight, labels, wanted)
        one, other = backward()
        assert (one is None, other is None) == ("x" not in wanted, "weight" not in wanted)
        assert one is None or np.array_equal(one, dx)
        assert other is None or np.array_equal(other, dweight)


@pytest.mark.parametrize("frozen", [False, True], ids=["full", "LoRA"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_models_loss_equals_cross_entropy_of_its_logits(make_model, rng, cut, frozen, tied):
    model = make_model(tie_word_embeddings=tied)
    if frozen:
        apply_lora(model, LoraConfig(r=2, target_modules="all-linear"), rng=rng)
    ids, labels = rng.integers(0, 37, (2, 2, 20))
    labels[0, :15] = -100
    loss, backward = model.loss(ids, labels)
    backward(0.5)
    grads = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    logits, model_backward = model(ids)
    plain, plain_backward = ops.cross_entropy(logits, labels)
    model_backward(plain_backward(0.5))
    assert loss == pytest.approx(plain, rel=1e-13)
    assert model.loss(ids, labels, inference=True)[0] == loss
    for name, p in model.named_parameters():
        if p.trainable:
            np.testing.assert_allclose(grads[name], p.grad, rtol=1e-10, atol=1e-13, err_msg=name)
        else:
            assert grads[name] is None and p.grad is None
