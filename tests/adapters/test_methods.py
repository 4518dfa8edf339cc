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
from minilora.adapters import (
    METHODS,
    FullConfig,
    LoftQConfig,
    PartialConfig,
    adapter_layers,
    base_fingerprint,
    count_parameters,
    get_adapter,
)
from minilora.adapters.methods import method_of
from minilora.nn import Constant, KVCache, checkpoint_blocks

CONFIGS = {
    "lora": LoraConfig(r=3, lora_alpha=6, target_modules="all-linear"),
    "dora": LoraConfig(r=3, lora_alpha=6, use_dora=True),
    "pissa": LoraConfig(r=3, lora_alpha=6, init_lora_weights="pissa", target_modules=("q_proj", "up_proj")),
    "pissa and dora": LoraConfig(r=3, lora_alpha=6, init_lora_weights="pissa", use_dora=True),
    "loftq": LoraConfig(r=3, lora_alpha=6, init_lora_weights="loftq", loftq_config=LoftQConfig(loftq_iter=2)),
    "pissa over nf4": LoraConfig(r=3, init_lora_weights="pissa", loftq_config=LoftQConfig(double_quant=True)),
    "trainable alpha": LoraConfig(r=3, lora_alpha=6, use_rslora=True, trainable_alpha=True),
    "all of it": LoraConfig(r=2, init_lora_weights="loftq", trainable_alpha=True, use_dora=True, lora_dropout=0.2),
    "lora and whole layers": LoraConfig(r=3, target_modules="all-linear", modules_to_save=("norm", "layers.1.mlp")),
    "norms": PartialConfig(last_blocks=0, norms=True),
    "last block": PartialConfig(last_blocks=1),
    "last block and norms": PartialConfig(last_blocks=1, norms=True),
    "full": FullConfig(),
    "full on q and v": FullConfig(target_modules=("q_proj", "v_proj")),
    "bottleneck": BottleneckConfig(bottleneck_size=5),
    "bottleneck after the MLP": BottleneckConfig(bottleneck_size=5, target_modules=("mlp",)),
    "prefix": PrefixConfig(num_virtual_tokens=3),
    "prefix of real tokens": PrefixConfig(num_virtual_tokens=3, init_weights="vocab"),
    "prefix, projected": PrefixConfig(num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=7),
    "prompt": PromptConfig(num_virtual_tokens=3),
    "prompt, random": PromptConfig(num_virtual_tokens=3, prompt_tuning_init="RANDOM"),
}
WHOLE = {"lora and whole layers", "norms", "last block", "last block and norms", "full", "full on q and v"}
IDENTITY = {
    "lora",
    "dora",
    "trainable alpha",
    "bottleneck",
    "bottleneck after the MLP",
    *WHOLE,
}  # at first, bit for bit
NEARLY = {"pissa", "pissa and dora"}  # at first, within rounding


def quantizes(config):
    """Does the method quantize the base itself?"""
    return getattr(config, "loftq_config", None) is not None


@pytest.fixture(params=CONFIGS.items(), ids=CONFIGS.keys())
def case(request):
    return request.param


PLACED = {
    f"{name} over {'nf4' if quantized else 'dense'}": (name, config, quantized)
    for name, config in CONFIGS.items()
    for quantized in (False, True)
    if not (quantized and (quantizes(config) or name in WHOLE - {"norms"}))
}


@pytest.fixture(params=PLACED.values(), ids=PLACED.keys())
def placed(request, make_model):
    """(name, config, model) for every method over every base that it can stand on."""
    name, config, quantized = request.param
    model = make_model()
    if quantized:
        quantize_linears(model, "nf4", block_size=64, double_quant=True)
    return name, config, model


def put(model, config, rng, name="default", fill=True):
    """The method of `config` on `model`; every parameter is drawn, for at zero wrong backwards pass."""
    method_of(config).apply(model, config, rng=rng, adapter_name=name)
    if fill:
        for parameter in learned(model, name):
            parameter.value += 0.3 * rng.standard_normal(parameter.shape).astype(parameter.dtype)


def learned(model, name="default"):
    return [p for p in get_adapter(model, name).parameters() if not isinstance(p, Constant)]


def test_every_method_is_here():
    assert {method_of(config).name for config in CONFIGS.values()} == METHODS.keys()
    with pytest.raises(
        TypeError, match="config must be one of (Lora|Bottleneck|Prefix|Prompt|Partial|Full)Config, .*got dict"
    ):
        method_of({})


def test_gradients(check, rng, placed, ids, constant_norms):
    _, config, model = placed
    put(model, config, rng)
    report = check(lambda i: model.loss(i, ids), ids, module=model)
    assert len(report.errors) == len(learned(model))


def test_gradients_with_checkpointing_are_bit_equal(rng, make_model, ids, case):
    model = make_model()
    put(model, case[1], rng)
    gradients = []
    for _ in range(2):
        model.zero_grad()
        loss, backward = model.loss(ids, ids)
        backward()
        gradients.append([loss, *(p.grad for p in learned(model))])
        checkpoint_blocks(model)
    for plain, checkpointed in zip(*gradients, strict=True):
        np.testing.assert_array_equal(plain, checkpointed)


def test_only_it_is_trained(rng, placed, ids, step, frozen_bytes):
    _, config, model = placed
    put(model, config, rng, fill=False)
    model(ids)  # what is quantized beneath an adapter is made at the first forward
    frozen = frozen_bytes(model)
    losses = []
    for _ in range(6):
        losses.append(model.loss(ids, np.roll(ids, -1, axis=1))[0])
        step(model, ids, rate=0.1)
    assert losses[-1] < losses[0]
    assert frozen == frozen_bytes(model)
    assert count_parameters(model)[0] == sum(p.size for p in learned(model))


def test_at_first_and_disabled_and_deleted(rng, placed, ids):
    name, config, model = placed
    base, digest, tree = model(ids)[0], base_fingerprint(model), repr(model).rpartition("\n")[0]
    put(model, config, rng, fill=False)
    logits, _ = model(ids)
    assert logits.shape == base.shape
    assert np.array_equal(logits, base) == (name in IDENTITY)
    if name in NEARLY:
        np.testing.assert_allclose(logits, base, rtol=1e-9, atol=1e-11)
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


def test_saved_and_loaded(rng, placed, ids, tmp_path):
    _, config, model = placed
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
    if not quantizes(case[1]) and case[0] not in WHOLE:
        quantize_linears(model)
    put(model, case[1], rng)
    logits, backward = model(ids)
    backward(np.ones_like(logits))
    assert logits.dtype == np.float32
    assert {p.dtype for p in get_adapter(model).parameters()} == {np.dtype(np.float32)}
    assert {p.grad.dtype for p in learned(model)} == {np.dtype(np.float32)}


def test_merging_is_exact_or_refused(rng, placed, ids):
    _, config, model = placed
    put(model, config, rng)
    before, _ = model(ids)
    if isinstance(config, (LoraConfig, PartialConfig, FullConfig)):
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


@pytest.mark.parametrize("dense", [True, False])
def test_all_methods_on_one_base(rng, make_model, ids, step, tmp_path, dense):
    model = make_model()
    if not dense:
        quantize_linears(model)
    base = model(ids)[0]
    known = {}
    for name, config in CONFIGS.items():
        if dense or (not quantizes(config) and name not in WHOLE):
            put(model, config, rng, name)
            known[name] = model(ids)[0]
    for name in reversed(known):
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
