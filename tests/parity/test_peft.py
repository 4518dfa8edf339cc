"""Against PEFT on the same weights: LoRA, prefix tuning and prompt tuning."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

from minilora import (  # noqa: E402
    LoraConfig,
    PrefixConfig,
    PromptConfig,
    apply_lora,
    apply_prefix,
    apply_prompt,
    generate,
    merge_lora,
)
from minilora.adapters import get_adapter, lora_layers  # noqa: E402

# PEFT asks transformers for a name that is on its way out; that is theirs to mend.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

SETTINGS = {
    "q and v": {"target_modules": ("q_proj", "v_proj")},
    "all-linear": {"target_modules": "all-linear"},
    "regular expression": {"target_modules": r".*layers\.1\..*(up|down)_proj"},
    "rslora": {"target_modules": ("o_proj",), "use_rslora": True},
    "patterns": {"target_modules": "all-linear", "rank_pattern": {"k_proj": 2}, "alpha_pattern": {"up_proj": 32}},
}


def equal_logits_and_loss(ours, wrapped, rng):
    """Forward and backward of both on one batch; their gradients stand afterwards."""
    ids, labels = rng.integers(0, 61, (2, 3, 9))
    logits = wrapped(input_ids=torch.tensor(ids)).logits[:, -9:]  # PEFT keeps a prompt's logits
    loss = torch.nn.functional.cross_entropy(logits.reshape(-1, 61), torch.tensor(labels).reshape(-1))
    loss.backward()
    our_loss, backward = ours.loss(ids, labels)
    backward()
    assert our_loss == pytest.approx(loss.item(), rel=1e-7)
    np.testing.assert_allclose(ours(ids)[0], logits.detach().numpy(), rtol=1e-5, atol=1e-6)
    return ids


def equal_gradients(pairs, tolerance=1e-6):
    for mine, theirs in pairs:
        gradient = theirs.grad.numpy()
        np.testing.assert_allclose(mine.grad.reshape(gradient.shape), gradient, atol=tolerance * np.abs(gradient).max())


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("tied", [True, False])
def test_targets_logits_gradients_and_merging(twins, settings, tied):
    ours, theirs, _ = twins(0, np.float64, tie_word_embeddings=tied)
    rng = np.random.default_rng(1)
    apply_lora(ours, LoraConfig(r=4, lora_alpha=8, **settings), rng=rng)
    targets = settings["target_modules"]
    settings = settings | {"target_modules": targets if isinstance(targets, str) else list(targets)}
    wrapped = peft.get_peft_model(theirs, peft.LoraConfig(r=4, lora_alpha=8, **settings))
    layers = lora_layers(ours)
    found = {
        name.removeprefix("base_model.model.model."): module
        for name, module in wrapped.named_modules()
        if isinstance(module, peft.tuners.lora.Linear)
    }
    assert found.keys() == layers.keys()
    for path, layer in layers.items():
        layer.lora_B.value[...] = rng.standard_normal(layer.lora_B.shape) * 0.1
        assert found[path].scaling["default"] == pytest.approx(layer.scaling)
        with torch.no_grad():
            found[path].lora_A["default"].weight.data = torch.tensor(layer.lora_A.value)
            found[path].lora_B["default"].weight.data = torch.tensor(layer.lora_B.value)

    equal_logits_and_loss(ours, wrapped, rng)
    for path, layer in layers.items():
        for mine, theirs_ in ((layer.lora_A, found[path].lora_A), (layer.lora_B, found[path].lora_B)):
            gradient = theirs_["default"].weight.grad.numpy()
            np.testing.assert_allclose(mine.grad, gradient, atol=1e-6 * np.abs(gradient).max())
    merge_lora(ours)
    merged = wrapped.merge_and_unload()
    for path in layers:
        theirs_merged = merged.get_submodule(f"model.{path}").weight.detach().numpy()
        np.testing.assert_allclose(ours.get_submodule(path).dense_weight(), theirs_merged, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("heads", [{}, {"num_key_value_heads": 4}, {"head_dim": 20}], ids=["grouped", "all", "wide"])
@pytest.mark.parametrize("projection", [False, True])
def test_prefix_tuning(twins, heads, projection):
    ours, theirs, _ = twins(0, np.float64, **heads)
    rng = np.random.default_rng(1)
    apply_prefix(ours, PrefixConfig(num_virtual_tokens=3, prefix_projection=projection), rng=rng)
    part = get_adapter(ours).parts["forward_from"]
    settings = {"task_type": "CAUSAL_LM", "num_virtual_tokens": 3, "prefix_projection": projection}
    if heads.get("head_dim"):
        settings |= {"token_dim": 2 * 20, "num_attention_heads": 2}  # PEFT guesses hidden_size / heads
    wrapped = peft.get_peft_model(theirs, peft.PrefixTuningConfig(**settings)).to(torch.float64)
    encoder = wrapped.prompt_encoder["default"]
    if projection:
        mine = [part.embedding, part.W1, part.b1, part.W2, part.b2]
        pairs = list(zip(mine, encoder.parameters(), strict=True))
        for ours_, theirs_ in pairs:
            theirs_.data = torch.tensor(ours_.value)
    else:
        L, _, K, P, d = part.prefix.shape  # PEFT's row of a virtual token: (2 L, K, d), keys and values in turn
        rows = part.prefix.value.transpose(3, 0, 1, 2, 4).reshape(P, L * 2 * K * d)
        encoder.embedding.weight.data = torch.tensor(rows)
    ids = equal_logits_and_loss(ours, wrapped, rng)
    if projection:
        equal_gradients(pairs)
    else:
        gradient = encoder.embedding.weight.grad.numpy()
        mine = part.prefix.grad.transpose(3, 0, 1, 2, 4).reshape(gradient.shape)
        np.testing.assert_allclose(mine, gradient, atol=1e-6 * np.abs(gradient).max())
    settings = {"do_sample": False, "pad_token_id": 0, "use_cache": True, "attention_mask": torch.ones(3, 9)}
    out = wrapped.generate(input_ids=torch.tensor(ids), max_new_tokens=6, **settings)
    np.testing.assert_array_equal(generate(ours, ids, 6), out.numpy())


@pytest.mark.filterwarnings("ignore:Position ids are not supported")  # generate sends them, PEFT drops them
def test_prompt_tuning(twins):
    ours, theirs, _ = twins(0, np.float64)
    rng = np.random.default_rng(1)
    apply_prompt(ours, PromptConfig(num_virtual_tokens=3), rng=rng)
    part = get_adapter(ours).parts["forward_from"]
    part.prompt.value[...] = rng.standard_normal(part.prompt.shape)
    wrapped = peft.get_peft_model(theirs, peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    wrapped = wrapped.to(torch.float64)
    weight = wrapped.prompt_encoder["default"].embedding.weight
    weight.data = torch.tensor(part.prompt.value)
    ids = equal_logits_and_loss(ours, wrapped, rng)
    equal_gradients([(part.prompt, weight)])
    settings = {"do_sample": False, "pad_token_id": 0, "use_cache": True, "attention_mask": torch.ones(3, 9)}
    out = wrapped.generate(input_ids=torch.tensor(ids), max_new_tokens=6, **settings)
    np.testing.assert_array_equal(generate(ours, ids, 6), out.numpy())
