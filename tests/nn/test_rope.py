import math

import numpy as np
import pytest

from minilora import Llama
from minilora.nn.rope import rope_frequencies

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
