import gc
import weakref

import numpy as np
import pytest

from minilora import LoraConfig, apply_lora, quantize_linears
from minilora.nn import Embedding, Linear, RMSNorm
from minilora.nn.layers import LinearFace, project


def test_small_layers(check, rng):
    check(RMSNorm(6, dtype=np.float64), rng.standard_normal((2, 6)))
    check(Linear(6, 3, rng=rng, dtype=np.float64), rng.standard_normal((2, 6)))
    check(Embedding(9, 4, rng=rng, dtype=np.float64), np.array([[1, 1, 8]]))


def test_frozen_linear_keeps_no_input_and_no_gradient(rng):
    layer = Linear(6, 3, rng=rng, dtype=np.float64)
    for call in (layer, lambda x: project(x, layer), lambda x: project(x, layer, layer)):
        for trainable in (True, False):
            layer.weight.trainable = trainable
            x = rng.standard_normal((8, 6))
            kept = weakref.ref(x)
            y, backward = call(x)
            del x
            gc.collect()
            assert (kept() is not None) == trainable
            layer.weight.zero_grad()
            backward(np.ones_like(y))
            assert (layer.weight.grad is not None) == trainable


class Alone(LinearFace):
    """A linear layer that can only be called."""

    def __init__(self, layer):
        self.layer = layer

    in_features = property(lambda self: self.layer.in_features)
    out_features = property(lambda self: self.layer.out_features)

    def __call__(self, x, *, rng=None):
        return self.layer(x, rng=rng)


def layers(rng, trainable):
    return [
        Linear.from_weight(rng.standard_normal((out, 6)), trainable=which)
        for out, which in zip((4, 3, 5), trainable, strict=True)
    ]


@pytest.mark.parametrize("rows", [1, 5, 6, 40])
@pytest.mark.parametrize("trainable", [(True, True, True), (False, True, False), (False, False, False)], ids=str)
def test_one_product_equals_layer_by_layer(rng, rows, trainable):
    both, x = layers(rng, trainable), rng.standard_normal((rows, 1, 6))
    dy = rng.standard_normal((rows, 1, 12))
    results = []
    for some in (both, [Alone(layer) for layer in both]):
        y, backward = project(x, *some)
        dx = backward(dy)
        results.append((y, dx, [layer.weight.grad for layer in both]))
        for layer in both:
            layer.weight.zero_grad()
    (y, dx, grads), (plain_y, plain_dx, plain_grads) = results
    np.testing.assert_allclose(y, plain_y, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(dx, plain_dx, rtol=1e-12, atol=1e-13)
    assert [g is None for g in grads] == [not t for t in trainable] == [g is None for g in plain_grads]
    for one, other in zip(grads, plain_grads, strict=True):
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)


def test_project_gradient(check, rng):
    both = layers(rng, (True, False, True))
    for rows in (2, 8):
        check(lambda x: project(x, *both), rng.standard_normal((rows, 6)), module=both[0])


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_long_batch_equals_its_rows_one_by_one(make_model, rng, quantized, dropout):
    """Rows enough for one product on one side, too few on the other: the same gradients (dropout: none without rng)."""
    model = make_model(np.float32 if quantized else np.float64)
    if quantized:
        quantize_linears(model)
    apply_lora(model, LoraConfig(r=3, lora_alpha=7, target_modules="all-linear", lora_dropout=dropout), rng=rng)
    for name, p in model.named_parameters():
        if name.endswith("lora_B"):
            p.value[...] = rng.standard_normal(p.shape)
    ids, labels = rng.integers(0, 37, (2, 6, 9))
    loss, backward = model.loss(ids, labels)
    backward()
    long = {name: p.grad for name, p in model.named_parameters() if p.trainable}
    model.zero_grad()
    losses = []
    for row, label in zip(ids, labels, strict=True):
        one, backward = model.loss(row[None], label[None])
        backward(1 / 6)
        losses.append(one)
    tolerance = 1e-3 if quantized else 1e-9
    assert loss == pytest.approx(np.mean(losses), rel=tolerance)
    for name, p in model.named_parameters():
        if p.trainable:
            np.testing.assert_allclose(long[name], p.grad, rtol=tolerance, atol=tolerance, err_msg=name)


def test_a_wrong_input_is_named_by_project(rng):
    both = layers(rng, (True, True, True))
    with pytest.raises(TypeError, match="x must be float64 like the weights.*float32"):
        project(np.ones((8, 6), np.float32), *both)
    with pytest.raises(ValueError, match="x must have 6 entries"):
        project(np.ones((8, 5)), *both)
