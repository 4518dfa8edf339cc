import json
import tracemalloc

import numpy as np
import pytest

pytest.importorskip("safetensors")

from minilora import Llama, LlamaConfig, LoraConfig, apply_lora, merge_lora, quantize_linears
from minilora.adapters import QuantizedLinear
from minilora.interop import load_llama, save_llama
from minilora.interop.huggingface import INDEX, WEIGHTS, read_config
from minilora.interop.safetensors import SafetensorsFile, save_safetensors

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


def states(model):
    return {path: parameter.value for path, parameter in model.named_parameters()}


def assert_same(one, two):
    one, two = states(one), states(two)
    assert one.keys() == two.keys()
    for path in one:
        assert one[path].dtype == two[path].dtype
        np.testing.assert_array_equal(one[path], two[path])


@pytest.fixture
def folder(make_model, tmp_path):
    """A folder with a small model, and the model."""
    model = make_model(np.float32)
    save_llama(model, tmp_path / "model")
    return tmp_path / "model", model


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_model_comes_back_bit_for_bit(config, tmp_path, rng, dtype):
    model = Llama(config, rng=rng, dtype=dtype)
    save_llama(model, tmp_path)
    again = load_llama(tmp_path, dtype)
    assert again.config == model.config
    assert_same(model, again)
    assert all(p.trainable for p in again.parameters())


@pytest.mark.parametrize("scaling", [None, LLAMA3, {"rope_type": "linear", "factor": 2.0}])
def test_config_json_speaks_both_styles_of_rope(make_model, tmp_path, scaling):
    model = make_model(np.float32, rope_scaling=scaling, rope_theta=5000.0)
    save_llama(model, tmp_path)
    written = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    for drop in ((), ("rope_scaling", "rope_theta"), ("rope_parameters",)):
        kept = {key: value for key, value in written.items() if key not in drop}
        (tmp_path / "config.json").write_text(json.dumps(kept), encoding="utf-8")
        assert read_config(tmp_path / "config.json") == model.config


def test_what_config_json_leaves_out_means_what_transformers_means(tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    config = read_config(tmp_path / "config.json")
    assert (config.vocab_size, config.hidden_size, config.num_key_value_heads) == (32000, 4096, 32)
    assert config.rms_norm_eps == 1e-6 and not config.tie_word_embeddings and config.rope_theta == 10000.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mistral"}, 'model_type must be "llama", got "mistral"'),
        ({"architectures": ["LlamaForTokenClassification"]}, "architectures must be"),
        ({"hidden_act": "gelu"}, 'hidden_act must be "silu", got "gelu"'),
        ({"attention_bias": True}, "attention_bias must be false, got true"),
        ({"mlp_bias": True}, "mlp_bias must be false, got true"),
        ({"quantization_config": {"load_in_4bit": True}}, "quantization_config must be null"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor must be 1.0, got 0.5"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "linear or llama3, got 'dynamic'"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "linear or llama3, got 'yarn'"),
        ({"rope_scaling": 5}, r"rope_scaling must be a dict with str keys, got 5 \(int\)"),
        ({"rope_scaling": [1]}, r"rope_scaling must be a dict with str keys, got \[1\] \(list\)"),
        ({"rope_scaling": False}, r"rope_scaling must be a dict with str keys, got False \(bool\)"),
        ({"rope_parameters": True}, r"rope_parameters must be a dict with str keys, got True \(bool\)"),
        ({"rope_parameters": "x"}, r"rope_parameters must be a dict with str keys, got 'x' \(str\)"),
        (
            {"rope_scaling": {"rope_type": ["linear"], "factor": 2.0}},
            r"rope_scaling\['rope_type'\] must be a str, got \['linear'\]",
        ),
        ({"num_key_value_heads": 0}, "num_key_value_heads must be between 1"),
        ({"hidden_size": "24"}, "hidden_size must be an int"),
        ({"hidden_size": 23}, "hidden_size must be a multiple|does not fit"),
        ({"num_hidden_layers": 10**9}, "too few for the 1000000000 layers"),
        ({"vocab_size": 2**31 - 1}, "embed_tokens.weight has shape"),
        ({"hidden_size": 2**22}, r"holds \d+ values, too few for the hidden_size 4194304 and 2 layers of its config"),
    ],
)
def test_an_option_that_is_not_built_is_named(folder, changes, message):
    path = folder[0] / "config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) | changes
    settings.pop("head_dim")
    path.write_text(json.dumps(settings), encoding="utf-8")
    tracemalloc.start()
    with pytest.raises(ValueError, match=message) as caught:
        load_llama(folder[0])
    assert tracemalloc.get_traced_memory()[1] < 2**18  # bytes: nothing of the size that was asked for is made
    tracemalloc.stop()
    assert str(folder[0]) in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 10**5, "\xff"])
def test_a_config_that_is_no_json_object(folder, text):
    (folder[0] / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match="config.json"):
        load_llama(folder[0])


def test_files_that_are_missing(folder):
    (folder[0] / WEIGHTS).unlink()
    with pytest.raises(FileNotFoundError, match=WEIGHTS):
        load_llama(folder[0])
    (folder[0] / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="unpickled"):
        load_llama(folder[0])
    (folder[0] / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match="config.json"):
        load_llama(folder[0])


def test_shards_are_one_model(make_model, tmp_path):
    model = make_model(np.float32)
    save_llama(model, tmp_path / "one")
    save_llama(model, tmp_path / "many", max_shard_size=5000)
    shards = sorted(path.name for path in (tmp_path / "many").glob("*.safetensors"))
    assert len(shards) > 3 and shards[0] == f"model-00001-of-{len(shards):05d}.safetensors"
    assert_same(load_llama(tmp_path / "many"), model)
    index = json.loads((tmp_path / "many" / INDEX).read_text(encoding="utf-8"))
    assert index["metadata"]["total_size"] == sum(p.size * 4 for p in model.parameters())
    # Saved again as one file, nothing of the shards is read any more; and the other way round.
    other = make_model(np.float32)
    save_llama(other, tmp_path / "many")
    assert_same(load_llama(tmp_path / "many"), other)
    save_llama(model, tmp_path / "many", max_shard_size=5000)
    assert not (tmp_path / "many" / WEIGHTS).exists()
    assert_same(load_llama(tmp_path / "many"), model)


def test_an_index_that_disagrees_with_its_shards(make_model, tmp_path):
    save_llama(make_model(np.float32), tmp_path, max_shard_size=5000)
    good = json.loads((tmp_path / INDEX).read_text(encoding="utf-8"))
    place = good["weight_map"]
    names = list(place)
    for weight_map, message in (
        (place | {names[0]: place[names[-1]]}, names[0]),
        ({name: place[name] for name in names[1:]}, names[0]),
        (place | {"model.extra": place[names[0]]}, "model.extra"),
        (place | {names[0]: "../elsewhere.safetensors"}, "own folder"),
        (place | {names[0]: "\ud800"}, r"index.json must name files in its own folder, got '\\ud800'"),
        ({}, "weight_map"),
        ([], "weight_map"),
    ):
        (tmp_path / INDEX).write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            load_llama(tmp_path)


@pytest.mark.parametrize(("dtype", "bits"), [("float16", 11), ("bfloat16", 8)])
def test_half_precision_on_disk(folder, tmp_path, dtype, bits):
    _, model = folder
    save_llama(model, tmp_path / dtype, dtype=dtype)
    assert {t.dtype for t in SafetensorsFile(tmp_path / dtype / WEIGHTS).values()} <= {"F16", "BF16"}
    again = states(load_llama(tmp_path / dtype))
    for path, value in states(model).items():
        assert again[path].dtype == np.float32
        np.testing.assert_allclose(again[path], value, rtol=2.0**-bits, atol=2.0**-24)
    with pytest.raises(ValueError, match="dtype must be one of"):
        save_llama(model, tmp_path / "other", dtype="float8")


def test_everything_that_does_not_fit_is_listed(folder):
    path = folder[0] / WEIGHTS
    tensors = {name: tensor.read() for name, tensor in SafetensorsFile(path).items()}
    del tensors["model.norm.weight"]
    tensors["model.surplus"] = np.zeros(3, np.float32)
    tensors["model.layers.1.mlp.up_proj.weight"] = np.zeros((3, 3), np.float32)
    tensors["model.layers.0.input_layernorm.weight"] = np.zeros(24, np.int32)
    save_safetensors(path, tensors)
    with pytest.raises(ValueError) as caught:
        load_llama(folder[0])
    for words in (
        "norm.weight is missing",
        "surplus is unexpected",
        "layers.1.mlp.up_proj.weight has shape (3, 3) instead of (40, 24)",
        "layers.0.input_layernorm.weight holds I32",
    ):
        assert words in str(caught.value)


def test_weights_must_be_finite(folder):
    path = folder[0] / WEIGHTS
    tensors = {name: tensor.read() for name, tensor in SafetensorsFile(path).items()}
    tensors["model.norm.weight"][3] = np.nan
    save_safetensors(path, tensors)
    with pytest.raises(ValueError, match="norm.weight must be finite, got nan at index"):
        load_llama(folder[0])


def test_old_buffers_and_the_copy_of_a_tied_head_are_passed_over(folder):
    path, model = folder[0] / WEIGHTS, folder[1]
    tensors = {name: tensor.read() for name, tensor in SafetensorsFile(path).items()}
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.zeros(3, np.float32)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].copy()
    save_safetensors(path, tensors)
    assert_same(load_llama(folder[0]), model)
    tensors["lm_head.weight"][0, 0] += 1
    save_safetensors(path, tensors)
    with pytest.raises(ValueError, match="lm_head.weight is not the embedding matrix"):
        load_llama(folder[0])


def test_quantized_as_it_comes_equals_quantized_afterwards(folder):
    options = {"block_size": 32, "double_quant": True, "target_modules": ("q_proj", "down_proj")}
    after = load_llama(folder[0])
    paths = quantize_linears(after, "nf4", **options)
    coming = load_llama(folder[0], quantize={"code": "nf4"} | options)
    assert [path for path, m in coming.named_modules() if isinstance(m, QuantizedLinear)] == paths
    for path in paths:
        one, two = coming.get_submodule(path).q, after.get_submodule(path).q
        np.testing.assert_array_equal(one.packed, two.packed)
        np.testing.assert_array_equal(one.scales, two.scales)
    assert_same(coming, after)
    whole = load_llama(folder[0], quantize="int4")
    assert sum(isinstance(m, QuantizedLinear) for _, m in whole.named_modules()) == 14
    for wrong, message in (
        ({"code": "nf4", "bits": 4}, "got bits"),
        ("nf99", "code must be one of"),
        ({"code": "nf4", "target_modules": ("x_proj",)}, "x_proj"),
        ({"code": "nf4", "block_size": 0}, "block_size"),
    ):
        with pytest.raises(ValueError, match=message):
            load_llama(folder[0], quantize=wrong)


def test_a_model_quantized_as_it_comes_is_never_whole_in_float32(tmp_path):
    config = LlamaConfig(vocab_size=16, hidden_size=128, intermediate_size=512, num_hidden_layers=12)
    save_llama(Llama(config, rng=np.random.default_rng(0)), tmp_path)
    dense = (tmp_path / WEIGHTS).stat().st_size
    tracemalloc.start()
    load_llama(tmp_path, quantize="nf4")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.35 * dense


def test_four_bit_layers_are_written_decoded_and_adapters_must_be_merged(folder, tmp_path, rng):
    model = folder[1]
    quantize_linears(model, "nf4")
    dense = {path: layer.dense_weight() for path, layer in model.named_modules() if isinstance(layer, QuantizedLinear)}
    apply_lora(model, LoraConfig(r=2), rng=rng)
    with pytest.raises(ValueError, match="merge_lora"):
        save_llama(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    merge_lora(model)
    save_llama(model, tmp_path / "out")
    again = load_llama(tmp_path / "out")
    for path, weight in dense.items():
        np.testing.assert_array_equal(again.get_submodule(path).weight.value, weight)
