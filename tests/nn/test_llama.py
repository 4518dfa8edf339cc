import tracemalloc

import numpy as np
import pytest

from minilora import Llama, LlamaConfig
from minilora.nn import MLP, Attention, Block, Linear


@pytest.mark.parametrize("layer", [Attention, MLP, Block])
def test_layers(check, rng, config, layer):
    check(layer(config, rng=rng, dtype=np.float64), rng.standard_normal((2, 5, 24)))


@pytest.mark.parametrize("length", [1, 7])
def test_model(check, rng, config, length):
    model = Llama(config, rng=rng, dtype=np.float64)
    ids = rng.integers(0, 37, (2, length))
    check(model, ids)
    labels = rng.integers(0, 37, (2, length))
    labels[0, 0] = -100
    check(lambda i: model.loss(i, labels), ids, module=model)


def test_paths_are_hugging_faces(make_model):
    names = list(dict(make_model().named_parameters()))
    assert names[0] == "embed_tokens.weight"
    assert "layers.1.self_attn.q_proj.weight" in names
    assert "layers.0.post_attention_layernorm.weight" in names
    assert "lm_head.weight" not in names
    assert "lm_head.weight" in dict(make_model(tie_word_embeddings=False).named_parameters())


def test_same_seed_same_bits_in_both_dtypes(make_model, rng):
    config = make_model().config
    one = Llama(config, rng=np.random.default_rng(3))
    two = Llama(config, rng=np.random.default_rng(3), dtype=np.float64)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        np.testing.assert_array_equal(a.value, b.value.astype(np.float32))


def test_float32_throughout(make_model, rng):
    model = make_model(np.float32)
    ids = rng.integers(0, 37, (2, 5))
    loss, backward = model.loss(ids, ids)
    backward()
    assert loss.dtype == np.float32
    assert {p.grad.dtype for p in model.parameters()} == {np.dtype(np.float32)}


def test_gradients_accumulate(make_model, rng):
    model = make_model()
    ids = rng.integers(0, 37, (2, 5))
    _, backward = model.loss(ids, ids)
    backward()
    once = {n: p.grad.copy() for n, p in model.named_parameters()}
    _, backward = model.loss(ids, ids)
    backward()
    for name, p in model.named_parameters():
        np.testing.assert_allclose(p.grad, 2 * once[name], rtol=1e-12, atol=1e-14, err_msg=name)


def test_inference_is_the_same_and_keeps_nothing(make_model, rng):
    model = make_model()
    ids = rng.integers(0, 37, (2, 5))
    logits, _ = model(ids)
    again, backward = model(ids, inference=True)
    np.testing.assert_array_equal(logits, again)
    with pytest.raises(ValueError, match="inference=True"):
        backward(logits)


def test_replacing_a_child(make_model, rng):
    model = make_model()
    new = Linear(24, 24, rng=rng, dtype=np.float64)
    model.set_submodule("layers.1.self_attn.q_proj", new)
    assert model.get_submodule("layers.1.self_attn.q_proj") is new
    assert model.layers[1].self_attn.q_proj is new


def test_a_skeleton_holds_nothing_until_it_is_filled(config, rng):
    full = Llama(config, rng=rng, dtype=np.float64)
    model = Llama.skeleton(config, np.float64)
    shapes = {path: (p.shape, p.size, p.dtype, p.trainable) for path, p in full.named_parameters()}
    assert {path: (p.shape, p.size, p.dtype, p.trainable) for path, p in model.named_parameters()} == shapes
    assert model.dtype == np.float64 and all(p.pending for p in model.parameters())
    ids = rng.integers(0, 37, (2, 3))
    with pytest.raises(ValueError, match="no value yet, as its model is a skeleton"):
        model(ids)
    pending = dict(model.named_parameters())
    for path, parameter in full.named_parameters():
        with pytest.raises(ValueError, match="shape"):
            pending[path].fill(np.zeros((1, 1, 1)))
        pending[path].fill(parameter.value)
        assert not pending[path].pending and not np.shares_memory(pending[path].value, parameter.value)
        pending[path].fill(parameter.value)  # filled once or twice: in place the second time
    np.testing.assert_array_equal(model(ids)[0], full(ids)[0])


def test_load_state_fills_a_skeleton(config, rng):
    full = Llama(config, rng=rng)
    model = Llama.skeleton(config, np.float64)
    assert "frozen" in repr(model)  # printed before it holds anything
    with pytest.raises(ValueError, match="norm.weight is missing"):
        model.load_state({path: value for path, value in full.state().items() if path != "norm.weight"})
    assert all(p.pending for p in model.parameters())
    model.load_state(full.state())
    for path, value in full.state().items():
        assert model.state()[path].dtype == np.float64 and not np.shares_memory(model.state()[path], value)
        np.testing.assert_array_equal(model.state()[path], value)


def test_a_skeleton_asks_for_its_own_dtype(config):
    parameter = Llama.skeleton(config).embed_tokens.weight
    with pytest.raises(TypeError, match="must be float32 like the parameter"):
        parameter.fill(np.zeros(parameter.shape))
    with pytest.raises(TypeError, match="rng must be"):
        Llama(config, rng=None)


def test_a_large_skeleton_costs_no_memory():
    tracemalloc.start()
    Llama.skeleton(LlamaConfig(vocab_size=128256, hidden_size=4096, num_hidden_layers=32, num_attention_heads=32))
    assert tracemalloc.get_traced_memory()[1] < 2**22  # bytes; its weights would be 32 GB
    tracemalloc.stop()


@pytest.mark.parametrize("keep", [0, 1, 3, 5, 9])
def test_logits_to_keep_are_the_last_ones_with_their_gradients(make_model, rng, keep):
    model, ids = make_model(), rng.integers(0, 37, (2, 5))
    kept, backward = model(ids, logits_to_keep=keep)
    whole, whole_backward = model(ids)
    count = min(keep or 5, 5)
    assert kept.shape == (2, count, 37)
    np.testing.assert_allclose(kept, whole[:, -count:], rtol=1e-12, atol=1e-12)
    dlogits = rng.standard_normal(kept.shape)
    backward(dlogits)
    one = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    whole_backward(np.concatenate([np.zeros((2, 5 - count, 37)), dlogits], axis=1))
    for name, p in model.named_parameters():
        np.testing.assert_allclose(one[name], p.grad, rtol=1e-10, atol=1e-12, err_msg=name)


def test_randomness_is_a_keyword(make_model):
    model, ids, rng = make_model(), np.array([[1, 2]]), np.random.default_rng(0)
    x = np.ones((1, 2, 24))
    block = model.layers[0]
    for call in (model, block, block.self_attn, block.mlp, block.mlp.up_proj):
        with pytest.raises(TypeError, match="positional argument"):
            call(ids if call is model else x, rng)
    with pytest.raises(TypeError, match="positional argument"):
        model.loss(ids, ids, rng)


def test_forward_from_is_the_model_below_its_embedding(check, make_model, rng):
    model, ids = make_model(), rng.integers(0, 37, (2, 5))
    x, _ = model.embed_tokens(ids)
    np.testing.assert_array_equal(model.forward_from(x)[0], model(ids)[0])
    np.testing.assert_array_equal(model.forward_from(x, logits_to_keep=2)[0], model(ids, logits_to_keep=2)[0])
    check(lambda x: model.forward_from(x, logits_to_keep=2), rng.standard_normal((2, 5, 24)), module=model)


def test_virtual_tokens_take_positions(make_model):
    model = make_model(max_position_embeddings=8)
    model.virtual_tokens = 3
    model(np.ones((1, 5), int))
    with pytest.raises(ValueError, match="max_position_embeddings = 8 positions, got 9"):
        model(np.ones((1, 6), int))
