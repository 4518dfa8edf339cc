import numpy as np
import pytest

from minilora import LoraConfig, apply_lora, merge_lora, quantize_linears, scale_adapter, set_adapter, unmerge_lora
from minilora.adapters import LoRALinear, MergedLinear, QuantizedLinear, adapter_layers, lora_layers
from minilora.nn import Linear


@pytest.mark.parametrize("quantized", [False, True])
def test_merged_equals_unmerged_and_back(rng, make_model, ids, all_linear, fill_B, quantized):
    model = make_model(np.float32, initializer_range=0.05)
    if quantized:
        quantize_linears(model)
    apply_lora(model, all_linear, rng=rng)
    fill_B(model, 0.05)
    wrapped, _ = model(ids)
    assert len(merge_lora(model)) == 14
    assert not lora_layers(model)
    np.testing.assert_allclose(model(ids)[0], wrapped, atol=1e-5)
    unmerge_lora(model)
    np.testing.assert_array_equal(model(ids)[0], wrapped)


def test_merge_apply_unmerge_nests_nothing(rng, model, ids, all_linear, fill_B):
    apply_lora(model, all_linear, rng=rng)
    fill_B(model)
    merge_lora(model)
    with pytest.raises(ValueError, match="unmerge_lora"):
        apply_lora(model, all_linear, rng=rng, adapter_name="second")
    unmerge_lora(model)
    apply_lora(model, all_linear, rng=rng, adapter_name="second")
    assert not any(isinstance(layer.base_layer, (type(layer), MergedLinear)) for layer in lora_layers(model).values())


def test_a_merged_layer_hides_its_origin(rng, make_model, all_linear):
    model = make_model()
    apply_lora(model, all_linear, rng=rng)
    merge_lora(model)
    layer = model.get_submodule("layers.0.self_attn.q_proj")
    assert [name for name, _ in layer.named_children()] == ["weight"]
    assert not layer.weight.trainable


def test_a_final_merge_leaves_a_plain_model(rng, model, ids, fill_B):
    apply_lora(model, LoraConfig(r=2, target_modules=("q_proj",)), rng=rng, adapter_name="one")
    apply_lora(model, LoraConfig(r=2, target_modules=("q_proj", "v_proj")), rng=rng, adapter_name="two")
    fill_B(model)
    set_adapter(model, "one")
    fill_B(model)
    acting, _ = model(ids)
    assert merge_lora(model, keep_unmerged=False) == ["layers.0.self_attn.q_proj", "layers.1.self_attn.q_proj"]
    np.testing.assert_allclose(model(ids)[0], acting, rtol=1e-9, atol=1e-12)
    assert not adapter_layers(model)
    assert type(model.get_submodule("layers.0.self_attn.q_proj")) is Linear
    v = model.get_submodule("layers.0.self_attn.v_proj")
    assert type(v) in (Linear, QuantizedLinear)  # it had no active adapter: as it was, in four bits if it was
    apply_lora(model, LoraConfig(r=2), rng=rng, adapter_name="one")  # a new base, all names free


def test_a_layer_without_the_active_adapter_stays_as_it_is(rng, model, ids, fill_B):
    apply_lora(model, LoraConfig(r=2, target_modules=("v_proj",)), rng=rng, adapter_name="one")
    apply_lora(model, LoraConfig(r=2, target_modules=("q_proj",)), rng=rng, adapter_name="two")
    fill_B(model)
    before, _ = model(ids)
    merge_lora(model)
    assert list(lora_layers(model)) == ["layers.0.self_attn.v_proj", "layers.1.self_attn.v_proj"]
    np.testing.assert_allclose(model(ids)[0], before, rtol=1e-9, atol=1e-12)
    unmerge_lora(model)
    set_adapter(model, "one")


def test_the_scale_is_merged_too(rng, make_model, ids, all_linear, fill_B):
    model = make_model()
    apply_lora(model, all_linear, rng=rng)
    fill_B(model)
    scale_adapter(model, "default", 0.25)
    before, _ = model(ids)
    merge_lora(model)
    np.testing.assert_allclose(model(ids)[0], before, rtol=1e-9, atol=1e-12)


def test_refusals(rng, make_model, all_linear):
    model = make_model()
    with pytest.raises(ValueError, match="merged layers, got none"):
        unmerge_lora(model)
    with pytest.raises(ValueError, match="must have an adapter, got none"):
        merge_lora(model)
    apply_lora(model, all_linear, rng=rng)
    for layer in lora_layers(model).values():
        layer.set_adapter(None)
    with pytest.raises(ValueError, match="must have an active adapter to merge"):
        merge_lora(model)


def test_a_merged_layer_shares_nothing_with_its_base(rng):
    layer = LoRALinear(Linear(6, 4, rng=rng))
    for name in ("one", "two"):  # without an adapter, and with one
        merged = layer.merged()
        assert not np.shares_memory(merged.weight.value, layer.base_layer.weight.value)
        assert not merged.weight.trainable
        np.testing.assert_array_equal(merged.dense_weight(), layer.dense_weight())
        layer.add_adapter(name, LoraConfig(r=2), rng=rng)
