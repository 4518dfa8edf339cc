"""One table of ops, layers and adapters, and the contract of each: what is given back is fresh and belongs to the caller,
what is handed in is never written into, float32 stays float32, and backward does not depend on what became of y."""

import numpy as np
import pytest

from minilora import BottleneckConfig, LoraConfig, PrefixConfig, PromptConfig, apply_lora, quantize_linears
from minilora.adapters.methods import method_of
from minilora.nn import MLP, Attention, Block, CheckpointedBlock, KVCache, Linear, RMSNorm, fast, ops
from minilora.nn.layers import project
from minilora.nn.rope import rope, rope_table

B, T, D, V = 2, 20, 24, 37  # as in conftest.small_config; T is long enough for attention in blocks
IDS = np.random.default_rng(3).integers(0, V, (B, T))


def draw(*shapes):
    """An op of arrays of these shapes: (op, the arrays)."""

    def make(op):
        return lambda rng, dtype, make_model: (op, [rng.standard_normal(shape).astype(dtype) for shape in shapes])

    return make


OPS = {
    "linear": draw((B, T, 5), (4, 5))(ops.linear),
    "linear_frozen": draw((B, T, 5), (4, 5))(lambda x, w: _first(ops.linear_frozen(x, w))),
    "embedding": draw((V, 5))(lambda w: ops.embedding(IDS, w)),
    "rms_norm": draw((B, T, 5), (5,))(lambda x, g: ops.rms_norm(x, g, 1e-5)),
    "silu": draw((B, T, 5))(ops.silu),
    "causal_attention": draw((B, 4, T, 6), (B, 2, T, 6), (B, 2, T, 6))(ops.causal_attention),
    "fast.causal_attention": draw((B, 4, T, 6), (B, 2, T, 6), (B, 2, T, 6))(fast.causal_attention),
    "fast.causal_attention, one key/value head": draw((B, 3, T, 6), (B, 1, T, 6), (B, 1, T, 6))(fast.causal_attention),
    "fast.swiglu": draw((B, T, 10))(fast.swiglu),
    "dropout": draw((B, T, 5))(lambda x: ops.dropout(x, 0.3, np.random.default_rng(0))),
    "rope": draw((B, 2, T, 6))(lambda x: rope(x, *rope_table(T, 6, 100.0, x.dtype))),
    "cross_entropy": draw((B, T, V))(lambda z: _scalar(ops.cross_entropy(z, IDS))),
    "fast.linear_cross_entropy": draw((B * T, 5), (V, 5))(
        lambda x, w: _scalar(fast.linear_cross_entropy(x, w, IDS.reshape(-1)))
    ),
}


def _first(result):
    y, backward = result
    return y, lambda dy: (backward(dy),)


def _scalar(result):
    loss, backward = result
    return np.asarray(loss).reshape(1), lambda dloss: backward(float(dloss[0]))


def layer(make):
    def case(rng, dtype, make_model):
        return make(make_model(dtype), rng), [rng.standard_normal((B, T, D)).astype(dtype)]

    return case


def adapted(config, path="layers.0.self_attn.q_proj", quantized=False):
    """What stands at `path` of a model with this adapter, its arrays random so that no zero hides anything."""

    def make(model, rng):
        if quantized:
            quantize_linears(model)
        if config is not None:
            method_of(config).apply(model, config, rng=rng)
        for _, p in model.named_parameters():
            if p.trainable:
                p.value[...] = rng.standard_normal(p.shape)
        return model.forward_from if path == "forward_from" else model.get_submodule(path)

    return layer(make)


LORA = LoraConfig(r=2, target_modules="all-linear")
LAYERS = {
    "Linear": layer(lambda model, rng: Linear(D, 5, rng=rng, dtype=model.dtype)),
    "Linear, frozen": adapted(LoraConfig(r=2, target_modules=("v_proj",))),
    "RMSNorm": layer(lambda model, rng: RMSNorm(D, dtype=model.dtype)),
    "Attention": layer(lambda model, rng: Attention(model.config, rng=rng, dtype=model.dtype)),
    "Attention with a cache": layer(lambda model, rng: lambda x: model.layers[0].self_attn(x, cache=KVCache(T))),
    "MLP": layer(lambda model, rng: MLP(model.config, rng=rng, dtype=model.dtype)),
    "Block": layer(lambda model, rng: Block(model.config, rng=rng, dtype=model.dtype)),
    "CheckpointedBlock": layer(lambda model, rng: CheckpointedBlock(model.layers[0])),
    "CheckpointedBlock, the last": layer(lambda model, rng: CheckpointedBlock(model.layers[0], last=True)),
    "project, one product": layer(lambda model, rng: lambda x: project(x, model.layers[0].self_attn.q_proj)),
    "forward_from": adapted(None, "forward_from"),
    "QuantizedLinear": adapted(None, quantized=True),
    "LoRALinear": adapted(LORA),
    "LoRALinear, dropout": layer(lambda model, rng: _dropping(model, rng)),
    "LoRALinear, four bits": adapted(LORA, quantized=True),
    "DoRA": adapted(LoraConfig(r=2, target_modules="all-linear", use_dora=True)),
    "PiSSA": adapted(LoraConfig(r=2, target_modules="all-linear", init_lora_weights="pissa")),
    "alpha learned": adapted(LoraConfig(r=2, target_modules="all-linear", trainable_alpha=True)),
    "Block with LoRA": adapted(LORA, "layers.1"),
    "Block with LoRA over four bits": adapted(LORA, "layers.1", quantized=True),
    "bottleneck": adapted(BottleneckConfig(bottleneck_size=3), "layers.0.mlp"),
    "Block with bottleneck": adapted(BottleneckConfig(bottleneck_size=3), "layers.1"),
    "prefix": adapted(PrefixConfig(num_virtual_tokens=3), "forward_from"),
    "prompt": adapted(PromptConfig(num_virtual_tokens=3), "forward_from"),
}


def _dropping(model, rng):
    apply_lora(model, LoraConfig(r=2, target_modules="all-linear", lora_dropout=0.5), rng=rng)
    return lambda x: model.layers[0].mlp.up_proj(x, rng=np.random.default_rng(1))


CASES = OPS | LAYERS


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_contract(rng, make_model, case, dtype):
    call, inputs = case(rng, dtype, make_model)
    before = [x.copy() for x in inputs]
    for x in inputs:
        x.setflags(write=False)
    y, backward = call(*inputs)
    dy = rng.standard_normal(y.shape).astype(dtype)
    dy.setflags(write=False)

    def gradients(backward):
        dx = backward(dy)
        return list(dx) if isinstance(dx, tuple) else [dx]

    fresh(y, dtype, [*inputs, dy], "y")
    if not has_backward(backward, dy):
        return
    grads = gradients(backward)
    assert [g.shape for g in grads] == [x.shape for x in inputs][: len(grads)]
    for i, grad in enumerate(grads):
        fresh(grad, dtype, [*inputs, dy, y, *grads[:i]], f"gradient {i}")
    expected = [g.copy() for g in grads]
    for given in (y, *grads):
        given[...] = np.nan  # they are the caller's ...
    for grad, same in zip(gradients(backward), expected, strict=True):
        np.testing.assert_array_equal(grad, same)  # ... and backward does not look at them
    for x, same in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(x, same)


def fresh(array, dtype, others, name):
    assert array.dtype == dtype, name
    assert array.flags.writeable, f"{name} is read-only"
    assert not any(np.shares_memory(array, other) for other in others), f"{name} shares memory"


def has_backward(backward, dy):
    try:
        backward(dy)
    except ValueError as error:
        assert "without cache" in str(error)
        return False
    return True
