import math

import numpy as np
import pytest

from minilora import Llama
from minilora.nn import rope as rope_module
from minilora.nn.rope import rope, rope_frequencies, rope_table

F64 = np.dtype(np.float64)
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def test_linear_scaling_divides_every_position():
    plain = rope_frequencies(8, 100.0)
    np.testing.assert_array_equal(rope_frequencies(8, 100.0, (("rope_type", "linear"), ("factor", 4.0))), plain / 4.0)


def test_llama3_keeps_fast_pairs_divides_slow_ones_and_passes_between():
    plain = rope_frequencies(128, 500000.0)
    scaled = rope_frequencies(128, 500000.0, tuple(LLAMA3.items()))
    wavelength = 2 * math.pi / plain
    fast, slow = wavelength <= 8192 / 4, wavelength >= 8192
    np.testing.assert_array_equal(scaled[fast], plain[fast])
    np.testing.assert_array_equal(scaled[slow], plain[slow] / 8)
    between = (scaled / plain)[~fast & ~slow]
    assert between.size and np.all(np.diff(between) < 0) and between.max() < 1 and between.min() > 1 / 8


@pytest.mark.parametrize("scaling", [{"rope_type": "linear", "factor": 4.0}, LLAMA3])
def test_a_scaled_model_acts_otherwise_and_has_exact_gradients(check, rng, make_model, scaling):
    # theta and context are small, so that a model of 5 tokens feels the scaling
    scaling = scaling | ({"original_max_position_embeddings": 16} if scaling["rope_type"] == "llama3" else {})
    model = make_model(rope_scaling=scaling, rope_theta=50.0)
    ids = rng.integers(0, 37, (2, 5))
    plain = Llama(make_model(rope_theta=50.0).config, rng=np.random.default_rng(0), dtype=np.float64)
    for ours, theirs in zip(plain.parameters(), model.parameters(), strict=True):
        ours.value[...] = theirs.value
    assert np.abs(model(ids)[0] - plain(ids)[0]).max() > 1e-3
    check(model, ids)


def test_rope(check, rng):
    cos, sin = rope_table(6, 8, 10000.0, F64)
    check(lambda x: rope(x, cos, sin), rng.standard_normal((2, 3, 6, 8)))


def test_rope_depends_on_distance_alone(rng):
    cos, sin = rope_table(40, 8, 10000.0, F64)
    q, k = rng.standard_normal((2, 8))

    def score(i, j):
        rotated_q, _ = rope(q[None], cos[i : i + 1], sin[i : i + 1])
        rotated_k, _ = rope(k[None], cos[j : j + 1], sin[j : j + 1])
        return float((rotated_q * rotated_k).sum())

    assert score(7, 3) == pytest.approx(score(30, 26), rel=1e-10)


def test_pairs_are_half_a_head_apart_and_turn_at_their_own_rates():
    cos, sin = rope_table(4, 4, 100.0, F64)
    np.testing.assert_allclose(cos[3], np.cos([3.0, 0.3]))  # theta^(0), theta^(-2/4) = 1/10
    y, _ = rope(np.array([[1.0, 0, 0, 0], [0, 1, 0, 0]]), cos[3], sin[3])
    np.testing.assert_allclose(y[0], [np.cos(3.0), 0, np.sin(3.0), 0])
    np.testing.assert_allclose(y[1], [0, np.cos(0.3), 0, np.sin(0.3)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_table_grows_and_keeps_its_values(dtype):
    dtype = np.dtype(dtype)
    short = [part.copy() for part in rope_table(5, 6, 777.0, dtype)]
    long = rope_table(3000, 6, 777.0, dtype)
    assert long[0].shape == (3000, 3) and {part.dtype for part in long} == {dtype}
    for length in (1, 5, 64, 65, 2999):
        for part, whole in zip(rope_table(length, 6, 777.0, dtype), long, strict=True):
            assert np.shares_memory(part, whole) and len(part) == length
    for part, whole in zip(short, long, strict=True):
        np.testing.assert_array_equal(part, whole[:5])
    with pytest.raises(ValueError, match="read-only"):
        long[0][0] = 0


def test_a_model_asks_for_tables_of_its_own_dtype(make_model, monkeypatch):
    monkeypatch.setattr(rope_module, "_TABLES", {})
    make_model(np.float32)(np.array([[1, 2, 3]]))
    assert {key[2] for key in rope_module._TABLES} == {np.dtype(np.float32)}
