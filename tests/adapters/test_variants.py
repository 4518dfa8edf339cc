import numpy as np
import pytest

from minilora import LoraConfig
from minilora.adapters import LoRALinear
from minilora.nn import Linear

CONFIG = LoraConfig(r=3, lora_alpha=6, use_dora=True)


@pytest.fixture
def layer(rng):
    layer = LoRALinear(Linear.from_weight(rng.standard_normal((6, 10)), trainable=False))
    layer.add_adapter("default", CONFIG, rng=rng)
    return layer


def filled(layer, rng):
    part = layer.adapters["default"]
    part.lora_B.value[...] = rng.standard_normal((6, 3))
    part.lora_magnitude_vector.value[...] = rng.standard_normal(6)
    return part


def test_at_first_each_row_has_the_length_that_it_had(layer, rng):
    x = rng.standard_normal((2, 10))
    np.testing.assert_array_equal(layer(x)[0], layer.base_layer(x)[0])
    np.testing.assert_allclose(
        layer.adapters["default"].lora_magnitude_vector.value, np.linalg.norm(layer.base_layer.weight.value, axis=1)
    )


def test_it_is_the_formula(layer, rng):
    part = filled(layer, rng)
    V = layer.base_layer.weight.value + 2.0 * part.lora_B.value @ part.lora_A.value
    weight = part.lora_magnitude_vector.value[:, None] * V / np.linalg.norm(V, axis=1, keepdims=True)
    np.testing.assert_allclose(layer.dense_weight(), weight, rtol=1e-12)
    np.testing.assert_allclose(layer.delta_weight(), weight - layer.base_layer.weight.value, rtol=1e-12)
    x = rng.standard_normal((2, 3, 10))
    np.testing.assert_allclose(layer(x)[0], x @ weight.T, rtol=1e-10)
    np.testing.assert_allclose(layer.merged()(x)[0], x @ weight.T, rtol=1e-10)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients(check, rng, layer, constant_norms, dropout):
    layer.remove("default")
    layer.add_adapter("default", LoraConfig(r=3, use_dora=True, lora_dropout=dropout, trainable_alpha=True), rng=rng)
    filled(layer, rng)
    check(lambda x: layer(x, rng=np.random.default_rng(4)), rng.standard_normal((2, 3, 10)), module=layer)


def test_the_norm_is_a_constant_in_backward(layer, rng):
    """The gradient of A is that of m V / c, c held still: it has a part along V's rows, which the true one has not."""
    part = filled(layer, rng)
    x, dy = rng.standard_normal((4, 10)), rng.standard_normal((4, 6))
    _, backward = layer(x)
    backward(dy)
    V = layer.base_layer.weight.value + 2.0 * part.lora_B.value @ part.lora_A.value
    dV = (dy.T @ x) * (part.lora_magnitude_vector.value / np.linalg.norm(V, axis=1))[:, None]
    np.testing.assert_allclose(part.lora_A.grad, 2.0 * part.lora_B.value.T @ dV, rtol=1e-10)
    np.testing.assert_allclose(part.lora_B.grad, 2.0 * dV @ part.lora_A.value.T, rtol=1e-10)


def test_a_row_of_zeros_stays_zero(rng):
    weight = rng.standard_normal((6, 10))
    weight[2] = 0
    layer = LoRALinear(Linear.from_weight(weight, trainable=False))
    layer.add_adapter("default", CONFIG, rng=rng)
    y, backward = layer(rng.standard_normal((4, 10)))
    assert not y[:, 2].any() and np.isfinite(y).all()
    assert np.isfinite(backward(np.ones((4, 6)))).all()
