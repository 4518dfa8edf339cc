import numpy as np
import pytest

from minilora import LoraConfig, apply_lora, combine_adapters, load_adapter, save_adapter, scale_adapter, set_adapter
from minilora.adapters import active_adapter, adapter_names, get_adapter, lora_layers

ONE = LoraConfig(r=3, lora_alpha=6, target_modules=("q_proj", "down_proj"))
TWO = LoraConfig(r=2, use_rslora=True, target_modules=("v_proj", "q_proj"), rank_pattern={"v_proj": 4})


@pytest.fixture
def two(model, rng, fill_B):
    for name, config in (("one", ONE), ("two", TWO)):
        apply_lora(model, config, rng=rng, adapter_name=name)
        fill_B(model)
    return model


def deltas(model, name):
    set_adapter(model, name)
    return {path: layer.delta_weight() for path, layer in lora_layers(model).items() if layer.active}


def test_the_update_is_the_weighted_sum(two):
    one, both = deltas(two, "one"), deltas(two, "two")
    paths = combine_adapters(two, {"one": 1.0, "two": 0.5}, "both")
    assert active_adapter(two) == "both"
    combined = deltas(two, "both")
    assert sorted(paths) == sorted(combined) == sorted(one.keys() | both.keys())
    for path, delta in combined.items():
        expected = one.get(path, 0) + 0.5 * both.get(path, np.zeros_like(delta))
        np.testing.assert_allclose(delta, expected, rtol=1e-12, atol=1e-14)


def test_its_parts_are_copies_and_the_others_stay(two, ids, step):
    set_adapter(two, "one")
    before, _ = two(ids)
    combine_adapters(two, {"one": 2, "two": -1}, "both")
    step(two, ids)
    set_adapter(two, "one")
    np.testing.assert_array_equal(two(ids)[0], before)


def test_it_is_an_adapter_like_any_other(check, two, ids, twin, tmp_path):
    combine_adapters(two, {"one": 1.0, "two": 0.5}, "both")
    check(lambda i: two.loss(i, ids), ids, module=two)
    before, _ = two(ids)
    save_adapter(two, tmp_path / "both.npz", "both")
    load_adapter(two, tmp_path / "both.npz", "again")
    np.testing.assert_array_equal(two(ids)[0], before)


def test_a_scaled_adapter_counts_as_scaled(two):
    one = deltas(two, "one")
    scale_adapter(two, "one", 3.0)
    combine_adapters(two, {"one": 1.0}, "copy")
    for path, delta in deltas(two, "copy").items():
        np.testing.assert_allclose(delta, 3 * one[path], rtol=1e-12, atol=1e-14)


def test_ranks_beyond_the_matrix_are_exact_and_can_be_saved(make_model, rng, fill_B, tmp_path):
    model = make_model()
    for name in ("one", "two"):
        apply_lora(model, LoraConfig(r=12, target_modules=("k_proj",)), rng=rng, adapter_name=name)
        fill_B(model)
    expected = {p: d + deltas(model, "two")[p] for p, d in deltas(model, "one").items()}
    combine_adapters(model, {"one": 1, "two": 1}, "both")
    save_adapter(model, tmp_path / "both.npz", "both")
    load_adapter(model, tmp_path / "both.npz", "loaded")
    assert get_adapter(model, "loaded").config.r == 24
    for path, delta in deltas(model, "loaded").items():
        np.testing.assert_allclose(delta, expected[path], rtol=1e-12, atol=1e-14)


def test_refusals_change_nothing(two, ids):
    before, _ = two(ids)
    for arguments, message in (
        (({"one": 1.0, "three": 1.0}, "both"), "adapter_name must be one of 'one', 'two', got 'three'"),
        (({"one": float("inf")}, "both"), r"weights\['one'\] must be finite"),
        (({"one": 1.0}, "two"), "adapter_name must be new"),
        (({}, "both"), "weights must name at least one adapter"),
    ):
        with pytest.raises(ValueError, match=message):
            combine_adapters(two, *arguments)
    with pytest.raises(TypeError, match="weights must be"):
        combine_adapters(two, ["one", "two"], "both")
    assert adapter_names(two) == ["one", "two"]
    np.testing.assert_array_equal(two(ids)[0], before)
