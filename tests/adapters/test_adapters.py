import numpy as np
import pytest

from minilora import (
    AdamW,
    LoraConfig,
    apply_lora,
    disable_adapters,
    load_adapter,
    merge_lora,
    quantize_linears,
    save_adapter,
    set_adapter,
    unmerge_lora,
)
from minilora.adapters import LoRALinear, QuantizedLinear, adapter_state, count_parameters, linear_paths, lora_layers
from minilora.nn import Linear
from minilora.quant import quantize

ALL = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear")


def fill_B(model, rng, scale=0.3):
    """At B = 0 wrong backwards pass, so tests draw B."""
    for layer in lora_layers(model).values():
        layer.lora_B.value[...] = scale * rng.standard_normal(layer.lora_B.shape)


@pytest.fixture(params=[False, True], ids=["dense", "nf4"])
def model(request, make_model):
    model = make_model()
    if request.param:
        quantize_linears(model, "nf4", block_size=64, double_quant=True)
    return model


@pytest.fixture
def ids(rng):
    return rng.integers(0, 37, (2, 6))


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("rslora", [False, True])
def test_lora_layer_gradients(check, rng, quantized, rslora):
    weight = rng.standard_normal((6, 10))
    base = QuantizedLinear(quantize(weight)) if quantized else Linear.from_weight(weight, trainable=False)
    layer = LoRALinear(base)
    layer.add_adapter("default", 3, 6, LoraConfig(r=3, use_rslora=rslora), rng=rng, dtype=np.float64)
    layer.lora_B.value[...] = rng.standard_normal((6, 3))
    assert layer.scaling == (6 / np.sqrt(3) if rslora else 2)
    check(layer, rng.standard_normal((2, 3, 10)))


def test_dropout_gradient(check, rng):
    layer = LoRALinear(Linear.from_weight(rng.standard_normal((6, 10)), trainable=False))
    layer.add_adapter("default", 3, 6, LoraConfig(r=3, lora_dropout=0.4), rng=rng, dtype=np.float64)
    layer.lora_B.value[...] = rng.standard_normal((6, 3))
    check(lambda x: layer(x, rng=np.random.default_rng(4)), rng.standard_normal((2, 3, 10)), module=layer)
    x = rng.standard_normal((2, 3, 10))
    assert not np.array_equal(layer(x)[0], layer(x, rng=np.random.default_rng(4))[0])


def test_whole_model_gradients(check, rng, model, ids):
    apply_lora(model, ALL, rng=rng)
    fill_B(model, rng)
    check(lambda i: model.loss(i, ids), ids, module=model)


def test_bit_equal_to_the_base_at_init(rng, model, ids):
    before, _ = model(ids)
    apply_lora(model, ALL, rng=rng)
    np.testing.assert_array_equal(before, model(ids)[0])


def test_first_step_moves_B_alone(rng, model, ids):
    apply_lora(model, ALL, rng=rng)
    _, backward = model.loss(ids, ids)
    backward()
    for layer in lora_layers(model).values():
        assert not layer.lora_A.grad.any()
        assert layer.lora_B.grad.any()
        layer.lora_A.value[...] = 0  # both zero: stuck
    model.zero_grad()
    _, backward = model.loss(ids, ids)
    backward()
    assert not any(p.grad.any() for p in model.parameters() if p.trainable)


def test_trainable_count(rng, model):
    paths = apply_lora(model, ALL, rng=rng)
    layers = linear_paths(model)
    assert len(paths) == 14
    assert count_parameters(model)[0] == sum(4 * (layers[p].in_features + layers[p].out_features) for p in paths)


def test_training_changes_no_frozen_byte(rng, model, ids):
    apply_lora(model, ALL, rng=rng)
    frozen = {n: p.value.tobytes() for n, p in model.named_parameters() if not p.trainable}
    packed = {n: m.q.packed.tobytes() for n, m in model.named_modules() if isinstance(m, QuantizedLinear)}
    optimizer = AdamW([p for p in model.parameters() if p.trainable], lr=1e-2)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss, backward = model.loss(ids, ids)
        backward()
        optimizer.step()
        losses.append(loss)
    assert losses[-1] < losses[0]
    assert frozen == {n: p.value.tobytes() for n, p in model.named_parameters() if not p.trainable}
    assert packed == {n: m.q.packed.tobytes() for n, m in model.named_modules() if isinstance(m, QuantizedLinear)}


@pytest.mark.parametrize("quantized", [False, True])
def test_merged_equals_unmerged_and_back(rng, make_model, ids, quantized):
    model = make_model(np.float32, initializer_range=0.05)
    if quantized:
        quantize_linears(model)
    apply_lora(model, ALL, rng=rng)
    fill_B(model, rng, 0.05)
    wrapped, _ = model(ids)
    merge_lora(model)
    assert not lora_layers(model)
    np.testing.assert_allclose(model(ids)[0], wrapped, atol=1e-5)
    unmerge_lora(model)
    np.testing.assert_array_equal(model(ids)[0], wrapped)


def test_switching_is_bit_equal_to_each_alone(rng, make_model, ids):
    model = make_model()
    base, _ = model(ids)
    alone = {}
    for name, targets in (("one", ("q_proj",)), ("two", ("v_proj", "mlp.up_proj"))):
        apply_lora(model, LoraConfig(r=3, target_modules=targets), rng=rng, adapter_name=name)
        for layer in lora_layers(model).values():
            if layer.active == name:
                layer.lora_B.value[...] = rng.standard_normal(layer.lora_B.shape)
        alone[name] = model(ids)[0]
    for name in ("one", "two", "one"):
        set_adapter(model, name)
        np.testing.assert_array_equal(model(ids)[0], alone[name])
    with disable_adapters(model):
        np.testing.assert_array_equal(model(ids)[0], base)
    np.testing.assert_array_equal(model(ids)[0], alone["one"])


def test_save_and_load(rng, make_model, ids, tmp_path):
    config = LoraConfig(r=3, target_modules=("q_proj", "down_proj"), rank_pattern={"down_proj": 5})
    model = make_model()
    twin = make_model()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        q.value[...] = p.value
    apply_lora(model, config, rng=rng)
    fill_B(model, rng)
    save_adapter(model, tmp_path / "adapter.npz", config)
    assert load_adapter(twin, tmp_path / "adapter.npz") == config
    np.testing.assert_array_equal(model(ids)[0], twin(ids)[0])
    with pytest.raises(ValueError, match="does not fit this model"):
        load_adapter(make_model(hidden_size=32), tmp_path / "adapter.npz")


TARGETS = {
    "suffix": (("q_proj",), 2),
    "longer suffix": (("self_attn.q_proj", "mlp.up_proj"), 4),
    "whole path": (("layers.1.mlp.gate_proj",), 1),
    "regular expression": (r"layers\.0\..*_proj", 7),
    "all-linear": ("all-linear", 14),
}


@pytest.mark.parametrize(("targets", "count"), TARGETS.values(), ids=TARGETS.keys())
def test_targets(rng, make_model, targets, count):
    paths = apply_lora(make_model(tie_word_embeddings=False), LoraConfig(r=2, target_modules=targets), rng=rng)
    assert len(paths) == count
    assert "lm_head" not in paths


def test_patterns_and_init(rng, make_model):
    model = make_model()
    config = LoraConfig(
        r=2, lora_alpha=4, target_modules="all-linear", rank_pattern={"q_proj": 4}, alpha_pattern={"mlp.up_proj": 16}
    )
    apply_lora(model, config, rng=rng)
    layers = lora_layers(model)
    assert layers["layers.0.self_attn.q_proj"].lora_A.shape == (4, 24)
    assert layers["layers.0.self_attn.q_proj"].scaling == 1
    assert layers["layers.0.mlp.up_proj"].scaling == 8
    a = np.concatenate([layer.lora_A.value.ravel() * np.sqrt(layer.in_features) for layer in layers.values()])
    assert np.abs(a).max() <= 1 and np.abs(a).max() > 0.95
    other = make_model()
    apply_lora(other, LoraConfig(r=2, target_modules="all-linear", init_lora_weights="gaussian"), rng=rng)
    a = np.concatenate([v.ravel() for n, v in adapter_state(other).items() if n.endswith("lora_A")])
    assert abs(a.std() - 0.5) < 5 * 0.5 / np.sqrt(2 * a.size)  # std 1/r, five sigma
