"""Folders that transformers writes and reads: the same logits on either side."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from minilora.interop import load_llama, save_llama  # noqa: E402

SHAPES = {
    "grouped heads": {},
    "untied, all heads": {"tie_word_embeddings": False, "num_key_value_heads": 4},
    "wide heads": {"head_dim": 20},
    "linear": {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    "llama3": {
        "rope_theta": 500.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        },
    },
}
IDS = np.random.default_rng(5).integers(0, 61, (2, 40))


def their_logits(model):
    with torch.no_grad():
        return model(torch.tensor(IDS)).logits.float().numpy()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("size", ["5GB", "20KB"])
def test_a_folder_of_transformers_read_here(twins, shape, size, tmp_path):
    _, theirs, _ = twins(0, np.float32, **shape)
    theirs.save_pretrained(tmp_path, max_shard_size=size)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1 or size == "20KB"
    np.testing.assert_allclose(load_llama(tmp_path)(IDS)[0], their_logits(theirs), atol=1e-4)
    # the older style of config.json says the same
    settings = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    rope = settings.pop("rope_parameters")
    settings["rope_theta"] = rope.pop("rope_theta")
    settings["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    (tmp_path / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    np.testing.assert_allclose(load_llama(tmp_path)(IDS)[0], their_logits(theirs), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_read_here(twins, dtype, tmp_path):
    _, theirs, _ = twins(0, np.float32)
    theirs.to(dtype).save_pretrained(tmp_path)
    # Loaded again, as .to() has rounded the frequencies of RoPE as well, which no file holds.
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    np.testing.assert_allclose(load_llama(tmp_path)(IDS)[0], their_logits(theirs), atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize(("dtype", "shard"), [("float32", 10**9), ("float32", 20000), ("bfloat16", 10**9)])
def test_a_folder_written_here_read_by_transformers(twins, shape, dtype, shard, tmp_path):
    ours, _, _ = twins(1, np.float32, **shape)
    save_llama(ours, tmp_path, dtype=dtype, max_shard_size=shard)
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float32, output_loading_info=True
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    np.testing.assert_allclose(load_llama(tmp_path)(IDS)[0], their_logits(theirs), atol=1e-4)
    if dtype == "float32":
        np.testing.assert_allclose(ours(IDS)[0], their_logits(theirs), atol=1e-4)


@pytest.mark.parametrize("option", [{"attention_bias": True}, {"mlp_bias": True}, {"hidden_act": "gelu"}])
def test_what_is_not_built_here_is_refused(option, tmp_path):
    sizes = {"vocab_size": 61, "hidden_size": 48, "intermediate_size": 72, "num_hidden_layers": 1}
    config = transformers.LlamaConfig(**sizes, num_attention_heads=4, **option)
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"{next(iter(option))} must be"):
        load_llama(tmp_path)
