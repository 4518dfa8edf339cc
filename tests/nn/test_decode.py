"""What a Decoder computes is what the model computes, whatever its layers are made of."""

import sys

import numpy as np
import pytest

from minilora import (
    BottleneckConfig,
    Llama,
    LlamaConfig,
    LoraConfig,
    PrefixConfig,
    PromptConfig,
    apply_bottleneck,
    apply_lora,
    apply_prefix,
    apply_prompt,
    disable_adapters,
    generate,
    quantize_linears,
)
from minilora.nn import Decoder, KVCache, checkpoint_blocks, decode
from minilora.quant.matvec import BlockMatrix

CONFIG = LlamaConfig(
    vocab_size=37,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    initializer_range=0.3,
)


def randomize_B(model, rng):
    for path, parameter in model.named_parameters():
        if path.endswith("lora_B"):
            parameter.value[...] = rng.standard_normal(parameter.shape)


def lora(model, rng, **settings):
    apply_lora(model, LoraConfig(r=2, target_modules="all-linear", **settings), rng=rng)
    randomize_B(model, rng)


def disabled(model, rng):
    lora(model, rng)
    disable_adapters(model)


def quantized(code, then=None, **settings):
    def change(model, rng):
        quantize_linears(model, code, block_size=16, **settings)
        if then is not None:
            then(model, rng)

    return change


MODELS = {
    "plain": lambda model, rng: None,
    "checkpointed": lambda model, rng: checkpoint_blocks(model),
    "LoRA": lora,
    "LoRA, disabled": disabled,
    "DoRA": lambda model, rng: lora(model, rng, use_dora=True),
    "PiSSA": lambda model, rng: lora(model, rng, init_lora_weights="pissa"),
    "nf4": quantized("nf4"),
    "nf4, double": quantized("nf4", double_quant=True),
    "fp4": quantized("fp4"),
    "nf3": quantized("nf3"),
    "affine": quantized("int4_affine"),
    "affine, some": quantized("int4_affine", target_modules=("v_proj", "down_proj")),
    "QLoRA": quantized("nf4", lora),
    "QLoRA, disabled": quantized("int4_affine", disabled),
    "QLoRA, DoRA": quantized("nf4", lambda model, rng: lora(model, rng, use_dora=True)),
}


@pytest.fixture(params=["1", "2"], ids=["one thread", "two threads"])
def threads(request, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", request.param)
    monkeypatch.setattr(decode, "SHARE", 40)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("change", MODELS.values(), ids=MODELS.keys())
@pytest.mark.parametrize("tied", [True, False])
def test_logits_equal_the_models(rng, threads, change, batch, tied):
    config = LlamaConfig(**vars(CONFIG) | {"tie_word_embeddings": tied, "head_dim": 8 if tied else 6})
    model = Llama(config, rng=rng)
    for parameter in model.parameters():
        if parameter.value.ndim == 1:
            parameter.value[...] = rng.uniform(0.5, 2, parameter.shape)  # gains that are not ones
    change(model, rng)
    ids = rng.integers(0, 37, (batch, 9))
    plain, _ = model(ids)
    cache = [KVCache(9) for _ in model.layers]
    model(ids[:, :4], cache=cache)
    decoder = Decoder(model)
    for t in range(4, 9):
        logits = decoder(ids[:, t], cache)
        assert logits.dtype == np.float32 and logits.shape == (batch, 37)
        np.testing.assert_allclose(logits, plain[:, t], rtol=1e-3, atol=2e-5 * np.abs(plain).max())


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", ["plain", "QLoRA"])
def test_greedy_tokens_equal_the_plain_ones(rng, batch, name):
    model = Llama(CONFIG, rng=rng)
    MODELS[name](model, rng)
    ids = rng.integers(0, 37, (batch, 5))
    plain = generate(model, ids, 40, decoder=False)
    np.testing.assert_array_equal(generate(model, ids, 40), plain)
    decoder = Decoder(model)
    for _ in range(2):  # it can be used again
        np.testing.assert_array_equal(generate(model, ids, 40, decoder=decoder), plain)


@pytest.mark.parametrize(("name", "products"), [("nf4", 4), ("QLoRA", 4), ("affine, some", 2)])
def test_four_bit_layers_with_the_same_input_are_one_product(rng, monkeypatch, name, products):
    calls, model = [], Llama(CONFIG, rng=rng)
    MODELS[name](model, rng)
    plain = BlockMatrix.shares
    monkeypatch.setattr(BlockMatrix, "shares", lambda self, *args: calls.append(self) or plain(self, *args))
    cache = [KVCache(2) for _ in model.layers]
    model(np.array([[1]]), cache=cache)
    Decoder(model)(np.array([2]), cache)
    assert len(calls) == products * len(model.layers)


def test_it_is_made_where_it_pays_unless_it_is_not_wanted(rng, monkeypatch):
    made, model = [], Llama(CONFIG, rng=rng)

    class Counted(Decoder):
        def __init__(self, *args):
            made.append(args)
            super().__init__(*args)

    monkeypatch.setattr(sys.modules["minilora.nn.generate"], "Decoder", Counted)
    ids = np.array([[1, 2]])
    generate(model, ids, 31)
    generate(model, ids, 32, decoder=False)
    generate(model, ids, 32, use_cache=False)
    assert made == []
    generate(model, ids, 32)
    assert made == [(model,)]


@pytest.mark.parametrize(
    "change",
    [
        lambda model, rng: apply_prefix(model, PrefixConfig(num_virtual_tokens=2), rng=rng),
        lambda model, rng: apply_prompt(model, PromptConfig(num_virtual_tokens=2), rng=rng),
        lambda model, rng: apply_bottleneck(model, BottleneckConfig(bottleneck_size=2), rng=rng),
        lambda model, rng: apply_lora(model, LoraConfig(r=2, modules_to_save=("norm",)), rng=rng),
    ],
    ids=["prefix", "prompt", "bottleneck", "a norm of its own"],
)
def test_other_parts_are_refused_and_generate_without(rng, change):
    model = Llama(CONFIG, rng=rng)
    change(model, rng)
    assert not Decoder.fits(model)
    with pytest.raises(ValueError, match="plain Llama"):
        Decoder(model)
    assert generate(model, np.array([[1, 2]]), 40).shape == (1, 42)


def test_memory_is_what_it_says(rng):
    model = Llama(CONFIG, rng=rng)
    weights = sum(p.value.nbytes for path, p in model.named_parameters() if "proj" in path and "down" not in path)
    assert Decoder(model).nbytes == weights + model.embed_tokens.weight.value.nbytes  # the tied head's copy
    quantize_linears(model, "int4_affine", block_size=16)
    head = model.embed_tokens.weight.value.nbytes
    planes = Decoder(model).nbytes - head
    assert planes == sum(layer.q.nbytes for _, layer in model.named_modules() if hasattr(layer, "q"))


def test_decoded_layers_are_kept_within_the_budget(rng):
    model = Llama(CONFIG, rng=rng)
    quantize_linears(model, "nf4", block_size=16)
    ids, sizes = rng.integers(0, 37, (1, 5)), []
    plain, _ = model(ids)
    for budget in (0, 4 * 32 * (32 + 32), 10**9):  # none; the first layer's q, k and v; all
        cache = [KVCache(5) for _ in model.layers]
        model(ids[:, :4], cache=cache)
        decoder = Decoder(model, keep_decoded=budget)
        np.testing.assert_allclose(decoder(ids[:, 4], cache), plain[:, 4], rtol=1e-3, atol=1e-4)
        sizes.append(decoder.nbytes)
    assert sizes[0] < sizes[1] <= sizes[0] + 4 * 32 * 64 < sizes[2]


def test_what_it_is_given_is_checked(rng):
    model = Llama(CONFIG, rng=rng)
    decoder = Decoder(model)
    cache = [KVCache(4) for _ in model.layers]
    with pytest.raises(ValueError, match="read the prompt first"):
        decoder(np.array([1]), cache)
    model(np.array([[1, 2, 3]]), cache=cache)
    for ids, kind in ((np.array([37]), ValueError), (np.array([[1]]), ValueError), (np.array([1.0]), TypeError)):
        with pytest.raises(kind, match="token_ids must"):
            decoder(ids, cache)
    assert cache[0].length == 3
    decoder(np.array([1]), cache)
    with pytest.raises(ValueError, match="room"):
        decoder(np.array([1]), cache)
    with pytest.raises(ValueError, match="decoder must be made of this model"):
        generate(Llama(CONFIG, rng=rng), np.array([[1]]), 2, decoder=decoder)
    with pytest.raises(TypeError, match="decoder must be"):
        generate(model, np.array([[1]]), 2, decoder="yes")
    with pytest.raises(ValueError, match="keep_decoded"):
        Decoder(model, keep_decoded=-1)
