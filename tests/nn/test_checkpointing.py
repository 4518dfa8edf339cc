import numpy as np
import pytest

from minilora import LoraConfig, apply_lora, quantize_linears
from minilora.analysis.memory import saved_bytes
from minilora.nn import checkpoint_blocks, fast


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("dropout", [None, 0.0, 0.3], ids=["full", "LoRA", "LoRA with dropout"])
@pytest.mark.parametrize(
    ("length", "keep"), [(6, 256), (20, 256), (20, 10)], ids=["attention in one piece", "in blocks", "a long text"]
)
def test_same_gradients_bit_for_bit(make_model, rng, quantized, dropout, length, keep, monkeypatch):
    monkeypatch.setattr(fast, "KEEP_UP_TO", keep)
    model = make_model(num_hidden_layers=3)
    if quantized:
        quantize_linears(model, "nf4")
    if dropout is not None:
        apply_lora(model, LoraConfig(r=2, lora_dropout=dropout, target_modules="all-linear"), rng=rng)
        for name, p in model.named_parameters():
            if name.endswith("lora_B"):
                p.value[...] = rng.standard_normal(p.shape)
    ids = rng.integers(0, 37, (2, length))

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
    model = make_model(num_hidden_layers=6)
    ids = rng.integers(0, 37, (8, 32))
    _, plain = model.loss(ids, ids)
    checkpoint_blocks(model)
    _, backward = model.loss(ids, ids)
    before = saved_bytes(plain, model)
    assert saved_bytes(backward, model) < before / 3  # the inputs of six blocks, and the activations of the last
    backward()
    assert saved_bytes(backward, model) < before / 5  # the inputs alone


def test_attention_of_a_long_text_is_computed_once(make_model, rng, monkeypatch):
    """Its work grows with the square of the text, what it keeps does not."""
    model, ids = make_model(num_hidden_layers=3), rng.integers(0, 37, (2, 20))
    checkpoint_blocks(model)
    plain, known = fast.causal_attention, []

    def spied(q, k, v, memo=None):
        known.append(bool(memo))
        return plain(q, k, v, memo)

    monkeypatch.setattr(fast, "causal_attention", spied)
    for keep, again in ((256, [False, False]), (10, [True, True])):
        monkeypatch.setattr(fast, "KEEP_UP_TO", keep)
        _, backward = model.loss(ids, ids)
        backward()
        assert known == [False] * 3 + again  # three blocks forward; all but the last, which kept its activations, again
        known.clear()


def test_backward_can_be_asked_again(make_model, rng):
    model, ids = make_model(), rng.integers(0, 37, (2, 20))
    checkpoint_blocks(model)
    _, backward = model.loss(ids, ids)
    backward()
    once = {name: p.grad.copy() for name, p in model.named_parameters()}
    backward()
    for name, p in model.named_parameters():
        np.testing.assert_allclose(p.grad, 2 * once[name], rtol=1e-12, atol=1e-15)
