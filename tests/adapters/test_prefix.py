import numpy as np
import pytest

from minilora import PrefixConfig, apply_prefix, generate
from minilora.adapters import count_parameters, get_adapter


def test_parameters_by_formula(rng, make_model):
    model = make_model()
    apply_prefix(model, PrefixConfig(num_virtual_tokens=5), rng=rng)
    assert count_parameters(model)[0] == 2 * 2 * 2 * 6 * 5  # 2 L K d P
    model = make_model()
    apply_prefix(model, PrefixConfig(num_virtual_tokens=5, prefix_projection=True, encoder_hidden_size=7), rng=rng)
    assert count_parameters(model)[0] == 5 * 12 + (7 * 12 + 7) + (48 * 7 + 48)


def test_a_projected_prefix_is_its_mlp(rng, make_model):
    model = make_model()
    apply_prefix(model, PrefixConfig(num_virtual_tokens=5, prefix_projection=True), rng=rng)
    part = get_adapter(model).parts["forward_from"]
    out = np.tanh(part.embedding.value @ part.W1.value.T + part.b1.value) @ part.W2.value.T + part.b2.value
    prefix, _ = part.keys_and_values()
    # of virtual token 4, layer 1, values, head 0: the slice of its row that PEFT's view gives
    np.testing.assert_array_equal(prefix[1, 1, 0, 4], out[4].reshape(4, 2, 6)[3, 0])


def test_a_prefix_of_real_tokens_acts_as_those_tokens(make_model, ids):
    model, seed = make_model(), 3
    first = np.random.default_rng(seed).integers(0, 37, (1, 3))
    whole, _ = model(np.concatenate([np.repeat(first, 2, axis=0), ids], axis=1))
    apply_prefix(model, PrefixConfig(num_virtual_tokens=3, init_weights="vocab"), rng=np.random.default_rng(seed))
    np.testing.assert_allclose(model(ids)[0], whole[:, 3:], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("projection", [False, True])
def test_zero(rng, make_model, projection):
    model = make_model()
    apply_prefix(model, PrefixConfig(prefix_projection=projection, init_weights="zero"), rng=rng)
    prefix, _ = get_adapter(model).parts["forward_from"].keys_and_values()
    assert not prefix.any()


def test_no_room_is_refused(rng, make_model):
    model = make_model()
    with pytest.raises(ValueError, match="num_virtual_tokens must be less than max_position_embeddings = 32, got 32"):
        apply_prefix(model, PrefixConfig(num_virtual_tokens=32), rng=rng)
    apply_prefix(model, PrefixConfig(num_virtual_tokens=30), rng=rng)
    model(np.ones((1, 2), int))
    with pytest.raises(ValueError, match="max_position_embeddings = 32 positions, got 33"):
        model(np.ones((1, 3), int))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"num_virtual_tokens": 0}, ValueError, "num_virtual_tokens must be at least 1"),
        ({"num_virtual_tokens": 2.0}, TypeError, "num_virtual_tokens must be an int"),
        ({"prefix_projection": 1}, TypeError, "prefix_projection"),
        ({"encoder_hidden_size": 8}, ValueError, "encoder_hidden_size must be None without prefix_projection"),
        ({"prefix_projection": True, "encoder_hidden_size": 0}, ValueError, "encoder_hidden_size must be at least 1"),
        ({"init_weights": "ones"}, ValueError, "init_weights must be one of None, 'zero', 'vocab'"),
        ({"init_weights": "vocab", "prefix_projection": True}, ValueError, "init_weights must be None or 'zero'"),
    ],
)
def test_configs_are_checked(settings, error, message):
    with pytest.raises(error, match=message):
        PrefixConfig(**settings)


def test_where_a_projected_prefix_starts(rng, make_model):
    model = make_model()
    apply_prefix(model, PrefixConfig(num_virtual_tokens=30, prefix_projection=True, encoder_hidden_size=40), rng=rng)
    part = get_adapter(model).parts["forward_from"]
    for parameter, fan_in in ((part.W1, 12), (part.W2, 40)):  # uniform in both signs, as torch draws a Linear
        bound = 1 / np.sqrt(fan_in)
        assert -bound <= parameter.value.min() < -0.95 * bound and 0.95 * bound < parameter.value.max() <= bound


def test_a_prefix_longer_than_a_head_is_wide_fits_into_the_cache(rng, make_model, ids):
    model = make_model()
    apply_prefix(model, PrefixConfig(num_virtual_tokens=10), rng=rng)  # heads are 6 wide
    np.testing.assert_array_equal(generate(model, ids, 8), generate(model, ids, 8, use_cache=False))
