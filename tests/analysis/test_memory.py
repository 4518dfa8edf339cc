"""Bytes by formula are the bytes counted in a model that is really built and trained."""

import numpy as np
import pytest

from minilora import AdamW, Llama, LlamaConfig, LoraConfig, PrefixConfig, apply_lora, apply_prefix, quantize_linears
from minilora.analysis import memory
from minilora.nn import fast
from minilora.nn.checkpointing import checkpoint_blocks

CONFIG = LlamaConfig(
    vocab_size=61, hidden_size=24, intermediate_size=40, num_hidden_layers=3, max_position_embeddings=32
)
UNTIED = LlamaConfig(
    vocab_size=61, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2, head_dim=6,
    max_position_embeddings=32, tie_word_embeddings=False,
)  # fmt: skip
SETUPS = {
    "full": memory.Setup(CONFIG),
    "full, float64": memory.Setup(CONFIG, dtype=np.float64),
    "full, untied head": memory.Setup(UNTIED),
    "full, checkpointing": memory.Setup(CONFIG, checkpointing=True),
    "quantized, norms trained": memory.Setup(CONFIG, code="nf3"),
    "LoRA on q and v": memory.Setup(CONFIG, lora=LoraConfig(r=3)),
    "LoRA, patterns": memory.Setup(CONFIG, lora=LoraConfig(r=3, target_modules="all-linear", rank_pattern={"up_proj": 5})),
    "LoRA, dropout": memory.Setup(CONFIG, lora=LoraConfig(r=2, target_modules="all-linear", lora_dropout=0.1)),
    "LoRA on the head": memory.Setup(UNTIED, lora=LoraConfig(r=2, target_modules=("lm_head", "o_proj"))),
    "QLoRA": memory.Setup(CONFIG, lora=LoraConfig(r=3, target_modules="all-linear"), code="nf4", double_quant=True),
    "QLoRA, affine": memory.Setup(UNTIED, lora=LoraConfig(r=3), code="int4_affine", block_size=32),
    "QLoRA, checkpointing": memory.Setup(CONFIG, lora=LoraConfig(r=3), code="int4", checkpointing=True),
    "prefix": memory.Setup(CONFIG, num_virtual_tokens=5),
    "prefix, untied head, NF4": memory.Setup(UNTIED, num_virtual_tokens=1, code="nf4"),
    "prefix, checkpointing": memory.Setup(CONFIG, num_virtual_tokens=5, checkpointing=True),
}  # fmt: skip


def build(setup):
    model = Llama(setup.config, rng=np.random.default_rng(0), dtype=setup.dtype)
    if setup.code is not None:
        quantize_linears(model, setup.code, block_size=setup.block_size, double_quant=setup.double_quant)
    if setup.lora is not None:
        apply_lora(model, setup.lora, rng=np.random.default_rng(1))
    if setup.num_virtual_tokens:
        apply_prefix(model, PrefixConfig(setup.num_virtual_tokens), rng=np.random.default_rng(1))
    if setup.checkpointing:
        checkpoint_blocks(model)
    return model


@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS.keys())
@pytest.mark.parametrize(
    ("length", "keep"),
    [(12, 256), (24, 256), (24, 20), (12, 10)],
    ids=["attention in one piece", "in blocks", "a long text", "in one piece over a long past"],
)
def test_the_formulas_give_what_is_counted(setup, length, keep, monkeypatch):
    monkeypatch.setattr(fast, "KEEP_UP_TO", keep)
    model = build(setup)
    trainable = [p for p in model.parameters() if p.trainable]
    assert memory.weight_bytes(setup) == memory.stored_bytes(model)
    assert memory.trainable_parameters(setup) == sum(p.size for p in trainable)
    assert memory.optimizer_bytes(setup) == AdamW(trainable).nbytes

    ids = np.random.default_rng(2).integers(0, setup.config.vocab_size, (2, length))
    _, backward = model.loss(ids, ids, rng=np.random.default_rng(3))
    # Checkpointing keeps the blocks' inputs, of long texts attention's output, and of the last block, whose backward comes
    # first, all.
    assert memory.activation_bytes(setup, *ids.shape) == memory.saved_bytes(backward, model)
    backward()
    assert memory.gradient_bytes(setup) == sum(p.grad.nbytes for p in trainable)


def test_published_counts():
    # Hu et al. 2021, section 4.2 of GPT-3 with r = 1 on q and v: 4.7 million; here a Llama of that width and depth.
    wide = LlamaConfig(hidden_size=12288, num_hidden_layers=96, num_attention_heads=96, num_key_value_heads=96)
    assert memory.trainable_parameters(memory.Setup(wide, lora=LoraConfig(r=1))) == 4_718_592
    # Llama 2 7B has 6,738,415,616 parameters (its config.json and its index of safetensors).
    seven = LlamaConfig(
        vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=32, tie_word_embeddings=False,
    )  # fmt: skip
    assert memory.trainable_parameters(memory.Setup(seven)) == 6_738_415_616


@pytest.mark.parametrize("half", [np.float16, "float16", np.dtype("float16")])
def test_sixteen_bits_are_half_of_thirty_two(half):
    for more in ({}, {"lora": LoraConfig(r=2)}, {"num_virtual_tokens": 3}):
        one, other = memory.Setup(CONFIG, dtype=half, **more), memory.Setup(CONFIG, **more)
        assert 2 * memory.weight_bytes(one) == memory.weight_bytes(other)
        assert 2 * memory.activation_bytes(one, 2, 24) == memory.activation_bytes(other, 2, 24)
        assert 2 * memory.optimizer_bytes(one) == memory.optimizer_bytes(other)


def test_saved_bytes_counts_each_buffer_once_and_nothing_that_stays():
    model = build(SETUPS["full"])
    kept, table = np.ones(10), np.ones(99)
    table.setflags(write=False)
    weight = model.embed_tokens.weight.value

    def backward():
        return kept, kept[:5], [kept.reshape(2, 5)], {"table": table}, weight, weight.T, np.arange(3), later

    later = np.ones(3, np.float32)
    kept_in_closure = [kept[2:], later]
    inner = lambda: (backward, kept_in_closure, table, weight)  # noqa: E731
    assert memory.saved_bytes(inner, model) == kept.nbytes + later.nbytes


REFUSED = [
    (lambda: memory.Setup({}), TypeError, "config must be a LlamaConfig"),
    (lambda: memory.Setup(CONFIG, lora=8), TypeError, "lora must be a LoraConfig"),
    (lambda: memory.Setup(CONFIG, code="nf9"), ValueError, "code must be one of"),
    (lambda: memory.Setup(CONFIG, dtype=None), TypeError, "dtype must be float32"),
    (lambda: memory.Setup(CONFIG, num_virtual_tokens=-1), ValueError, "num_virtual_tokens"),
    (
        lambda: memory.Setup(CONFIG, LoraConfig(), num_virtual_tokens=2),
        ValueError,
        "num_virtual_tokens must be 0 beside",
    ),
    (lambda: memory.activation_bytes(memory.Setup(CONFIG), 0, 4), ValueError, "batch_size"),
    (lambda: memory.activation_bytes(memory.Setup(CONFIG), 1, 2.5), TypeError, "length"),
    (lambda: memory.stored_bytes(None), TypeError, "model must be a Module"),
    (lambda: memory.saved_bytes(3, build(SETUPS["full"])), TypeError, "backward must be callable"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_refused(call, error, message):
    with pytest.raises(error, match=f"^({message})"):
        call()


@pytest.mark.parametrize(
    "more",
    [{"use_dora": True}, {"trainable_alpha": True}, {"init_lora_weights": "pissa"}, {"modules_to_save": ("norm",)}],
)
def test_a_lora_that_takes_more_has_no_formula(more):
    assert memory.has_formula(LoraConfig(init_lora_weights="gaussian"))
    with pytest.raises(ValueError, match="lora must be A and B alone for the formulas"):
        memory.Setup(CONFIG, lora=LoraConfig(**more))
