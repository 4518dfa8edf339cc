import numpy as np
import pytest

from minilora import LoraConfig, apply_lora, quantize_linears
from minilora.adapters import LoRALinear, QuantizedLinear, adapter_state, count_parameters, linear_paths, lora_layers
from minilora.analysis.memory import saved_bytes
from minilora.nn import Linear
from minilora.quant import quantize


def wrapped(base, config, rng):
    layer = LoRALinear(base)
    layer.add_adapter("default", config, rng=rng)
    layer.lora_B.value[...] = rng.standard_normal(layer.lora_B.shape)
    return layer


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("rslora", [False, True])
def test_layer_gradients(check, rng, quantized, rslora):
    weight = rng.standard_normal((6, 10))
    base = QuantizedLinear(quantize(weight)) if quantized else Linear.from_weight(weight, trainable=False)
    layer = wrapped(base, LoraConfig(r=3, lora_alpha=6, use_rslora=rslora), rng)
    assert layer.scaling == (6 / np.sqrt(3) if rslora else 2)
    check(layer, rng.standard_normal((2, 3, 10)))


KINDS = {
    "LoRA": {},
    "LoRA with dropout": {"lora_dropout": 0.4},
    "a learned alpha": {"trainable_alpha": True},
    "DoRA": {"use_dora": True},
    "PiSSA": {"init_lora_weights": "pissa"},
}


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("rows", [4, 20])  # fewer and more than the width, where two forms of the product meet
def test_backward_alone_is_the_backward_of_a_call(rng, monkeypatch, quantized, kind, rows):
    weight = rng.standard_normal((6, 10)).astype(np.float32)
    base = QuantizedLinear(quantize(weight)) if quantized else Linear.from_weight(weight, trainable=False)
    layer = wrapped(base, LoraConfig(r=3, lora_alpha=6, **kind), rng)
    x, dy = (rng.standard_normal((1, rows, n)).astype(np.float32) for n in (10, 6))

    def gradients(backward):
        layer.zero_grad()
        return [backward(dy), *(p.grad.copy() for p in layer.parameters() if p.trainable)]

    def compare():
        called = gradients(layer(x, rng=np.random.default_rng(4))[1])
        if kind in (KINDS["LoRA"], KINDS["LoRA with dropout"], KINDS["a learned alpha"]):
            monkeypatch.setattr(type(base), "__call__", None)  # the base's product is spared
        alone = gradients(layer.backward_alone(x, rng=np.random.default_rng(4)))
        monkeypatch.undo()
        for one, other in zip(alone, called, strict=True):
            np.testing.assert_array_equal(one, other)

    compare()
    layer.set_adapter(None)
    compare()


def test_dropout_gradient(check, rng):
    base = Linear.from_weight(rng.standard_normal((6, 10)), trainable=False)
    layer = wrapped(base, LoraConfig(r=3, lora_alpha=6, lora_dropout=0.4), rng)
    check(lambda x: layer(x, rng=np.random.default_rng(4)), rng.standard_normal((2, 3, 10)), module=layer)
    x = rng.standard_normal((2, 3, 10))
    assert not np.array_equal(layer(x)[0], layer(x, rng=np.random.default_rng(4))[0])


def test_dropout_falls_on_the_bypass_alone(rng):
    base = Linear.from_weight(rng.standard_normal((6, 10)), trainable=False)
    layer = wrapped(base, LoraConfig(r=3, lora_dropout=0.4), rng)
    layer.lora_B.value[...] = 0
    x = rng.standard_normal((2, 3, 10))
    np.testing.assert_array_equal(layer(x, rng=rng)[0], base(x)[0])


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_what_a_forward_keeps(rng, dropout):
    """x and h; with dropout its mask and what it leaves of x, but not x as well."""
    layer = wrapped(
        Linear.from_weight(rng.standard_normal((6, 10)), trainable=False), LoraConfig(r=3, lora_dropout=dropout), rng
    )
    _, backward = layer(rng.standard_normal((7, 10)), rng=rng)
    assert saved_bytes(backward, layer) == 8 * 7 * ((20 if dropout else 10) + 3)


def test_whole_model_gradients(check, rng, model, ids, all_linear, fill_B):
    apply_lora(model, all_linear, rng=rng)
    fill_B(model)
    check(lambda i: model.loss(i, ids), ids, module=model)


def test_bit_equal_to_the_base_at_init(rng, model, ids, all_linear):
    before, _ = model(ids)
    apply_lora(model, all_linear, rng=rng)
    np.testing.assert_array_equal(before, model(ids)[0])


def test_first_step_moves_B_alone(rng, model, ids, all_linear):
    apply_lora(model, all_linear, rng=rng)
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


def test_trainable_count(rng, model, all_linear):
    paths = apply_lora(model, all_linear, rng=rng)
    layers = linear_paths(model)
    assert len(paths) == 14
    assert count_parameters(model)[0] == sum(4 * (layers[p].in_features + layers[p].out_features) for p in paths)


def test_training_changes_no_frozen_byte(rng, model, ids, all_linear, step, frozen_bytes):
    apply_lora(model, all_linear, rng=rng)
    frozen = frozen_bytes(model)
    losses = []
    for _ in range(8):
        losses.append(model.loss(ids, np.roll(ids, -1, axis=1))[0])
        step(model, ids)
    assert losses[-1] < losses[0]
    assert frozen == frozen_bytes(model)


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("quantized", [False, True])
def test_dtype_in_dtype_out(rng, make_model, ids, all_linear, fill_B, dtype, quantized):
    model = make_model(dtype)
    if quantized:
        quantize_linears(model)
    apply_lora(model, all_linear, rng=rng)
    fill_B(model)
    for layer in lora_layers(model).values():
        assert layer.dtype == layer.lora_A.dtype == layer.lora_B.dtype == layer.dense_weight().dtype == dtype
    logits, backward = model(ids)
    backward(np.ones_like(logits))
    assert {p.grad.dtype for p in model.parameters() if p.trainable} == {np.dtype(dtype)}


def test_a_layer_without_an_active_adapter_says_so(rng):
    layer = LoRALinear(Linear(6, 4, rng=rng))
    with pytest.raises(ValueError, match="must have an active adapter"):
        layer.delta_weight()
    np.testing.assert_array_equal(layer.dense_weight(), layer.base_layer.weight.value)


def test_a_rank_beyond_the_matrix_is_refused_before_anything_is_drawn(make_model):
    model, rng = make_model(), np.random.default_rng(7)
    with pytest.raises(
        ValueError, match=r"r must be at most 12 for layers.0.self_attn.k_proj of shape \(12, 24\), got 13"
    ):
        apply_lora(model, LoraConfig(r=13, target_modules="all-linear"), rng=rng)
    assert rng.random() == np.random.default_rng(7).random()
    assert not lora_layers(model)
    apply_lora(model, LoraConfig(r=13, target_modules="all-linear", rank_pattern={"k_proj": 12, "v_proj": 2}), rng=rng)
    with pytest.raises(ValueError, match="r must be at most 4"):
        LoRALinear(Linear(6, 4, rng=rng)).add_adapter("default", LoraConfig(r=5), rng=rng)
