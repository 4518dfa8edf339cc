import tracemalloc

import numpy as np
import pytest

gguf = pytest.importorskip("gguf")
pytest.importorskip("tokenizers")

from ggufs import write_gguf  # noqa: E402

from minilora import Llama  # noqa: E402
from minilora.adapters import QuantizedLinear  # noqa: E402
from minilora.interop import load_gguf  # noqa: E402
from minilora.nn.rope import rope_frequencies  # noqa: E402

SIZES = {"hidden_size": 64, "intermediate_size": 96, "vocab_size": 64}


@pytest.fixture
def model(make_model):
    return make_model(np.float32, **SIZES)


def test_a_model_comes_back_bit_for_bit(config, tmp_path, rng):
    model = Llama(config, rng=rng)
    again, tokenizer = load_gguf(write_gguf(model, tmp_path / "model.gguf"))
    assert {**vars(again.config), "initializer_range": 0.3} == vars(config)
    assert tokenizer.vocab_size == config.vocab_size and tokenizer.eos_token_id == 1
    for (path, ours), theirs in zip(again.named_parameters(), model.parameters(), strict=True):
        np.testing.assert_array_equal(ours.value, theirs.value, err_msg=path)


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_each_kind_of_tensor_is_decoded_as_the_library_does(kind, model, tmp_path):
    again, _ = load_gguf(write_gguf(model, tmp_path / "model.gguf", kind), np.float64)
    for (path, ours), parameter in zip(again.named_parameters(), model.parameters(), strict=True):
        value, stored = parameter.value, gguf.GGMLQuantizationType[kind]
        expected = gguf.quants.dequantize(gguf.quants.quantize(value, stored), stored) if value.ndim > 1 else value
        assert ours.value.dtype == np.float64
        np.testing.assert_array_equal(ours.value, expected, err_msg=path)


def test_what_is_q4_1_can_stay_in_four_bits(model, tmp_path):
    path = write_gguf(model, tmp_path / "model.gguf", "Q4_1")
    dense, _ = load_gguf(path)
    kept, _ = load_gguf(path, quantize="stored")
    layers = [layer for _, layer in kept.named_modules() if isinstance(layer, QuantizedLinear)]
    assert len(layers) == 14 and {(layer.q.code, layer.q.block_size) for layer in layers} == {("int4_affine", 32)}
    ids = np.arange(20).reshape(2, 10)
    np.testing.assert_allclose(kept(ids)[0], dense(ids)[0], atol=1e-4)
    with pytest.raises(ValueError, match="no layer in a code that is known"):
        load_gguf(write_gguf(model, tmp_path / "other.gguf", "Q8_0"), quantize="stored")
    quantized, _ = load_gguf(path, quantize={"code": "nf4", "double_quant": True})
    assert quantized.layers[0].mlp.up_proj.q.double_quant


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"general.architecture": "qwen2"}, "general.architecture must be 'llama', got 'qwen2'"),
        ({"llama.expert_count": 8}, "llama.expert_count is an option that is not built here"),
        ({"llama.attention.sliding_window": 4}, "llama.attention.sliding_window is an option"),
        ({"llama.block_count": None}, "llama.block_count must be one int, got None"),
        ({"llama.block_count": 10**9}, "too few for the 1000000000 layers"),
        ({"llama.embedding_length": 2**22}, "too few for the hidden_size 4194304"),
        ({"llama.attention.head_count": [4, 4]}, "llama.attention.head_count must be one int"),
        ({"llama.attention.head_count": 0}, "num_attention_heads must be"),
        ({"llama.rope.dimension_count": 8}, "llama.rope.dimension_count must be the head's 16, got 8"),
        ({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 2.0}, "linear or llama3, got 'yarn'"),
        ({"llama.rope.scaling.type": "linear"}, "llama.rope.scaling.factor must be one float, got None"),
        ({"llama.rope.scaling.type": [1, 2]}, "llama.rope.scaling.type must be one str, got an array"),
        ({"llama.rope.freq_base": -1.0}, "rope_theta must be greater than 0, got -1.0"),
        ({"llama.attention.layer_norm_rms_epsilon": None}, "layer_norm_rms_epsilon must be one float"),
        ({"llama.feed_forward_length": 100}, r"up_proj.weight has shape \(96, 64\) instead of \(100, 64\)"),
        ({"tokenizer.ggml.model": "t5"}, "tokenizer.ggml.model must be 'gpt2'.*or 'llama'.*, got 't5'"),
        ({"tokenizer.ggml.model": "llama"}, "tokenizer.ggml.scores must have one finite number per token"),
        ({"tokenizer.ggml.pre": "qwen2"}, "tokenizer.ggml.pre must be one of smollm"),
        ({"tokenizer.ggml.model": [1, 2]}, r"tokenizer.ggml.model must be 'gpt2'.*, got an array of shape \(2,\)"),
        ({"tokenizer.ggml.model": ["gpt2"]}, r"tokenizer.ggml.model must be 'gpt2'.*, got \['gpt2'\] \(list\)"),
        ({"tokenizer.ggml.pre": ["smollm"]}, r"tokenizer.ggml.pre must be one of smollm.*, got \['smollm'\] \(list\)"),
        ({"tokenizer.chat_template": ["a"]}, r"tokenizer.chat_template must be a str, got \['a'\] \(list\)"),
        ({"tokenizer.chat_template": 3}, r"tokenizer.chat_template must be a str, got 3 \(int\)"),
        ({"tokenizer.ggml.bos_token_id": True}, "the bos token must lie in 0 .. 63, got True"),
        ({"tokenizer.ggml.token_type": ["a"] * 64}, "token_type must have one entry per token, all of them integers"),
    ],
)
def test_an_option_that_is_not_built_is_named(model, changes, message, tmp_path):
    path = write_gguf(model, tmp_path / "model.gguf", changes=changes)
    with pytest.raises(ValueError, match=message) as caught:
        load_gguf(path)
    assert str(caught.value).count(str(path)) == 1


@pytest.mark.parametrize("key", ["token_type", "scores"])
def test_words_where_numbers_belong_take_no_more_memory_than_the_file(model, key, tmp_path):
    """As an array of numpy's, each word would take as much as the longest."""
    changes = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.scores": [0.0] * 64, "tokenizer.ggml.merges": None}
    changes[f"tokenizer.ggml.{key}"] = ["x" * 2**17] + ["x"] * 63
    path = write_gguf(model, tmp_path / "model.gguf", changes=changes)
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"tokenizer.ggml.{key} must have one .* got \\['xxx.*get the file again"):
        load_gguf(path)
    assert tracemalloc.get_traced_memory()[1] < 4 * path.stat().st_size
    tracemalloc.stop()


def test_tensors_that_are_not_known_are_named(model, tmp_path):
    path = write_gguf(model, tmp_path / "model.gguf", extra={"blk.0.attn_q.bias": np.zeros(64, np.float32)})
    with pytest.raises(ValueError, match="blk.0.attn_q.bias is unexpected"):
        load_gguf(path)


def test_rope_scaling(make_model, tmp_path):
    model = make_model(np.float32, **SIZES, rope_theta=500000.0)
    factor = {"llama.rope.scaling.factor": 4.0}
    linear, none = ({"llama.rope.scaling.type": kind} | factor for kind in ("linear", "none"))
    for changes, expected in ((linear, 4.0), (factor, 4.0), (none, None)):  # llama.cpp's default is linear
        again, _ = load_gguf(write_gguf(model, tmp_path / "linear.gguf", changes=changes))
        assert again.config.rope_scaling == (expected and {"rope_type": "linear", "factor": expected})
    settings = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    settings["original_max_position_embeddings"] = 8192
    factors = rope_frequencies(16, 500000.0) / rope_frequencies(16, 500000.0, tuple(settings.items()))
    extra = {"rope_freqs.weight": factors.astype(np.float32)}
    for changes in ({}, none):
        again, _ = load_gguf(write_gguf(model, tmp_path / "llama3.gguf", changes=changes, extra=extra))
        assert again.config.rope_scaling == settings
    for changes in (linear, factor):
        path = write_gguf(model, tmp_path / "both.gguf", changes=changes, extra=extra)
        with pytest.raises(ValueError, match="both.gguf: rope_freqs.weight .*scaling.type 'none', got 'linear'"):
            load_gguf(path)
    extra["rope_freqs.weight"][3] *= 1.1
    with pytest.raises(ValueError, match="rope_freqs.weight must be llama3's"):
        load_gguf(write_gguf(model, tmp_path / "other.gguf", extra=extra))
