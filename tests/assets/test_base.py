import numpy as np

from minilora import load_base
from minilora.assets import base_provenance, base_sha256
from minilora.assets.base import BASE_PATH
from minilora.data import ByteTokenizer


def test_the_base_is_small_and_says_where_it_came_from():
    assert BASE_PATH.stat().st_size < 3_000_000
    assert 0.9e6 < sum(p.size for p in load_base().parameters()) < 1.1e6
    note = base_provenance()
    assert len(base_sha256()) == len(note["corpus"]["sha256"]) == 64
    assert note["curve"]["eval"][-1][1] < 1.2 < note["curve"]["eval"][0][1]


def test_the_base_has_learned_english():
    model, tokenizer = load_base(), ByteTokenizer()

    def loss(text):
        ids = tokenizer.encode(text)[None]
        return model.loss(ids[:, :-1], ids[:, 1:], inference=True)[0]

    text = "The value of the expression is a list of the names of the class."
    shuffled = "".join(np.random.default_rng(0).permutation(list(text)))
    assert loss(text) < 2 < loss(shuffled)


def test_both_dtypes_hold_the_same_weights():
    for one, two in zip(load_base().parameters(), load_base(np.float64).parameters(), strict=True):
        assert (one.value.dtype, two.value.dtype) == (np.float32, np.float64)
        np.testing.assert_array_equal(one.value, two.value)
