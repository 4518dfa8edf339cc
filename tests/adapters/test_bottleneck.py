import numpy as np
import pytest

from minilora import BottleneckConfig, LoraConfig, apply_bottleneck, apply_lora, scale_adapter
from minilora.adapters import count_parameters, get_adapter


def test_parameters_by_formula(rng, make_model):
    model = make_model()
    paths = apply_bottleneck(model, BottleneckConfig(bottleneck_size=5), rng=rng)
    assert paths == [f"layers.{i}.{name}" for i in range(2) for name in ("self_attn", "mlp")]
    assert count_parameters(model)[0] == 4 * (2 * 5 * 24 + 5 + 24)


def test_it_is_the_formula(rng, make_model):
    model = make_model()
    mlp, x = model.layers[0].mlp, rng.standard_normal((2, 3, 24))
    apply_bottleneck(model, BottleneckConfig(bottleneck_size=5, target_modules=("layers.0.mlp",)), rng=rng)
    part = get_adapter(model).parts["layers.0.mlp"]
    for parameter in part.parameters():
        parameter.value[...] = rng.standard_normal(parameter.shape)
    a, _ = mlp(x)
    h = a @ part.down.value.T + part.down_bias.value
    expected = a + (h / (1 + np.exp(-h))) @ part.up.value.T + part.up_bias.value
    np.testing.assert_allclose(model.layers[0].mlp(x)[0], expected, rtol=1e-12)
    scale_adapter(model, "default", 0.5)
    np.testing.assert_allclose(model.layers[0].mlp(x)[0], (a + expected) / 2, rtol=1e-12)


def test_scaled_gradients(check, rng, make_model, ids):
    model = make_model()
    apply_bottleneck(model, BottleneckConfig(bottleneck_size=5), rng=rng)
    for parameter in get_adapter(model).parameters():
        parameter.value[...] = rng.standard_normal(parameter.shape)
    scale_adapter(model, "default", -0.7)
    check(lambda i: model.loss(i, ids), ids, module=model)


def test_lora_finds_its_targets_within(rng, make_model, ids):
    model, twin = make_model(), make_model()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        q.value[...] = p.value
    apply_bottleneck(model, BottleneckConfig(), rng=rng, adapter_name="bottleneck")
    config = LoraConfig(r=2, target_modules="all-linear", rank_pattern={"self_attn.q_proj": 3})
    paths = apply_lora(model, config, rng=np.random.default_rng(1))
    assert paths == apply_lora(twin, config, rng=np.random.default_rng(1))
    assert get_adapter(model).state().keys() == get_adapter(twin).state().keys()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: BottleneckConfig(bottleneck_size=0), ValueError, "bottleneck_size must be at least 1"),
        (lambda: BottleneckConfig(target_modules="mlp"), TypeError, "target_modules must be a list or tuple"),
        (lambda: BottleneckConfig(target_modules=()), ValueError, "target_modules must name a layer"),
    ],
)
def test_configs_are_checked(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_unknown_targets_are_refused_before_anything_changes(rng, make_model):
    model = make_model()
    with pytest.raises(ValueError, match=r"got \['q_proj'\]; there are layers.0.self_attn"):
        apply_bottleneck(model, BottleneckConfig(target_modules=("mlp", "q_proj")), rng=rng)
    assert all(p.trainable for p in model.parameters())
    with pytest.raises(TypeError, match="config must be a BottleneckConfig"):
        apply_bottleneck(model, LoraConfig(), rng=rng)


def test_where_it_starts(make_model):
    model = make_model(np.float32)
    apply_bottleneck(model, BottleneckConfig(bottleneck_size=40), rng=np.random.default_rng(5))
    part = get_adapter(model).parts["layers.1.mlp"]
    assert not part.up.value.any() and not part.up_bias.value.any() and not part.down_bias.value.any()
    bound = 1 / np.sqrt(24)  # uniform in both signs, as torch draws a Linear
    assert -bound <= part.down.value.min() < -0.95 * bound and 0.95 * bound < part.down.value.max() <= bound
    assert all(parameter.dtype == np.float32 and parameter.trainable for parameter in part.parameters())
