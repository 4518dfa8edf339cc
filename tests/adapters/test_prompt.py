import numpy as np
import pytest

from minilora import PromptConfig, apply_prompt, generate, scale_adapter, stream
from minilora.adapters import count_parameters, get_adapter


def prompt_of(model):
    return get_adapter(model).parts["forward_from"].prompt.value


def test_a_prompt_of_real_tokens_acts_as_those_tokens(rng, make_model, ids):
    model = make_model()
    whole, _ = model(np.concatenate([np.repeat([[5, 7, 9]], 2, axis=0), ids], axis=1))
    apply_prompt(model, PromptConfig(num_virtual_tokens=3, init_token_ids=[5, 7, 9]), rng=rng)
    np.testing.assert_allclose(model(ids)[0], whole[:, 3:], rtol=1e-9, atol=1e-11)
    assert count_parameters(model)[0] == 3 * 24


def test_where_a_prompt_starts(make_model):
    model = make_model()
    embedding = model.embed_tokens.weight.value
    for name, config in {
        "vocab": PromptConfig(num_virtual_tokens=4),
        "ids": PromptConfig(num_virtual_tokens=4, init_token_ids=(1, 2, 3)),
        "random": PromptConfig(num_virtual_tokens=30, prompt_tuning_init="RANDOM"),
    }.items():
        apply_prompt(model, config, rng=np.random.default_rng(2), adapter_name=name)
    parts = {name: get_adapter(model, name).parts["forward_from"].prompt.value for name in ("vocab", "ids", "random")}
    np.testing.assert_array_equal(parts["vocab"], embedding[np.random.default_rng(2).integers(0, 37, 4)])
    np.testing.assert_array_equal(parts["ids"], embedding[[1, 2, 3, 1]])
    assert abs(parts["random"].std() - 1) < 5 / np.sqrt(2 * 720)
    assert not np.shares_memory(parts["ids"], embedding)


def test_virtual_tokens_take_positions_in_generation_too(rng, make_model, ids):
    model = make_model()
    apply_prompt(model, PromptConfig(num_virtual_tokens=20), rng=rng)
    assert generate(model, ids, 7).shape == (2, 13)
    with pytest.raises(ValueError, match="max_position_embeddings = 32 positions, got 33"):
        stream(model, ids, 8)  # at the call, before the first token


def test_it_has_no_strength(rng, make_model):
    model = make_model()
    apply_prompt(model, PromptConfig(), rng=rng)
    with pytest.raises(ValueError, match="whose Prompt has no strength"):
        scale_adapter(model, "default", 0.5)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"num_virtual_tokens": 0}, ValueError, "num_virtual_tokens must be at least 1"),
        ({"prompt_tuning_init": "TEXT"}, ValueError, "prompt_tuning_init must be one of"),
        ({"init_token_ids": "abc"}, TypeError, "init_token_ids must be a list"),
        ({"init_token_ids": []}, ValueError, "init_token_ids must not be empty"),
        ({"init_token_ids": [1, -1]}, ValueError, r"init_token_ids\[1\] must be at least 0"),
    ],
)
def test_configs_are_checked(settings, error, message):
    with pytest.raises(error, match=message):
        PromptConfig(**settings)


def test_a_token_beyond_the_vocabulary_is_refused(rng, make_model):
    model = make_model()
    with pytest.raises(ValueError, match=r"init_token_ids must lie in 0 .. 36, got 37"):
        apply_prompt(model, PromptConfig(init_token_ids=[37]), rng=rng)
    assert model.virtual_tokens == 0


def test_token_ids_may_come_as_an_array():
    config = PromptConfig(init_token_ids=np.array([3, 1, 2], np.uint8))
    assert config == PromptConfig(init_token_ids=(3, 1, 2)) and all(type(i) is int for i in config.init_token_ids)
    for wrong in (np.ones((1, 2), int), np.ones(2)):
        with pytest.raises((ValueError, TypeError), match="^init_token_ids must"):
            PromptConfig(init_token_ids=wrong)
