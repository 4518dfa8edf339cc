import numpy as np
import pytest

from minilora import (
    LoraConfig,
    apply_lora,
    delete_adapter,
    disable_adapters,
    merge_lora,
    scale_adapter,
    set_adapter,
)
from minilora.adapters import (
    active_adapter,
    adapter_layers,
    adapter_names,
    count_parameters,
    freeze,
    get_adapter,
    lora_layers,
)

ONE = LoraConfig(r=3, target_modules=("q_proj",))
TWO = LoraConfig(r=2, target_modules=("v_proj", "q_proj"))


@pytest.fixture
def two(model, rng, fill_B):
    for name, config in (("one", ONE), ("two", TWO)):
        apply_lora(model, config, rng=rng, adapter_name=name)
        fill_B(model)
    return model


def trainable(model):
    return sorted(name for name, p in model.named_parameters() if p.trainable)


def test_activation_decides_what_trains(two, ids, step):
    """Before: with "one" active again, its parameters stayed frozen and training it did nothing, silently."""
    for name, targets in (("two", 4), ("one", 2), ("two", 4)):
        set_adapter(two, name)
        other = {"one": "two", "two": "one"}[name]
        before = {key: array.copy() for key, array in get_adapter(two, other).state().items()}
        assert len(trainable(two)) == 2 * targets == len(list(get_adapter(two, name).parameters()))
        mine = {key: array.copy() for key, array in get_adapter(two, name).state().items()}
        step(two, ids)
        assert all((array != mine[key]).any() for key, array in get_adapter(two, name).state().items())
        for key, array in get_adapter(two, other).state().items():
            np.testing.assert_array_equal(array, before[key])
        assert all(p.grad is None for p in get_adapter(two, other).parameters())


def test_switching_forgets_the_gradients_of_what_is_frozen(two, ids):
    _, backward = two.loss(ids, ids)
    backward()
    set_adapter(two, "one")
    assert all(p.grad is None for name in ("one", "two") for p in get_adapter(two, name).parameters())


def test_layers_without_the_active_adapter_act_as_base(two, ids):
    set_adapter(two, "one")
    layers = lora_layers(two)
    assert layers["layers.0.self_attn.v_proj"].active is None
    with disable_adapters(two):
        base, _ = two(ids)
    for layer in layers.values():
        if layer.active == "one":
            layer.lora_B.value[...] = 0
    np.testing.assert_array_equal(two(ids)[0], base)


def test_disabling_keeps_what_is_active_and_what_trains(two, ids):
    before, training = two(ids)[0], trainable(two)
    with disable_adapters(two), disable_adapters(two):
        assert not np.array_equal(two(ids)[0], before)
        assert trainable(two) == training
    np.testing.assert_array_equal(two(ids)[0], before)
    with pytest.raises(KeyError), disable_adapters(two):
        raise KeyError
    np.testing.assert_array_equal(two(ids)[0], before)


def test_what_happens_while_disabled_shows_afterwards(two, ids, rng, fill_B):
    set_adapter(two, "one")
    one, _ = two(ids)
    with disable_adapters(two):
        base, _ = two(ids)
        set_adapter(two, "two")
        delete_adapter(two, "two")
        apply_lora(two, LoraConfig(r=2, target_modules=("up_proj",)), rng=rng, adapter_name="three")
        fill_B(two)
        np.testing.assert_array_equal(two(ids)[0], base)
    assert not np.array_equal(two(ids)[0], base)
    set_adapter(two, "one")
    np.testing.assert_array_equal(two(ids)[0], one)


def test_deleting(two, ids):
    set_adapter(two, "one")
    before, _ = two(ids)
    delete_adapter(two, "two")
    np.testing.assert_array_equal(two(ids)[0], before)
    assert list(lora_layers(two)) == ["layers.0.self_attn.q_proj", "layers.1.self_attn.q_proj"]
    with disable_adapters(two):
        base, _ = two(ids)
    delete_adapter(two, "one")  # the active one: the base acts alone
    np.testing.assert_array_equal(two(ids)[0], base)
    assert not adapter_layers(two)
    assert adapter_names(two) == []
    assert active_adapter(two) is None
    assert trainable(two) == []


def test_deleting_gives_back_the_very_same_layers(model, rng):
    before = dict(model.named_modules())
    apply_lora(model, ONE, rng=rng)
    delete_adapter(model, "default")
    assert dict(model.named_modules()) == before


def test_scaling_is_relative_to_training_and_exact_at_one(two, ids):
    before, _ = two(ids)
    weights = {path: layer.delta_weight() for path, layer in lora_layers(two).items()}
    scale_adapter(two, "two", 0.5)
    scale_adapter(two, "two", -2)  # replaces the first
    for path, layer in lora_layers(two).items():
        np.testing.assert_allclose(layer.delta_weight(), -2 * weights[path], rtol=1e-12)
    assert not np.array_equal(two(ids)[0], before)
    scale_adapter(two, "two", 1)
    np.testing.assert_array_equal(two(ids)[0], before)
    scale_adapter(two, "two", 0)
    with disable_adapters(two):
        base, _ = two(ids)
    np.testing.assert_allclose(two(ids)[0], base, rtol=1e-12)


def test_a_scaled_adapter_has_the_right_gradients(check, two, ids):
    scale_adapter(two, "two", 0.7)
    check(lambda i: two.loss(i, ids), ids, module=two)


def test_refusals_change_nothing(two, ids, rng):
    before, training = two(ids)[0], trainable(two)
    for call, message in {
        lambda: set_adapter(two, "three"): "adapter_name must be one of 'one', 'two', got 'three'",
        lambda: delete_adapter(two, "three"): "adapter_name must be one of 'one', 'two'",
        lambda: scale_adapter(two, "three", 1): "adapter_name must be one of 'one', 'two'",
        lambda: scale_adapter(two, "two", float("nan")): "factor must be finite",
        lambda: apply_lora(two, ONE, rng=rng, adapter_name="one"): "adapter_name must be new, got 'one'",
        lambda: apply_lora(two, ONE, rng=rng, adapter_name=""): "adapter_name must not be empty",
        lambda: apply_lora(two, LoraConfig(r=99), rng=rng, adapter_name="three"): "r must be at most",
        lambda: apply_lora(two, LoraConfig(target_modules=("no",)), rng=rng, adapter_name="three"): "match none",
    }.items():
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="adapter_name must be a str"):
        apply_lora(two, ONE, rng=rng, adapter_name=3)
    assert adapter_names(two) == ["one", "two"]
    assert trainable(two) == training
    np.testing.assert_array_equal(two(ids)[0], before)


def test_a_merged_model_is_left_alone(two, ids, rng, tmp_path):
    merge_lora(two)
    before, _ = two(ids)
    for call in (
        lambda: apply_lora(two, ONE, rng=rng, adapter_name="three"),
        lambda: set_adapter(two, "one"),
        lambda: delete_adapter(two, "one"),
        lambda: scale_adapter(two, "one", 0.5),
        lambda: disable_adapters(two).__enter__(),
        lambda: merge_lora(two),
    ):
        with pytest.raises(ValueError, match=r"must not be merged.*unmerge_lora\(model\) first"):
            call()
    np.testing.assert_array_equal(two(ids)[0], before)
    assert not adapter_layers(two) or all(layer.active is None for layer in adapter_layers(two).values())


def test_freeze_and_count(make_model, ids):
    model = make_model()
    _, backward = model.loss(ids, ids)
    backward()
    total = sum(p.size for p in model.parameters())
    assert count_parameters(model) == (total, total)
    freeze(model)
    assert count_parameters(model) == (0, total)
    assert all(p.grad is None for p in model.parameters())


def test_no_adapter_says_so(make_model):
    with pytest.raises(ValueError, match="must have an adapter, got none"):
        disable_adapters(make_model()).__enter__()
    with pytest.raises(ValueError, match="'one', but the model has none"):
        set_adapter(make_model(), "one")
    with pytest.raises(TypeError, match="model must be a Module"):
        set_adapter("model", "one")
