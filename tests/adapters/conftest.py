"""Shared: a small model over a dense or a 4-bit base, and adapters that are not zero."""

import numpy as np
import pytest

from minilora import LoraConfig, quantize_linears
from minilora.adapters import DoRA, lora_layers


@pytest.fixture
def all_linear():
    return LoraConfig(r=4, lora_alpha=8, target_modules="all-linear")


@pytest.fixture
def fill_B(rng):
    """At B = 0 wrong backwards pass, so tests draw B."""

    def fill(model, scale=0.3):
        for layer in lora_layers(model).values():
            if layer.active is not None:
                layer.lora_B.value[...] = scale * rng.standard_normal(layer.lora_B.shape)

    return fill


@pytest.fixture(params=[False, True], ids=["dense", "nf4"])
def model(request, make_model):
    model = make_model()
    if request.param:
        quantize_linears(model, "nf4", block_size=64, double_quant=True)
    return model


@pytest.fixture
def ids(rng):
    return rng.integers(0, 37, (2, 6))


@pytest.fixture
def frozen_bytes():
    """{path: bytes} of everything that a training step must leave alone."""

    def collect(model):
        from minilora.adapters import QuantizedLinear

        frozen = {n: p.value.tobytes() for n, p in model.named_parameters() if not p.trainable}
        packed = {n: m.q.packed.tobytes() for n, m in model.named_modules() if isinstance(m, QuantizedLinear)}
        return frozen | packed

    return collect


@pytest.fixture
def twin(make_model):
    """twin(model): another model with the same dense weights."""

    def copy(model, **changes):
        other = make_model(**changes)
        for p, q in zip(model.parameters(), other.parameters(), strict=True):
            q.value[...] = p.value
        return other

    return copy


@pytest.fixture
def step():
    """One step of gradient descent on everything trainable: gradients land, values move."""

    def run(model, ids, rate=0.5):
        model.zero_grad()
        _, backward = model.loss(ids, np.roll(ids, -1, axis=1))
        backward()
        for parameter in model.parameters():
            if parameter.trainable:
                parameter.value -= rate * parameter.grad

    return run


@pytest.fixture
def constant_norms(monkeypatch):
    """DoRA's norms count as constants in its backward. So that differences agree, each is computed once and then kept."""
    norms, compute = {}, DoRA.norm

    def norm(part, base_layer):
        if id(part) not in norms:
            norms[id(part)] = compute(part, base_layer)
        return norms[id(part)]

    monkeypatch.setattr(DoRA, "norm", norm)
    return norms
