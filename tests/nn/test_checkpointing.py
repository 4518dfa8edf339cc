import tracemalloc

import numpy as np
import pytest

from minilora import LoraConfig, apply_lora
from minilora.nn import checkpoint_blocks


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_same_gradients_bit_for_bit(make_model, rng, dropout):
    model = make_model()
    if dropout:
        apply_lora(model, LoraConfig(r=2, lora_dropout=dropout, target_modules="all-linear"), rng=rng)
        for name, p in model.named_parameters():
            if name.endswith("lora_B"):
                p.value[...] = rng.standard_normal(p.shape)
    ids = rng.integers(0, 37, (2, 6))

    def gradients():
        model.zero_grad()
        loss, backward = model.loss(ids, ids, rng=np.random.default_rng(5))
        backward()
        return loss, {n: p.grad for n, p in model.named_parameters() if p.trainable}

    loss, plain = gradients()
    paths = list(dict(model.named_parameters()))
    checkpoint_blocks(model)
    assert list(dict(model.named_parameters())) == paths
    loss_again, checkpointed = gradients()
    assert loss == loss_again
    for name in plain:
        np.testing.assert_array_equal(plain[name], checkpointed[name])


def test_activations_are_gone(make_model, rng):
    model = make_model(num_hidden_layers=4)
    ids = rng.integers(0, 37, (8, 32))

    def held():
        tracemalloc.start()
        _, backward = model.loss(ids, ids)
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        del backward
        return size

    held()  # tables are cached on the first run
    before = held()
    checkpoint_blocks(model)
    assert held() < before / 5
