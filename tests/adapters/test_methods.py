"""What holds for every method, whatever it learns."""

import copy

import numpy as np
import pytest

from minilora import (
    BottleneckConfig,
    LoraConfig,
    PrefixConfig,
    PromptConfig,
    delete_adapter,
    disable_adapters,
    generate,
    load_adapter,
    merge_lora,
    quantize_linears,
    save_adapter,
    set_adapter,
)
from minilora.adapters import METHODS, adapter_layers, base_fingerprint, count_parameters, get_adapter
from minilora.adapters.methods import method_of
from minilora.nn import KVCache, checkpoint_blocks

CONFIGS = {
    "lora": LoraConfig(r=3, lora_alpha=6, target_modules="all-linear"),
    "bottleneck": BottleneckConfig(bottleneck_size=5),
    "bottleneck after the MLP": BottleneckConfig(bottleneck_size=5, target_modules=("mlp",)),
    "prefix": PrefixConfig(num_virtual_tokens=3),
    "prefix of real tokens": PrefixConfig(num_virtual_tokens=3, init_weights="vocab"),
    "prefix, projected": PrefixConfig(num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=7),
    "prompt": PromptConfig(num_virtual_tokens=3),
    "prompt, random": PromptConfig(num_virtual_tokens=3, prompt_tuning_init="RANDOM"),
}
MERGEABLE = {"lora"}
IDENTITY = {"lora", "bottleneck", "bottleneck after the MLP"}  # at first


@pytest.fixture(params=CONFIGS.items(), ids=CONFIGS.keys())
def case(request):
    return request.param


def put(model, config, rng, name="default", fill=True):
    """The method of `config` on `model`; every parameter is drawn, for at zero wrong backwards pass."""
    method_of(config).apply(model, config, rng=rng, adapter_name=name)
    if fill:
        for parameter in get_adapter(model, name).parameters():
            parameter.value += 0.3 * rng.standard_normal(parameter.shape).astype(parameter.dtype)


def test_every_method_is_here():
    assert {method_of(config).name for config in CONFIGS.values()} == METHODS.keys()
    with pytest.raises(TypeError, match="config must be one of LoraConfig.*got dict"):
        method_of({})


def test_gradients(check, rng, model, ids, case):
    put(model, case[1], rng)
    report = check(lambda i: model.loss(i, ids), ids, module=model)
    assert len(report.errors) == len(list(get_adapter(model).parameters()))


def test_gradients_with_checkpointing_are_bit_equal(rng, make_model, ids, case):
    model = make_model()
    put(model, case[1], rng)
    gradients = []
    for _ in range(2):
        model.zero_grad()
        loss, backward = model.loss(ids, ids)
        backward()
        gradients.append([loss, *(p.grad for p in get_adapter(model).parameters())])
        checkpoint_blocks(model)
    for plain, checkpointed in zip(*gradients, strict=True):
        np.testing.assert_array_equal(plain, checkpointed)


def test_only_it_is_trained(rng, model, ids, step, frozen_bytes, case):
    put(model, case[1], rng, fill=False)
    frozen = frozen_bytes(model)
    losses = []
    for _ in range(6):
        losses.append(model.loss(ids, np.roll(ids, -1, axis=1))[0])
        step(model, ids, rate=0.1)
    assert losses[-1] < losses[0]
    assert frozen == frozen_bytes(model)
    assert count_parameters(model)[0] == sum(p.size for p in get_adapter(model).parameters())


def test_at_first_and_disabled_and_deleted(rng, model, ids, case):
    name, config = case
    base, digest, tree = model(ids)[0], base_fingerprint(model), repr(model).rpartition("\n")[0]
    put(model, config, rng, fill=False)
    logits, _ = model(ids)
    assert logits.shape == base.shape
    assert np.array_equal(logits, base) == (name in IDENTITY)
    put(model, config, rng, "second")
    assert base_fingerprint(model) == digest
    with disable_adapters(model):
        np.testing.assert_array_equal(model(ids)[0], base)
    assert not np.array_equal(model(ids)[0], base)
    delete_adapter(model, "second")
    np.testing.assert_array_equal(model(ids)[0], base)
    delete_adapter(model, "default")
    assert not adapter_layers(model)
    assert repr(model).rpartition("\n")[0] == tree.replace("trainable", "frozen")
    assert model.virtual_tokens == 0


def test_saved_and_loaded(rng, model, ids, tmp_path, case):
    _, config = case
    put(model, config, rng)
    before, _ = model(ids)
    save_adapter(model, tmp_path / "adapter.npz")
    delete_adapter(model, "default")
    assert load_adapter(model, tmp_path / "adapter.npz", "loaded") == config
    np.testing.assert_array_equal(model(ids)[0], before)


@pytest.mark.parametrize("eos", [None, 5])
def test_generation_with_a_cache_equals_without(rng, make_model, ids, case, eos):
    model = make_model()
    put(model, case[1], rng)
    new = generate(model, ids, 6, eos_token_id=eos)
    np.testing.assert_array_equal(new, generate(model, ids, 6, eos_token_id=eos, use_cache=False))
    whole, _ = model(new)
    cache = [KVCache(new.shape[1]) for _ in model.layers]
    pieces = [model(new[:, a:b], cache=cache, inference=True)[0] for a, b in ((0, 4), (4, 5), (5, new.shape[1]))]
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, rtol=1e-9, atol=1e-11)
    last, _ = model(new, logits_to_keep=2)
    np.testing.assert_allclose(last, whole[:, -2:], rtol=1e-9, atol=1e-11)


def test_float32_stays_float32(rng, make_model, ids, case):
    model = make_model(np.float32)
    quantize_linears(model)
    put(model, case[1], rng)
    logits, backward = model(ids)
    backward(np.ones_like(logits))
    assert logits.dtype == np.float32
    assert {p.dtype for p in get_adapter(model).parameters()} == {np.dtype(np.float32)}
    assert {p.grad.dtype for p in get_adapter(model).parameters()} == {np.dtype(np.float32)}


def test_merging_is_exact_or_refused(rng, model, ids, case):
    name, config = case
    put(model, config, rng)
    before, _ = model(ids)
    if name in MERGEABLE:
        merge_lora(model)
        np.testing.assert_allclose(model(ids)[0], before, rtol=1e-8, atol=1e-10)
        return
    for keep in (True, False):
        with pytest.raises(ValueError, match="'default' cannot be merged: .*; keep it on"):
            merge_lora(model, keep_unmerged=keep)
    np.testing.assert_array_equal(model(ids)[0], before)


def test_a_copy_of_the_model_is_its_own(rng, make_model, ids, step, case):
    model = make_model()
    put(model, case[1], rng)
    before, _ = model(ids)
    other = copy.deepcopy(model)
    np.testing.assert_array_equal(other(ids)[0], before)
    step(other, ids)
    assert not np.array_equal(other(ids)[0], before)
    np.testing.assert_array_equal(model(ids)[0], before)


def test_all_methods_on_one_base(rng, model, ids, step, tmp_path):
    base = model(ids)[0]
    known = {}
    for name, config in CONFIGS.items():
        put(model, config, rng, name)
        known[name] = model(ids)[0]
    for name in [*known, *reversed(known)]:
        set_adapter(model, name)
        np.testing.assert_array_equal(model(ids)[0], known[name])
        step(model, ids)
        known[name] = model(ids)[0]
        save_adapter(model, tmp_path / f"{name}.npz", name)
    for name, logits in known.items():
        set_adapter(model, name)
        np.testing.assert_array_equal(model(ids)[0], logits)
    for name in known:
        delete_adapter(model, name)
    assert not adapter_layers(model)
    np.testing.assert_array_equal(model(ids)[0], base)
    for name, logits in known.items():
        load_adapter(model, tmp_path / f"{name}.npz", name)
        np.testing.assert_array_equal(model(ids)[0], logits)
