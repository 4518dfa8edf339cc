"""Bad input gets a ValueError or TypeError that names the argument and what was seen."""

import numpy as np
import pytest

from minilora import (
    AdamW,
    Llama,
    LlamaConfig,
    LoraConfig,
    Trainer,
    TrainingConfig,
    apply_lora,
    codebook,
    disable_adapters,
    generate,
    gradcheck,
    load_adapter,
    load_base,
    merge_lora,
    quantize,
    quantize_linears,
    set_adapter,
    unmerge_lora,
)
from minilora.adapters import QuantizedLinear, adapter_state
from minilora.data import ByteTokenizer, EpochBatches, RandomCrops, encode_records, load_records, split
from minilora.nn import Embedding, KVCache, Linear, Parameter, RMSNorm
from minilora.quant import normal_float, quantize_scales, storage_bytes
from minilora.training import clip_grad_norm, lr_factor

RNG = np.random.default_rng(0)
CONFIG = LlamaConfig(
    vocab_size=37, hidden_size=24, intermediate_size=40, num_hidden_layers=1, max_position_embeddings=16
)
IDS = np.array([[1, 2, 3]])
W = np.ones((4, 8), np.float32)
NAN = np.array([[1.0, np.nan], [2.0, 3.0]], np.float32)
INF = np.array([1.0, 2.0, np.inf], np.float32)
TOKENIZER = ByteTokenizer()


def model(**kwargs):
    return Llama(CONFIG, rng=np.random.default_rng(0), **kwargs)


def lora(**kwargs):
    m = model()
    apply_lora(m, LoraConfig(r=2, **kwargs), rng=RNG)
    return m


def linear():
    return Linear(8, 4, rng=RNG)


def trainer(**kwargs):
    settings = {"model": model(), "config": TrainingConfig(), "batches": lambda step: (IDS, IDS)} | kwargs
    return Trainer(settings.pop("model"), settings.pop("config"), settings.pop("batches"), **settings)


CASES = [
    # config
    (lambda: LlamaConfig(vocab_size=0), ValueError, "vocab_size.*between 1 and .*0"),
    (lambda: LlamaConfig(hidden_size=-8), ValueError, "hidden_size.*-8"),
    (lambda: LlamaConfig(hidden_size=12.0), TypeError, "hidden_size.*12.0"),
    (lambda: LlamaConfig(hidden_size=True), TypeError, "hidden_size.*True"),
    (lambda: LlamaConfig(intermediate_size="8"), TypeError, "intermediate_size.*'8'"),
    (lambda: LlamaConfig(num_hidden_layers=0), ValueError, "num_hidden_layers.*0"),
    (lambda: LlamaConfig(num_attention_heads=3), ValueError, "num_attention_heads.*3 and 2"),
    (
        lambda: LlamaConfig(num_key_value_heads=3),
        ValueError,
        "num_attention_heads must be a multiple of num_key_value_heads, got 4 and 3",
    ),
    (lambda: LlamaConfig(hidden_size=126), ValueError, "hidden_size.*126 and 4"),
    (lambda: LlamaConfig(head_dim=7), ValueError, "head_dim.*even.*7"),
    (lambda: LlamaConfig(rope_theta=0), ValueError, "rope_theta.*0"),
    (lambda: LlamaConfig(rope_theta=float("nan")), ValueError, "rope_theta.*finite.*nan"),
    (lambda: LlamaConfig(rms_norm_eps=-1e-5), ValueError, "rms_norm_eps.*-1e-05"),
    (lambda: LlamaConfig(tie_word_embeddings=1), TypeError, "tie_word_embeddings.*1"),
    (lambda: LlamaConfig(max_position_embeddings=0), ValueError, "max_position_embeddings"),
    (lambda: LlamaConfig(initializer_range=-1), ValueError, "initializer_range.*-1"),
    # layers
    (lambda: Llama({"vocab_size": 3}, rng=RNG), TypeError, "config must be a LlamaConfig"),
    (lambda: Llama(CONFIG, rng=0), TypeError, "rng.*Generator.*0"),
    (lambda: Llama(CONFIG, rng=RNG, dtype=np.float16), TypeError, "dtype.*float32 or float64"),
    (lambda: Llama(CONFIG, rng=RNG, dtype="nonsense"), TypeError, "dtype.*nonsense"),
    (lambda: Linear(0, 4, rng=RNG), ValueError, "in_features.*0"),
    (lambda: Linear(4, 2.5, rng=RNG), TypeError, "out_features.*2.5"),
    (lambda: Linear.from_weight(np.ones(3, np.float32)), ValueError, r"weight.*2 axes.*\(3,\)"),
    (lambda: Linear.from_weight([[1.0]]), TypeError, "weight.*numpy array"),
    (lambda: linear()(np.ones((2, 5), np.float32)), ValueError, r"x must have 8 entries.*\(2, 5\)"),
    (lambda: linear()(np.ones((2, 8))), TypeError, "x must be float32.*float64"),
    (lambda: linear()(np.ones((2, 8), int)), TypeError, "x must be float32 or float64.*int64"),
    (lambda: linear()([[1.0] * 8]), TypeError, "x must be a numpy array"),
    (lambda: linear()(np.ones((0, 8), np.float32)), ValueError, "x must not be empty"),
    (lambda: RMSNorm(0), ValueError, "size.*0"),
    (lambda: RMSNorm(4, eps=0), ValueError, "eps.*0"),
    (lambda: Embedding(4, 2, rng=RNG)(np.array([[4]])), ValueError, "token_ids.*0 .. 3.*4"),
    (lambda: Parameter([1.0]), TypeError, "value.*numpy array"),
    (lambda: Parameter(np.ones(3)).accumulate(np.ones(4)), ValueError, r"grad.*\(3,\).*\(4,\)"),
    (lambda: model().get_submodule("layers.9"), ValueError, "path .layers.9.*there are"),
    (lambda: model().get_submodule(3), TypeError, "path.*3"),
    (lambda: model().set_submodule("layers.0.nothing", linear()), ValueError, "path .layers.0.nothing"),
    (lambda: model().set_submodule("norm", 3), TypeError, "module must be a Module.*3"),
    # tokens and labels
    (lambda: model()(np.array([[37]])), ValueError, "token_ids.*0 .. 36.*37"),
    (lambda: model()(np.array([[-1]])), ValueError, "token_ids.*-1"),
    (lambda: model()(np.array([[1.0]])), TypeError, "token_ids.*integers.*float64"),
    (lambda: model()([[1]]), TypeError, "token_ids.*numpy array"),
    (lambda: model()(np.zeros((1, 0), int)), ValueError, "token_ids must not be empty"),
    (lambda: model()(np.zeros(3, int)), ValueError, r"token_ids.*2 axes.*\(3,\)"),
    (
        lambda: model()(np.zeros((1, 17), int)),
        ValueError,
        "token_ids must reach no further than max_position_embeddings = 16.*17",
    ),
    (lambda: model().loss(IDS, IDS[:, :2]), ValueError, r"labels.*\(1, 3\).*\(1, 2\)"),
    (lambda: model().loss(IDS, np.full((1, 3), -100)), ValueError, "labels.*at least one"),
    (lambda: model().loss(IDS, np.array([[1, 2, 40]])), ValueError, "labels.*40"),
    (lambda: model().loss(IDS, np.array([[1, 2, -3]])), ValueError, "labels.*-3"),
    (lambda: model().loss(IDS, IDS.astype(float)), TypeError, "labels.*float64"),
    (lambda: model()(IDS > 1), TypeError, "token_ids must be a numpy array of integers.*bool"),
    (lambda: model()(np.ma.masked_equal(IDS, 2)), TypeError, "token_ids must be an array without a mask"),
    (lambda: model().loss(IDS, np.ma.masked_equal(IDS, 2)), TypeError, "labels must be an array without a mask"),
    (lambda: model()(IDS, rng=0), TypeError, "rng.*Generator.*0"),
    (lambda: model().loss(IDS, IDS, rng=0), TypeError, "rng.*Generator.*0"),
    (lambda: model()(IDS, logits_to_keep=-1), ValueError, "logits_to_keep.*-1"),
    (lambda: model()(IDS, inference=1), TypeError, "inference.*1"),
    # generate
    (lambda: generate(None, IDS, 2), TypeError, "model must be a Llama.*None"),
    (lambda: generate(model(), [[1, 2]], 2), TypeError, r"token_ids must be a numpy array.*\[\[1, 2\]\]"),
    (lambda: generate(model(), IDS[0], 2), ValueError, r"token_ids must have 2 axes.*\(3,\)"),
    (lambda: generate(model(), np.ma.masked_equal(IDS, 2), 2), TypeError, "token_ids must be an array without a mask"),
    (lambda: generate(model(), IDS, 2, use_cache=1), TypeError, "use_cache.*1"),
    (lambda: generate(model(), IDS, 2, temperature=np.nan), ValueError, "temperature.*nan"),
    (lambda: generate(model(), IDS, 0), ValueError, "max_new_tokens.*0"),
    (
        lambda: generate(model(), IDS, 15),
        ValueError,
        "token_ids must reach no further than max_position_embeddings = 16.*17",
    ),
    (lambda: generate(model(), IDS, 2, temperature=-1), ValueError, "temperature.*-1"),
    (lambda: generate(model(), IDS, 2, temperature=1.0), TypeError, "rng.*Generator"),
    (lambda: generate(model(), IDS, 2, top_k=3), ValueError, "top_k.*temperature above 0"),
    (lambda: generate(model(), IDS, 2, temperature=1.0, top_k=0, rng=RNG), ValueError, "top_k.*0"),
    (lambda: generate(model(), IDS, 2, temperature=1.0, top_p=1.5, rng=RNG), ValueError, "top_p.*1.5"),
    (lambda: generate(model(), IDS, 2, eos_token_id=99), ValueError, "eos_token_id.*99"),
    (lambda: generate(model(), IDS, 2, eos_token_id=[0, 99]), ValueError, r"eos_token_id\[1\].*99"),
    (lambda: generate(model(), IDS, 2, eos_token_id=[]), ValueError, "eos_token_id must hold at least one token"),
    (lambda: KVCache(0), ValueError, "capacity.*0"),
    # gradcheck
    (lambda: gradcheck(linear(), np.ones((2, 8), np.float32), rng=RNG), TypeError, "input 0.*float64"),
    (lambda: gradcheck(linear(), np.ones((2, 8)), rng=None), TypeError, "rng.*Generator"),
    (lambda: gradcheck(linear(), np.ones((2, 8)), rng=RNG, step=0), ValueError, "step.*0"),
    (lambda: gradcheck(linear(), np.ones((2, 8)), rng=RNG, directions=0), ValueError, "directions.*0"),
    # four bits
    (lambda: codebook("nf9"), ValueError, "code must be one of.*nf4.*nf9"),
    (lambda: codebook(4), ValueError, "code must be one of.*4"),
    (lambda: quantize(W, "fp5"), ValueError, "code must be one of.*fp5"),
    (lambda: quantize(W.tolist()), TypeError, "w must be a numpy array"),
    (lambda: quantize(W.astype(np.float16)), TypeError, "w must be float32 or float64.*float16"),
    (lambda: quantize(W.astype(int)), TypeError, "w must be float32 or float64.*int64"),
    (lambda: quantize(W[:0]), ValueError, "w must not be empty"),
    (lambda: quantize(NAN), ValueError, r"w must be finite.*nan at index \(0, 1\)"),
    (lambda: quantize(INF), ValueError, r"w must be finite.*inf at index \(2,\)"),
    (lambda: quantize(np.array([1e300])), ValueError, "w must fit float32.*1e\\+300"),
    (lambda: quantize(W, block_size=0), ValueError, "block_size.*0"),
    (lambda: quantize(W, block_size=64.0), TypeError, "block_size.*64.0"),
    (lambda: quantize(W, double_quant=1), TypeError, "double_quant.*1"),
    (lambda: quantize(W, "int4_affine", double_quant=True), ValueError, "double_quant must be False"),
    (lambda: quantize(W, double_quant=True, scale_code="fp8"), ValueError, "scale_code.*fp8"),
    (lambda: quantize_scales(W[0], lookup="fast"), ValueError, "lookup.*fast"),
    (lambda: normal_float(9), ValueError, "bits.*9"),
    (lambda: storage_bytes(0), ValueError, "size.*0"),
    # adapters
    (lambda: LoraConfig(r=0), ValueError, "r must be at least 1.*0"),
    (lambda: LoraConfig(r=2.0), TypeError, "r must be an int.*2.0"),
    (lambda: LoraConfig(lora_alpha=0), ValueError, "lora_alpha.*0"),
    (lambda: LoraConfig(lora_dropout=1.0), ValueError, "lora_dropout.*1.0"),
    (lambda: LoraConfig(lora_dropout=-0.1), ValueError, "lora_dropout.*-0.1"),
    (lambda: LoraConfig(target_modules=()), ValueError, "target_modules"),
    (lambda: LoraConfig(target_modules=3), TypeError, "target_modules.*3"),
    (lambda: LoraConfig(init_lora_weights="zeros"), ValueError, "init_lora_weights.*zeros"),
    (lambda: LoraConfig(init_lora_weights=1), ValueError, "init_lora_weights.*1"),
    (lambda: LoraConfig(use_rslora="yes"), TypeError, "use_rslora.*yes"),
    (lambda: LoraConfig(rank_pattern={"q_proj": 0}), ValueError, "rank_pattern.*q_proj.*0"),
    (lambda: LoraConfig(alpha_pattern=[4]), TypeError, "alpha_pattern.*dict"),
    (lambda: lora(target_modules=("query",)), ValueError, "target_modules.*query.*layers.0.self_attn.q_proj"),
    (lambda: lora(target_modules="q.*("), ValueError, "target_modules must be a regular expression"),
    (lambda: lora(target_modules="nothing.*"), ValueError, "target_modules.*nothing"),
    (lambda: apply_lora(model(), LoraConfig(r=13), rng=RNG), ValueError, "r must be at most 12.*v_proj.*13"),
    (lambda: apply_lora(model(), {"r": 2}, rng=RNG), TypeError, "config must be a LoraConfig"),
    (lambda: apply_lora(model(), LoraConfig(r=2), rng=7), TypeError, "rng.*Generator.*7"),
    (lambda: apply_lora(lora(), LoraConfig(r=2), rng=RNG), ValueError, "adapter_name must be new.*default"),
    (lambda: set_adapter(lora(), "german"), ValueError, "adapter_name.*'default'.*german"),
    (lambda: merge_lora(model()), ValueError, "model must have an adapter, got none"),
    (lambda: unmerge_lora(model()), ValueError, "model must hold merged layers, got none"),
    (lambda: disable_adapters(model()).__enter__(), ValueError, "model must have an adapter, got none"),
    (lambda: adapter_state(lora(), "other"), ValueError, "adapter_name.*other"),
    (lambda: load_adapter(model(), "nothing.npz"), FileNotFoundError, "nothing.npz does not exist"),
    (lambda: quantize_linears(model(), "nf99"), ValueError, "code must be one of.*nf99"),
    (lambda: quantize_linears(model(), target_modules=("q",)), ValueError, "target_modules.*'q'"),
    (lambda: quantize_linears(lora()), ValueError, "model must have no adapters.*quantize before apply_lora"),
    (lambda: QuantizedLinear(W), TypeError, "q must be a QuantizedTensor"),
    (lambda: QuantizedLinear(quantize(W[0])), TypeError, "q must be a QuantizedTensor of a matrix"),
    (lambda: QuantizedLinear(quantize(W))(np.ones((2, 7), np.float32)), ValueError, "x must have 8 entries"),
    (lambda: load_base(np.int32), TypeError, "dtype.*int32"),
    # training
    (lambda: AdamW([]), ValueError, "params must hold at least one"),
    (lambda: AdamW([W]), TypeError, "params must be a Parameter, got an array"),
    (lambda: AdamW([Parameter(W)], lr=-1), ValueError, "lr.*-1"),
    (lambda: AdamW([Parameter(W)], betas=(0.9, 1.0)), ValueError, r"betas\[1\].*1.0"),
    (lambda: AdamW([Parameter(W)], betas=0.9), ValueError, "betas.*0.9"),
    (lambda: AdamW([{"params": [Parameter(W)], "rate": 1}]), ValueError, "a parameter group in params.*rate"),
    (lambda: AdamW([p := Parameter(W), p]), ValueError, "params must list each Parameter once"),
    (lambda: TrainingConfig(max_steps=0), ValueError, "max_steps.*0"),
    (lambda: TrainingConfig(learning_rate=0), ValueError, "learning_rate.*0"),
    (lambda: TrainingConfig(warmup_steps=200), ValueError, "warmup_steps.*200"),
    (lambda: TrainingConfig(lr_scheduler_type="step"), ValueError, "lr_scheduler_type.*step"),
    (lambda: trainer(config={}), TypeError, "config must be a TrainingConfig"),
    (lambda: trainer(config=TrainingConfig(save_steps=1)), ValueError, "output_dir must be given"),
    (lambda: lr_factor(0, max_steps=3, kind="up"), ValueError, "kind.*up"),
    (lambda: clip_grad_norm([], 0), ValueError, "max_norm.*0"),
    # data
    (lambda: TOKENIZER.encode(b"bytes"), TypeError, "text must be a str"),
    (lambda: TOKENIZER.decode([256]), ValueError, "token_ids.*256"),
    (lambda: TOKENIZER.decode([0.5]), TypeError, "token_ids.*integers"),
    (lambda: encode_records([], TOKENIZER), ValueError, "records must not be empty"),
    (lambda: split("poems", 1, 1, seed=0), ValueError, "task.*'dates'.*poems"),
    (
        lambda: split("roman", 9000, 9000, seed=0),
        ValueError,
        "n_train . n_eval must be at most .*roman.* about 3999, got 18000",
    ),
    (lambda: load_records("data.txt"), ValueError, "path must end in .jsonl or .csv"),
    (lambda: RandomCrops(np.arange(5), 2, 5, seed=0), ValueError, "length.*5"),
    (lambda: EpochBatches(IDS, IDS, 2, seed=0), ValueError, "batch_size.*2"),
    (lambda: EpochBatches(IDS, IDS[:, :2], 1, seed=0), ValueError, "token_ids and labels must have one shape"),
]


def test_there_are_a_hundred_cases():
    assert len(CASES) >= 100


@pytest.mark.parametrize(("call", "error", "message"), CASES, ids=[f"{i}: {c[2][:30]}" for i, c in enumerate(CASES)])
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=f"^({message})"):
        call()


def test_a_model_with_nothing_to_train_is_refused():
    frozen = model()
    for parameter in frozen.parameters():
        parameter.trainable = False
    with pytest.raises(ValueError, match="trainable parameter, got none"):
        trainer(model=frozen)
