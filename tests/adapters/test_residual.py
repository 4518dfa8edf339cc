import numpy as np
import pytest

from minilora import LoraConfig, apply_lora, combine_adapters, quantize_linears, scale_adapter, set_adapter
from minilora.adapters import LoftQConfig, QuantizedLinear, adapter_layers, get_adapter, lora_layers
from minilora.adapters.residual import Residual
from minilora.nn import Constant, Linear
from minilora.quant import quantize

PISSA = LoraConfig(r=3, lora_alpha=6, init_lora_weights="pissa", target_modules=("q_proj",))
LOFTQ = LoraConfig(r=3, lora_alpha=6, init_lora_weights="loftq", target_modules=("q_proj",))


def test_a_residual_is_the_weight_less_a_product(check, rng):
    base = Linear.from_weight(rng.standard_normal((6, 10)), trainable=False)
    A, B = rng.standard_normal((3, 10)), rng.standard_normal((6, 3))
    layer = Residual(base, A, B, 0.7)
    x = rng.standard_normal((2, 3, 10))
    np.testing.assert_allclose(layer.dense_weight(), base.weight.value - 0.7 * B @ A)
    np.testing.assert_allclose(layer(x)[0], x @ layer.dense_weight().T)
    check(layer, x)


def test_the_generator_reaches_the_layer_beneath(rng):
    """Any linear layer may stand beneath, also one that draws."""
    beneath, seen = Linear.from_weight(rng.standard_normal((6, 10)), trainable=False), []

    class Draws(Linear):
        def __call__(self, x, *, rng=None):
            seen.append(rng)
            return beneath(x)

    base = Draws(10, 6, rng=rng, dtype=np.float64)
    Residual(base, rng.standard_normal((3, 10)), rng.standard_normal((6, 3)), 0.7)(np.ones((2, 10)), rng=rng)
    assert seen == [rng]


def test_a_constant_is_never_trained(rng, make_model, ids, step):
    model = make_model()
    apply_lora(model, PISSA, rng=rng)
    start = get_adapter(model).parts["layers.0.self_attn.q_proj"].start
    assert isinstance(start.lora_A, Constant) and not start.lora_A.trainable
    before = start.lora_A.value.copy()
    step(model, ids)
    np.testing.assert_array_equal(start.lora_A.value, before)


def test_pissa_learns_beyond_its_start(rng, make_model, ids, step):
    model = make_model()
    apply_lora(model, PISSA, rng=rng)
    layer = lora_layers(model)["layers.0.self_attn.q_proj"]
    np.testing.assert_allclose(layer.delta_weight(), 0, atol=1e-12)
    step(model, ids)
    W, (A, B) = layer.base_layer.weight.value, (layer.lora_A.value, layer.lora_B.value)
    start = layer.adapters["default"].start
    expected = 2.0 * (B @ A - start.lora_B.value @ start.lora_A.value)
    np.testing.assert_allclose(layer.delta_weight(), expected, atol=1e-12)
    np.testing.assert_allclose(layer.dense_weight(), W + expected, atol=1e-12)
    scale_adapter(model, "default", 0.25)
    np.testing.assert_allclose(layer.dense_weight(), W + expected / 4, atol=1e-12)
    combine_adapters(model, {"default": 2.0}, "more")
    np.testing.assert_allclose(layer.delta_weight(), expected / 2, atol=1e-12)


def test_loftq_stands_on_a_base_of_its_own(rng, make_model, ids):
    model = make_model()
    base, weight = model(ids)[0], model.layers[0].self_attn.q_proj.weight.value
    apply_lora(model, LOFTQ, rng=rng)
    layer = lora_layers(model)["layers.0.self_attn.q_proj"]
    part = layer.adapters["default"]
    beneath = part.beneath(layer.base_layer)
    assert isinstance(beneath, QuantizedLinear) and part.beneath(layer.base_layer) is beneath  # made once
    np.testing.assert_array_equal(beneath.dense_weight(), quantize(weight).dequantize())
    nearer = np.linalg.norm(weight - layer.dense_weight())
    assert nearer < np.linalg.norm(weight - beneath.dense_weight())
    apply_lora(model, LoraConfig(r=2, target_modules=("q_proj",)), rng=rng, adapter_name="plain")
    np.testing.assert_array_equal(model(ids)[0], base)  # the other stands on the float weight
    set_adapter(model, "default")
    for call in (
        lambda: scale_adapter(model, "default", 0.5),
        lambda: combine_adapters(model, {"default": 1.0}, "new"),
    ):
        with pytest.raises(ValueError, match="has no strength|whose update is B A alone"):
            call()


def test_loftq_needs_the_float_weight(rng, make_model):
    model = make_model()
    quantize_linears(model)
    with pytest.raises(ValueError, match="needs the float weight of layers.0.self_attn.q_proj, got a QuantizedLinear"):
        apply_lora(model, LOFTQ, rng=rng)
    assert not adapter_layers(model)
    apply_lora(model, PISSA, rng=rng)  # without a quantization it may stand on four bits


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LoftQConfig(loftq_iter=0), ValueError, "loftq_iter must be at least 1"),
        (lambda: LoftQConfig(code="nf9"), ValueError, "code must be one of"),
        (lambda: LoftQConfig(block_size=0), ValueError, "block_size must be at least 1"),
        (lambda: LoraConfig(loftq_config=LoftQConfig()), ValueError, "loftq_config must be None unless"),
        (
            lambda: LoraConfig(init_lora_weights="loftq", loftq_config=4),
            TypeError,
            "loftq_config must be a LoftQConfig",
        ),
        (lambda: LoraConfig(use_dora=1), TypeError, "use_dora must be True or False"),
        (lambda: LoraConfig(trainable_alpha="yes"), TypeError, "trainable_alpha must be True or False"),
    ],
)
def test_configs_are_checked(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_default_is_filled_in_and_a_dict_is_taken():
    assert LoraConfig(init_lora_weights="loftq").loftq_config == LoftQConfig()
    given = {"loftq_iter": 3, "code": "fp4", "block_size": 32, "double_quant": True}
    assert LoraConfig(init_lora_weights="pissa", loftq_config=given).loftq_config == LoftQConfig(**given)
