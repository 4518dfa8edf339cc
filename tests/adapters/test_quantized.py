import tracemalloc

import numpy as np
import pytest

from minilora import AdamW, Llama, LlamaConfig, LoraConfig, apply_lora, merge_lora, quantize_linears
from minilora.adapters import QuantizedLinear
from minilora.nn import Linear
from minilora.quant import quantize


def quantized_paths(model):
    return [path for path, module in model.named_modules() if isinstance(module, QuantizedLinear)]


def test_acts_as_its_decoded_weight(check, rng):
    weight = rng.standard_normal((6, 10))
    layer, dense = QuantizedLinear(quantize(weight)), Linear.from_weight(quantize(weight).dequantize(), trainable=False)
    x, dy = rng.standard_normal((2, 3, 10)), rng.standard_normal((2, 3, 6))
    (y, backward), (y_dense, dense_backward) = layer(x), dense(x)
    np.testing.assert_array_equal(y, y_dense)
    np.testing.assert_array_equal(backward(dy), dense_backward(dy))
    check(layer, x)
    assert (layer.in_features, layer.out_features, layer.dtype) == (10, 6, np.float64)


def test_all_linear_leaves_head_and_embedding(make_model):
    model = make_model(tie_word_embeddings=False)
    paths = quantize_linears(model, "nf4", block_size=32, double_quant=True)
    assert paths == quantized_paths(model)
    assert len(paths) == 14
    assert all(layer.q.block_size == 32 and layer.q.double_quant for layer in map(model.get_submodule, paths))


def test_a_refused_call_changes_nothing(rng, make_model):
    model = make_model()
    model.get_submodule("layers.1.mlp.down_proj").weight.value[0, 0] = np.nan
    with pytest.raises(ValueError, match="must be finite"):
        quantize_linears(model)
    assert not quantized_paths(model)
    model = make_model()
    quantize_linears(model, target_modules=("q_proj",))
    with pytest.raises(ValueError, match="layers.0.self_attn.q_proj must be a dense Linear"):
        quantize_linears(model)
    assert len(quantized_paths(model)) == 2


def test_under_an_adapter_it_is_refused(rng, make_model):
    model = make_model()
    apply_lora(model, LoraConfig(r=2, target_modules=("q_proj",)), rng=rng)
    with pytest.raises(ValueError, match="quantize before apply_lora"):
        quantize_linears(model, target_modules=("o_proj",))  # the base under the adapter would change, unseen
    merge_lora(model)
    with pytest.raises(ValueError, match="must not be merged"):
        quantize_linears(model)
    assert not quantized_paths(model)


def test_after_a_final_merge_it_works(rng, make_model):
    model = make_model()
    apply_lora(model, LoraConfig(r=2, target_modules=("q_proj",)), rng=rng)
    merge_lora(model, keep_unmerged=False)
    assert len(quantize_linears(model)) == 14


def peak_of(work):
    """Bytes allocated at most while `work()` ran, beyond those that were there."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("code", "double_quant"), [("nf4", False), ("nf4", True), ("int4_affine", False)])
@pytest.mark.parametrize("r", [None, 2])
def test_no_more_than_one_decoded_matrix_is_held_in_a_training_step(rng, code, double_quant, r):
    """Three tokens have hardly any activations: what a step of QLoRA allocates at most is one decoded matrix, of 14."""
    config = LlamaConfig(vocab_size=16, hidden_size=256, intermediate_size=768, num_hidden_layers=2)
    model = Llama(config, rng=rng)
    largest = max(p.value.nbytes for p in model.parameters())
    together = sum(p.value.nbytes for p in model.parameters())
    quantize_linears(model, code, double_quant=double_quant)
    ids = np.array([[1, 2, 3]])
    if r is None:
        dy = np.zeros((1, 3, 16), np.float32)
        model(ids)  # the code's tables are there
        peak = peak_of(lambda: model(ids)[1](dy))
    else:
        apply_lora(model, LoraConfig(r=r, target_modules="all-linear"), rng=rng)
        optimizer = AdamW([p for p in model.parameters() if p.trainable], lr=1e-3)

        def step():
            _, backward = model.loss(ids, ids)
            backward()
            optimizer.step()

        step()  # gradients and moments are there
        peak = peak_of(step)
    assert largest < peak < 1.7 * largest < 0.4 * together
