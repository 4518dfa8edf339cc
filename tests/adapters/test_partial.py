import numpy as np
import pytest

from minilora import LoraConfig, apply_lora, quantize_linears, scale_adapter, set_adapter
from minilora.adapters import (
    FullConfig,
    PartialConfig,
    adapter_layers,
    apply_full,
    apply_partial,
    base_fingerprint,
    count_parameters,
    freeze,
    get_adapter,
    lora_layers,
    unfreeze,
)

NORMS = [
    *(f"layers.{i}.{name}" for i in range(2) for name in ("input_layernorm", "post_attention_layernorm")),
    "norm",
]


def test_which_weights_are_trained(rng, make_model):
    model = make_model(tie_word_embeddings=False)
    every = sum(p.size for p in model.parameters())
    block = sum(p.size for p in model.layers[1].parameters())
    expected = {
        "norms": (PartialConfig(last_blocks=0, norms=True), 5 * 24),
        "block": (PartialConfig(last_blocks=1), block),
        "both": (PartialConfig(last_blocks=1, norms=True), block + 3 * 24),
        "blocks": (PartialConfig(last_blocks=2), every - 2 * 37 * 24 - 24),
    }
    for name, (config, size) in expected.items():
        paths = apply_partial(model, config, adapter_name=name)
        assert sum(p.size for p in get_adapter(model, name).parameters()) == size
        if name == "norms":
            assert sorted(paths) == sorted(NORMS)
        elif name == "block":
            assert all(path.startswith("layers.1.") for path in paths) and len(paths) == 9
    assert len(apply_full(model, FullConfig(), adapter_name="full")) == 21
    assert count_parameters(model)[0] == every
    assert len(apply_full(model, FullConfig("all-linear"), adapter_name="linears")) == 14


def test_the_base_keeps_its_weights(rng, make_model, ids, step):
    model = make_model()
    base, digest = model(ids)[0], base_fingerprint(model)
    apply_full(model, FullConfig())
    weight = model.get_submodule("embed_tokens").base_layer.weight
    before = weight.value.copy()
    step(model, ids)
    assert not np.array_equal(model(ids)[0], base)
    np.testing.assert_array_equal(weight.value, before)
    assert base_fingerprint(model) == digest


def test_a_merged_weight_is_a_copy(make_model):
    model = make_model(tie_word_embeddings=False)
    apply_full(model, FullConfig())
    layers = dict(adapter_layers(model))
    assert len(layers) > 20
    for layer in layers.values():
        merged = layer.merged()
        np.testing.assert_array_equal(merged.weight.value, layer.weight.value)
        assert not np.shares_memory(merged.weight.value, layer.weight.value) and not merged.weight.trainable


def test_full_fine_tuning_learns_as_the_bare_model_does(make_model, twin, ids, step):
    model = make_model()
    other = twin(model)
    apply_full(model, FullConfig())
    for _ in range(3):
        step(model, ids, rate=0.1)
        step(other, ids, rate=0.1)
    np.testing.assert_array_equal(model(ids)[0], other(ids)[0])


def test_what_is_saved_whole_gets_no_lora(rng, make_model, ids, step):
    model = make_model()
    config = LoraConfig(r=2, target_modules="all-linear", modules_to_save=("layers.1", "norm"))
    paths = apply_lora(model, config, rng=rng)
    assert [path for path in paths if path.startswith("layers.0.")] == list(lora_layers(model))
    assert len(paths) == 7 + 9 + 1
    parts = get_adapter(model).parts
    assert "layers.0.input_layernorm" not in parts  # "norm" is a name, not an end of one
    state = {name: array.copy() for name, array in get_adapter(model).state().items()}
    for layer in lora_layers(model).values():
        layer.lora_B.value[...] = 0.1
    step(model, ids)
    assert all((array != state[name]).any() for name, array in get_adapter(model).state().items())
    with pytest.raises(ValueError, match="has no strength"):
        scale_adapter(model, "default", 0.5)  # a whole weight cannot be taken by half


def test_plain_unfreezing_trains_the_base(rng, make_model, ids):
    model = make_model()
    apply_lora(model, LoraConfig(r=2), rng=rng)
    lora = count_parameters(model)[0]
    assert sorted(unfreeze(model, norms=True)) == sorted(NORMS)
    assert count_parameters(model)[0] == lora + 5 * 24
    _, backward = model.loss(ids, ids)
    backward()
    assert model.norm.weight.grad.any()
    set_adapter(model, "default")  # freezes all else again
    assert count_parameters(model)[0] == lora
    bare = make_model()
    freeze(bare)
    unfreeze(bare, last_blocks=1)
    assert count_parameters(bare)[0] == sum(p.size for p in bare.layers[1].parameters())


def test_a_quantized_weight_is_refused_and_a_norm_above_it_is_not(make_model):
    model = make_model()
    quantize_linears(model)
    for call in (
        lambda: apply_full(model, FullConfig()),
        lambda: apply_full(model, FullConfig(("q_proj",))),
        lambda: apply_partial(model, PartialConfig()),
    ):
        with pytest.raises(ValueError, match="must be dense to be trained whole, got a QuantizedLinear"):
            call()
    assert not adapter_layers(model)
    apply_partial(model, PartialConfig(last_blocks=0, norms=True))
    with pytest.raises(ValueError, match="must be dense to be trained whole"):
        unfreeze(model, last_blocks=1)
    assert not any(p.trainable for name, p in model.named_parameters() if "base_layer" in name)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda m, rng: PartialConfig(last_blocks=0), ValueError, "last_blocks must be at least 1 without norms"),
        (lambda m, rng: PartialConfig(last_blocks=-1), ValueError, "last_blocks must be at least 0"),
        (lambda m, rng: FullConfig(target_modules={"q_proj"}), TypeError, "target_modules must be a list or tuple"),
        (
            lambda m, rng: apply_partial(m, PartialConfig(last_blocks=3)),
            ValueError,
            "last_blocks must be between 0 and 2",
        ),
        (lambda m, rng: apply_full(m, FullConfig(("query",))), ValueError, "match none"),
        (lambda m, rng: LoraConfig(modules_to_save="norm"), TypeError, "modules_to_save must be a list or tuple"),
        (
            lambda m, rng: apply_lora(m, LoraConfig(modules_to_save=("ln_f",)), rng=rng),
            ValueError,
            r"modules_to_save must name layers of the model, got \['ln_f'\]; there are embed_tokens",
        ),
        (
            lambda m, rng: apply_lora(m, LoraConfig(modules_to_save=("layers",)), rng=rng),
            ValueError,
            "modules_to_save must leave a target for LoRA",
        ),
    ],
)
def test_refusals(make_model, rng, make, error, message):
    model = make_model()
    with pytest.raises(error, match=message):
        make(model, rng)
    assert not adapter_layers(model)


def test_configs_hold_pythons_own_values():
    config = PartialConfig(last_blocks=np.int64(2), norms=np.True_)
    assert type(config.last_blocks) is int and config.norms is True
    assert (
        FullConfig(["q_proj"]).target_modules == ("q_proj",) and FullConfig("all-linear").target_modules == "all-linear"
    )
