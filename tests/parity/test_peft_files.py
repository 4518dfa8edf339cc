"""Adapter folders that PEFT writes and reads: no missing or unexpected key, the same logits on either side."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

from minilora import LoraConfig, apply_lora  # noqa: E402
from minilora.adapters import PrefixConfig, PromptConfig, apply_prefix, apply_prompt, lora_layers  # noqa: E402
from minilora.interop import load_peft_adapter, save_peft_adapter  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

IDS = np.random.default_rng(5).integers(0, 61, (2, 11))
SETTINGS = {
    "q and v": {"target_modules": ["q_proj", "v_proj"]},
    "all-linear": {"target_modules": "all-linear"},
    "regular expression": {"target_modules": r".*layers\.1\..*(up|down)_proj"},
    "rslora": {"target_modules": ["o_proj", "gate_proj"], "use_rslora": True, "lora_alpha": 3},
    "patterns": {
        "target_modules": "all-linear",
        "rank_pattern": {"k_proj": 2, r"model.layers.1.mlp.up_proj": 6},
        "alpha_pattern": {"up_proj": 32},
    },
    "DoRA": {"target_modules": "all-linear", "use_dora": True},
    "the head": {"target_modules": ["lm_head", "q_proj"]},
}


def their_logits(model):
    with torch.no_grad():
        return model(torch.tensor(IDS)).logits.float().numpy()


def randomize(model, names=("lora_B",)):
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(part in name for part in names):
                parameter.copy_(torch.randn_like(parameter) * 0.1)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_written_here_read_by_peft(twins, settings, tmp_path):
    ours, theirs, _ = twins(0, np.float32, tie_word_embeddings=False)
    rng = np.random.default_rng(1)
    apply_lora(ours, LoraConfig(**({"r": 4, "lora_alpha": 8} | settings)), rng=rng)
    for layer in lora_layers(ours).values():
        layer.lora_B.value[...] = rng.standard_normal(layer.lora_B.shape) * 0.1
    save_peft_adapter(ours, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # which PEFT gives for missing keys
        loaded = peft.PeftModel.from_pretrained(theirs, tmp_path)
    again = peft.get_peft_model_state_dict(loaded, save_embedding_layers=False)
    from safetensors import safe_open

    with safe_open(tmp_path / "adapter_model.safetensors", "np") as file:
        assert set(again) == set(file.keys())
    np.testing.assert_allclose(ours(IDS)[0], their_logits(loaded), atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*save_embedding_layers.*:UserWarning")  # the head counts as one
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_written_by_peft_read_here(twins, settings, tmp_path):
    ours, theirs, _ = twins(0, np.float32, tie_word_embeddings=False)
    config = {"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM"} | settings
    wrapped = peft.get_peft_model(theirs, peft.LoraConfig(**config))
    randomize(wrapped, ("lora_B", "magnitude"))
    wrapped.save_pretrained(tmp_path)
    load_peft_adapter(ours, tmp_path)
    np.testing.assert_allclose(ours(IDS)[0], their_logits(wrapped), atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*changes the base weights of the model:UserWarning")
@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_a_start_that_changed_the_base_is_read_as_peft_converts_it(twins, start, tmp_path):
    ours, theirs, _ = twins(0, np.float32)
    config = peft.LoraConfig(
        r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=start, task_type="CAUSAL_LM"
    )
    wrapped = peft.get_peft_model(theirs, config)
    wrapped.peft_config["default"].init_lora_weights = True
    wrapped.save_pretrained(tmp_path / "start")  # where it started
    wrapped.peft_config["default"].init_lora_weights = start
    randomize(wrapped)
    wrapped.save_pretrained(tmp_path / "raw")
    wrapped.save_pretrained(tmp_path / "converted", path_initial_model_for_weight_conversion=str(tmp_path / "start"))
    expected = their_logits(wrapped)
    if start == "pissa":
        load_peft_adapter(ours, tmp_path / "raw", "raw")
        np.testing.assert_allclose(ours(IDS)[0], expected, rtol=1e-4, atol=1e-4)
    else:
        with pytest.raises(ValueError, match=f"got '{start}', which has changed the base"):
            load_peft_adapter(ours, tmp_path / "raw")
    config = load_peft_adapter(ours, tmp_path / "converted")
    assert config.r == 8
    np.testing.assert_allclose(ours(IDS)[0], expected, rtol=1e-4, atol=1e-4)


def test_pissa_written_here_read_by_peft(twins, tmp_path):
    ours, theirs, _ = twins(0, np.float32)
    rng = np.random.default_rng(1)
    apply_lora(ours, LoraConfig(r=4, lora_alpha=8, init_lora_weights="pissa"), rng=rng)
    for layer in lora_layers(ours).values():
        layer.lora_B.value[...] += rng.standard_normal(layer.lora_B.shape).astype(np.float32) * 0.1
    save_peft_adapter(ours, tmp_path)
    loaded = peft.PeftModel.from_pretrained(theirs, tmp_path)
    np.testing.assert_allclose(ours(IDS)[0], their_logits(loaded), atol=1e-4)


VIRTUAL = {
    "prefix": (PrefixConfig(5), peft.PrefixTuningConfig(num_virtual_tokens=5)),
    "projected": (
        PrefixConfig(5, prefix_projection=True),
        peft.PrefixTuningConfig(num_virtual_tokens=5, prefix_projection=True),
    ),
    "prompt": (PromptConfig(5), peft.PromptTuningConfig(num_virtual_tokens=5)),
}


@pytest.mark.parametrize(("config", "their_config"), VIRTUAL.values(), ids=VIRTUAL.keys())
def test_virtual_tokens_both_ways(twins, config, their_config, tmp_path):
    ours, theirs, _ = twins(0, np.float32)
    apply = apply_prompt if isinstance(config, PromptConfig) else apply_prefix
    apply(ours, config, rng=np.random.default_rng(1))
    save_peft_adapter(ours, tmp_path / "ours")
    loaded = peft.PeftModel.from_pretrained(theirs, tmp_path / "ours")
    # PEFT gives the logits of a prompt's own positions as well.
    np.testing.assert_allclose(ours(IDS)[0], their_logits(loaded)[:, -IDS.shape[1] :], atol=1e-4)
    ours, theirs, _ = twins(0, np.float32)
    their_config.task_type = "CAUSAL_LM"
    torch.manual_seed(0)
    wrapped = peft.get_peft_model(theirs, their_config)
    wrapped.save_pretrained(tmp_path / "theirs")
    load_peft_adapter(ours, tmp_path / "theirs")
    np.testing.assert_allclose(ours(IDS)[0], their_logits(wrapped)[:, -IDS.shape[1] :], atol=1e-4)
